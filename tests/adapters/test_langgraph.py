"""`LocalCheckpointSaver` under real releases of LangGraph."""

from pathlib import Path

import pytest

from tests.adapters.framework import Framework, example_of, results
from tests.effort import ci_only
from tests.environments import ROOT

NEEDS = ("pytest", "langgraph", "langgraph-checkpoint-conformance==0.0.2", "langgraph-checkpoint-sqlite")
LANGGRAPH = Framework("langgraph-checkpoint", newest="4.3.2", oldest="4.1.0", needs=NEEDS)
CASES = "tests.adapters.cases_langgraph"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("langgraph")


@ci_only
@pytest.mark.parametrize(("release", "case"), LANGGRAPH.parameters(CASES))
def test_in_langgraph(folder: Path, release: str, case: str) -> None:
    problem = results(LANGGRAPH, release, CASES, folder / release)[case]
    assert problem is None, problem


@ci_only
def test_the_sample_goes_on_when_it_is_run_again(tmp_path: Path) -> None:
    for number in (1, 2):
        sample = ROOT / "samples" / "frameworks" / "langgraph_checkpoints.py"
        done = LANGGRAPH.run_inside(LANGGRAPH.newest, sample, cwd=tmp_path)
        assert done.stdout.splitlines()[-1:] == [f"{4 * number} messages are stored"], done.stderr


@ci_only
def test_the_example_of_the_page_remembers_its_first_run(tmp_path: Path) -> None:
    example = example_of("langgraph-checkpoint")
    for messages in (["Which train?", "Message 1 came."], ["Which train?", "Message 1 came."] * 2):
        messages[-1] = f"Message {len(messages) - 1} came."
        done = LANGGRAPH.run_inside(LANGGRAPH.newest, "-c", example, cwd=tmp_path)
        assert done.stdout == f"{{'messages': {messages}}}\n", done.stderr

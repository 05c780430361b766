"""`LocalConversationStore` under real releases of Pydantic AI."""

from pathlib import Path

import pytest

from tests.adapters.framework import Framework, example_of, results
from tests.effort import ci_only
from tests.environments import ROOT
from tests.scripted_server import scripted_server, text

PYDANTIC_AI = Framework("pydantic-ai-slim", newest="2.68.0", oldest="2.66.0", needs=("pytest",))
CASES = "tests.adapters.cases_pydantic_ai"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pydantic-ai")


@ci_only
@pytest.mark.parametrize(("release", "case"), PYDANTIC_AI.parameters(CASES))
def test_in_pydantic_ai(folder: Path, release: str, case: str) -> None:
    problem = results(PYDANTIC_AI, release, CASES, folder / release)[case]
    assert problem is None, problem


@ci_only
def test_the_sample_remembers_when_it_is_run_again(tmp_path: Path) -> None:
    for number in (1, 2):
        sample = ROOT / "samples" / "frameworks" / "pydantic_ai_conversations.py"
        done = PYDANTIC_AI.run_inside(PYDANTIC_AI.newest, sample, cwd=tmp_path)
        assert done.stdout.splitlines()[-1:] == [f"{4 * number} messages are stored"], done.stderr


@ci_only
def test_the_example_of_the_page_remembers_its_first_run(tmp_path: Path) -> None:
    example = example_of("pydantic-ai-slim")
    with scripted_server(text("At 7:58."), text("As I said.")) as server:
        for answer in ("At 7:58.\n", "As I said.\n"):
            environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "none"}
            done = PYDANTIC_AI.run_inside(PYDANTIC_AI.newest, "-c", example, cwd=tmp_path, env=environment)
            assert done.stdout == answer, done.stderr
        question = "Which train goes to Vienna?"
        assert [message["content"] for message in server.requests[1]["messages"]][::2] == [question, question]

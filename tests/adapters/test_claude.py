"""`LocalSessionStore` under real releases of the Claude Agent SDK."""

from pathlib import Path

import pytest

from tests.adapters.framework import Framework, example_of, results
from tests.effort import ci_only
from tests.environments import ROOT

SDK = Framework("claude-agent-sdk", newest="0.2.189", oldest="0.1.66")
CASES = "tests.adapters.cases_claude"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("claude")


@ci_only
@pytest.mark.parametrize(("release", "case"), SDK.parameters(CASES))
def test_in_the_sdk(folder: Path, release: str, case: str) -> None:
    problem = results(SDK, release, CASES, folder / release)[case]
    assert problem is None, problem


@ci_only
def test_the_options_of_the_page_are_accepted(tmp_path: Path) -> None:
    """The rest of the example needs a key."""
    example = example_of("claude-agent-sdk")
    options = example.partition("\n\n\n")[0]
    done = SDK.run_inside(SDK.newest, "-c", f"{options}\nprint(options.session_store)", cwd=tmp_path)
    assert done.stdout.startswith("LocalSessionStore("), done.stderr


@ci_only
def test_the_sample_prints_one_session_more_each_time(tmp_path: Path) -> None:
    sample = ROOT / "samples" / "frameworks" / "claude_agent.py"
    for number in (1, 2):
        done = SDK.run_inside(SDK.newest, sample, cwd=tmp_path)
        lines = done.stdout.splitlines()
        assert len(lines) == number, done.stderr
        assert all(line.endswith(": Which train goes to Vienna?") for line in lines)

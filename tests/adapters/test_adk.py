"""`LocalSessionService` under real releases of Google's Agent Development Kit."""

from pathlib import Path

import pytest

from tests.adapters.framework import Framework, example_of, results
from tests.effort import ci_only
from tests.environments import ROOT

ADK = Framework("google-adk", newest="2.13.0", oldest="2.7.0", needs=("pytest",))
CASES = "tests.adapters.cases_adk"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adk")


@ci_only
@pytest.mark.parametrize(("release", "case"), ADK.parameters(CASES))
def test_in_the_adk(folder: Path, release: str, case: str) -> None:
    problem = results(ADK, release, CASES, folder / release)[case]
    assert problem is None, problem


@ci_only
def test_the_sample_goes_on_when_run_again(tmp_path: Path) -> None:
    for number in (1, 2):
        done = ADK.run_inside(ADK.newest, ROOT / "samples" / "frameworks" / "adk_sessions.py", cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.startswith(f"Line 13A. That was question {number}.\n")


@ci_only
def test_the_example_of_the_page_is_accepted(tmp_path: Path) -> None:
    """The last line needs a key."""
    example, _, call = example_of("google-adk").rstrip().rpartition("\n")
    check = "import inspect; inspect.signature(runner.run_debug).bind('q', user_id='u', session_id='s')"
    done = ADK.run_inside(ADK.newest, "-c", f"{example}\n{check}\nprint(runner.session_service)", cwd=tmp_path)
    assert done.stdout.startswith("LocalSessionService("), done.stderr
    assert "runner.run_debug(" in call

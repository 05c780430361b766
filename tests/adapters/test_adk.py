"""`LocalSessionService` under real releases of Google's Agent Development Kit."""

from pathlib import Path

import pytest

from tests.adapters.framework import Framework, results
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

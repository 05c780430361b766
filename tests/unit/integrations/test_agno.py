"""agno 1.x is no part of the development environment: its tests, `tests/agno_1`, run in one of their own."""

import subprocess
from pathlib import Path

import pytest

from tests.environments import ROOT, interpreter_or_skip, without_settings

AGNO = "agno==1.8.4"
PACKAGES = (AGNO, "openai", "filelock", "orjson", "PyYAML", "click", "rich", "pytest", "pytest-timeout")


@pytest.fixture(scope="session")
def python_with_agno() -> Path:
    """The interpreter of an environment with agno."""
    return interpreter_or_skip(AGNO.replace("==", "-"), PACKAGES)


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "tests" / "agno_1").glob("test_*.py")))
@pytest.mark.timeout(900)
def test_with_agno(python_with_agno: Path, tmp_path: Path, name: str) -> None:
    """One file of tests passes there, with agno's own warnings let through."""
    command = [str(python_with_agno), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    done = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'inner'}", f"tests/agno_1/{name}"],
        cwd=ROOT,
        env={**without_settings(), "PYTHONPATH": str(ROOT), "AGNO_TELEMETRY": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " failed" not in done.stdout
    assert "no tests ran" not in done.stdout

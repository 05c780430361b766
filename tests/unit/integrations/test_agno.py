"""agno 1.x is no part of the development environment: its tests, `tests/agno_1`, run in one of their own."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[3]
AGNO = "agno==1.8.4"
PACKAGES = (AGNO, "openai", "filelock", "orjson", "PyYAML", "click", "rich", "pytest", "pytest-timeout")


@pytest.fixture(scope="session")
def python_with_agno() -> Path:
    """The interpreter of an environment with agno, made once on this machine. Without a registry of packages the tests
    are skipped, but not in CI."""
    owner = getattr(os, "getuid", lambda: "me")()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(tempfile.gettempdir(), f"localstore-tests-{owner}-{AGNO.replace('==', '-')}-{version}")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    complete = folder / "complete"
    with FileLock(f"{folder}.lock", timeout=600):
        if not complete.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                reason = f"{AGNO} could not be installed: {done.stderr.strip().splitlines()[-1:]}"
                if os.environ.get("CI"):
                    pytest.fail(reason)
                pytest.skip(reason)
            complete.touch()
    return python


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "tests" / "agno_1").glob("test_*.py")))
@pytest.mark.timeout(900)
def test_with_agno(python_with_agno: Path, tmp_path: Path, name: str) -> None:
    """One file of tests passes there, with agno's own warnings let through."""
    command = [str(python_with_agno), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "AGNO_"))}
    done = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'inner'}", f"tests/agno_1/{name}"],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), "AGNO_TELEMETRY": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " failed" not in done.stdout
    assert "no tests ran" not in done.stdout

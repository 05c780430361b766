"""Separate environments with real releases of agno, made once and kept in the folder for temporary files.

agno is no dependency of localstore, and its releases exclude each other, so that none is in the tests' own environment.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import localstore
from localstore.files.locks import pool_of
from tests.effort import LONG

ROOT = Path(localstore.__file__).parent.parent
OLDEST, NEWEST = "2.0.0", "3.1.10"
RELEASES = (OLDEST, "2.5.17", NEWEST) if not LONG else (OLDEST, "2.2.13", "2.3.26", "2.5.17", "2.9.0", "3.0.11", NEWEST)
"""The oldest and the newest release that are supported, and some between them."""
_NEEDS = ("fastapi", "openai", "orjson", "filelock", "pydantic", "PyYAML")


class NotThere(Exception):
    """The environment cannot be made here; the text says why."""


_not_there: dict[str, str] = {}


def interpreter(release: str) -> Path:
    """The Python of an environment with this release. Raises NotThere when the registry cannot be reached; that is
    tried once."""
    if release in _not_there:
        raise NotThere(_not_there[release])
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(tempfile.gettempdir(), f"localstore-agno-{release}-py{python}-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder / "env" / "bin" / "python"
    with pool_of(folder).session("env", 600.0):
        if not (folder / "complete").exists():
            venv.create(folder / "env", clear=True, with_pip=True)
            needs = [f"agno=={release}", *_NEEDS]
            command = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needs]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                _not_there[release] = f"agno {release} cannot be installed: {done.stderr.strip().splitlines()[-1]}"
                raise NotThere(_not_there[release])
            (folder / "complete").touch()
    return found


def run_inside(release: str, *args: str | Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run `python -m ARGS` with that release, and with localstore and its tests from this checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "AGNO_"))}
    environment |= {"PYTHONPATH": str(ROOT), "AGNO_TELEMETRY": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(interpreter(release)), "-m", *map(str, args)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=timeout, cwd=ROOT
    )

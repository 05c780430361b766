"""Separate environments with real releases of agno, made once and kept in the folder for temporary files.

agno is no dependency of localstore, and its releases exclude each other, so that none is in the tests' own environment.
"""

import subprocess
from pathlib import Path

from tests.effort import IS_LONG
from tests.environments import ROOT, interpreter, without_settings

OLDEST, NEWEST = "2.0.0", "3.1.10"
_BETWEEN = ("2.2.13", "2.3.26", "2.5.17", "2.9.0", "3.0.11") if IS_LONG else ("2.5.17",)
RELEASES = (OLDEST, *_BETWEEN, NEWEST)
"""The oldest and the newest release that are supported, and some between them."""
_NEEDS = ("fastapi", "openai", "orjson", "filelock", "pydantic", "PyYAML")


def run_inside(release: str, *args: str | Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run `python -m ARGS` with that release, and with localstore and its tests from this checkout. Raises NotThere."""
    python = interpreter(f"agno-{release}", [f"agno=={release}", *_NEEDS])
    environment = without_settings() | {
        "PYTHONPATH": str(ROOT),
        "AGNO_TELEMETRY": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(python), "-m", *map(str, args)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=timeout, cwd=ROOT
    )

"""Environments with real releases of agno. They are made once and kept in the temporary folder.

agno is not a dependency of localstore, and two of its releases cannot be installed together, so the environment of the
tests has none.
"""

import subprocess
from pathlib import Path

from tests.effort import IS_LONG
from tests.environments import ROOT, interpreter, without_settings

OLDEST, NEWEST = "2.0.0", "3.1.10"
_BETWEEN = ("2.2.13", "2.3.26", "2.5.17", "2.9.0", "3.0.11") if IS_LONG else ("2.5.17",)
RELEASES = (OLDEST, *_BETWEEN, NEWEST)
"""The oldest and the newest supported release, and some between them."""
_NEEDS = (
    *("fastapi", "openai", "sqlalchemy[asyncio]", "python-multipart", "orjson", "filelock", "pydantic", "PyYAML"),
    *("psycopg[binary]", "pymongo"),
)


def run_inside(
    release: str, *args: str | Path, timeout: float = 240, folder: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ARGS` with this release of agno, and with localstore and its tests from this checkout.

    `folder` is the working directory; `variables` are added to the environment. Raises NotThere.
    """
    python = interpreter(f"agno-{release}", [f"agno=={release}", *_NEEDS])
    environment = without_settings() | {"PYTHONPATH": str(ROOT), "AGNO_TELEMETRY": "false", **variables}
    command = [str(python), "-m", *map(str, args)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=timeout, cwd=folder
    )

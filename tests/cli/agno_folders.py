"""Folders of agno 1.x for the tests of the command line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.unit.maintenance.upgrade.old_folders import agno_bytes, folder_of_agno, in_month, old_session, tree_of

from .conftest import ENTRY_POINT, clean_environment

__all__ = ["agno_bytes", "folder_of_agno", "in_month", "into_a_closed_pipe", "old_session", "tree_of"]


def into_a_closed_pipe(args: Iterable[str | Path], cwd: Path) -> tuple[int, str]:
    """Exit code and error output of a command whose reader has gone."""
    reading = subprocess.Popen(["/bin/true"], stdin=subprocess.PIPE)
    reading.wait()
    process = subprocess.Popen(
        [ENTRY_POINT, *args], cwd=cwd, stdout=reading.stdin, stderr=subprocess.PIPE, env=clean_environment(), text=True
    )
    assert reading.stdin is not None
    reading.stdin.close()
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors

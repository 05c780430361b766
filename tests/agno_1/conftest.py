"""These tests need agno 1.x, which the development environment does not have.

`tests/unit/integrations/agno/test_storage.py` runs them in environments with agno.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_server import Reply, ScriptedServer, scripted_server

if find_spec("agno") is None:
    collect_ignore_glob = ["test_*.py"]

OFFLINE = {"telemetry": False, "monitoring": False}
"""Options that keep agno from sending telemetry."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Start scripted servers that run until the test ends."""
    running: list[Any] = []

    def start(*script: Reply) -> ScriptedServer:
        running.append(scripted_server(*script))
        server: ScriptedServer = running[-1].__enter__()
        return server

    yield start
    for server in running:
        server.__exit__(None, None, None)

"""What all tests share: the level of effort (see `tests/effort.py`), repeatable random choices, and what saves time."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from localstore.index import sqlite_file
from tests import environments
from tests.effort import IS_DEFAULT, IS_LONG, LEVEL, rounds
from tests.spreading import spread

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.scheduling import Scheduling

settings.register_profile("localstore", deadline=None, derandomize=not IS_LONG, max_examples=rounds(30, 100, 1000))
settings.load_profile("localstore")

# Processes that the tests start take twice as long if they may not keep the compiled modules.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Each client of a model server reads the certificates that the system trusts, which takes longer than most tests. The
# servers of the tests are on this machine, and have none.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(environments.no_certificates())

if not IS_LONG:
    # The process of the tests waits for no disk: nothing in it depends on what a power cut would leave. The models of
    # power cuts and of failing disks see each call, and the processes that tests start wait as always.
    os.fsync = os.fdatasync = os.fstat  # type: ignore[assignment]
    sqlite_file._SYNCHRONOUS = "OFF"

if IS_DEFAULT and (folder := environments.folder_in_memory()) is not None:
    # A new store takes a third of the time there. The levels `ci` and `long` use the disk.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))

if sys.platform != "win32":
    # The models of power cuts leave thousands of connections to indexes whose place another one has taken, which are
    # kept open until the process ends. Many systems allow 1,024 descriptors, and more if one asks.
    _allowed, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
    _wanted = 16_384 if _most == resource.RLIM_INFINITY else min(_most, 16_384)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(_allowed, _wanted), _most))

gc.disable()  # until all tests are collected: that makes very many objects, and no garbage


_LEFT_OUT = {"default": ("ci_only", "long_only"), "ci": ("long_only",), "long": ()}[LEVEL]
"""The markers of the tests that this level leaves out."""


def pytest_report_header() -> str:
    return f"level of effort: {LEVEL} (set LOCALSTORE_TESTS to default, ci or long)"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for the higher levels, and say how much that is."""
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in _LEFT_OUT)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        chosen = set(items) - set(left_out)
        items[:] = [item for item in items if item in chosen]


def pytest_collection_finish() -> None:
    """Exempt the collected tests from garbage collection, which would walk through all of them again and again."""
    gc.freeze()
    gc.enable()
    if not IS_LONG and (connections := sys.modules.get("localstore.databases.sql_connections")) is not None:
        connections._SYNCHRONOUS = "OFF"  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def tmp_path_factory(tmp_path_factory: pytest.TempPathFactory) -> pytest.TempPathFactory:
    spread(tmp_path_factory.getbasetemp())
    return tmp_path_factory


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    spread(tmp_path)
    return tmp_path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    from tests.scheduling import Scheduling

    return Scheduling(config, log) if config.getvalue("dist") == "loadgroup" else None

"""What the tests of the index share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from localstore.disk.locks import pool_of
from localstore.index.manifest import Manifest
from tests.unit.raw import Storage, answered


@pytest.fixture(params=[True, False], ids=["the same process", "another process"])
def later(request: pytest.FixtureRequest, storage: Storage) -> Callable[[], Storage]:
    """Return the storage that the test goes on with."""
    for name in ("a", "b", "c"):
        storage.append(name, answered(f"run-{name}"), user_id="alice")
    storage.list_sessions()
    return lambda: storage if request.param else type(storage)(storage.root)


@pytest.fixture
def open_manifest(tmp_path: Path) -> Callable[[], Manifest]:
    (tmp_path / ".localstore" / "locks").mkdir(parents=True)
    return lambda: Manifest(str(tmp_path), pool_of(tmp_path), 1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".localstore/manifest.jsonl"

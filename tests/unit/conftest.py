"""What the unit tests share: a storage in each format, and a disk that is watched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import JsonStorage, YamlStorage
from localstore.disk import filesystem
from tests.unit.raw import Storage
from tests.unit.watched_disk import WatchedDisk

StorageClass = type[JsonStorage] | type[YamlStorage]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs are asked for and seen, but not waited for: no test here cuts the power."""
    monkeypatch.setattr(filesystem.System, "sync", lambda *_: None)
    monkeypatch.setattr(filesystem.System, "sync_folder", lambda *_: None)


@pytest.fixture(params=[JsonStorage, YamlStorage], ids=["json", "yaml"])
def storage_class(request: pytest.FixtureRequest) -> StorageClass:
    """Both kinds of storage, one after the other."""
    chosen: StorageClass = request.param
    return chosen


@pytest.fixture
def storage(storage_class: StorageClass, tmp_path: Path) -> Storage:
    """An empty storage of each kind."""
    return storage_class(tmp_path / "store")


@pytest.fixture
def reopen(storage: Storage) -> Callable[[], Storage]:
    """Open the same store again, as another process would: with nothing remembered."""
    return lambda: type(storage)(storage.root)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> WatchedDisk:
    """The disk, watched from here on."""
    watched = WatchedDisk()
    monkeypatch.setattr(filesystem, "system", watched)
    return watched


@pytest.fixture(params=["lines in memory", "lines in the index"])
def folding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether lines are kept in memory, or go to the index at once."""
    if request.param == "lines in the index":
        for name in ("_SHORT", "_LONG", "_MOST_ROWS"):
            monkeypatch.setattr(f"localstore.index.manifest_reader.{name}", 0)
    return str(request.param)

"""A store that is moved, removed or replaced while a process has it open."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import JsonStorage, StoreNotFound, YamlStorage
from localstore.disk import filesystem
from localstore.disk.locks import pool_of
from localstore.disk.store_identity import MARKER, StoreIdentity, make_folders
from tests.unit.conftest import StorageClass
from tests.unit.raw import answered, run_ids
from tests.unit.watched_disk import Call, WatchedDisk

Storage = JsonStorage | YamlStorage
CALLS: dict[str, Callable[[Storage], object]] = {
    "append": lambda storage: storage.append("s1", answered("late")),
    "append to a new session": lambda storage: storage.append("s3", answered("late")),
    "append to a session in another folder": lambda storage: storage.append("s2", answered("late")),
    "update": lambda storage: storage.update("s1", name="late"),
    "delete": lambda storage: storage.delete_session("s1"),
    "drop": lambda storage: storage.drop(),
    "read": lambda storage: storage.read("s1"),
    "read a missing session": lambda storage: storage.read("s3"),
    "list": lambda storage: storage.list_sessions(),
}


def opened(storage_class: StorageClass, folder: Path) -> Storage:
    storage = storage_class(folder)
    storage.append("s1", answered("r1"))
    storage.append("s2", answered("r1"))
    return storage


def content(folder: Path) -> dict[str, bytes]:
    """The bytes of the documents below a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("sessions/*/*")}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_moved_store_is_named_and_not_made_again(
    storage_class: StorageClass, tmp_path: Path, call: Callable[[Storage], object]
) -> None:
    """Regression: after `mv store elsewhere`, a process made the old folder again, without its marker, and
    acknowledged runs into it, where no command found a store. Reads and listings were empty without an error.
    """
    storage = opened(storage_class, tmp_path / "store")
    before = content(storage.root)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreNotFound, match=r"was moved or removed while it was open here\. Open the storage again"):
        call(storage)
    assert not (tmp_path / "store").exists()
    assert content(tmp_path / "elsewhere") == before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_copy_in_the_place_of_the_store_is_not_written_to(
    storage_class: StorageClass, tmp_path: Path, call: Callable[[Storage], object]
) -> None:
    """Regression: after `mv store old && cp -a old store`, old and new processes held the same lock in two files, and
    runs that both acknowledged were lost.
    """
    storage = opened(storage_class, tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "store")
    before = content(tmp_path / "store")
    with pytest.raises(StoreNotFound, match="was replaced by another one while it was open here"):
        call(storage)
    assert content(tmp_path / "store") == content(tmp_path / "old") == before
    reopened = storage_class(tmp_path / "store")
    reopened.append("s1", answered("r2"))
    assert run_ids(reopened.path("s1")) == ["r1", "r2"]


def test_a_lock_that_was_never_taken_before_is_not_taken_in_a_copy(storage_class: StorageClass, tmp_path: Path) -> None:
    """The lock file is opened for the first time after the store was replaced, so nothing held can differ from it."""
    storage = storage_class(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "store")
    with pytest.raises(StoreNotFound):
        storage.append("s1", answered("r1"))
    assert content(tmp_path / "store") == content(tmp_path / "old") == {}


def test_no_lock_of_a_store_that_was_replaced_is_taken(tmp_path: Path) -> None:
    storage = opened(JsonStorage, tmp_path / "store")
    locks = storage._engine.locks
    (tmp_path / "store").rename(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "store")
    for lock in (locks.session("s1", 0), locks.manifest(0), locks.migration(0), locks.all_sessions(0)):
        with pytest.raises(StoreNotFound), lock:
            pass
    assert JsonStorage(tmp_path / "store")._engine.locks is not locks


def test_a_store_that_was_removed_and_made_again_is_another_one(storage_class: StorageClass, tmp_path: Path) -> None:
    """The file system may give the new folder and the new marker the inodes of the removed ones."""
    storage = opened(storage_class, tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    again = storage_class(tmp_path / "store")
    again.append("s1", answered("new"))
    with pytest.raises(StoreNotFound):
        storage.append("s1", answered("late"))
    assert run_ids(again.path("s1")) == ["new"]


def _touch(marker: Path) -> None:
    os.utime(marker, ns=(1, 1))


def _save_again(marker: Path) -> None:
    marker.with_name("saved").write_bytes(marker.read_bytes())
    marker.with_name("saved").replace(marker)


@pytest.mark.parametrize("change", [_touch, _save_again])
def test_a_marker_that_was_saved_again_is_no_other_store(
    storage_class: StorageClass, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """Regression: after a `touch`, a restored time or a copy by rsync of `localstore.json` alone, each call of an open
    storage raised StoreNotFound ("was replaced by another one"), and the program's runs were not stored.
    """
    storage = opened(storage_class, tmp_path / "store")
    change(storage.root / MARKER)
    for number in range(20):  # most of them take a lock for the first time
        storage.append(f"s{number}", answered("r2"))
    assert len(storage.list_sessions()) == 20
    storage.close()
    other = storage_class(tmp_path / "store")
    other.append("s1", answered("r3"))
    assert run_ids(storage.path("s1")) == ["r1", "r2", "r3"]


def test_a_store_that_lost_its_marker_takes_no_more_runs_once_its_locks_are_gone(tmp_path: Path) -> None:
    """The content was moved out of the folder, which stays: `mv store/* store/.localstore elsewhere`."""
    storage = opened(JsonStorage, tmp_path / "store")
    (tmp_path / "elsewhere").mkdir()
    for path in (tmp_path / "store").iterdir():
        path.rename(tmp_path / "elsewhere" / path.name)
    with pytest.raises(StoreNotFound, match=f"has no {MARKER}"):
        storage.append("s1", answered("late"))
    assert list((tmp_path / "store").iterdir()) == []


def test_a_store_that_is_back_in_its_place_is_used_on(storage_class: StorageClass, tmp_path: Path) -> None:
    storage = opened(storage_class, tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreNotFound):
        storage.append("s1", answered("r2"))
    (tmp_path / "elsewhere").rename(tmp_path / "store")
    storage.append("s1", answered("r3"))
    assert run_ids(storage.path("s1")) == ["r1", "r3"]


def test_a_storage_stays_with_its_folder_when_a_link_leads_elsewhere(tmp_path: Path) -> None:
    opened(JsonStorage, tmp_path / "first")
    opened(JsonStorage, tmp_path / "second")
    (tmp_path / "link").symlink_to(tmp_path / "first")
    storage = JsonStorage(tmp_path / "link")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "second")
    storage.append("s1", answered("r2"))
    assert run_ids(tmp_path / "first" / storage.path("s1").relative_to(storage.root)) == ["r1", "r2"]
    assert storage.root == tmp_path / "first"


def test_a_storage_opened_by_a_relative_path_stays_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = JsonStorage(Path("store"))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    storage.append("s1", answered("r1"))
    assert run_ids(next((tmp_path / "store").glob("sessions/*/s1.json"))) == ["r1"]
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("session_id", ["s1", "s3"])
@pytest.mark.parametrize("place", range(1, 40))
def test_a_store_that_is_moved_in_the_middle_of_a_write_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session_id: str, place: int
) -> None:
    """At any place of a write: the run is in the moved store, or the call raises. The old place stays empty."""
    storage = opened(JsonStorage, tmp_path / "store")
    disk = WatchedDisk()
    left = place

    def move(_: Call) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            (tmp_path / "store").rename(tmp_path / "elsewhere")

    disk.before = move
    monkeypatch.setattr(filesystem, "system", disk)
    is_acknowledged = True
    try:
        storage.append(session_id, answered("late"))
    except StoreNotFound:
        is_acknowledged = False
    assert not (tmp_path / "store").exists() or left > 0
    monkeypatch.undo()
    if is_acknowledged:
        now = tmp_path / ("store" if left > 0 else "elsewhere")
        session = JsonStorage(now).read(session_id)
        assert session is not None
        assert session.runs[-1].run_id == "late"


def test_folders_are_made_below_the_root_only(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    make_folders(tmp_path / "store", tmp_path / "store" / "a" / "b")
    assert (tmp_path / "store" / "a" / "b").is_dir()
    with pytest.raises(StoreNotFound):
        make_folders(tmp_path / "gone", tmp_path / "gone" / "a" / "b")
    assert not (tmp_path / "gone").exists()


def test_locks_and_identity_belong_together(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path / "store")
    assert pool_of(storage.root).store == StoreIdentity.of(str(storage.root))
    os.utime(storage.root / MARKER, ns=(1, 1))
    assert pool_of(storage.root) is not storage._engine.locks

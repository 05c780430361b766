"""Many writes at once: `append_many` and `bulk`, and how often they sync."""

import asyncio
import contextlib
import threading
from pathlib import Path

import pytest

from localstore import Conflict, OwnerMismatch, Run, SessionNotFound, YamlStorage
from tests.unit.conftest import StorageClass
from tests.unit.raw import Storage, answered, manifest_lines, question, run_ids
from tests.unit.watched_disk import WatchedDisk


def syncs(disk: WatchedDisk) -> int:
    return len(disk.of("sync")) + len(disk.of("sync_folder"))


def test_append_many_is_one_write(storage: Storage, disk: WatchedDisk) -> None:
    """To import 500 runs took 500 syncs."""
    storage.append("s1", answered("r1"))
    disk.forget()
    storage.append_many("s1", [answered(f"r{number}") for number in range(2, 52)])
    assert syncs(disk) == 2
    assert run_ids(storage.path("s1")) == [f"r{number}" for number in range(1, 52)]
    storage.append_many("new", [answered("a"), answered("b")], user_id="alice", entity_id="guide", kind="team")
    (info,) = storage.list_sessions(user_id="alice")
    assert (info.session_id, info.runs, info.kind, info.entity_id) == ("new", 2, "team", "guide")
    assert type(storage)(storage.root).list_sessions(user_id="alice") == [info]


def test_append_many_again_writes_nothing(storage: Storage) -> None:
    """As `append`: a call that was interrupted can be repeated."""
    runs = [answered(f"r{number}") for number in range(100)]
    storage.append_many("s1", runs)
    before = storage.path("s1").read_bytes()
    storage.append_many("s1", runs)
    assert storage.path("s1").read_bytes() == before
    storage.append_many("s1", [*runs, answered("new")])
    assert run_ids(storage.path("s1")) == [*(run.run_id for run in runs), "new"]


def test_append_many_finishes_stored_runs(storage: Storage) -> None:
    storage.append("s1", question("r1", status="unfinished"))
    storage.append("s1", question("r2", status="unfinished"))
    storage.append_many("s1", [answered("r1"), answered("r2"), answered("r3")])
    session = storage.read("s1")
    assert session is not None
    assert [(run.run_id, run.status) for run in session.runs] == [(f"r{one}", "completed") for one in (1, 2, 3)]


def test_append_many_stores_all_or_none(storage: Storage) -> None:
    """A conflict in the last run leaves the first ones unwritten, too."""
    storage.append("s1", answered("r1"), user_id="alice")
    before = storage.path("s1").read_bytes()
    with pytest.raises(Conflict):
        storage.append_many("s1", [answered("r2"), answered("r1", "something else")])
    with pytest.raises(ValueError, match="same run_id"):
        storage.append_many("s1", [answered("r2"), answered("r2")])
    with pytest.raises(TypeError):
        storage.append_many("s1", [answered("r2"), "no run"])  # type: ignore[list-item]
    with pytest.raises(OwnerMismatch):
        storage.append_many("s1", [answered("r2")], user_id="bob")
    with pytest.raises(SessionNotFound):
        storage.append_many("nowhere", [answered("r2")], create=False)
    storage.append_many("nothing", [])
    assert storage.path("s1").read_bytes() == before
    assert storage.get_all_session_ids() == ["s1"]


def test_a_bulk_is_synced_once_at_its_end(storage: Storage, disk: WatchedDisk) -> None:
    for name in ("s1", "s2"):
        storage.append(name, answered("r0"))
    disk.forget()
    with storage.bulk():
        for number in range(1, 20):
            for name in ("s1", "s2"):
                storage.append(name, answered(f"r{number}"))
        assert syncs(disk) == 0
        assert all("boot" in line for line in manifest_lines(storage)[-2:])
    assert syncs(disk) == 3  # each document, and their folder
    assert not any("boot" in line for line in manifest_lines(storage)[-2:])
    disk.forget()
    storage.append("s1", answered("last"))
    assert syncs(disk) == 1


def test_new_sessions_in_a_bulk_are_synced_without_their_names(storage: Storage, disk: WatchedDisk) -> None:
    storage.append("first", answered("r1"))
    disk.forget()
    with storage.bulk():
        for number in range(50):
            storage.append(f"s{number}", answered("r1"))
        assert syncs(disk) == 50
    assert syncs(disk) == 51
    assert not any("boot" in line for line in manifest_lines(storage)[-50:])


def test_a_bulk_that_fails_is_synced_too(storage: Storage, disk: WatchedDisk) -> None:
    storage.append("s1", answered("r0"))
    disk.forget()

    def fail() -> None:
        with storage.bulk(), storage.bulk():
            storage.append("s1", answered("r1"))
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert syncs(disk) == 2
    assert run_ids(storage.path("s1")) == ["r0", "r1"]


def test_a_sync_that_fails_at_the_end_of_a_bulk_is_raised(storage: Storage, disk: WatchedDisk) -> None:
    """Otherwise the writes would count as durable."""
    for name in ("s1", "s2"):
        storage.append(name, answered("r0"))
    bulk = storage.bulk()
    with contextlib.suppress(OSError):
        with bulk:
            storage.append("s1", answered("r1"))
            storage.append("s2", answered("r1"))
            disk.fail("sync", storage.path("s1").name)
        pytest.fail("no error was raised")
    assert not any("boot" in line for line in manifest_lines(storage)[-1:])  # the other session was synced
    assert "rewrite" in next(line for line in reversed(manifest_lines(storage)) if line["session_id"] == "s1")
    storage.append("s1", answered("r2"))
    assert run_ids(storage.path("s1")) == ["r0", "r1", "r2"]


def test_other_threads_and_storages_sync_at_once(storage: Storage, disk: WatchedDisk) -> None:
    """A write that another thread acknowledges must be durable, whatever this thread does."""
    other = type(storage)(storage.root)
    for name in ("s1", "s2"):
        storage.append(name, answered("r0"))
    disk.forget()
    with storage.bulk():
        thread = threading.Thread(target=storage.append, args=("s1", answered("r1")))
        thread.start()
        thread.join()
        assert syncs(disk) == 1
        other.append("s2", answered("r1"))
        assert syncs(disk) == 2


def test_a_bulk_of_a_task(storage: Storage, disk: WatchedDisk) -> None:
    """The threads of the async twins belong to it."""
    storage.append("s1", answered("r0"))
    disk.forget()

    async def use() -> None:
        async with storage.bulk():
            await storage.aappend("s1", answered("r1"))
            await storage.aappend_many("s1", [answered("r2")])
            assert syncs(disk) == 0

    asyncio.run(use())
    assert syncs(disk) == 2
    assert run_ids(storage.path("s1")) == ["r0", "r1", "r2"]


def test_a_relaxed_creation_of_json_syncs_nothing(
    storage_class: StorageClass, tmp_path: Path, disk: WatchedDisk
) -> None:
    """50 new sessions took 50 syncs, and 100 in earlier releases."""
    relaxed = storage_class(tmp_path / "store", durability="relaxed")
    relaxed.append("first", answered("r1"))
    disk.forget()
    for number in range(50):
        relaxed.append(f"s{number}", answered("r1"))
    is_yaml = storage_class is YamlStorage
    assert (len(disk.of("sync")), len(disk.of("sync_folder"))) == (50 if is_yaml else 0, 0)


def test_a_durable_write_makes_the_name_of_a_relaxed_session_durable(
    storage_class: StorageClass, tmp_path: Path, disk: WatchedDisk
) -> None:
    """Otherwise a power cut could take the acknowledged run together with the name of its document."""
    relaxed = storage_class(tmp_path / "store", durability="relaxed")
    relaxed.append("s1", answered("r1"))
    full = storage_class(tmp_path / "store")
    disk.forget()
    full.append("s1", Run(run_id="r2"))
    assert disk.of("sync_folder")
    disk.forget()
    full.append("s1", Run(run_id="r3"))
    assert not disk.of("sync_folder")

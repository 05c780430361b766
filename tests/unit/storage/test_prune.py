"""`storage.trash` and `storage.prune`: many sessions at once, each moved as one alone is."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from localstore import Conflict, Filter, JsonStorage, LockTimeout, NewerFormat, SessionNotFound
from localstore.disk.locks import pool_of
from localstore.maintenance.trash import put_back, trashed
from tests import oracle
from tests.unit.raw import Storage, answered, edit
from tests.unit.watched_disk import WatchedDisk


@pytest.fixture
def many(storage: Storage) -> Storage:
    for number in range(5):
        storage.append(f"s{number}", answered(f"r{number}"), user_id="alice" if number else "bob")
    return storage


def test_sessions_go_to_the_trash_together_and_come_back_one_by_one(many: Storage) -> None:
    before = oracle.sessions(many.root)
    removal = many.trash(["s1", many.list_sessions("bob")[0], "s3"])
    assert ([one.session_id for one in removal.moved], removal.problems) == (["s1", "s3", "s0"], {})
    assert set(many.get_all_session_ids()) == set(type(many)(many.root).get_all_session_ids()) == {"s2", "s4"}
    for one in trashed(many):
        put_back(many, one.name)
    assert oracle.sessions(many.root) == before
    assert list((many.root / ".localstore" / "trash").iterdir()) == []


def test_the_others_are_moved_if_some_cannot_be(many: Storage) -> None:
    """A newer document, one that changed since it was listed, an unknown id and a locked session."""
    path = many.path("s1")
    edit(path, *(f"schema_version{':' if path.suffix == '.yaml' else chr(34) + ':'} {version}" for version in (1, 2)))
    listed = {info.session_id: info for info in many.list_sessions()}
    many.append("s2", answered("later"))
    with pool_of(many.root).session("s3", 1):
        fast = type(many)(many.root, lock_timeout=0.01)
        removal = _in_another_thread(fast, ["s0", "s1", listed["s2"], "s3", "nobody", "s4"])
    kinds = {session_id: type(error) for session_id, error in removal.problems.items()}
    assert kinds == {"s1": NewerFormat, "s2": Conflict, "s3": LockTimeout, "nobody": SessionNotFound}
    assert {one.session_id for one in removal.moved} == {"s0", "s4"}
    assert {path.stem for path in oracle.document_paths(many.root)} == {"s1", "s2", "s3"}


def _in_another_thread(storage: Storage, sessions: list[Any]) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        return pool.submit(storage.trash, sessions).result()


def test_the_folders_of_the_store_are_synced_once_for_all(many: Storage, disk: WatchedDisk) -> None:
    """Regression: each of 200 sessions cost eight syncs, and `rm` took 16 seconds."""
    many.trash(many.get_all_session_ids())
    synced = [call.path for call in disk.calls if call.operation == "sync_folder"]
    for folder in (many.root, many.root / ".localstore", many.root / ".localstore" / "trash"):
        assert synced.count(str(folder)) <= 2
    (month,) = (many.root / "sessions").iterdir()
    assert synced.count(str(month)) == 1


def test_what_prune_selects_is_as_it_was_when_it_is_moved(many: Storage) -> None:
    found = many.prune(Filter(user="alice"), keep=2, dry_run=True)
    assert [info.session_id for info in found.sessions] == ["s2", "s1"]
    assert found.removal is None
    assert found.size == sum(info.size for info in found.sessions)
    many.append("s1", answered("meanwhile"))
    removal = many.trash(found.sessions)
    assert ([one.session_id for one in removal.moved], list(removal.problems)) == (["s2"], ["s1"])


def test_prune_by_age_and_size(storage: Storage) -> None:
    for number, day in enumerate(("2026-01-01", "2026-02-01")):
        storage.append(f"s{number}", answered(f"r{number}", created_at=f"{day}T10:00:00.000Z"))
    assert storage.prune(older_than=timedelta(days=10**6)).sessions == ()
    assert storage.prune(larger_than=10**9).sessions == ()
    assert [one.session_id for one in storage.prune(older_than="1d", keep=1, dry_run=True).sessions] == ["s0"]
    assert len(storage.prune(older_than="1d").sessions) == 2
    assert {one.session_id for one in trashed(storage)} == {"s0", "s1"}


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({}, ValueError),
        ({"where": Filter()}, ValueError),
        ({"keep": 0}, ValueError),
        ({"keep": -1}, ValueError),
        ({"keep": "3"}, TypeError),
        ({"larger_than": "10MB"}, TypeError),
        ({"older_than": "soon"}, ValueError),
        ({"older_than": timedelta(days=-1)}, ValueError),
        ({"older_than": 90}, TypeError),
        ({"where": "alice"}, TypeError),
        ({"keep": 1, "dry_run": 1}, TypeError),
    ],
)
def test_a_wrong_criterion_moves_nothing(tmp_path: Path, arguments: dict[str, Any], kind: type[Exception]) -> None:
    storage = JsonStorage(tmp_path / "store", durability="relaxed")
    storage.append("s1", answered("r1"))
    with pytest.raises(kind):
        storage.prune(**arguments)
    with pytest.raises((TypeError, ValueError)):
        storage.trash(["s1", ""])
    assert storage.get_all_session_ids() == ["s1"]

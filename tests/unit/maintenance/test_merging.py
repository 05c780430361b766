"""Two stores that went on by themselves become one: `Storage.merge_from`."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from localstore import JsonStorage, StoreNotFound, YamlStorage
from localstore.databases.sql import SqlStorage
from localstore.maintenance.check import check
from tests.effort import rounds
from tests.unit.raw import Storage, answered, parse, rescued, run_ids


@pytest.fixture(params=[(JsonStorage, JsonStorage), (JsonStorage, YamlStorage), (YamlStorage, JsonStorage)])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Storage, Storage]:
    """Two stores that had the same session "trip" with the runs r1 and r2."""
    storage, other = (kind(tmp_path / name) for kind, name in zip(request.param, ("here", "there"), strict=True))
    storage.append("trip", answered("r1"), user_id="alice")
    storage.append("trip", answered("r2"))
    storage.copy_to(other)
    return storage, other


def bytes_of(storage: Storage) -> dict[str, bytes]:
    """Return the bytes of every file of a store that is not machine-local, by its path."""
    files = (path for path in storage.root.rglob("*") if path.is_file() and ".localstore" not in path.parts)
    return {str(path.relative_to(storage.root)): path.read_bytes() for path in files}


def test_the_sessions_and_runs_of_both_are_here(stores: tuple[Storage, Storage]) -> None:
    """The other store does not change. Merging again writes nothing."""
    storage, other = stores
    storage.append("trip", answered("here"))
    other.append("trip", answered("there"))
    other.append("only there", answered("o1"))
    storage.append("only here", answered("h1"))
    theirs = bytes_of(other)

    done = storage.merge_from(other)

    assert (done.added, done.extended, done.unchanged, done.runs) == (["only there"], ["trip"], 0, 2)
    assert (done.differences, done.skipped, done.deleted, done.returned) == ([], [], [], [])
    assert sorted(run_ids(storage.path("trip"))) == ["here", "r1", "r2", "there"]
    assert sorted(storage) == ["only here", "only there", "trip"]
    assert bytes_of(other) == theirs
    assert list(check(storage)) == []
    ours = bytes_of(storage)
    again = storage.merge_from(other.root)
    assert (again.added, again.extended, again.unchanged, again.runs) == ([], [], 2, 0)
    assert bytes_of(storage) == ours


def test_both_directions_make_both_stores_equal(stores: tuple[Storage, Storage]) -> None:
    """Each document keeps the format that it has in its store."""
    storage, other = stores
    endings = [one.path("trip").suffix for one in stores]
    storage.append("trip", answered("here", session_state={"a": 1}))
    other.append("trip", answered("there", session_state={"b": 2}))
    other.update("trip", name="Vienna")

    storage.merge_from(other)
    other.merge_from(storage)

    ours, theirs = (parse(one.path("trip")) for one in stores)
    assert ours.pop("$schema", None) != theirs.pop("$schema", None) or endings[0] == endings[1]
    assert ours == theirs
    assert [one.path("trip").suffix for one in stores] == endings
    session = storage.read("trip")
    assert session is not None
    assert (session.name, session.session_state) == ("Vienna", {"a": 1, "b": 2})


def test_a_new_session_has_the_bytes_of_the_other_store(tmp_path: Path) -> None:
    """Comments stay, although new sessions have another format here."""
    storage, other = JsonStorage(tmp_path / "here"), YamlStorage(tmp_path / "there")
    other.append("trip", answered("r1"))
    path = other.path("trip")
    path.write_bytes(path.read_bytes().replace(b"kind: agent", b"kind: agent  # of the travel desk"))

    storage.merge_from(other)

    assert storage.path("trip").suffix == ".yaml"
    assert storage.path("trip").read_bytes() == path.read_bytes()


def test_what_both_changed_is_named_and_kept(stores: tuple[Storage, Storage]) -> None:
    """The later form counts. The form that this store loses is in the rescue folder."""
    storage, other = stores
    storage.update("trip", name="mine")
    other.update("trip", name="yours")
    other.append("trip", answered("there"))

    done = storage.merge_from(other)

    assert [one.as_dict() for one in done.differences] == [{"session_id": "trip", "what": "name", "taken": "source"}]
    assert str(done.differences[0]) == (
        "session 'trip': name is different in both stores. This store gets the form of the other one, and sets its own "
        "aside for rescue."
    )
    assert parse(storage.path("trip"))["name"] == "yours"
    assert len(rescued(storage)) == 1
    assert parse(other.path("trip"))["name"] == "yours"


def test_a_run_that_was_undone_in_one_store_is_in_none(stores: tuple[Storage, Storage]) -> None:
    """Where it was still there, it is kept for rescue."""
    storage, other = stores
    other.undo("trip")

    storage.merge_from(other)

    assert run_ids(storage.path("trip")) == ["r1"]
    assert [file["session_id"] for file in rescued(storage)] == ["trip"]
    storage.merge_from(other)
    other.merge_from(storage)
    assert run_ids(storage.path("trip")) == run_ids(other.path("trip")) == ["r1"]


def test_a_deleted_session_stays_deleted_unless_the_other_store_has_more(stores: tuple[Storage, Storage]) -> None:
    """It comes back with what the trash has of it, and stays in the trash as well."""
    storage, other = stores
    storage.append("trip", answered("here"))
    storage.trash("trip")

    for dry_run in (True, False):
        done = storage.merge_from(other, dry_run=dry_run)
        assert (done.added, done.deleted, done.returned, done.unchanged) == ([], ["trip"], [], 0)
        assert list(storage) == []
    other.append("trip", answered("there"))
    for dry_run in (True, False):
        done = storage.merge_from(other, dry_run=dry_run)
        assert (done.added, done.deleted, done.returned, done.skipped) == (["trip"], [], ["trip"], [])
    assert run_ids(storage.path("trip")) == ["r1", "r2", "here", "there"]
    assert len(storage.trashed()) == 1
    assert storage.merge_from(other).deleted == []


def test_the_trash_and_the_rescue_files_of_the_other_store_stay_there(stores: tuple[Storage, Storage]) -> None:
    """Nor do sessions that were deleted there disappear here."""
    storage, other = stores
    other.append("gone", answered("g1"))
    other.append("trip", answered("r3"))
    other.remove_run("trip", "r3")
    other.trash(["gone", "trip"])

    done = storage.merge_from(other)

    assert (done.added, done.extended, done.deleted, done.returned) == ([], [], [], [])
    assert list(storage) == ["trip"]
    assert (storage.trashed(), rescued(storage)) == ([], [])
    assert len(other.trashed()) == 2


def test_a_database_is_merged_into_a_folder(stores: tuple[Storage, Storage], tmp_path: Path) -> None:
    """Somebody else works in the database: runs come from there, and a run that was undone there is removed here."""
    storage, _ = stores
    database = SqlStorage(f"sqlite:///{tmp_path / 'shared.db'}")
    storage.copy_to(database)
    database.undo("trip")
    database.append("trip", answered("there"), user_id="alice")

    for extended in (["trip"], []):
        assert storage.merge_from(database).extended == extended
    assert run_ids(storage.path("trip")) == ["r1", "there"]
    assert len(rescued(storage)) == 1


def test_a_document_in_the_trash_that_cannot_be_read_does_not_hide_a_session(
    stores: tuple[Storage, Storage],
) -> None:
    """Nobody knows whether the other store has more."""
    storage, other = stores
    storage.trash("trip")
    path = Path(storage.trashed()[0].path)
    path.write_bytes(path.read_bytes()[:-20])

    done = storage.merge_from(other)

    assert (done.added, done.returned) == (["trip"], ["trip"])


def test_a_dry_run_says_what_a_merge_would_do(stores: tuple[Storage, Storage]) -> None:
    """Nothing is written."""
    storage, other = stores
    other.append("trip", answered("there"))
    other.append("new", answered("n1"))
    before = bytes_of(storage)

    done = storage.merge_from(other, dry_run=True)

    assert (done.dry_run, done.added, done.extended, done.runs) == (True, ["new"], ["trip"], 2)
    assert bytes_of(storage) == before


def test_what_cannot_be_merged_is_named(stores: tuple[Storage, Storage]) -> None:
    """Broken documents of the other store, and sessions that belong to another user here."""
    storage, other = stores
    other.append("broken", answered("b1"))
    other.path("broken").write_text("{")
    other.append("mine", answered("m1"), user_id="alice")
    storage.append("mine", answered("m2"), user_id="bob")
    other.append("new", answered("n1"))

    done = storage.merge_from(other)

    assert done.added == ["new"]
    problems = {one.session_id: one.problem for one in done.skipped}
    assert problems.keys() == {"broken", "mine"}
    assert "different users" in problems["mine"]
    assert str(other.path("broken")) in problems["broken"]
    assert parse(storage.path("mine"))["user_id"] == "bob"


def test_a_run_with_a_wrong_type_does_not_come_into_a_session(tmp_path: Path) -> None:
    """A person wrote it into the document of the other store. Here, the whole session could not be read any more."""
    storage, other = JsonStorage(tmp_path / "here"), JsonStorage(tmp_path / "there")
    storage.append("trip", answered("r1"))
    storage.copy_to(other)
    other.append("trip", answered("r2"))
    path = other.path("trip")
    document = json.loads(path.read_text())
    document["history"][-1]["steps"] = 5
    path.write_text(json.dumps(document))

    for dry_run in (True, False):
        (skipped,) = storage.merge_from(other, dry_run=dry_run).skipped
        assert "history[r2].steps: Input should be a valid list" in skipped.problem
    assert run_ids(storage.path("trip")) == ["r1"]


def test_the_other_store_may_be_read_only(stores: tuple[Storage, Storage]) -> None:
    """A backup on a medium that cannot be written, for instance."""
    storage, other = stores
    other.append("trip", answered("there"))
    folders = [path for path in [other.root, *other.root.rglob("*")] if path.is_dir()]
    for path in folders:
        path.chmod(0o500)
    try:
        done = storage.merge_from(type(other)(other.root, create=False))
    finally:
        for path in folders:
            path.chmod(0o700)

    assert done.extended == ["trip"]


def test_wrong_arguments_are_named(stores: tuple[Storage, Storage], tmp_path: Path) -> None:
    """A store cannot be merged into itself, and a folder without a store is not made one."""
    storage, _ = stores
    calls: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: storage.merge_from(storage.root), ValueError),
        (lambda: storage.merge_from(tmp_path / "nowhere"), StoreNotFound),
        (lambda: storage.merge_from(5), TypeError),  # type: ignore[arg-type]
        (lambda: storage.merge_from(storage, dry_run=1), TypeError),  # type: ignore[arg-type]
    ]
    for call, kind in calls:
        with pytest.raises(kind):
            call()
    assert not os.path.exists(tmp_path / "nowhere")


def test_writers_of_both_stores_go_on_during_a_merge(stores: tuple[Storage, Storage]) -> None:
    """What they write is there afterwards; what the other store wrote too late comes with the next merge."""
    storage, other = stores
    started = threading.Barrier(3)

    def write(to: Storage, name: str) -> None:
        started.wait()
        for number in range(20):
            to.append("trip", answered(f"{name}{number}"))

    threads = [threading.Thread(target=write, args=pair) for pair in ((storage, "h"), (other, "t"))]
    for thread in threads:
        thread.start()
    started.wait()
    for _ in range(5):
        assert storage.merge_from(other).skipped == []
    for thread in threads:
        thread.join()
    storage.merge_from(other)

    ids = run_ids(storage.path("trip"))
    assert len(ids) == len(set(ids)) == 42
    assert [name for name in ids if name.startswith("h")] == [f"h{number}" for number in range(20)]


def test_stores_with_random_histories_become_equal(tmp_path: Path) -> None:
    """Two stores go on by themselves, and are merged now and then in one direction. Nothing is lost or doubled.

    A run that was undone in one of them is in none. Once both directions were merged, names, states and ratings agree,
    and another merge writes nothing.
    """
    for number in range(rounds(4, 20, 600)):
        random = Random(number)
        kinds = [random.choice([JsonStorage, YamlStorage]) for _ in range(2)]
        stores = [kind(tmp_path / f"{number}-{side}", durability="relaxed") for side, kind in enumerate(kinds)]
        expected: dict[str, set[str]] = {"a": set(), "b": set()}
        count = 0
        for _ in range(random.randrange(5, 30)):
            storage, other = random.sample(stores, 2)
            session_id = random.choice("ab")
            session = storage.read(session_id)
            step = random.choice(["append", "append", "append", "undo", "rate", "rename", "state", "merge"])
            if step == "append" or (session is None and step != "merge"):
                count += 1
                storage.append(session_id, answered(f"r{count}", session_state={f"k{count % 3}": count}))
                expected[session_id].add(f"r{count}")
            elif step == "merge":
                assert storage.merge_from(other).skipped == []
            elif session is not None and step == "undo" and session.runs:
                gone = storage.undo(session_id)
                assert gone is not None
                expected[session_id].discard(gone.run.run_id)
            elif session is not None and step == "rate" and session.runs:
                storage.rate(session_id, random.choice(session.runs).run_id, random.choice(["good", "bad"]))
            elif step == "rename":
                storage.update(session_id, name=f"name {count}")
            elif step == "state":
                storage.update(session_id, session_state={"n": count})
        for first, second in ((0, 1), (1, 0)):
            assert stores[first].merge_from(stores[second]).skipped == []
        for session_id, run_ids_left in expected.items():
            found = [storage.read(session_id) for storage in stores]
            ids = [[run.run_id for run in one.runs] if one is not None else [] for one in found]
            assert sorted(ids[0]) == sorted(ids[1]) == sorted(run_ids_left)
            if found[0] is not None and found[1] is not None:
                assert found[0].name == found[1].name
                assert found[0].session_state == found[1].session_state
                ratings = [{run.run_id: run.rating for run in one.runs} for one in found if one is not None]
                assert ratings[0] == ratings[1]
            for storage in stores:
                again = storage.merge_from(stores[1 - stores.index(storage)])
                assert (again.added, again.extended) == ([], [])
        assert [one for storage in stores for one in check(storage) if one.severity != "note"] == []

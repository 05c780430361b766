"""Sessions move between any two storages, and come back as they were."""

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest

from localstore import Filter, Item, JsonStorage, Message, Run, SessionStorage, Step, YamlStorage
from localstore.databases.database_storage import DatabaseStorage
from localstore.maintenance import copying
from tests.contract.conftest import Open
from tests.contract.runs import answered, asked, document, run_ids

Folder = JsonStorage | YamlStorage


def fill(storage: SessionStorage) -> None:
    """Store sessions of all kinds."""
    storage.append("trip", answered("r1", question="Grüße\nan Linz: 8 €\u2028"), user_id="alice", entity_id="planner")
    storage.append("trip", answered("r2"))
    storage.update("trip", session_state={"b": 1, "a": [1.5, None, {"z": "x", "c": []}]}, name="Trip to Linz")
    storage.rate("trip", "r1", "good", "short")
    storage.append("flow", asked("f1"), kind="workflow")
    storage.add_step("flow", "f1", Step(name="one", output="x"), number=0)
    storage.append("Später/1", answered("s1"), kind="team", user_id="bob")
    storage.append_items("items", [Item({"b": 1, "a": 2}, item_id="i1"), Item("text")])


def documents(storage: Folder) -> dict[str, bytes]:
    """Return the bytes of each document by its path."""
    paths = [path for path in (storage.root / "sessions").rglob("*") if path.is_file()]
    return {os.fspath(path.relative_to(storage.root)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
def test_a_folder_comes_back_byte_for_byte(kind: type[Folder], storage: SessionStorage, tmp_path: Path) -> None:
    first, back = kind(tmp_path / "first"), kind(tmp_path / "back")
    fill(first)
    done = first.copy_to(storage)
    assert (sorted(done.added), done.runs, done.skipped) == (["Später/1", "flow", "items", "trip"], 4, [])
    assert document(storage, "trip") == document(first, "trip")
    assert sorted(storage.copy_to(back).added) == sorted(first)
    assert documents(back) == documents(first)


def test_only_what_is_new_is_copied(storage: SessionStorage, open_storage: Open, tmp_path: Path) -> None:
    other = JsonStorage(tmp_path / "other")
    fill(storage)
    assert len(storage.copy_to(other).added) == 4
    assert (storage.copy_to(other).unchanged, other.copy_to(open_storage()).unchanged) == (4, 4)
    storage.append("trip", answered("r3"))
    storage.append("new", answered("n1"))
    done = storage.copy_to(other)
    assert (done.added, done.extended, done.unchanged, done.runs) == (["new"], ["trip"], 3, 2)
    assert run_ids(other, "trip") == ["r1", "r2", "r3"]
    other.append("trip", answered("r4"))
    assert other.copy_to(storage, Filter(user="alice")).extended == ["trip"]
    assert run_ids(storage, "trip") == ["r1", "r2", "r3", "r4"]


def test_an_interrupted_copy_is_continued(
    storage: SessionStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first call copied is there and recorded; the second one copies the rest."""
    monkeypatch.setattr(copying, "_BATCH", 2)
    folder = JsonStorage(tmp_path / "folder")
    fill(folder)

    def interrupt(_: int, __: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.copy_to(storage, progress=interrupt)
    assert len(storage) == 2
    calls: list[tuple[int, int]] = []
    done = folder.copy_to(storage, progress=lambda *call: calls.append(call))
    assert (len(done.added), done.unchanged, calls) == (2, 2, [(2, 4), (4, 4)])
    assert sorted(storage) == sorted(folder)


def test_a_copy_by_several_processes_does_what_one_does(
    storage: SessionStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same order, with the same record. Where the writers wait for each other, one process copies."""
    monkeypatch.setattr(copying, "_BATCH", 1)
    monkeypatch.setattr(copying, "_WORTH_PROCESSES", 0)
    folder, other = JsonStorage(tmp_path / "folder"), JsonStorage(tmp_path / "other")
    fill(folder)
    folder.append("broken", answered("b1"))
    folder.path("broken").write_bytes(b"{")
    expected = folder.copy_to(other)
    assert folder.copy_to(storage, jobs=2, dry_run=True).added == expected.added
    calls: list[tuple[int, int]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = folder.copy_to(storage, jobs=2, progress=lambda *call: calls.append(call))
    assert done == expected
    assert calls == [(number, 5) for number in range(1, 6)]
    for session_id in done.added:
        assert document(storage, session_id) == document(folder, session_id)
    folder.append("trip", answered("r3"))
    again = folder.copy_to(storage, jobs=2)
    assert (again.extended, again.unchanged, again.runs) == (["trip"], 3, 1)


def test_both_sides_went_on(storage: SessionStorage, tmp_path: Path) -> None:
    """The runs come together in their order, and what both have in different forms is named and kept."""
    other = JsonStorage(tmp_path / "other")
    fill(storage)
    storage.copy_to(other)
    for one, year, name in ((storage, 2031, "here"), (other, 2030, "there")):
        one.append("trip", answered("same", answer=name, created_at=f"{year}-01-01T00:00:00.000Z"))
        one.append("trip", answered(name, created_at=f"{year}-01-02T00:00:00.000Z"))
        one.update("trip", name=name)
    other.append("trip", answered("first", created_at="2001-01-01T00:00:00.000Z"))
    before = storage.revision("trip")
    assert other.copy_to(storage, dry_run=True).extended == ["trip"]
    assert storage.revision("trip") == before
    done = other.copy_to(storage)
    assert {(one.what, one.taken) for one in done.differences} >= {("run same", "target"), ("name", "target")}
    expected = run_ids(storage, "trip")
    assert sorted(expected) == ["first", "here", "r1", "r2", "same", "there"]
    done = storage.copy_to(other)
    assert {(one.what, one.taken) for one in done.differences} == {("run same", "source"), ("name", "source")}
    assert run_ids(other, "trip") == expected
    assert document(other, "trip") == document(storage, "trip")
    assert not other.copy_to(storage).differences


def test_what_a_copy_replaces_can_be_put_back(storage: SessionStorage, tmp_path: Path) -> None:
    other = JsonStorage(tmp_path / "other")
    storage.append("s", answered("r1", answer="old", created_at="2026-01-01T00:00:00.000Z"))
    storage.update("s", name="old")
    other.append("s", answered("r1", answer="new", created_at="2026-01-02T00:00:00.000Z"))
    other.update("s", name="new")
    assert len(other.copy_to(storage).differences) == 2
    session = storage.read("s")
    assert session is not None
    assert (session.name, session.runs[0].answer) == ("new", "new")
    if not isinstance(storage, (JsonStorage, YamlStorage)):
        (kept,) = storage.trashed()
        storage.restore(kept.name, new_id="before")
        before = storage.read("before")
        assert before is not None
        assert (before.name, before.runs[0].answer) == ("old", "old")


def test_no_copy_brings_back_many_items_that_were_removed(storage: SessionStorage, tmp_path: Path) -> None:
    """Their removals are a few lines, and what the other side added meanwhile stays."""
    other = JsonStorage(tmp_path / "other")
    storage.append_items("s", [Item(number) for number in range(200)])
    storage.copy_to(other)
    other.append_items("s", [Item("new", created_at="2001-01-01T00:00:00.000Z")])
    storage.replace_items("s", [])
    session = storage.read("s")
    assert session is not None
    assert [key[:8] for key in session.removed or ()] == ["blake2b:"] * 3

    for _ in range(2):
        other.copy_to(storage)
        storage.copy_to(other)

    assert [item.data for item in storage.items("s")] == [item.data for item in other.items("s")] == ["new"]
    assert document(storage, "s") == document(other, "s")


def test_an_empty_session_that_is_older_elsewhere_has_the_time_of_that(storage: SessionStorage, tmp_path: Path) -> None:
    """Listings kept the later time, and `check` of a database said that a row differed from its entries."""
    other = JsonStorage(tmp_path / "other")
    for number, one in enumerate((other, storage)):
        one.append_items("s1", [Item("x", item_id=f"i{number}", created_at=f"2026-11-0{number + 1}T10:00:00.000Z")])
        one.pop_item("s1")
    other.copy_to(storage)
    (info,) = storage.list_sessions()
    assert info.created_at == info.updated_at == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert not isinstance(storage, DatabaseStorage) or not [*storage.check()]


def test_another_session_with_the_same_id_stays(storage: SessionStorage, tmp_path: Path) -> None:
    other = JsonStorage(tmp_path / "other")
    fill(storage)
    other.append("trip", answered("x"), user_id="bob")
    done = other.copy_to(storage)
    assert [one.session_id for one in done.skipped] == ["trip"]
    assert run_ids(storage, "trip") == ["r1", "r2"]


def test_a_decimal_that_a_database_would_round_is_named(storage: SessionStorage, tmp_path: Path) -> None:
    other = JsonStorage(tmp_path / "other")
    other.append("s", Run(run_id="r1", messages=[Message(role="user", content="x")], session_state={"n": 1.5}))
    path = other.path("s")
    path.write_bytes(path.read_bytes().replace(b"1.5", b"1.55555555555555555555"))
    done = other.copy_to(storage)
    if isinstance(storage, JsonStorage):
        assert storage.path("s").read_bytes() == path.read_bytes()
    else:
        assert "has more digits" in done.skipped[0].problem
        assert "s" not in storage


def test_a_storage_is_not_copied_to_itself(storage: SessionStorage, open_storage: Open) -> None:
    with pytest.raises(ValueError, match="to itself"):
        storage.copy_to(open_storage())

"""Copies between stores in folders: `Storage.copy_to`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from localstore import Filter, JsonStorage, Message, Run, YamlStorage
from localstore.disk import filesystem
from localstore.maintenance.copy_results import Copied
from localstore.maintenance.copy_sides import Form, Listed
from tests.unit.raw import answered, parse, rescued, run_ids
from tests.unit.watched_disk import WatchedDisk

Storage = JsonStorage | YamlStorage


def filled(storage: Storage) -> Storage:
    """A storage with three sessions of different kinds and owners."""
    storage.append("trip", answered("r1"), user_id="alice", entity_id="planner")
    storage.append("trip", Run(run_id="r2", messages=[Message(role="user", content="Grüße\nan Linz: 8 €")]))
    storage.update("trip", session_state={"b": 1, "a": [1.5, None, {"z": "x", "c": []}]}, name="Trip to Linz")
    storage.rate("trip", "r1", "good", "short")
    storage.append("flow", Run(run_id="f1", status="unfinished"), kind="workflow")
    storage.append("Später/1", Run(run_id="s1"), kind="team", user_id="bob")
    return storage


def documents(storage: Storage) -> dict[str, bytes]:
    """The bytes of each document, by its path without the ending."""
    files = (path for path in (storage.root / "sessions").rglob("*") if path.is_file())
    return {str(path.relative_to(storage.root).with_suffix("")): path.read_bytes() for path in files}


def content(storage: Storage, session_id: str) -> dict[str, Any]:
    session = storage.read(session_id)
    assert session is not None
    return session.model_dump()


def test_a_copy_has_the_same_sessions(tmp_path: Path, storage: Storage) -> None:
    other = JsonStorage(tmp_path / "other")
    done = filled(storage).copy_to(other)
    assert (sorted(done.added), done.extended, done.unchanged) == (["Später/1", "flow", "trip"], [], 0)
    assert (done.runs, done.differences, done.skipped, done.dry_run) == (4, [], [], False)
    assert [info.session_id for info in other.sessions()] == [info.session_id for info in storage.sessions()]
    for session_id in storage:
        assert content(other, session_id) == content(storage, session_id)


def test_memories_in_files_of_an_earlier_release_are_named(tmp_path: Path, storage: Storage) -> None:
    """They were left behind without a word."""
    (storage.root / "memories").mkdir()
    path = storage.root / "memories" / "alice.json"
    path.write_text('{"memories": []}')
    (left,) = filled(storage).copy_to(JsonStorage(tmp_path / "other")).skipped
    assert left.path == str(path)
    assert str(left).startswith(f"{path} has memories as an earlier release kept them.")
    assert not storage.copy_to(JsonStorage(tmp_path / "other"), Filter(user="alice")).skipped


@pytest.mark.parametrize("classes", [(JsonStorage, YamlStorage), (YamlStorage, JsonStorage)])
def test_there_and_back_gives_the_same_bytes(tmp_path: Path, classes: tuple[type[Storage], type[Storage]]) -> None:
    one, other = classes
    first = filled(one(tmp_path / "first"))
    between, back = other(tmp_path / "between"), one(tmp_path / "back")
    first.copy_to(between)
    assert all(info.path.suffix == between._suffix for info in between.sessions())
    between.copy_to(back)
    assert documents(back) == documents(first)


def test_a_document_that_keeps_its_format_keeps_its_comments(tmp_path: Path) -> None:
    storage, other = filled(YamlStorage(tmp_path / "store")), YamlStorage(tmp_path / "other")
    path = storage.path("trip")
    path.write_bytes(path.read_bytes().replace(b"name: Trip to Linz", b"name:   'Trip to Linz'  # by train"))
    storage.copy_to(other)
    assert documents(other) == documents(storage)


def test_a_second_copy_writes_nothing_and_reads_no_document(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = JsonStorage(tmp_path / "other")
    filled(storage).copy_to(other)
    before = documents(other)
    disk = WatchedDisk()
    monkeypatch.setattr(filesystem, "system", disk)
    done = type(storage)(storage.root).copy_to(JsonStorage(other.root))
    assert (done.added, done.extended, done.unchanged, done.runs) == ([], [], 3, 0)
    assert documents(other) == before
    assert not [call for call in disk.calls if call.operation == "open" and "/sessions/" in call.path]


def test_without_its_record_a_second_copy_writes_nothing(tmp_path: Path, storage: Storage) -> None:
    other = JsonStorage(tmp_path / "other")
    filled(storage).copy_to(other)
    before = documents(other)
    for root in (storage.root, other.root):
        shutil.rmtree(root / ".localstore" / "copies", ignore_errors=True)
    assert storage.copy_to(other).unchanged == 3
    assert documents(other) == before


@pytest.mark.parametrize("text", [b"", b"no JSON", b"[1]", b'{"trip": 1}', b'{"trip": [[1], [2]]}'])
def test_a_damaged_record_is_ignored(tmp_path: Path, storage: Storage, text: bytes) -> None:
    other = JsonStorage(tmp_path / "other")
    filled(storage).copy_to(other)
    for record in storage.root.glob(".localstore/copies/*.json"):
        record.write_bytes(text)
    assert storage.copy_to(other).unchanged == 3


def test_only_what_is_new_is_copied(tmp_path: Path, storage: Storage) -> None:
    other = YamlStorage(tmp_path / "other")
    filled(storage).copy_to(other)
    storage.append("trip", answered("r3"))
    storage.append("new", answered("n1"))
    done = storage.copy_to(other)
    assert (done.added, done.extended, done.unchanged, done.runs) == (["new"], ["trip"], 2, 2)
    assert run_ids(other.path("trip")) == ["r1", "r2", "r3"]


def test_what_the_other_store_has_stays(tmp_path: Path, storage: Storage) -> None:
    """Both stores go on by themselves: the copy has the runs of both, and going back makes them equal."""
    other = JsonStorage(tmp_path / "other")
    filled(storage).copy_to(other)
    other.append("trip", answered("there", created_at="2030-01-01T00:00:00.000Z"))
    storage.append("trip", answered("here", created_at="2029-01-01T00:00:00.000Z"))
    other.append("only there", answered("o1"))
    assert storage.copy_to(other).extended == ["trip"]
    assert run_ids(other.path("trip")) == ["r1", "r2", "here", "there"]
    assert "only there" in other
    other.copy_to(storage)
    assert run_ids(storage.path("trip")) == ["r1", "r2", "here", "there"]
    assert storage.copy_to(other).unchanged == other.copy_to(storage).unchanged == 4


def test_an_edit_by_hand_in_the_copy_is_seen(tmp_path: Path, storage: Storage) -> None:
    """The record says that both are the same; the files say that a person removed a run."""
    other = JsonStorage(tmp_path / "other")
    storage.append("trip", answered("r1"))
    storage.copy_to(other)
    storage.append("trip", answered("r2"))
    storage.copy_to(other)
    other.delete_session("trip")
    assert storage.copy_to(other).added == ["trip"]
    assert run_ids(other.path("trip")) == ["r1", "r2"]


def test_a_second_listing_keeps_what_the_first_one_found(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy with a filter lists the sub-sessions, too. After that, it looked each document up in the index."""
    side = filled(storage)._copy_side()
    listed = side.listed(Filter(kind="agent", name="Trip to Linz"))
    assert side.listed(Filter(part_of=("trip",))) == []
    monkeypatch.setattr(storage._engine, "snapshot", None)
    (form,) = side.read(listed)
    assert isinstance(form, Form)


def test_a_document_that_changes_after_it_was_listed_is_copied_as_it_is_now(storage: Storage) -> None:
    """Documents are read without the index only as long as they are what was listed."""
    side = filled(storage)._copy_side()
    listed = [*side.listed(Filter(name="Trip to Linz")), Listed("flow")]
    assert [one.session_id for one in listed] == ["trip", "flow"]
    storage.append("trip", answered("later"))
    for one in listed:
        session_id = one.session_id
        (form,) = side.read([one])
        assert isinstance(form, Form)
        assert form.document == (storage.path(session_id).suffix, storage.path(session_id).read_bytes())
    storage.trash("flow")
    assert [*side.read([Listed("flow")])] == [None]


def test_a_dry_run_writes_nothing(tmp_path: Path, storage: Storage) -> None:
    other = JsonStorage(tmp_path / "other")
    filled(storage)
    other.append("trip", answered("r1"), user_id="alice", entity_id="planner")
    before = documents(other)
    done = storage.copy_to(other, dry_run=True)
    assert (sorted(done.added), done.extended, done.dry_run) == (["Später/1", "flow"], ["trip"], True)
    assert documents(other) == before
    assert not list(storage.root.glob(".localstore/copies/*"))


def test_a_filter_says_which_sessions(tmp_path: Path, storage: Storage) -> None:
    other = JsonStorage(tmp_path / "other")
    assert filled(storage).copy_to(other, Filter(user="alice")).added == ["trip"]
    assert list(other) == ["trip"]


def test_progress_counts_all_sessions(tmp_path: Path, storage: Storage) -> None:
    calls: list[tuple[int, int]] = []
    filled(storage).copy_to(JsonStorage(tmp_path / "other"), progress=lambda *call: calls.append(call))
    assert calls == [(3, 3)]


def test_a_broken_document_is_named_and_the_rest_is_copied(tmp_path: Path, storage: Storage) -> None:
    path = filled(storage).path("trip")
    path.write_bytes(b"{ torn by hand")
    other = JsonStorage(tmp_path / "other")
    done = storage.copy_to(other)
    assert [one.session_id for one in done.skipped] == ["trip"]
    assert str(path) in done.skipped[0].problem
    assert sorted(other) == ["Später/1", "flow"]


def test_a_file_without_a_session_is_named(tmp_path: Path, storage: Storage) -> None:
    path = filled(storage).path("trip")
    (path.parent / "odd.json").write_bytes(b"{}")
    done = storage.copy_to(JsonStorage(tmp_path / "other"))
    assert [one.path for one in done.skipped] == [str(path.parent / "odd.json")]
    assert not storage.copy_to(JsonStorage(tmp_path / "third"), Filter(user="alice")).skipped


def test_a_broken_document_in_the_other_store_is_named_and_stays(tmp_path: Path, storage: Storage) -> None:
    other = JsonStorage(tmp_path / "other")
    filled(storage).copy_to(other)
    path = other.path("trip")
    path.write_bytes(b"{ torn by hand")
    done = storage.copy_to(other)
    assert [one.session_id for one in done.skipped] == ["trip"]
    assert path.read_bytes() == b"{ torn by hand"
    assert storage.copy_to(other, dry_run=True).skipped[0].session_id == "trip"


@pytest.mark.parametrize("given", [{"user_id": "bob"}, {"kind": "team", "user_id": "alice"}])
def test_another_session_with_the_same_id_is_named_and_stays(
    tmp_path: Path, storage: Storage, given: dict[str, str]
) -> None:
    other = JsonStorage(tmp_path / "other")
    other.append("trip", answered("x"), **given)  # type: ignore[arg-type]
    filled(storage)
    for dry_run in (True, False):
        done = storage.copy_to(other, dry_run=dry_run)
        assert str(done.skipped[0]).startswith(
            "session 'trip': Both stores have a session with this id, and they belong to d"
        )
    assert run_ids(other.path("trip")) == ["x"]


def test_of_different_forms_the_newer_one_counts_and_the_other_is_kept(tmp_path: Path, storage: Storage) -> None:
    other = JsonStorage(tmp_path / "other")
    for number, (one, answer) in enumerate([(storage, "here"), (other, "there")]):
        created_at = f"2026-11-0{number + 1}T00:00:00.000Z"
        one.append("old", answered("r1", answer=answer, created_at=created_at))
        one.append("new", answered("r1", answer=answer, created_at=f"2026-11-0{9 - number}T00:00:00.000Z"))
        one.update("old", name=answer)
    done = storage.copy_to(other)
    assert {(one.session_id, one.what, one.taken) for one in done.differences} == {
        ("old", "run r1", "target"),
        ("old", "name", "target"),
        ("new", "run r1", "source"),
    }
    assert [content(other, name)["history"][0]["messages"][1]["content"] for name in ("old", "new")] == [
        "there",
        "here",
    ]
    assert [one["entry"]["messages"][1]["content"] for one in rescued(other)] == ["there"]
    again = storage.copy_to(other)
    assert (again.unchanged, again.extended, again.skipped) == (2, [], [])
    assert {one.what for one in again.differences if one.taken == "target"} == {"run r1", "name"}


def test_a_name_that_is_replaced_is_kept_with_its_document(tmp_path: Path, storage: Storage) -> None:
    other = JsonStorage(tmp_path / "other")
    for one, name in ((other, "there"), (storage, "here")):
        one.append("s", answered("r1", created_at="2026-11-01T00:00:00.000Z"))
        one.update("s", name=name)
    storage.append("s", answered("r2"))
    assert [one.taken for one in storage.copy_to(other).differences] == ["source"]
    assert content(other, "s")["name"] == "here"
    assert '"name": "there"' in rescued(other)[0]["text"]


def test_what_was_removed_in_one_store_is_removed_in_the_other(tmp_path: Path, storage: Storage) -> None:
    other = JsonStorage(tmp_path / "other")
    filled(storage).copy_to(other)
    path = storage.path("trip")
    document = parse(path)
    history = [entry for entry in document.pop("history") if entry.get("run_id") != "r2"]
    document |= {"removed": {"r2": "2099-11-29T00:00:00.000Z"}, "history": history}
    path.write_text(json.dumps(document))  # which is YAML, too
    storage.copy_to(other)
    assert run_ids(other.path("trip")) == ["r1"]
    assert [one["entry"]["run_id"] for one in rescued(other)] == ["r2"]


def test_a_decimal_of_many_digits_is_copied_with_its_bytes_or_not_at_all(tmp_path: Path) -> None:
    """A parser would round it."""
    storage = filled(JsonStorage(tmp_path / "store"))
    path = storage.path("trip")
    path.write_bytes(path.read_bytes().replace(b"1.5", b"1.55555555555555555555"))
    same, other = JsonStorage(tmp_path / "same"), YamlStorage(tmp_path / "other")
    assert not storage.copy_to(same).skipped
    assert documents(same) == documents(storage)
    done = storage.copy_to(other)
    assert "1.55555555555555555555 has more digits" in done.skipped[0].problem
    assert "trip" not in other


def test_an_unfinished_run_is_finished_by_the_next_copy(tmp_path: Path, storage: Storage) -> None:
    other = JsonStorage(tmp_path / "other")
    filled(storage).copy_to(other)
    storage.append("flow", Run(run_id="f1", messages=[Message(role="user", content="hi")]))
    assert storage.copy_to(other).extended == ["flow"]
    assert content(other, "flow") == content(storage, "flow")


def test_wrong_arguments_are_refused(tmp_path: Path, storage: Storage) -> None:
    with pytest.raises(ValueError, match="cannot be copied to itself"):
        storage.copy_to(type(storage)(storage.root))
    with pytest.raises(TypeError, match="other must be a storage, not PosixPath"):
        storage.copy_to(tmp_path)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dry_run must be True or False"):
        storage.copy_to(JsonStorage(tmp_path / "other"), dry_run=1)  # type: ignore[arg-type]


def test_the_result_has_plain_values(tmp_path: Path, storage: Storage) -> None:
    done: Copied = filled(storage).copy_to(JsonStorage(tmp_path / "other"), Filter(user="alice"))
    assert done.as_dict() == {
        "dry_run": False,
        "added": ["trip"],
        "extended": [],
        "unchanged": 0,
        "runs": 2,
        "differences": [],
        "skipped": [],
    }

"""What went wrong once between a person's edit and the library, each told as what was done and what was lost."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from localstore import Conflict, DocumentBroken, JsonStorage, Message, OwnerMismatch, Run, Session, YamlStorage
from localstore.models.schema import RunStatus
from tests import oracle
from tests.crash.writer import STORAGES
from tests.stateful import by_hand

Storage = JsonStorage | YamlStorage
each_format = pytest.mark.parametrize("suffix", sorted(STORAGES))


def _run(number: int, text: str = "hello", status: RunStatus = "completed") -> Run:
    moment = f"2026-11-22T07:01:{number:02d}.000Z"
    return Run(run_id=f"r{number}", created_at=moment, messages=[Message(role="user", content=text)], status=status)


def _read(storage: Storage, session_id: str = "s", last_runs: int | None = None) -> Session:
    session = storage.read(session_id, last_runs=last_runs)
    assert session is not None
    return session


def _listed_until_settled(storage: Storage) -> list[str]:
    """The ids, listed until the folders' times are old enough to be relied on."""
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        ids = storage.get_all_session_ids()
    return ids


def _edit(path: Path, old: bytes, new: bytes) -> None:
    raw = path.read_bytes()
    assert old in raw
    by_hand.write_in_place(path, raw.replace(old, new))


@each_format
def test_deleting_a_session_spares_the_one_that_its_file_became(suffix: str, tmp_path: Path) -> None:
    """The id was changed in the file; deleting the old id removed the new session."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("old-name", _run(1))
    _edit(storage.path("old-name"), b"old-name", b"new-name")
    assert not storage.delete_session("old-name")
    assert _read(storage, "new-name").runs[0].run_id == "r1"


@each_format
def test_deleting_looks_at_the_owner_that_the_file_names_now(suffix: str, tmp_path: Path) -> None:
    """The owner was changed in the file; the old one could still delete it."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("s", _run(1), user_id="alice")
    _edit(storage.path("s"), b"alice", b"bobby")
    with pytest.raises(OwnerMismatch):
        storage.delete_session("s", user_id="alice")
    assert storage.delete_session("s", user_id="bobby")


@each_format
def test_a_broken_document_that_no_manifest_knows_is_not_missing(suffix: str, tmp_path: Path) -> None:
    """It read as None, so that an agent would have begun the conversation anew."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("s", _run(1))
    path = storage.path("s")
    raw = path.read_bytes()
    by_hand.write_in_place(path, by_hand.damage_header(raw))
    (tmp_path / ".localstore/manifest.jsonl").unlink()
    fresh = STORAGES[suffix](tmp_path)
    for attempt in (
        lambda: fresh.read("s"),
        lambda: fresh.append("s", _run(2)),
        lambda: fresh.update("s", name="x"),
        lambda: fresh.delete_session("s"),
    ):
        with pytest.raises(DocumentBroken):
            attempt()
    assert _listed_until_settled(fresh) == []
    by_hand.write_in_place(path, raw)
    assert fresh.get_all_session_ids() == ["s"]


@each_format
def test_a_month_that_was_moved_away_and_back_is_listed_again(suffix: str, tmp_path: Path) -> None:
    """Moving a folder leaves its time alone: its sessions were gone until the program ended."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("s", _run(1))
    month = storage.path("s").parent
    assert _listed_until_settled(storage) == ["s"]
    os.rename(month, tmp_path / "aside")
    assert storage.get_all_session_ids() == []
    os.rename(tmp_path / "aside", month)
    assert storage.get_all_session_ids() == ["s"]


@each_format
def test_a_copy_is_the_session_when_the_original_is_removed(suffix: str, tmp_path: Path) -> None:
    """The copy stood in a folder that did not change, and was never looked at again."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("s", _run(1))
    path = storage.path("s")
    copy = path.parent.parent / "2020-01" / f"copy of s{suffix}"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert _listed_until_settled(storage) == ["s"]
    path.unlink()
    assert storage.get_all_session_ids() == ["s"]
    assert storage.path("s") == copy


@each_format
def test_a_copy_that_gets_an_id_of_its_own_is_listed(suffix: str, tmp_path: Path) -> None:
    """Saved in its place, the file changed no time of its folder: nobody saw that it was mended."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("s", _run(1))
    copy = storage.path("s").with_name(f"copy{suffix}")
    copy.write_bytes(storage.path("s").read_bytes())
    assert _listed_until_settled(storage) == ["s"]
    by_hand.write_in_place(copy, by_hand.rename_session(copy.read_bytes(), suffix, "copy"))
    assert sorted(storage.get_all_session_ids()) == ["copy", "s"]


@each_format
def test_state_that_somebody_else_stored_is_not_overwritten_after_a_merge(suffix: str, tmp_path: Path) -> None:
    """The first upsert merged their state without showing it; the second one took the document for its own."""
    mine, theirs = STORAGES[suffix](tmp_path), STORAGES[suffix](tmp_path)
    mine.append("s", _run(1))
    session = _read(mine)
    theirs.update("s", session_state={"theirs": 1})
    session.history.append(_run(2))
    mine.upsert(session)
    session.session_state = {"mine": 1}
    with pytest.raises(Conflict):
        mine.upsert(session)
    assert _read(theirs).session_state == {"theirs": 1}


@each_format
@pytest.mark.parametrize("state", [{"instructions": ""}, {"session_summary": 0}, {"session_summary": ""}])
def test_an_unchanged_session_adds_nothing_whatever_its_state(
    suffix: str, state: dict[str, object], tmp_path: Path
) -> None:
    """Every upsert of a session whose instructions were cleared added one more update."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("s", _run(1))
    storage.update("s", instructions="be brief", session_summary="long")
    storage.update("s", **state)  # type: ignore[arg-type]
    raw = storage.path("s").read_bytes()
    storage.upsert(_read(storage))
    assert storage.path("s").read_bytes() == raw


@each_format
def test_an_answer_is_stored_though_somebody_wrote_something_behind_the_question(suffix: str, tmp_path: Path) -> None:
    """The unfinished run was taken for a finished one, and the answer for a repetition: it was dropped without a
    word."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("s", _run(1, status="unfinished"))
    if suffix == ".json":
        _edit(storage.path("s"), b'"status": "unfinished"', b'"status": "unfinished",\n      "note": "ask again"')
    else:
        _edit(storage.path("s"), b"status: unfinished\n", b"status: unfinished\n# ask again\n")
    answered = _run(1)
    answered.messages.append(Message(role="assistant", content="the answer"))
    storage.append("s", answered)
    assert [(run.status, run.answer) for run in _read(storage).runs] == [("completed", "the answer")]


def test_a_comment_at_the_margin_does_not_cut_the_state(tmp_path: Path) -> None:
    """The entry was read up to the comment: what stood below was missing from the state of a partial read."""
    storage = YamlStorage(tmp_path)
    run = _run(1)
    run.session_state = {"a": 1, "b": 2}
    storage.append("s", run)
    storage.append("s", _run(2))
    _edit(storage.path("s"), b"    b: 2\n", b"# why\n    b: 2\n")
    for _ in range(2):
        assert _read(storage, last_runs=1).session_state == {"a": 1, "b": 2}


def test_a_run_with_a_comment_at_the_margin_is_finished_as_any_other(tmp_path: Path) -> None:
    """What stood below the comment was written once more behind the finished run, which made it unreadable."""
    storage = YamlStorage(tmp_path)
    storage.append("s", _run(1, status="unfinished"))
    storage.append("s", _run(2))
    _edit(storage.path("s"), b"r1\n", b"r1\n# why\n")
    finished = _run(1)
    finished.messages.append(Message(role="assistant", content="done"))
    storage.append("s", finished)
    assert [(run.run_id, run.answer) for run in _read(storage).runs] == [("r1", "done"), ("r2", "")]


def test_a_comment_above_the_first_entry_survives_the_removal_of_all_entries(tmp_path: Path) -> None:
    """The empty history was written behind the comment, and so became part of it."""
    storage = YamlStorage(tmp_path)
    storage.append("s", _run(1))
    _edit(storage.path("s"), b"\nhistory:\n", b"\nhistory:\n# a note\n")
    session = _read(storage)
    session.history = []
    storage.upsert(session)
    document = oracle.sessions(tmp_path)["s"]
    assert document.history == []
    assert b"\n# a note\n" in document.raw

"""Restoring rescue files: each run comes back once, old state does not, and nothing is removed before it is stored."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from localstore import DocumentBroken, JsonStorage, LockTimeout, SessionNotFound, YamlStorage
from localstore.disk import rescue_folder
from localstore.disk.locks import pool_of
from localstore.format.document import LAYOUTS
from localstore.maintenance.rescue import Content, content, rescued, restore
from tests.unit.raw import Storage, answered, edit, parse, question, run_ids
from tests.unit.raw import rescued as records
from tests.unit.watched_disk import WatchedDisk


def keep(storage: Storage, held: dict[str, Any], session_id: str = "s1", reason: str = "a test") -> str:
    """Set something aside for a session and return the name of the rescue file."""
    document = str(storage.path(session_id).relative_to(storage.root))
    return rescue_folder.set_aside(str(storage.root), document, session_id, reason, held).name


def entry_of(run_id: str, **more: Any) -> dict[str, Any]:
    user = {"role": "user", "content": "kept"}
    return {"type": "run", "run_id": run_id, "created_at": "2026-01-01T00:00:00.000Z", "messages": [user]} | more | {
        "status": more.get("status", "completed")
    }  # fmt: skip


@pytest.fixture
def opened(storage: Storage) -> Storage:
    storage.append("s1", answered("r1", created_at="2026-02-01T00:00:00.000Z"), user_id="alice")
    return storage


def test_a_run_is_added_at_the_end_and_its_file_is_removed(opened: Storage) -> None:
    done = restore(opened, keep(opened, {"entry": entry_of("r2")}))
    assert (done.added, done.present, done.left, done.removed) == (1, 0, (), True)
    assert run_ids(opened.path("s1")) == ["r1", "r2"]
    assert records(opened) == []
    session = opened.read("s1", user_id="alice", last_runs=1)
    assert session is not None
    assert session.runs[0].run_id == "r2"


def test_a_file_is_removed_only_after_its_run_is_durable(opened: Storage, disk: WatchedDisk) -> None:
    path = opened.path("s1")
    name = keep(opened, {"entry": entry_of("r2")})
    disk.forget()
    restore(opened, name)
    order = [call.operation for call in disk.calls if call.path.endswith((path.name, name))]
    assert order.index("sync") < order.index("unlink")
    assert disk.calls[-1].operation == "sync_folder"


@pytest.mark.parametrize("count", [1, 100])
def test_a_run_that_the_session_has_is_not_added_again(opened: Storage, count: int) -> None:
    """However old the run is, whereas `append` compares with the newest entries only."""
    name = keep(opened, {"entry": entry_of("r1", messages=parse(opened.path("s1"))["history"][0]["messages"])})
    for number in range(count):
        opened.append("s1", answered(f"later-{number}"))
    before = run_ids(opened.path("s1"))
    done = restore(opened, name)
    assert (done.added, done.present, done.removed) == (0, 1, True)
    assert run_ids(opened.path("s1")) == before


def test_a_run_with_another_content_stays_in_its_file(opened: Storage) -> None:
    before = opened.path("s1").read_bytes()
    done = restore(opened, keep(opened, {"entry": entry_of("r1")}))
    assert (done.added, done.present, done.removed) == (0, 0, False)
    assert done.left == ("run r1 is in the session with another content",)
    assert opened.path("s1").read_bytes() == before
    assert len(records(opened)) == 1


def test_a_rescued_answer_finishes_its_question(opened: Storage) -> None:
    opened.append("s1", question("r2", status="unfinished"))
    opened.append("s1", answered("r3"))
    user, assistant = {"role": "user", "content": "hello"}, {"role": "assistant", "content": "kept"}
    done = restore(opened, keep(opened, {"entry": entry_of("r2", messages=[user, assistant])}))
    assert (done.added, done.removed) == (1, True)
    assert run_ids(opened.path("s1")) == ["r1", "r2", "r3"]
    assert parse(opened.path("s1"))["history"][1]["status"] == "completed"


def test_a_question_that_was_finished_meanwhile_counts_as_present(opened: Storage) -> None:
    name = keep(opened, {"entry": entry_of("r2", messages=[{"role": "user", "content": "q"}], status="unfinished")})
    opened.append("s1", answered("r2", "q"))
    done = restore(opened, name)
    assert (done.added, done.present, done.removed) == (0, 1, True)


def test_a_question_with_more_in_it_than_the_finished_run_stays_in_its_file(opened: Storage) -> None:
    name = keep(opened, {"entry": entry_of("r1", messages=[{"role": "user", "content": "more"}], status="unfinished")})
    done = restore(opened, name)
    assert not done.removed
    assert len(records(opened)) == 1


def test_restoring_an_old_run_does_not_restore_its_old_state(opened: Storage) -> None:
    """The run is added at the end of the history, where the newest state is read from."""
    name = keep(opened, {"entry": entry_of("r2", session_state={"old": 1}, session_data={"only": "here"})})
    opened.update("s1", session_state={"new": 2})
    restore(opened, name)
    for storage in (opened, type(opened)(opened.root)):
        for last_runs in (None, 1):
            session = storage.read("s1", last_runs=last_runs)
            assert session is not None
            assert (session.session_state, session.session_data) == ({"new": 2}, {"only": "here"})
    assert parse(opened.path("s1"))["history"][-2]["session_state"] == {"old": 1}


def test_state_that_is_newer_than_the_session_s_takes_effect(opened: Storage) -> None:
    opened.append("s1", answered("r2", created_at="2025-01-01T00:00:00.000Z", session_state={"old": 1}))
    restore(opened, keep(opened, {"entry": entry_of("r3", session_state={"new": 2})}))
    session = opened.read("s1", last_runs=0)
    assert session is not None
    assert session.session_state == {"new": 2}
    assert len(parse(opened.path("s1"))["history"]) == 3


@pytest.mark.parametrize(
    ("stored", "kept", "expected"),
    [
        ("2026-11-25T11:00:00.000Z", "2026-11-25T23:30:00+14:00", "stored"),
        ("2026-11-25T23:30:00+14:00", "2026-11-25T11:00:00.000Z", "kept"),
    ],
)
def test_the_newer_state_is_decided_by_the_instant(opened: Storage, stored: str, kept: str, expected: str) -> None:
    """Regression: times were compared as text, so that 23:30+14:00 (09:30 in UTC) counted as later than 11:00Z.
    Restoring a run replaced the session's newer state by an older one, or did not bring back the newer one."""
    opened.append("s1", answered("r2", created_at="2026-11-25T00:00:00.000Z", session_state={"from": "stored"}))
    edit(opened.path("s1"), "2026-11-25T00:00:00.000Z", stored)
    restore(opened, keep(opened, {"entry": entry_of("r3", created_at=kept, session_state={"from": "kept"})}))
    session = opened.read("s1", last_runs=0)
    assert session is not None
    assert session.session_state == {"from": expected}


def pieces(storage: Storage, *entries: dict[str, Any]) -> bytes:
    """The bytes of these entries in a document."""
    layout = LAYOUTS[storage._suffix]
    return layout.separator.join(layout.entry(entry) for entry in entries)


@pytest.mark.parametrize("form", ["text", "base64"])
def test_whole_runs_in_torn_bytes_are_restored_and_the_rest_stays(opened: Storage, form: str) -> None:
    raw = pieces(opened, entry_of("r2"), entry_of("r3"))
    raw += (b",\n    {\n" if opened._suffix == ".json" else b"- type: run\n  run_id: ") + b"half"
    held = {"text": raw.decode()} if form == "text" else {"base64": base64.b64encode(raw).decode()}
    name = keep(opened, {"offset": 7, **held})
    done = restore(opened, name)
    assert (done.added, done.removed) == (2, False)
    assert done.left[0].endswith("bytes in it are no whole run")
    assert run_ids(opened.path("s1")) == ["r1", "r2", "r3"]
    again = restore(opened, name)
    assert (again.added, again.present) == (0, 2)
    assert run_ids(opened.path("s1")) == ["r1", "r2", "r3"]


def test_torn_bytes_that_hold_only_whole_runs_are_removed(opened: Storage) -> None:
    text = pieces(opened, entry_of("r2"), entry_of("r3")).decode()
    assert restore(opened, keep(opened, {"offset": 7, "text": text})).removed
    assert records(opened) == []


@pytest.mark.parametrize(
    "held",
    [
        {"entry": {"type": "run"}},
        {"entry": 7},
        {"text": 7},
        {"base64": "!"},
        {"offset": 1},
        {"offset": 1, "text": "\n- type: run\n"},
        {"entry": {"type": "run", "run_id": "r", "created_at": "x", "messages": ["no message"]}},
    ],
)
def test_a_value_that_is_not_an_entry_never_gets_into_a_document(opened: Storage, held: dict[str, Any]) -> None:
    before = opened.path("s1").read_bytes()
    name = keep(opened, held)
    (one,) = rescued(opened)
    assert content(one).entries == []
    assert content(one).rest
    assert not restore(opened, name).removed
    assert opened.path("s1").read_bytes() == before


def test_restoring_a_copy_kept_for_its_comments_adds_no_removed_run(tmp_path: Path) -> None:
    """All of its runs stayed in the session; one was removed on purpose later."""
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    storage.append("s1", answered("r2"))
    edit(storage.path("s1"), "run_id: r2\n", "run_id: r2 # mine\n")
    session = storage.read("s1")
    assert session is not None
    del session.history[1]
    storage.upsert(session)
    (one,) = rescued(storage)
    done = restore(storage, one.name)
    assert (done.added, done.removed) == (0, False)
    assert "comments" in done.left[0]
    assert run_ids(storage.path("s1")) == ["r1"]


def part_of(storage: Storage, raw: bytes) -> str:
    """Move a temporary file of the session aside and return its name."""
    path = storage.path("s1")
    temporary = path.with_name(f".{path.name}.0123456789ab.tmp")
    temporary.write_bytes(raw)
    return rescue_folder.move_aside(str(storage.root), str(temporary.relative_to(storage.root)), path.name).name


def test_a_whole_document_with_another_header_stays(opened: Storage) -> None:
    name = part_of(opened, opened.path("s1").read_bytes().replace(b"alice", b"carol"))
    done = restore(opened, name)
    assert (done.present, done.removed) == (1, False)
    assert done.left == ("its header differs from the session's",)


def test_the_whole_runs_of_a_truncated_document_are_restored(opened: Storage) -> None:
    opened.append("s1", answered("r2"))
    raw = opened.path("s1").read_bytes()
    session = opened.read("s1")
    assert session is not None
    del session.history[0]
    opened.upsert(session)
    done = restore(opened, part_of(opened, raw[:-40]))
    assert (done.added, done.present, done.removed) == (1, 0, False)
    assert run_ids(opened.path("s1")) == ["r2", "r1"]


def test_nothing_is_restored_from_a_document_of_a_newer_version(opened: Storage) -> None:
    """This version does not know what its entries mean."""
    raw = opened.path("s1").read_bytes()
    newer = raw.replace(b'"schema_version": 1', b'"schema_version": 2').replace(
        b"schema_version: 1", b"schema_version: 2"
    )
    name = part_of(opened, newer.replace(b"r1", b"r7"))
    assert restore(opened, name).added == 0
    assert run_ids(opened.path("s1")) == ["r1"]


def test_a_deleted_session_is_created_again_only_on_request(opened: Storage) -> None:
    name = keep(opened, {"entry": entry_of("r2")})
    opened.path("s1").unlink()
    for dry_run in (True, False):
        with pytest.raises(SessionNotFound, match=f"localstore rescue {name} --restore --create"):
            restore(opened, name, dry_run=dry_run)
    assert restore(opened, name, create=True).removed
    session = opened.read("s1")
    assert session is not None
    assert (session.kind, session.user_id, [run.run_id for run in session.runs]) == ("agent", None, ["r2"])
    assert opened.path("s1").suffix == opened._suffix


def test_a_session_created_from_a_whole_document_keeps_its_owner(opened: Storage) -> None:
    name = part_of(opened, opened.path("s1").read_bytes())
    opened.path("s1").unlink()
    assert restore(opened, name, create=True).removed
    session = opened.read("s1", user_id="alice")
    assert session is not None
    assert session.runs[0].answer == "good day"


def test_a_broken_document_has_to_be_fixed_first(opened: Storage) -> None:
    name = keep(opened, {"entry": entry_of("r2")})
    opened.path("s1").write_bytes(b"{")
    with pytest.raises(DocumentBroken, match="Fix the file"):
        restore(opened, name)
    assert [record["entry"]["run_id"] for record in records(opened)] == ["r2"]


def test_a_session_in_use_raises_a_timeout(opened: Storage) -> None:
    name = keep(opened, {"entry": entry_of("r2")})
    with pool_of(opened.root).session("s1", 1), pytest.raises(LockTimeout):
        restore(opened, name, lock_timeout=0)
    assert len(records(opened)) == 1


def test_a_dry_run_reports_the_same_and_adds_nothing(opened: Storage) -> None:
    name = keep(opened, {"entry": entry_of("r2")})
    before = opened.path("s1").read_bytes()
    planned = restore(opened, name, dry_run=True)
    assert (opened.path("s1").read_bytes(), len(records(opened))) == (before, 1)
    assert restore(opened, name) == planned


@pytest.mark.parametrize("name", ["nothing.json", "../../localstore.json", "", "link.json"])
def test_a_path_outside_the_rescue_folder_is_refused(opened: Storage, name: str) -> None:
    keep(opened, {"entry": entry_of("r2")})
    (opened.root / rescue_folder.FOLDER / "link.json").symlink_to(opened.root / "localstore.json")
    with pytest.raises(FileNotFoundError):
        restore(opened, name)
    assert (opened.root / "localstore.json").exists()


def test_rescue_files_are_listed_newest_first(opened: Storage) -> None:
    names = [keep(opened, {"entry": entry_of(f"r{number}")}) for number in range(3)]
    for number, name in enumerate(names):
        path = opened.root / rescue_folder.FOLDER / name
        record = json.loads(path.read_bytes())
        path.write_text(json.dumps({**record, "set_aside_at": f"2026-01-0{number + 1}T00:00:00.000Z"}))
    listed = rescued(opened.root)
    assert [one.name for one in listed] == names[::-1]
    assert {one.session_id for one in listed} == {"s1"}
    assert listed[0].size == os.path.getsize(listed[0].path)


def test_a_large_file_is_listed_without_being_read(opened: Storage, disk: WatchedDisk) -> None:
    raw = opened.path("s1").read_bytes()
    part_of(opened, raw + b" " * 5_000_000)
    disk.forget()
    (one,) = rescued(opened)
    assert (one.session_id, one.size) == ("s1", len(raw) + 5_000_000)
    assert disk.size("read") < 100_000


def test_a_store_without_a_rescue_folder_lists_nothing(tmp_path: Path) -> None:
    assert rescued(JsonStorage(tmp_path / "store")) == []


def test_an_empty_file_holds_nothing(opened: Storage) -> None:
    name = part_of(opened, b"")
    (one,) = rescued(opened)
    assert content(one) == Content([], b"")
    assert restore(opened, name).left == ("it holds no whole run",)


@pytest.mark.parametrize(
    ("old", "new"),
    [("5.125", "3.14159265358979323846"), ("5.125", "18446744073709551616")],
    ids=["decimal", "integer"],
)
def test_a_run_with_a_number_that_would_be_rounded_stays_in_its_file(opened: Storage, old: str, new: str) -> None:
    """The run came back with the number rounded, and its file was removed: the digits were lost."""
    layout = LAYOUTS[opened.path("s1").suffix]
    text = layout.entry(entry_of("r2", session_state={"pi": 5.125})).decode().replace(old, new)
    for held in ({"offset": 0, "text": text}, {"entry": entry_of("r2", session_state={"pi": 5.125})}):
        name = keep(opened, held)
        path = opened.root / rescue_folder.FOLDER / name
        path.write_text(path.read_text().replace(old, new))
        before = opened.path("s1").read_bytes()
        done = restore(opened, name)
        assert (done.added, done.removed) == (0, False)
        assert "rounded" in done.left[0]
        assert opened.path("s1").read_bytes() == before
        assert new in path.read_text()


def test_a_run_with_comments_comes_back_and_its_file_stays(tmp_path: Path) -> None:
    """The file was removed, and with it the comments."""
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    text = LAYOUTS[".yaml"].entry(entry_of("r2")).decode().replace("  run_id: r2\n", "  run_id: r2  # mine\n")
    done = restore(storage, keep(storage, {"offset": 0, "text": text}))
    assert (done.added, done.removed) == (1, False)
    assert "comments" in done.left[0]
    assert run_ids(storage.path("s1")) == ["r1", "r2"]

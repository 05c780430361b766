"""Appending: a run once, a question and then its answer, and nothing that could not be read again."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localstore import (
    Conflict,
    DocumentBroken,
    JsonStorage,
    Message,
    Run,
    StoreNotFound,
    UnstorableValue,
    Update,
)
from tests.unit.raw import Storage, answered, edit, parse, question, rescued, run_ids
from tests.unit.watched_disk import WatchedDisk

FIRST = {".json": b"    {\n", ".yaml": b"- type"}
"""What an entry begins with."""


def test_a_repeated_run_is_answered_without_writing_after_a_sync(storage: Storage, disk: WatchedDisk) -> None:
    for number in range(70):
        storage.append("s1", answered(f"r{number}"))
    path = storage.path("s1")
    before = path.read_bytes()
    for opened in (storage, type(storage)(storage.root)):
        for number in (69, 30, 6):
            disk.forget()
            opened.append("s1", answered(f"r{number}"))
            assert not disk.of("write", "replace", name=path.name)
            assert disk.of("sync", name=path.name)
    assert path.read_bytes() == before
    type(storage)(storage.root).append("s1", answered("r0"))
    assert run_ids(path).count("r0") == 2, "only the last 64 entries are looked at"


@pytest.mark.parametrize("escaped", [False, True], ids=["as it was written", "with an escape"])
def test_a_repeated_run_is_recognised_where_others_write_as_well(storage: Storage, escaped: bool) -> None:
    """Whoever wrote last does not remember the runs of others; ids that are nowhere in the bytes need no look."""
    other = type(storage)(storage.root)
    for number in range(20):
        (storage, other)[number % 2].append("s1", answered(f"r{number}"))
    path = storage.path("s1")
    if escaped:
        old, new = ('"r11"', '"\\u007211"') if path.suffix == ".json" else ("run_id: r11", 'run_id: "\\x7211"')
        edit(path, old, new)
    for number in (11, 19, 0, 12):
        for opened in (storage, other):
            opened.append("s1", answered(f"r{number}"))
    assert run_ids(path) == [f"r{number}" for number in range(20)]
    for number in range(20, 24):
        (storage, other)[number // 2 % 2].append("s1", answered(f"r{number}"))
        (storage, other)[number % 2].append("s1", answered("r11"))
    assert run_ids(path) == [f"r{number}" for number in range(24)]


@pytest.mark.parametrize("large", [0, 63], ids=["the first entry is large", "the last one is"])
def test_a_repeated_run_is_recognised_among_entries_of_any_size(storage: Storage, large: int) -> None:
    other = type(storage)(storage.root)
    for number in range(64):
        run = answered(f"r{number}", "x" * 600_000 if number == large else "yes")
        (storage, other)[number % 2].append("s1", run)
    for opened in (storage, other):
        opened.append("s1", answered("r0", "x" * 600_000 if large == 0 else "yes"))
        opened.append("s1", answered("r33", "yes"))
    assert run_ids(storage.path("s1")) == [f"r{number}" for number in range(64)]


def test_a_repeated_run_is_recognised_by_a_process_that_writes_to_very_many_sessions(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localstore.engine.last_writes._SESSIONS", 2)
    for turn in range(3):
        for number in range(5):
            storage.append(f"s{number}", answered(f"r{turn}"))
            storage.append(f"s{(number + turn) % 5}", answered("r0"))
    for number in range(5):
        assert run_ids(storage.path(f"s{number}")) == ["r0", "r1", "r2"]


@pytest.mark.parametrize("fresh", [True, False], ids=["another process", "the same process"])
def test_an_unfinished_run_is_finished_however_much_followed_it(storage: Storage, fresh: bool) -> None:
    """An answer that took long, in a session that many write to, was stored as a second run."""
    for run_id in ("first", "second"):
        storage.append("s1", question(run_id, "what?", status="unfinished"))
    for number in range(70):
        storage.append("s1", answered(f"r{number}"))
    opened = type(storage)(storage.root) if fresh else storage
    for run_id in ("second", "first"):
        opened.append("s1", answered(run_id, "what?", "that"))
    assert run_ids(storage.path("s1"))[:3] == ["first", "second", "r0"]
    assert len(run_ids(storage.path("s1"))) == 72
    session = type(storage)(storage.root).read("s1")
    assert session is not None
    assert {run.status for run in session.runs} == {"completed"}
    assert '"unfinished_offsets"' not in (storage.root / ".localstore/manifest.jsonl").read_text().splitlines()[-1]


@pytest.mark.parametrize("shift", [0, 1, -(10**6), 10**9])
def test_a_manifest_that_lies_about_an_unfinished_run_overwrites_no_other(storage: Storage, shift: int) -> None:
    storage.append("s1", answered("r0"))
    storage.append("s1", question("asked", "what?", status="unfinished"))
    for number in range(1, 70):
        storage.append("s1", answered(f"r{number}"))
    path, manifest = storage.path("s1"), storage.root / ".localstore/manifest.jsonl"
    row = json.loads(manifest.read_text().splitlines()[-1])
    row["unfinished_offsets"] = {"asked": max(0, path.read_bytes().index(FIRST[path.suffix]) + shift)}
    with manifest.open("a") as file:
        file.write(json.dumps(row) + "\n")
    type(storage)(storage.root).append("s1", answered("asked", "what?", "that"))
    assert run_ids(path) == ["r0", "asked", *(f"r{number}" for number in range(1, 70))]
    assert parse(path)["history"][1]["status"] == "completed"


def test_a_run_that_says_something_else_than_the_one_with_its_id_is_a_conflict(
    storage: Storage, disk: WatchedDisk
) -> None:
    """An answer that was stored under the id of an older run was acknowledged and dropped."""
    storage.append("s1", answered("r1"))
    storage.append("s1", answered("r2"))
    for opened in (storage, type(storage)(storage.root)):
        disk.forget()
        with pytest.raises(Conflict, match="finished and differs from the stored run"):
            opened.append("s1", answered("r1", "another text"))
        assert not disk.of("write", "replace")
        opened.append("s1", question("r1", status="unfinished"))
    assert run_ids(storage.path("s1")) == ["r1", "r2"]


def test_a_run_with_a_wrong_part_is_refused_before_it_is_written(storage: Storage) -> None:
    """A tool call in another form was acknowledged, and the session could not be read from then on."""
    openai_form = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    storage.append("s1", answered("r1"))
    before = storage.path("s1").read_bytes()
    for message in ({"role": "assistant", "tool_calls": [openai_form]}, {"role": "user", "content": 5}, "text"):
        run = answered("r2")
        run.messages.append(message)  # type: ignore[arg-type]
        session = storage.read("s1")
        assert session is not None
        session.history.append(run)
        with pytest.raises(TypeError, match=r"valid Run.*messages\[2\]"):
            storage.append("s1", run)
        with pytest.raises(TypeError, match=r"valid Session.*messages\[2\]"):
            storage.upsert(session)
    assert storage.path("s1").read_bytes() == before
    sound = answered("r2")
    sound.messages.append({"role": "user", "content": "a mapping in the right form"})  # type: ignore[arg-type]
    storage.append("s1", sound)
    again = storage.read("s1")
    assert again is not None
    assert again.runs[-1].messages[-1].text == "a mapping in the right form"


@pytest.mark.parametrize("arguments", [{"user_id": 5}, {"entity_id": 5}])
def test_an_id_that_is_no_text_is_refused(storage: Storage, arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be text or None, not int"):
        storage.append("s1", answered("r1"), **arguments)
    assert storage.list_sessions() == []


def test_a_store_that_was_removed_does_not_come_back_by_itself(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    shutil.rmtree(storage.root)
    with pytest.raises(StoreNotFound, match="was moved or removed"):
        storage.append("s1", answered("r2"))
    assert not storage.root.exists()


def test_a_storage_pickles_as_its_path_and_options(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    again = pickle.loads(  # noqa: S301 (just made)
        pickle.dumps(type(storage)(storage.root, durability="relaxed", lock_timeout=3))
    )
    assert repr(again) == repr(storage)
    assert again.get_all_session_ids() == ["s1"]


@pytest.mark.parametrize("path", ["", "~", "~/sessions"])
def test_a_folder_that_cannot_be_meant_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="dir_path"):
        JsonStorage(path)


def test_a_repeated_run_is_known_among_updates(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    for number in range(30):
        storage.update("s1", session_state={"n": number})
    storage.append("s1", answered("r2"))
    for opened in (storage, type(storage)(storage.root)):
        opened.append("s1", answered("r1"))
    assert run_ids(storage.path("s1")) == ["r1", "r2"]


@pytest.mark.parametrize("between", ["nothing", "a run", "an update", "both", "a rewrite", "a hand edit"])
@pytest.mark.parametrize("fresh", [True, False], ids=["another process", "the same process"])
def test_a_repeated_unfinished_run_is_finished(storage: Storage, between: str, fresh: bool) -> None:
    storage.append("s1", answered("r0"))
    storage.append("s1", question("r1", "what?", status="unfinished"))
    unfinished = storage.read("s1")
    assert unfinished is not None
    assert (unfinished.runs[-1].status, unfinished.runs[-1].question) == ("unfinished", "what?")
    opened = type(storage)(storage.root) if fresh else storage
    following = []
    if between in ("a run", "both"):
        opened.append("s1", answered("r2"))
        following = ["r2"]
    if between in ("an update", "both"):
        opened.update("s1", session_state={"n": 1})
    if between == "a rewrite":
        opened.update("s1", name="n")
    if between == "a hand edit":
        path = storage.path("s1")
        old, new = ('"unfinished"', '"unfinished",\n      "note": 1') if path.suffix == ".json" else (
            "unfinished\n", "unfinished # hm\n")  # fmt: skip
        edit(path, old, new)
    for _ in range(2):
        opened.append("s1", answered("r1", "what?", "that"))
        assert run_ids(storage.path("s1")) == ["r0", "r1", *following]
        session = type(storage)(storage.root).read("s1")
        assert session is not None
        assert (session.runs[1].status, session.runs[1].answer) == ("completed", "that")
    assert storage.list_sessions()[0].runs == 2 + len(following)


def test_an_unfinished_run_may_be_stored_again(storage: Storage) -> None:
    storage.append("s1", question("r1", status="unfinished"))
    before = storage.path("s1").read_bytes()
    storage.append("s1", question("r1", status="unfinished", created_at=parse(storage.path("s1"))["created_at"]))
    assert storage.path("s1").read_bytes() == before
    storage.append("s1", answered("r1", status="error", error="the model failed"))
    run = parse(storage.path("s1"))["history"][0]
    assert (run["status"], run["error"]) == ("error", "the model failed")
    assert list(run)[-2:] == ["error", "status"]


@pytest.mark.parametrize("bad", [object(), float("nan"), "\ud800", 2**64, {1: 2}])
def test_what_cannot_be_stored_is_refused_before_any_file_is_opened(
    storage: Storage, disk: WatchedDisk, bad: Any
) -> None:
    storage.append("s1", answered("r1"))
    session = storage.read("s1")
    assert session is not None
    session.metadata = {"cart": [0, 0, {"when": bad}]}
    before = storage.path("s1").read_bytes()
    disk.forget()
    calls: list[tuple[str, Callable[[], object]]] = [
        ("session_state", lambda: storage.append("s1", Run(session_state={"cart": [0, 0, {"when": bad}]}))),
        ("session_state", lambda: storage.append("new", Run(session_state={"cart": [0, 0, {"when": bad}]}))),
        ("session_data", lambda: storage.update("s1", session_data={"cart": [0, 0, {"when": bad}]})),
        ("metadata", lambda: storage.upsert(session)),
    ]
    for where, call in calls:
        with pytest.raises(UnstorableValue) as caught:
            call()
        assert caught.value.where.startswith(f"{where}.cart[2].when")
    assert disk.calls == []
    assert storage.path("s1").read_bytes() == before


def test_what_is_no_run_is_refused(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    broken = question("r2")
    broken.messages.append({"content": "no role"})  # type: ignore[arg-type]
    for value in (Update(), Message(role="user"), {"type": "note"}, "text", None, broken):
        for session_id in ("s1", "new"):
            with pytest.raises((TypeError, UnstorableValue)):
                storage.append(session_id, value)  # type: ignore[arg-type]
    assert run_ids(storage.path("s1")) == ["r1"]
    assert storage.get_all_session_ids() == ["s1"]


def test_a_run_that_finds_its_document_broken_is_kept(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    old, new = ('"run_id": "r1"', '"run_id" "r1"') if path.suffix == ".json" else ("run_id: r1", "run_id: *r1")
    edit(path, old, new)
    before = path.read_bytes()
    with pytest.raises(DocumentBroken) as caught:
        storage.append("s1", answered("r2", "precious"))
    error = caught.value
    assert (error.path, error.session_id) == (str(path), "s1")
    assert error.line == before[: before.find(new.encode())].count(b"\n") + 1
    assert error.column is not None
    assert f"{path}, line {error.line}, column {error.column}" in str(error)
    assert error.rescued is not None
    assert error.rescued in str(error)
    assert Path(error.rescued).parent == storage.root / ".localstore" / "rescue"
    (record,) = rescued(storage)
    assert record["entry"]["messages"][0]["content"] == "precious"
    assert record["document"] == str(path.relative_to(storage.root))
    assert path.read_bytes() == before
    edit(path, new, old)
    storage.append("s1", Run.model_validate(record["entry"]))
    assert run_ids(path) == ["r1", "r2"]

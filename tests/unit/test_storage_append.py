"""Appending: a run once, a question and then its answer, and nothing that could not be read again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localstore import (
    DocumentBroken,
    Message,
    Run,
    UnstorableValue,
    Update,
)
from tests.unit.raw import Storage, answered, edit, parse, question, rescued, run_ids
from tests.unit.watched_disk import WatchedDisk


def test_a_repeated_run_is_answered_without_writing_after_a_sync(storage: Storage, disk: WatchedDisk) -> None:
    for number in range(70):
        storage.append("s1", answered(f"r{number}"))
    path = storage.path("s1")
    before = path.read_bytes()
    for opened in (storage, type(storage)(storage.root)):
        for number in (69, 30, 6):
            disk.forget()
            opened.append("s1", answered(f"r{number}", "another text"))
            assert not disk.of("write", "replace", name=path.name)
            assert disk.of("sync", name=path.name)
    assert path.read_bytes() == before
    type(storage)(storage.root).append("s1", answered("r0"))
    assert run_ids(path).count("r0") == 2, "only the last 64 entries are looked at"


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

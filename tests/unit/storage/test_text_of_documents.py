"""Words and times that localstore does not know are read, kept by every call that writes, and returned as they are."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from localstore import Message, Run, Step
from localstore.format.values import to_json_value
from tests.unit.raw import Storage, answered, parse, run_ids

MICROSECONDS = "2026-11-22T08:01:20.123456+01:00"


@pytest.fixture
def path(storage: Storage) -> Path:
    """A document with three runs, in which a person changed words and times, also that of the session."""
    storage.append("s1", answered("r1", created_at="2026-11-20T00:00:00.000Z"))
    storage.append("s1", answered("r2", created_at="2026-11-21T00:00:00.000Z"))
    storage.append("s1", answered("r3", created_at="2026-11-22T00:00:00.000Z"))
    path = storage.path("s1")
    raw = path.read_text()
    raw = raw.replace("2026-11-20T00:00:00.000Z", "yesterday").replace("2026-11-21T00:00:00.000Z", MICROSECONDS)
    raw = raw.replace("completed", "done", 1)
    path.write_text(raw.replace("assistant", "robot", 1))
    return path


def test_a_document_with_unknown_words_and_times_is_read(storage: Storage, path: Path) -> None:
    before = path.read_bytes()
    session = type(storage)(storage.root).read("s1")
    assert session is not None
    first, second, third = session.runs
    assert (first.created_at, str(first.status), str(first.messages[-1].role)) == (None, "done", "robot")
    assert second.created_at == datetime(2026, 11, 22, 7, 1, 20, 123_456, tzinfo=UTC)
    assert third.created_at == datetime(2026, 11, 22, tzinfo=UTC)
    assert path.read_bytes() == before


def test_a_changed_run_keeps_its_time(storage: Storage, path: Path) -> None:
    """An upsert of a run in which something else was changed wrote its time anew, without microseconds and offset."""
    before = parse(path)
    session = storage.read("s1")
    assert session is not None
    for run in session.runs[:2]:
        run.model = "m"
        run.messages.append(Message(role="user", content="more"))
    session.name = "Trip"
    storage.upsert(session)
    after = parse(path)
    more = {"role": "user", "content": "more"}
    expected = [{**old, "messages": [*old["messages"], more], "model": "m"} for old in before["history"][:2]]
    assert after["history"] == [*expected, before["history"][2]]
    again = storage.read("s1")
    assert again is not None
    storage.upsert(again)
    assert parse(path) == after


def test_other_calls_keep_the_text(storage: Storage, path: Path) -> None:
    before = parse(path)
    storage.rate("s1", "r1", "good")
    storage.update("s1", tags=["t"], session_state={"a": 1})
    storage.append("s1", answered("r4"))
    after = parse(path)
    assert after["history"][0] == {**before["history"][0], "rating": "good"}
    assert after["history"][1:3] == before["history"][1:3]
    assert after["created_at"] == before["created_at"]


def test_a_run_that_was_read_is_appended_elsewhere_with_its_text(storage: Storage, path: Path) -> None:
    session = storage.read("s1")
    assert session is not None
    for run in session.runs:
        storage.append("copy", run)
    assert parse(storage.path("copy"))["history"] == parse(path)["history"]


def test_a_mapping_in_a_run_is_checked_when_it_is_written(storage: Storage) -> None:
    """A message that was put into the list as a dict was stored with any role."""
    message: Any = {"role": "robot", "content": "hi"}
    run = Run(run_id="r1")
    run.messages.append(message)
    with pytest.raises(TypeError, match="robot"):
        storage.append("s1", run)
    assert storage.read("s1") is None
    run.messages[:] = [Message(role="user", content="hi")]
    storage.append("s1", run)
    session = storage.read("s1")
    assert session is not None
    session.history.append(Run(run_id="r2", messages=[Message(role="user", content="hi")]))
    session.runs[-1].messages.append(message)
    with pytest.raises(TypeError, match="robot"):
        storage.upsert(session)
    assert run_ids(storage.path("s1")) == ["r1"]


def test_a_step_from_a_document_keeps_its_text(storage: Storage) -> None:
    storage.append("flow", Run(run_id="r1", status="unfinished"), kind="workflow")
    step = Step.model_validate({"name": "a", "created_at": MICROSECONDS, "status": "skipped"})
    storage.add_step("flow", "r1", step, number=0)
    assert parse(storage.path("flow"))["history"][0]["steps"] == [to_json_value(step)]
    assert to_json_value(step)["created_at"] == MICROSECONDS


def test_a_session_with_an_unknown_time_is_listed(storage: Storage, path: Path) -> None:
    """The listing has no time for it, and the path is a Path."""
    storage.update("s1", session_state={"a": 1})
    (info,) = type(storage)(storage.root).list_sessions()
    assert (info.created_at, info.path) == (None, path)
    assert isinstance(info.path, Path)
    assert info.updated_at is not None
    assert info.updated_at.tzinfo is UTC
    assert "created_at" not in info.as_dict()
    assert info.as_dict()["path"] == str(path)
    assert parse(path)["created_at"] == "yesterday"

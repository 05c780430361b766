"""The messages of a run show which are its own, when it began, and how it ended."""

from typing import Any

import pytest

from localstore.format.versions.agno import down, up
from tests.unit.format.versions.sessions_of_agno import message, run, session

AT = 1_795_331_432
QUESTION, ANSWER = message("user", "hi"), message("assistant", "yes")
CALL = message("assistant", "one moment", tool_calls=[{"id": "c1", "function": {"name": "f", "arguments": "{}"}}])
RESULT = message("tool", "1", tool_call_id="c1")


def copy(of: dict[str, Any]) -> dict[str, Any]:
    return {**of, "from_history": True}


def contents(history: list[dict[str, Any]]) -> list[list[str]]:
    return [[one["content"] for one in entry["messages"]] for entry in history]


def test_each_run_has_its_own_messages_only() -> None:
    more, and_more = message("user", "more", AT + 60), message("user", "even more", AT + 120)
    history = up(
        session(
            run(QUESTION, ANSWER),
            run(copy(QUESTION), copy(ANSWER), more, run_id="r2"),
            run(copy(QUESTION), copy(ANSWER), copy(more), and_more, run_id="r3"),
        )
    )["history"]
    assert contents(history) == [["hi", "yes"], ["more"], ["even more"]]


def test_a_copied_message_whose_source_is_missing_stays_once() -> None:
    lost = copy(message("user", "lost", AT - 60))
    history = up(session(run(lost, QUESTION, ANSWER), run(lost, copy(QUESTION), message("user", "b"), run_id="r2")))
    assert contents(history["history"]) == [["lost", "hi", "yes"], ["b"]]
    assert history["history"][0]["created_at"] == "2026-11-22T07:10:32.000Z"


def test_a_repeated_message_stays_twice() -> None:
    history = up(session(run(QUESTION, ANSWER, QUESTION, ANSWER), run(QUESTION, ANSWER, run_id="r2")))["history"]
    assert contents(history) == [["hi", "yes", "hi", "yes"], ["hi", "yes"]]


@pytest.mark.parametrize(
    ("noted", "messages", "begun"),
    [
        (AT - 600, [QUESTION], "2026-11-22T07:10:32.000Z"),
        (AT + 0.25, [QUESTION], "2026-11-22T07:10:32.250Z"),
        (AT - 600, [message("system", "a", AT - 500), QUESTION], "2026-11-22T07:10:32.000Z"),
        (AT - 600, [], "2026-11-22T07:00:32.000Z"),
        (None, [], "1970-01-01T00:00:00.000Z"),
    ],
)
def test_a_run_began_with_its_first_message(noted: Any, messages: list[Any], begun: str) -> None:
    assert up(session(run(*messages, created_at=noted)))["history"][0]["created_at"] == begun


@pytest.mark.parametrize(
    ("status", "messages", "content", "ended"),
    [
        ("RUNNING", [QUESTION, ANSWER], "yes", "completed"),
        ("RUNNING", [QUESTION], None, "unfinished"),
        ("RUNNING", [QUESTION, CALL], "one moment", "unfinished"),
        ("RUNNING", [QUESTION, CALL, RESULT], None, "unfinished"),
        ("RUNNING", [QUESTION, CALL, {**RESULT, "stop_after_tool_call": True}], None, "completed"),
        ("RUNNING", [QUESTION, message("assistant", None, image_output={"id": "i"})], None, "completed"),
        ("RUNNING", [QUESTION, message("assistant", "")], "", "completed"),
        ("RUNNING", [QUESTION, message("assistant", None)], None, "completed"),
        ("RUNNING", [], "done", "completed"),
        ("RUNNING", [], "", "completed"),
        ("RUNNING", [], None, "unfinished"),
        ("PENDING", [QUESTION, ANSWER], "yes", "completed"),
        ("PENDING", [QUESTION], None, "unfinished"),
        (None, [QUESTION, ANSWER], "yes", "completed"),
        ("PAUSED", [QUESTION, CALL], "one moment", "unfinished"),
        ("COMPLETED", [QUESTION], None, "completed"),
        ("CANCELLED", [QUESTION, ANSWER], "yes", "cancelled"),
        ("ERROR", [QUESTION], "Connection error.", "error"),
    ],
)
def test_the_messages_show_how_a_run_ended(status: Any, messages: list[Any], content: Any, ended: str) -> None:
    entry = up(session(run(*messages, status=status, content=content)))["history"][0]
    assert entry["status"] == ended
    assert list(entry)[-1] == "status"
    assert entry.get("error") == ("Connection error." if ended == "error" else None)


def test_a_paused_run_keeps_its_status_from_agno() -> None:
    tools = [{"tool_call_id": "c1", "requires_confirmation": True, "confirmed": None}]
    document = up(session(run(QUESTION, CALL, status="PAUSED", tools=tools)))
    entry = document["history"][0]
    assert (entry["agno_status"], entry["tools"]) == ("PAUSED", tools)
    waiting = down(document)["memory"]["runs"][0]
    assert (waiting["status"], waiting["tools"]) == ("PAUSED", tools)


def test_a_paused_run_that_was_finished_since_is_finished_for_agno_too() -> None:
    document = up(session(run(QUESTION, CALL, status="PAUSED")))
    document["history"][0]["messages"].append({"role": "assistant", "content": "done"})
    document["history"][0]["status"] = "completed"
    back = down(document)
    assert back["memory"]["runs"][0]["status"] == "COMPLETED"
    assert up(back) == document

"""Examples for a prompt, from the runs that were rated."""

from typing import Any

import pytest

from localstore import ContentPart, Message, Run, ToolCall
from tests.unit.raw import Storage
from tests.unit.watched_disk import WatchedDisk


def add(storage: Storage, session_id: str, number: int, rating: str | None = "good", **more: Any) -> None:
    """A run of minute `number` with a tool call between question and answer."""
    messages = [
        Message(role="user", content=f"question {number}"),
        Message(role="assistant", content="let me look", tool_calls=[ToolCall(id="c", name="look")]),
        Message(role="tool", tool_call_id="c", content="found"),
        Message(role="assistant", content=f"answer {number}"),
    ]
    fields = {"run_id": f"r{number}", "messages": messages, "rating": rating, **more}
    moment = f"2026-11-22T07:{number:02d}:00.000Z"
    storage.append(session_id, Run(created_at=moment, **fields), user_id=session_id[0], entity_id=session_id[1:])


def numbers(messages: list[Message]) -> list[int]:
    """Of which runs the pairs are, having looked at their form."""
    assert [message.role for message in messages] == ["user", "assistant"] * (len(messages) // 2)
    found = [int(message.text.split()[1]) for message in messages]
    assert [message.text for message in messages] == [f"{w} {n}" for n in found[::2] for w in ("question", "answer")]
    assert all(not message.tool_calls for message in messages)
    return found[::2]


def test_the_newest_pairs_come_oldest_first(storage: Storage) -> None:
    for number in (1, 4, 9):
        add(storage, "a1", number)
    for number in (3, 5, 6, 7):
        add(storage, "b1", number)
    for number in (2, 8):
        add(storage, "a2", number, rating="bad")
    assert numbers(storage.examples()) == [4, 5, 6, 7, 9]
    assert numbers(storage.examples(limit=2)) == [7, 9]
    assert numbers(storage.examples("bad")) == [2, 8]
    assert numbers(storage.examples(user_id="a")) == [1, 4, 9]
    assert numbers(storage.examples(entity_id="1", user_id="b", limit=1)) == [7]
    assert storage.examples(user_id="nobody") == []
    assert storage.examples(limit=0) == []


def test_only_what_is_a_good_example_is_taken(storage: Storage) -> None:
    """Completed, rated, a question of text alone, and an answer that calls no tool."""
    add(storage, "a1", 1, status="error", error="no")
    add(storage, "a1", 2, rating=None)
    picture = [ContentPart(type="text", text="What is it?"), ContentPart(type="image", url="https://example.org/x.png")]
    add(storage, "a1", 3, messages=[Message(role="user", content=picture), Message(role="assistant", content="A cat.")])
    add(storage, "a1", 4, messages=[Message(role="user", content="only asked")])
    add(storage, "a1", 5, messages=[Message(role="assistant", content="only said")])
    add(storage, "a1", 6, messages=[Message(role="user", content=[ContentPart(type="text", text="question 6")]),
                                    Message(role="assistant", content="answer 6")])  # fmt: skip
    add(storage, "a1", 7, input="question 7", messages=[Message(role="assistant", content="answer 7")])
    add(storage, "a1", 8, status="unfinished")
    assert numbers(storage.examples()) == [6, 7]


@pytest.mark.parametrize("limit", [1, 2])
def test_the_newest_pairs_are_those_of_the_latest_instants(storage: Storage, limit: int) -> None:
    """Text would sort 23:30+14:00, which is 09:30 in UTC, behind 11:00 in UTC."""
    for number in (1, 2, 3):
        add(storage, f"a{number}", number)
    for number, time in (
        (1, "2026-11-25T23:30:00+14:00"),
        (2, "2026-11-25T11:00:00Z"),
        (3, "2026-11-25T01:00:00-12:00"),
    ):
        path = storage.path(f"a{number}")
        path.write_text(path.read_text().replace(f"2026-11-22T07:0{number}:00.000Z", time))
    assert numbers(storage.examples(limit=limit)) == [2, 3][-limit:]


def test_a_rated_run_far_back_is_found(storage: Storage) -> None:
    add(storage, "a1", 0)
    for number in range(1, 50):
        add(storage, "a1", number, rating=None)
    assert numbers(storage.examples()) == [0]


def test_no_more_documents_are_read_than_needed(storage: Storage, disk: WatchedDisk) -> None:
    for number in range(1, 9):
        add(storage, f"a{number}", number)
    storage.list_sessions()
    disk.forget()
    assert numbers(storage.examples(limit=2)) == [7, 8]
    read = {call.name for call in disk.calls if call.operation == "read" and call.name.startswith("a")}
    assert {name[:2] for name in read} == {"a7", "a8"}


def test_a_document_that_cannot_be_read_is_left_out(storage: Storage) -> None:
    add(storage, "a1", 1)
    add(storage, "a2", 2)
    storage.path("a2").write_text("broken")
    assert numbers(storage.examples()) == [1]


def test_what_is_wrong_is_refused(storage: Storage) -> None:
    word: Any = "great"
    with pytest.raises(ValueError, match="rating must be"):
        storage.examples(word)
    for limit in (-1, True, 1.0):
        wrong: Any = limit
        with pytest.raises(ValueError, match="limit must be"):
            storage.examples(limit=wrong)

"""Answers in which any value is missing or replaced by another: never an error of another family."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from localstore.agents.models.chat_answer import InvalidAnswer, ReportedError, reply
from localstore.agents.models.chat_stream import StreamedAnswer
from localstore.agents.models.event_stream import EventStream
from localstore.agents.models.model import Reply
from localstore.format.values import to_json_value
from tests.effort import sampled

ODD: list[Any] = [
    *(None, True, 0, -1, 2**70, 1.5, float("nan"), "", "x", "\ud800", "length"),
    *([], [None], {}, {"text": "x"}, [[]], [{"type": "text"}], [{"type": "text", "text": 5}]),
]
CALL = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUSTOM = {"id": "2", "type": "custom", "custom": {"name": "g", "input": "x"}}
USAGE = {
    "prompt_tokens": 1,
    "completion_tokens": 2,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
MESSAGE = {"role": "assistant", "content": "hi", "refusal": None, "tool_calls": [CALL, CUSTOM]}
WHOLE = {"model": "m", "choices": [{"message": MESSAGE, "finish_reason": "stop"}], "usage": USAGE, "error": None}
CHUNKS = [
    {"model": "m", "choices": [{"delta": {"content": "hi", "tool_calls": [CALL]}, "finish_reason": None}]},
    {"choices": [{"delta": {"tool_calls": [CALL]}, "finish_reason": "tool_calls"}], "usage": USAGE},
]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*place, key))


def changed(value: Any, chance: random.Random) -> Any:
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        *way, last = chance.choice(list(places(value)))
        part = value
        for key in way:
            part = part[key]
        if isinstance(part, dict) and chance.random() < 0.2:
            del part[last]
        else:
            part[last] = copy.deepcopy(chance.choice(ODD))
        if not list(places(value)):
            break
    return value


def streamed(chunks: list[Any]) -> Reply:
    answer = StreamedAnswer()
    for one in chunks:
        list(answer.add(one))
    *_, last = answer.end()
    assert isinstance(last, Reply)
    return last


@pytest.mark.parametrize("seed", sampled(list(range(40)), 4))
def test_any_change_gives_a_reply_that_can_be_stored_or_one_of_two_errors(seed: int) -> None:
    """AttributeError, KeyError and TypeError came out of the client of the API, and told nobody what was wrong."""
    chance = random.Random(seed)
    for _ in range(300):
        for read, value in ((reply, WHOLE), (streamed, CHUNKS)):
            try:
                result = read(changed(value, chance))
            except (InvalidAnswer, ReportedError) as error:
                str(error).encode()
            else:
                to_json_value([result.message, result.model, result.finish_reason])
                assert all(count is None or count >= 0 for count in (result.input_tokens, result.cached_tokens))


def test_events_do_not_depend_on_how_the_body_is_cut() -> None:
    """The network may cut a body anywhere, also inside a character or between the two bytes of a line end."""
    body = ': ping\r\n\r\nevent: x\r\ndata: {"a": "\u00e4"}\r\n\r\ndata: [1,\ndata: 2]\n\n'
    body += "\ndata: null\n\ndata: [DONE]\n\ndata: ?"
    for size in (1, 2, 3, 7, 1000):
        events = EventStream()
        raw = body.encode()
        found = [event for at in range(0, len(raw), size) for event in events.feed(raw[at : at + size])]
        assert [*found, *events.end()] == [{"a": "\u00e4"}, [1, 2], None]
        assert events.is_done

"""Messages, tool calls and metrics of agno are converted, and converted back."""

from typing import Any

import pytest

from localstore.format.versions.agno_messages import as_lists, message_down, message_up, metrics_down, metrics_up
from localstore.format.versions.values import seconds_of
from tests.unit.format.versions.sessions_of_agno import message

BEGAN = "2026-11-22T07:10:32.130Z"


def test_redundant_fields_of_a_message_are_left_out() -> None:
    assert message_up(message("user", "hi", add_to_agent_memory=True), (), BEGAN) == {"role": "user", "content": "hi"}


def test_the_rest_of_a_message_is_kept() -> None:
    raw = message("tool", None, 1_795_331_433, tool_call_error=False, stop_after_tool_call=True, images=[{"id": 1}])
    assert message_up(raw, (), BEGAN) == {
        "role": "tool",
        "tool_call_error": False,
        "images": [{"id": 1}],
        "stop_after_tool_call": True,
        "created_at": "2026-11-22T07:10:33.000Z",
    }


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ('{"a": [1]}', {"a": [1]}),
        ({"a": 1}, {"a": 1}),
        (None, {}),
        ("{}", {}),
        ("", ""),
        ("[1]", "[1]"),
        ('{"a": ', '{"a": '),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1e999}', '{"a": 1e999}'),
        (f'{{"a": {2**64}}}', f'{{"a": {2**64}}}'),
        ('{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        ('{"a":' * 5000 + "1" + "}" * 5000, '{"a":' * 5000 + "1" + "}" * 5000),
        ('{"a": ' + "9" * 5000 + "}", '{"a": ' + "9" * 5000 + "}"),
    ],
)
def test_arguments_become_an_object_if_nothing_is_lost(arguments: Any, kept: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    told = message_up(message("assistant", None, tool_calls=[call]), (), BEGAN)
    assert told["tool_calls"] == [{"id": "c1", "name": "f", "arguments": kept}]


def test_a_message_is_converted_back() -> None:
    raw = message(
        "assistant",
        "a",
        tool_calls=[{"type": "function", "id": "c1", "function": {"name": "f", "arguments": '{"ä": 1}'}}],
        metrics={"input_tokens": 3, "time": 0.5},
    )
    assert message_down(message_up(raw, (), BEGAN), seconds_of(BEGAN)) == raw


def test_parts_of_a_provider_are_wrapped() -> None:
    parts = ["text", {"type": "text", "text": "t"}, {"inline": 1}, {"type": "image", "url": 5}]
    assert message_up(message("user", parts), (), BEGAN)["content"] == [
        {"type": "text", "text": "text"},
        {"type": "text", "text": "t"},
        {"type": "data", "data": {"inline": 1}},
        {"type": "data", "data": {"type": "image", "url": 5}},
    ]


@pytest.mark.parametrize(
    ("raw", "sums"),
    [
        (None, {}),
        (
            {"time": [0.5, 0.25], "input_tokens": [1, 2], "cached_tokens": [0, 0]},
            {"input_tokens": 3, "duration_seconds": 0.75},
        ),
        ({"input_tokens": 3.0, "output_tokens": 0, "audio_tokens": None}, {"input_tokens": 3}),
        ({"details": [{"a": 1}, None, {"a": 2, "b": 0, "c": None}]}, {"details": {"a": 3, "b": 0}}),
        ({"details": [{"a": "x"}, {"a": 2}], "cost": 0.5}, {"details": [{"a": "x"}, {"a": 2}], "cost": 0.5}),
        ({"time": 1, "duration_seconds": 2}, {"time": 1, "duration_seconds": 2}),
    ],
)
def test_metrics_are_sums(raw: Any, sums: dict[str, Any]) -> None:
    assert metrics_up(raw, ()) == sums
    assert metrics_up(metrics_down(sums), ()) == sums
    assert metrics_up(as_lists(metrics_down(sums)), ()) == sums

"""The chat messages in the items of frameworks are recognised by their shape; nothing else is taken for one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore.format.item_messages import item_messages

CALL = {"name": "trains", "arguments": {"to": "Wien"}}
USER, ANSWER = {"role": "user", "content": "When?"}, {"role": "assistant", "content": "At 7:58."}


def messages(data: Any) -> list[dict[str, Any]]:
    return item_messages({"type": "item", "item_id": "i1", "data": data})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (USER, [USER]),
        ({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "At 7:58."}]}, [ANSWER]),
        (
            {"type": "function_call", "id": "fc", "call_id": "c", "name": "trains", "arguments": '{"to":"Wien"}'},
            [{"role": "assistant", "tool_calls": [{"id": "c", **CALL}]}],
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": "7:58"},
            [{"role": "tool", "content": "7:58", "tool_call_id": "c"}],
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "trains", "arguments": "oops"}}]},
            [{"role": "assistant", "tool_calls": [{"id": "c", "name": "trains", "arguments": "oops"}]}],
        ),
        (
            {"role": "tool", "tool_call_id": "c", "content": "7:58"},
            [{"role": "tool", "content": "7:58", "tool_call_id": "c"}],
        ),
        # Amazon Bedrock
        ({"message": {"role": "user", "content": [{"text": "When?"}]}, "message_id": 0}, [USER]),
        (
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "c", "name": "trains", "input": {"to": "Wien"}}}],
            },
            [{"role": "assistant", "tool_calls": [{"id": "c", **CALL}]}],
        ),
        (
            {
                "role": "user",
                "content": [{"toolResult": {"toolUseId": "c", "content": [{"text": "7"}, {"json": [1]}]}}],
            },
            [{"role": "tool", "content": '7\n{"json":[1]}', "tool_call_id": "c"}],
        ),
        # Anthropic
        (
            {
                "type": "assistant",
                "message": {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm"},
                        {"type": "text", "text": "At 7:58."},
                        {"type": "tool_use", "id": "c", "name": "trains", "input": {"to": "Wien"}},
                    ],
                },
            },
            [{**ANSWER, "tool_calls": [{"id": "c", **CALL}]}],
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "7:58"}, "When?"]},
            [{"role": "tool", "content": "7:58", "tool_call_id": "c"}, USER],
        ),
        # Google
        ({"author": "guide", "content": {"role": "model", "parts": [{"text": "At 7:58."}]}}, [ANSWER]),
        (
            {"content": {"role": "user", "parts": [{"function_response": {"id": "c", "response": {"n": 1}}}]}},
            [{"role": "tool", "content": '{"n":1}', "tool_call_id": "c"}],
        ),
        # Pydantic AI
        ({"message": {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "When?"}]}}, [USER]),
        (
            {"kind": "response", "parts": [{"part_kind": "tool-call", "tool_name": "trains", "args": {"to": "Wien"}}]},
            [{"role": "assistant", "tool_calls": [CALL]}],
        ),
    ],
)
def test_a_message_is_recognised(data: Any, expected: list[dict[str, Any]]) -> None:
    assert messages(data) == expected


@pytest.mark.parametrize(
    "data", [None, 1, "hi", [USER], {}, {"role": 1}, {"role": ""}, {"type": "summary", "text": "x"}, {"content": "x"}]
)
def test_what_is_no_message_is_left_alone(data: Any) -> None:
    assert messages(data) == []
    assert item_messages({"type": "note", "data": USER}) == []


_NAMES = ["role", "content", "type", "message", "parts", "kind", "part_kind", "text", "tool_calls", "toolUse", "id"]
_WORDS = [*_NAMES, "user", "function_call", "tool_use", "tool_result", "tool-call", "response", "function"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(_WORDS),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=5),
        max_leaves=20,
    )
)
def test_any_value_becomes_valid_messages_or_none(data: Any) -> None:
    from localstore.models.session import Message

    for message in messages(data):
        Message.model_validate(message)


def test_what_a_checkpoint_of_langgraph_adds_to_a_list_is_messages() -> None:
    human = {
        "$ext": 5,
        "value": ["langchain_core.messages.human", "HumanMessage", {"content": "When?", "type": "human"}],
    }
    call = {"type": "ai", "content": "", "tool_calls": [{"id": "c", "name": "trains", "args": {"to": "Wien"}}]}
    added = {"json": [human, ANSWER, {"$ext": 5, "value": ["m", "AIMessage", call, "f"]}, {"n": 1}, "text"]}
    values = {
        "messages": {"version": "2", "base": "1", "keep": 2, "added": added},
        "count": {"version": "1", "json": 3},
    }
    said = messages({"type": "checkpoint", "ns": "", "id": "c1", "values": values})
    assert said == [USER, ANSWER, {"role": "assistant", "content": "", "tool_calls": [{"id": "c", **CALL}]}]
    assert messages({"type": "checkpoint", "values": {"messages": {"version": "1", "json": [USER]}}}) == [USER]
    assert messages({"type": "checkpoint", "values": {"__start__": {"json": {"messages": [USER]}}}}) == []
    assert messages({"type": "checkpoint"}) == []

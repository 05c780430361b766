"""Lines for fine-tuning have the form that OpenAI accepts, checked with the types of its client."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from localstore import ContentPart, Message, Run, Session, ToolCall, Update
from localstore.exporting import only_rated, openai_lines
from tests.effort import rounds
from tests.unit.exporting.conversations import BEGAN, HOSTILE, assistant, run, session, texts, tool, user

_MESSAGES: TypeAdapter[Any] = TypeAdapter(list[ChatCompletionMessageParam])


def valid(line: str) -> list[dict[str, Any]]:
    """Return the messages of a line, and check that it is a valid training example."""
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    example = json.loads(line)
    assert list(example) == ["messages"]
    messages: list[dict[str, Any]] = example["messages"]
    _MESSAGES.validate_python(messages)
    assert messages[-1]["role"] == "assistant"
    assert "user" in [message["role"] for message in messages]
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert isinstance(message["content"], str)
            waiting.remove(message["tool_call_id"])
            continue
        assert waiting == []
        if message["role"] == "assistant":
            assert message.get("content") or message.get("tool_calls")
        for call in message.get("tool_calls", ()):
            assert call["type"] == "function"
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            waiting.append(call["id"])
    assert waiting == []
    return messages


def lines(*sessions: Session, per_run: bool = False) -> tuple[list[list[dict[str, Any]]], list[str]]:
    """Return the messages of each line, and the reasons for leaving runs out."""
    reasons: list[str] = []
    told = openai_lines(sessions, lambda _, run, why: reasons.append(f"{run.run_id}: {why}"), per_run=per_run)
    return [valid(line) for line in told], reasons


def talk(run_id: str, **fields: Any) -> Run:
    return run(run_id, user(f"q {run_id}"), assistant(f"a {run_id}"), **fields)


CALL = ToolCall(id="c1", name="look", arguments={"to": "Wien"})


def test_a_session_is_one_line_with_its_completed_runs() -> None:
    one = session(
        run("r1", user("Wie?"), assistant(None, CALL), tool("c1", "x"), assistant("So."), instructions="Be brief."),
        talk("r2", status="error"),
        talk("r3"),
        talk("r4", status="unfinished"),
    )
    assert lines(one, session(session_id="empty")) == (
        [
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Wie?"},
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"to": "Wien"}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "x"},
                {"role": "assistant", "content": "So."},
                {"role": "user", "content": "q r3"},
                {"role": "assistant", "content": "a r3"},
            ]
        ],
        [],
    )


def test_instructions_are_placed_where_they_take_effect() -> None:
    """This includes instructions set by an update, or by a run that is left out."""
    one = session(
        talk("r1"),
        Update(created_at=BEGAN, instructions="first"),
        talk("r2"),
        talk("r3", instructions="second", status="error"),
        talk("r4"),
        talk("r5", instructions=""),
    )
    ((*messages,),), _ = lines(one)
    said = [message["content"] for message in messages if message["role"] in ("system", "user")]
    assert said == ["q r1", "first", "q r2", "second", "q r4", "q r5"]


def test_each_run_is_a_line_with_the_instructions_that_held_in_it() -> None:
    one = session(
        talk("r1", instructions="first"), talk("r2", rating="good"), talk("r3", rating="bad"), talk("r4", rating="good")
    )
    assert only_rated(session(talk("r1")), "good") is None
    found, _ = lines(one, per_run=True)
    assert [[message["content"] for message in line] for line in found] == [
        ["first", f"q r{number}", f"a r{number}"] for number in (1, 2, 3, 4)
    ]
    assert only_rated(one, "good") is not None
    assert [entry.run_id for entry in one.runs] == ["r1", "r2", "r3", "r4"]


def test_pictures_are_kept_in_questions() -> None:
    parts = [
        ContentPart(type="text", text="What?"),
        ContentPart(type="image", url="https://example.org/x.png"),
        ContentPart(type="image", url="data:image/png;base64,AAAA"),
    ]
    ((question, _),), _ = lines(session(run("r", Message(role="user", content=parts), assistant("A cat."))))
    assert question["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([], "it has no question"),
        ([assistant("hi")], "it has no question"),
        ([user("q")], "its last message is no answer"),
        ([user("q"), assistant("")], "its last message is no answer"),
        ([user("q"), assistant(None, CALL)], "its last message is no answer"),
        ([user("q"), assistant(None, CALL), tool("c1", "x")], "its last message is no answer"),
        ([user("q"), assistant(None, CALL), assistant("a")], "the tool call c1 has no answer"),
        (
            [user("q"), assistant(None, CALL), user("?"), tool("c1", "x"), assistant("a")],
            "the tool call c1 has no answer",
        ),
        ([user("q"), tool("c1", "x"), assistant("a")], "a message of a tool answers no call"),
        ([user("q"), assistant(None, CALL, CALL), tool("c1", "x"), assistant("a")], "two tool calls have one id"),
        ([user("q"), assistant(None), assistant("a")], "a message of the assistant is empty"),
        ([user("q"), assistant(None, ToolCall(name="f")), assistant("a")], "the call of the tool f has no id"),
        (
            [user("q"), assistant(None, ToolCall(id="c", name="f", arguments="{")), assistant("a")],
            "the arguments of the tool call c are no JSON object",
        ),
        (
            [
                user("q"),
                Message.model_validate({"role": "oracle", "content": "x"}),
                assistant("a"),
            ],
            "OpenAI knows no role oracle",
        ),
        (
            [Message(role="user", content=[ContentPart(type="audio", path="x")]), assistant("a")],
            "its question has a part of type audio that OpenAI does not take",
        ),
        (
            [Message(role="user", content=[ContentPart(type="image", path="x")]), assistant("a")],
            "its question has a part of type image that OpenAI does not take",
        ),
        (
            [
                user("q"),
                Message(role="assistant", content=[ContentPart(type="text", text="a"), ContentPart(type="image")]),
            ],
            "a message of the assistant is more than text",
        ),
    ],
)
def test_a_run_that_is_not_an_example_is_left_out_and_reported(messages: list[Message], why: str) -> None:
    """The other runs of the session are still exported."""
    found, reasons = lines(session(run("bad", *messages), talk("r2")))
    assert reasons == [f"bad: {why}"]
    assert [message["content"] for message in found[0]] == ["q r2", "a r2"]


def test_a_system_message_of_the_run_replaces_the_instructions() -> None:
    one = session(run("r", Message(role="system", content="mine"), user("q"), assistant("a"), instructions="ours"))
    assert [message["content"] for message in lines(one)[0][0]] == ["mine", "q", "a"]


message_strategy = st.one_of(
    texts.map(user),
    texts.map(assistant),
    st.builds(lambda t, i: tool(i, t), texts, st.sampled_from(["c1", "c2", "c3"])),
    st.builds(
        lambda t, ids, arguments: assistant(t, *(ToolCall(id=i, name="f", arguments=arguments) for i in ids)),
        st.none() | texts,
        st.lists(st.sampled_from(["c1", "c2", None]), max_size=2),
        st.just("{") | st.dictionaries(texts, texts, max_size=1),
    ),
)


@settings(max_examples=rounds(40, 200, 2000), deadline=None)
@given(st.lists(st.lists(message_strategy, max_size=5), max_size=3), st.booleans())
def test_every_line_is_valid_and_every_run_is_exported_or_reported(runs: list[list[Message]], per_run: bool) -> None:
    one = session(*(run(f"r{n}", *messages, assistant(HOSTILE)) for n, messages in enumerate(runs)))
    found, reasons = lines(one, per_run=per_run)
    kept = [message for line in found for message in line]
    left = {reason.partition(":")[0] for reason in reasons}
    assert len(kept) == sum(len(run.messages) for run in one.runs if run.run_id not in left)

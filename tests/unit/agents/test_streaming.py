"""Streaming: which events come when, and what is stored of a run that is interrupted."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event as Signal
from typing import Any

import openai
import pytest

from localstore import Agent, FunctionModel, JsonStorage, Message, OpenAIChat, Run, ToolCall
from localstore.agents.events import (
    Event,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from localstore.models.schema import RunStatus
from tests.scripted_server import Reply, chunk, error, scripted_server, stream, text


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    return JsonStorage(tmp_path)


def entry(storage: JsonStorage) -> Any:
    """The last entry of the session's document, read by the standard library's parser."""
    return json.loads(storage.path("s").read_bytes())["history"][-1]


def words(*said: str) -> FunctionModel:
    return FunctionModel(lambda messages: iter(said))


async def collected(agent: Agent, question: str) -> list[Event]:
    return [event async for event in agent.astream(question)]


def streamed(agent: Agent, question: str) -> list[Event]:
    return list(agent.stream(question))


def streamed_async(agent: Agent, question: str) -> list[Event]:
    return asyncio.run(collected(agent, question))


both_ways = pytest.mark.parametrize("streaming", [streamed, streamed_async])
Streaming = Callable[[Agent, str], list[Event]]


@both_ways
def test_events_come_in_order_and_the_last_one_is_the_stored_run(storage: JsonStorage, streaming: Streaming) -> None:
    """Started, text, tools, text, finished; the run is stored when the last event comes."""
    answers: Iterator[Any] = iter(
        [Message(role="assistant", tool_calls=[ToolCall(id="1", name="look", arguments={})]), iter(["sun", "ny"])]
    )

    def look() -> str:
        return "sky"

    agent = Agent(model=FunctionModel(lambda messages: next(answers)), tools=[look], session_id="s", storage=storage)
    events = streaming(agent, "weather?")
    call = ToolCall(id="1", name="look", arguments={})
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert events[:-1] == [
        RunStarted("s", last.run.run_id),
        ToolCallStarted(call),
        ToolCallFinished(call, "sky", failed=False),
        TextDelta("sun"),
        TextDelta("ny"),
    ]
    assert last.run.answer == "sunny"
    assert entry(storage)["status"] == "completed"
    assert entry(storage)["messages"][-1]["content"] == "sunny"


@both_ways
def test_a_model_without_streams_answers_in_one_piece(streaming: Streaming) -> None:
    class Plain:
        id = "plain"

        def respond(self, messages: Any, options: Any = None, /) -> Any:
            return FunctionModel(lambda messages: "all at once").respond(messages)

        async def arespond(self, messages: Any, options: Any = None, /) -> Any:
            return self.respond(messages)

    texts = [event.text for event in streaming(Agent(model=Plain()), "?") if isinstance(event, TextDelta)]
    assert texts == ["all at once"]


def test_the_question_is_on_disk_when_the_run_has_started(storage: JsonStorage) -> None:
    events = Agent(model=words("a"), session_id="s", storage=storage).stream("hello")
    assert isinstance(next(events), RunStarted)
    assert (entry(storage)["status"], entry(storage)["messages"][0]["content"]) == ("unfinished", "hello")
    list(events)


def test_nothing_happens_before_the_first_event_is_requested(storage: JsonStorage) -> None:
    Agent(model=words("a"), session_id="s", storage=storage).stream("hello")
    assert storage.list_sessions() == []


def test_closing_a_stream_leaves_a_cancelled_run_with_the_partial_answer(storage: JsonStorage) -> None:
    events = Agent(model=words("one ", "two ", "three"), session_id="s", storage=storage).stream("count")
    assert [next(events) for _ in range(3)][1:] == [TextDelta("one "), TextDelta("two ")]
    events.close()
    assert entry(storage)["status"] == "cancelled"
    assert entry(storage)["messages"][-1] == {"role": "assistant", "content": "one two "}


def test_cancelling_a_task_leaves_a_cancelled_run_with_the_partial_answer(storage: JsonStorage) -> None:
    async def cancelled() -> None:
        arrived = asyncio.Event()
        go_on = Signal()

        def slow(messages: list[Message]) -> Iterator[str]:
            yield "one "
            go_on.wait(60)
            yield "never"

        async def read() -> None:
            async for event in Agent(model=FunctionModel(slow), session_id="s", storage=storage).astream("count"):
                if isinstance(event, TextDelta):
                    arrived.set()

        task = asyncio.create_task(read())
        await arrived.wait()
        task.cancel()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert entry(storage)["status"] == "cancelled"
    assert entry(storage)["messages"][-1] == {"role": "assistant", "content": "one "}


@both_ways
def test_a_model_that_fails_midway_leaves_the_partial_answer(storage: JsonStorage, streaming: Streaming) -> None:
    def broken(messages: list[Message]) -> Iterator[str]:
        yield "It is "
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        streaming(Agent(model=FunctionModel(broken), session_id="s", storage=storage), "?")
    assert (entry(storage)["status"], entry(storage)["error"]) == ("error", "ConnectionError: gone")
    assert entry(storage)["messages"][-1]["content"] == "It is "


SERVERS: dict[str, tuple[Reply, type[Exception], str]] = {
    "no JSON": (stream("It is ", b"data: {no json}\n\n"), openai.OpenAIError, "valid Chat Completions answer"),
    "cut": (stream("It is ", cut=True), openai.OpenAIError, "onnection"),
    "no end": (
        Reply(200, {}, events=(chunk({"content": "It is "}), b"data: [DONE]\n\n")),
        openai.OpenAIError,
        "cut off its answer",
    ),
    "an error": (
        stream("It is ", {"error": {"message": "overloaded", "type": "server_error"}}),
        openai.APIError,
        "overloaded",
    ),
}


@both_ways
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_breaks_off_leaves_the_partial_answer(
    storage: JsonStorage, streaming: Streaming, server: str
) -> None:
    """Malformed chunks, a cut connection, a stream without an end, an error in the stream: raised and stored."""
    reply, kind, said = SERVERS[server]
    with scripted_server(reply) as running:
        model = OpenAIChat(api_key="none", base_url=running.base_url, max_retries=0)
        with pytest.raises(kind, match=said):
            streaming(Agent(model=model, session_id="s", storage=storage), "?")
        model.close()
    assert entry(storage)["status"] == "error"
    assert entry(storage)["messages"][-1] == {"role": "assistant", "content": "It is "}


@both_ways
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(401, "wrong key"), openai.AuthenticationError),
        (error(429, "slow down", retry_after="0"), openai.RateLimitError),
        (error(500, "oops"), openai.InternalServerError),
    ],
)
def test_a_server_that_refuses_leaves_a_run_with_its_error(
    storage: JsonStorage, streaming: Streaming, reply: Reply, kind: type[Exception]
) -> None:
    with scripted_server(reply) as running:
        model = OpenAIChat(api_key="none", base_url=running.base_url, max_retries=0)
        with pytest.raises(kind):
            streaming(Agent(model=model, session_id="s", storage=storage), "?")
        model.close()
    assert entry(storage)["status"] == "error"
    assert reply.body["error"]["message"] in entry(storage)["error"]


@both_ways
def test_a_request_is_repeated_if_the_server_asks_to_wait(storage: JsonStorage, streaming: Streaming) -> None:
    """429 with retry-after, then an answer: one run, completed."""
    with scripted_server(error(429, "slow down", retry_after="0"), stream("now")) as running:
        model = OpenAIChat(api_key="none", base_url=running.base_url, max_retries=1)
        streaming(Agent(model=model, session_id="s", storage=storage), "?")
        model.close()
    assert (entry(storage)["status"], entry(storage)["messages"][-1]["content"]) == ("completed", "now")


def test_text_is_passed_on_as_it_arrives(storage: JsonStorage) -> None:
    """The server does not send the second word before the first one was received."""
    received = Signal()
    with scripted_server(stream("one ", lambda: received.wait(60), "two")) as running:
        model = OpenAIChat(api_key="none", base_url=running.base_url)
        texts = []
        for event in Agent(model=model, session_id="s", storage=storage).stream("count"):
            if isinstance(event, TextDelta):
                texts.append((event.text, received.is_set()))
                received.set()
        model.close()
    assert texts == [("one ", False), ("two", True)]


def test_each_tool_call_is_one_event_with_all_of_its_arguments() -> None:
    """Their arguments arrive in pieces; the event of a call comes as soon as the next call begins."""

    def part(index: int, **said: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": index, **said}]})

    received = Signal()
    reply = stream(
        part(0, id="a", type="function", function={"name": "add", "arguments": ""}),
        part(0, function={"arguments": '{"x": '}),
        part(0, function={"arguments": "1}"}),
        part(1, id="b", type="function", function={"name": "add", "arguments": '{"x": 2'}),
        lambda: received.wait(60),
        part(1, function={"arguments": "}"}),
    )

    def add(x: int) -> int:
        return x + 1

    with scripted_server(reply, stream("done")) as running:
        model = OpenAIChat(api_key="none", base_url=running.base_url)
        calls = []
        for event in Agent(model=model, tools=[add]).stream("?"):
            if isinstance(event, ToolCallStarted):
                calls.append((event.call.id, event.call.arguments, received.is_set()))
                received.set()
        model.close()
    assert calls == [("a", {"x": 1}, False), ("b", {"x": 2}, True)]


def test_halves_of_a_character_in_two_chunks_become_one() -> None:
    """A server may split a surrogate pair; an unpaired half becomes a replacement character."""
    raw = [
        b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n' % half
        for half in (b"a\\ud83d", b"\\ude00b")
    ]
    with scripted_server(stream(*raw), stream(raw[0])) as running:
        model = OpenAIChat(api_key="none", base_url=running.base_url)
        agent = Agent(model=model)
        assert [event.text for event in agent.stream("?") if isinstance(event, TextDelta)] == ["a", "\U0001f600b"]
        last = list(agent.stream("?"))[-1]
        assert isinstance(last, RunFinished)
        assert last.run.answer == "a\ufffd"
        model.close()


def test_a_partial_answer_is_saved_as_it_comes(storage: JsonStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored entry grows with the answer; it stays one entry, and the finished run has the text once."""
    monkeypatch.setattr("localstore.agents.runs.agent_run._SAVE_EVERY", 0.0)
    monkeypatch.setattr("localstore.agents.runs.agent_run._SAVE_SHARE", 0)
    seen: list[Any] = []

    def speak(messages: list[Message]) -> Iterator[str]:
        for word in ("one\n", "two\n", "three"):
            yield word
            seen.append(entry(storage))

    agent = Agent(model=FunctionModel(speak), session_id="s", storage=storage, save_partial=True)
    agent.run("count")
    assert [one["messages"][-1]["content"] for one in seen] == ["one", "one\ntwo", "one\ntwo\nthree"]
    assert {one["status"] for one in seen} == {"unfinished"}
    assert [message["content"] for message in entry(storage)["messages"]] == ["count", "one\ntwo\nthree"]
    assert len(json.loads(storage.path("s").read_bytes())["history"]) == 1


SPEAKING = """
import sys
from localstore import Agent, FunctionModel, JsonStorage
from localstore.agents.runs import agent_run
agent_run._SAVE_EVERY, agent_run._SAVE_SHARE = 0.0, 0

def speak(messages):
    yield "half of "
    yield "the answer"
    print("said", flush=True)
    sys.stdin.read()

Agent(model=FunctionModel(speak), session_id="s", storage=JsonStorage(sys.argv[1]), save_partial=True).run("hello")
"""


def test_a_partial_answer_survives_a_kill_and_is_resumed(storage: JsonStorage) -> None:
    """After kill -9 during an answer, the question and the partial answer are stored as an unfinished run.

    `resume` runs it again in its place, without the partial answer.
    """
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", SPEAKING, str(storage.root)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "said\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = entry(storage)
    assert (left["status"], left["messages"][-1]["content"]) == ("unfinished", "half of the answer")
    asked: list[list[Message]] = []

    def answer(messages: list[Message]) -> str:
        asked.append(messages)
        return "whole"

    agent = Agent(model=FunctionModel(answer), session_id="s", storage=storage)
    run = agent.resume()
    assert run is not None
    assert [message.text for message in asked[0]] == ["hello"]
    assert [message["content"] for message in entry(storage)["messages"]] == ["hello", "whole"]
    assert (entry(storage)["status"], entry(storage)["run_id"]) == ("completed", left["run_id"])
    assert agent.resume() is None


def test_a_resumed_run_replaces_the_partial_answer_by_its_rounds(storage: JsonStorage) -> None:
    """A partial answer was stored, and the following round of tools was refused as a different run."""
    said = [Message(role="user", content="go"), Message(role="assistant", content="half")]
    storage.append("s", Run(run_id="r", messages=said, status="unfinished"))
    seen: list[Any] = []

    def answer(messages: list[Message]) -> str | Message:
        seen.append([message["role"] for message in entry(storage)["messages"]])
        if messages[-1].role == "tool":
            return "done"
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="look", arguments={})])

    def look() -> str:
        return "sky"

    Agent(model=FunctionModel(answer), tools=[look], session_id="s", storage=storage).resume()
    assert seen == [["user"], ["user", "assistant", "tool"]]
    assert [message["role"] for message in entry(storage)["messages"]] == ["user", "assistant", "tool", "assistant"]


def test_resume_continues_after_the_last_complete_round_of_tools(storage: JsonStorage) -> None:
    """Completed tool calls are not repeated; the model is asked again for a round with an unanswered call."""
    done = [
        Message(role="user", content="go"),
        Message(role="assistant", tool_calls=[ToolCall(id="1", name="pay", arguments={})]),
        Message(role="tool", content="paid", tool_call_id="1"),
    ]
    half = [
        Message(
            role="assistant", tool_calls=[ToolCall(id="2", name="pay", arguments={}), ToolCall(id="3", name="pay")]
        ),
        Message(role="tool", content="paid", tool_call_id="2"),
    ]
    storage.append("s", Run(run_id="r", messages=[*done, *half], status="unfinished"))
    asked: list[list[Message]] = []

    def answer(messages: list[Message]) -> str:
        asked.append(messages)
        return "thanks"

    Agent(model=FunctionModel(answer), session_id="s", storage=storage).resume()
    assert [message.role for message in asked[0]] == ["user", "assistant", "tool"]
    assert [message["role"] for message in entry(storage)["messages"]] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("status", ["error", "cancelled"])
def test_resume_asks_a_failed_question_in_a_new_run(storage: JsonStorage, status: RunStatus) -> None:
    """The failed run stays as it is; then there is nothing to resume, nor in a session that does not exist."""
    said = [Message(role="user", content="go"), Message(role="assistant", content="half")]
    storage.append("s", Run(run_id="r", messages=said, status=status))
    agent = Agent(model=words("all"), session_id="s", storage=storage)
    run = asyncio.run(agent.aresume())
    assert run is not None
    assert run.run_id != "r"
    runs = storage.read("s").runs  # type: ignore[union-attr]
    assert [(run.question, run.answer, run.status) for run in runs] == [
        ("go", "half", status),
        ("go", "all", "completed"),
    ]
    assert list(agent.stream_resumed()) == []
    assert Agent(model=words("all"), storage=storage).resume() is None


def test_run_requests_an_answer_without_streaming() -> None:
    with scripted_server(text("hi")) as running:
        model = OpenAIChat(api_key="none", base_url=running.base_url)
        Agent(model=model).run("?")
        model.close()
    assert "stream" not in running.requests[0]

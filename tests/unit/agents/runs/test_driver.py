"""Drivers of runs: what is waited for when a run is interrupted, and what stops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from localstore import Agent, FunctionModel, JsonStorage, Message, Parallel, Run, ToolCall, Workflow
from localstore.agents.events import TextDelta
from localstore.agents.models.model import Options, Piece, Reply
from localstore.agents.runs.driver import AsyncDriver, ConsumerGone


class SlowStorage(JsonStorage):
    """A storage whose first write takes until `go_on` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_writing = threading.Event()
        self.go_on = threading.Event()

    def append(self, *args: Any, **options: Any) -> Any:
        if not self.is_writing.is_set():
            self.is_writing.set()
            assert self.go_on.wait(60)
        return super().append(*args, **options)


def test_a_run_cancelled_twice_during_a_write_is_stored_as_cancelled(tmp_path: Path) -> None:
    """A second cancellation ended the wait for the write: `arun` raised while the question was still being written.

    The run stayed unfinished in the document, as if the process had died.
    """
    storage = SlowStorage(tmp_path)
    agent = Agent(model=FunctionModel(lambda messages: "hi"), session_id="s", storage=storage)

    async def cancel_twice() -> None:
        task = asyncio.create_task(agent.arun("hello"))
        await asyncio.to_thread(storage.is_writing.wait, 20)
        for _ in range(2):
            task.cancel()
            await asyncio.wait([task], timeout=0.05)
        assert not task.done()
        storage.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_twice())
    session = storage.read("s")
    assert session is not None
    assert [run.status for run in session.runs] == ["cancelled"]


def test_an_interrupted_workflow_stops_a_parallel_inside_a_parallel(tmp_path: Path) -> None:
    """The inner branches never stopped while they had events: their models went on to the end of their answers."""
    stopped, is_over = threading.Event(), threading.Event()

    def endless(messages: list[Message]) -> Iterator[str]:
        try:
            while not is_over.wait(0.01):
                yield "word "
        finally:
            stopped.set()

    def short(value: str) -> str:
        return value

    def other(value: str) -> str:
        return value

    inner = Parallel(Agent(model=FunctionModel(endless), name="endless"), short, name="inner")
    workflow = Workflow(steps=[Parallel(inner, other, name="outer")], storage=JsonStorage(tmp_path))
    events = workflow.stream("go")
    next(event for event in events if isinstance(event, TextDelta))
    events.close()
    has_stopped = stopped.wait(60)
    is_over.set()
    assert has_stopped


class _StreamingModel:
    """A model whose stream takes a while to close."""

    id = "streaming"

    def __init__(self) -> None:
        self.is_closed = False

    def respond(self, messages: Sequence[Message], options: Options = Options(), /) -> Reply:  # noqa: B008
        raise NotImplementedError

    async def arespond(self, messages: Sequence[Message], options: Options = Options(), /) -> Reply:  # noqa: B008
        raise NotImplementedError

    async def astream(self, messages: Sequence[Message], options: Options, /) -> AsyncIterator[Piece]:
        try:
            for number in range(100):
                yield f"{number} "
        finally:
            await asyncio.sleep(0.01)
            self.is_closed = True


def test_a_model_is_closed_before_its_abandoned_stream_is() -> None:
    """The model's own stream was closed some time later, by the event loop: its connection stayed open until then."""
    model = _StreamingModel()
    agent = Agent(model=model, session_id="s")

    async def abandon() -> None:
        events: Any = agent.astream("hello")
        async for event in events:
            if isinstance(event, TextDelta):
                break
        await events.aclose()
        assert model.is_closed

    asyncio.run(abandon())
    assert agent.get_messages_for_session()[-1].text == "0 "


def test_one_agent_is_used_from_two_event_loops_and_from_threads(tmp_path: Path) -> None:
    """All runs are stored, each with its own answer."""
    storage = JsonStorage(tmp_path)
    agent = Agent(model=FunctionModel(lambda messages: f"re {messages[-1].text}"), session_id="s", storage=storage)

    async def ask(name: str) -> None:
        await asyncio.gather(*(agent.arun(f"{name}{number}") for number in range(5)))

    threads = [threading.Thread(target=lambda name=name: asyncio.run(ask(name))) for name in "ab"]
    threads += [threading.Thread(target=agent.run, args=(f"c{number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session = storage.read("s")
    assert session is not None
    answers = {run.messages[0].text: run.answer for run in session.runs}
    assert answers == {f"{name}{number}": f"re {name}{number}" for name in "abc" for number in range(5)}


def test_run_and_stream_work_while_an_event_loop_is_running() -> None:
    """As in a notebook. An async tool then ends the run with an error that names `arun`, and no coroutine is left over:
    the model was told so before, and only the developer can help."""

    async def look_up() -> str:
        """Look it up."""
        return "42"

    def answer(messages: list[Message]) -> Message:
        if not agent.tools:
            return Message(role="assistant", content="hi")
        if messages[-1].role == "tool":
            return Message(role="assistant", content=messages[-1].text)
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="look_up", arguments={})])

    async def cell() -> tuple[Run, int]:
        return agent.run("hello"), len(list(agent.stream("hello")))

    agent = Agent(model=FunctionModel(answer))
    run, events = asyncio.run(cell())
    assert run.answer == "hi"
    assert events > 2
    agent = Agent(model=FunctionModel(answer), tools=[look_up])
    with pytest.raises(RuntimeError, match=r"await agent\.arun"):
        asyncio.run(cell())
    assert agent.run("hello").answer == "42"


def test_a_stream_is_closed_by_another_thread() -> None:
    agent = Agent(model=FunctionModel(lambda messages: iter(["a", "b", "c"])), session_id="s")
    events = agent.stream("hello")
    next(event for event in events if isinstance(event, TextDelta))
    thread = threading.Thread(target=events.close)
    thread.start()
    thread.join()
    session = agent.storage.read("s")
    assert session is not None
    assert [run.status for run in session.runs] == ["cancelled"]


def test_an_abandoned_async_stream_is_stored_when_the_event_loop_ends() -> None:
    """The consumer leaves its loop without closing the stream."""
    agent = Agent(model=FunctionModel(lambda messages: iter(["a", "b", "c"])), session_id="s")

    async def abandon() -> None:
        async for event in agent.astream("hello"):
            if isinstance(event, TextDelta):
                break

    asyncio.run(abandon())
    session = agent.storage.read("s")
    assert session is not None
    assert [(run.status, run.messages[-1].text) for run in session.runs] == [("cancelled", "a")]


def test_jobs_that_run_together_in_tasks_end_with_their_parent() -> None:
    """They are cancelled and waited for."""
    ended = []

    async def job(driver: Any) -> None:
        try:
            await driver.sleep(60)
        finally:
            await driver.write(lambda: ended.append(1))

    async def interrupt() -> None:
        async def emit(event: Any) -> None:
            raise ConsumerGone

        task = asyncio.create_task(AsyncDriver(emit, is_streaming=False).together([job, job]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [1, 1]

    asyncio.run(interrupt())

"""Drives a run, in the calling thread or on an event loop.

A run is written once, as a coroutine that calls its Driver for everything that may block, and passes it every event.
With a BlockingDriver, the coroutine is suspended only to hand out an event while streaming. `run` and `stream_events`
therefore drive it with `send(None)`, without an event loop. An AsyncDriver awaits its operations.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
import types
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from localstore.agents.events import Event
from localstore.agents.models.model import Model, Options, Piece, Reply, astream, stream, wait_for
from localstore.agents.tools.tool import Result, RunContext, Tool
from localstore.models.session import Message, ToolCall
from localstore.storage.threads import run_in_thread

_T = TypeVar("_T")

_POLL_SECONDS = 0.5
"""Seconds after which a wait for other threads is interrupted, so that Ctrl-C works on every platform."""


class ConsumerGone(BaseException):
    """Raised inside a run when the consumer of its events is gone, so that the run is stored as cancelled.

    It replaces GeneratorExit, after which a coroutine could no longer await the driver to store the run.
    """


@dataclass(frozen=True, slots=True)
class Outcome(Generic[_T]):
    """The value that a coroutine returned, or the error that it raised."""

    value: _T | None = None
    error: BaseException | None = None


class Driver(ABC):
    """Performs the operations of a run that may block."""

    def __init__(self, emit: Callable[[Event], Awaitable[None]], *, is_streaming: bool) -> None:
        """`emit` receives the events. If `is_streaming`, models are asked for their answers in pieces."""
        self.emit = emit
        self.is_streaming = is_streaming

    @abstractmethod
    async def write(self, call: Callable[[], _T]) -> _T:
        """Return the result of a call that reads or writes the storage. Wait for it even if the run is cancelled."""

    @abstractmethod
    async def call(self, function: Callable[[], Any], hint: str) -> Any:
        """Call a user's function, plain or async, and return its value.

        `hint` is the message of the RuntimeError raised if an async function cannot be awaited because an event loop is
        running in this thread.
        """

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds."""

    @abstractmethod
    async def ask(self, model: Model, messages: Sequence[Message], options: Options) -> Reply:
        """Ask the model, and return its reply."""

    @abstractmethod
    def pieces(self, model: Model, messages: Sequence[Message], options: Options) -> AsyncGenerator[Piece]:
        """Ask the model, and yield its reply in pieces. The caller must close the generator."""

    @abstractmethod
    async def call_tools(self, calls: Sequence[tuple[Tool, ToolCall]], context: RunContext) -> list[Result]:
        """Call tools and return their results, in the same order. On an event loop, async tools run concurrently."""

    @abstractmethod
    async def together(self, jobs: Sequence[Job[_T]]) -> list[Outcome[_T]]:
        """Run jobs concurrently, each in its own thread or task, and return their outcomes in the same order.

        Their events are passed to `emit`. If this call is interrupted, jobs in tasks are cancelled and awaited; jobs in
        threads get ConsumerGone at their next operation other than a write, and are not waited for.
        """


Job = Callable[[Driver], Coroutine[Any, Any, _T]]
"""A run or a part of one: a function that takes the driver and returns the coroutine to drive."""


class BlockingDriver(Driver):
    """Performs operations in the calling thread. Once `stop` is set, all except writes raise ConsumerGone."""

    def __init__(
        self, emit: Callable[[Event], Awaitable[None]], *, is_streaming: bool, stop: threading.Event | None = None
    ) -> None:
        super().__init__(emit, is_streaming=is_streaming)
        self._stop = stop

    def _raise_if_stopped(self) -> None:
        if self._stop is not None and self._stop.is_set():
            raise ConsumerGone

    async def write(self, call: Callable[[], _T]) -> _T:
        return call()

    async def call(self, function: Callable[[], Any], hint: str) -> Any:
        self._raise_if_stopped()
        value = function()
        return wait_for(value, hint) if inspect.isawaitable(value) else value

    async def sleep(self, seconds: float) -> None:
        self._raise_if_stopped()
        time.sleep(seconds)

    async def ask(self, model: Model, messages: Sequence[Message], options: Options) -> Reply:
        self._raise_if_stopped()
        return model.respond(messages, options)

    async def pieces(self, model: Model, messages: Sequence[Message], options: Options) -> AsyncGenerator[Piece]:
        self._raise_if_stopped()
        with closing(stream(model, messages, options)) as pieces:
            for piece in pieces:
                yield piece
                self._raise_if_stopped()

    async def call_tools(self, calls: Sequence[tuple[Tool, ToolCall]], context: RunContext) -> list[Result]:
        self._raise_if_stopped()
        return [tool.call(call, context) for tool, call in calls]

    async def together(self, jobs: Sequence[Job[_T]]) -> list[Outcome[_T]]:
        self._raise_if_stopped()
        events: SimpleQueue[Event | None] = SimpleQueue()
        outcomes: list[Outcome[_T]] = [Outcome()] * len(jobs)
        stop = threading.Event()

        async def emit(event: Event) -> None:
            events.put(event)

        def work(number: int, job: Job[_T]) -> None:
            try:
                driver = BlockingDriver(emit, is_streaming=self.is_streaming, stop=stop)
                outcomes[number] = Outcome(value=_result_of(job(driver)))
            except BaseException as error:  # noqa: BLE001 - returned to the caller
                outcomes[number] = Outcome(error=error)
            finally:
                events.put(None)

        try:
            for number, job in enumerate(jobs):
                context = contextvars.copy_context()
                threading.Thread(target=context.run, args=(work, number, job), daemon=True).start()
            unfinished = len(jobs)
            while unfinished:
                self._raise_if_stopped()
                try:
                    event = events.get(timeout=_POLL_SECONDS)
                except Empty:
                    continue
                if event is None:
                    unfinished -= 1
                else:
                    await self.emit(event)
        finally:
            stop.set()
        return outcomes


class AsyncDriver(Driver):
    """Performs operations without blocking the event loop. Blocking functions run in threads."""

    async def write(self, call: Callable[[], _T]) -> _T:
        return await run_in_thread(call)

    async def call(self, function: Callable[[], Any], hint: str) -> Any:  # noqa: ARG002
        value = function() if inspect.iscoroutinefunction(function) else await run_in_thread(function)
        return await value if inspect.isawaitable(value) else value

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def ask(self, model: Model, messages: Sequence[Message], options: Options) -> Reply:
        return await model.arespond(messages, options)

    def pieces(self, model: Model, messages: Sequence[Message], options: Options) -> AsyncGenerator[Piece]:
        return astream(model, messages, options)

    async def call_tools(self, calls: Sequence[tuple[Tool, ToolCall]], context: RunContext) -> list[Result]:
        one_at_a_time = asyncio.Lock()  # plain functions share the state and need not be thread-safe

        async def result(tool: Tool, call: ToolCall) -> Result:
            if tool.is_async:
                return await tool.acall(call, context)
            async with one_at_a_time:
                return await run_in_thread(tool.call, call, context)

        return await asyncio.gather(*(result(tool, call) for tool, call in calls))

    async def together(self, jobs: Sequence[Job[_T]]) -> list[Outcome[_T]]:
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        outcomes: list[Outcome[_T]] = [Outcome()] * len(jobs)

        async def emit(event: Event) -> None:
            events.put_nowait(event)

        async def work(number: int, job: Job[_T]) -> None:
            try:
                outcomes[number] = Outcome(value=await job(AsyncDriver(emit, is_streaming=self.is_streaming)))
            except BaseException as error:  # noqa: BLE001 - returned to the caller
                outcomes[number] = Outcome(error=error)
            finally:
                events.put_nowait(None)

        tasks = [asyncio.ensure_future(work(number, job)) for number, job in enumerate(jobs)]
        try:
            unfinished = len(tasks)
            while unfinished:
                event = await events.get()
                if event is None:
                    unfinished -= 1
                else:
                    await self.emit(event)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
        return outcomes


def run(job: Job[_T]) -> _T:
    """Drive a job to its end in this thread, and return its result."""
    return _result_of(job(BlockingDriver(_ignore, is_streaming=False)))


def stream_events(job: Job[Any]) -> Generator[Event]:
    """Drive a job in this thread, and yield its events. The job runs only while the next event is requested."""
    coroutine = job(BlockingDriver(_suspend_with, is_streaming=True))
    error: BaseException | None = None
    while True:
        try:
            event = coroutine.send(None) if error is None else coroutine.throw(error)
        except (StopIteration, ConsumerGone):
            return
        error = None
        try:
            yield event
        except BaseException as raised:  # noqa: BLE001 - the run stores it, and raises it again
            error = ConsumerGone() if isinstance(raised, GeneratorExit) else raised


async def arun(job: Job[_T]) -> _T:
    """Drive a job to its end on the event loop, and return its result."""
    return await job(AsyncDriver(_ignore, is_streaming=False))


async def astream_events(job: Job[Any]) -> AsyncGenerator[Event]:
    """Drive a job on the event loop, and yield its events. The job runs only while the next event is requested."""
    coroutine = job(AsyncDriver(_suspend_with, is_streaming=True))
    error: BaseException | None = None
    while True:
        try:
            step = coroutine.send(None) if error is None else coroutine.throw(error)
        except (StopIteration, ConsumerGone):
            return
        error = None
        try:
            if isinstance(step, Event):
                yield step
            else:  # a future that the event loop waits for
                await _suspend_with(step)
        except BaseException as raised:  # noqa: BLE001 - the run stores it, and raises it again
            error = ConsumerGone() if isinstance(raised, GeneratorExit) else raised


async def _ignore(event: Event) -> None:
    pass


@types.coroutine
def _suspend_with(value: Any) -> Generator[Any, None, None]:
    """Suspend the awaiting coroutine, and hand `value` to the code that drives it with `send`."""
    yield value


def _result_of(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Drive a coroutine to its end, and return its result. Raises RuntimeError if it suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    raise RuntimeError("A run that is driven in a thread must not wait for an event loop.")

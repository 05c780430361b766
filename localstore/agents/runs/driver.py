"""What a run asks of the world, and who does it: in this thread, or on an event loop.

A run is one generator that yields what it needs (an effect) or what happens (an event). So it is written once, for
`run`, `stream` and their async twins.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from localstore.agents.events import Event
from localstore.agents.models.model import Model, Options, astream, stream, wait_for
from localstore.agents.threads import in_thread
from localstore.agents.tools.tool import Result, RunContext, Tool
from localstore.models.session import Message, ToolCall

_LOOK = 0.5
"""Seconds after which a wait for other threads looks up, so that Ctrl-C gets through everywhere."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """Something that may block, such as a write. It is waited for, whatever happens."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the user's, plain or async; gives what it returns. `hint` says what to do where it is async and
    an event loop is running already."""

    function: Callable[[], Any]
    hint: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model; gives its Reply."""

    model: Model
    messages: Sequence[Message]
    options: Options


@dataclass(frozen=True, slots=True)
class Open:
    """Ask the model for an answer in pieces; gives what `Next` and `Close` take."""

    model: Model
    messages: Sequence[Message]
    options: Options


@dataclass(frozen=True, slots=True)
class Next:
    """The next piece, None when there is none."""

    pieces: Any


@dataclass(frozen=True, slots=True)
class Close:
    """End an answer, whether or not it was complete."""

    pieces: Any


@dataclass(frozen=True, slots=True)
class CallTools:
    """Call tools; gives their Results in this order. Async ones run at once where there is an event loop."""

    calls: Sequence[tuple[Tool, ToolCall]]
    context: RunContext


@dataclass(frozen=True, slots=True)
class Together:
    """Runs that go on at once, each in a thread or a task of its own; gives what each raised, or None, in this order.

    When whoever drives them is interrupted, they are told to end (`Left`, or the cancellation of the task), and those
    in threads are not waited for.
    """

    runs: Sequence[Steps]


class ConsumerGone(BaseException):
    """Whoever listened has gone. It stands for GeneratorExit, at which a generator may not yield what is left to do."""


Effect = Blocking | Call | Sleep | Ask | Open | Next | Close | CallTools | Together
Steps = Generator[Effect | Event, Any, None]


def drive(steps: Steps, left: threading.Event | None = None) -> Generator[Event]:
    """Do in this thread what a run needs, and give the events. Once `left` is set, the run is told to end."""
    result: Any = None
    raised: BaseException | None = None
    while True:
        try:
            step = steps.send(result) if raised is None else steps.throw(raised)
        except (StopIteration, ConsumerGone):
            return
        result, raised = None, None
        try:
            if isinstance(step, Event):
                yield step
            elif left is not None and left.is_set() and not isinstance(step, (Blocking, Close)):
                raised = ConsumerGone()
            elif isinstance(step, Together):
                result = yield from _together(step.runs, left)
            else:
                result = _perform(step)
        except BaseException as error:  # noqa: BLE001 - the run stores it, and raises it again
            raised = ConsumerGone() if isinstance(error, GeneratorExit) else error


def _perform(effect: Effect) -> Any:
    match effect:
        case Blocking(call):
            return call()
        case Call(function, hint):
            value = function()
            return wait_for(value, hint) if inspect.isawaitable(value) else value
        case Sleep(seconds):
            return time.sleep(seconds)
        case Ask(model, messages, options):
            return model.respond(messages, options)
        case Open(model, messages, options):
            return stream(model, messages, options)
        case Next(pieces):
            return next(pieces, None)
        case Close(pieces):
            return pieces.close()
        case CallTools(calls, context):
            return [tool.call(call, context) for tool, call in calls]


def _together(
    runs: Sequence[Steps], outer: threading.Event | None
) -> Generator[Event, None, list[BaseException | None]]:
    happened: SimpleQueue[Event | None] = SimpleQueue()
    raised: list[BaseException | None] = [None] * len(runs)
    left = threading.Event()

    def work(number: int, steps: Steps) -> None:
        try:
            for event in drive(steps, left):
                happened.put(event)
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            raised[number] = error
        finally:
            happened.put(None)

    try:
        for number, steps in enumerate(runs):
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(work, number, steps), daemon=True).start()
        going_on = len(runs)
        while going_on:
            try:
                event = happened.get(timeout=_LOOK)
            except Empty:
                if outer is not None and outer.is_set():
                    raise ConsumerGone from None
                continue
            if event is None:
                going_on -= 1
            else:
                yield event
    finally:
        left.set()
    return raised


async def adrive(steps: Steps) -> AsyncGenerator[Event]:
    """Do on the event loop what a run needs, and give the events. What may block runs in a thread."""
    result: Any = None
    raised: BaseException | None = None
    while True:
        try:
            step = steps.send(result) if raised is None else steps.throw(raised)
        except (StopIteration, ConsumerGone):
            return
        result, raised = None, None
        try:
            if isinstance(step, Event):
                yield step
            elif isinstance(step, Together):
                result = [None] * len(step.runs)
                async with aclosing(_atogether(step.runs, result)) as events:
                    async for event in events:
                        yield event
            else:
                result = await _aperform(step)
        except BaseException as error:  # noqa: BLE001
            raised = ConsumerGone() if isinstance(error, GeneratorExit) else error


async def _aperform(effect: Effect) -> Any:
    match effect:
        case Blocking(call):
            return await in_thread(call)
        case Call(function, _):
            value = function() if inspect.iscoroutinefunction(function) else await in_thread(function)
            return await value if inspect.isawaitable(value) else value
        case Sleep(seconds):
            return await asyncio.sleep(seconds)
        case Ask(model, messages, options):
            return await model.arespond(messages, options)
        case Open(model, messages, options):
            return astream(model, messages, options)
        case Next(pieces):
            return await anext(pieces, None)
        case Close(pieces):
            return await pieces.aclose()
        case CallTools(calls, context):
            return await _call_tools(calls, context)


async def _call_tools(calls: Sequence[tuple[Tool, ToolCall]], context: RunContext) -> list[Result]:
    one_at_a_time = asyncio.Lock()  # plain functions share the state and need not be safe for threads

    async def one(tool: Tool, call: ToolCall) -> Result:
        if tool.is_async:
            return await tool.acall(call, context)
        async with one_at_a_time:
            return await in_thread(tool.call, call, context)

    return await asyncio.gather(*(one(tool, call) for tool, call in calls))


async def _atogether(runs: Sequence[Steps], raised: list[BaseException | None]) -> AsyncGenerator[Event]:
    happened: asyncio.Queue[Event | None] = asyncio.Queue()

    async def work(number: int, steps: Steps) -> None:
        try:
            async for event in adrive(steps):
                happened.put_nowait(event)
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            raised[number] = error
        finally:
            happened.put_nowait(None)

    tasks = [asyncio.ensure_future(work(number, steps)) for number, steps in enumerate(runs)]
    try:
        going_on = len(tasks)
        while going_on:
            event = await happened.get()
            if event is None:
                going_on -= 1
            else:
                yield event
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

"""What a run asks of the world, and who does it: in this thread, or on an event loop.

A run is one generator that yields what it needs (an effect) or what happens (an event). So it is written once, for
`run`, `stream` and their async twins.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from localstore.agents.events import Event
from localstore.agents.models import Model, Options, astream, stream
from localstore.agents.tools import Result, RunContext, Tool
from localstore.sessions import Message, ToolCall

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Do:
    """Something that may block, such as a write."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model; gives its Reply."""

    messages: Sequence[Message]
    options: Options


@dataclass(frozen=True, slots=True)
class Open:
    """Ask the model for an answer in pieces; gives what `Next` and `Close` take."""

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


class Left(BaseException):
    """Whoever listened has gone. It stands for GeneratorExit, at which a generator may not yield what is left to do."""


Effect = Do | Ask | Open | Next | Close | CallTools
Steps = Generator[Effect | Event, Any, None]


def drive(steps: Steps, model: Model) -> Generator[Event]:
    """Do in this thread what a run needs, and give the events."""
    result: Any = None
    raised: BaseException | None = None
    while True:
        try:
            step = steps.send(result) if raised is None else steps.throw(raised)
        except (StopIteration, Left):
            return
        result, raised = None, None
        try:
            if isinstance(step, Event):
                yield step
            else:
                result = _perform(step, model)
        except BaseException as error:  # noqa: BLE001 - the run stores it, and raises it again
            raised = Left() if isinstance(error, GeneratorExit) else error


def _perform(effect: Effect, model: Model) -> Any:
    match effect:
        case Do(call):
            return call()
        case Ask(messages, options):
            return model.respond(messages, options)
        case Open(messages, options):
            return stream(model, messages, options)
        case Next(pieces):
            return next(pieces, None)
        case Close(pieces):
            return pieces.close()
        case CallTools(calls, context):
            return [tool.call(call, context) for tool, call in calls]


async def adrive(steps: Steps, model: Model) -> AsyncIterator[Event]:
    """Do on the event loop what a run needs, and give the events. What may block runs in a thread."""
    result: Any = None
    raised: BaseException | None = None
    while True:
        try:
            step = steps.send(result) if raised is None else steps.throw(raised)
        except (StopIteration, Left):
            return
        result, raised = None, None
        try:
            if isinstance(step, Event):
                yield step
            else:
                result = await _aperform(step, model)
        except BaseException as error:  # noqa: BLE001
            raised = Left() if isinstance(error, GeneratorExit) else error


async def _aperform(effect: Effect, model: Model) -> Any:
    match effect:
        case Do(call):
            return await in_thread(call)
        case Ask(messages, options):
            return await model.arespond(messages, options)
        case Open(messages, options):
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


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call the function in a thread. When the task is cancelled meanwhile, wait for it: no write is left alone."""
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError as error:
        await asyncio.wait([call])
        if not call.cancelled() and (failure := call.exception()) is not None:
            error.add_note(f"Meanwhile this failed: {type(failure).__name__}: {failure}")
        raise

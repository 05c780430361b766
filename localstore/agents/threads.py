"""Blocking calls from an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, TypeVarTuple, cast

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")


async def run_in_thread(function: Callable[[*_Ts], _T], *args: *_Ts, abandon: bool = False) -> _T:
    """Call a function in a thread of its own, and return its result without blocking the event loop.

    Every call gets a new thread: unlike in a pool, no call ever waits for another one to end.

    Args:
        function: The function. It sees the context variables of the task.
        args: Its arguments.
        abandon: What to do if the task is cancelled: True to return at once and ignore the result of the thread,
            False to wait for the thread first, however often the task is cancelled, as for a write.
    """
    if abandon:
        return await _call(function, *args)
    call = asyncio.ensure_future(_call(function, *args))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError as error:
        while not call.done():
            with suppress(asyncio.CancelledError):  # cancelled again: the first one is raised below
                await asyncio.wait([call])
        if not call.cancelled() and (failure := call.exception()) is not None:
            error.add_note(f"Meanwhile this failed: {type(failure).__name__}: {failure}")
        raise


async def _call(function: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(cast(_T, value))
        else:  # a StopIteration can neither be put into a future nor leave a coroutine
            future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)

    def work() -> None:
        value: _T | None = None
        error: BaseException | None = None
        try:
            value = context.run(function, *args)
        except BaseException as raised:  # noqa: BLE001 - the task gets it
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits for the result
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work).start()
    return await future

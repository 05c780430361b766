"""Blocking calls beside an event loop, each in a thread of its own: however many there are, none waits for another."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def beside(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call the function in a thread. When the task is cancelled meanwhile, the thread is left alone."""
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
        failure: BaseException | None = None
        try:
            value = context.run(function, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            failure = error
        with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=work).start()
    return await future


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call the function in a thread. When the task is cancelled meanwhile, wait for it: no write is left alone."""
    call = asyncio.ensure_future(beside(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError as error:
        await asyncio.wait([call])
        if not call.cancelled() and (failure := call.exception()) is not None:
            error.add_note(f"Meanwhile this failed: {type(failure).__name__}: {failure}")
        raise

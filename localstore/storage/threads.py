"""Runs blocking calls in threads, for use on an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar, TypeVarTuple, cast

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")

_MOST = 1 << 20
"""More threads than a process can have: a call that finds no idle thread always gets a new one."""
_threads = ThreadPoolExecutor(_MOST, "localstore")


def _after_fork() -> None:
    """Forget the parent's threads, which do not exist in the child."""
    global _threads
    _threads = ThreadPoolExecutor(_MOST, "localstore")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


async def run_in_thread(function: Callable[[*_Ts], _T], *args: *_Ts, abandon: bool = False) -> _T:
    """Call a function in a thread, and return its result without blocking the event loop.

    No call waits for another one to end, as it could in a pool of a few threads: it gets a thread that has nothing to
    do, or a new one.

    Args:
        function: The function. It runs in a copy of the task's context variables.
        args: The positional arguments of the function.
        abandon: What to do if the task is cancelled. If true, stop waiting immediately and ignore the function's
            result. If false, wait until the function ends, even if the task is cancelled again. Writes need this.
    """
    call = _start(function, *args)
    if abandon:
        return await call
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError as error:
        while not call.done():
            with suppress(asyncio.CancelledError):  # cancelled again: the first cancellation is raised below
                await asyncio.wait([call])
        if not call.cancelled() and (failure := call.exception()) is not None:
            error.add_note(f"Meanwhile this failed: {type(failure).__name__}: {failure}")
        raise


def _start(function: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
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
        except BaseException as raised:  # noqa: BLE001 - passed to the task
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits for the result
            loop.call_soon_threadsafe(settle, value, error)

    try:
        _threads.submit(work)
    except RuntimeError:  # the main thread has ended, and this loop runs on in another one
        threading.Thread(target=work).start()
    return future

"""Share work among this process and others that are started for it."""

import contextlib
import errno
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, TypeVar

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

Here = Callable[[Iterator[tuple[int, _Task]]], Generator[tuple[int, _Result], None, None]]
"""A function that does numbered tasks in this process, one for each result that it is asked for."""

_GRACE = 2.0
"""Seconds that tasks at work may take to finish when the work is stopped."""
_MOST = 60
"""How many processes are started at most. Windows cannot wait for more."""


def shared(
    tasks: Iterable[_Task],
    here: Here[_Task, _Result],
    begin: Callable[..., Callable[[_Task], _Result]],
    arguments: tuple[Any, ...],
    processes: int,
    place: str,
) -> Generator[tuple[int, _Result], None, None]:
    """Do tasks in this process and in others. Yield the number of each, from 0, and its result, as it is finished.

    This process works from the beginning: the others take a moment to start. Each of them imports the main module of
    the program. If this process is killed, they end by themselves. If the iteration is stopped, also by Ctrl-C, the
    tasks that are at work there are finished if that takes no more than a moment. After that, the processes are ended,
    as if they were killed.

    Args:
        tasks: The tasks. They are asked for one by one.
        here: Does tasks in this process.
        begin: A function of a module, which each of the others calls once. What it returns does the tasks there.
        arguments: Its arguments. They, the tasks and their results are pickled. No other program can see them.
        processes: The number of processes, with this one.
        place: The store that is worked on, for the error.

    Raises what a task raises, and ChildProcessError if another process was killed or could not begin.
    """
    numbered = enumerate(tasks)
    if processes > 1:
        yield from _shared(numbered, here, pickle.dumps((begin, arguments)), min(processes - 1, _MOST), place)
    else:
        yield from here(numbered)


def _shared(
    tasks: Iterator[tuple[int, _Task]], here: Here[_Task, _Result], order: bytes, others: int, place: str
) -> Iterator[tuple[int, _Result]]:
    context = multiprocessing.get_context("spawn")
    reader, lifeline = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(others, mp_context=context, initializer=_start, initargs=(reader, order))
    running: dict[Future[_Result], int] = {}
    have_begun = False
    try:
        with _ctrl_c_blocked():
            running = {pool.submit(_do, task): number for number, task in islice(tasks, others)}
        with contextlib.closing(here(tasks)) as own:
            is_working = True
            while running or is_working:
                for future in wait(running, 0 if is_working else None, FIRST_COMPLETED).done:
                    number = running.pop(future)
                    result = future.result()
                    have_begun = True
                    yield number, result
                    # Submit only a few tasks ahead, so that the work stops soon after a failure or Ctrl-C.
                    for following, task in islice(tasks, 2 * others - len(running)):
                        running[pool.submit(_do, task)] = following
                done = next(own, None) if is_working else None
                is_working = done is not None
                if done is not None:
                    yield done
    except BrokenProcessPool:
        stopped = "A worker process was stopped from outside. Run the same command again; it continues from here"
        early = (
            "A worker process ended before it had done anything. If a script calls this, it must do so under "
            "if __name__ == '__main__'. Otherwise, run the same command again; it continues from here"
        )
        raise ChildProcessError(errno.ECHILD, stopped if have_begun else early, place) from None
    finally:
        try:
            for future in running:
                future.cancel()
            wait(running, timeout=_GRACE)
        finally:
            if not all(future.done() for future in running):
                lifeline.close()  # ends the processes
            pool.shutdown()
            lifeline.close()
            reader.close()


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Block Ctrl-C in the context.

    Processes that are started in the context never receive it, even while they load. This process receives it
    afterwards. On Windows, the context does nothing.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In the other processes

_order: bytes
_work: Callable[[Any], Any] | None = None


def _start(lifeline: "Connection[Any, Any]", order: bytes) -> None:
    global _order
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    _order = order


def _end_with(lifeline: "Connection[Any, Any]") -> None:
    """End this process when the main process closes its end of a pipe, or ends."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _do(task: Any) -> Any:
    global _work
    if _work is None:  # here, where an error becomes that of the task
        begin, arguments = pickle.loads(_order)  # noqa: S301 (it comes from the main process)
        _work = begin(*arguments)
    return _work(task)

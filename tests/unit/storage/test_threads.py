import asyncio
import os
import subprocess
import sys
import threading

import pytest

from localstore.storage.threads import run_in_thread


def test_a_thread_that_has_done_its_call_does_a_later_one() -> None:
    """Not always the next one: that gets a new thread if the last one is late on its way back, as on a busy machine."""
    mine = threading.local()  # empty in each new thread, whatever its name and number are

    def has_called_before() -> bool:
        before = hasattr(mine, "called")
        mine.called = True
        return before

    async def call_until_one_comes_back() -> bool:
        for _ in range(5_000):
            if await run_in_thread(has_called_before):
                return True
        return False

    assert asyncio.run(call_until_one_comes_back())


def test_no_call_waits_for_another_one() -> None:
    everybody = threading.Barrier(100)

    async def meet() -> None:
        await asyncio.gather(*[run_in_thread(everybody.wait, 30) for _ in range(100)])

    asyncio.run(meet())


def test_a_write_ends_although_its_task_is_cancelled() -> None:
    began, may_end, done = threading.Event(), threading.Event(), threading.Event()

    def write() -> None:
        began.set()
        may_end.wait(30)
        done.set()

    async def cancel() -> None:
        task = asyncio.ensure_future(run_in_thread(write))
        await run_in_thread(began.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done.is_set()

    asyncio.run(cancel())


def test_what_fails_after_a_cancellation_is_named() -> None:
    began, may_end = threading.Event(), threading.Event()

    def write() -> None:
        began.set()
        may_end.wait(30)
        raise OSError("disk full")

    async def cancel() -> None:
        task = asyncio.ensure_future(run_in_thread(write))
        await run_in_thread(began.wait, 30)
        task.cancel()
        may_end.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.__notes__ == ["Meanwhile this failed: OSError: disk full"]

    asyncio.run(cancel())


def test_an_abandoned_call_is_not_waited_for() -> None:
    may_end = threading.Event()

    async def cancel() -> None:
        task = asyncio.ensure_future(run_in_thread(may_end.wait, 30, abandon=True))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    may_end.set()


def test_a_call_that_ends_an_iteration_raises_an_error_that_a_task_can_have() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(run_in_thread(next, iter(())))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_does_not_wait_for_threads_that_it_does_not_have() -> None:
    asyncio.run(run_in_thread(int))
    child = os.fork()
    if not child:
        try:
            asyncio.run(asyncio.wait_for(run_in_thread(int), 30))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_loop_that_outlives_the_main_thread_can_still_call() -> None:
    program = """
import asyncio, threading
from localstore.storage.threads import run_in_thread

async def main():
    await run_in_thread(int)
    while threading.main_thread().is_alive():
        await asyncio.sleep(0.001)
    print(await run_in_thread(lambda: "stored"))

threading.Thread(target=lambda: asyncio.run(main())).start()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("stored\n", "")

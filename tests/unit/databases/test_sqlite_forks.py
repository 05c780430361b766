"""A process that has a file of SQLite open forks, and both sides go on."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import Run
from localstore.databases.sql import SqliteStorage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
_PATIENCE = 20
"""After how many seconds a child that hangs is ended."""


def child(work: Callable[[], object]) -> int:
    """Call `work` in a child, and return the id of its process. Its exit code is 0 if the call succeeds."""
    process = os.fork()
    if not process:
        code = 1
        try:
            signal.alarm(_PATIENCE)
            work()
            code = 0
        finally:
            os._exit(code)
    return process


def is_done(process: int) -> bool:
    return os.waitpid(process, 0)[1] == 0


def run_ids(storage: SqliteStorage) -> set[str]:
    session = storage.read("s1")
    assert session is not None
    return {run.run_id for run in session.runs}


def test_a_child_keeps_what_it_writes_after_its_parent_closes_the_storage(tmp_path: Path) -> None:
    """The parent took its connection for the last one, and removed the log of the child: its runs were lost."""
    storage = SqliteStorage(db_file=tmp_path / "sessions.db")
    storage.append("s1", Run(run_id="before"))
    (began, begun), (closed, closing) = os.pipe(), os.pipe()

    def write() -> None:
        storage.append("s1", Run(run_id="first"))
        os.write(begun, b"x")
        os.read(closed, 1)
        storage.append("s1", Run(run_id="second"))

    process = child(write)
    os.read(began, 1)
    storage.close()
    os.write(closing, b"x")
    assert is_done(process)
    assert run_ids(storage) == {"before", "first", "second"}
    storage.close()
    for end in (began, begun, closed, closing):
        os.close(end)


def test_a_child_writes_that_was_forked_while_threads_wrote(tmp_path: Path) -> None:
    """It waited for a lock that a thread of the parent had: for ever, or until the end of `lock_timeout`."""
    storage = SqliteStorage(db_file=tmp_path / "sessions.db", lock_timeout=5)
    storage.append("s1", Run(run_id="before"))
    stop = threading.Event()
    written: set[str] = {"before"}

    def write(name: str) -> None:
        for number in range(1000):
            if stop.is_set():
                return
            storage.append(f"of {name}", Run(run_id=f"{name}-{number}"))

    threads = [threading.Thread(target=write, args=(f"thread {number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for number in range(3):
        run_id = f"child-{number}"
        assert is_done(child(lambda run_id=run_id: storage.append("s1", Run(run_id=run_id))))  # type: ignore[misc]
        written.add(run_id)
    stop.set()
    for thread in threads:
        thread.join()
    assert run_ids(storage) == written
    assert not [*storage.check()]
    storage.close()

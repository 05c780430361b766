"""The connection to a file of SQLite, across forks."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localstore.disk.locks import LockPool
from localstore.disk.store_identity import StoreIdentity
from localstore.index import sqlite_file
from localstore.index.sqlite_file import Layout, SqliteFile
from tests.unit.raw import Storage, answered


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("operation", ["open", "close"])
def test_a_fork_waits_while_another_thread_opens_or_closes_a_connection(
    storage: Storage, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a storage that a thread had dropped was closed during a fork. SQLite's own lock was held then, and
    the child waited for it for ever."""
    for name in ("_SHORT", "_LONG", "_MOST_ROWS"):
        monkeypatch.setattr(f"localstore.index.manifest_reader.{name}", 0)
    storage.append("a", answered("run-a"))
    is_inside, may_go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        if threading.current_thread() is not threading.main_thread():
            is_inside.set()
            may_go_on.wait(60)

    class Connection(sqlite3.Connection):
        def close(self) -> None:
            if operation == "close":
                slowly()
            super().close()

    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connect_slowly(path: str, **options: object) -> sqlite3.Connection:
        if operation == "open":
            slowly()
        return connect(path, factory=Connection, **options)

    monkeypatch.setattr(sqlite3, "connect", connect_slowly)

    def use_and_drop(root: Path) -> int:
        return len(type(storage)(root).list_sessions())

    def fork() -> None:
        sqlite_file._before_fork()
        sqlite_file._after_fork_in_parent()

    with ThreadPoolExecutor(2) as threads:
        listed = threads.submit(use_and_drop, storage.root)
        assert is_inside.wait(60)
        forked = threads.submit(fork)
        with pytest.raises(TimeoutError):
            forked.result(0.02)
        may_go_on.set()
        forked.result(60)
        assert listed.result(60) == 1


def _fold_elsewhere(root: Path) -> None:
    """Let another process open the index and the search index of a store, and close them again."""
    code = (
        "import sys; from localstore import JsonStorage; storage = JsonStorage(sys.argv[1]); "
        "storage._engine.manifest._reader.fold_all(); storage.search('hello'); storage.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True, capture_output=True)


def test_another_process_leaves_the_log_alone_while_two_connections_are_open_here(storage: Storage) -> None:
    """Regression: opening the index closed a descriptor of it, which released the locks of the first connection. The
    next process that closed the index took itself for the last one and removed the log, and what was added to it here
    damaged the index: a session was missing in listings."""
    for number in range(3):
        storage.append(f"s{number}", answered("r1"))
    other = type(storage)(storage.root)
    for opened in (storage, other):
        opened._engine.manifest._reader.fold_all()
        opened.search("hello")
    logs = sorted((storage.root / ".localstore").glob("*.sqlite-wal"))
    inodes = [log.stat().st_ino for log in logs]
    assert len(logs) == 2
    _fold_elsewhere(storage.root)
    assert [log.stat().st_ino for log in logs] == inodes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_keeps_the_log_when_its_parent_and_others_close_theirs(storage: Storage) -> None:
    """Regression: a child took the locks of its connection for taken, as its parent had them. Once the parent was gone,
    another process removed the log that the child wrote to."""
    storage.append("s0", answered("r1"))
    storage._engine.manifest._reader.fold_all()
    log = storage.root / ".localstore" / "index.sqlite-wal"
    is_open, may_end = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        failed = 1
        try:
            opened = type(storage)(storage.root)
            opened.append("s1", answered("r1"))
            opened._engine.manifest._reader.fold_all()
            os.write(is_open[1], b"x")
            os.read(may_end[0], 1)
            failed = int(not log.exists())
        finally:
            os._exit(failed)
    try:
        assert os.read(is_open[0], 1)
        storage.close()
        _fold_elsewhere(storage.root)
    finally:
        os.write(may_end[1], b"x")
        _, status = os.waitpid(child, 0)
        for end in (*is_open, *may_end):
            os.close(end)
    assert status == 0


def test_a_fork_also_waits_for_a_file_that_is_made_while_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the files were counted before the gate was closed. A thread that made one more at that moment was
    inside SQLite during the fork, and one in thirty programs with busy threads had a child that waited for ever."""
    made = []

    class Gate:
        def acquire(self, timeout: float) -> bool:
            made.append(
                SqliteFile(str(tmp_path), "made.db", Layout(1, 1, ""), LockPool(StoreIdentity.of(str(tmp_path))))
            )
            return True

        def release(self) -> None: ...

    monkeypatch.setattr(sqlite_file, "_gate", Gate())
    with ThreadPoolExecutor() as threads:
        sqlite_file._before_fork()
        assert not threads.submit(made[0].lock.acquire, blocking=False).result(60)
        sqlite_file._after_fork_in_parent()
        assert threads.submit(made[0].lock.acquire, blocking=False).result(60)

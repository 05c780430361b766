"""The connection to a file of SQLite, across forks."""

import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localstore.index import sqlite_file
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

"""Read a file of SQLite to which this user may not write, or in whose folder SQLite may make no files.

To read a file with a log (WAL), SQLite makes two files beside it. Where it may not, it reads the file only if it is
told that nobody writes to it, and does not notice if somebody does. So each connection is for one transaction, and
what was read counts only if the file is still as it was, without a log. If it has a log, another process has the file
open, and SQLite uses the files that this process made.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import exc

from localstore.errors import LockTimeout, StoreUnavailable
from localstore.maintenance.importing.sqlite_file import is_idle, reading_address

_Result = TypeVar("_Result")

_TRIES = 20
_last = threading.local()
"""Whether the last connection of this thread was told that nobody writes to the file."""


def is_read_only(path: str) -> bool:
    """Return whether a file exists, and this user may not write to it or not make files beside it."""
    if not os.path.exists(path):
        return False
    return not os.access(path, os.W_OK) or not os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK)


def connect(path: str, timeout: float) -> sqlite3.Connection:
    """Open a file for reading. Raises sqlite3.Error."""
    _last.is_immutable = False
    with contextlib.suppress(OSError):  # SQLite says what is wrong
        _last.is_immutable = is_idle(Path(path))
    address = reading_address(Path(path), immutable=_last.is_immutable)
    return sqlite3.connect(address, uri=True, timeout=timeout, check_same_thread=False, isolation_level=None)


def read(path: str, address: str, work: Callable[[], _Result]) -> _Result:
    """Return the result of `work`, which makes one connection by `connect`. It is called again if the file changes.

    Raises StoreUnavailable, LockTimeout if somebody else writes all the time, and what `work` raises.
    """
    for _ in range(_TRIES):
        before = _state_of(path)
        _last.is_immutable = False
        try:
            result = work()
        except exc.DBAPIError:
            if _last.is_immutable and _state_of(path) != before:
                continue
            if os.path.exists(_log_of(path)) and not os.path.exists(f"{path}-shm"):
                raise _unfinished(path, address) from None
            raise
        if not _last.is_immutable or _state_of(path) == before:
            return result
    raise LockTimeout(f"{address}: another process writes to this file all the time. Try again.", path=address)


def refusal(path: str, address: str) -> StoreUnavailable:
    """Return the error for a call that writes."""
    what = f"the folder {os.path.dirname(path) or '.'}" if os.access(path, os.W_OK) else "this file"
    return StoreUnavailable(
        f"{address}: you may read, but not write to {what}. Nothing was written. Get the right to write to the file "
        "and its folder, or copy the sessions to a store of your own with: localstore copy",
        path=address,
    )


def _unfinished(path: str, address: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{address}: a program was killed, and its last writes are in {_log_of(path)}. To read them, SQLite has to "
        "make a file in this folder, and you may not write to it. Open the store once as a user who may, or copy both "
        "files to a folder of your own.",
        path=address,
    )


def _state_of(path: str) -> tuple[object, ...]:
    """Return what changes when somebody opens a file of SQLite that has a log, or writes to it."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    changing = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return os.path.exists(_log_of(path)), *changing


def _log_of(path: str) -> str:
    return f"{path}-wal"

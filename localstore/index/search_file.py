"""The SQLite file of the search index: opens it, replaces a damaged one, and stands in for it in memory.

Everything in it is derived from the documents. It is therefore removed and made again when it is damaged or in another
format, and kept in memory when it cannot be had: in a read-only store, on a full disk, or when another process holds it
for too long.
"""

import contextlib
import ctypes
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from localstore.disk import filesystem
from localstore.disk.locks import LockPool
from localstore.disk.store_identity import make_folders
from localstore.disk.store_tree import SEARCH_FILES
from localstore.errors import LocalstoreError

_FOLDER = ".localstore"
_FORMAT = 1
_APPLICATION = 0x6C73_6678
_PATIENCE = 10.0
"""For how many seconds to wait for another process that holds the file."""
_TABLES = """
    CREATE TABLE session(
        number INTEGER PRIMARY KEY, session_id TEXT UNIQUE NOT NULL, state TEXT NOT NULL, title TEXT NOT NULL,
        settled INTEGER NOT NULL, size INTEGER NOT NULL, digest BLOB NOT NULL);
    CREATE TABLE entry(
        number INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, position INTEGER NOT NULL,
        start INTEGER NOT NULL, created INTEGER NOT NULL);
    CREATE INDEX entry_of_session ON entry(session, position);
    CREATE INDEX entry_by_time ON entry(created);
    CREATE VIRTUAL TABLE body USING fts5(text, content='', tokenize='ascii');
    INSERT INTO body(body, rank) VALUES ('hashsize', 16777216);
"""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_REFUSED = (
    *_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_PROTOCOL,
)
"""What SQLite says if the system does not let it use a file that may be sound."""
_Result = TypeVar("_Result")
_files: "weakref.WeakSet[SearchFile]" = weakref.WeakSet()


def _after_fork() -> None:
    for file in list(_files):
        file.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection holds what the statement needs."""
    return _code(error) in _BUSY


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class SearchFile:
    """One connection to the search index of a store, for one thread at a time."""

    def __init__(self, root: str, locks: LockPool) -> None:
        self._root = root
        self._path = f"{root}/{_FOLDER}/{SEARCH_FILES[0]}"
        self._locks = locks
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        """Device and inode of the open file, or None if the index is in memory."""
        self.opened = 0
        """How often an index was opened. What was read from an earlier one may not hold."""
        _files.add(self)

    def reset_after_fork(self) -> None:
        """In a child process: leave the connection of the parent alone, and use a new one."""
        self._lock = threading.RLock()
        self._abandon()

    def close(self) -> None:
        """Close the connection, unless another thread uses it. The next call opens it again."""
        if self._lock.acquire(blocking=False):
            try:
                connection, self._connection = self._connection, None
                if connection is not None:
                    connection.close()
            finally:
                self._lock.release()

    def use(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Return the result of `work`, which is called with an open connection.

        It is called again, with a new index, if the one it worked on turns out to be damaged or cannot be used.
        `work` must commit what it changes.
        """
        with self._lock:
            for _ in range(2):
                try:
                    return self._attempt(work, self._usable())
                except sqlite3.OperationalError as error:
                    if self._identity is None:
                        raise
                    if _code(error) in _REFUSED:
                        break
                    self._replace()
                except sqlite3.DatabaseError:
                    if self._identity is None:
                        raise
                    self._replace()
            self._abandon()
            return self._attempt(work, self._in_memory())

    def use_memory(self) -> None:
        """Work without the file from now on."""
        with self._lock:
            self._abandon()
            self._in_memory()

    def _attempt(self, work: Callable[[sqlite3.Connection], _Result], connection: sqlite3.Connection) -> _Result:
        try:
            return work(connection)
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            raise

    def _usable(self) -> sqlite3.Connection:
        """Return a connection to the file that has the name now, or to the index in memory that replaces it."""
        if self._connection is not None and self._identity is None:
            return self._connection
        status = filesystem.status_or_none(self._path)
        if self._connection is not None and status is not None:
            if status.st_size == 0:  # emptied while it was open: SQLite would wait for its own locks
                self._replace()
            elif self._identity == (status.st_dev, status.st_ino):
                return self._connection
        self._abandon()
        try:
            return self._open()
        except OSError:  # a read-only store, a folder or a link with this name
            return self._in_memory()

    def _found(self) -> tuple[int, int] | None:
        status = filesystem.status_or_none(self._path)
        return None if status is None else (status.st_dev, status.st_ino)

    def _open(self) -> sqlite3.Connection:
        make_folders(self._root, Path(self._path).parent)
        with filesystem.open_file(self._path, os.O_RDWR | os.O_CREAT) as fd:  # SQLite would let others read it
            status = filesystem.system.status_of(fd)
        self._identity = status.st_dev, status.st_ino
        self._keep(self._path)
        assert self._connection is not None  # noqa: S101 (for the type checker)
        self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is in a new file
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        _prepare(self._connection)
        return self._connection

    def _in_memory(self) -> sqlite3.Connection:
        self._identity = None
        connection = self._keep(":memory:")
        _prepare(connection)
        return connection

    def _keep(self, path: str) -> sqlite3.Connection:
        self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        self.opened += 1
        return self._connection

    def _abandon(self) -> None:
        """Stop using the connection without closing it.

        SQLite removes the log of a database by its name when the last connection to it is closed, also if the name
        belongs to the file of another process by then. A connection that came from a parent process must not be
        touched at all. So this one stays open until the process ends.
        """
        connection, self._connection = self._connection, None
        if connection is not None and self._identity is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def _replace(self) -> None:
        """Remove a damaged file, unless another process has replaced it already."""
        damaged = self._identity
        self._abandon()
        with contextlib.suppress(OSError, LocalstoreError), self._locks.session(SEARCH_FILES[0], _PATIENCE):
            if self._found() == damaged:
                for name in reversed(SEARCH_FILES):
                    with contextlib.suppress(FileNotFoundError):
                        filesystem.system.unlink(f"{self._root}/{_FOLDER}/{name}")


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables if there are none. Raises DatabaseError if the file is not an index of this format."""
    if _is_ready(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ready(connection):
            for statement in filter(str.strip, _TABLES.split(";\n")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _is_ready(connection: sqlite3.Connection) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return False
    if (application, version) != (_APPLICATION, _FORMAT):
        raise sqlite3.DatabaseError("This is an index of another format.")
    return True

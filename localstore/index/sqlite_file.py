"""Opens a SQLite file in `.localstore`, replaces a damaged one, and keeps its tables in memory if it cannot be used.

Everything in such a file is derived from the documents. It is therefore removed and made again when it is damaged or in
another format. Its tables are kept in memory when it cannot be used: in a read-only store, on a full disk, on a file
system that other machines use, or when another process holds it for too long.
"""

import contextlib
import errno
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from localstore.disk import filesystem
from localstore.disk.loading import register_at_fork
from localstore.disk.locks import LockPool
from localstore.disk.network_folder import is_shared
from localstore.disk.store_identity import make_folders
from localstore.errors import LocalstoreError

_PATIENCE = 10.0
"""For how many seconds to wait for another process that holds the file."""
_SYNCHRONOUS = "NORMAL"
"""After a power cut, a file is whole then. It may lack its last transactions."""
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
_WAIT = 0.05
"""How many seconds a fork waits for one lock. If it only tried, it might never get one that threads take constantly."""
_MOST_WAITS = 200
"""How often a fork tries to get all locks."""
_gate = threading.RLock()
"""Held while a connection is opened or closed, which also happens without the lock of a file: a file that is no longer
used is closed by whichever thread drops it."""
_held: list[Any] = []
"""The locks that are held during a fork."""
_files: "weakref.WeakSet[SqliteFile]" = weakref.WeakSet()


def _before_fork() -> None:
    """Wait until no other thread is inside SQLite, whose own locks no child process could ever get.

    Then close the connections. In the child, SQLite would still have its notes on them, and would not lock the file for
    new connections. Another process could then believe that it is the last one, and remove the log that the child uses.
    """
    global _held
    for _ in range(_MOST_WAITS):
        held: list[Any] = []
        if _all_acquired(held):
            _held = held
            for file in list(_files):
                file.close_file()
            return
        for lock in held:  # in another order, threads may hold one and wait for another
            lock.release()
        time.sleep(0.001)


def _all_acquired(held: list[Any]) -> bool:
    """Acquire the gate and the locks of all files, and add those that were acquired to `held`."""
    if not _gate.acquire(timeout=_WAIT):
        return False
    held.append(_gate)
    for file in list(_files):  # only now: a file that is made meanwhile does not get past the gate
        if not file.lock.acquire(timeout=_WAIT):
            return False
        held.append(file.lock)
    return True


def _after_fork_in_parent() -> None:
    global _held
    for lock in _held:
        lock.release()
    _held = []


def _after_fork_in_child() -> None:
    global _gate, _held
    _gate = threading.RLock()
    _held = []
    for file in list(_files):
        file.reset_after_fork()


register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection holds what the statement needs."""
    return _code(error) in _BUSY


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class Layout(NamedTuple):
    """What is in a file: its application id and format number, and the statements that make its tables."""

    application: int
    format: int
    statements: str


class SqliteFile:
    """One connection to a file, for one thread at a time."""

    def __init__(self, root: str, name: str, layout: Layout, locks: LockPool) -> None:
        """Do not open the file yet.

        Args:
            root: The folder of the store.
            name: The path of the file below `root`.
            layout: What the file has to be. A file with another layout is replaced.
            locks: The locks of the store. A file is replaced under the lock with its name.
        """
        self._root = root
        self._name = name
        self._path = f"{root}/{name}"
        self._layout = layout
        self._locks = locks
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        """Device and inode of the open file, or None if the tables are in memory."""
        self.opened = 0
        """How often the tables were opened. What was read from earlier ones may not hold."""
        _files.add(self)

    def reset_after_fork(self) -> None:
        """In a child process: leave the connection of the parent alone, and use a new one."""
        self.lock = threading.RLock()
        self._abandon()

    def close(self) -> None:
        """Close the connection, unless another thread uses it. The next call opens it again."""
        if self.lock.acquire(blocking=False):
            try:
                if self._connection is not None:
                    self._connection = None
                    self._closer()
            finally:
                self.lock.release()

    def close_file(self) -> None:
        """Close the connection if it is to the file. The next call opens it again. The caller must hold `lock`."""
        if self._connection is not None and self._identity is not None:
            self._connection = None
            self._closer()

    def use(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Return the result of `work`, which is called with an open connection.

        It is called again, with new tables, if the file it worked on turns out to be damaged or cannot be used.
        `work` must commit what it changes.
        """
        with self.lock:
            for _ in range(2):
                try:
                    return self._attempt(work, self._usable())
                except sqlite3.OperationalError as error:
                    if self._identity is None:
                        raise
                    if _code(error) in _REFUSED:
                        break
                    self._replace()
                except (sqlite3.DatabaseError, UnicodeDecodeError):  # the latter for a message that quotes the damage
                    if self._identity is None:
                        raise
                    self._replace()
            self._abandon()
            return self._attempt(work, self._in_memory())

    def discard(self) -> None:
        """Remove the file with everything that it ever held. The next call makes it again."""
        with self.lock:
            if self._connection is not None:
                self._connection = None
                self._closer()
            self._identity = self._found()
            if self._identity is not None:
                self._replace()

    def use_memory(self) -> None:
        """Work without the file from now on."""
        with self.lock:
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
        """Return a connection to the file that has the name now, or to the tables in memory that replace it."""
        if self._connection is not None and self._identity is None:
            return self._connection
        if self._connection is None and is_shared(self._root):
            return self._in_memory()
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
        status = self._made() or filesystem.system.status(self._path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", self._path)
        self._identity = status.st_dev, status.st_ino
        self._keep(self._path)
        assert self._connection is not None  # noqa: S101 (for the type checker)
        self._connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS}")  # first: what follows writes to a new file
        self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is in a new file
        self._connection.execute("PRAGMA journal_mode = WAL")
        _prepare(self._connection, self._layout)
        return self._connection

    def _made(self) -> os.stat_result | None:
        """Make the file, because SQLite would let others read it, and return its status. Return None if there is one.

        A file that is there is not opened: to close it again would release the locks that other connections of this
        process hold on it. Another process could then take its own connection for the last one, and remove the log.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        with contextlib.suppress(FileExistsError), _gate, filesystem.open_file(self._path, flags) as fd:
            return filesystem.system.status_of(fd)
        return None

    def _in_memory(self) -> sqlite3.Connection:
        self._identity = None
        connection = self._keep(":memory:")
        _prepare(connection, self._layout)
        return connection

    def _keep(self, path: str) -> sqlite3.Connection:
        with _gate:
            connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        self._connection = connection
        self._closer = weakref.finalize(self, _close, connection, path, self._identity)
        self.opened += 1
        return connection

    def _abandon(self) -> None:
        """Stop using the connection without closing it, if it may be that of a parent process or to another file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._closer.detach()
            if self._identity is not None:
                _keep_open(connection)

    def _replace(self) -> None:
        """Remove a damaged file, unless another process has replaced it already."""
        damaged = self._identity
        self._abandon()
        with contextlib.suppress(OSError, LocalstoreError), self._locks.session(self._name, _PATIENCE):
            if self._found() == damaged:
                for name in (f"{self._name}-shm", f"{self._name}-wal", self._name):
                    with contextlib.suppress(FileNotFoundError):
                        filesystem.system.unlink(f"{self._root}/{name}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, *, waits: bool = True) -> Iterator[bool]:
    """Hold a transaction that changes tables, commit it at the end, and yield True.

    Without `waits`, and while another process changes tables, nothing is begun, and False is yielded.
    """
    try:
        if not waits:
            connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if waits or not is_busy(error):
            raise
        yield False
        return
    finally:
        if not waits:
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * _PATIENCE)}")
    try:
        yield True
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        raise


def _close(connection: sqlite3.Connection, path: str, identity: tuple[int, int] | None) -> None:
    """Close a connection, unless another file than that with this identity has the name.

    SQLite removes the log of a database by its name when the last connection to it is closed, also if the name belongs
    to the file of another process by then. If no file has the name, the log belongs to none.
    """
    try:
        status = None if identity is None else os.lstat(path)  # at the end of any call: not one of its operations
    except OSError:
        status = None
    if status is not None and (status.st_dev, status.st_ino) != identity:
        _keep_open(connection)
        return
    with _gate, contextlib.suppress(sqlite3.Error):
        connection.close()


def _keep_open(connection: sqlite3.Connection) -> None:
    """Leave a connection open until the process ends, and never touch it again."""
    import ctypes  # which takes long: most processes do without, and those that have taken a lock have loaded it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _prepare(connection: sqlite3.Connection, layout: Layout) -> None:
    """Make the tables if there are none. Raises DatabaseError if the file has another layout."""
    if _is_ready(connection, layout):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ready(connection, layout):
            for statement in filter(str.strip, layout.statements.split(";\n")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {layout.application}")
            connection.execute(f"PRAGMA user_version = {layout.format}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _is_ready(connection: sqlite3.Connection, layout: Layout) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return False
    if (application, version) != (layout.application, layout.format):
        raise sqlite3.DatabaseError("This file has another layout.")
    return True

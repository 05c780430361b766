"""Locks between threads and processes: a fixed number of lock files, kept open in one pool per store and process.

A lock belongs to an open file, so the system frees it however its process ends. Lock files are never removed: after
that, two processes could hold the same lock, each on its own file.
"""

import contextlib
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from localstore.disk import file_names, filesystem, store_place
from localstore.disk.loading import load_for_writing
from localstore.disk.store_identity import StoreIdentity, make_folders
from localstore.disk.write_marks import WriteMarks
from localstore.errors import LockTimeout, StoreNotFound
from localstore.format.write_mark import WriteMark

STRIPES = 64
MANIFEST = STRIPES
"""The number of the manifest's lock, which is taken last and held for the shortest time."""
MIGRATION = STRIPES + 1
"""The number of the lock of upgrades and conversions, which is taken first."""

_STRIPE_FILE = re.compile(r"\d\d\.lock\Z")

_FIRST_WAIT, _LONGEST_WAIT, _GROWTH = 0.0002, 0.005, 1.5
_MAX_TIMEOUT = threading.TIMEOUT_MAX


class _Lock:
    __slots__ = ("fd", "file", "holder", "mutex", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1
        self.file = 0, 0
        """Device and inode of the open file."""
        self.mutex = threading.RLock()
        self.holder: weakref.ref[_LockGuard] | None = None

    def is_in_place(self) -> bool:
        """Return whether the open file is the one at its path. Raises OSError."""
        status = filesystem.status_or_none(self.path)
        return status is not None and (status.st_dev, status.st_ino) == self.file

    def is_abandoned(self) -> bool:
        """Return whether an interruption such as Ctrl-C left no guard that can release the lock held by this thread."""
        return self.holder is None or self.holder() is None

    def release_mutex(self) -> None:
        """Release the mutex if this thread has it."""
        while self.mutex._is_owned():  # type: ignore[attr-defined]
            self.mutex.release()


class _LockGuard:
    __slots__ = ("__weakref__", "_numbers", "_pool", "_session_id", "_timeout")

    def __init__(self, pool: "LockPool", numbers: Sequence[int], timeout: float, session_id: str | None = None) -> None:
        self._session_id = session_id
        self._pool = pool
        self._numbers = numbers
        self._timeout = timeout

    def __enter__(self) -> None:
        load_for_writing()
        tried = 0
        try:
            for number in self._numbers:
                tried += 1
                self._pool.acquire(number, self._timeout, self)
        except BaseException as error:
            if isinstance(error, LockTimeout):
                error.session_id = self._session_id
            self._release(self._numbers[:tried])
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._release(self._numbers)
        except BaseException:
            self._release(self._numbers)
            raise

    def _release(self, numbers: Sequence[int]) -> None:
        """Release all of these locks, even if Ctrl-C interrupts the release."""
        for done, number in enumerate(numbers, 1):
            try:
                self._pool.release(number, self)
            except BaseException:
                with contextlib.suppress(OSError):
                    self._pool.release(number, self)
                self._release(numbers[done:])
                raise


class LockPool:
    """The locks of one store. `pool_of` returns the one pool that all storages of a process share.

    `store` is the store that was opened. Taking a lock raises StoreNotFound if another one, or none, is at its path
    by then: its lock files would not keep out the processes that work there.
    """

    def __init__(self, store: StoreIdentity) -> None:
        self.store = store
        self._folder = Path(store.root, ".localstore", "locks")
        folder = str(self._folder)  # to join texts takes a quarter of the time
        names = [f"{number:02d}.lock" for number in range(STRIPES)]
        self._locks = [_Lock(os.path.join(folder, name)) for name in (*names, "manifest.lock", "migration.lock")]
        self._marks_are_read = False
        weakref.finalize(self, _close, self._locks)

    def session(self, session_id: str, timeout: float) -> "_LockGuard":
        """Hold the lock of one session in a `with` statement. Entering raises LockTimeout, OSError."""
        return _LockGuard(self, (file_names.stripe(session_id, STRIPES),), timeout, session_id)

    def sessions(self, session_ids: Iterable[str], timeout: float) -> "_LockGuard":
        """Hold the locks of several sessions, taken in ascending order."""
        return _LockGuard(self, sorted({file_names.stripe(session_id, STRIPES) for session_id in session_ids}), timeout)

    def has_been_used(self, session_id: str) -> bool:
        """Return whether the session's lock file exists, which means that some process has held the lock before."""
        return os.path.exists(self._locks[file_names.stripe(session_id, STRIPES)].path)

    def marks(self, session_id: str) -> WriteMarks:
        """Return the marks of writes in the session's lock file. The caller must hold the lock."""
        lock = self._locks[file_names.stripe(session_id, STRIPES)]
        return WriteMarks(lock.fd, lock.path)

    def read_marks(self, session_id: str) -> list[WriteMark]:
        """Return the marks of a session, without its lock. A mark may belong to a write in progress. Raises OSError."""
        path = self._locks[file_names.stripe(session_id, STRIPES)].path
        try:
            with filesystem.open_file(path) as fd:
                return WriteMarks(fd, path).of(session_id)
        except FileNotFoundError:
            return []

    def marked_sessions(self) -> set[str]:
        """Return the sessions that have a mark, when this is first called in this process; after that, none.

        No lock is taken, so a mark may belong to a write in progress. Raises OSError.
        """
        marked: set[str] = set()
        if self._marks_are_read:
            return marked
        self._marks_are_read = True
        with contextlib.suppress(FileNotFoundError):
            for entry in filesystem.system.entries(str(self._folder)):
                if _STRIPE_FILE.match(entry.name):
                    with contextlib.suppress(FileNotFoundError), filesystem.open_file(entry.path) as fd:
                        marked |= WriteMarks(fd, entry.path).sessions()
        return marked

    def manifest(self, timeout: float) -> "_LockGuard":
        """Hold the manifest's lock in a `with` statement. Do not take any other lock inside."""
        return _LockGuard(self, (MANIFEST,), timeout)

    def migration(self, timeout: float) -> "_LockGuard":
        """Hold the lock that only one upgrade or conversion of a store can hold. Take it before any other one."""
        return _LockGuard(self, (MIGRATION,), timeout)

    def all_sessions(self, timeout: float) -> "_LockGuard":
        """Hold every session's lock, taken in ascending order."""
        return _LockGuard(self, range(STRIPES), timeout)

    def acquire(self, number: int, timeout: float, holder: "_LockGuard | None" = None) -> None:
        """Take one lock within `timeout` seconds; `holder` releases it. Raises LockTimeout, StoreNotFound, OSError."""
        lock = self._locks[number]
        if lock.mutex._is_owned():  # type: ignore[attr-defined]
            if not lock.is_abandoned():  # for example, a signal handler that writes during a write
                raise _held_by_this_thread(lock.path)
            lock.release_mutex()
        deadline = time.monotonic() + timeout
        try:
            if not lock.mutex.acquire(blocking=False) and not lock.mutex.acquire(timeout=min(timeout, _MAX_TIMEOUT)):
                raise _timed_out(lock.path, timeout)
            lock.holder = None if holder is None else weakref.ref(holder)
            self._lock_file(lock, deadline, timeout)
        except BaseException as error:
            filesystem.set_filename(error, lock.path)
            self.release(number)
            raise

    def _lock_file(self, lock: _Lock, deadline: float, timeout: float) -> None:
        wait = _FIRST_WAIT
        is_new = False
        while True:
            if lock.fd < 0:
                is_new = True
                self._open(lock)
            if filesystem.system.lock(lock.fd):
                try:
                    if self._is_in_place(lock, is_new=is_new):
                        return
                except BaseException:
                    _close([lock])
                    raise
                _close([lock])  # the file was removed or replaced: others would lock the one with its name
                continue
            if time.monotonic() > deadline:
                raise _timed_out(lock.path, timeout)
            time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 (jitter, not a secret)
            wait = min(wait * _GROWTH, _LONGEST_WAIT)

    def _is_in_place(self, lock: _Lock, *, is_new: bool) -> bool:
        """Return whether the open file is the one at its path. Raises StoreNotFound if the store is another one.

        While the file is open, no other file can have its device and inode. The store is therefore compared only when
        the file was opened (`is_new`), or is no longer at its path.
        """
        is_in_place = lock.is_in_place()
        if is_new or not is_in_place:
            self.check_store(lock)
        return is_in_place

    def check_store(self, opened: _Lock | None = None) -> None:
        """Raise StoreNotFound if the store that was opened is no longer at its path. Raises OSError.

        The marker may be another file, or have another time, while a lock file that is open here is still in its place:
        a copy of the store, or a new one, has other lock files. `opened` is a lock whose file may be such a new one.
        """
        try:
            self.store.check()
        except StoreNotFound:
            now = StoreIdentity.of(self.store.root)
            locks = [lock for lock in self._locks if lock is not opened and lock.fd >= 0]
            if now.folder != self.store.folder or now.marker is None or not any(lock.is_in_place() for lock in locks):
                raise
            self.store = now

    def _open(self, lock: _Lock) -> None:
        flags = os.O_RDWR | os.O_CREAT
        try:
            lock.fd = filesystem.system.open(lock.path, flags)
        except FileNotFoundError:  # `.localstore` is machine-local: people may delete it
            self.store.check()
            make_folders(self.store.root, self._folder)
            store_place.record_first(self.store.root)
            lock.fd = filesystem.system.open(lock.path, flags)
        try:
            status = filesystem.system.status_of(lock.fd)
        except BaseException:
            _close([lock])
            raise
        lock.file = status.st_dev, status.st_ino

    def release(self, number: int, holder: "_LockGuard | None" = None) -> None:
        """Release one lock if this thread took it, and took it for this holder."""
        lock = self._locks[number]
        if not lock.mutex._is_owned():  # type: ignore[attr-defined]
            return
        if holder is not None and lock.holder is not None and lock.holder() is not holder:
            return
        try:
            if lock.fd >= 0:
                filesystem.system.unlock(lock.fd)
        except BaseException as error:
            _close([lock])  # which unlocks it too
            if not isinstance(error, OSError):
                raise
        finally:
            lock.release_mutex()

    def close(self) -> None:
        """Close the files of the locks that nobody holds. The next call that needs one opens it again."""
        for lock in self._locks:
            if not lock.mutex._is_owned() and lock.mutex.acquire(blocking=False):  # type: ignore[attr-defined]
                try:
                    _close([lock])
                finally:
                    lock.mutex.release()

    def reset_after_fork(self) -> None:
        """In the child process, close the files without unlocking what the parent holds, and forget its threads."""
        _close(self._locks)
        for lock in self._locks:
            lock.mutex = threading.RLock()


def _close(files: list[_Lock]) -> None:
    for lock in files:
        fd, lock.fd = lock.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)


def _timed_out(path: str, timeout: float) -> LockTimeout:
    return LockTimeout(
        f"{path} was locked by someone else for more than {timeout:g} s. Nothing was written. "
        "Try again, or give the storage a longer lock_timeout.",
        path=path,
    )


def _held_by_this_thread(path: str) -> LockTimeout:
    return LockTimeout(
        f"This thread already holds {path}, in the middle of another write. Nothing was written by the inner call. "
        "Write again when the outer call has returned, not in a signal handler or callback that interrupts it.",
        path=path,
    )


_pools: WeakValueDictionary[StoreIdentity, LockPool] = WeakValueDictionary()
_pools_mutex = threading.Lock()


def pool_of(root: Path) -> LockPool:
    """Return the pool of the store at `root`, a real path. All storages of this process share it. Raises OSError."""
    store = StoreIdentity.of(str(root))
    with _pools_mutex:
        pool = _pools.get(store)
        if pool is None:
            pool = _pools[store] = LockPool(store)
        return pool


def _after_fork() -> None:
    global _pools_mutex
    _pools_mutex = threading.Lock()
    for pool in list(_pools.values()):
        pool.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

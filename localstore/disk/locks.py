"""Locks between threads and processes: a fixed pool of lock files, kept open, one pool per store in a process.

A lock belongs to the open file, so the system frees it when its process ends, however it ends. The lock files are
never removed: a removed one would let two processes hold "the same" lock.
"""

import contextlib
import os
import random
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from localstore.disk import file_names, filesystem
from localstore.errors import LockTimeout, StoreNotFound

STRIPES = 64
MANIFEST = STRIPES
"""The manifest's lock: the leaf, taken last and held shortest."""
MIGRATION = STRIPES + 1
"""The lock of who rewrites many documents: taken first, and alone."""

_FIRST_WAIT, _LONGEST_WAIT, _GROWTH = 0.0002, 0.005, 1.5
_FOREVER = threading.TIMEOUT_MAX


class _Lock:
    __slots__ = ("fd", "holder", "mutex", "path")

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.fd = -1
        self.mutex = threading.RLock()
        self.holder: weakref.ref[_Held] | None = None

    def is_abandoned(self) -> bool:
        """Whether this thread has it, and nobody is left to give it back: Ctrl-C came in between."""
        return self.holder is None or self.holder() is None

    def let_go(self) -> None:
        """Free the mutex, when this thread has it."""
        while self.mutex._is_owned():  # type: ignore[attr-defined]
            self.mutex.release()


class _Held:
    __slots__ = ("__weakref__", "_numbers", "_pool", "_session_id", "_timeout")

    def __init__(self, pool: "LockPool", numbers: Sequence[int], timeout: float, session_id: str | None = None) -> None:
        self._session_id = session_id
        self._pool = pool
        self._numbers = numbers
        self._timeout = timeout

    def __enter__(self) -> None:
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
        """Give all of them back, even when the person at the keyboard interrupts that."""
        for done, number in enumerate(numbers, 1):
            try:
                self._pool.release(number, self)
            except BaseException:
                with contextlib.suppress(OSError):
                    self._pool.release(number, self)
                self._release(numbers[done:])
                raise


class LockPool:
    """The locks of one store. Use `pool_of`, so that every storage of a process on a store shares them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks = [_Lock(folder / f"{number:02d}.lock") for number in range(STRIPES)]
        self._locks.append(_Lock(folder / "manifest.lock"))
        self._locks.append(_Lock(folder / "migration.lock"))
        weakref.finalize(self, _close, self._locks)

    def session(self, session_id: str, timeout: float) -> "_Held":
        """Hold the lock of one session in a `with` statement. Entering raises LockTimeout, OSError."""
        return _Held(self, (file_names.stripe(session_id, STRIPES),), timeout, session_id)

    def sessions(self, session_ids: Iterable[str], timeout: float) -> "_Held":
        """Hold the locks of several sessions, taken in ascending order."""
        return _Held(self, sorted({file_names.stripe(session_id, STRIPES) for session_id in session_ids}), timeout)

    def has_been_used(self, session_id: str) -> bool:
        """Whether anybody ever wrote under this session's lock here; makes no lock file."""
        return os.path.exists(self._locks[file_names.stripe(session_id, STRIPES)].path)

    def manifest(self, timeout: float) -> "_Held":
        """Hold the manifest's lock. Take no other one inside."""
        return _Held(self, (MANIFEST,), timeout)

    def migration(self, timeout: float) -> "_Held":
        """Hold what keeps two upgrades or conversions of one store apart. Take it before any other one."""
        return _Held(self, (MIGRATION,), timeout)

    def all_sessions(self, timeout: float) -> "_Held":
        """Hold every session's lock, taken in ascending order."""
        return _Held(self, range(STRIPES), timeout)

    def acquire(self, number: int, timeout: float, holder: "_Held | None" = None) -> None:
        """Take one lock within `timeout` seconds, for whoever gives it back. Raises LockTimeout, OSError."""
        lock = self._locks[number]
        if lock.mutex._is_owned():  # type: ignore[attr-defined]
            if not lock.is_abandoned():  # a signal's handler, for instance, that writes in the middle of a write
                raise _held_by_this_thread(lock.path)
            lock.let_go()
        deadline = time.monotonic() + timeout
        try:
            if not lock.mutex.acquire(blocking=False) and not lock.mutex.acquire(timeout=min(timeout, _FOREVER)):
                raise _too_long(lock.path, timeout)
            lock.holder = None if holder is None else weakref.ref(holder)
            self._lock_file(lock, deadline, timeout)
        except BaseException as error:
            filesystem.name_file(error, lock.path)
            self.release(number)
            raise

    def _lock_file(self, lock: _Lock, deadline: float, timeout: float) -> None:
        wait = _FIRST_WAIT
        while True:
            if lock.fd < 0:
                lock.fd = self._open(lock.path)
            if filesystem.system.lock(lock.fd):
                try:
                    if filesystem.system.status_of(lock.fd).st_nlink:
                        return
                except BaseException:
                    _close([lock])
                    raise
                _close([lock])  # somebody removed the file: others would lock a new one of the same name
                continue
            if time.monotonic() > deadline:
                raise _too_long(lock.path, timeout)
            time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 (jitter, not a secret)
            wait = min(wait * _GROWTH, _LONGEST_WAIT)

    def _open(self, path: str) -> int:
        try:
            return filesystem.system.open(path, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:  # `.localstore` is machine-local, somebody may have cleared it
            root = self._folder.parent.parent
            if not root.is_dir():
                raise StoreNotFound(
                    f"The store at {root} was removed. Open the storage again to make a new one.", path=str(root)
                ) from None
            filesystem.make_folders(self._folder)
            return filesystem.system.open(path, os.O_RDWR | os.O_CREAT)

    def release(self, number: int, holder: "_Held | None" = None) -> None:
        """Give one lock back, when this thread has it, and took it for this holder."""
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
            lock.let_go()

    def start_afresh(self) -> None:
        """After a fork: close, never unlock, what the parent holds, and forget its threads."""
        _close(self._locks)
        for lock in self._locks:
            lock.mutex = threading.RLock()


def _close(files: list[_Lock]) -> None:
    for lock in files:
        fd, lock.fd = lock.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)


def _too_long(path: str, timeout: float) -> LockTimeout:
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


_pools: WeakValueDictionary[str, LockPool] = WeakValueDictionary()
_pools_mutex = threading.Lock()


def pool_of(root: Path) -> LockPool:
    """The pool for the store at `root`, a real path: the same one for every storage in this process."""
    with _pools_mutex:
        pool = _pools.get(str(root))
        if pool is None:
            pool = _pools[str(root)] = LockPool(root / ".localstore" / "locks")
        return pool


def _after_fork() -> None:
    global _pools_mutex
    _pools_mutex = threading.Lock()
    for pool in list(_pools.values()):
        pool.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""Locks between threads and processes: a fixed pool of lock files, kept open, one pool per store in a process.

A lock belongs to the open file, so the system frees it when its process ends, however it ends. The lock files are
never removed: a removed one would let two processes hold "the same" lock.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from localstore.errors import LockTimeout
from localstore.files import atomic, names

STRIPES = 64
MANIFEST = STRIPES
"""The manifest's lock: the leaf, taken last and held shortest."""

_FIRST_WAIT, _LONGEST_WAIT, _GROWTH = 0.0002, 0.005, 1.5


class _Lock:
    __slots__ = ("fd", "mutex", "path")

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.fd = -1
        self.mutex = threading.Lock()


class LockPool:
    """The locks of one store. Use `pool_of`, so that every storage of a process on a store shares them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks = [_Lock(folder / f"{number:02d}.lock") for number in range(STRIPES)]
        self._locks.append(_Lock(folder / "manifest.lock"))

    @contextmanager
    def session(self, session_id: str, timeout: float) -> Iterator[None]:
        """Hold the lock of one session. Raises LockTimeout, OSError."""
        number = names.stripe(session_id, STRIPES)
        self._acquire(number, timeout)
        try:
            yield
        finally:
            self._release(number)

    @contextmanager
    def manifest(self, timeout: float) -> Iterator[None]:
        """Hold the manifest's lock. Take no other one inside. Raises LockTimeout, OSError."""
        self._acquire(MANIFEST, timeout)
        try:
            yield
        finally:
            self._release(MANIFEST)

    @contextmanager
    def all_sessions(self, timeout: float) -> Iterator[None]:
        """Hold every session's lock, taken in ascending order. Raises LockTimeout, OSError."""
        with ExitStack() as stack:
            for number in range(STRIPES):
                self._acquire(number, timeout)
                stack.callback(self._release, number)
            yield

    def _acquire(self, number: int, timeout: float) -> None:
        lock = self._locks[number]
        deadline = time.monotonic() + timeout
        if not lock.mutex.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            raise _too_long(lock.path, timeout)
        try:
            self._lock_file(lock, deadline, timeout)
        except BaseException:
            lock.mutex.release()
            raise

    def _lock_file(self, lock: _Lock, deadline: float, timeout: float) -> None:
        lock_descriptor, unlock_descriptor = _primitives()
        wait = _FIRST_WAIT
        while True:
            if lock.fd < 0:
                lock.fd = self._open(lock.path)
            if lock_descriptor(lock.fd):
                if os.fstat(lock.fd).st_nlink:
                    return
                # Somebody removed the file: others would lock a new one of the same name.
                unlock_descriptor(lock.fd)
                os.close(lock.fd)
                lock.fd = -1
                continue
            if time.monotonic() > deadline:
                raise _too_long(lock.path, timeout)
            time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 (jitter, not a secret)
            wait = min(wait * _GROWTH, _LONGEST_WAIT)

    def _open(self, path: str) -> int:
        try:
            return atomic.system.open(path, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:  # `.localstore` is machine-local, somebody may have cleared it
            atomic.make_folders(self._folder)
            return atomic.system.open(path, os.O_RDWR | os.O_CREAT)

    def _release(self, number: int) -> None:
        lock = self._locks[number]
        try:
            _primitives()[1](lock.fd)
        finally:
            lock.mutex.release()

    def start_afresh(self) -> None:
        """After a fork: close, never unlock, what the parent holds, and forget its threads."""
        for lock in self._locks:
            if lock.fd >= 0:
                os.close(lock.fd)
                lock.fd = -1
            lock.mutex = threading.Lock()


def _too_long(path: str, timeout: float) -> LockTimeout:
    return LockTimeout(
        f"{path} was locked by someone else for more than {timeout:g} s. Nothing was written. "
        "Try again, or give the storage a longer lock_timeout.",
        path=path,
    )


_found: list[tuple[Callable[[int], bool], Callable[[int], None]]] = []


def _primitives() -> tuple[Callable[[int], bool], Callable[[int], None]]:
    """filelock's primitives for a descriptor, loaded at the first lock because readers never need them."""
    if not _found:
        from filelock import lock_descriptor, unlock_descriptor

        def try_lock(fd: int) -> bool:
            return lock_descriptor(fd, blocking=False)

        _found.append((try_lock, unlock_descriptor))
    return _found[0]


_pools: dict[str, LockPool] = {}
_pools_mutex = threading.Lock()


def pool_of(root: Path) -> LockPool:
    """The pool for the store at `root`, a real path: the same one for every storage in this process."""
    with _pools_mutex:
        return _pools.setdefault(str(root), LockPool(root / ".localstore" / "locks"))


def _after_fork() -> None:
    global _pools_mutex
    _pools_mutex = threading.Lock()
    for pool in _pools.values():
        pool.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

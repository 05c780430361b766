"""A file layer of which one chosen operation fails."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

from localstore.disk import filesystem
from tests.effort import IS_LONG

Result = TypeVar("Result")
Fault = Literal["EIO", "ENOSPC", "EACCES", "EINTR", "Ctrl-C", "torn write", "short write", "synced not"]
FAULTS: tuple[Fault, ...] = (
    "EIO", "ENOSPC", "EACCES", "EINTR", "Ctrl-C", "torn write", "short write", "synced not"
)  # fmt: skip
ROTATIONS: tuple[tuple[Fault, ...], ...] = (
    tuple((fault,) for fault in FAULTS)
    if IS_LONG
    else (("EIO", "ENOSPC", "EACCES", "EINTR", "Ctrl-C"), ("torn write", "short write"), ("synced not",))
)
"""Each test runs once per group and takes the faults of a group in turn, one at each place. Each place so fails in one
way of each group. At the level `long` each group is one fault, so that each place fails in all ways."""
_SYNCS = ("sync", "sync_folder")
_WRITES = ("write",)


def turn(faults: tuple[Fault, ...], place: int) -> Fault:
    """Return the fault that is tried at this place."""
    return faults[place % len(faults)]


class FaultySystem(filesystem.System):
    """Lets everything through but the operation with number `fail_at`, counted from 1 among those that the fault is
    about: writes for the torn and the short write, syncs for `synced not`, all of them for the others.

    Nothing is really synced: this is not about power cuts, and takes less time. A torn write leaves
    half of its bytes behind and fails; a short one is reported as short, which is no failure. Ctrl-C comes before the
    operation.
    """

    def __init__(self, fault: Fault, fail_at: int) -> None:
        self.fault = fault
        self.fail_at = fail_at
        self.count = 0
        self.trace: list[str] = []

    @property
    def happened(self) -> bool:
        return self.count >= self.fail_at

    def _is_due(self, name: str, about: str) -> bool:
        if self.fault in ("torn write", "short write") and name not in _WRITES:
            return False
        if self.fault == "synced not" and name not in _SYNCS:
            return False
        self.count += 1
        self.trace.append(f"{name} {about}")
        return self.count == self.fail_at

    def _error(self) -> OSError | KeyboardInterrupt:
        """As the system raises it: with the path when it was given one, without when it was given a descriptor."""
        if self.fault == "Ctrl-C":
            return KeyboardInterrupt()
        number = getattr(errno, self.fault, errno.EIO)
        name, _, about = self.trace[-1].partition(" ")
        return OSError(number, f"injected: {name}", about if about.startswith("/") else None)

    def _do(self, name: str, about: object, work: Callable[[], Result]) -> Result:
        if self._is_due(name, str(about)):
            raise self._error()
        return work()

    def open(self, path: str, flags: int) -> int:
        return self._do("open", path, lambda: super(FaultySystem, self).open(path, flags))

    def close(self, fd: int) -> None:
        due = self._is_due("close", str(fd))
        super().close(fd)  # a descriptor is gone even when closing it fails
        if due:
            raise self._error()

    def read(self, fd: int, size: int, offset: int) -> bytes:
        return self._do("read", offset, lambda: super(FaultySystem, self).read(fd, size, offset))

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        if not self._is_due("write", f"{len(data)} bytes at {offset}"):
            return super().write(fd, data, offset)
        if self.fault in ("torn write", "short write"):
            written = super().write(fd, memoryview(data)[: (len(data) + 1) // 2], offset)
            if self.fault == "short write":
                return written
        raise self._error()

    def truncate(self, fd: int, size: int) -> None:
        self._do("truncate", size, lambda: super(FaultySystem, self).truncate(fd, size))

    def sync(self, fd: int) -> None:
        self._do("sync", fd, lambda: None)

    def sync_folder(self, path: str) -> None:
        self._do("sync_folder", path, lambda: None)

    def replace(self, source: str, target: str) -> None:
        self._do("replace", target, lambda: super(FaultySystem, self).replace(source, target))

    def exchange(self, first: str, second: str) -> None:
        self._do("exchange", second, lambda: super(FaultySystem, self).exchange(first, second))

    def rename_to_new(self, source: str, target: str) -> None:
        self._do("rename_to_new", target, lambda: super(FaultySystem, self).rename_to_new(source, target))

    def is_being_written(self, fd: int) -> bool:
        return self._do("is_being_written", fd, lambda: super(FaultySystem, self).is_being_written(fd))

    def status(self, path: str) -> os.stat_result:
        return self._do("status", path, lambda: super(FaultySystem, self).status(path))

    def status_of(self, fd: int) -> os.stat_result:
        return self._do("status_of", fd, lambda: super(FaultySystem, self).status_of(fd))

    def entries(self, path: str) -> list[os.DirEntry[str]]:
        return self._do("entries", path, lambda: super(FaultySystem, self).entries(path))

    def lock(self, fd: int) -> bool:
        return self._do("lock", fd, lambda: super(FaultySystem, self).lock(fd))

    def unlock(self, fd: int) -> None:
        self._do("unlock", fd, lambda: super(FaultySystem, self).unlock(fd))

    def set_time(self, path: str, moment: int) -> None:
        self._do("set_time", path, lambda: super(FaultySystem, self).set_time(path, moment))

    def set_mode(self, path: str, mode: int) -> None:
        self._do("set_mode", path, lambda: super(FaultySystem, self).set_mode(path, mode))

    def unlink(self, path: str) -> None:
        self._do("unlink", path, lambda: super(FaultySystem, self).unlink(path))

    def link(self, source: str, target: str) -> None:
        self._do("link", target, lambda: super(FaultySystem, self).link(source, target))

    def remove_folder(self, path: str) -> None:
        self._do("remove_folder", path, lambda: super(FaultySystem, self).remove_folder(path))

    def make_folder(self, path: str) -> None:
        self._do("make_folder", path, lambda: super(FaultySystem, self).make_folder(path))


class UnsyncedSystem(filesystem.System):
    """For what is done around the operation that is tested."""

    def sync(self, fd: int) -> None:
        pass

    def sync_folder(self, path: str) -> None:
        pass


class Stopped(BaseException):
    """The process is gone: nothing that it would have done after this happens."""


class StoppingSystem(UnsyncedSystem):
    """Stops in the operation that changes the disk with this number, counted from 1: before it when `share` is less
    than a half, else behind it; a write with this share of its bytes written, up to the end of a page. From then on
    nothing is done any more, so that what cleans up behind an error does not either."""

    def __init__(self, number: int, share: float) -> None:
        self._left = number
        self._share = share

    @property
    def happened(self) -> bool:
        return self._left <= 0

    def _around(self, work: Callable[[], Result]) -> Result:
        self._left -= 1
        if self._left > 0:
            return work()
        if self._left == 0 and self._share >= 0.5:
            work()
        raise Stopped

    def open(self, path: str, flags: int) -> int:
        if not flags & os.O_CREAT:
            return super().open(path, flags)
        return self._around(lambda: super(StoppingSystem, self).open(path, flags))

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self._left -= 1
        if self._left > 0:
            return super().write(fd, data, offset)
        end = offset + round(len(data) * self._share)
        if end < offset + len(data):
            end = end // filesystem.PAGE * filesystem.PAGE  # the system copies a page as a whole
        if self._left == 0 and end > offset:
            super().write(fd, memoryview(data)[: end - offset], offset)
        raise Stopped

    def truncate(self, fd: int, size: int) -> None:
        self._around(lambda: super(StoppingSystem, self).truncate(fd, size))

    def replace(self, source: str, target: str) -> None:
        self._around(lambda: super(StoppingSystem, self).replace(source, target))

    def exchange(self, first: str, second: str) -> None:
        self._around(lambda: super(StoppingSystem, self).exchange(first, second))

    def rename_to_new(self, source: str, target: str) -> None:
        self._around(lambda: super(StoppingSystem, self).rename_to_new(source, target))

    def unlink(self, path: str) -> None:
        self._around(lambda: super(StoppingSystem, self).unlink(path))

    def link(self, source: str, target: str) -> None:
        self._around(lambda: super(StoppingSystem, self).link(source, target))

    def make_folder(self, path: str) -> None:
        self._around(lambda: super(StoppingSystem, self).make_folder(path))

    def remove_folder(self, path: str) -> None:
        self._around(lambda: super(StoppingSystem, self).remove_folder(path))


@contextmanager
def installed(system: filesystem.System) -> Iterator[None]:
    """Everything that localstore does to files goes through `system` inside."""
    before = filesystem.system
    filesystem.system = system
    try:
        yield
    finally:
        filesystem.system = before

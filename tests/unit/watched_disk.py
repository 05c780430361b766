"""The disk as the library sees it, watched: what was done to which file, and a place to make any operation fail."""

import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from localstore.disk.filesystem import System


class Call(NamedTuple):
    """One operation on the disk. `path` is the file's or folder's; `size` counts bytes read or written."""

    operation: str
    path: str
    offset: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        """The file's own name; one with random digits in it is `temporary`."""
        name = os.path.basename(self.path)
        return "temporary" if name.endswith(".tmp") else name


def nothing(call: Call) -> None:
    """What happens before an operation by default."""


class WatchedDisk(System):
    """Does what it is asked to, takes it down in `calls`, and asks `before` first, which may raise OSError."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.before: Callable[[Call], None] = nothing
        self.most_at_once: int | None = None
        """Writes take no more bytes than this at a time."""
        self._paths: dict[int, str] = {}

    def _note(self, operation: str, path: str, offset: int = 0, size: int = 0) -> None:
        call = Call(operation, path, offset, size)
        self.calls.append(call)
        self.before(call)

    def fail(self, operation: str, name: str, number: int = 1, code: int = errno.EIO) -> None:
        """Make the `number`-th such operation on files whose name ends in `name` fail from now on, that one alone."""
        left = number

        def before(call: Call) -> None:
            nonlocal left
            if call.operation == operation and call.path.endswith(name):
                left -= 1
                if left == 0:
                    raise OSError(code, os.strerror(code), call.path)

        self.before = before

    def forget(self) -> None:
        """Start a new list."""
        self.calls.clear()

    def of(self, *operations: str, name: str = "") -> list[Call]:
        """The calls of these operations, on files whose name ends in `name`."""
        return [call for call in self.calls if call.operation in operations and call.path.endswith(name)]

    def size(self, operation: str, name: str = "") -> int:
        """How many bytes were read or written."""
        return sum(call.size for call in self.of(operation, name=name))

    def open(self, path: str, flags: int) -> int:
        self._note("open", path)
        fd = super().open(path, flags)
        self._paths[fd] = path
        return fd

    def read(self, fd: int, size: int, offset: int) -> bytes:
        data = super().read(fd, size, offset)
        self._note("read", self._path(fd), offset, len(data))
        return data

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        data = data[: self.most_at_once]
        self._note("write", self._path(fd), offset, len(data))
        return super().write(fd, data, offset)

    def truncate(self, fd: int, size: int) -> None:
        self._note("truncate", self._path(fd), size)
        super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        self._note("sync", self._path(fd))
        super().sync(fd)

    def sync_folder(self, path: str) -> None:
        self._note("sync_folder", path)
        super().sync_folder(path)

    def replace(self, source: str, target: str) -> None:
        self._note("replace", target)
        super().replace(source, target)

    def exchange(self, first: str, second: str) -> None:
        self._note("replace", second)
        super().exchange(first, second)

    def rename_to_new(self, source: str, target: str) -> None:
        self._note("replace", target)
        super().rename_to_new(source, target)

    def set_time(self, path: str, moment: int) -> None:
        self._note("set_time", path)
        super().set_time(path, moment)

    def set_mode(self, path: str, mode: int) -> None:
        self._note("set_mode", path)
        super().set_mode(path, mode)

    def unlink(self, path: str) -> None:
        self._note("unlink", path)
        super().unlink(path)

    def remove_folder(self, path: str) -> None:
        self._note("remove_folder", path)
        super().remove_folder(path)

    def make_folder(self, path: str) -> None:
        self._note("make_folder", path)
        super().make_folder(path)

    def _path(self, fd: int) -> str:
        return self._paths.get(fd, "opened before")

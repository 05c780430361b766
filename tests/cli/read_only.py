"""A file system that refuses every write. Permissions are not enough: tests may run as root."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from localstore.disk import filesystem


def _refuse(path: str) -> NoReturn:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


class ReadOnlySystem(filesystem.System):
    def open(self, path: str, flags: int) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            _refuse(path)
        return super().open(path, flags)

    def replace(self, source: str, target: str) -> None:
        _refuse(target)

    def unlink(self, path: str) -> None:
        _refuse(path)

    def make_folder(self, path: str) -> None:
        _refuse(path)

    def set_mode(self, path: str, mode: int) -> None:
        _refuse(path)

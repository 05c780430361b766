"""Temporary files: their names, and how to recognise and remove those that a killed process left.

A file is written under a temporary name in the folder where it belongs, and renamed when it is complete.
"""

import contextlib
import os
import re
import time
import zlib
from collections.abc import Collection

from localstore.disk import file_names, filesystem

SUFFIX = ".tmp"
_NAME = re.compile(r"\.(.+)\.[0-9a-f]{6}([0-9a-f]{6})\.tmp\Z", re.DOTALL)
_LONGEST_FINAL_NAME = file_names.LONGEST - len("..0123456789ab.tmp")
_YOUNG = 60
"""For how many seconds after its last change a temporary file or folder may belong to an active writer."""


def new_path(path: str, old: os.stat_result | None = None) -> str:
    """Return the path of a new temporary file that will be renamed to `path`. It is in the same folder.

    `old` is the status of the file that it will be exchanged with, None if there is none. Its digits are part of the
    name; see `is_superseded`.
    """
    folder, name = os.path.split(path)
    digits = os.urandom(3).hex() + (os.urandom(3).hex() if old is None else _digits(old))
    return os.path.join(folder, f".{file_names.fit(name, _LONGEST_FINAL_NAME)}.{digits}{SUFFIX}")


def _digits(status: os.stat_result) -> str:
    return f"{zlib.crc32(repr((status.st_ino, status.st_size, status.st_mtime_ns)).encode()) & 0xFFFFFF:06x}"


def final_name(name: str) -> str | None:
    """Return the name to which a temporary file would have been renamed. Return None for any other file.

    A name that is too long to add to was shortened by `file_names.fit`.
    """
    match = _NAME.match(name)
    return match[1] if match else None


def is_superseded(name: str, status: os.stat_result) -> bool:
    """Return whether a temporary file of this name and status is an old file that a new one has replaced.

    A process that is killed between the exchange and the removal leaves it. Everything in it was replaced on purpose.
    """
    match = _NAME.match(name)
    return match is not None and match[2] == _digits(status)


def remove(folder: str, final_names: Collection[str] = ()) -> None:
    """Remove the temporary files that killed writers left in a folder.

    With `final_names`, remove only those that would have been renamed to one of these names. The caller must ensure
    that no process is writing there. Raises OSError.
    """
    fitted = {file_names.fit(name, _LONGEST_FINAL_NAME) for name in final_names}
    for entry in filesystem.system.entries(folder):
        name = final_name(entry.name)
        if name is not None and (not fitted or name in fitted) and entry.is_file(follow_symlinks=False):
            filesystem.system.unlink(entry.path)


def discard(temporary: str) -> None:
    """Remove a temporary file. Do nothing if it does not exist or the disk refuses."""
    with contextlib.suppress(OSError):
        filesystem.system.unlink(temporary)


def is_old(status: os.stat_result) -> bool:
    """Return whether a temporary file or folder is too old to belong to an active writer."""
    return time.time() - status.st_mtime > _YOUNG

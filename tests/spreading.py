"""Folders whose subfolders ext4 puts into different parts of the disk.

Without a journal, ext4 keeps the numbers of removed files out of use for some minutes. Whoever makes a file there
looks at each of them before a free number is found. The tests make and remove hundreds of thousands of files: in one
part of the disk, this took a third of the processor time of the crash tests.
"""

import os
import struct
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

if sys.platform == "linux":
    import fcntl

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_TOP_OF_A_HIERARCHY = 0x00020000


def spread(folder: Path) -> None:
    """Mark a folder as the top of a hierarchy, as `chattr +T` does, where the file system knows that."""
    if sys.platform != "linux":
        return
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, struct.pack("l", 0)))
            fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", flags | _TOP_OF_A_HIERARCHY))
        finally:
            os.close(fd)


@cache
def top_folder() -> Path:
    """Return a folder for the folders of tests that have no `tmp_path`, such as the examples of Hypothesis."""
    owner = getattr(os, "getuid", lambda: "me")()
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = Path(root, f"localstore-tests-{owner}-folders")
    folder.mkdir(mode=0o700, exist_ok=True)
    spread(folder)
    return folder

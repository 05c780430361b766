"""The file of the manifest: lines are added at its end, and now and then it is replaced by a shorter one."""

import contextlib
import errno
import os
import stat
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from localstore.disk import durable_files, filesystem
from localstore.disk.file_end import add_line
from localstore.index.manifest_lines import generation_line

_KEEP_OPEN = os.name != "nt"
"""Windows cannot replace a file that is open."""
_FIRST_LINE = 256
"""How many bytes of the first line identify the file."""

TAIL = 512
"""How many bytes before an offset identify what is before it. The last line's fingerprint is usually among them."""


def _close_quietly(fd: int) -> None:
    """Close a descriptor of the manifest. A failure has no consequence: what the manifest lacks is read again."""
    with contextlib.suppress(OSError):
        os.close(fd)


class _Irregular(OSError):
    """The path of the manifest is a folder, link, named pipe or the like. The store then works without a manifest."""


class ManifestFile:
    """Keeps the file open. The caller guards it: one thread at a time, and the manifest's lock for writing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self._identity = 0, 0
        """Device and inode of the open file."""

    def close(self) -> None:
        """Close the file. The next call opens it again."""
        if self._fd >= 0:
            self._fd = -1
            self._closer()

    def current(self) -> os.stat_result | None:
        """Return the status of the file with the manifest's name, or None if it is not the open file."""
        if self._fd < 0:
            return None
        status = filesystem.status_or_none(self.path)
        return status if status is not None and (status.st_dev, status.st_ino) == self._identity else None

    def reopen(self) -> os.stat_result | None:
        """Open the file that has the manifest's name now. Return its status, or None if there is no such file."""
        self.close()
        with self._named():
            try:
                self._open(writes=False)
            except (FileNotFoundError, NotADirectoryError, _Irregular):
                return None
            return filesystem.system.status_of(self._fd)

    def _open(self, *, writes: bool) -> None:
        try:
            self._fd = filesystem.system.open(self.path, os.O_RDWR)
        except OSError as error:
            if error.errno in (*filesystem.NO_FILE, *filesystem.LINK):
                raise _Irregular(error.errno, error.strerror, self.path) from None
            if writes or error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise
            self._fd = filesystem.system.open(self.path, os.O_RDONLY)
        self._closer = weakref.finalize(self, _close_quietly, self._fd)
        status = filesystem.system.status_of(self._fd)
        self._identity = status.st_dev, status.st_ino
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise _Irregular(errno.EINVAL, "This is not a regular file", self.path)

    def size(self) -> int:
        """Return the size of the open file."""
        with self._named():
            return filesystem.system.status_of(self._descriptor()).st_size

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in errors."""
        try:
            yield
        except OSError as error:
            filesystem.set_filename(error, self.path)
            raise

    def _descriptor(self) -> int:
        """Return the descriptor of the file. Raises OSError if there is no file."""
        if self._fd < 0:
            self._open(writes=False)
        return self._fd

    def released(self) -> None:
        """Close the file where it could otherwise not be replaced. Call it after each use."""
        if not _KEEP_OPEN:
            self.close()

    def name(self) -> bytes:
        """Return what identifies the content of the open file: its inode, and its first line, which is random."""
        with self._named():
            line = filesystem.read_at(self._descriptor(), _FIRST_LINE, 0).partition(b"\n")[0]
        return b"%d %s" % (self._identity[1], line)

    def read(self, size: int, offset: int) -> bytes:
        """Return bytes of the open file, fewer at its end."""
        with self._named():
            return filesystem.read_at(self._descriptor(), size, offset)

    def tail(self, offset: int) -> bytes:
        """Return the last bytes before an offset.

        They identify what was read up to there: a file that was cut off, or overwritten by an older copy, and then grew
        again has its first line and may be as long, but has others there.
        """
        begin = max(0, offset - TAIL)
        return self.read(offset - begin, begin)

    def has(self, tail: bytes, offset: int) -> bool:
        """Return whether these are the last bytes before an offset."""
        return self.read(len(tail), offset - len(tail)) == tail

    def create(self) -> None:
        """Create the file with a first line, and open it. Raises OSError."""
        filesystem.make_folders(Path(self.path).parent, top=Path(self.path).parents[1])
        durable_files.write_file(self.path, [generation_line()])
        self._open(writes=True)

    def append(self, lines: Iterable[bytes], size: int, *, is_whole: bool) -> bytes:
        """Add lines to the open file, which has `size` bytes, and return the bytes that were added.

        `is_whole` says that the file is known to end with a whole line.
        """
        lines = list(lines)
        if size == 0:
            lines = [generation_line().rstrip(), *lines]
        elif not is_whole and filesystem.read_at(self._fd, 1, size - 1) != b"\n":
            lines = [b"", *lines]  # the last writer was interrupted in the middle of a line
        data = b"\n".join([*lines, b""])
        add_line(self._fd, size, data)
        return data

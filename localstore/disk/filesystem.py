"""The one place that touches the disk: positioned reads and writes, sync, replace, unlink, status, names, locks.

Everything goes through `system`, so that tests can make any single operation fail, and so that the ways of Windows
and macOS stand beside the POSIX ones.
"""

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

from localstore.format.in_place import SECTOR

FILE_MODE = 0o600
FOLDER_MODE = 0o700
TEMPORARY_SUFFIX = ".tmp"
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp\Z", re.DOTALL)
_REPLACE_PATIENCE = 2.0
"""Seconds for which a replace is tried again on Windows while a reader has the file open."""

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor wait for somebody at a named pipe


LINK = (errno.ELOOP, errno.EMLINK)
"""What opening a symbolic link fails with; EMLINK is FreeBSD's."""
NO_FILE = (errno.EISDIR, errno.ENXIO, errno.EOPNOTSUPP)
"""What opening a folder or a socket fails with."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What writing to a full disk fails with."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS, errno.EINVAL)
"""What making a hard link fails with where there are none, or no more."""
_STAYS = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EBUSY)
"""What removing a folder fails with that is not empty, not there, or in use."""
_PIECE = 1 << 20
"""So many bytes are copied at a time."""


class _TryLock(Protocol):
    def __call__(self, fd: int, *, blocking: bool) -> bool: ...


@cache
def _lock_primitives() -> tuple[_TryLock, Callable[[int], None]]:
    """filelock's, loaded at the first lock because readers never need them."""
    from filelock import lock_descriptor, unlock_descriptor

    return lock_descriptor, unlock_descriptor


class System:
    """The operations on the disk that can fail. Thin on purpose: tests replace them one by one."""

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags | _BINARY | _NO_FOLLOW, FILE_MODE)

    def close(self, fd: int) -> None:
        os.close(fd)

    if hasattr(os, "pread"):

        def read(self, fd: int, size: int, offset: int) -> bytes:
            return os.pread(fd, size, offset)

        def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
            return os.pwrite(fd, data, offset)

    else:

        def read(self, fd: int, size: int, offset: int) -> bytes:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, size)

        def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    if sys.platform == "darwin":

        def sync(self, fd: int) -> None:
            import fcntl

            # On macOS fsync leaves the data in the drive's cache.
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

    else:

        def sync(self, fd: int) -> None:
            getattr(os, "fdatasync", os.fsync)(fd)

    if sys.platform == "win32":

        def sync_folder(self, path: str) -> None:
            """Windows keeps names durable by itself and cannot open a folder."""

        def replace(self, source: str, target: str) -> None:
            give_up = time.monotonic() + _REPLACE_PATIENCE
            while True:
                try:
                    return os.replace(source, target)
                except PermissionError:
                    if time.monotonic() > give_up:
                        raise
                    time.sleep(0.005)

    else:

        def sync_folder(self, path: str) -> None:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

        def replace(self, source: str, target: str) -> None:
            os.replace(source, target)

    def status(self, path: str) -> os.stat_result:
        """Of the name itself: a link is not followed."""
        return os.lstat(path)

    def status_of(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def entries(self, path: str) -> list["os.DirEntry[str]"]:
        """What stands in a folder."""
        with os.scandir(path) as found:
            return list(found)

    def lock(self, fd: int) -> bool:
        """Lock an open file for this process alone, without waiting; False while somebody else has it."""
        return _lock_primitives()[0](fd, blocking=False)

    def unlock(self, fd: int) -> None:
        _lock_primitives()[1](fd)

    if sys.platform == "win32":

        def set_mode(self, path: str, mode: int) -> None:
            """Windows has no such modes; a folder of the user's is the user's."""

    elif sys.platform == "linux":

        def set_mode(self, path: str, mode: int) -> None:
            # Not by name: the name could be given to a link in between. Nor opened: the mode may forbid just that.
            fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if stat.S_ISLNK(os.fstat(fd).st_mode):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                os.chmod(f"/proc/self/fd/{fd}", mode)
            finally:
                os.close(fd)

    else:

        def set_mode(self, path: str, mode: int) -> None:
            os.chmod(path, mode, follow_symlinks=False)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    if os.link in os.supports_follow_symlinks:

        def link(self, source: str, target: str) -> None:
            """Give a file a second name. Raises OSError where the file system knows no such thing."""
            os.link(source, target, follow_symlinks=False)

    else:

        def link(self, source: str, target: str) -> None:
            os.link(source, target)

    def free_space(self, path: str) -> int:
        """How many bytes this user may still write to the file system of a folder."""
        return shutil.disk_usage(path).free

    def remove_folder(self, path: str) -> None:
        os.rmdir(path)

    def make_folder(self, path: str) -> None:
        os.mkdir(path, FOLDER_MODE)


system = System()


def name_file(error: BaseException | None, path: str) -> None:
    """Let an error of the system say which file it is about: those about a descriptor do not."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = path


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Up to `size` bytes from `offset`; fewer only at the end of the file."""
    data = system.read(fd, size, offset)
    if len(data) == size or not data:
        return data
    parts = [data]
    got = len(data)
    while got < size and (data := system.read(fd, size - got, offset + got)):
        parts.append(data)
        got += len(data)
    return b"".join(parts)


@contextlib.contextmanager
def opened(path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor of a file that is no link, for a `with` statement; errors in it name the file. Raises OSError."""
    try:
        fd = system.open(path, flags)
        try:
            yield fd
        finally:
            system.close(fd)
    except OSError as error:
        name_file(error, path)
        raise


def read_file(path: str) -> bytes:
    """The bytes of a file that is no link. Raises OSError."""
    with opened(path) as fd:
        return read_at(fd, system.status_of(fd).st_size, 0)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, going on after short writes."""
    written = system.write(fd, data, offset)
    while written < len(data):
        more = system.write(fd, memoryview(data)[written:], offset + written)
        if more == 0:
            raise OSError(errno.EIO, "The disk took no more bytes")
        written += more


def extend(fd: int, size: int, old: bytes, new: bytes, sync: Callable[[], None] | None = None) -> None:
    """Replace `old`, the last bytes of a file of `size` bytes, by `new`, which is at least as long.

    First what lies beyond the old end of the file, then the few bytes that overlap it: stopped in between, the file
    is the old one with something odd behind its end. With `sync` no power cut leaves old bytes of the overlap beside
    new ones: a disk may write one sector and not the next, so where the overlap (of a sector at most) lies in two,
    the second one is made zero, durably, before the first one is changed. When a write fails the file is put back as
    it was, as far as the disk lets us, and the error is raised.
    """
    overlap = len(old)
    start = size - overlap
    border = size // SECTOR * SECTOR
    try:
        write_at(fd, new[overlap:], size)
        if sync is not None and start < border < size:
            write_at(fd, bytes(size - border), border)
            sync()
            write_at(fd, new[: border - start], start)
            sync()
            write_at(fd, new[border - start : overlap], border)
        elif overlap:
            write_at(fd, new[:overlap], start)
    except OSError:
        with contextlib.suppress(OSError):
            system.truncate(fd, size)
            write_at(fd, old, start)
        raise


def add_line(fd: int, size: int, line: bytes) -> None:
    """Write `line` at the end of a file of `size` bytes; the file is cut back when that fails."""
    extend(fd, size, b"", line)


def write_file(path: Path | str, parts: Iterable[bytes], *, settle: bool = True) -> None:
    """Make or replace the file at `path`, durably: it holds the old bytes or the new ones, never anything between.

    Temporary file in the same folder, write, sync, replace, sync the folder. No temporary file is left when it
    fails. Without `settle` the caller syncs the folder; before, the name may lead to the old bytes after a power cut.
    Raises OSError.
    """
    path = str(path)
    folder = os.path.dirname(path)
    temporary = _temporary(path)
    try:
        fd = system.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            offset = 0
            for part in parts:
                write_at(fd, part, offset)
                offset += len(part)
            system.sync(fd)
        finally:
            system.close(fd)
        system.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            system.unlink(temporary)
        name_file(error, path)
        raise
    if settle:
        sync_folder(folder)


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{os.urandom(6).hex()}{TEMPORARY_SUFFIX}")


def temporary_for(name: str) -> str | None:
    """The name of the file that a temporary file with this name was to become; None for any other file."""
    match = _TEMPORARY.match(name)
    return match[1] if match else None


def remove_temporaries(folder: str, became: Collection[str] = ()) -> None:
    """Remove what was left in a folder by writers that were killed; with `became`, only what was to become such a
    file. The caller makes sure that nobody is writing. Raises OSError."""
    for entry in system.entries(folder):
        name = temporary_for(entry.name)
        if name is not None and (not became or name in became) and entry.is_file(follow_symlinks=False):
            system.unlink(entry.path)


def move_file(source: str, target: str) -> None:
    """Give a file another name, durably, and its bytes with it. Raises FileExistsError when the name is taken, OSError.

    The caller makes sure, by a lock or a random name, that none of us takes the name in the same instant.
    """
    if exists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    fd = system.open(source, os.O_RDWR)  # Windows syncs only what may be written to
    try:
        try:
            sync_file(fd, source)
        finally:
            system.close(fd)
    except BaseException as error:
        name_file(error, source)
        raise
    system.replace(source, target)
    sync_folder(os.path.dirname(target))
    if os.path.dirname(source) != os.path.dirname(target):
        sync_folder(os.path.dirname(source))


def keep_file(source: str, target: str) -> None:
    """Give a file a second name, or, where the file system has no links, a copy that was read back and compared.

    Whatever has the name `target` is replaced. The name is not durable before the folder of `target` is synced; the
    bytes of a copy are. Raises OSError.
    """
    temporary = _temporary(target)
    try:
        try:
            system.link(source, temporary)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            _copy(source, temporary)
        system.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            system.unlink(temporary)  # a link that replaces another one of the same file stays


def _copy(source: str, target: str) -> None:
    with opened(source) as reading, opened(target, os.O_RDWR | os.O_CREAT | os.O_EXCL) as writing:
        offset = 0
        while data := read_at(reading, _PIECE, offset):
            write_at(writing, data, offset)
            offset += len(data)
        system.set_mode(target, stat.S_IMODE(system.status_of(reading).st_mode))
        sync_file(writing, target)
        for at in range(0, offset + 1, _PIECE):
            if read_at(writing, _PIECE, at) != read_at(reading, _PIECE, at):
                raise OSError(errno.EIO, "The copy is not like the file, or the file was changed", source)


def remove_file(path: Path | str) -> None:
    """Remove a file durably. Raises OSError."""
    system.unlink(str(path))
    sync_folder(os.path.dirname(str(path)))


def remove_folder_if_empty(path: str) -> None:
    """Remove a folder that holds nothing; any other stays, and so does what is none. Raises OSError."""
    try:
        system.remove_folder(path)
    except OSError as error:
        if error.errno not in _STAYS:
            raise
        return
    sync_folder(os.path.dirname(path))


def make_folders(path: Path) -> None:
    """Make a folder and the missing ones above it, durably, for this user only. Raises OSError."""
    missing = []
    folder = path
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            system.make_folder(str(folder))
        sync_folder(str(folder.parent))
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "This is not a folder", str(path))


def sync_folder(path: str) -> None:
    """Make the names in a folder durable. Raises OSError that names it."""
    try:
        system.sync_folder(path)
    except OSError as error:
        name_file(error, path)
        raise


def sync_file(fd: int, path: str) -> None:
    """Make the file's bytes durable. Raises OSError that names the path."""
    try:
        system.sync(fd)
    except OSError as error:
        raise OSError(error.errno, f"The disk did not keep the last write: {error.strerror}", path) from error


def status_if_there(path: str) -> os.stat_result | None:
    """The status of what has this name, None when nothing has. What cannot be told raises OSError: it is never taken
    for missing."""
    try:
        return system.status(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def exists(path: str) -> bool:
    """Whether anything has this name. Raises OSError when that cannot be told."""
    return status_if_there(path) is not None


def is_private(mode: int) -> bool:
    """Whether only the owner may use a file or folder of this mode."""
    return not stat.S_IMODE(mode) & 0o077

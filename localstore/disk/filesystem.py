"""All access to the disk: positioned reads and writes, sync, replace, unlink, status, names, locks.

Every operation goes through `system`, so tests can make any single operation fail. Variants for Windows and macOS are
next to the POSIX form.
"""

import contextlib
import errno
import os
import shutil
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from localstore.disk import rename_flags

if sys.platform != "win32":
    import fcntl

FILE_MODE = 0o600
FOLDER_MODE = 0o700
PAGE = 4096
"""The number of bytes that a process writes to a file as a whole or not at all, even if it is killed."""
_REPLACE_PATIENCE = 2.0
"""How many seconds Windows retries to replace a file that a reader has open."""
_LEASE_PATIENCE = 2.0
"""How many seconds an open is retried while another program has a lease on the file."""

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # O_NONBLOCK: never wait at a named pipe


LINK = (errno.ELOOP, errno.EMLINK)
"""Error numbers of opening a symbolic link; EMLINK is that of FreeBSD."""
NO_FILE = (errno.EISDIR, errno.ENXIO, errno.EOPNOTSUPP)
"""Error numbers of opening a folder or a socket."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of writing to a full disk."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS, errno.EINVAL)
"""Error numbers of making a hard link where the file system has none, or allows no more."""
NO_RENAME_FLAGS = (
    errno.ENOSYS,
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EPERM,
)
"""Error numbers of `exchange` and `rename_to_new` where the system or the file system cannot do it."""
_NOT_REMOVED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EBUSY)
"""Error numbers of removing a folder that is not empty, does not exist, or is in use."""


def load_functions() -> None:
    """Load the functions of other modules that the operations below need."""
    if sys.platform == "win32":
        import filelock  # noqa: F401
    else:
        rename_flags.load()


TELLS_WRITERS = sys.platform == "linux"
"""Whether `is_being_written` can tell."""


class System:
    """The single operations on the disk. Tests replace them one by one."""

    if hasattr(os, "O_NOFOLLOW"):

        def open(self, path: str, flags: int) -> int:
            give_up = None
            while True:
                try:
                    return os.open(path, flags | _BINARY | _NO_FOLLOW, FILE_MODE)
                except BlockingIOError:  # another program has a lease, as `is_being_written` takes for a moment
                    give_up = give_up or time.monotonic() + _LEASE_PATIENCE
                    if time.monotonic() > give_up:
                        raise
                    time.sleep(0.0005)

    else:

        def open(self, path: str, flags: int) -> int:
            if os.path.islink(path):  # Windows cannot refuse a link while it opens the file
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            return os.open(path, flags | _BINARY, FILE_MODE)

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
            # On macOS fsync leaves the data in the drive's cache.
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

    else:

        def sync(self, fd: int) -> None:
            getattr(os, "fdatasync", os.fsync)(fd)

    if sys.platform == "win32":

        def sync_folder(self, path: str) -> None:
            """Do nothing: Windows makes names durable itself, and cannot open a folder."""

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

    def exchange(self, first: str, second: str) -> None:
        """Exchange two names in one step: each then leads to the file of the other.

        Raises OSError with a number of `NO_RENAME_FLAGS` where the system or the file system cannot do that.
        """
        rename_flags.exchange(first, second)

    if sys.platform == "win32":

        def rename_to_new(self, source: str, target: str) -> None:
            os.rename(source, target)

    else:

        def rename_to_new(self, source: str, target: str) -> None:
            """Rename a file. Raises FileExistsError if anything has the name, else OSError as `exchange` does."""
            rename_flags.rename_to_new(source, target)

    if sys.platform == "linux":

        def is_being_written(self, fd: int) -> bool:
            """Return whether any program has the file open for writing. The file must be open for reading only here.

            Return False where the system cannot tell.
            """
            try:
                # The kernel grants a lease for reading only while nobody can write. It is given back at once. A program
                # that opened the file in between would end it with this signal, which does nothing by default.
                fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            except OSError as error:
                return error.errno == errno.EAGAIN
            return False

    else:

        def is_being_written(self, fd: int) -> bool:  # noqa: ARG002 (as on Linux)
            """Return False: this system cannot tell whether a program has the file open for writing."""
            return False

    def status(self, path: str) -> os.stat_result:
        """Return the status of the name itself: links are not followed."""
        return os.lstat(path)

    def status_of(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def may_list(self, path: str) -> bool:
        """Return whether a folder can be listed. Its permissions may have changed without a change of its time."""
        return os.access(path, os.R_OK | os.X_OK)

    def entries(self, path: str) -> list["os.DirEntry[str]"]:
        """Return the entries of a folder."""
        with os.scandir(path) as found:
            return list(found)

    if sys.platform == "win32":

        def lock(self, fd: int) -> bool:
            from filelock import lock_descriptor

            return lock_descriptor(fd, blocking=False)

        def unlock(self, fd: int) -> None:
            from filelock import unlock_descriptor

            unlock_descriptor(fd)

    else:

        def lock(self, fd: int) -> bool:
            """Lock an open file for this process without waiting. Return False if another process holds the lock."""
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def unlock(self, fd: int) -> None:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def set_time(self, path: str, moment: int) -> None:
        """Set the modification time of a file or folder, in ns."""
        os.utime(path, ns=(moment, moment))

    if sys.platform == "win32":

        def set_mode(self, path: str, mode: int) -> None:
            """Do nothing: Windows has no such modes, and the user's folders are private."""

    elif sys.platform == "linux":

        def set_mode(self, path: str, mode: int) -> None:
            # Not by name, which may become a link meanwhile; and without opening it, which its mode may forbid.
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
            """Give a file a second name. Raises OSError where the file system has no hard links."""
            os.link(source, target, follow_symlinks=False)

    else:

        def link(self, source: str, target: str) -> None:
            os.link(source, target)

    def free_space(self, path: str) -> int:
        """Return how many bytes this user can still write to the file system of a folder."""
        return shutil.disk_usage(path).free

    def remove_folder(self, path: str) -> None:
        os.rmdir(path)

    def make_folder(self, path: str) -> None:
        os.mkdir(path, FOLDER_MODE)


system = System()


def set_filename(error: BaseException | None, path: str) -> None:
    """Add the path to an OSError that lacks it, as those about a descriptor do."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = path


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Return `size` bytes from `offset`, or fewer at the end of the file."""
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
def open_file(path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a file that is not a link, for a `with` statement. An OSError raised in it carries the path."""
    try:
        fd = system.open(path, flags)
        try:
            yield fd
        finally:
            system.close(fd)
    except OSError as error:
        set_filename(error, path)
        raise


def read_file(path: str) -> bytes:
    """Return the bytes of a file that is not a link. Raises OSError."""
    with open_file(path) as fd:
        return read_at(fd, system.status_of(fd).st_size, 0)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, continuing after short writes."""
    written = system.write(fd, data, offset)
    while written < len(data):
        more = system.write(fd, memoryview(data)[written:], offset + written)
        if more == 0:
            raise OSError(errno.EIO, "The disk accepted no more bytes")
        written += more


def remove_folder_if_empty(path: str, *, sync_name: bool = True) -> None:
    """Remove a folder if it is empty. Anything else stays. Raises OSError.

    Without `sync_name`, an empty folder may be back after a power cut.
    """
    try:
        system.remove_folder(path)
    except OSError as error:
        if error.errno not in _NOT_REMOVED:
            raise
        return
    if sync_name:
        sync_folder(os.path.dirname(path))


def make_folders(path: Path, *, top: Path | None = None) -> None:
    """Create a folder and its missing parents, durably and for this user only.

    With `top`, only folders below it are created. Raises FileNotFoundError if `top` is missing, OSError.
    """
    missing = []
    folder = path
    while not folder.is_dir():
        if folder == top and not exists(str(top)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(top))
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            system.make_folder(str(folder))
        sync_folder(str(folder.parent))
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "This is not a folder", str(path))


def sync_folder(path: str) -> None:
    """Make the names in a folder durable. Raises an OSError with its path."""
    try:
        system.sync_folder(path)
    except OSError as error:
        set_filename(error, path)
        raise


def sync_file(fd: int, path: str) -> None:
    """Make a file's bytes durable. Raises an OSError with its path."""
    try:
        system.sync(fd)
    except OSError as error:
        raise OSError(error.errno, f"The disk did not keep the last write: {error.strerror}", path) from error


def status_or_none(path: str) -> os.stat_result | None:
    """Return the status of a path, or None if nothing has this name.

    Any other failure raises OSError, so that a file that cannot be examined is not treated as missing.
    """
    try:
        return system.status(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def exists(path: str) -> bool:
    """Return whether anything has this name. Raises OSError if that cannot be determined."""
    return status_or_none(path) is not None


def is_private(mode: int) -> bool:
    """Return whether this mode gives access to the owner alone."""
    return not stat.S_IMODE(mode) & 0o077

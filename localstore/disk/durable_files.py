"""Whole files: written, moved, linked and removed, so that a crash leaves the old state or the new one."""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

from localstore.disk import filesystem

TEMPORARY_SUFFIX = ".tmp"
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp\Z", re.DOTALL)
_COPY_SIZE = 1 << 20
"""How many bytes are copied at a time."""


def write_file(path: Path | str, parts: Iterable[bytes], *, settle: bool = True) -> None:
    """Create or replace the file at `path`, durably. At any time it holds either the old bytes or the new ones.

    It writes and syncs a temporary file in the same folder, renames it to `path`, and syncs the folder. If it fails, no
    temporary file is left. Without `settle` the caller has to sync the folder: until then, a power cut may bring back
    the old bytes. Raises OSError.
    """
    path = str(path)
    folder = os.path.dirname(path)
    temporary = _temporary(path)
    try:
        fd = filesystem.system.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            offset = 0
            for part in parts:
                filesystem.write_at(fd, part, offset)
                offset += len(part)
            filesystem.system.sync(fd)
        finally:
            filesystem.system.close(fd)
        filesystem.system.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            filesystem.system.unlink(temporary)
        filesystem.set_filename(error, path)
        raise
    if settle:
        filesystem.sync_folder(folder)


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{os.urandom(6).hex()}{TEMPORARY_SUFFIX}")


def temporary_for(name: str) -> str | None:
    """Return the name that a temporary file was to get, or None if this is not the name of a temporary file."""
    match = _TEMPORARY.match(name)
    return match[1] if match else None


def remove_temporaries(folder: str, became: Collection[str] = ()) -> None:
    """Remove the temporary files that killed writers left in a folder; with `became`, only those for these names.

    The caller must ensure that no process is writing there. Raises OSError.
    """
    for entry in filesystem.system.entries(folder):
        name = temporary_for(entry.name)
        if name is not None and (not became or name in became) and entry.is_file(follow_symlinks=False):
            filesystem.system.unlink(entry.path)


def move_file(source: str, target: str) -> None:
    """Rename a file and make its bytes and its new name durable. Raises FileExistsError if the name is taken, OSError.

    The caller makes sure, by a lock or a random name, that no other process takes the name at the same time.
    """
    if filesystem.exists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    fd = filesystem.system.open(source, os.O_RDWR)  # Windows syncs only what may be written to
    try:
        try:
            filesystem.sync_file(fd, source)
        finally:
            filesystem.system.close(fd)
    except BaseException as error:
        filesystem.set_filename(error, source)
        raise
    filesystem.system.replace(source, target)
    filesystem.sync_folder(os.path.dirname(target))
    if os.path.dirname(source) != os.path.dirname(target):
        filesystem.sync_folder(os.path.dirname(source))


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name; where the file system has no links, make a copy, read it back and compare it.

    A file named `target` is replaced. The bytes of a copy are durable; the name is durable once the caller has synced
    the folder of `target`. Raises OSError.
    """
    temporary = _temporary(target)
    try:
        try:
            filesystem.system.link(source, temporary)
        except OSError as error:
            if error.errno not in filesystem.NO_LINKS:
                raise
            _copy(source, temporary)
        filesystem.system.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            filesystem.system.unlink(temporary)  # renaming one link of a file over another does nothing


def _copy(source: str, target: str) -> None:
    with (
        filesystem.open_file(source) as reading,
        filesystem.open_file(target, os.O_RDWR | os.O_CREAT | os.O_EXCL) as writing,
    ):
        offset = 0
        while data := filesystem.read_at(reading, _COPY_SIZE, offset):
            filesystem.write_at(writing, data, offset)
            offset += len(data)
        filesystem.system.set_mode(target, stat.S_IMODE(filesystem.system.status_of(reading).st_mode))
        filesystem.sync_file(writing, target)
        for at in range(0, offset + 1, _COPY_SIZE):
            if filesystem.read_at(writing, _COPY_SIZE, at) != filesystem.read_at(reading, _COPY_SIZE, at):
                raise OSError(errno.EIO, "The copy is not like the file, or the file was changed", source)


def remove_file(path: Path | str) -> None:
    """Remove a file durably. Raises OSError."""
    filesystem.system.unlink(str(path))
    filesystem.sync_folder(os.path.dirname(str(path)))

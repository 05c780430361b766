"""Write, move, link and remove whole files, so that a crash leaves the old state or the new one.

People and other programs save files without taking a lock. A file that they may save is therefore not replaced or
removed in one step: it is first renamed, and then compared with the file that was read. If another program has saved it
in between, it is renamed back, and FileChanged is raised.
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from localstore.disk import filesystem, temporary_files
from localstore.disk.folder_watch import FolderWatch, watched

_COPY_SIZE = 1 << 20
"""How many bytes are copied at a time."""
_PATIENCE = 1.0
"""How many seconds a program that has a file open for writing is waited for before the file is replaced."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02


class FileChanged(Exception):
    """Another program saved or removed a file after it was read. What it saved is in place. Read the file again."""


def write_file(path: Path | str, parts: Iterable[bytes], *, sync_name: bool = True) -> None:
    """Create or replace the file at `path`, durably. At any time it holds either the old bytes or the new ones.

    It writes and syncs a temporary file in the same folder, renames it to `path`, and syncs the folder. If it fails, no
    temporary file is left. Without `sync_name`, the caller must sync the folder: until then, a power cut may bring back
    the old bytes. Only for files that nobody else writes; see `replace_file` and `create_file`. Raises OSError.
    """
    path = str(path)
    temporary = temporary_files.new_path(path)
    _write_temporary(temporary, path, parts)
    try:
        filesystem.system.replace(temporary, path)
    except BaseException as error:
        temporary_files.discard(temporary)
        filesystem.set_filename(error, path)
        raise
    if sync_name:
        filesystem.sync_folder(os.path.dirname(path))


def replace_file(
    path: str, parts: Iterable[bytes], old: os.stat_result, *, sync_name: bool = True, watch: FolderWatch | None = None
) -> os.stat_result:
    """Replace the file at `path`, durably, if it is still the one with the status `old`; return the new status.

    The time of the last status change (ctime) may be later than returned. `sync_name` is that of `write_file`. `watch`
    is a watch of the folder. Raises FileChanged if another program saved or removed the file in the meantime. Raises
    OSError; if the disk fails after the exchange, the new file may be in place nevertheless.
    """
    temporary = temporary_files.new_path(path, old)
    new = _write_temporary(temporary, path, parts, watch)
    _put_in_place(temporary, path, new, old, watch)
    if sync_name:
        filesystem.sync_folder(os.path.dirname(path))
    return new


def create_file(
    path: Path | str,
    parts: Iterable[bytes],
    *,
    sync_name: bool = True,
    sync_bytes: bool = True,
    watch: FolderWatch | None = None,
) -> os.stat_result:
    """Create a file durably and return its status, as `replace_file` does. Raises FileExistsError if there is one.

    Without `sync_bytes`, its bytes are not synced: after a power cut, the file may have its name and other bytes.
    """
    path = str(path)
    temporary = temporary_files.new_path(path)
    new = _write_temporary(temporary, path, parts, watch, sync_bytes=sync_bytes)
    _put_in_place(temporary, path, new, None, watch)
    if sync_name:
        filesystem.sync_folder(os.path.dirname(path))
    return new


def is_same(first: os.stat_result, second: os.stat_result) -> bool:
    """Return whether two statuses are of one file with the same content. Renaming it makes no difference."""
    return (first.st_ino, first.st_size, first.st_mtime_ns) == (second.st_ino, second.st_size, second.st_mtime_ns)


def _is_unchanged(path: str, old: os.stat_result) -> bool:
    """Return whether the file at `path` still has the status `old`, including its names, its mode and its links."""
    now = filesystem.status_or_none(path)
    return now is not None and is_same(now, old) and now.st_ctime_ns == old.st_ctime_ns


def _write_temporary(
    temporary: str, path: str, parts: Iterable[bytes], watch: FolderWatch | None = None, *, sync_bytes: bool = True
) -> os.stat_result:
    """Write the temporary file that will be renamed to `path`, and return its status. `path` is only used in errors."""
    try:
        with watched(watch):
            fd = filesystem.system.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            offset = 0
            for part in parts:
                filesystem.write_at(fd, part, offset)
                offset += len(part)
            if sync_bytes:
                filesystem.system.sync(fd)
            return filesystem.system.status_of(fd)
        finally:
            filesystem.system.close(fd)
    except BaseException as error:
        temporary_files.discard(temporary)
        filesystem.set_filename(error, path)
        raise


def _put_in_place(
    temporary: str, path: str, new: os.stat_result, old: os.stat_result | None, watch: FolderWatch | None = None
) -> None:
    """Give the name `path` to the file at `temporary`, which has the status `new`, and remove the old file.

    `old` is the status of the file at `path` when it was read; None if there was none. Afterwards, nothing is at
    `temporary`. Raises FileChanged, FileExistsError, OSError.
    """
    try:
        if old is None:
            with watched(watch):
                _rename_to_new(temporary, path)
            return
        with _Writers(path) as writers:
            if not _is_unchanged(path, old):
                raise FileChanged(path)
            try:
                with watched(watch):
                    filesystem.system.exchange(temporary, path)
            except FileNotFoundError:
                raise FileChanged(path) from None
            except OSError as error:
                if error.errno not in filesystem.NO_RENAME_FLAGS:
                    raise
                filesystem.system.replace(temporary, path)
                return
            if writers.have_appeared() or not is_same(filesystem.system.status(temporary), old):
                raise FileChanged(path)
        with watched(watch):
            filesystem.system.unlink(temporary)
    except BaseException as error:
        filesystem.set_filename(error, path)
        is_superseded = old is not None and not isinstance(error, FileChanged)
        _withdraw(temporary, path, new, old if is_superseded else None)
        raise


def _withdraw(temporary: str, path: str, new: os.stat_result, superseded: os.stat_result | None) -> None:
    """Leave nothing at `temporary` after a failed `_put_in_place`, and what another program saved at `path`.

    A file with the status `superseded` is removed, like the new one. If this fails, what was saved stays at
    `temporary`, where `localstore check` finds it. Raises OSError.
    """
    there = filesystem.status_or_none(temporary)
    if there is None:
        return
    if is_same(there, new) or (superseded is not None and is_same(there, superseded)):
        temporary_files.discard(temporary)
        return
    try:
        filesystem.system.exchange(temporary, path)
        with _Writers(temporary):
            is_unused = is_same(filesystem.system.status(temporary), new)
        if is_unused:
            filesystem.system.unlink(temporary)
        else:  # somebody saved again, over the new file: the later one belongs in place
            filesystem.system.exchange(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}. What another program saved is in {temporary}", path) from error


class _Writers:
    """Detects programs that have a file open for writing. Entering the context waits until they close it, or a second.

    Enter it before the file is renamed: nobody would see what they write after that. Raises FileChanged if there is no
    file. Where the system cannot tell who writes, it does not wait, and detects none.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._is_watched = filesystem.TELLS_WRITERS

    def __enter__(self) -> Self:
        if not self._is_watched:
            return self
        try:
            self._fd = filesystem.system.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            raise FileChanged(self._path) from None
        except OSError as error:
            if error.errno not in (errno.EACCES, *filesystem.LINK, *filesystem.NO_FILE):
                raise
            self._is_watched = False
            return self
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            filesystem.system.close(fd)

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        pause = _FIRST_PAUSE
        while filesystem.system.is_being_written(self._fd):
            if time.monotonic() > deadline:
                self._is_watched = False  # for example, a process that was forked in the middle of a write
                return
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def have_appeared(self) -> bool:
        """Return whether a program has opened the file for writing after the wait was over."""
        return self._is_watched and filesystem.system.is_being_written(self._fd)


def _rename_to_new(source: str, target: str) -> None:
    """Rename a file. Raises FileExistsError if the name is taken, OSError."""
    try:
        filesystem.system.rename_to_new(source, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, *filesystem.NO_RENAME_FLAGS):
            raise
        if error.errno == errno.EEXIST or filesystem.exists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        filesystem.system.replace(source, target)


def move_file(
    source: str, target: str, watch: FolderWatch | None = None, *, sync_name: bool = True, sync_bytes: bool = True
) -> None:
    """Rename a file and make its bytes and its new name durable. Raises FileExistsError if the name is taken, OSError.

    `watch` is a watch of the folder of `source`, if the file goes to another one. Without `sync_name`, the name is not
    durable until the caller has synced the folder of `target`, and then that of `source`. Without `sync_bytes`, the
    caller knows that the bytes are durable.

    Where the system cannot check that in one step, the caller makes sure, by a lock or a random name, that no other
    process takes the name at the same time.
    """
    if sync_bytes:
        _sync_file(source)
    with watched(watch):
        _rename_to_new(source, target)
    if not sync_name:
        return
    filesystem.sync_folder(os.path.dirname(target))
    if os.path.dirname(source) != os.path.dirname(target):
        filesystem.sync_folder(os.path.dirname(source))


def move_unchanged(source: str, target: str, old: os.stat_result) -> None:
    """Rename a file to a name that nobody else takes, if it still has the status `old`.

    Its bytes are as durable as before. The new name is durable once the caller has synced the folder of `target`, and
    then that of `source`.

    Raises FileChanged if another program saved or removed the file in the meantime, OSError.
    """
    with _Writers(source) as writers:
        if not _is_unchanged(source, old):
            raise FileChanged(source)
        try:
            _rename_to_new(source, target)
        except FileNotFoundError:
            raise FileChanged(source) from None
        if writers.have_appeared() or not is_same(filesystem.system.status(target), old):
            with contextlib.suppress(FileExistsError):  # a later save has the name, and the file stays in its new place
                _rename_to_new(target, source)
            raise FileChanged(source)


def _sync_file(path: str) -> None:
    fd = filesystem.system.open(path, os.O_RDWR)  # Windows syncs only what may be written to
    try:
        try:
            filesystem.sync_file(fd, path)
        finally:
            filesystem.system.close(fd)
    except BaseException as error:
        filesystem.set_filename(error, path)
        raise


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name; where the file system has no links, make a copy, read it back and compare it.

    A file named `target` is replaced. The bytes of a copy are durable; the name is durable once the caller has synced
    the folder of `target`. Raises OSError.
    """
    temporary = temporary_files.new_path(target)
    try:
        _link_or_copy(source, temporary)
        filesystem.system.replace(temporary, target)
    finally:
        temporary_files.discard(temporary)  # renaming one link of a file over another does nothing


def restore_file(source: str, target: str, old: os.stat_result | None) -> os.stat_result:
    """Give a file a second name, as `link_or_copy` does, in place of the file with the status `old`; None for no file.

    Return the new status, as `replace_file` does. Raises FileChanged if another program has saved or removed the target
    in the meantime, FileExistsError if `old` is None and there is one, OSError.
    """
    temporary = temporary_files.new_path(target, old)
    try:
        _link_or_copy(source, temporary)
        new = filesystem.system.status(temporary)
    except BaseException:
        temporary_files.discard(temporary)
        raise
    _put_in_place(temporary, target, new, old)
    return new


def _link_or_copy(source: str, target: str) -> None:
    try:
        filesystem.system.link(source, target)
    except OSError as error:
        if error.errno not in filesystem.NO_LINKS:
            raise
        _copy(source, target)


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
                raise OSError(errno.EIO, "The copy differs from the file, or the file was changed meanwhile", source)


def remove_file(path: Path | str) -> None:
    """Remove a file durably. Raises OSError."""
    filesystem.system.unlink(str(path))
    filesystem.sync_folder(os.path.dirname(str(path)))


def remove_unchanged(
    path: str, old: os.stat_result, *, sync_name: bool = True, watch: FolderWatch | None = None
) -> None:
    """Remove the file at `path`, durably, if it is still the one with the status `old`.

    Without `sync_name`, the caller must sync the folder. `watch` is a watch of the folder. Raises FileChanged if
    another program saved or removed the file in the meantime, OSError.
    """
    aside = temporary_files.new_path(path, old)
    try:
        with _Writers(path) as writers:
            if not _is_unchanged(path, old):
                raise FileChanged(path)
            try:
                with watched(watch):
                    filesystem.system.replace(path, aside)
            except FileNotFoundError:
                raise FileChanged(path) from None
            if writers.have_appeared() or not is_same(filesystem.system.status(aside), old):
                raise FileChanged(path)
        with watched(watch):
            filesystem.system.unlink(aside)
    except BaseException as error:
        filesystem.set_filename(error, path)
        there = filesystem.status_or_none(aside)
        if there is not None and is_same(there, old) and not isinstance(error, FileChanged):
            temporary_files.discard(aside)
        elif there is not None:
            with contextlib.suppress(FileExistsError):  # a later save has the name, and `localstore check` finds this
                _rename_to_new(aside, path)
        raise
    if sync_name:
        filesystem.sync_folder(os.path.dirname(path))

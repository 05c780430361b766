"""The manifest: a log of rows, derived from the documents. The last line of each session is the current one.

Each process reads the lines that were added since its last read, or the whole file if it was replaced. Most lines
belong to sessions that the process never uses, or are soon superseded by later lines. A line is therefore parsed only
when its session is requested. Unusable lines are skipped.
"""

import contextlib
import errno
import os
import stat
import threading
import weakref
from collections.abc import Iterable

import orjson

from localstore.disk import durable_files, filesystem
from localstore.disk.locks import LockPool
from localstore.errors import LockTimeout
from localstore.index.activity_order import ActivityOrder
from localstore.index.manifest_lines import (
    DELETED,
    UNKNOWN_USER,
    generation_line,
    last_usable,
    lines_known_from,
    session_id_in,
    split_lines,
)
from localstore.index.row import IndexRow

_NAME = "manifest.jsonl"
_KEEP_OPEN = os.name != "nt"
"""Windows cannot replace a file that is open."""
_SPARE_LINES = 4000
"""How many outdated lines are always allowed. Small manifests are then rarely compacted, which would make every process
read the file again."""
_manifests: "weakref.WeakSet[Manifest]" = weakref.WeakSet()


def _after_fork() -> None:
    """In the child process, discard state that another thread of the parent may have left incomplete."""
    for manifest in list(_manifests):
        manifest.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _close_quietly(fd: int) -> None:
    """Close a descriptor of the manifest. A failure has no consequence: what the manifest lacks is read again."""
    with contextlib.suppress(OSError):
        os.close(fd)


class _Irregular(OSError):
    """The path of the manifest is a folder, link, named pipe or the like. The store then works without a manifest."""


class Manifest:
    """Reads and writes the rows of a store. `mutex` guards the rows in memory; the manifest's lock guards the file."""

    def __init__(self, root: str, locks: LockPool, timeout: float) -> None:
        self._path = f"{root}/{_NAME}"
        self._fd = -1
        self._identity = 0, 0
        """Device and inode of the open file."""
        self.mutex = threading.RLock()
        self._locks = locks
        self._timeout = timeout
        self.restarts = 0
        """The number of times all rows were discarded. Anything derived from earlier rows is then invalid."""
        self._forget_rows()
        _manifests.add(self)

    def reset_after_fork(self) -> None:
        """Discard all rows and replace `mutex`, which a thread of the parent process may have held."""
        self.mutex = threading.RLock()
        self._forget_rows()

    def close(self) -> None:
        """Close the file. The rows stay, and the next call opens the file again."""
        with self.mutex:
            self._close()

    def _forget_rows(self) -> None:
        self.restarts += 1
        self._rows: dict[str, IndexRow] = {}
        self._pending: dict[str, bytes | list[bytes] | IndexRow] = {}
        """By session, the lines that have not been parsed yet, or the row that was parsed from them. The session with
        the newest line comes last."""
        self._pending_of_user: dict[bytes, set[str]] = {}
        """By user id, as a JSON string with quotation marks, the sessions whose pending lines may have that user."""
        self._folders: dict[str, dict[str, str]] = {}
        self._order = ActivityOrder(self._rows)
        self._generation = b""
        self._consumed = 0
        self._lines = 0

    # Reading

    def get(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, or None if there is none. Without `mutex` it may be outdated."""
        if isinstance(self._pending.get(session_id), (bytes, list)):
            with self.mutex:
                self._parse_lines_of(session_id)
        return self._rows.get(session_id)

    def all(self) -> list[IndexRow]:
        """Return all rows, in no particular order. The caller must hold `mutex`."""
        self._parse_all_lines()
        return list(self._rows.values())

    def session_at(self, path: str) -> str | None:
        """Return the id of the session whose row has this path, or None. The caller must hold `mutex`."""
        session_id = self._session_at(path)
        if session_id is not None:
            self._parse_lines_of(session_id)
        if session_id is None or self._session_at(path) != session_id:
            self._parse_all_lines()
        return self._session_at(path)

    def _session_at(self, path: str) -> str | None:
        return self._folders.get(path.rpartition("/")[0], {}).get(path)

    def row_at(self, path: str) -> IndexRow | None:
        """Return the row with this path, or None if there is none. The caller need not hold `mutex`."""
        with self.mutex:
            session_id = self.session_at(path)
            return None if session_id is None else self.get(session_id)

    def folders(self) -> list[str]:
        """Return the folders of the rows that have been parsed so far."""
        return list(self._folders)

    def paths_in(self, folder: str) -> dict[str, str]:
        """Return a mapping from path to session id for the rows in a folder. The caller must hold `mutex`."""
        self._parse_all_lines()
        return self._folders.get(folder, {})

    def by_activity(self, user_id: str | None, entity_id: str | None) -> list[tuple[str, str]]:
        """Return (time of the last activity, session_id) of sessions, oldest first. The caller must hold `mutex`.

        The result has every session that matches both filters; a filter that is None matches all. It may have others
        too, because only one filter is applied.
        """
        if user_id is None or not self._rows:
            self._parse_all_lines()
        if user_id is not None:
            self._parse_lines_of_user(user_id)
            return self._order.by_activity_of("user_id", user_id)
        if entity_id is not None:
            return self._order.by_activity_of("entity_id", entity_id)
        return self._order.by_activity()

    def _parse_lines_of_user(self, user_id: str) -> None:
        pending = self._pending_of_user.pop(orjson.dumps(user_id), set())
        for session_id in {*pending, *self._pending_of_user.pop(UNKNOWN_USER, ()), *self._order.of_user(user_id)}:
            self._parse_lines_of(session_id)

    def refresh(self, *, thorough: bool = False) -> None:
        """Read the lines added to the file since the last read.

        Raises StoreNotFound if the store is no longer at its path, and OSError if the file exists but cannot be read.

        Unusable content is skipped. A file that was replaced, removed or moved is always detected. A file that was
        rewritten in place with the same length is detected only if `thorough` is true.
        """
        with self.mutex:
            try:
                self._refresh(thorough)
            except OSError as error:
                filesystem.set_filename(error, self._path)
                raise

    def _refresh(self, thorough: bool) -> None:
        read_to_the_end = False
        current = self._current()
        if current is not None:
            if thorough or current.st_size != self._consumed:
                self._follow(current)
            return
        self._locks.check_store()  # the whole store may have been moved or replaced
        if self._fd >= 0:
            status = filesystem.system.status_of(self._fd)
            read_to_the_end = status.st_nlink == 0  # no process appends to a replaced file
            if read_to_the_end:
                self._follow(status)
            self._close()
        try:
            self._open(os.O_RDONLY)
        except (FileNotFoundError, _Irregular):
            if self._generation:
                self._forget_rows()
            return
        self._follow(filesystem.system.status_of(self._fd), read_to_the_end=read_to_the_end)
        if not _KEEP_OPEN:
            self._close()

    def _current(self) -> os.stat_result | None:
        """Return the status of the file with the manifest's name, or None if it is not the open file."""
        if self._fd < 0:
            return None
        status = filesystem.status_or_none(self._path)
        return status if status is not None and (status.st_dev, status.st_ino) == self._identity else None

    def _open(self, flags: int) -> None:
        try:
            self._fd = filesystem.system.open(self._path, os.O_RDWR)
        except OSError as error:
            if error.errno in (*filesystem.NO_FILE, *filesystem.LINK):
                raise _Irregular(error.errno, error.strerror, self._path) from None
            if flags == os.O_RDWR or error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise
            self._fd = filesystem.system.open(self._path, flags)
        self._closer = weakref.finalize(self, _close_quietly, self._fd)
        status = filesystem.system.status_of(self._fd)
        self._identity = status.st_dev, status.st_ino
        if not stat.S_ISREG(status.st_mode):
            self._close()
            raise _Irregular(errno.EINVAL, "This is not a regular file", self._path)

    def _close(self) -> None:
        if self._fd >= 0:
            self._fd = -1
            self._closer()

    def _follow(self, status: os.stat_result, *, read_to_the_end: bool = False) -> None:
        """Read new lines of the open file. `read_to_the_end` is true if the file it replaced was read to its end."""
        generation = filesystem.read_at(self._fd, 256, 0).partition(b"\n")[0]
        known_lines = 0
        if status.st_size < self._consumed or generation != self._generation:
            if read_to_the_end:
                known_lines = lines_known_from(generation, self._generation)
            if not known_lines:
                self._forget_rows()
            self._generation, self._consumed, self._lines = generation, 0, 0
        data = filesystem.read_at(self._fd, status.st_size - self._consumed, self._consumed)
        size = data.rfind(b"\n") + 1
        if not size:
            return
        self._consumed += size
        lines = split_lines(data[: size - 1])
        self._lines += len(lines)
        self._add_pending(lines[known_lines:] if known_lines else lines)

    def _add_pending(self, lines: list[tuple[bytes, bytes, bytes]]) -> None:
        for line, id_bytes, user in lines:
            session_id = id_bytes.decode(errors="replace") if id_bytes else session_id_in(line)
            if session_id is None:
                continue
            earlier = self._pending.pop(session_id, None)  # to come last
            if isinstance(earlier, bytes):
                self._pending[session_id] = [earlier, line]
            elif isinstance(earlier, list):
                earlier.append(line)
                self._pending[session_id] = earlier
            else:
                self._pending[session_id] = line
            if user and self._rows:  # otherwise the first query parses all lines
                self._pending_of_user.setdefault(user, set()).add(session_id)

    def _parse_lines_of(self, session_id: str) -> None:
        """Parse the pending lines of a session, or all lines if its path changed: their order then matters."""
        lines = self._pending.get(session_id)
        if lines is None or isinstance(lines, dict):
            return
        row, old = last_usable(session_id, lines), self._rows.get(session_id)
        if row is None or old is None or row.get("path") != old["path"]:
            self._parse_all_lines()
        else:
            self._pending[session_id] = row  # keep its place: older lines may give this path to another session
            self._set_row(row)

    def _parse_all_lines(self) -> None:
        unread, self._pending = self._pending, {}
        self._pending_of_user.clear()
        for session_id, lines in unread.items():
            row = lines if isinstance(lines, dict) else last_usable(session_id, lines)
            if row is DELETED:
                self._remove_row(session_id)
            elif row is not None:
                self._set_row(row)

    def put(self, row: IndexRow) -> None:
        """Set a row in this process only, overriding the lines read so far. The caller must hold `mutex`."""
        if not self._rows:
            self._parse_all_lines()
        if self._pending:
            self._pending.pop(row["session_id"], None)
            self._pending[row["session_id"]] = row
        self._set_row(row)

    def hide(self, session_id: str) -> None:
        """Remove a row in this process only, because its file is gone. The caller must hold `mutex`."""
        self._pending.pop(session_id, None)
        self._remove_row(session_id)

    def _set_row(self, row: IndexRow) -> None:
        session_id, path = row["session_id"], row["path"]
        old = self._rows.get(session_id)
        if old is None or old["path"] != path:
            self._remove_row(session_id)
            replaced = self._session_at(path)
            if replaced is not None:  # the file was given another id
                self._remove_row(replaced)
            self._folders.setdefault(path.rpartition("/")[0], {})[path] = session_id
        self._rows[session_id] = row
        self._order.row_changed(session_id, old, row)

    def _remove_row(self, session_id: str) -> None:
        row = self._rows.pop(session_id, None)
        if row is not None:
            del self._folders[row["path"].rpartition("/")[0]][row["path"]]
            self._order.row_changed(session_id, row, None)

    # Writing

    def record(self, rows: Iterable[IndexRow]) -> None:
        """Append rows to the file and set them in this process.

        If the lines cannot be written, no error is raised; the rows are read from the documents again when needed. The
        caller must not hold `mutex`, because it is acquired after the file's lock.
        """
        self._write(list(rows), None)

    def record_deletion(self, session_id: str) -> None:
        """Append a line that removes a session. The rules of `record` apply."""
        self._write([], session_id)

    def _write(self, rows: list[IndexRow], deleted: str | None) -> None:
        lines = [orjson.dumps(row) for row in rows]
        if deleted is not None:
            lines.append(orjson.dumps({"session_id": deleted, "deleted": True}))
        try:
            with self._locks.manifest(self._timeout), self.mutex:
                size = self._open_for_append()
                self._apply(rows, deleted)
                self._append(lines, size)
                if self._is_full():
                    self._refresh(thorough=False)
                    self._parse_all_lines()
                    if self._is_full():
                        self._replace()
        except (OSError, LockTimeout):
            with self.mutex:
                self._apply(rows, deleted)

    def _is_full(self) -> bool:
        return self._lines > 2 * len(self._rows) + _SPARE_LINES

    def _apply(self, rows: list[IndexRow], deleted: str | None) -> None:
        for row in rows:
            self.put(row)
        if deleted is not None:
            self.hide(deleted)

    def _open_for_append(self) -> int:
        """Open the file for writing and return its size. Do not read new lines now, because other writers wait."""
        current = self._current()
        if current is not None and current.st_size >= self._consumed:
            return current.st_size
        self._refresh(thorough=False)
        if self._fd < 0:
            if not filesystem.exists(self._path):
                line = generation_line()
                durable_files.write_file(self._path, [line])
                self._generation, self._consumed = line.rstrip(), len(line)
            self._open(os.O_RDWR)
        return filesystem.system.status_of(self._fd).st_size

    def _append(self, lines: list[bytes], size: int) -> None:
        try:
            if size == 0:
                lines = [generation_line().rstrip(), *lines]
            elif size != self._consumed and filesystem.read_at(self._fd, 1, size - 1) != b"\n":
                lines = [b"", *lines]  # the last writer was interrupted in the middle of a line
            data = b"\n".join([*lines, b""])
            filesystem.add_line(self._fd, size, data)
            if size and size == self._consumed:  # otherwise, lines of other processes come before ours and are unread
                self._consumed += len(data)
                self._lines += len(lines)
        finally:
            if not _KEEP_OPEN:
                self._close()

    def _replace(self) -> None:
        """Rewrite the file with the last line of each session, oldest activity first."""
        by_activity = self.by_activity(None, None)
        lines = [generation_line(self._generation, len(by_activity) + 1)]
        for _, session_id in by_activity:
            row = self._rows[session_id].copy()
            row.pop("problem", None)  # keep the row as it was before the problem
            if row["fingerprint"]:  # otherwise the document could never be read
                lines.append(orjson.dumps(row) + b"\n")
        durable_files.write_file(self._path, [b"".join(lines)])

    def compact(self) -> None:
        """Rewrite the file with one line per session. Raises LockTimeout, OSError."""
        with self._locks.manifest(self._timeout), self.mutex:
            self.refresh(thorough=True)
            self._replace()

    def replace_all(self, rows: Iterable[IndexRow]) -> None:
        """Replace the manifest by one with just these rows. Raises LockTimeout, OSError."""
        with self._locks.manifest(self._timeout), self.mutex:
            self._close()
            self._forget_rows()
            for row in rows:
                self.put(row)
            self._replace()

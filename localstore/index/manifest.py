"""The manifest: one line per session, appended, the last one per session wins. Derived, rebuildable, never the truth.

Every process follows the file by itself: it reads what was added since it looked last, and everything anew when the
file was replaced. Most lines are about sessions that this process never asks for, and are superseded by others soon:
a line is looked into when its session is asked for. Lines that cannot be used are skipped.
"""

import errno
import os
import stat
import threading
import weakref
from collections.abc import Iterable

import orjson

from localstore.disk import filesystem
from localstore.disk.locks import LockPool
from localstore.errors import LockTimeout
from localstore.index.activity_order import ActivityOrder
from localstore.index.manifest_lines import (
    ANYTHING,
    DELETED,
    generation_line,
    id_in,
    last_usable,
    lines_in,
    lines_known_from,
)
from localstore.index.row import IndexRow

_NAME = "manifest.jsonl"
_KEEP_OPEN = os.name != "nt"
"""Windows does not let a file be replaced while somebody has it open."""
_SPARE_LINES = 4000
"""Dead lines that are left alone, so that small manifests are seldom compacted: all processes read them anew then."""
_all: "weakref.WeakSet[Manifest]" = weakref.WeakSet()


def _after_fork() -> None:
    """In the child, what another thread of the parent was doing may be half done."""
    for manifest in list(_all):
        manifest.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Irregular(OSError):
    """Something else has the manifest's name: a folder, a link, a named pipe. The documents say all that it could."""


class Manifest:
    """The rows of a store, as this process knows them. Guarded by `mutex`; the file by its own lock."""

    def __init__(self, root: str, locks: LockPool, timeout: float) -> None:
        self._path = f"{root}/{_NAME}"
        self._fd = -1
        self._opened = 0, 0
        """Which file that is."""
        self.mutex = threading.RLock()
        self._locks = locks
        self._timeout = timeout
        self.restarts = 0
        """How often everything was forgotten; what was derived from the rows is then void as well."""
        self._forget_all()
        _all.add(self)

    def start_afresh(self) -> None:
        """Forget everything, and who holds `mutex`."""
        self.mutex = threading.RLock()
        self._forget_all()

    def _forget_all(self) -> None:
        self.restarts += 1
        self._rows: dict[str, IndexRow] = {}
        self._unread: dict[str, bytes | list[bytes] | IndexRow] = {}
        """The lines of each session that were not looked into yet, or the row that they gave; the session with the
        newest line comes last."""
        self._said: dict[bytes, set[str]] = {}
        """The sessions whose unread lines may say that they belong to a user, whose id has quotation marks here."""
        self._folders: dict[str, dict[str, str]] = {}
        self._orders = ActivityOrder(self._rows)
        self._generation = b""
        self._consumed = 0
        self._lines = 0

    # Reading

    def get(self, session_id: str) -> IndexRow | None:
        """The row of a session. The caller holds `mutex` or does not mind an older one."""
        if isinstance(self._unread.get(session_id), (bytes, list)):
            with self.mutex:
                self._look_into(session_id)
        return self._rows.get(session_id)

    def all(self) -> list[IndexRow]:
        """All rows. The caller holds `mutex`."""
        self._look_into_all()
        return list(self._rows.values())

    def at(self, path: str) -> str | None:
        """The id of the session that the row with this path is about. The caller holds `mutex`, as below."""
        holder = self._holder(path)
        if holder is not None:
            self._look_into(holder)
        if holder is None or self._holder(path) != holder:
            self._look_into_all()
        return self._holder(path)

    def _holder(self, path: str) -> str | None:
        return self._folders.get(path.rpartition("/")[0], {}).get(path)

    def folders(self) -> list[str]:
        """The folders of the rows that were looked into so far."""
        return list(self._folders)

    def paths_in(self, folder: str) -> dict[str, str]:
        """Path to session id, for the rows in a folder."""
        self._look_into_all()
        return self._folders.get(folder, {})

    def newest(self, user_id: str | None, entity_id: str | None) -> list[tuple[str, str]]:
        """(updated_at, session_id), oldest first, of a superset of what both filters ask for."""
        if user_id is None or not self._rows:
            self._look_into_all()
        if user_id is not None:
            self._look_into_those_of(user_id)
            return self._orders.newest_with("user_id", user_id)
        if entity_id is not None:
            return self._orders.newest_with("entity_id", entity_id)
        return self._orders.newest()

    def _look_into_those_of(self, user_id: str) -> None:
        said = self._said.pop(orjson.dumps(user_id), set())
        for session_id in {*said, *self._said.pop(ANYTHING, ()), *self._orders.of_user(user_id)}:
            self._look_into(session_id)

    def refresh(self, *, thorough: bool = False) -> None:
        """Follow the file. Never fails on its content; raises OSError when it is there and cannot be read.

        A file that was replaced, removed or moved away is noticed; one that was written anew in its place, at the
        same length, when `thorough`.
        """
        with self.mutex:
            try:
                self._refresh(thorough)
            except OSError as error:
                filesystem.name_file(error, self._path)
                raise

    def _refresh(self, thorough: bool) -> None:
        read_to_the_end = False
        if self._fd >= 0:
            current = self._current()
            if current is not None:
                if thorough or current.st_size != self._consumed:
                    self._follow(current)
                return
            status = filesystem.system.status_of(self._fd)
            read_to_the_end = status.st_nlink == 0  # nobody writes to a file that was replaced
            if read_to_the_end:
                self._follow(status)
            self._close()
        try:
            self._open(os.O_RDONLY)
        except (FileNotFoundError, _Irregular):
            if self._generation:
                self._forget_all()
            return
        self._follow(filesystem.system.status_of(self._fd), read_to_the_end=read_to_the_end)
        if not _KEEP_OPEN:
            self._close()

    def _current(self) -> os.stat_result | None:
        """The status of the file by its name; None when that is not the one that is open."""
        if self._fd < 0:
            return None
        status = filesystem.status_if_there(self._path)
        return status if status is not None and (status.st_dev, status.st_ino) == self._opened else None

    def _open(self, flags: int) -> None:
        try:
            self._fd = filesystem.system.open(self._path, os.O_RDWR)
        except OSError as error:
            if error.errno in (*filesystem.NO_FILE, *filesystem.LINK):
                raise _Irregular(error.errno, error.strerror, self._path) from None
            if flags == os.O_RDWR or error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise
            self._fd = filesystem.system.open(self._path, flags)
        self._closer = weakref.finalize(self, os.close, self._fd)
        status = filesystem.system.status_of(self._fd)
        self._opened = status.st_dev, status.st_ino
        if not stat.S_ISREG(status.st_mode):
            self._close()
            raise _Irregular(errno.EINVAL, "This is not a regular file", self._path)

    def _close(self) -> None:
        if self._fd >= 0:
            self._fd = -1
            self._closer()

    def _follow(self, status: os.stat_result, *, read_to_the_end: bool = False) -> None:
        """Take in what was added; with `read_to_the_end`, of the file that took the place of the one before."""
        generation = filesystem.read_at(self._fd, 256, 0).partition(b"\n")[0]
        known_lines = 0
        if status.st_size < self._consumed or generation != self._generation:
            if read_to_the_end:
                known_lines = lines_known_from(generation, self._generation)
            if not known_lines:
                self._forget_all()
            self._generation, self._consumed, self._lines = generation, 0, 0
        data = filesystem.read_at(self._fd, status.st_size - self._consumed, self._consumed)
        size = data.rfind(b"\n") + 1
        if not size:
            return
        self._consumed += size
        lines = lines_in(data[: size - 1])
        self._lines += len(lines)
        self._consume(lines[known_lines:] if known_lines else lines)

    def _consume(self, lines: list[tuple[bytes, bytes, bytes]]) -> None:
        for line, about, user in lines:
            session_id = about.decode(errors="replace") if about else id_in(line)
            if session_id is None:
                continue
            before = self._unread.pop(session_id, None)  # to come last
            if isinstance(before, bytes):
                self._unread[session_id] = [before, line]
            elif isinstance(before, list):
                before.append(line)
                self._unread[session_id] = before
            else:
                self._unread[session_id] = line
            if user and self._rows:  # else the first question takes all in
                said = self._said.get(user)
                if said is None:
                    self._said[user] = {session_id}
                else:
                    said.add(session_id)

    def _look_into(self, session_id: str) -> None:
        """Take in the lines of one session. Where it is not in the file where it was, the order of all lines counts."""
        lines = self._unread.get(session_id)
        if lines is None or isinstance(lines, dict):
            return
        row, old = last_usable(session_id, lines), self._rows.get(session_id)
        if row is None or old is None or row.get("path") != old["path"]:
            self._look_into_all()
        else:
            self._unread[session_id] = row  # in its place: older lines may say that another session has this path
            self._take(row)

    def _look_into_all(self) -> None:
        unread, self._unread = self._unread, {}
        self._said.clear()
        for session_id, lines in unread.items():
            row = lines if isinstance(lines, dict) else last_usable(session_id, lines)
            if row is DELETED:
                self._drop(session_id)
            elif row is not None:
                self._take(row)

    def put(self, row: IndexRow) -> None:
        """Know a row in this process, whatever the lines said so far."""
        if not self._rows:
            self._look_into_all()
        if self._unread:
            self._unread.pop(row["session_id"], None)
            self._unread[row["session_id"]] = row
        self._take(row)

    def hide(self, session_id: str) -> None:
        """Forget a row in this process: its file is gone."""
        self._unread.pop(session_id, None)
        self._drop(session_id)

    def _take(self, row: IndexRow) -> None:
        session_id, path = row["session_id"], row["path"]
        old = self._rows.get(session_id)
        if old is None or old["path"] != path:
            self._drop(session_id)
            holder = self._holder(path)
            if holder is not None:  # the file was given another id
                self._drop(holder)
            self._folders.setdefault(path.rpartition("/")[0], {})[path] = session_id
        self._rows[session_id] = row
        self._orders.note(session_id, old, row)

    def _drop(self, session_id: str) -> None:
        row = self._rows.pop(session_id, None)
        if row is not None:
            del self._folders[row["path"].rpartition("/")[0]][row["path"]]
            self._orders.note(session_id, row, None)

    # Writing

    def record(self, rows: Iterable[IndexRow]) -> None:
        """Add rows. A line that cannot be written is no failure: the manifest is derived, and heals by itself.

        The caller must not hold `mutex`, which comes after the file's lock.
        """
        self._write(list(rows), None)

    def record_deletion(self, session_id: str) -> None:
        """Add the line that says that a session is gone."""
        self._write([], session_id)

    def _write(self, rows: list[IndexRow], deleted: str | None) -> None:
        lines = [orjson.dumps(row) for row in rows]
        if deleted is not None:
            lines.append(orjson.dumps({"session_id": deleted, "deleted": True}))
        try:
            with self._locks.manifest(self._timeout), self.mutex:
                size = self._size()
                self._know(rows, deleted)
                self._append(lines, size)
                if self._is_full():
                    self._refresh(thorough=False)
                    self._look_into_all()
                    if self._is_full():
                        self._replace()
        except (OSError, LockTimeout):
            with self.mutex:
                self._know(rows, deleted)

    def _is_full(self) -> bool:
        return self._lines > 2 * len(self._rows) + _SPARE_LINES

    def _know(self, rows: list[IndexRow], deleted: str | None) -> None:
        for row in rows:
            self.put(row)
        if deleted is not None:
            self.hide(deleted)

    def _size(self) -> int:
        """The size of the file, opened for writing. What others added is not taken in: everybody waits for us."""
        current = self._current()
        if current is not None and current.st_size >= self._consumed:
            return current.st_size
        self._refresh(thorough=False)
        if self._fd < 0:
            if not filesystem.exists(self._path):
                line = generation_line()
                filesystem.write_file(self._path, [line])
                self._generation, self._consumed = line.rstrip(), len(line)
            self._open(os.O_RDWR)
        return filesystem.system.status_of(self._fd).st_size

    def _append(self, lines: list[bytes], size: int) -> None:
        try:
            if size == 0:
                lines = [generation_line().rstrip(), *lines]
            elif size != self._consumed and filesystem.read_at(self._fd, 1, size - 1) != b"\n":
                lines = [b"", *lines]  # somebody was cut off in the middle of a line
            data = b"\n".join([*lines, b""])
            filesystem.add_line(self._fd, size, data)
            if size and size == self._consumed:  # else our own lines come after those of others
                self._consumed += len(data)
                self._lines += len(lines)
        finally:
            if not _KEEP_OPEN:
                self._close()

    def _replace(self) -> None:
        """Rewrite the file with the last line of each session, oldest activity first."""
        newest = self.newest(None, None)
        lines = [generation_line(self._generation, len(newest) + 1)]
        for _, session_id in newest:
            row = self._rows[session_id].copy()
            row.pop("problem", None)  # what was known before it came up
            if row["fingerprint"]:  # else nothing was: its document never could be read
                lines.append(orjson.dumps(row) + b"\n")
        filesystem.write_file(self._path, [b"".join(lines)])

    def compact(self) -> None:
        """Rewrite the file with nothing but the rows that are known. Raises LockTimeout, OSError."""
        with self._locks.manifest(self._timeout), self.mutex:
            self.refresh(thorough=True)
            self._replace()

    def replace_all(self, rows: Iterable[IndexRow]) -> None:
        """Start a new manifest that holds just these rows. Raises LockTimeout, OSError."""
        with self._locks.manifest(self._timeout), self.mutex:
            self._close()
            self._forget_all()
            for row in rows:
                self.put(row)
            self._replace()

"""The manifest: one line per session, appended, the last one per session wins. Derived, rebuildable, never the truth.

Every process follows the file by itself: it reads what was added since it looked last, and everything anew when the
file was replaced. Lines that cannot be used are skipped.
"""

import bisect
import errno
import os
import stat
import threading
import weakref
from collections.abc import Iterable

import orjson

from localstore.errors import LockTimeout
from localstore.files import atomic
from localstore.files.locks import LockPool
from localstore.files.rows import Row, is_row

_NAME = "manifest.jsonl"
_KEEP_OPEN = os.name != "nt"
"""Windows does not let a file be replaced while somebody has it open."""
_SPARE_LINES = 1000
"""Dead lines that are left alone, so that small manifests are never compacted."""


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
        self._rows: dict[str, Row] = {}
        self._folders: dict[str, dict[str, str]] = {}
        self._orders: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._sorted: dict[str, Row] = {}
        self._unsorted: set[str] = set()
        self._generation = b""
        self._consumed = 0
        self._lines = 0

    # Reading

    def get(self, session_id: str) -> Row | None:
        """The row of a session. The caller holds `mutex` or does not mind an older one."""
        return self._rows.get(session_id)

    def all(self) -> list[Row]:
        return list(self._rows.values())

    def at(self, path: str) -> str | None:
        """The id of the session that the row with this path is about."""
        return self._folders.get(path.rpartition("/")[0], {}).get(path)

    def folders(self) -> list[str]:
        return list(self._folders)

    def paths_in(self, folder: str) -> dict[str, str]:
        """Path to session id, for the rows in a folder."""
        return self._folders.get(folder, {})

    def newest(self, user_id: str | None, entity_id: str | None) -> list[tuple[str, str]]:
        """(updated_at, session_id), oldest first, of a superset of what both filters ask for."""
        self._sort()
        if user_id is not None:
            return self._orders.get(("user_id", user_id), [])
        if entity_id is not None:
            return self._orders.get(("entity_id", entity_id), [])
        return self._orders.get(("", ""), [])

    def _sort(self) -> None:
        """Bring the orders up to the rows. They are kept sorted because a listing wants a few of very many."""
        if len(self._unsorted) > 100 + len(self._rows) // 10:
            self._orders, self._sorted = {}, {}
            newest = sorted(self._rows.values(), key=lambda row: (row["updated_at"], row["session_id"]))
            for row in newest:
                self._sorted[row["session_id"]] = row
                for name in _order_names(row):
                    self._orders.setdefault(name, []).append((row["updated_at"], row["session_id"]))
        else:
            for session_id in self._unsorted:
                old, new = self._sorted.pop(session_id, None), self._rows.get(session_id)
                if old is not None:
                    for name in _order_names(old):
                        order = self._orders[name]
                        del order[bisect.bisect_left(order, (old["updated_at"], session_id))]
                if new is not None:
                    self._sorted[session_id] = new
                    for name in _order_names(new):
                        bisect.insort(self._orders.setdefault(name, []), (new["updated_at"], session_id))
        self._unsorted.clear()

    def refresh(self, *, thorough: bool = False) -> None:
        """Follow the file. Never fails on its content; raises OSError when it is there and cannot be read.

        A file that was replaced or removed is noticed; one that was only moved away, when `thorough`.
        """
        with self.mutex:
            try:
                self._refresh(thorough)
            except OSError as error:
                atomic.name_file(error, self._path)
                raise

    def _refresh(self, thorough: bool) -> None:
        if self._fd >= 0:
            status = atomic.system.status_of(self._fd)
            if status.st_size == self._consumed and status.st_nlink == 1 and not thorough:
                return
            if self._is_current(status):
                self._follow(status)
                return
            self._close()
        try:
            self._open(os.O_RDONLY)
        except (FileNotFoundError, _Irregular):
            if self._generation:
                self._forget_all()
            return
        self._follow(atomic.system.status_of(self._fd))
        if not _KEEP_OPEN:
            self._close()

    def _is_current(self, status: os.stat_result) -> bool:
        try:
            return os.path.samestat(status, atomic.system.status(self._path))
        except FileNotFoundError:
            return False

    def _open(self, flags: int) -> None:
        try:
            self._fd = atomic.system.open(self._path, os.O_RDWR)
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.ENXIO, errno.EOPNOTSUPP, errno.ELOOP, errno.EMLINK):
                raise _Irregular(error.errno, error.strerror, self._path) from None
            if flags == os.O_RDWR or error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise
            self._fd = atomic.system.open(self._path, flags)
        self._closer = weakref.finalize(self, os.close, self._fd)
        if not stat.S_ISREG(atomic.system.status_of(self._fd).st_mode):
            self._close()
            raise _Irregular(errno.EINVAL, "This is not a regular file", self._path)

    def _close(self) -> None:
        if self._fd >= 0:
            self._fd = -1
            self._closer()

    def _follow(self, status: os.stat_result) -> None:
        generation = atomic.read_at(self._fd, 128, 0).partition(b"\n")[0]
        if status.st_size < self._consumed or generation != self._generation:
            self._forget_all()
            self._generation = generation
        data = atomic.read_at(self._fd, status.st_size - self._consumed, self._consumed)
        whole = data[: data.rfind(b"\n") + 1]
        self._consumed += len(whole)
        self._consume(whole.split(b"\n")[:-1])

    def _consume(self, lines: list[bytes]) -> None:
        self._lines += len(lines)
        last: dict[str, Row | None] = {}
        for line in lines:
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if is_row(value):
                last[value["session_id"]] = value
            elif isinstance(value, dict) and value.get("deleted") is True and isinstance(value.get("session_id"), str):
                last[value["session_id"]] = None
        for session_id, row in last.items():
            if row is None:
                self.hide(session_id)
            else:
                self.put(row)

    def put(self, row: Row) -> None:
        """Know a row in this process."""
        session_id, path = row["session_id"], row["path"]
        old = self._rows.get(session_id)
        if old is None or old["path"] != path:
            self.hide(session_id)
            holder = self.at(path)
            if holder is not None:  # the file was given another id
                self.hide(holder)
            self._folders.setdefault(path.rpartition("/")[0], {})[path] = session_id
        self._rows[session_id] = row
        self._unsorted.add(session_id)

    def hide(self, session_id: str) -> None:
        """Forget a row in this process: its file is gone."""
        row = self._rows.pop(session_id, None)
        if row is not None:
            del self._folders[row["path"].rpartition("/")[0]][row["path"]]
            self._unsorted.add(session_id)

    # Writing

    def record(self, rows: Iterable[Row]) -> None:
        """Add rows. A line that cannot be written is no failure: the manifest is derived, and heals by itself.

        The caller must not hold `mutex`, which comes after the file's lock.
        """
        self._write(list(rows), None)

    def record_deletion(self, session_id: str) -> None:
        """Add the line that says that a session is gone."""
        self._write([], session_id)

    def _write(self, rows: list[Row], deleted: str | None) -> None:
        try:
            with self._locks.manifest(self._timeout), self.mutex:
                self.refresh()
                self._know(rows, deleted)
                lines = [orjson.dumps(row) for row in rows]
                if deleted is not None:
                    lines.append(orjson.dumps({"session_id": deleted, "deleted": True}))
                self._append(lines)
                if self._lines > 2 * len(self._rows) + _SPARE_LINES:
                    self._replace()
        except (OSError, LockTimeout):
            with self.mutex:
                self._know(rows, deleted)

    def _know(self, rows: list[Row], deleted: str | None) -> None:
        for row in rows:
            self.put(row)
        if deleted is not None:
            self.hide(deleted)

    def _append(self, lines: list[bytes]) -> None:
        if self._fd < 0:
            if not atomic.exists(self._path):
                line = _generation_line()
                atomic.write_file(self._path, [line])
                self._generation, self._consumed = line.rstrip(), len(line)
            self._open(os.O_RDWR)
        try:
            size = atomic.system.status_of(self._fd).st_size
            if size == 0:
                lines = [_generation_line().rstrip(), *lines]
            elif size != self._consumed and atomic.read_at(self._fd, 1, size - 1) != b"\n":
                lines = [b"", *lines]  # somebody was cut off in the middle of a line
            data = b"\n".join([*lines, b""])
            atomic.add_line(self._fd, size, data)
            if size and size == self._consumed:  # our own lines need no second look
                self._consumed += len(data)
                self._lines += len(lines)
        finally:
            if not _KEEP_OPEN:
                self._close()

    def _replace(self) -> None:
        """Rewrite the file with the last line of each session, oldest activity first."""
        lines = [_generation_line()]
        for _, session_id in self.newest(None, None):
            row = self._rows[session_id].copy()
            row.pop("problem", None)  # what was known before it came up
            if row["fingerprint"]:  # else nothing was: its document never could be read
                lines.append(orjson.dumps(row) + b"\n")
        atomic.write_file(self._path, [b"".join(lines)])

    def compact(self) -> None:
        """Rewrite the file with nothing but the rows that are known. Raises LockTimeout, OSError."""
        with self._locks.manifest(self._timeout), self.mutex:
            self.refresh(thorough=True)
            self._replace()

    def replace_all(self, rows: Iterable[Row]) -> None:
        """Start a new manifest that holds just these rows. Raises LockTimeout, OSError."""
        with self._locks.manifest(self._timeout), self.mutex:
            self._close()
            self._forget_all()
            for row in rows:
                self.put(row)
            self._replace()


def _order_names(row: Row) -> list[tuple[str, str]]:
    """The orders that a row is in: all sessions, its user's, its entity's."""
    names = [("", "")]
    if "user_id" in row:
        names.append(("user_id", row["user_id"]))
    if "entity_id" in row:
        names.append(("entity_id", row["entity_id"]))
    return names


def _generation_line() -> bytes:
    return orjson.dumps({"localstore": "manifest", "format": 1, "generation": os.urandom(8).hex()}) + b"\n"

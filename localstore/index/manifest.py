"""The manifest: a log of rows, derived from the documents. The last line of each session is the current one.

Most of it is folded into the index; see `row_table`. The lines behind that are kept here. Most of them belong to
sessions that the process never uses, or are soon superseded by later ones, so a line is parsed only when its session is
requested. Unusable lines are skipped.

A row that is known here takes precedence over the one in the index. It comes from a later line, or it is true in this
process alone, because it must not or could not be written.
"""

import contextlib
import heapq
import os
import threading
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import orjson

from localstore.disk import durable_files, filesystem
from localstore.disk.locks import LockPool
from localstore.disk.store_tree import INDEX_FILE, MANIFEST
from localstore.errors import LockTimeout
from localstore.index.manifest_file import ManifestFile
from localstore.index.manifest_lines import DELETED, FolderNote, generation_line, last_usable, split_lines
from localstore.index.row import IndexRow, activity, begins_with, latest_plausible_time
from localstore.index.selection import EVERYTHING, NOTHING_FOUND, Found, Place, Selection

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from localstore.index.sqlite_file import SqliteFile
    from localstore.models.stats import GroupKey, Tally

_SHORT = 1 << 16
"""How many bytes of new lines are kept in memory instead of being folded into the index."""
_LONG = 1 << 21
"""How many bytes of lines are kept in memory at most."""
_MOST_ROWS = 4096
"""How many rows are kept in memory at most."""
_SPARE_LINES = 4000
"""How many outdated lines are always allowed. Small manifests are then rarely replaced."""
_ATTEMPTS = 3
"""How often the index is asked at most, if the manifest is replaced meanwhile."""
_Result = TypeVar("_Result")
_manifests: "weakref.WeakSet[Manifest]" = weakref.WeakSet()


def _after_fork() -> None:
    """In the child process, discard state that another thread of the parent may have left incomplete."""
    for manifest in list(_manifests):
        manifest.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Replaced(Exception):
    """The open manifest is no longer the one with that name. Its lines must not be folded."""


class Manifest:
    """Reads and writes the rows of a store. `mutex` guards what is in memory; the manifest's lock guards the file."""

    def __init__(self, root: str, locks: LockPool, timeout: float) -> None:
        self._root = root
        self._file = ManifestFile(f"{root}/{MANIFEST}")
        self.mutex = threading.RLock()
        self._locks = locks
        self._timeout = timeout
        self._index: SqliteFile | None = None
        self._changes = 0
        """How often a row was set or removed in memory."""
        self.restarts = 0
        """The number of times all rows were discarded. Anything derived from earlier rows is then invalid."""
        self._forget(b"")
        _manifests.add(self)

    def reset_after_fork(self) -> None:
        """Discard all rows and replace `mutex`, which a thread of the parent process may have held."""
        self.mutex = threading.RLock()
        self._forget(b"")

    def close(self) -> None:
        """Close the files. The rows stay, and the next call opens the files again."""
        with self.mutex:
            self._file.close()
            if self._index is not None:
                self._index.close()

    def _forget(self, name: bytes) -> None:
        """Begin with the manifest that is identified by `name`; empty if there is none."""
        self.restarts += 1
        self._name = name
        self._folded = 0
        """The lines before this offset are in the index. Those behind it, up to `_read`, are in memory."""
        self._read = 0
        self._lines = 0
        """The number of lines before `_folded`."""
        self._opened = 0
        """The number of the index that is known to have the lines before `_folded`."""
        self._rows: dict[str, IndexRow] = {}
        """Rows that take precedence over those in the index; `DELETED` if there is no such session."""
        self._ends: dict[str, int] = {}
        """By session, an offset that is not before the end of its last line. A session that has a row and is not here
        has one that is true in this process alone."""
        self._paths: dict[str, str] = {}
        """The session id of each path in `_rows`."""
        self._pending: dict[str, bytes | list[bytes] | IndexRow] = {}
        """By session, lines that have not been parsed yet, or the row that was parsed from them. The session with the
        newest line comes last."""
        self._left: set[str] = set()
        """Folders in which lines removed rows; see `take_left`."""

    # Reading the file

    def refresh(self, *, thorough: bool = False) -> None:
        """Take in the lines added to the file since the last call.

        Raises StoreNotFound if the store is no longer at its path, and OSError if the file exists but cannot be read.

        Unusable content is skipped. A file that was replaced, removed or moved is always detected. A file that was
        rewritten in place with the same length is detected only if `thorough` is true.
        """
        with self.mutex:
            try:
                self._refresh(thorough)
            except OSError as error:
                filesystem.set_filename(error, self._file.path)
                raise
            finally:
                self._file.released()

    def _refresh(self, thorough: bool) -> None:
        status = self._file.current()
        if status is not None and not thorough and status.st_size == self._read:
            return
        if status is None:
            self._locks.check_store()  # the whole store may have been moved or replaced
            status = self._file.reopen()
        if status is None:
            if self._name:
                self._forget(b"")
            return
        name = self._file.name()
        if name != self._name or status.st_size < self._read:
            self._begin(name, status.st_size)
        unread = status.st_size - self._read
        if unread > _SHORT or status.st_size - self._folded > _LONG or len(self._ends) > _MOST_ROWS:
            self._fold(status.st_size, waits=unread > _LONG)
        if status.st_size > self._read:
            data = self._file.read(status.st_size - self._read, self._read)
            end = data.rfind(b"\n") + 1
            if end:
                self._read += end
                self._add_pending(data[: end - 1])

    def _begin(self, name: bytes, size: int) -> None:
        """Begin with another manifest. If the index has its beginning, go on from there."""
        is_first = not self._name
        restarts = self.restarts
        self._forget(name)
        if size <= _SHORT:
            return
        offset = self._use(partial(self._offset_in, size=size))
        if offset is None:
            self._fold(size, waits=True)
        else:
            self._advance(offset)
            if not is_first:
                self.restarts = restarts  # the process that replaced the manifest has brought the index along

    def _add_pending(self, data: bytes) -> None:
        for line, session_id in split_lines(data):
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
            self._ends[session_id] = self._read

    def _parse_lines_of(self, session_id: str) -> None:
        """Parse the pending lines of a session, or all lines if its path changed: their order then matters."""
        lines = self._pending.get(session_id)
        if lines is None or isinstance(lines, dict):
            return
        row, old = last_usable(session_id, lines), self._known(session_id)
        if row is None or row is DELETED or old is None or row["path"] != old["path"]:
            self._parse_all_lines()
        else:
            self._pending[session_id] = row  # keep its place: older lines may give this path to another session
            self._set_row(row)

    def _parse_all_lines(self) -> None:
        unread, self._pending = self._pending, {}
        for session_id, lines in unread.items():
            row = lines if isinstance(lines, dict) else last_usable(session_id, lines)
            if row is DELETED:
                self._leave(session_id)
                self._remove_row(session_id)
            elif row is not None:
                self._set_row(row)

    def _leave(self, session_id: str) -> None:
        row = self._known(session_id)
        if row is not None:
            self._left.add(row["path"].rpartition("/")[0])

    def take_left(self) -> set[str]:
        """Return the folders in which lines removed rows since the last call, and whose documents may be there.

        The manifest may be from another copy of the store.
        """
        with self.mutex:
            self._parse_all_lines()
            left, self._left = self._left, set()
            return left

    def _set_row(self, row: IndexRow) -> None:
        session_id, path = row["session_id"], row["path"]
        old = self._rows.get(session_id)
        if old is None or old is DELETED or old["path"] != path:
            if session_id not in self._rows:
                old = self._in_index(session_id)
            if old is not None and old is not DELETED and old["path"] != path:
                self._left.add(old["path"].rpartition("/")[0])
            replaced = self._session_at(path)
            if replaced is not None and replaced != session_id:  # the file was given another id
                self._remove_row(replaced)
            if old is not None and old is not DELETED and session_id in self._rows:
                self._paths.pop(old["path"], None)
            self._paths[path] = session_id
        self._rows[session_id] = row
        self._changes += 1

    def _remove_row(self, session_id: str) -> None:
        self._forget_row(session_id)
        self._rows[session_id] = DELETED
        self._changes += 1

    # The index

    def _sqlite(self) -> "SqliteFile":
        """Return the file of the index. SQLite is loaded when it is first needed."""
        if self._index is None:
            from localstore.index.row_table import LAYOUT
            from localstore.index.sqlite_file import SqliteFile

            self._index = SqliteFile(self._root, INDEX_FILE, LAYOUT, self._locks)
        return self._index

    def _use(self, work: "Callable[[sqlite3.Connection], _Result]") -> _Result:
        return self._sqlite().use(work)

    def _ask(self, work: "Callable[[sqlite3.Connection], _Result]", otherwise: _Result) -> _Result:
        """Return the answer of the index, or `otherwise` if no lines are folded. The caller must hold `mutex`."""
        for _ in range(_ATTEMPTS):
            if not self._folded:
                return otherwise
            with contextlib.suppress(_Replaced):
                return self._use(lambda connection: work(self._complete(connection)))
            self._refresh(thorough=False)
        return otherwise

    def _complete(self, connection: "sqlite3.Connection") -> "sqlite3.Connection":
        """Return the connection to an index that has all lines before `_folded`.

        It may be a new one, because the file was damaged or removed.
        """
        if self._opened != self._sqlite().opened:
            offset = self._offset_in(connection, self._file.size())
            if offset is None or offset < self._folded:
                self._fold_into(connection, self._read)
                self.restarts += 1  # the lost index may have had lines that a power cut took from the manifest
            self._opened = self._sqlite().opened
        return connection

    def _offset_in(self, connection: "sqlite3.Connection", size: int) -> int | None:
        """Return up to which offset the index has the lines of the open manifest, which has `size` bytes.

        Return None if it has those of another manifest.
        """
        from localstore.index import row_table

        at = row_table.position(connection)
        if at is None or at.manifest != self._name or at.offset > size:
            return None
        if self._file.read(len(at.tail), at.offset - len(at.tail)) != at.tail:
            return None
        self._lines = at.lines
        self._opened = self._sqlite().opened
        return at.offset

    def _fold(self, size: int, *, waits: bool) -> None:
        """Bring the index up to date with the open manifest, which has `size` bytes.

        Without `waits`, do nothing if another process is changing the index. The caller must hold `mutex`.
        """
        with contextlib.suppress(_Replaced):
            offset = self._use(partial(self._fold_into, size=size, waits=waits))
            if offset is not None:
                self._advance(offset)

    def _fold_into(self, connection: "sqlite3.Connection", size: int, *, waits: bool = True) -> int | None:
        from localstore.index.sqlite_file import transaction

        with transaction(connection, waits=waits) as is_open:
            if not is_open:
                return None
            if self._file.current() is None:
                raise _Replaced
            return self._fold_rest(connection, size)

    def _fold_rest(self, connection: "sqlite3.Connection", size: int) -> int:
        """Fold the lines that the index lacks, in an open transaction. Return the offset behind the last one."""
        from localstore.index import row_table

        offset = self._offset_in(connection, max(size, self._file.size()))
        if offset is None:
            row_table.clear(connection)
            offset = self._lines = 0
            self._opened = self._sqlite().opened
        if offset >= size:
            return offset
        end, lines = row_table.fold(connection, self._file.read, offset, size, latest_plausible_time())
        if end > offset:
            self._lines += lines
            self._set_position(connection, end)
        return end

    def _set_position(self, connection: "sqlite3.Connection", offset: int) -> None:
        from localstore.index import row_table

        begin = max(0, offset - row_table.TAIL)
        tail = self._file.read(offset - begin, begin)
        row_table.set_position(connection, row_table.Position(self._name, offset, tail, self._lines))

    def _advance(self, offset: int) -> None:
        """Forget the lines before `offset`, because they are in the index."""
        skipped = offset > self._read
        self._folded = max(self._folded, offset)
        self._read = max(self._read, offset)
        for session_id in [session_id for session_id, end in self._ends.items() if end <= offset]:
            del self._ends[session_id]
            self._pending.pop(session_id, None)
            self._forget_row(session_id)
        if skipped:  # among the lines that were not read may be later ones of these sessions
            for session_id in self._rows.keys() - self._ends.keys():
                if self._in_index(session_id) is not None:
                    self._forget_row(session_id)

    def _forget_row(self, session_id: str) -> None:
        row = self._rows.pop(session_id, None)
        if row is not None and row is not DELETED:
            self._paths.pop(row["path"], None)

    def _in_index(self, session_id: str) -> IndexRow | None:
        def work(connection: "sqlite3.Connection") -> IndexRow | None:
            from localstore.index.row_table import get

            return get(connection, session_id)

        return self._ask(work, None)

    # Rows

    def get(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, or None if there is none. It is that of the last `refresh`."""
        if session_id not in self._pending:
            row = self._rows.get(session_id)
            if row is not None:
                return None if row is DELETED else row
        with self.mutex:
            self._parse_lines_of(session_id)
            return self._known(session_id)

    def _known(self, session_id: str) -> IndexRow | None:
        row = self._rows.get(session_id)
        if row is None:
            row = self._in_index(session_id)
        return None if row is DELETED else row

    def session_at(self, path: str) -> str | None:
        """Return the id of the session whose row has this path, or None. The caller must hold `mutex`."""
        self._parse_all_lines()
        return self._session_at(path)

    def _session_at(self, path: str) -> str | None:
        session_id = self._paths.get(path)
        if session_id is None:

            def work(connection: "sqlite3.Connection") -> str | None:
                from localstore.index.row_table import session_at

                return session_at(connection, path)

            session_id = self._ask(work, None)
            if session_id in self._rows:
                return None  # its row in memory has another path, or it was deleted
        return session_id

    def sessions_at(self, paths: Collection[str]) -> dict[str, str]:
        """Return the ids of the sessions whose rows have one of these paths. The caller must hold `mutex`."""
        self._parse_all_lines()
        found: dict[str, str] = {}
        if self._folded:
            from localstore.index import row_table

            found = self._ask(partial(row_table.sessions_at, paths=paths), found)
            found = {path: session_id for path, session_id in found.items() if session_id not in self._rows}
        found.update((path, self._paths[path]) for path in paths if path in self._paths)
        return found

    def row_at(self, path: str) -> IndexRow | None:
        """Return the row with this path, or None if there is none. The caller need not hold `mutex`."""
        with self.mutex:
            session_id = self.session_at(path)
            return None if session_id is None else self.get(session_id)

    def folders(self) -> list[str]:
        """Return the folders in which rows have their paths. The caller must hold `mutex`."""
        self._parse_all_lines()
        found = {path.rpartition("/")[0] for path in self._paths}
        if self._folded:
            from localstore.index import row_table

            nothing: list[str] = []
            found.update(self._ask(row_table.folders, nothing))
        return sorted(found)

    def paths_in(self, folder: str) -> dict[str, str]:
        """Return a mapping from path to session id for the rows in a folder. The caller must hold `mutex`."""
        self._parse_all_lines()
        found: dict[str, str] = {}
        if self._folded:
            from localstore.index import row_table

            found = self._ask(partial(row_table.paths_in, folder=folder), found)
            found = {path: session_id for path, session_id in found.items() if session_id not in self._rows}
        for path, session_id in self._paths.items():
            if path.rpartition("/")[0] == folder:
                found[path] = session_id
        return found

    def count(self) -> int:
        """Return the number of rows."""
        from localstore.index import row_table

        with self.mutex:
            self._parse_all_lines()
            number = self._ask(row_table.count, 0)
            for session_id, row in self._rows.items():
                number += (row is not DELETED) - (self._in_index(session_id) is not None)
            return number

    def all(self) -> list[IndexRow]:
        """Return all rows, in no particular order."""
        return [row for _, row in self.in_order(EVERYTHING, None, None, newest_first=True)[0]]

    def beginning_with(self, text: str) -> list[IndexRow]:
        """Return the rows of the sessions whose id or name begins with this text, in no particular order."""
        with self.mutex:
            self._parse_all_lines()
            found: list[IndexRow] = []
            if self._folded:
                from localstore.index import row_table

                found = self._ask(partial(row_table.beginning_with, text=text), found)
                found = [row for row in found if row["session_id"] not in self._rows]
            own = [row for row in self._rows.values() if row is not DELETED]
            return found + [row for row in own if begins_with(row, text)]

    def ids_beginning_with(self, text: str, limit: int) -> list[IndexRow]:
        """Return the rows of at most `limit` sessions whose id begins with this text, in the order of their ids."""
        with self.mutex:
            self._parse_all_lines()
            found: list[IndexRow] = []
            if self._folded:
                from localstore.index import row_table

                more = limit + len(self._rows)  # those that are in memory too are left out
                found = self._ask(partial(row_table.ids_beginning_with, text=text, limit=more), found)
                found = [row for row in found if row["session_id"] not in self._rows]
            own = [row for row in self._rows.values() if row is not DELETED]
            found += [row for row in own if row["session_id"].startswith(text)]
            return sorted(found, key=lambda row: row["session_id"])[:limit]

    def neighbours(self, session_ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the ids before and after each of these ids, in alphabetical order. They may have been deleted."""
        from localstore.index import row_table

        with self.mutex:
            self._parse_all_lines()
            own = sorted(session_id for session_id, row in self._rows.items() if row is not DELETED)
            found: dict[str, list[str]] = {}
            for session_id in session_ids:
                none: list[str] = []
                stored = self._ask(partial(row_table.neighbours, session_id=session_id), none)
                before, behind = bisect_left(own, session_id), bisect_right(own, session_id)
                found[session_id] = [*stored, *own[max(0, before - 1) : before], *own[behind : behind + 1]]
            return found

    def has_name(self, text: str) -> bool:
        """Return whether a session may have exactly this name. It may have been deleted meanwhile."""
        from localstore.index import row_table

        with self.mutex:
            self._parse_all_lines()
            is_own = any(row is not DELETED and row.get("name") == text for row in self._rows.values())
            return is_own or self._ask(partial(row_table.has_name, name=text), False)

    def in_order(
        self, where: Selection, after: Place | None, limit: int | None, *, newest_first: bool
    ) -> tuple[list[tuple[str, IndexRow]], bool]:
        """Return rows with the times of their last activity, in this order, and whether there may be more of them.

        Args:
            where: Which rows.
            after: The place of the row before the first one; None begins with the first.
            limit: About how many rows to return; None returns all.
            newest_first: Whether the newest activity comes first, or last.
        """
        with self.mutex:
            return self._in_order(where, after, limit, newest_first)

    def _in_order(
        self, where: Selection, after: Place | None, limit: int | None, newest_first: bool
    ) -> tuple[list[tuple[str, IndexRow]], bool]:
        from localstore.index import row_table

        self._parse_all_lines()
        latest = latest_plausible_time()
        mine = self._rows
        no_rows: list[IndexRow] = []
        come_due = self._ask(partial(row_table.due_rows, latest=latest), no_rows)
        if come_due:
            mine = {row["session_id"]: row for row in come_due} | mine
        page = partial(row_table.page, where=where, after=after, limit=limit, newest_first=newest_first)
        nothing: list[tuple[str, IndexRow]] = []
        found = self._ask(page, nothing)
        has_more = limit is not None and len(found) == limit
        last = _place(*found[-1]) if has_more else None
        if mine:
            found = [(active_at, row) for active_at, row in found if row["session_id"] not in mine]
        own = [(activity(row, latest), row) for row in mine.values() if row is not DELETED and where.fits(row)]
        added = [
            (active_at, row)
            for active_at, row in own
            if where.covers(active_at)
            and (after is None or _is_behind(_place(active_at, row), after, newest_first))
            and (last is None or not _is_behind(_place(active_at, row), last, newest_first))
        ]
        added.sort(key=lambda item: _place(*item), reverse=newest_first)
        if added:
            found = list(heapq.merge(found, added, key=lambda item: _place(*item), reverse=newest_first))
        return found, has_more

    def tally(self, where: Selection, by: "Sequence[GroupKey]") -> "Tally | None":
        """Add up the usage of the selected sessions in groups of `by`.

        Return None if the rows must be read for that.
        """
        from localstore.index import row_table
        from localstore.models.stats import tally_of

        with self.mutex:
            self._fold_all()
            self._parse_all_lines()
            latest = latest_plausible_time()
            work = partial(row_table.tally, where=where, by=by, without=self._rows.keys(), latest=latest)
            found = self._ask(work, None)
            if found is not None:
                own = [row for row in self._rows.values() if row is not DELETED and where.fits(row)]
                found.add(tally_of((row for row in own if where.covers(activity(row, latest))), by))
            return found

    # Rows of this process

    def unwritten_folders(self) -> set[str]:
        """Return the folders of documents that no other process can know: their lines could not be written."""
        with self.mutex:
            own = [row for session_id, row in self._rows.items() if session_id not in self._ends and row is not DELETED]
            left = [row for row in own if row["fingerprint"] and not self._is_in_index(row)]
            return {row["path"].rpartition("/")[0] for row in left}

    def _is_in_index(self, row: IndexRow) -> bool:
        known = self._in_index(row["session_id"])
        return known is not None and known["path"] == row["path"]

    def broken_rows(self) -> list[IndexRow]:
        """Return the rows of documents that could never be read. They are known in this process only."""
        with self.mutex:
            rows = [row for row in self._rows.values() if row is not DELETED]
            return [row for row in rows if "problem" in row and not row["fingerprint"]]

    def put(self, row: IndexRow) -> None:
        """Set a row in this process only, overriding the lines read so far. The caller must hold `mutex`."""
        self._parse_all_lines()
        self._set_row(row)
        self._ends.pop(row["session_id"], None)

    def hide(self, session_id: str) -> None:
        """Remove a row in this process only, because its file is gone. The caller must hold `mutex`."""
        self._parse_all_lines()
        self._remove_row(session_id)
        self._ends.pop(session_id, None)

    # Writing

    def record(self, rows: Iterable[IndexRow], note: FolderNote | None = None) -> None:
        """Append rows to the file and set them in this process. `note` is a note about their folder.

        If the lines cannot be written, no error is raised; the rows are read from the documents again when needed. The
        caller must not hold `mutex`, because it is acquired after the file's lock.
        """
        self._write(list(rows), None, note)

    def record_deletion(self, session_id: str, note: FolderNote | None = None) -> None:
        """Append a line that removes a session. The rules of `record` apply."""
        self._write([], session_id, note)

    def _write(self, rows: list[IndexRow], deleted: str | None, note: FolderNote | None) -> None:
        lines = [orjson.dumps(row) for row in rows]
        if deleted is not None:
            lines.append(orjson.dumps({"session_id": deleted, "deleted": True}))
        if note is not None:
            lines.append(note.line(lines[-1]))
        try:
            with self._locks.manifest(self._timeout), self.mutex:
                size = self._open_for_append()
                self._apply(rows, deleted)
                end = self._file.append(lines, size, is_whole=size == self._read)
                if not size:  # it was emptied, and has got a first line
                    self._name, self._folded, self._read = self._file.name(), 0, end
                elif size == self._read:  # otherwise, lines of others come before ours and are unread
                    self._read = end
                for session_id in [row["session_id"] for row in rows] if deleted is None else [deleted]:
                    self._ends[session_id] = end
                self._file.released()
        except (OSError, LockTimeout):
            with self.mutex:
                self._apply(rows, deleted)
            return
        if end - self._folded > _LONG or len(self._ends) > _MOST_ROWS:
            self._fold_own()

    def _apply(self, rows: list[IndexRow], deleted: str | None) -> None:
        for row in rows:
            self.put(row)
        if deleted is not None:
            self.hide(deleted)

    def _open_for_append(self) -> int:
        """Open the file for writing and return its size. Do not read new lines now, because other writers wait."""
        status = self._file.current()
        if status is None or status.st_size < self._read:
            self._refresh(thorough=False)
            status = self._file.current()
        if status is None:
            if filesystem.exists(self._file.path):
                raise OSError(f"{self._file.path} cannot be written to")
            self._file.create()
            self._name, self._folded, self._read = self._file.name(), 0, self._file.size()
            return self._read
        return status.st_size

    def _fold_own(self) -> None:
        """Fold the lines that this process wrote, and replace the manifest if most of its lines are outdated."""
        with contextlib.suppress(OSError, LockTimeout):
            with self.mutex:
                self.refresh()
                status = self._file.current()
                if status is None:
                    return
                self._fold(status.st_size, waits=False)
                is_full = self._lines > _SPARE_LINES and self._lines > 2 * self.count() + _SPARE_LINES
            if is_full:
                self.compact()

    def compact(self) -> None:
        """Replace the file by one with one line per session. Raises LockTimeout, OSError."""
        self._sqlite()
        with self._locks.manifest(self._timeout), self.mutex:
            self.refresh(thorough=True)
            self._parse_all_lines()
            problems = [row for row in self._rows.values() if "problem" in row]
            rows, removed = [], []
            for session_id, row in self._rows.items():
                if row is DELETED:
                    removed.append(session_id)
                elif row["fingerprint"]:  # otherwise the document could never be read
                    sound = row.copy()
                    sound.pop("problem", None)  # keep the row as it was before the problem
                    rows.append(sound)
            restarts = self.restarts
            self._replace(rows, removed, keeps=True)
            self.restarts = restarts
            for row in problems:
                self.put(row)

    def forget_outdated(self) -> None:
        """Leave nothing of earlier rows on the disk: compact the file, and remove the index, which is made again.

        Raises LockTimeout, OSError.
        """
        self.compact()
        self._sqlite().discard()

    def load(self, *, always: bool = False) -> None:
        """Load SQLite if the next call may need it. Call it before taking a lock, because imports take time.

        Without `always`, it may need it if the manifest is not small.
        """
        if always or self._read > _SHORT // 2:
            self._sqlite()

    def is_small(self) -> bool:
        """Return whether all lines are in memory, and few. No index is needed then."""
        return not self._folded and self._read <= _SHORT

    def remove_all(self) -> None:
        """Replace the file by one without sessions. Raises LockTimeout, OSError."""
        self._sqlite()
        with self._locks.manifest(self._timeout), self.mutex:
            self._replace([], [], keeps=False)

    def _replace(self, rows: list[IndexRow], removed: list[str], *, keeps: bool) -> None:
        """Replace the file by one with the sessions of the index, if it `keeps` them, changed by `rows` and `removed`.

        The caller must hold the lock of the file and `mutex`.
        """
        from localstore.index import row_table
        from localstore.index.sqlite_file import transaction

        def work(connection: "sqlite3.Connection") -> int:
            with transaction(connection):
                if keeps and self._name:
                    self._fold_rest(connection, self._file.size())
                else:
                    row_table.clear(connection)
                row_table.put(connection, rows, removed, latest_plausible_time())
                self._file.close()
                lines = chain([generation_line()], row_table.lines(connection))
                durable_files.write_file(self._file.path, lines)
                self._file.reopen()
                self._forget(self._file.name())
                self._opened = self._sqlite().opened
                self._lines = row_table.count(connection) + 1
                size = self._file.size()
                self._set_position(connection, size)
                return size

        self._advance(self._use(work))
        self._file.released()

    # What was found in the month folders

    def found_in_folders(self) -> Found:
        """Return what the last scans of any process found."""
        from localstore.index import row_table

        with self.mutex:
            self._fold_all()
            return self._ask(row_table.found_in_folders, NOTHING_FOUND)

    def set_found(self, found: Found, hidden: Iterable[str]) -> None:
        """Store what a scan found, and that the files of hidden sessions are gone.

        Nothing is stored without a manifest, or while another process changes the index.
        """
        from localstore.index import row_table
        from localstore.index.sqlite_file import transaction

        def work(connection: "sqlite3.Connection") -> int | None:
            with transaction(connection, waits=False) as is_open:
                if not is_open:
                    return None
                if self._file.current() is None:
                    raise _Replaced
                end = self._fold_rest(connection, self._file.size())
                row_table.put(connection, [], gone, "")
                row_table.set_found(connection, found)
                return end

        with self.mutex, contextlib.suppress(_Replaced):
            if not self._name:
                return
            gone = [session_id for session_id in hidden if self._rows.get(session_id) is DELETED]
            gone = [session_id for session_id in gone if session_id not in self._ends]
            end = self._use(work)
            if end is not None:
                self._advance(end)
                for session_id in gone:
                    self._forget_row(session_id)

    def _fold_all(self) -> None:
        """Bring the index up to date with all lines. The caller must hold `mutex`."""
        status = self._file.current()
        if status is not None and status.st_size > self._folded:
            self._fold(status.st_size, waits=True)

    def was_swept(self, boot: str) -> bool:
        """Return whether all documents were compared with their rows in this boot.

        If not, the index is verified: a power cut may have damaged it.
        """
        from localstore.index import row_table

        with self.mutex:
            was_swept = self._ask(row_table.last_sweep, None) == boot
            if not was_swept:
                self._ask(row_table.verify, None)
            return was_swept

    def set_swept(self, boot: str) -> None:
        """Store that all documents were compared with their rows in this boot."""
        from localstore.index import row_table
        from localstore.index.sqlite_file import transaction

        def work(connection: "sqlite3.Connection") -> None:
            with transaction(connection, waits=False) as is_open:
                if is_open:
                    row_table.set_last_sweep(connection, boot)

        with self.mutex:
            self._ask(work, None)

    def stamp(self) -> tuple[int, int, int]:
        """Return a value that changes whenever answers of `in_order` may change."""

        def work(connection: "sqlite3.Connection") -> int:
            version: int = connection.execute("PRAGMA data_version").fetchone()[0]
            return version

        with self.mutex:
            return self._ask(work, 0), self._read, self._changes


def _place(active_at: str, row: IndexRow) -> Place:
    return active_at, row["session_id"]


def _is_behind(place: Place, other: Place, newest_first: bool) -> bool:
    """Return whether a place comes after another one in the order that is read."""
    return place < other if newest_first else place > other

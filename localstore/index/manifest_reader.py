"""Follows the manifest, and knows the current row of each session.

Most lines are folded into the index; see `manifest_index`. The lines behind that are kept in memory; see `recent_rows`.
Unusable lines are skipped.

A row that is known in memory takes precedence over the one in the index. It comes from a later line, or it is true in
this process alone, because it must not or could not be written.
"""

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from localstore.disk import filesystem
from localstore.disk.locks import LockPool
from localstore.disk.store_tree import MANIFEST
from localstore.index.manifest_file import ManifestFile
from localstore.index.manifest_index import ManifestIndex, Replaced
from localstore.index.manifest_lines import DELETED, last_usable
from localstore.index.recent_rows import NO_PATHS, KnownPaths, RecentRows
from localstore.index.row import IndexRow

if TYPE_CHECKING:
    import sqlite3

_SHORT = 1 << 16
"""How many bytes of new lines are kept in memory instead of being folded into the index."""
_LONG = 1 << 21
"""How many bytes of lines are kept in memory at most."""
_MOST_ROWS = 4096
"""How many rows are kept in memory at most."""
_ATTEMPTS = 3
"""How often the index is asked at most, if the manifest is replaced meanwhile."""
_Result = TypeVar("_Result")


_readers: "weakref.WeakSet[ManifestReader]" = weakref.WeakSet()


def _after_fork() -> None:
    """In the child process, discard state that another thread of the parent may have left incomplete."""
    for reader in list(_readers):
        reader.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class ManifestReader:
    """Keeps the rows in step with the file. `mutex` guards what is in memory."""

    def __init__(self, root: str, locks: LockPool) -> None:
        self.mutex = threading.RLock()
        self.file = ManifestFile(f"{root}/{MANIFEST}")
        self.index = ManifestIndex(root, self.file, locks)
        self.recent = RecentRows()
        self.scan_resets = 0
        """How often scans of folders became outdated, because lines that may have removed rows were folded unparsed."""
        self._locks = locks
        _readers.add(self)

    def reset_after_fork(self) -> None:
        """Discard all rows and replace `mutex`, which a thread of the parent process may have held."""
        self.mutex = threading.RLock()
        self.forget(b"")

    def forget(self, name: bytes) -> None:
        """Forget all rows, and begin with the manifest that `name` identifies; empty if there is none."""
        self.index.forget(name)
        self.recent.forget_all()

    def close(self) -> None:
        """Close the files. The rows stay, and the next call opens the files again."""
        with self.mutex:
            self.file.close()
            self.index.close()

    def refresh(self, *, thorough: bool = False) -> None:
        """Take in the lines added to the file since the last call.

        Raises StoreNotFound if the store is no longer at its path, and OSError if the file exists but cannot be read.

        Unusable content is skipped. A file that was replaced, removed or moved is always detected, and so is one that
        was cut off or overwritten in place. If it has the same length then, it is detected only if `thorough` is true.
        """
        with self.mutex:
            try:
                self.follow(thorough=thorough)
            except OSError as error:
                filesystem.set_filename(error, self.file.path)
                raise
            finally:
                self.file.released()

    def follow(self, *, thorough: bool = False) -> None:
        """Take in new lines, as `refresh` does. The caller must hold `mutex`, and release the file afterwards."""
        status = self.file.current()
        if status is not None and not thorough and status.st_size == self.index.end:
            return
        if status is None:
            self._locks.check_store()  # the whole store may have been moved or replaced
            status = self.file.reopen()
        if status is None:
            if self.index.name:
                self.forget(b"")
            return
        if not self.index.continues(status.st_size):
            self._begin(self.file.name(), status.st_size)
        unread = status.st_size - self.index.end
        if unread > _SHORT or self.is_long(status.st_size):
            self.fold(status.st_size, waits=unread > _LONG)
        if status.st_size > self.index.end:
            data = self.file.read(status.st_size - self.index.end, self.index.end)
            end = data.rfind(b"\n") + 1
            if end:
                self.index.add_read(data[:end])
                self.recent.add_lines(data[: end - 1], self.index.end)

    def _begin(self, name: bytes, size: int) -> None:
        """Begin with another manifest. If the index has its beginning, go on from there.

        Another process may have made the index from this manifest alone, which may lack rows that were known.
        """
        self.forget(name)
        if size <= _SHORT:
            return
        offset = self.index.offset(size)
        if offset is None:
            self.fold(size, waits=True)
        else:
            self.advance(offset)

    def is_small(self) -> bool:
        """Return whether all lines are in memory, and few. No index is needed then."""
        return not self.index.folded and self.index.end <= _SHORT

    def is_long(self, size: int) -> bool:
        """Return whether too much of a manifest of `size` bytes would be kept in memory."""
        return size - self.index.folded > _LONG or len(self.recent.ends) > _MOST_ROWS

    def load(self, *, always: bool = False) -> None:
        """Load SQLite if the next call may need it. Call it before taking a lock, because imports take time.

        Without `always`, it may need it if the manifest is not small.
        """
        if always or self.index.end > _SHORT // 2:
            self.index.sqlite()

    # The index

    def ask(self, work: "Callable[[sqlite3.Connection], _Result]", otherwise: _Result) -> _Result:
        """Return the answer of the index, or `otherwise` if no lines are folded. The caller must hold `mutex`."""
        for _ in range(_ATTEMPTS):
            if not self.index.folded:
                return otherwise
            with contextlib.suppress(Replaced):
                return self.index.ask(work)
            self.follow()
        return otherwise

    def fold(self, size: int, *, waits: bool) -> None:
        """Bring the index up to date with the open manifest, which has `size` bytes.

        Without `waits`, do nothing if another process is changing the index. The caller must hold `mutex`.
        """
        with contextlib.suppress(Replaced):
            offset = self.index.fold(size, waits=waits)
            if offset is not None:
                self.advance(offset)

    def fold_all(self) -> None:
        """Bring the index up to date with all lines. The caller must hold `mutex`."""
        status = self.file.current()
        if status is not None and status.st_size > self.index.folded:
            self.fold(status.st_size, waits=True)

    def advance(self, offset: int) -> None:
        """Forget the lines before `offset`, because they are in the index."""
        skipped = offset > self.index.end
        self.index.folded = max(self.index.folded, offset)
        if skipped:
            self.index.set_end(offset)
        if self.recent.forget_before(offset) or skipped:
            self.scan_resets += 1
        if skipped:  # among the lines that were not read may be later ones of these sessions
            for session_id in self.recent.rows.keys() - self.recent.ends.keys():
                row = self.in_index(session_id)
                if row is not None:
                    self.recent.forget(session_id)
                    self.recent.left.add(row["path"].rpartition("/")[0])  # the file may be gone, as was known here

    def in_index(self, session_id: str) -> IndexRow | None:
        """Return the row of a session in the index, or None if there is none. The caller must hold `mutex`."""

        def work(connection: "sqlite3.Connection") -> IndexRow | None:
            from localstore.index.row_queries import get

            return get(connection, session_id)

        return self.ask(work, None)

    # Rows

    def get(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, or None if there is none. It is that of the last `refresh`."""
        lines = self.recent.pending.get(session_id)
        if lines is None or isinstance(lines, dict):
            row = self.recent.rows.get(session_id)
            if row is not None:
                return None if row is DELETED else row
        with self.mutex:
            while True:
                rows = self.recent.rows
                self._parse_lines_of(session_id)
                row = self._known(session_id)
                if self.recent.rows is rows:  # otherwise all rows were forgotten, and there are new lines
                    return row

    def _known(self, session_id: str) -> IndexRow | None:
        row = self.recent.rows.get(session_id)
        if row is not None:
            return None if row is DELETED else row
        asked = self.recent.asked
        if asked is not None and asked[0] == self.index.restarts and asked[1]["session_id"] == session_id:
            return asked[1]  # one append needs its row several times
        row = self.in_index(session_id)
        if row is not None:
            self.recent.asked = self.index.restarts, row
        return row

    def session_at(self, path: str) -> str | None:
        """Return the id of the session whose row has this path, or None. The caller must hold `mutex`."""
        self.resolve_paths()
        return self._session_at(path)

    def _session_at(self, path: str) -> str | None:
        session_id = self.recent.paths.get(path)
        if session_id is None:

            def work(connection: "sqlite3.Connection") -> str | None:
                from localstore.index.row_queries import session_at

                return session_at(connection, path)

            session_id = self.ask(work, None)
            if session_id in self.recent.rows:
                return None  # its row in memory has another path, or it was deleted
        return session_id

    def count(self) -> int:
        """Return the number of rows."""
        from localstore.index import row_queries

        with self.mutex:
            self.resolve_paths()
            number = self.ask(row_queries.count, 0)
            nothing: dict[str, str] = {}
            in_both = self.ask(partial(row_queries.paths_of, session_ids=self.recent.rows.keys()), nothing)
            return number + len(self.recent.present()) - len(in_both)

    def put(self, row: IndexRow) -> None:
        """Set a row in this process only, overriding the lines read so far. The caller must hold `mutex`."""
        self.parse_all_lines()
        while not self._set_row(row):
            self.parse_all_lines()
        self.recent.ends.pop(row["session_id"], None)

    def put_written(self, row: IndexRow) -> None:
        """Set a row whose line is about to be added to the file. The caller must hold `mutex`.

        Unlike `put`, this does not parse the lines of other sessions if the session keeps its path.
        """
        session_id = row["session_id"]
        rows, lines = self.recent.rows, self.recent.pending.get(session_id)
        old = self._known(session_id) if lines is None or isinstance(lines, dict) else None
        if self.recent.rows is not rows or old is None or not self.recent.set_again(row, old):
            self.put(row)
            return
        self.recent.ends.pop(session_id, None)
        self.recent.pending.pop(session_id, None)
        self.recent.pending[session_id] = row  # the last one: older lines may give this path to another session

    def hide(self, session_id: str) -> None:
        """Remove a row in this process only, because its file is gone. The caller must hold `mutex`."""
        self.parse_all_lines()
        self.recent.remove(session_id)
        self.recent.ends.pop(session_id, None)

    def folders_left(self) -> set[str]:
        """Return what `take_left` will return. The caller must hold `mutex`."""
        self.resolve_paths()
        return self.recent.left

    def take_left(self) -> set[str]:
        """Return the folders in which a path has lost its row since the last call. A document may still be there.

        The manifest may be from another copy of the store, and a file may hold another session now.
        """
        with self.mutex:
            status = self.file.current()
            if status is not None and self.recent.unparsed() > _SHORT:  # to fold them once costs all processes less
                self.fold(status.st_size, waits=False)
            left, self.recent.left = self.folders_left(), set()
            return left

    # Lines

    def _parse_lines_of(self, session_id: str) -> None:
        """Parse the pending lines of a session, or all lines if its path changed: their order then matters."""
        lines = self.recent.pending.get(session_id)
        if lines is None or isinstance(lines, dict):
            return
        if session_id in self.recent.unmoved and self.recent.parse_unmoved(session_id):
            return
        row, old = last_usable(session_id, lines), self._known(session_id)
        is_current = self.recent.pending.get(session_id) is lines
        if (
            is_current
            and row is not None
            and row is not DELETED
            and old is not None
            and self.recent.set_again(row, old)
        ):
            self.recent.pending[session_id] = row  # keep its place: older lines may give this path to another session
        else:
            self.parse_all_lines()

    def resolve_paths(self) -> None:
        """Make sure that the path of each session is known: parse the pending lines if one of them changes a path.

        Few lines do. The caller must hold `mutex`.
        """
        if self.recent.pending and self.index.folded:
            self.skip_folded_lines()
        recent, rows = self.recent, self.recent.rows
        unknown = recent.find_unmoved()
        if unknown:
            known = self._paths_in_index(unknown, ()).of_sessions
            if recent.rows is rows and known == unknown:
                recent.unmoved.update(unknown)
                return
        if unknown is None or unknown:
            self.parse_all_lines()

    def parse_lines_with(self, text: bytes | None, is_meant: Callable[[IndexRow], bool]) -> None:
        """Parse the pending lines of all sessions whose newest row may be one of those asked for.

        These are the lines that contain `text` (all lines if it is None), and those of sessions whose row in memory
        `is_meant`. The index may have an outdated row of another session that is meant: compare it with that of `get`.
        The caller must hold `mutex`.
        """
        self.resolve_paths()
        if text is None:
            self.parse_all_lines()
            return
        for session_id in list(self.recent.unmoved):
            if session_id not in self.recent.unmoved:
                break  # all lines had to be parsed
            row = self.recent.rows.get(session_id)
            if self.recent.may_have(session_id, text) or (row is not None and is_meant(row)):
                self._parse_lines_of(session_id)

    def parse_all_lines(self) -> None:
        """Parse all pending lines, in their order. The caller must hold `mutex`.

        The index is asked for earlier rows. If it and the manifest turn out to be replaced, all rows are forgotten: the
        remaining lines are those of a manifest that is gone, and the new ones are parsed instead.
        """
        if self.recent.pending and self.index.folded:
            self.skip_folded_lines()
        while self.recent.pending:
            unread, self.recent.pending = self.recent.pending, {}
            unmoved, self.recent.unmoved = self.recent.unmoved, {}
            parsed: dict[str, IndexRow] = {}
            for session_id, lines in unread.items():
                row = lines if isinstance(lines, dict) else last_usable(session_id, lines)
                if row is not None:
                    parsed[session_id] = row
            rows = self.recent.rows
            others = {session_id: row for session_id, row in parsed.items() if session_id not in unmoved}
            paths = self._paths_in_index(others, (row["path"] for row in others.values() if row is not DELETED))
            if unmoved:
                at_paths = {path: session_id for session_id, path in unmoved.items()}
                paths = KnownPaths(unmoved | paths.of_sessions, at_paths | paths.sessions)
            if self.recent.rows is not rows:
                continue  # all rows were forgotten
            for session_id, row in parsed.items():
                if row is DELETED:
                    self.recent.drop(session_id, paths)
                else:
                    self.recent.set(row, paths)

    def _paths_in_index(self, session_ids: Iterable[str], paths: Iterable[str]) -> KnownPaths:
        """Return what the index says of these sessions and paths, as far as the rows in memory do not."""
        unknown_ids = [session_id for session_id in session_ids if session_id not in self.recent.rows]
        unknown_paths = [path for path in paths if path not in self.recent.paths]
        if not unknown_ids and not unknown_paths:
            return NO_PATHS

        def work(connection: "sqlite3.Connection") -> KnownPaths:
            from localstore.index.row_queries import paths_of, sessions_at

            return KnownPaths(paths_of(connection, unknown_ids), sessions_at(connection, unknown_paths))

        return self.ask(work, NO_PATHS)

    def skip_folded_lines(self) -> None:
        """Drop the lines that another process has folded: the index no longer says which rows they replaced.

        The caller must hold `mutex`.
        """
        try:
            offset = self.ask(partial(self.index.offset_in, size=self.file.size()), None)
        except OSError:  # the next refresh handles it
            return
        if offset is not None and offset > self.index.folded:
            self.advance(offset)

    def _set_row(self, row: IndexRow) -> bool:
        """Set a row. Return False, and change nothing, if all rows were forgotten meanwhile."""
        rows = self.recent.rows
        paths = self._paths_in_index([row["session_id"]], [row["path"]])
        if self.recent.rows is not rows:
            return False
        self.recent.set(row, paths)
        return True

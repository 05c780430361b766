"""Folds the lines of the manifest into the index, and answers questions from it.

Which lines are folded stands in the index; see `index_tables`.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from localstore.disk.locks import LockPool
from localstore.disk.store_tree import INDEX_FILE
from localstore.index.manifest_file import TAIL, ManifestFile
from localstore.index.row import latest_plausible_time

if TYPE_CHECKING:
    import sqlite3

    from localstore.index.sqlite_file import SqliteFile

_Result = TypeVar("_Result")


class Replaced(Exception):
    """The open manifest is no longer the one with that name. Its lines must not be folded."""


class ManifestIndex:
    """Keeps track of how far the open manifest is read and folded. Only one thread may use it at a time."""

    def __init__(self, root: str, file: ManifestFile, locks: LockPool) -> None:
        self._root = root
        self._file = file
        self._locks = locks
        self._sqlite: SqliteFile | None = None
        self.restarts = 0
        """The number of times all rows were discarded. Anything derived from earlier rows is then invalid."""
        self.forget(b"")

    def forget(self, name: bytes) -> None:
        """Forget how far it is folded, and begin with the manifest that `name` identifies; empty if there is none."""
        self.restarts += 1
        self.name = name
        self.folded = 0
        """The lines before this offset are in the index. Those behind it, up to `end`, are in memory."""
        self.end = 0
        """The offset behind the last line that was read."""
        self.tail = b""
        """The bytes before `end`; see `ManifestFile.tail`."""
        self.lines = 0
        """The number of lines before `folded`."""
        self._opened = 0
        """The number of the index that is known to have the lines before `folded`."""

    def start(self, end: int) -> None:
        """Begin with the open file, which was just made. None of its lines is folded; those before `end` are known."""
        self.name, self.folded = self._file.name(), 0
        self.set_end(end)

    def set_end(self, end: int) -> None:
        """Note that the lines of the open file before this offset were read."""
        self.end, self.tail = end, self._file.tail(end)

    def add_read(self, data: bytes) -> None:
        """Note that `data`, the whole lines that follow `end`, was read."""
        self.end += len(data)
        self.tail = (self.tail + data)[-TAIL:]

    def continues(self, size: int) -> bool:
        """Return whether the open file, which has `size` bytes, still begins with what was read of it."""
        return self._file.name() == self.name and size >= self.end and self._file.has(self.tail, self.end)

    def close(self) -> None:
        """Close the file of the index. The next call opens it again."""
        if self._sqlite is not None:
            self._sqlite.close()

    def sqlite(self) -> "SqliteFile":
        """Return the file of the index. SQLite is loaded when it is first needed."""
        if self._sqlite is None:
            from localstore.index.index_tables import LAYOUT
            from localstore.index.sqlite_file import SqliteFile

            self._sqlite = SqliteFile(self._root, INDEX_FILE, LAYOUT, self._locks)
        return self._sqlite

    def use(self, work: "Callable[[sqlite3.Connection], _Result]") -> _Result:
        """Return the result of `work`, which is called with an open connection; see `SqliteFile.use`."""
        return self.sqlite().use(work)

    def ask(self, work: "Callable[[sqlite3.Connection], _Result]") -> _Result:
        """Return the answer of an index that has all lines before `folded`. Raises Replaced."""
        return self.use(lambda connection: work(self._complete(connection)))

    def _complete(self, connection: "sqlite3.Connection") -> "sqlite3.Connection":
        """Return the connection to an index that has all lines before `folded`.

        It may be a new one, because the file was damaged or removed.
        """
        if self._opened != self.sqlite().opened:
            offset = self.offset_in(connection, self._file.size())
            if offset is None or offset < self.folded:
                self._fold_into(connection, self.end)
                self.restarts += 1  # the lost index may have had lines that a power cut took from the manifest
            self._opened = self.sqlite().opened
        return connection

    def offset(self, size: int) -> int | None:
        """Return up to which offset the index has the lines of the open manifest, which has `size` bytes.

        Return None if it has those of another manifest.
        """
        return self.use(partial(self.offset_in, size=size))

    def offset_in(self, connection: "sqlite3.Connection", size: int) -> int | None:
        """Return what `offset` returns, with a connection that is open already."""
        from localstore.index import index_tables

        at = index_tables.position(connection)
        if at is None or at.manifest != self.name or at.offset > size:
            return None
        if not self._file.has(at.tail, at.offset):
            return None
        self.lines = at.lines
        self._opened = self.sqlite().opened
        return at.offset

    def has_known_lines(self, connection: "sqlite3.Connection") -> bool:
        """Return whether the index and the open manifest still have all lines that were read from them."""
        size = self._file.size()
        if not self.continues(size):
            return False
        offset = self.offset_in(connection, size) if self.folded else 0
        return offset is not None and offset >= self.folded

    def fold(self, size: int, *, waits: bool) -> int | None:
        """Fold the lines of the open manifest, which has `size` bytes. Return the offset behind the last one.

        Without `waits`, return None if another process is changing the index. Raises Replaced.
        """
        return self.use(partial(self._fold_into, size=size, waits=waits))

    def _fold_into(self, connection: "sqlite3.Connection", size: int, *, waits: bool = True) -> int | None:
        from localstore.index.sqlite_file import transaction

        with transaction(connection, waits=waits) as is_open:
            if not is_open:
                return None
            if self._file.current() is None:
                raise Replaced
            return self.fold_rest(connection, size)

    def fold_rest(self, connection: "sqlite3.Connection", size: int) -> int:
        """Fold the lines that the index lacks, in an open transaction. Return the offset behind the last one."""
        from localstore.index import index_tables, row_table

        offset = self.offset_in(connection, max(size, self._file.size()))
        if offset is None:
            if self.folded:
                self.restarts += 1  # it may have had rows that the manifest lacks, and what scans found with them
            index_tables.clear(connection)
            offset = self.lines = 0
            self._opened = self.sqlite().opened
        if offset >= size:
            return offset
        end, lines = row_table.fold(connection, self._file.read, offset, size, latest_plausible_time())
        if end > offset:
            self.set_folded(connection, end, self.lines + lines)
        return end

    def set_folded(self, connection: "sqlite3.Connection", offset: int, lines: int) -> None:
        """Store that the index has the lines before `offset`, and their number, in an open transaction."""
        from localstore.index import index_tables

        self._opened = self.sqlite().opened
        self.lines = lines
        tail = self._file.tail(offset)
        index_tables.set_position(connection, index_tables.Position(self.name, offset, tail, self.lines))

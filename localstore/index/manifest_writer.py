"""Adds lines to the manifest, and replaces it by a shorter one when most of its lines are outdated."""

import contextlib
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

import orjson

from localstore.disk import durable_files, filesystem
from localstore.disk.locks import LockPool
from localstore.errors import LockTimeout
from localstore.index.manifest_lines import DELETED, FolderNote, generation_line
from localstore.index.manifest_reader import ManifestReader
from localstore.index.row import IndexRow, latest_plausible_time

if TYPE_CHECKING:
    import sqlite3

_SPARE_LINES = 4000
"""How many outdated lines are always allowed. Small manifests are then rarely replaced."""


class ManifestWriter:
    """Writes rows to the file, under the manifest's lock, and sets them in this process."""

    def __init__(self, reader: ManifestReader, locks: LockPool, timeout: float) -> None:
        self._reader = reader
        self._file = reader.file
        self._index = reader.index
        self._recent = reader.recent
        self._locks = locks
        self._timeout = timeout

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
            with self._locks.manifest(self._timeout), self._reader.mutex:
                size = self._open_for_append()
                for row in rows:
                    self._reader.put_written(row)
                if deleted is not None:
                    self._reader.hide(deleted)
                added = self._file.append(lines, size, is_whole=size == self._index.end)
                end = size + len(added)
                if not size:  # it was emptied, and has got a first line
                    self._index.start(end)
                elif size == self._index.end:  # otherwise, lines of others come before ours and are unread
                    self._index.add_read(added)
                for session_id in [row["session_id"] for row in rows] if deleted is None else [deleted]:
                    self._recent.ends[session_id] = end
                self._file.released()
        except (OSError, LockTimeout):
            with self._reader.mutex:
                for row in rows:
                    self._reader.put(row)
                if deleted is not None:
                    self._reader.hide(deleted)
            return
        if self._reader.is_long(end):
            self._fold_own()

    def _open_for_append(self) -> int:
        """Open the file for writing and return its size. Do not read new lines now, because other writers wait."""
        status = self._file.current()
        if status is None or status.st_size < self._index.end:
            self._reader.follow()
            status = self._file.current()
        if status is None:
            if filesystem.exists(self._file.path):
                raise OSError(f"{self._file.path} cannot be written to")
            self._file.create()
            self._index.start(self._file.size())
            return self._index.end
        return status.st_size

    def _fold_own(self) -> None:
        """Fold the lines that this process wrote, and replace the manifest if most of its lines are outdated."""
        with contextlib.suppress(OSError, LockTimeout):
            with self._reader.mutex:
                self._reader.refresh()
                status = self._file.current()
                if status is None:
                    return
                self._reader.fold(status.st_size, waits=False)
                lines = self._index.lines
                is_full = lines > _SPARE_LINES and lines > 2 * self._reader.count() + _SPARE_LINES
            if is_full:
                self.compact()

    def compact(self) -> None:
        """Replace the file by one with one line per session. Raises LockTimeout, OSError."""
        self._index.sqlite()
        with self._locks.manifest(self._timeout), self._reader.mutex:
            self._reader.refresh(thorough=True)
            self._reader.parse_all_lines()
            problems = [row for row in self._recent.rows.values() if "problem" in row]
            rows, removed = [], []
            for session_id, row in self._recent.rows.items():
                if row is DELETED:
                    removed.append(session_id)
                elif row["fingerprint"]:  # otherwise the document could never be read
                    sound = row.copy()
                    sound.pop("problem", None)  # keep the row as it was before the problem
                    rows.append(sound)
            self._replace(rows, removed, keeps=True)
            for row in problems:
                self._reader.put(row)

    def forget_outdated(self) -> None:
        """Leave nothing of earlier rows on the disk: compact the file, and remove the index, which is made again.

        Raises LockTimeout, OSError.
        """
        self.compact()
        self._index.sqlite().discard()

    def remove_all(self) -> None:
        """Replace the file by one without sessions. Raises LockTimeout, OSError."""
        self._index.sqlite()
        with self._locks.manifest(self._timeout), self._reader.mutex:
            self._replace([], [], keeps=False)

    def _replace(self, rows: list[IndexRow], removed: list[str], *, keeps: bool) -> None:
        """Replace the file by one with the sessions of the index, if it `keeps` them, changed by `rows` and `removed`.

        The caller must hold the lock of the file and `mutex`.
        """
        from localstore.index import index_tables, row_queries, row_table
        from localstore.index.sqlite_file import transaction

        def work(connection: "sqlite3.Connection") -> int:
            with transaction(connection):
                if keeps and self._index.name:
                    self._index.fold_rest(connection, self._file.size())
                else:
                    index_tables.clear(connection)
                row_table.put(connection, rows, removed, latest_plausible_time())
                self._file.close()
                lines = chain([generation_line()], row_queries.lines(connection))
                durable_files.write_file(self._file.path, lines)
                self._file.reopen()
                restarts = self._index.restarts
                self._reader.forget(self._file.name())
                if keeps:
                    self._index.restarts = restarts
                size = self._file.size()
                self._index.set_folded(connection, size, row_queries.count(connection) + 1)
                return size

        self._reader.advance(self._index.use(work))
        self._file.released()

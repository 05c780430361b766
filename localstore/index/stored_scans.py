"""Store in the index what scans and sweeps found, for other processes, and read what they stored."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from localstore.index.manifest_index import Replaced
from localstore.index.manifest_reader import ManifestReader
from localstore.index.selection import NOTHING_FOUND, Found

if TYPE_CHECKING:
    import sqlite3


class StoredScans:
    """Stores what was found in the month folders, and when all documents were compared with their rows."""

    def __init__(self, reader: ManifestReader) -> None:
        self._reader = reader

    def found_in_folders(self, times: Mapping[str, int]) -> Found:
        """Return what the last scans of any process found.

        If it has other times of folders than `times`, the notes of writers are folded first: they may have these.
        """
        from localstore.index import found_table

        with self._reader.mutex:
            self._reader.skip_folded_lines()
            found = self._reader.ask(found_table.found_in_folders, NOTHING_FOUND)
            if not times.items() <= found.folders.items():
                self._reader.fold_all()
                found = self._reader.ask(found_table.found_in_folders, NOTHING_FOUND)
            return found

    def set_found(self, found: Found) -> None:
        """Store what a scan found, and that the files of all hidden sessions are gone.

        Nothing is stored without a manifest, if the index or the manifest lost lines that the scan relied on, or while
        another process changes the index.
        """
        from localstore.index import found_table, row_table
        from localstore.index.sqlite_file import transaction

        def work(connection: "sqlite3.Connection") -> int | None:
            with transaction(connection, waits=False) as is_open:
                if not is_open:
                    return None
                if self._reader.file.current() is None or not self._reader.index.has_known_lines(connection):
                    raise Replaced
                end = self._reader.index.fold_rest(connection, self._reader.file.size())
                row_table.put(connection, [], gone, "")
                found_table.set_found(connection, found)
                return end

        with self._reader.mutex, contextlib.suppress(Replaced):
            if not self._reader.index.name:
                return
            gone = self._reader.recent.hidden()
            end = self._reader.index.use(work)
            if end is not None:
                self._reader.advance(end)
                for session_id in gone:
                    self._reader.recent.forget(session_id)

    def was_swept(self, boot: str) -> bool:
        """Return whether all documents were compared with their rows in this boot.

        If not, the index is verified: a power cut may have damaged it.
        """
        from localstore.index import found_table, index_tables

        with self._reader.mutex:
            was_swept = self._reader.ask(found_table.last_sweep, None) == boot
            if not was_swept:
                self._reader.ask(index_tables.verify, None)
            return was_swept

    def set_swept(self, boot: str) -> None:
        """Store that all documents were compared with their rows in this boot."""
        from localstore.index import found_table
        from localstore.index.sqlite_file import transaction

        def work(connection: "sqlite3.Connection") -> None:
            with transaction(connection, waits=False) as is_open:
                if is_open:
                    found_table.set_last_sweep(connection, boot)

        with self._reader.mutex:
            self._reader.ask(work, None)

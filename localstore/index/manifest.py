"""The manifest: a log of rows, derived from the documents. The last line of each session is the current one."""

import threading
from collections.abc import Iterable

from localstore.disk.locks import LockPool
from localstore.index.manifest_lines import FolderNote
from localstore.index.manifest_queries import ManifestQueries
from localstore.index.manifest_reader import ManifestReader
from localstore.index.manifest_writer import ManifestWriter
from localstore.index.row import IndexRow
from localstore.index.stored_scans import StoredScans


class Manifest(ManifestQueries):
    """Reads and writes the rows of a store. `mutex` guards the rows in memory; the manifest's lock guards the file."""

    def __init__(self, root: str, locks: LockPool, timeout: float) -> None:
        super().__init__(ManifestReader(root, locks))
        self._writer = ManifestWriter(self._reader, locks, timeout)
        self.scans = StoredScans(self._reader)
        """What scans and sweeps of any process found."""

    @property
    def mutex(self) -> threading.RLock:
        """The lock of this process that guards the rows."""
        return self._reader.mutex

    @property
    def restarts(self) -> int:
        """The number of times all rows were discarded. Anything derived from earlier rows is then invalid."""
        return self._index.restarts

    @property
    def scan_resets(self) -> int:
        """The number of times that scans of this process became outdated, because others may have removed rows."""
        return self._reader.scan_resets

    def refresh(self, *, thorough: bool = False) -> None:
        """Take in the lines added to the file since the last call; see `ManifestReader.refresh`."""
        self._reader.refresh(thorough=thorough)

    def load(self, *, always: bool = False) -> None:
        """Load SQLite if the next call may need it; see `ManifestReader.load`."""
        self._reader.load(always=always)

    def is_small(self) -> bool:
        """Return whether all lines are in memory, and few. No index is needed then."""
        return self._reader.is_small()

    def close(self) -> None:
        """Close the files. The rows stay, and the next call opens the files again."""
        self._reader.close()

    # Writing

    def record(self, rows: Iterable[IndexRow], note: FolderNote | None = None) -> None:
        """Append rows to the file and set them in this process; see `ManifestWriter.record`."""
        self._writer.record(rows, note)

    def record_deletion(self, session_id: str, note: FolderNote | None = None) -> None:
        """Append a line that removes a session. The rules of `record` apply."""
        self._writer.record_deletion(session_id, note)

    def record_gone(self, session_id: str) -> None:
        """Append a line that removes the row of a session, because its document is not where the row says.

        It may be elsewhere, so the next scan asks the index which folders must be listed.
        """
        self._writer.record_deletion(session_id)
        with self._reader.mutex:
            self._reader.scan_resets += 1

    def compact(self) -> None:
        """Replace the file by one with one line per session. Raises LockTimeout, OSError."""
        self._writer.compact()

    def forget_outdated(self) -> None:
        """Leave nothing of earlier rows on the disk; see `ManifestWriter.forget_outdated`."""
        self._writer.forget_outdated()

    def remove_all(self) -> None:
        """Replace the file by one without sessions. Raises LockTimeout, OSError."""
        self._writer.remove_all()

    # Rows of this process

    def put(self, row: IndexRow) -> None:
        """Set a row in this process only, overriding the lines read so far. The caller must hold `mutex`."""
        self._reader.put(row)

    def hide(self, session_id: str) -> None:
        """Remove a row in this process only, because its file is gone. The caller must hold `mutex`."""
        self._reader.hide(session_id)

    def has_hidden(self) -> bool:
        """Return whether a row was removed in this process alone."""
        with self._reader.mutex:
            return bool(self._recent.hidden())

    def folders_left(self) -> set[str]:
        """Return what `take_left` will return. The caller must hold `mutex`."""
        return self._reader.folders_left()

    def take_left(self) -> set[str]:
        """Return the folders in which rows left their paths since the last call; see `ManifestReader.take_left`."""
        return self._reader.take_left()

    def unwritten_folders(self) -> set[str]:
        """Return the folders of documents that no other process can know: their lines could not be written."""
        with self._reader.mutex:
            own = [row for row in self._recent.present() if row["session_id"] not in self._recent.ends]
            left = [row for row in own if row["fingerprint"] and not self._is_in_index(row)]
            return {row["path"].rpartition("/")[0] for row in left}

    def _is_in_index(self, row: IndexRow) -> bool:
        known = self._reader.in_index(row["session_id"])
        return known is not None and known["path"] == row["path"]

    def broken_rows(self) -> list[IndexRow]:
        """Return the rows of documents that could never be read. They are known in this process only."""
        with self._reader.mutex:
            rows = self._recent.present()
            return [row for row in rows if "problem" in row and not row["fingerprint"]]

    # One row

    def get(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, or None if there is none. It is that of the last `refresh`."""
        return self._reader.get(session_id)

    def session_at(self, path: str) -> str | None:
        """Return the id of the session whose row has this path, or None. The caller must hold `mutex`."""
        return self._reader.session_at(path)

    def row_at(self, path: str) -> IndexRow | None:
        """Return the row with this path, or None if there is none. The caller need not hold `mutex`."""
        with self._reader.mutex:
            session_id = self.session_at(path)
            return None if session_id is None else self.get(session_id)

"""Compare all rows with their documents. This finds those that a person edited in place, which changes no folder."""

import contextlib
import time
from collections.abc import Iterable

from localstore.disk import filesystem
from localstore.disk.boot import boot_hash
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, matches_file
from localstore.index.row_batches import RowBatches

_SHARE = 100
"""The pause between two sweeps is at least this many times the duration of the last one, and at least one second."""
_LOOK = 4e-6
"""About how many seconds it takes to compare a document with its row."""
_RECENT = 2_000_000_000
"""How old, in ns, a change must be for a later sweep to read the file: its writer normally records the row itself."""
_FEW = 1000
"""Up to about how many sessions the first listing of every process compares all documents with their rows."""


class Sweep:
    """Compares all rows with their documents, and reads the documents that changed."""

    def __init__(self, root: str, manifest: Manifest, batches: RowBatches) -> None:
        self._root = root
        self._manifest = manifest
        self._batches = batches
        self._swept = 0
        """The `restarts` of the manifest at the last sweep."""
        self._due = 0.0

    def has_few(self) -> bool:
        """Return whether the first listing of every process compares all documents with their rows."""
        return not self._manifest.has_more_than(_FEW)

    def run_if_due(self) -> None:
        """Compare every row with its file's status, and read the files that changed, if that is due.

        The first listing of a process does it if there are few sessions, or if none did since the machine was started:
        the rows may be from another machine. Later sweeps run only so often that they take at most a hundredth of the
        time.
        """
        now = time.monotonic()
        restarts = self._manifest.restarts
        is_first = self._swept != restarts
        if is_first:
            was_swept = self._manifest.scans.was_swept(boot_hash())
            if was_swept and not self.has_few():
                self._swept = restarts
                self._due = now + self._manifest.count() * _SHARE * _LOOK
                return
        elif now < self._due:
            return
        self.run(0 if is_first else _RECENT)
        self._swept = restarts  # set this last, so that another thread does not list before the sweep is complete
        end = time.monotonic()
        self._due = end + max(1.0, _SHARE * (end - now))

    def run(self, min_age: int) -> None:
        """Compare all rows with their documents, except documents that were modified less than `min_age` ns ago."""
        changed = [row for page in self._manifest.in_pages() for row in self._changed_rows(page, min_age)]
        if changed:
            self._manifest.refresh()
            again = [row for old in changed if (row := self._manifest.get(old["session_id"])) is not None]
            self._batches.adopt_all(sorted(row["path"] for row in self._changed_rows(again, min_age)))
        if not min_age:
            self._manifest.scans.set_swept(boot_hash())

    def _changed_rows(self, rows: Iterable[IndexRow], min_age: int) -> list[IndexRow]:
        """Return the rows that differ from their files.

        Rows whose files are missing, or were modified less than `min_age` ns ago, are left out.
        """
        changed = []
        now = time.time_ns()
        for row in rows:
            with contextlib.suppress(OSError):  # the listing reports it
                status = filesystem.status_or_none(f"{self._root}/{row['path']}")
                if status is None or matches_file(row, status) or 0 <= now - status.st_mtime_ns < min_age:
                    continue
                changed.append(row)
        return changed

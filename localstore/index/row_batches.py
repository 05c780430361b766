"""Read many documents and record their rows in batches. Several processes that read the same ones share the work."""

import os
import random
from collections.abc import Collection

from localstore.index.manifest import Manifest
from localstore.index.row_reader import RowReader
from localstore.models.progress import Progress

_BATCH = 1000
"""How many documents are read, or rows recorded, at a time."""


class RowBatches:
    """Reads any number of documents, and records the rows of many at once."""

    def __init__(self, manifest: Manifest, reader: RowReader, progress: Progress | None) -> None:
        """`progress` is called while documents are read that had no row."""
        self._manifest = manifest
        self._reader = reader
        self._progress = progress

    def adopt_new(self, paths: set[str]) -> None:
        """Read documents that had no row, and store their rows.

        Other processes may be reading the same documents, and record their rows. So each process takes the batches in
        an order of its own, and skips what has a row by then.
        """
        ordered = sorted(paths)
        batches = [ordered[begin : begin + _BATCH] for begin in range(0, len(ordered), _BATCH)]
        random.Random(os.getpid()).shuffle(batches)  # noqa: S311 (no secret)
        done = 0
        for batch in batches:
            missing = self._without_row(batch) if done else batch
            done += len(batch) - len(missing)
            self.adopt_all(missing, done, len(ordered))
            done += len(missing)
        if len(batches) > 1:  # of two documents of a session, another process may have recorded the wrong one
            missing = self._without_row(ordered)
            with self._manifest.mutex:
                exceptions = self._reader.unreadable.keys() | self._reader.duplicates.keys()
                missing = [path for path in missing if path not in exceptions]
            self.adopt_all(missing)

    def _without_row(self, paths: list[str]) -> list[str]:
        """Return the paths that no row has. The others are no exceptions any more."""
        self._manifest.refresh()
        with self._manifest.mutex:
            recorded = self._manifest.sessions_at(paths)
            for path in recorded:
                self._reader.unreadable.pop(path, None)
                self._reader.duplicates.pop(path, None)
        return [path for path in paths if path not in recorded]

    def adopt_all(self, paths: Collection[str], done: int = 0, total: int = 0) -> None:
        """Read documents and store their rows.

        Args:
            paths: The documents.
            done: How many documents are done already.
            total: How many there are in total, for `progress`; 0 reports nothing.
        """
        rows = []
        for number, path in enumerate(paths, done + 1):
            row = self._reader.read(path)
            if row is not None and not self._reader.is_duplicate(row):
                with self._manifest.mutex:
                    self._manifest.put(row)
                if "problem" not in row:
                    rows.append(row)
            if len(rows) >= _BATCH:
                self._reader.record(rows)
                rows = []
            if total and self._progress is not None:
                self._progress(number, total)
        if rows:
            self._reader.record(rows)

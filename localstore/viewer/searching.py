"""Searches for the pages: while somebody types, no search waits until every document was compared with the index."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localstore.errors import LocalstoreError
from localstore.storage.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localstore.models.filter import Filter
    from localstore.models.search_hit import SearchHit
    from localstore.storage.contract import SessionStorage

MOST_HITS = 50
_MANY = 5000
"""Up to how many sessions each search compares all documents, which takes some 40 ms."""
_PAUSE = 2.0
"""The pause in seconds between two comparisons in the background."""
_SHARE = 4
"""The pause is at least this many times as long as the last comparison took."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    hits: Sequence[SearchHit]
    compared_at: float | None = None
    """When all documents were last compared with the index, in seconds since 1970; None if the search did that."""
    asked_at: float = 0.0
    """When the search was made first."""

    @property
    def is_complete(self) -> bool:
        """Whether the search knows everything that was edited before it was made. Otherwise, it soon will."""
        return self.compared_at is None or self.compared_at >= self.asked_at


class Searching:
    """Searches one storage. Thread-safe.

    What localstore writes is found at once. In a large store, what another program edited in place is found as soon as
    the documents have been compared with the index. That happens in the background after each search, at most every two
    seconds.
    """

    def __init__(self, storage: SessionStorage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._took: float | None = None
        """How many seconds the last comparison took; None before the first one."""
        self._ended = 0.0
        self._compared_at = 0.0
        self._is_comparing = False

    def find(self, text: str, where: Filter, asked_at: float | None = None) -> Found:
        """Return what a search finds, newest first. The last word may be the beginning of one.

        `asked_at` is when the same search was made first, in seconds since 1970, if it is made again.

        Raises ValueError for a query that cannot be read, and the errors of `storage.search`.
        """
        if text[-1].isalnum() and text.count('"') % 2 == 0:
            text += "*"
        if not isinstance(self._storage, Storage):
            return Found(self._storage.search(text, where=where, limit=MOST_HITS))
        if self._took is None or not self._storage._engine.manifest.has_more_than(_MANY):
            return Found(self._compared(text, where, MOST_HITS))
        now = time.time()
        hits = self._storage.search(text, where=where, limit=MOST_HITS, sweep=False)
        with self._lock:
            found = Found(hits, self._compared_at, min(now, asked_at or now))
            if not found.is_complete and not self._is_comparing:
                self._is_comparing = True
                pause = self._ended + max(_PAUSE, _SHARE * self._took) - time.monotonic()
                threading.Thread(target=self._compare, args=(text, where, pause), daemon=True).start()
            return found

    def _compare(self, text: str, where: Filter, pause: float) -> None:
        time.sleep(max(0.0, pause))
        try:
            with contextlib.suppress(LocalstoreError, OSError):  # the next search says so
                self._compared(text, where, 1)
        finally:
            with self._lock:
                self._is_comparing = False
                self._ended = time.monotonic()

    def _compared(self, text: str, where: Filter, limit: int) -> Sequence[SearchHit]:
        began, began_at = time.monotonic(), time.time()
        hits = self._storage.search(text, where=where, limit=limit)
        with self._lock:
            self._ended = time.monotonic()
            self._took, self._compared_at = self._ended - began, began_at
        return hits

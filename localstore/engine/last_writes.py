"""Remembers what the last write to a document showed of it, so that the next write need not read it again."""

from collections import OrderedDict
from typing import Generic, TypeVar

from localstore.index.row import IndexRow

_SESSIONS = 256
"""The number of sessions that are remembered."""
_T = TypeVar("_T")


class LastWrites(Generic[_T]):
    """What this process knows of the documents that it wrote to last, each as long as nobody else changes it.

    The caller of each method must hold the session's lock.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[list[int], _T]] = OrderedDict()

    def of(self, row: IndexRow) -> _T | None:
        """Return what is known of a document; None if it is not as this process left it."""
        fingerprint, known = self._last.get(row["session_id"], (None, None))
        return known if fingerprint == row["fingerprint"] else None

    def remember(self, row: IndexRow, known: _T) -> None:
        """Remember something of a document that this process wrote. `row` is its new row."""
        session_id = row["session_id"]
        if session_id not in self._last and self.is_full:
            self._last.popitem(last=False)
        self._last[session_id] = (row["fingerprint"], known)

    def __contains__(self, session_id: str) -> bool:
        """Return whether something of this session is remembered, although it may have changed since."""
        return session_id in self._last

    @property
    def is_full(self) -> bool:
        """Whether another session takes the place of an earlier one."""
        return len(self._last) >= _SESSIONS

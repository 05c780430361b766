"""Remember what is known of a document after a write, so that the next write need not read it again."""

from collections import OrderedDict
from typing import Generic, TypeVar

from localstore.index.row import IndexRow

_SESSIONS = 256
"""The number of sessions that are remembered."""
_T = TypeVar("_T")


class LastWrites(Generic[_T]):
    """Remembers a value for each document that this process wrote to last, until somebody else changes the document.

    The caller of each method must hold the session's lock.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[list[int], _T]] = OrderedDict()

    def of(self, row: IndexRow) -> _T | None:
        """Return the value for a document; None if there is none, or if the document was changed since."""
        fingerprint, known = self._last.get(row["session_id"], (None, None))
        return known if fingerprint == row["fingerprint"] else None

    def remember(self, row: IndexRow, known: _T) -> None:
        """Remember a value for a document that this process wrote. `row` is its new row."""
        session_id = row["session_id"]
        if session_id not in self._last and self.is_full:
            self._last.popitem(last=False)
        self._last[session_id] = (row["fingerprint"], known)

    def __contains__(self, session_id: str) -> bool:
        """Return whether there is a value for this session. The document may have been changed since."""
        return session_id in self._last

    @property
    def is_full(self) -> bool:
        """Whether the value of another session would replace the oldest one."""
        return len(self._last) >= _SESSIONS

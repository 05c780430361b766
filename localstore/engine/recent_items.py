"""Remembers the newest items of sessions, so that their documents need not be searched for the id of a new item."""

from collections import OrderedDict
from collections.abc import Iterable

from localstore.index.row import IndexRow

REMEMBERED_ITEMS = 64
"""How many of the newest entries are searched for a repeated item_id, besides as many as are added."""
FEW = 8
"""How many new items at most are compared with what is remembered. For more, the stored entries are parsed."""
_SESSIONS = 256
"""The number of sessions whose items are remembered."""


class RecentItems:
    """The ids of the newest items of the sessions that this process wrote to last, as long as nobody else does.

    The caller of each method must hold the session's lock.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[list[int], list[str]]] = OrderedDict()

    def of(self, row: IndexRow) -> list[str] | None:
        """Return the ids of the newest items, empty if they are not known yet.

        Return None if the document is not as this process left it.
        """
        fingerprint, ids = self._last.get(row["session_id"], (None, []))
        return ids if fingerprint == row["fingerprint"] else None

    def remember(self, row: IndexRow, ids: Iterable[str]) -> None:
        """Remember these items, oldest first, for a document that this process wrote. `row` is its new row."""
        session_id = row["session_id"]
        if session_id not in self._last and len(self._last) >= _SESSIONS:
            self._last.popitem(last=False)
        self._last[session_id] = (row["fingerprint"], [*ids][-REMEMBERED_ITEMS - FEW :])

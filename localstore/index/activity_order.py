"""Sessions ordered by their last activity: all of them, those of each user, and those of each entity.

Rows change often, but a listing needs only one of these orders. Each order is therefore sorted only when it is used.
"""

import bisect
from collections import defaultdict
from typing import Literal

from localstore.index.row import IndexRow, activity, latest_plausible_time

Key = Literal["user_id", "entity_id"]


class _SortedSessions:
    __slots__ = ("changed", "entries", "times")

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []
        """(time of the last activity, session_id), oldest first."""
        self.times: dict[str, str] = {}
        """For each session in `entries`, the time that it is sorted by; see `row.activity`."""
        self.changed: set[str] = set()
        """Sessions whose rows changed since `entries` was sorted."""


class ActivityOrder:
    """Keeps the sessions of `rows` in order. Call `row_changed` after each change to that mapping."""

    def __init__(self, rows: dict[str, IndexRow]) -> None:
        self._rows = rows
        self._all = _SortedSessions()
        self._users: dict[str, _SortedSessions] = defaultdict(_SortedSessions)
        self._entities: dict[str, _SortedSessions] = defaultdict(_SortedSessions)

    def row_changed(self, session_id: str, old: IndexRow | None, new: IndexRow | None) -> None:
        """Note that the row of a session was added, changed or removed."""
        self._all.changed.add(session_id)
        user_id = entity_id = None
        if new is not None:
            user_id, entity_id = new.get("user_id"), new.get("entity_id")
            if user_id is not None:
                self._users[user_id].changed.add(session_id)
            if entity_id is not None:
                self._entities[entity_id].changed.add(session_id)
        if old is not None:
            if (before := old.get("user_id")) is not None and before != user_id:
                self._users[before].changed.add(session_id)
            if (before := old.get("entity_id")) is not None and before != entity_id:
                self._entities[before].changed.add(session_id)

    def of_user(self, user_id: str) -> set[str]:
        """Return the sessions of this user, and those that were the user's when the order was last sorted."""
        order = self._users.get(user_id)
        return set() if order is None else order.times.keys() | order.changed

    def by_activity(self) -> list[tuple[str, str]]:
        """Return (time of the last activity, session_id) of all sessions, oldest first."""
        return self._bring_up_to_date(self._all, None, "")

    def by_activity_of(self, key: Key, value: str) -> list[tuple[str, str]]:
        """Return (time of the last activity, session_id) of the sessions whose `key` is `value`, oldest first."""
        order = (self._users if key == "user_id" else self._entities).get(value)
        return [] if order is None else self._bring_up_to_date(order, key, value)

    def _bring_up_to_date(self, order: _SortedSessions, key: Key | None, value: str) -> list[tuple[str, str]]:
        changed, order.changed = order.changed, set()
        added = []
        latest = latest_plausible_time()
        many = len(changed) > 20 + len(order.entries) // 10
        if many:
            order.entries = [at for at in order.entries if at[1] not in changed]
        for session_id in changed:
            before = order.times.pop(session_id, None)
            if before is not None and not many:
                del order.entries[bisect.bisect_left(order.entries, (before, session_id))]
            row = self._rows.get(session_id)
            if row is not None and (key is None or row.get(key) == value):
                order.times[session_id] = activity(row, latest)
                added.append((order.times[session_id], session_id))
        if many:
            order.entries += added
            order.entries.sort()  # fast, because most entries are already in order
        else:
            for at in added:
                bisect.insort(order.entries, at)
        return order.entries

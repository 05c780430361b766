"""The sessions in the order of their activity: all, those of each user, those of each entity.

Rows change all the time and a listing wants one order, so each is brought up to date only when it is asked for.
"""

import bisect
from collections import defaultdict
from typing import Literal

from localstore.index.row import IndexRow

Key = Literal["user_id", "entity_id"]


class _Order:
    __slots__ = ("changed", "newest", "placed")

    def __init__(self) -> None:
        self.newest: list[tuple[str, str]] = []
        self.placed: dict[str, str] = {}
        """The time by which each session stands in `newest`."""
        self.changed: set[str] = set()


class ActivityOrder:
    """Follows the changes of `rows`, a mapping that others change; every change has to be told by `note`."""

    def __init__(self, rows: dict[str, IndexRow]) -> None:
        self._rows = rows
        self._all = _Order()
        self._users: dict[str, _Order] = defaultdict(_Order)
        self._entities: dict[str, _Order] = defaultdict(_Order)

    def note(self, session_id: str, old: IndexRow | None, new: IndexRow | None) -> None:
        """The row of a session changed."""
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
        """The sessions of this user, and those that were when the user's order was last brought up to date."""
        order = self._users.get(user_id)
        return set() if order is None else order.placed.keys() | order.changed

    def newest(self) -> list[tuple[str, str]]:
        """(updated_at, session_id) of all sessions, oldest first."""
        return self._sorted(self._all, None, "")

    def newest_with(self, key: Key, value: str) -> list[tuple[str, str]]:
        """The same, of the sessions with this value."""
        order = (self._users if key == "user_id" else self._entities).get(value)
        return [] if order is None else self._sorted(order, key, value)

    def _sorted(self, order: _Order, key: Key | None, value: str) -> list[tuple[str, str]]:
        changed, order.changed = order.changed, set()
        added = []
        many = len(changed) > 20 + len(order.newest) // 10
        if many:
            order.newest = [at for at in order.newest if at[1] not in changed]
        for session_id in changed:
            before = order.placed.pop(session_id, None)
            if before is not None and not many:
                del order.newest[bisect.bisect_left(order.newest, (before, session_id))]
            row = self._rows.get(session_id)
            if row is not None and (key is None or row.get(key) == value):
                order.placed[session_id] = row["updated_at"]
                added.append((row["updated_at"], session_id))
        if many:
            order.newest += added
            order.newest.sort()  # most of it is in order already
        else:
            for at in added:
                bisect.insort(order.newest, at)
        return order.newest

"""Sessions ordered by their last activity."""

import random
from typing import Any, cast

from localstore.index.activity_order import ActivityOrder
from localstore.index.row import IndexRow


def row(session_id: str, updated_at: str, **more: Any) -> IndexRow:
    return cast(IndexRow, {"session_id": session_id, "updated_at": updated_at, **more})


def test_the_orders_are_right_after_any_changes() -> None:
    """A few changes are sorted in one by one, and many at once; both ways give the same order."""
    rng = random.Random(7)
    rows: dict[str, IndexRow] = {}
    order = ActivityOrder(rows)
    for _ in range(200):
        for _ in range(rng.choice([1, 3, 80])):
            session_id = f"s{rng.randrange(60)}"
            old, new = rows.get(session_id), None
            if rng.random() < 0.8:
                user = rng.choice([{}, {"user_id": "alice"}, {"user_id": "bob"}])
                entity = rng.choice([{}, {"entity_id": "e"}])
                new = rows[session_id] = row(session_id, f"{rng.randrange(1000):04}", **user, **entity)
            else:
                rows.pop(session_id, None)
            order.row_changed(session_id, old, new)
        every = sorted((one["updated_at"], one["session_id"]) for one in rows.values())
        assert order.by_activity() == every
        for user_id in ("alice", "bob", "nobody"):
            assert order.by_activity_of("user_id", user_id) == [
                (at, session_id) for at, session_id in every if rows[session_id].get("user_id") == user_id
            ]
            sessions = {session_id for session_id, one in rows.items() if one.get("user_id") == user_id}
            assert sessions <= order.of_user(user_id)
        assert order.by_activity_of("entity_id", "e") == [
            (at, session_id) for at, session_id in every if rows[session_id].get("entity_id") == "e"
        ]

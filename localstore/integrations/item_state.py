"""The state of a session whose items bring it: read it, and change it by an item, whoever else writes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from localstore.errors import Conflict

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage
    from localstore.storage.items import Item

State = dict[str, Any]


def state_of(storage: SessionStorage, session_id: str, user_id: str | None = None) -> State:
    """Return the newest state of a session; {} if it has none, or belongs to another user than `user_id`."""
    session = storage.read(session_id, user_id=user_id, last_runs=0)
    return {} if session is None else dict(session.session_state or {})


def change_state(
    storage: SessionStorage,
    session_id: str,
    item_after: Callable[[State], Item],
    *,
    user_id: str | None = None,
    entity_id: str | None = None,
) -> None:
    """Add the item that `item_after` returns for the newest state, with the state after it.

    If somebody else writes to the session meanwhile, it is called again. Raises what it raises, and what
    `storage.append_items` raises. The session is created if it does not exist.
    """
    while True:
        revision = storage.revision(session_id)
        item = item_after(state_of(storage, session_id, user_id))
        try:
            storage.append_items(session_id, [item], user_id=user_id, entity_id=entity_id, expected_revision=revision)
        except Conflict:
            continue
        return

"""Keep the user memories of agno 2.x and 3.x, and its schema versions, in the sessions of a database.

The versions are the state of the session `agno-db`. The memories of a user are the items of its sub-session
`agno-db/memories/USER`.
"""

from collections.abc import Callable
from typing import Any

from localstore.engine.removal import with_removal
from localstore.format.values import to_json_value
from localstore.integrations.item_state import change_state, state_of
from localstore.models.joined_names import escaped_name
from localstore.models.times import now
from localstore.storage.contract import SessionStorage
from localstore.storage.items import Item, is_item
from localstore.storage.session_edit import Create, OpenSession
from localstore.storage.update import new_header

MAIN = "agno-db"
"""The session with the versions, which is no session of agno."""
_MEMORIES = f"{MAIN}/memories/"
_SOURCE = "agno"
_BEGINNING = "beginning"
"""The id of the first item of the main session."""


class MemorySessions:
    """Reads and updates memories and schema versions, as `SideFiles` does. Methods may raise the errors of the storage,
    and UnstorableValue for a value that JSON cannot hold."""

    def __init__(self, storage: SessionStorage) -> None:
        self._storage = storage

    def users(self) -> list[str | None]:
        """Return the ids of the users who have memories. None represents the memories without a user."""
        found = self._storage.sub_sessions(MAIN)
        return [info.user_id for info in found if info.session_id.startswith(_MEMORIES)]

    def memories(self, user_id: str | None = None) -> list[dict[str, Any]]:
        """Return the memories of one user, or of all users if `user_id` is None; an empty list if there are none."""
        ids = [*map(_session_id, sorted(self.users(), key=str))] if user_id is None else [_session_id(user_id)]
        return [item.data for each_id in ids for item in self._storage.items(each_id)]

    def change(self, user_id: str | None, work: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Replace the memories of a user with the result of `work`, which receives the present ones.

        None as `user_id` selects the memories without a user. `work` may be called several times. Only what differs is
        written.
        """

        def update(document: OpenSession) -> None:
            whole = document.whole()
            stored = {place: one for place, one in zip(whole.starts, whole.entries, strict=True) if is_item(one)}
            wanted = _by_id(work([one["data"] for one in stored.values()]))
            replaced: dict[int, dict[str, Any] | None] = {}
            for place, one in stored.items():
                memory = wanted.pop(one["item_id"], None)
                if memory != one["data"]:
                    replaced[place] = None if memory is None else {**one, "data": memory}
            added = [*map(_entry, wanted.values())]
            if replaced:
                gone = [stored[place]["item_id"] for place, entry in replaced.items() if entry is None]
                document.change(with_removal(document.header(), gone), replaced, added)
            elif added:
                document.append(added)

        def make(create: Create) -> None:
            entries = [*map(_entry, _by_id(work([])).values())]
            if entries:
                create(new_header(_session_id(user_id), "agent", None, user_id, now(), MAIN), entries)

        if not self._storage.revision(MAIN):
            about = Item({"about": "the user memories and the schema versions of agno"}, _SOURCE, _BEGINNING)
            self._storage.append_items(MAIN, [about])
        self._storage._documents().edit(_session_id(user_id), update, make)

    def clear(self) -> None:
        """Delete all memories of all users permanently."""
        for user in self.users():
            self._storage.delete_session(_session_id(user))

    def schema_version(self, table: str) -> str | None:
        """Return the stored version of one of agno's tables, or None if no version is stored for it."""
        version = state_of(self._storage, MAIN).get(table)
        return version if isinstance(version, str) else None

    def set_schema_version(self, table: str, version: str) -> None:
        """Store the version of one of agno's tables. Replaces an earlier version."""

        def item_after(state: dict[str, Any]) -> Item:
            return Item({"table": table, "version": version}, _SOURCE, session_state={**state, table: version})

        change_state(self._storage, MAIN, item_after)


def _session_id(user_id: str | None) -> str:
    return _MEMORIES if user_id is None else f"{_MEMORIES}{escaped_name(user_id)}"


def _by_id(memories: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    plain: list[dict[str, Any]] = to_json_value(memories, "memory")
    return {str(memory["memory_id"]): memory for memory in plain}


def _entry(memory: dict[str, Any]) -> dict[str, Any]:
    return Item(memory, _SOURCE, str(memory["memory_id"])).entry()

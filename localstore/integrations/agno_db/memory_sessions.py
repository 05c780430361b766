"""Keep the user memories of agno 2.x and 3.x, and its schema versions, in sessions.

The versions are the state of the session `agno-db`. The memories of a user are the items of its sub-session
`agno-db/memories/USER`. A folder may have files of earlier releases, too: what they hold is read along, and goes to the
sessions when it is changed.
"""

from collections.abc import Callable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localstore.engine.removal import Removals, with_removal
from localstore.format.values import to_json_value
from localstore.integrations.agno_db.side_files import SideFiles
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
    """Reads and updates memories and schema versions. Methods may raise the errors of the storage, and UnstorableValue
    for a value that JSON cannot hold."""

    def __init__(self, storage: SessionStorage, files: SideFiles | None = None) -> None:
        """Use the sessions of a storage, and the files of earlier releases in its folder."""
        self._storage = storage
        self._files = files

    def users(self) -> list[str | None]:
        """Return the ids of the users who have memories. None represents the memories without a user."""
        found = self._storage.sub_sessions(MAIN)
        users = [info.user_id for info in found if info.session_id.startswith(_MEMORIES)]
        return users if self._files is None else [*dict.fromkeys([*users, *self._files.users()])]

    def memories(self, user_id: str | None = None) -> list[dict[str, Any]]:
        """Return the memories of one user, or of all users if `user_id` is None; an empty list if there are none."""
        users = sorted(self.users(), key=str) if user_id is None else [user_id]
        return [memory for user in users for memory in self._of(user)]

    def _of(self, user_id: str | None) -> list[dict[str, Any]]:
        before = [] if self._files is None else self._files.memories(user_id)  # first: they go from here to the session
        found = [item.data for item in self._storage.items(_session_id(user_id))]
        known = {memory.get("memory_id") for memory in found}
        return [*(memory for memory in before if memory.get("memory_id") not in known), *found]

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
                _create(create, user_id, entries)

        self._take_memories(user_id)
        _edit(self._storage, user_id, update, make)

    def _take_memories(self, user_id: str | None) -> None:
        """Store the memories of a user that are in a file of an earlier release in the session, and remove the file."""
        files = self._files
        if files is None:
            return

        def keep(memories: list[dict[str, Any]]) -> None:
            entries = [*map(_entry, _with_ids(memories))]

            def update(document: OpenSession) -> None:
                known = {one["item_id"] for one in document.whole().entries if is_item(one)}
                removed = Removals(document.header())
                new = [one for one in entries if one["item_id"] not in known and one["item_id"] not in removed]
                if new:
                    document.append(new)
                else:
                    document.sync()

            if entries:
                _edit(files.storage, user_id, update, lambda create: _create(create, user_id, entries))

        files.take_memories(user_id, keep)

    def clear(self) -> None:
        """Delete all memories of all users permanently."""
        if self._files is not None:
            self._files.clear()
        for user in self.users():
            self._storage.delete_session(_session_id(user))

    def schema_version(self, table: str) -> str | None:
        """Return the stored version of one of agno's tables, or None if no version is stored for it."""
        before = {} if self._files is None else self._files.versions()
        version = (before | state_of(self._storage, MAIN)).get(table)
        return version if isinstance(version, str) else None

    def set_schema_version(self, table: str, version: str) -> None:
        """Store the version of one of agno's tables. Replaces an earlier version."""

        if (files := self._files) is not None:

            def keep(versions: dict[str, Any]) -> None:
                def item_with(state: dict[str, Any]) -> Item:
                    return Item({"versions": versions}, _SOURCE, session_state={**versions, **state})

                change_state(files.storage, MAIN, item_with)

            files.take_versions(keep)

        def item_after(state: dict[str, Any]) -> Item:
            return Item({"table": table, "version": version}, _SOURCE, session_state={**state, table: version})

        change_state(self._storage, MAIN, item_after)


def _edit(
    storage: SessionStorage,
    user_id: str | None,
    update: Callable[[OpenSession], None],
    make: Callable[[Create], None],
) -> None:
    """Change the session with the memories of a user, and make the main session before it, if there is none."""
    if not storage.revision(MAIN):
        about = Item({"about": "the user memories and the schema versions of agno"}, _SOURCE, _BEGINNING)
        storage.append_items(MAIN, [about])
    storage._documents().edit(_session_id(user_id), update, make)


def _create(create: Create, user_id: str | None, entries: list[dict[str, Any]]) -> None:
    """Make the session with the memories of a user."""
    create(new_header(_session_id(user_id), "agent", None, user_id, now(), MAIN), entries)


def _session_id(user_id: str | None) -> str:
    return _MEMORIES if user_id is None else f"{_MEMORIES}{escaped_name(user_id)}"


def _with_ids(memories: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return memories with an id for each, which a person may have left out or used twice."""
    ids: set[object] = set()
    result = []
    for number, memory in enumerate(memories):
        memory_id = memory.get("memory_id")
        if not isinstance(memory_id, str) or not memory_id or memory_id in ids:
            memory_id = str(uuid5(NAMESPACE_URL, f"localstore:memory:{number}:{memory}"))  # the same one each time
        ids.add(memory_id)
        result.append({**memory, "memory_id": memory_id})
    return result


def _by_id(memories: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    plain: list[dict[str, Any]] = to_json_value(memories, "memory")
    return {str(memory["memory_id"]): memory for memory in plain}


def _entry(memory: dict[str, Any]) -> dict[str, Any]:
    return Item(memory, _SOURCE, str(memory["memory_id"])).entry()

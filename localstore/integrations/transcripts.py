"""Transcripts of external agents: the entries of a session of a framework, and those of its subagents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from localstore.errors import Conflict
from localstore.integrations.item_state import State, state_of
from localstore.models.filter import Filter
from localstore.models.joined_names import escaped_name, plain_name
from localstore.storage.items import REMEMBERED_ITEMS, Item

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage

Entry = dict[str, Any]


class TranscriptKey(NamedTuple):
    """Names a transcript: that of a session, or with `subpath` that of one of its subagents. All may be any text."""

    framework: str
    project_key: str
    session_id: str
    subpath: str = ""

    @property
    def name(self) -> str:
        """The id of the session in localstore."""
        return f"{self.main}/{self.subpath}" if self.subpath else self.main

    @property
    def main(self) -> str:
        """The id of the main transcript's session in localstore."""
        return f"{project_name(self.framework, self.project_key)}{escaped_name(self.session_id)}"


def project_name(framework: str, project_key: str) -> str:
    """Return how the ids of all sessions of a project begin."""
    return f"{escaped_name(framework)}/{escaped_name(project_key)}/"


class Transcripts:
    """Keeps transcripts in a storage: each one is a session, and those of subagents are its sub-sessions. A caller may
    also make all of them sub-sessions of another session, with which they are deleted, restored and copied.

    An entry is an item, whose id is the entry's `uuid`. An entry whose `uuid` is stored already is ignored; one without
    a `uuid` is always added.
    """

    def __init__(self, storage: SessionStorage, user_id: str | None = None) -> None:
        """Keep the transcripts in `storage`. New ones belong to `user_id`."""
        self._storage = storage
        self._user_id = user_id

    def append(
        self,
        key: TranscriptKey,
        entries: Iterable[Entry],
        change: Callable[[State, list[Entry]], State] | None = None,
        part_of: str | None = None,
    ) -> None:
        """Add entries in their order: all of them, or none.

        `change` returns the new state of the session for the old one and the entries that are new. A new transcript is
        a sub-session of `part_of` or, without that, of its main transcript.
        """
        unique: dict[str, Item] = {}
        for entry in entries:
            item = _item(key, entry)
            unique.setdefault(item.item_id, item)
        items = list(unique.values())
        while items:
            revision = self._storage.revision(key.name)
            stored = {item.item_id for item in self._items(key, REMEMBERED_ITEMS + len(items))}
            new = [item for item in items if item.item_id not in stored]
            if not new:
                return
            if change is not None:
                before = self.state(key)
                state = change(before, [item.data for item in new])
                if state != before:
                    last = new[-1]
                    new[-1] = Item(last.data, last.source, last.item_id, last.created_at, state)
            try:
                self._storage.append_items(
                    key.name,
                    new,
                    user_id=self._user_id,
                    entity_id=key.project_key,
                    part_of=part_of or (key.main if key.subpath else None),
                    expected_revision=revision,
                )
            except Conflict:
                continue  # somebody else wrote meanwhile
            return

    def read(self, key: TranscriptKey) -> list[Entry]:
        """Return the entries of a transcript in their order; [] if there is none."""
        found: dict[str, Entry] = {}
        for item in self._items(key, None):
            found.setdefault(item.item_id, item.data)
        return list(found.values())

    def state(self, key: TranscriptKey) -> State:
        """Return the state of a transcript's session."""
        return state_of(self._storage, key.name, self._user_id)

    def sessions(self, framework: str, project_key: str) -> list[tuple[str, SessionInfo]]:
        """Return the ids of the sessions of a project that have a main transcript, with what a listing says of them."""
        begins = project_name(framework, project_key)
        found = self._storage.list_sessions(where=Filter(entity=project_key, user=self._user_id))
        names = [(one.session_id[len(begins) :], one) for one in found if one.session_id.startswith(begins)]
        return [(plain_name(name), one) for name, one in names if "/" not in name]

    def subpaths(self, key: TranscriptKey) -> list[str]:
        """Return the paths of the subagents' transcripts of a session."""
        begins = f"{key.main}/"
        main = self._storage.read(key.main, user_id=self._user_id, last_runs=0)
        if main is None:  # nothing says whose sub-sessions they are
            found = self._storage.list_sessions(where=Filter(entity=key.project_key, user=self._user_id))
        else:
            found = self._storage.sub_sessions(main.part_of or key.main, user_id=self._user_id)
        return sorted(one.session_id[len(begins) :] for one in found if one.session_id.startswith(begins))

    def delete(self, key: TranscriptKey) -> bool:
        """Delete a transcript permanently, and with a main transcript those of its subagents.

        Return False if there was nothing to delete.
        """
        paths = [] if key.subpath else self.subpaths(key)
        is_deleted = self._storage.delete_session(key.name, user_id=self._user_id)
        for path in paths:  # those whose main transcript was never written
            is_deleted = self._storage.delete_session(f"{key.main}/{path}", user_id=self._user_id) or is_deleted
        return is_deleted

    def _items(self, key: TranscriptKey, last: int | None) -> list[Item]:
        return self._storage.items(key.name, last, user_id=self._user_id, source=key.framework)


def milliseconds(info: SessionInfo) -> int:
    """Return when a session was last written to, in milliseconds since 1970."""
    return 0 if info.updated_at is None else round(info.updated_at.timestamp() * 1000)


def _item(key: TranscriptKey, entry: Entry) -> Item:
    uuid = entry.get("uuid")
    return Item(entry, key.framework, uuid) if isinstance(uuid, str) and uuid else Item(entry, key.framework)

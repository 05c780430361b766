"""A conversation store for Pydantic AI: `store = LocalConversationStore(JsonStorage("tmp/sessions"))`."""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic_ai.conversation_store import ConversationConflict, ConversationRecord, ConversationStore

from localstore.errors import Conflict
from localstore.integrations.pydantic_ai.entries import (
    SOURCE,
    chain,
    entries_by_id,
    entry_item,
    entry_of,
    last_record,
    record_item,
)
from localstore.models.filter import Filter
from localstore.storage.session_row import info_of
from localstore.storage.threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from pydantic_ai.conversation_store import ConversationEntry

    from localstore.storage.contract import SessionStorage
    from localstore.storage.items import Item

_REMEMBERED = 1024
"""Of how many entries this store remembers in which session they are."""
_TOLERANCE = timedelta(seconds=1)
"""How much older a session may seem than its record: its times are stored with less precision."""


class LocalConversationStore(ConversationStore):  # type: ignore[misc] # Pydantic AI may be absent
    """Keeps the conversations of Pydantic AI in any storage of localstore.

        store = LocalConversationStore(JsonStorage("tmp/sessions"))
        conversation = await store.load("trip") or Conversation(conversation_id="trip")
        result = await agent.run("Which train?", conversation=conversation)
        await store.save(result)

    A conversation is the session with its id, and its scope is the owner of the session. Each message is an entry, and
    each save adds a record; both are one write. A fork gets copies of the entries that it shares, under the same ids,
    so that each session is complete, and deleting one takes nothing from the others. A deleted conversation is in the
    trash of the storage. Many tasks, threads and processes may use the same storage. A write is finished even if its
    task is cancelled.

    Raises Pydantic AI's ConversationConflict, KeyError for an entry that does not exist, and OwnerMismatch for another
    scope than that of the stored session; UnstorableValue, DocumentBroken, LockTimeout, or OSError. What is stored then
    stays as it was.
    """

    def __init__(self, storage: SessionStorage) -> None:
        """Keep conversations in `storage`, such as `JsonStorage("tmp/sessions")`."""
        self.storage = storage
        self._sessions: OrderedDict[str, str] = OrderedDict()

    def __repr__(self) -> str:
        return f"LocalConversationStore({self.storage!r})"

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return the record of a conversation, or None. Only the end of the session is read."""
        return await run_in_thread(self._record, conversation_id, abandon=True)

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """Return the records, or those with this scope, newest first; at most `limit`."""
        return await run_in_thread(self._records, scope, limit, abandon=True)

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store a record and new entries in one write. Raises ConversationConflict."""
        await run_in_thread(self._write, record, list(new_entries), expected_revision)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Move a conversation with its entries to the trash. Raises ConversationConflict."""
        await run_in_thread(self._delete, conversation_id, expected_revision)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Return an entry. Raises KeyError."""
        (entry,) = await run_in_thread(self._history, entry_id, 1, abandon=True)
        return entry

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Return the entries up to `head_id`, oldest first; with `limit`, the last ones. Raises KeyError."""
        return [] if head_id is None else await run_in_thread(self._history, head_id, limit, abandon=True)

    def _record(self, conversation_id: str) -> ConversationRecord | None:
        record = last_record(self.storage.items(conversation_id, 1, source=SOURCE))
        if record is None:  # a merge may have put something else behind it
            record = last_record(self.storage.items(conversation_id, source=SOURCE))
        if record is not None:
            self._remember(conversation_id, record.head_id, *record.branches)
        return record

    def _records(self, scope: str | None, limit: int | None) -> list[ConversationRecord]:
        newest: list[ConversationRecord] = []
        for info in self.storage.sessions(Filter(user=scope)):
            if limit is not None and len(newest) >= limit:
                newest = sorted(newest, key=_saved_at, reverse=True)[:limit]
                if not newest or (info.updated_at or newest[-1].updated_at) + _TOLERANCE < newest[-1].updated_at:
                    break  # a session is never older than its record
            record = self._record(info.session_id)
            if record is not None and scope in (None, record.scope):
                newest.append(record)
        return sorted(newest, key=_saved_at, reverse=True)[:limit]

    def _write(self, record: ConversationRecord, new: list[ConversationEntry], expected: str | None) -> None:
        conversation_id = record.conversation_id
        while True:
            revision = self.storage.revision(conversation_id)
            stored = self._record(conversation_id)
            if (None if stored is None else stored.revision) != expected:
                raise ConversationConflict(conversation_id)
            shared = self._shared(record, stored, new)
            items = [*shared, *map(entry_item, new)]
            items.append(record_item(record, [item.item_id for item in items]))
            try:
                self.storage.append_items(conversation_id, items, user_id=record.scope, expected_revision=revision)
            except Conflict:
                if self.storage.revision(conversation_id) == revision:
                    raise  # another entry has the id of a new one
                continue
            self._remember(conversation_id, record.head_id)
            return

    def _shared(
        self, record: ConversationRecord, stored: ConversationRecord | None, new: list[ConversationEntry]
    ) -> list[Item]:
        """Return copies of the entries that the session has to share with another one, as a fork does.

        Raises ConversationConflict if the entry that the record builds upon does not exist.
        """
        base = record.head_id
        if any(entry.id == base for entry in new):
            base = new[0].parent_id
        if base is None or (stored is not None and base == stored.head_id):
            return []
        if base in entries_by_id(self.storage.items(record.conversation_id, source=SOURCE)):
            return []
        if record.forked_from is not None:
            self._remember(record.forked_from, base)
        try:
            return self._items(base, None)
        except KeyError:
            raise ConversationConflict(record.conversation_id) from None

    def _delete(self, conversation_id: str, expected: str) -> None:
        while True:
            found = info_of(self.storage, conversation_id)
            record = self._record(conversation_id)
            if record is None or record.revision != expected or found is None:
                raise ConversationConflict(conversation_id)
            problem = self.storage.trash([found]).problems.get(conversation_id)
            if problem is None:
                return
            if not isinstance(problem, Conflict):
                raise problem

    def _history(self, head: str, limit: int | None) -> list[ConversationEntry]:
        return [entry_of(item) for item in self._items(head, limit)]

    def _items(self, head: str, limit: int | None) -> list[Item]:
        """Return the items of the entries up to `head`, oldest first. Raises KeyError."""
        for session_id in self._candidates(head):
            wanted = None if limit is None else 2 * limit + 2  # a save adds at least one entry, and one record
            while True:
                items = self.storage.items(session_id, wanted, source=SOURCE)
                try:
                    found = chain(entries_by_id(items), head, limit)
                except KeyError:
                    if wanted is None or len(items) < wanted:
                        break
                    wanted *= 4
                    continue
                self._remember(session_id, head)
                return found
        raise KeyError(head)

    def _candidates(self, entry_id: str) -> Iterator[str]:
        """Yield the sessions that may have an entry: the one where it was last, then those that a search finds."""
        known = self._sessions.get(entry_id)
        if known is not None:
            yield known
        words = entry_id.replace('"', " ")
        if any(map(str.isalnum, words)):
            hits = self.storage.search(f'"{words}"', limit=None)
            yield from dict.fromkeys(hit.session_id for hit in hits if hit.session_id != known)

    def _remember(self, session_id: str, *entry_ids: str | None) -> None:
        for entry_id in entry_ids:
            if entry_id is not None:
                self._sessions[entry_id] = session_id
                self._sessions.move_to_end(entry_id)
        while len(self._sessions) > _REMEMBERED:
            self._sessions.popitem(last=False)


def _saved_at(record: ConversationRecord) -> datetime:
    updated_at: datetime = record.updated_at
    return updated_at

"""A session for the OpenAI Agents SDK: `Runner.run(agent, "Hello", session=LocalSession("trip", storage))`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

from localstore.errors import Conflict, SessionNotFound
from localstore.storage.items import Item
from localstore.storage.threads import run_in_thread

if TYPE_CHECKING:
    from agents import SessionSettings, TResponseInputItem

    from localstore.storage.contract import SessionStorage

SOURCE = "openai-agents"
"""The `source` of the items."""


class LocalSession:
    """A session of the OpenAI Agents SDK that is kept in any storage of localstore.

        session = LocalSession("trip", JsonStorage("tmp/sessions"))
        result = await Runner.run(agent, "Which train?", session=session)

    Implements the SDK's `Session`. Each item is an entry of the session, and comes back exactly as it was given. Many
    tasks, threads and processes may use one session. A write is finished even if its task is cancelled.

    Raises UnstorableValue for an item that JSON cannot hold, OwnerMismatch for another user's session, DocumentBroken,
    LockTimeout, or OSError. What is stored then stays as it was.
    """

    def __init__(
        self,
        session_id: str,
        storage: SessionStorage,
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        session_settings: SessionSettings | None = None,
    ) -> None:
        """Refer to a session. It is created when the first items are added.

        Args:
            session_id: The id of the session.
            storage: Where the session is kept, such as `JsonStorage("tmp/sessions")`.
            user_id: The owner. Items of a session that belongs to somebody else are not returned.
            entity_id: The name of the agent, which a new session gets as its `agent_id`.
            session_settings: The SDK's settings, such as `SessionSettings(limit=20)`.
        """
        self.session_id = session_id
        self.session_settings = session_settings
        self.storage = storage
        self._user_id = user_id
        self._entity_id = entity_id

    def __repr__(self) -> str:
        return f"LocalSession({self.session_id!r}, {self.storage!r})"

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the items, oldest first: the last `limit` ones, else as many as the settings say, else all.

        A negative limit returns all, as in the SDK's `SQLiteSession`.
        """
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        return await run_in_thread(self._read, None if limit is None or limit < 0 else limit, abandon=True)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items: all of them, or none."""
        if items:
            await run_in_thread(self._add, _new(items))

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last item and return it; return None if there is none."""
        return await run_in_thread(self._pop)

    async def clear_session(self) -> None:
        """Remove all items. The session keeps its name, its tags, and what agents of other frameworks stored there."""
        await run_in_thread(self._replace, [])

    async def replace_items(self, items: list[TResponseInputItem]) -> None:
        """Replace all items by others in one write: no reader and no crash finds the session without either."""
        await run_in_thread(self._replace, _new(items))

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        """Replace all items: the SDK's `OpenAIResponsesCompactionSession` prefers this to clearing and adding."""
        await self.replace_items(items)
        return True

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: Callable[[TResponseInputItem], bool] | None = None
    ) -> Any:
        """Return the last `limit` items for the SDK's compaction, with a function that replaces some of the last.

        That function returns False, and changes nothing, if the session was changed meanwhile. Then it also removes
        the oldest items as long as `prune_prefix` is true for them.
        """
        from agents.memory.session import _CompactionSnapshot

        revision, stored = await run_in_thread(self._snapshot, abandon=True)
        kept = max(0, len(stored) - limit)

        async def replace_suffix(start: int, items: list[TResponseInputItem]) -> bool:
            before = stored[: kept + start]
            if len(before) == len(stored):
                return False
            if prune_prefix is not None:
                before = list(dropwhile(lambda item: prune_prefix(item.data), before))
            return await run_in_thread(self._replace_if, revision, [*before, *_new(items)])

        return _CompactionSnapshot([item.data for item in stored[kept:]], kept == 0, replace_suffix)

    def _read(self, last: int | None) -> list[Any]:
        found = self.storage.items(self.session_id, last, user_id=self._user_id, source=SOURCE)
        return [item.data for item in found]

    def _add(self, items: list[Item]) -> None:
        self.storage.append_items(self.session_id, items, user_id=self._user_id, entity_id=self._entity_id)

    def _pop(self) -> Any:
        try:
            item = self.storage.pop_item(self.session_id, user_id=self._user_id, source=SOURCE)
        except SessionNotFound:
            return None
        return None if item is None else item.data

    def _replace(self, items: list[Item]) -> None:
        try:
            self.storage.replace_items(self.session_id, items, user_id=self._user_id, source=SOURCE)
        except SessionNotFound:
            if items:
                self._add(items)

    def _snapshot(self) -> tuple[str, list[Item]]:
        revision = self.storage.revision(self.session_id)  # first, so that a write during the read is noticed
        return revision, self.storage.items(self.session_id, user_id=self._user_id, source=SOURCE)

    def _replace_if(self, revision: str, items: list[Item]) -> bool:
        try:
            self.storage.replace_items(
                self.session_id, items, user_id=self._user_id, expected_revision=revision, source=SOURCE
            )
        except (Conflict, SessionNotFound):
            return False
        return True


def _new(items: Iterable[Any]) -> list[Item]:
    return [Item(item, SOURCE) for item in items]

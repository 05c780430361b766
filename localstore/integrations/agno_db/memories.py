"""The user memories and the schema versions of a `LocalDb`, as agno's databases give them."""

import time
from typing import Any
from uuid import uuid4

from agno.db.schemas import UserMemory

from localstore.engine.engine import Engine
from localstore.integrations.agno_db.reader import sorted_by
from localstore.integrations.agno_db.side_files import Files


class Memories:
    """Memories belong to their users: one of another user is neither returned nor changed when a `user_id` is given."""

    def __init__(self, store: Engine) -> None:
        self._files = Files(store)

    def upsert_user_memory(self, memory: Any, deserialize: bool | None = True) -> Any:
        """Store a memory: a new one, or in the place of the one of its user with its `memory_id`."""
        return self._store_memory(memory, deserialize, int(time.time()))

    def upsert_memories(
        self, memories: list[Any], deserialize: bool | None = True, preserve_updated_at: bool = False
    ) -> list[Any]:
        """Store several memories, one after the other."""
        now = None if preserve_updated_at else int(time.time())
        return [self._store_memory(memory, deserialize, now) for memory in memories if memory is not None]

    def _store_memory(self, memory: Any, deserialize: bool | None, now: int | None) -> Any:
        if memory.memory_id is None:
            memory.memory_id = str(uuid4())
        record = memory.to_dict()
        if now is not None:
            record["updated_at"] = now

        def put(memories: list[dict[str, Any]]) -> list[dict[str, Any]]:
            if all(other.get("memory_id") != memory.memory_id for other in memories):
                return [*memories, record]
            return [record if other.get("memory_id") == memory.memory_id else other for other in memories]

        self._files.change(memory.user_id, put)
        return UserMemory.from_dict(record) if deserialize else record

    def get_user_memory(self, memory_id: str, deserialize: bool | None = True, user_id: str | None = None) -> Any:
        """A memory, None when there is none, or not of this user."""
        for record in self._files.memories(user_id):
            if record.get("memory_id") == memory_id:
                return UserMemory.from_dict(record) if deserialize else record
        return None

    def get_user_memories(
        self,
        user_id: str | None = None,
        agent_id: str | None = None,
        team_id: str | None = None,
        topics: list[str] | None = None,
        search_content: str | None = None,
        limit: int | None = None,
        page: int | None = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        deserialize: bool | None = True,
    ) -> Any:
        """The memories that fit; without `deserialize` as mappings, and how many fit before `limit` and `page`."""

        def fits(record: dict[str, Any]) -> bool:
            return (
                (agent_id is None or record.get("agent_id") == agent_id)
                and (team_id is None or record.get("team_id") == team_id)
                and (topics is None or bool(set(topics) & set(record.get("topics") or ())))
                and (search_content is None or search_content.lower() in str(record.get("memory", "")).lower())
            )

        records = [record for record in self._files.memories(user_id) if fits(record)]
        total = len(records)
        if sort_by is not None:
            records = sorted_by(records, sort_by, sort_order, dict.get)
        if limit is not None:
            start = ((page or 1) - 1) * limit
            records = records[start : start + limit]
        return [UserMemory.from_dict(record) for record in records] if deserialize else (records, total)

    def get_all_memory_topics(self, user_id: str | None = None) -> list[str]:
        """The topics of the memories, each once."""
        topics = (record.get("topics") for record in self._files.memories(user_id))
        return list(dict.fromkeys(topic for some in topics if isinstance(some, list) for topic in some))

    def get_user_memory_stats(
        self, limit: int | None = None, page: int | None = None, user_id: str | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """How many memories each user has, and when the last one was changed; the last changed first."""
        stats: dict[str, dict[str, Any]] = {}
        for record in self._files.memories(user_id):
            user = record.get("user_id")
            if user:
                empty = {"user_id": user, "total_memories": 0, "last_memory_updated_at": 0}
                mine = stats.setdefault(user, empty)
                mine["total_memories"] += 1
                mine["last_memory_updated_at"] = max(mine["last_memory_updated_at"], _seconds(record))
        rows = sorted(stats.values(), key=lambda mine: mine["last_memory_updated_at"], reverse=True)
        start = ((page or 1) - 1) * (limit or 0)
        return rows[start : None if limit is None else start + limit], len(rows)

    def delete_user_memory(self, memory_id: str, user_id: str | None = None) -> None:
        """Remove a memory; of another user than `user_id`, it stays."""
        self.delete_user_memories([memory_id], user_id)

    def delete_user_memories(self, memory_ids: list[str], user_id: str | None = None) -> None:
        """Remove several memories; those of other users than `user_id` stay."""
        for user in self._files.users() if user_id is None else [user_id]:
            self._files.change(user, lambda memories: [m for m in memories if m.get("memory_id") not in memory_ids])

    def clear_memories(self) -> None:
        """Remove all memories of all users."""
        self._files.clear()

    def get_latest_schema_version(self, table_name: str = "") -> str:
        """The version that was stored for a table of agno's, else 2.0.0, as agno takes it to be."""
        return self._files.schema_version(table_name) or "2.0.0"

    def upsert_schema_version(self, table_name: str = "", version: str = "") -> None:
        """Store the version of a table of agno's."""
        self._files.set_schema_version(table_name, version)


def _seconds(record: dict[str, Any]) -> int:
    value = record.get("updated_at")
    return value if isinstance(value, int) else 0

"""The methods of `LocalDb` for user memories and schema versions."""

import time
from typing import Any
from uuid import uuid4

from agno.db.schemas import UserMemory

from localstore.engine.engine import Engine
from localstore.integrations.agno_db.reader import sorted_by
from localstore.integrations.agno_db.side_files import SideFiles


class Memories:
    """User memories and schema versions, in small files beside the sessions.

    A memory belongs to its user: a method with a `user_id` neither returns nor changes memories of other users.
    """

    def __init__(self, engine: Engine) -> None:
        self._files = SideFiles(engine)

    def upsert_user_memory(self, memory: Any, deserialize: bool | None = True) -> Any:
        """Store a memory. It replaces the memory of the same user with the same `memory_id`.

        A memory without an id gets one. `updated_at` becomes the present time.
        """
        return self._store_memory(memory, deserialize, int(time.time()))

    def upsert_memories(
        self, memories: list[Any], deserialize: bool | None = True, preserve_updated_at: bool = False
    ) -> list[Any]:
        """Store several memories, one after the other. `preserve_updated_at` keeps their times."""
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
        """Return a memory, or None if there is none, or if it belongs to another user."""
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
        """Return the memories that match; without `deserialize` as mappings, with the number of all matches.

            memories = db.get_user_memories(user_id="alice", topics=["travel"], limit=10)

        Args:
            user_id: Only memories of this user.
            agent_id: Only memories of this agent.
            team_id: Only memories of this team.
            topics: Only memories with at least one of these topics.
            search_content: Only memories that contain this text, in upper or lower case.
            limit: How many to return at most.
            page: Which page of `limit` memories to return; the first one is 1.
            sort_by: The field to sort by.
            sort_order: "asc"; anything else is descending.
            deserialize: Whether to return objects of agno; otherwise mappings and their total number.
        """

        def matches(record: dict[str, Any]) -> bool:
            return (
                (agent_id is None or record.get("agent_id") == agent_id)
                and (team_id is None or record.get("team_id") == team_id)
                and (topics is None or bool(set(topics) & set(record.get("topics") or ())))
                and (search_content is None or search_content.lower() in str(record.get("memory", "")).lower())
            )

        records = [record for record in self._files.memories(user_id) if matches(record)]
        total = len(records)
        if sort_by is not None:
            records = sorted_by(records, sort_by, sort_order, dict.get)
        if limit is not None:
            start = ((page or 1) - 1) * limit
            records = records[start : start + limit]
        return [UserMemory.from_dict(record) for record in records] if deserialize else (records, total)

    def get_all_memory_topics(self, user_id: str | None = None) -> list[str]:
        """Return the topics of the memories, each once."""
        lists = (record.get("topics") for record in self._files.memories(user_id))
        return list(dict.fromkeys(topic for topics in lists if isinstance(topics, list) for topic in topics))

    def get_user_memory_stats(
        self, limit: int | None = None, page: int | None = None, user_id: str | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """Return for each user the number of memories and the time of the last change, and the number of users.

        The user whose memories changed last comes first.
        """
        stats: dict[str, dict[str, Any]] = {}
        for record in self._files.memories(user_id):
            user = record.get("user_id")
            if user:
                empty = {"user_id": user, "total_memories": 0, "last_memory_updated_at": 0}
                counts = stats.setdefault(user, empty)
                counts["total_memories"] += 1
                counts["last_memory_updated_at"] = max(counts["last_memory_updated_at"], _updated_at(record))
        rows = sorted(stats.values(), key=lambda counts: counts["last_memory_updated_at"], reverse=True)
        start = ((page or 1) - 1) * (limit or 0)
        return rows[start : None if limit is None else start + limit], len(rows)

    def delete_user_memory(self, memory_id: str, user_id: str | None = None) -> None:
        """Delete a memory. With a `user_id`, a memory of another user stays."""
        self.delete_user_memories([memory_id], user_id)

    def delete_user_memories(self, memory_ids: list[str], user_id: str | None = None) -> None:
        """Delete several memories. With a `user_id`, memories of other users stay."""
        for user in self._files.users() if user_id is None else [user_id]:
            self._files.change(user, lambda memories: [m for m in memories if m.get("memory_id") not in memory_ids])

    def clear_memories(self) -> None:
        """Delete all memories of all users."""
        self._files.clear()

    def get_latest_schema_version(self, table_name: str = "") -> str:
        """Return the stored version of one of agno's tables, or 2.0.0, agno's default."""
        return self._files.schema_version(table_name) or "2.0.0"

    def upsert_schema_version(self, table_name: str = "", version: str = "") -> None:
        """Store the version of one of agno's tables."""
        self._files.set_schema_version(table_name, version)


def _updated_at(record: dict[str, Any]) -> int:
    value = record.get("updated_at")
    return value if isinstance(value, int) else 0

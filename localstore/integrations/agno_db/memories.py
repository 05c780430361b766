"""The methods of `LocalDb` for user memories and schema versions."""

import time
from typing import Any
from uuid import uuid4

from agno.db.schemas import UserMemory

from localstore.format.agno_db.messages import to_seconds
from localstore.integrations.agno_db.listing import page_of, sorted_by
from localstore.integrations.agno_db.memory_sessions import MemorySessions


class Memories:
    """The methods of `LocalDb` that read and write user memories and schema versions.

    They are stored in sessions. A memory belongs to its user: methods that receive a
    `user_id` neither return nor change memories of other users.
    """

    def __init__(self, kept: MemorySessions) -> None:
        self._kept = kept

    def upsert_user_memory(self, memory: Any, deserialize: bool | None = True) -> Any:
        """Store a memory. It replaces the memory of the same user with the same `memory_id`.

        If `memory` has no id, a new one is set on it. The stored `updated_at` is the present time. Return the stored
        memory as a new object, or as a mapping if `deserialize` is false.
        """
        return self._store_memory(memory, deserialize, int(time.time()))

    def upsert_memories(
        self, memories: list[Any], deserialize: bool | None = True, preserve_updated_at: bool = False
    ) -> list[Any]:
        """Store several memories in order, skipping None. Return them as `upsert_user_memory` does.

        If `preserve_updated_at` is true, they keep their `updated_at`.
        """
        now = None if preserve_updated_at else int(time.time())
        return [self._store_memory(memory, deserialize, now) for memory in memories if memory is not None]

    def _store_memory(self, memory: Any, deserialize: bool | None, now: int | None) -> Any:
        if memory.memory_id is None:
            memory.memory_id = str(uuid4())
        record = memory.to_dict()
        if now is not None:
            record["updated_at"] = now
        elif "updated_at" in record:
            record["updated_at"] = to_seconds(record["updated_at"])

        def put(memories: list[dict[str, Any]]) -> list[dict[str, Any]]:
            if all(other.get("memory_id") != memory.memory_id for other in memories):
                return [*memories, record]
            return [record if other.get("memory_id") == memory.memory_id else other for other in memories]

        self._kept.change(memory.user_id, put)
        return UserMemory.from_dict(record) if deserialize else record

    def get_user_memory(self, memory_id: str, deserialize: bool | None = True, user_id: str | None = None) -> Any:
        """Return a memory, or None if there is none or if it belongs to a user other than `user_id`.

        If `deserialize` is false, return a mapping.
        """
        for record in self._kept.memories(user_id):
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
        """Return a list of the memories that match.

        If `deserialize` is false, return a pair: a list of mappings, and the number of matches on all pages.

            memories = db.get_user_memories(user_id="alice", topics=["travel"], limit=10)

        Args:
            user_id: Only memories of this user.
            agent_id: Only memories of this agent.
            team_id: Only memories of this team.
            topics: Only memories with at least one of these topics.
            search_content: Only memories that contain this text, in upper or lower case.
            limit: The maximum number of memories to return.
            page: The page of `limit` memories to return, starting with 1.
            sort_by: The field to sort by.
            sort_order: "asc" for ascending order; anything else is descending.
            deserialize: Whether to return objects of agno.

        Raises ValueError if `page` is less than 1 or if it is passed without `limit`.
        """

        def matches(record: dict[str, Any]) -> bool:
            return (
                (agent_id is None or record.get("agent_id") == agent_id)
                and (team_id is None or record.get("team_id") == team_id)
                and (topics is None or bool(set(topics) & set(record.get("topics") or ())))
                and (search_content is None or search_content.lower() in str(record.get("memory", "")).lower())
            )

        records = [record for record in self._kept.memories(user_id) if matches(record)]
        total = len(records)
        if sort_by is not None:
            records = sorted_by(records, sort_by, sort_order, dict.get)
        records = page_of(records, limit, page)
        return [UserMemory.from_dict(record) for record in records] if deserialize else (records, total)

    def get_all_memory_topics(self, user_id: str | None = None) -> list[str]:
        """Return the topics of the memories of a user, or of all users if `user_id` is None, without duplicates."""
        lists = (record.get("topics") for record in self._kept.memories(user_id))
        return list(dict.fromkeys(topic for topics in lists if isinstance(topics, list) for topic in topics))

    def get_user_memory_stats(
        self, limit: int | None = None, page: int | None = None, user_id: str | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """Return a pair: one mapping for each user who has memories, and the number of these users.

        A mapping has the keys `user_id`, `total_memories` and `last_memory_updated_at` (seconds since 1970; 0 if
        unknown). The user whose memories changed last comes first. `limit` is the maximum number of mappings, and
        `page` the page of `limit` mappings, starting with 1. If `user_id` is not None, only this user is counted.

        Raises ValueError if `page` is less than 1 or if it is passed without `limit`.
        """
        stats: dict[str, dict[str, Any]] = {}
        for record in self._kept.memories(user_id):
            user = record.get("user_id")
            if user:
                empty = {"user_id": user, "total_memories": 0, "last_memory_updated_at": 0}
                counts = stats.setdefault(user, empty)
                counts["total_memories"] += 1
                counts["last_memory_updated_at"] = max(counts["last_memory_updated_at"], _updated_at(record))
        rows = sorted(stats.values(), key=lambda counts: counts["last_memory_updated_at"], reverse=True)
        return page_of(rows, limit, page), len(rows)

    def delete_user_memory(self, memory_id: str, user_id: str | None = None) -> None:
        """Delete a memory, if there is one. If `user_id` is not None, a memory of another user remains."""
        self.delete_user_memories([memory_id], user_id)

    def delete_user_memories(self, memory_ids: list[str], user_id: str | None = None) -> None:
        """Delete several memories. If `user_id` is not None, memories of other users remain."""
        for user in self._kept.users() if user_id is None else [user_id]:
            self._kept.change(user, lambda memories: [m for m in memories if m.get("memory_id") not in memory_ids])

    def clear_memories(self) -> None:
        """Delete all memories of all users."""
        self._kept.clear()

    def get_latest_schema_version(self, table_name: str = "") -> str:
        """Return the stored version of one of agno's tables, or "2.0.0", agno's default, if none is stored."""
        return self._kept.schema_version(table_name) or "2.0.0"

    def upsert_schema_version(self, table_name: str = "", version: str = "") -> None:
        """Store the version of one of agno's tables. Replaces an earlier version."""
        self._kept.set_schema_version(table_name, version)


def _updated_at(record: dict[str, Any]) -> int:
    value = record.get("updated_at")
    return value if isinstance(value, int) else 0

"""User memories and schema versions: `LocalDb` returns what agno's own JsonDb returns."""

from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from agno.db.json import JsonDb
from agno.db.schemas import UserMemory

from localstore.errors import UnstorableValue
from localstore.integrations.agno_db import LocalDb
from tests.agno_db.parts import DATABASE, opened, raises


def memory(memory_id: str | None, text: str, user_id: str | None = "alice", **more: Any) -> UserMemory:
    return UserMemory(memory=text, memory_id=memory_id, user_id=user_id, **more)


def both(folder: Path) -> tuple[LocalDb, JsonDb]:
    mine, theirs = opened(folder / "store"), JsonDb(str(folder / "twin"))
    for db in (mine, theirs):
        db.upsert_user_memory(memory("m1", "Likes trains", topics=["travel"], agent_id="a1"))
        db.upsert_user_memory(memory("m2", "Lives in Linz", topics=["home", "travel"], input="hi"))
        db.upsert_user_memory(memory("m3", "Likes tea", "bob", team_id="t1"))
        db.upsert_user_memory(memory("m4", "Nobody's", None))
    return mine, theirs


def case_memories_of_a_folder_are_brought_to_another_store(folder: Path) -> None:
    """Their times became text: a listing did not sort them, and the statistics did not count them."""
    old, new = LocalDb(folder / "old"), opened(folder / "new")
    for number, user in enumerate(["alice", "alice", "bob", None]):
        old.upsert_user_memory(memory(f"m{number}", f"Likes {number}", user, topics=["travel"]))
    for _ in range(2):
        new.upsert_memories(old.get_user_memories(), preserve_updated_at=True)
    records = [db.get_user_memories(deserialize=False)[0] for db in (old, new)]
    assert sorted(records[0], key=str) == sorted(records[1], key=str)
    assert len(records[1]) == 4
    stats = [{one["user_id"]: one for one in db.get_user_memory_stats()[0]} for db in (old, new)]
    assert stats[0] == stats[1]
    assert all(one["last_memory_updated_at"] for one in stats[1].values())


def case_memories_are_as_in_agnos_own_store(folder: Path) -> None:
    mine, theirs = both(folder)
    for filters in (
        {},
        {"user_id": "alice"},
        {"user_id": "nobody"},
        {"agent_id": "a1"},
        {"team_id": "t1"},
        {"topics": ["travel"]},
        {"search_content": "likes"},
        {"user_id": "alice", "sort_by": "memory_id"},
        {"user_id": "alice", "sort_by": "memory_id", "sort_order": "asc", "limit": 1, "page": 2},
    ):
        found = mine.get_user_memories(**filters)
        key = lambda one: one.memory_id  # noqa: E731
        others = theirs.get_user_memories(**filters)
        if "sort_by" not in filters:
            found, others = sorted(found, key=key), sorted(others, key=key)
        assert [(one.memory_id, one.memory, one.topics, one.user_id, one.input) for one in found] == [
            (one.memory_id, one.memory, one.topics, one.user_id, one.input) for one in others
        ]
        assert mine.get_user_memories(**filters, deserialize=False)[1] == len(found) or "limit" in filters
    assert sorted(mine.get_all_memory_topics()) == ["home", "travel"]
    assert {one["user_id"]: one["total_memories"] for one in mine.get_user_memory_stats()[0]} == {"alice": 2, "bob": 1}
    assert mine.get_user_memory_stats(limit=1)[1] == 2
    assert mine.get_user_memory("m2").memory == "Lives in Linz"
    assert mine.get_user_memory("none") is None
    for call in (mine.get_user_memories, mine.get_user_memory_stats):
        raises(ValueError, partial(call, page=2))
        raises(ValueError, partial(call, limit=1, page=0))


def case_memories_are_changed_and_deleted(folder: Path) -> None:
    mine, _ = both(folder)
    changed = mine.get_user_memory("m1")
    changed.memory = "Loves trains"
    mine.upsert_user_memory(changed)
    assert [one.memory for one in mine.get_user_memories("alice")] == ["Loves trains", "Lives in Linz"]
    mine.delete_user_memory("m1", user_id="bob")
    assert mine.get_user_memory("m1", user_id="bob") is None
    assert mine.get_user_memory("m1", user_id="alice") is not None
    mine.delete_user_memory("m1")
    mine.delete_user_memories(["m2", "m3"], user_id="bob")
    assert sorted(one.memory_id for one in mine.get_user_memories()) == ["m2", "m4"]
    mine.clear_memories()
    assert mine.get_user_memories() == []


def case_memories_of_odd_users_are_apart(folder: Path) -> None:
    db = opened(folder / "store")
    for user in ("../x", "_nobody", "a/b", "\u00c4", "a%2Fb"):
        db.upsert_user_memory(memory(None, f"of {user}", user))
        assert [one.memory for one in db.get_user_memories(user)] == [f"of {user}"]
    db.upsert_user_memory(memory(None, "of nobody", None))
    assert len(db.get_user_memories()) == 6
    assert db.get_sessions() == []


def case_eight_threads_keep_eight_memories(folder: Path) -> None:
    threads = [
        Thread(target=lambda number=number: opened(folder).upsert_user_memory(memory(f"m{number}", "x")))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened(folder).get_user_memories("alice")) == 8


def case_a_memory_that_cannot_be_stored_changes_nothing(folder: Path) -> None:
    mine, _ = both(folder)
    before = mine.get_user_memories(deserialize=False)
    raises(UnstorableValue, lambda: mine.upsert_user_memory(memory("m9", "x", topics=[object()])))
    assert mine.get_user_memories(deserialize=False) == before


def case_schema_versions_are_kept(folder: Path) -> None:
    db = opened(folder)
    assert db.get_latest_schema_version("agno_sessions") == "2.0.0"
    db.upsert_schema_version("agno_sessions", "3.0.0")
    db.upsert_schema_version("agno_memories", "2.5.0")
    assert opened(folder).get_latest_schema_version("agno_sessions") == "3.0.0"
    assert db.get_latest_schema_version("agno_memories") == "2.5.0"


def case_memories_and_versions_leave_nothing_to_complain_of(folder: Path) -> None:
    """In a database they are sessions: `check` advised to remove them, as parts of a session that did not exist."""
    db = opened(folder)
    db.upsert_user_memory(memory("m1", "Likes trains"))
    db.upsert_schema_version("agno_sessions", "3.0.0")
    storage: Any = db.storage
    assert [*(storage.check() if DATABASE else ())] == []
    assert db.get_sessions() == []
    db.clear_memories()
    assert db.get_user_memories() == []
    assert db.get_latest_schema_version("agno_sessions") == "3.0.0"

"""A check of a database names what does not fit together."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from localstore import Item
from localstore.databases.database_storage import DatabaseStorage
from localstore.databases.mongo import MongoDbStorage
from localstore.databases.sql import SqliteStorage
from tests.contract.runs import answered, asked
from tests.contract.storages import name_of
from tests.contract.test_copying import fill
from tests.effort import ci_only
from tests.mongo import mongo_url


def problems(storage: DatabaseStorage) -> list[tuple[str, str]]:
    return [(one.path.rpartition(", ")[2], one.problem) for one in storage.check()]


def test_a_sound_store_has_no_findings(tmp_path: Path) -> None:
    with SqliteStorage(db_file=tmp_path / "a.db") as storage:
        fill(storage)
        storage.append("grown", asked("r1"))
        storage.append("grown", answered("r1"))
        storage.append("grown", answered("r2"))
        storage.rate("grown", "r1", "bad")
        storage.remove_run("grown", "r1")
        storage.fork("trip", new_id="fork")
        storage.undo("fork")
        storage.trash("items")
        found = storage.check()
        assert list(found) == []
        assert found.sessions == len(storage) == 5


def test_a_sub_session_without_its_session_is_a_note(tmp_path: Path) -> None:
    """Listings leave it out, so nobody would see it."""
    with SqliteStorage(db_file=tmp_path / "a.db") as storage:
        storage.append_items("s/a", [Item(1)], part_of="s")
        assert problems(storage) == [("session 's/a'", "is a sub-session of 's', which does not exist")]
        storage.append("s", answered("r1"))
        assert problems(storage) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "DELETE FROM agent_sessions_entries WHERE session_id = 's' AND position = 1",
            "has 1 entries, and its row says 2",
        ),
        (
            "UPDATE agent_sessions_entries SET content = replace(content, 'completed', 'error') WHERE position = 1",
            "has a row that differs from its entries in overview",
        ),
        (
            'UPDATE agent_sessions_entries SET content = \'{"type": "run"}\' WHERE position = 1',
            'cannot be read: "created_at" must be a time in history[1]',
        ),
        (
            "UPDATE agent_sessions SET facts = replace(facts, '\"version\":1', '\"version\":9')",
            "has schema version 9, and this localstore reads versions up to 1",
        ),
        ("DELETE FROM agent_sessions_entries", "has 0 entries, and its row says 2"),
        ("DELETE FROM agent_sessions", "has entries, and no session to which they belong: a deletion was interrupted"),
    ],
)
def test_what_was_changed_from_outside_is_named(tmp_path: Path, statement: str, expected: str) -> None:
    with SqliteStorage(db_file=tmp_path / "a.db") as storage:
        storage.append("s", answered("r1"), user_id="alice")
        storage.append("s", answered("r2"))
        with sqlite3.connect(tmp_path / "a.db") as connection:
            connection.execute(statement)
        connection.close()
        assert problems(storage) == [("session 's'", expected)]


@ci_only
def test_mongo_is_checked_too(tmp_path: Path) -> None:
    with MongoDbStorage(db_url=mongo_url(), db_name=name_of(tmp_path)) as storage:
        fill(storage)
        assert problems(storage) == []
        with MongoClient[dict[str, Any]](mongo_url()) as client:
            database = client[name_of(tmp_path)]
            database["agent_sessions_entries"].delete_one({"session_id": "trip", "position": 1})
            database["agent_sessions"].delete_one({"_id": "flow"})
        assert problems(storage) == [
            ("session 'trip'", "has 2 entries, and its row says 3"),
            ("session 'flow'", "has entries, and no session to which they belong: a deletion was interrupted"),
        ]


@ci_only
def test_documents_without_an_id_are_named_and_read_by_nothing(tmp_path: Path) -> None:
    """An entry without the id of its session ended the check with a traceback, and a document in a listing too."""
    with MongoDbStorage(db_url=mongo_url(), db_name=name_of(tmp_path)) as storage:
        fill(storage)
        expected = storage.list_sessions()
        with MongoClient[dict[str, Any]](mongo_url()) as client:
            database = client[name_of(tmp_path)]
            database.command("collMod", "agent_sessions", validator={})
            database["agent_sessions"].insert_many([{"what": "ever"}, {"session_id": "s", "memory": {}}])
            database["agent_sessions_entries"].insert_one({"position": 1, "content": "{}"})
        assert problems(storage) == [
            ("agent_sessions", "has 2 rows without the id of a session"),
            ("agent_sessions_entries", "has 1 row without the id of a session"),
        ]
        assert storage.list_sessions() == expected

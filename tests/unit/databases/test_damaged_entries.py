"""What somebody changed in the database: an error names the session, and for an entry, the others are not affected."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient

from localstore import DocumentBroken, JsonStorage
from localstore.databases.database_storage import DatabaseStorage
from localstore.databases.mongo import MongoDbStorage
from localstore.databases.sql import SqliteStorage, SqlStorage
from tests.contract.runs import answered
from tests.contract.storages import name_of
from tests.effort import ci_only
from tests.mongo import mongo_url
from tests.postgres import postgres_url


def fill(storage: DatabaseStorage) -> None:
    for session_id in ("s1", "s2", "s3"):
        storage.append_many(session_id, [answered("r1", "To Linz?"), answered("r2", "To Graz?")])


def change_sqlite(path: Path, change: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"{change} WHERE session_id = 's2' AND position = ?", values)


def check_that_s2_is_named(storage: DatabaseStorage, folder: Path) -> None:
    """Check what others see when the last entry of s2 is no JSON object."""
    expected = r"Session 's2' cannot be read: an entry is no JSON object: .*\. Correct its content in the database\."
    for last_runs in (None, 1, 2):
        with pytest.raises(DocumentBroken, match=expected) as error:
            storage.read("s2", last_runs=last_runs)
        assert error.value.session_id == "s2"
    with pytest.raises(DocumentBroken, match=expected):
        storage.search("graz")
    assert len(storage.search("linz")) == 3
    (finding,) = storage.check()
    assert finding.path.endswith("session 's2'")
    assert finding.problem.startswith("cannot be read: an entry is no JSON object: ")
    copies = JsonStorage(folder / "copies")
    copied = storage.copy_to(copies)
    assert (sorted(copied.added), [one.session_id for one in copied.skipped]) == (["s1", "s3"], ["s2"])
    back = copies.copy_to(storage)
    assert (back.added, back.extended, back.skipped) == ([], [], [])


@pytest.mark.parametrize("content", ["{", "", "[1]", "null"])
def test_an_entry_that_is_no_json_object_is_an_error_that_names_its_session(tmp_path: Path, content: str) -> None:
    """It was a JSONDecodeError or an AttributeError, which commands called a bug, and with which a check ended."""
    with SqliteStorage(db_file=tmp_path / "a.db") as storage:
        fill(storage)
        change_sqlite(tmp_path / "a.db", "UPDATE agent_sessions_entries SET content = ?", content, 1)
        check_that_s2_is_named(storage, tmp_path)


def test_a_session_without_its_header_is_an_error_that_names_it(tmp_path: Path) -> None:
    """It was a KeyError."""
    with SqliteStorage(db_file=tmp_path / "a.db") as storage:
        fill(storage)
        change_sqlite(tmp_path / "a.db", "DELETE FROM agent_sessions_entries", -1)
        for last_runs in (None, 1):
            with pytest.raises(DocumentBroken, match="'s2' cannot be read: its header is missing in the database"):
                storage.read("s2", last_runs=last_runs)
        assert [finding.path.rpartition(", ")[2] for finding in storage.check()] == ["session 's2'"]


@pytest.mark.parametrize("facts", ["{", "", "[1]", "{}"])
def test_a_row_that_is_not_that_of_a_session_is_an_error_that_names_it(tmp_path: Path, facts: str) -> None:
    """It was a JSONDecodeError or a KeyError, which commands called a bug."""
    with SqliteStorage(db_file=tmp_path / "a.db") as storage:
        fill(storage)
        with closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
            database.execute("UPDATE agent_sessions SET facts = ? WHERE session_id = 's2'", [facts])
        calls: tuple[Callable[[], object], ...] = (
            lambda: storage.read("s2"),
            lambda: storage.append("s2", answered("r3", "To Wien?")),
            storage.list_sessions,
            lambda: list(storage.check()),
        )
        expected = "Session 's2' cannot be read: its facts are not those of a session: "
        for call in calls:
            with pytest.raises(DocumentBroken, match=expected) as error:
                call()
            assert error.value.session_id == "s2"
        with pytest.raises(DocumentBroken, match="cannot be read: its facts are not those of a session"):
            storage.stats()
        assert storage.read("s1") is not None


@ci_only
def test_a_damaged_entry_in_postgresql_is_an_error_that_names_its_session(tmp_path: Path) -> None:
    table = name_of(tmp_path)
    with SqlStorage(postgres_url(), table) as storage:
        fill(storage)
        with psycopg.connect(postgres_url()) as connection:
            change = f"UPDATE {table}_entries SET content = '{{' WHERE session_id = 's2' AND position = 1"  # noqa: S608
            connection.execute(change.encode())
        check_that_s2_is_named(storage, tmp_path)


@ci_only
def test_a_damaged_entry_in_mongodb_is_an_error_that_names_its_session(tmp_path: Path) -> None:
    with MongoDbStorage(db_url=mongo_url(), db_name=name_of(tmp_path)) as storage:
        fill(storage)
        with MongoClient[dict[str, Any]](mongo_url()) as client:
            entries = client[name_of(tmp_path)]["agent_sessions_entries"]
            entries.update_one({"session_id": "s2", "position": 1}, {"$set": {"content": "{"}})
        check_that_s2_is_named(storage, tmp_path)

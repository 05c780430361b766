"""Sessions of Google's ADK become what its adapter stores."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage
from tests.unit.maintenance.importing.conftest import Import

TABLES = """
CREATE TABLE app_states (app_name TEXT PRIMARY KEY, state TEXT NOT NULL, update_time REAL NOT NULL);
CREATE TABLE user_states (
    app_name TEXT, user_id TEXT, state TEXT NOT NULL, update_time REAL NOT NULL, PRIMARY KEY (app_name, user_id)
);
CREATE TABLE sessions (
    app_name TEXT, user_id TEXT, id TEXT, state TEXT NOT NULL, create_time REAL NOT NULL, update_time REAL NOT NULL,
    PRIMARY KEY (app_name, user_id, id)
);
CREATE TABLE events (
    id TEXT, app_name TEXT, user_id TEXT, session_id TEXT, invocation_id TEXT, timestamp REAL NOT NULL,
    event_data TEXT NOT NULL, PRIMARY KEY (app_name, user_id, session_id, id)
);
"""
"""The tables as `SqliteSessionService` makes them. `DatabaseSessionService` has times as text."""
BEGIN = 1795334480.0


class Adk:
    """A database of the ADK."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.executescript(TABLES)
        self.events = 0

    def session(self, session_id: str, *texts: str, state: Any = None, user: str = "alice") -> None:
        row = ("travel", user, session_id, json.dumps(state or {}), BEGIN, BEGIN)
        self.database.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)", row)
        for text in texts:
            self.event(session_id, {"author": "user", "content": {"role": "user", "parts": [{"text": text}]}}, user)

    def event(self, session_id: str, data: Any, user: str = "alice") -> None:
        self.events += 1
        at = BEGIN + self.events
        written = data if isinstance(data, str) else json.dumps({**data, "timestamp": at})
        row = (f"e{self.events}", "travel", user, session_id, "i1", at, written)
        self.database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", row)


@pytest.fixture
def adk(tmp_path: Path) -> Iterator[Adk]:
    adk = Adk(tmp_path / "adk.db")
    with closing(adk.database):
        yield adk


def state(store: JsonStorage, session_id: str) -> dict[str, Any]:
    session = store.read(session_id)
    assert session is not None
    return session.session_state


def test_events_become_items_of_a_session_with_its_state(adk: Adk, store: JsonStorage, import_twice: Import) -> None:
    adk.session("trip", "Which train?", "And back?", state={"city": "Linz"})
    result = import_twice("adk", adk.path)
    assert (result.added, result.items) == (("travel/alice/trip",), 3)
    beginning, *events = store.items("travel/alice/trip")
    assert beginning.data == {"app_name": "travel", "user_id": "alice", "session_id": "trip"}
    assert [(item.item_id, item.source, item.data["id"], item.data["invocation_id"]) for item in events] == [
        ("e1", "adk", "e1", "i1"),
        ("e2", "adk", "e2", "i1"),
    ]
    assert events[0].data["content"]["parts"] == [{"text": "Which train?"}]
    assert events[0].created_at == "2026-11-22T08:01:21.000Z"
    assert state(store, "travel/alice/trip") == {"city": "Linz"}
    (info,) = store.list_sessions()
    assert (info.user_id, info.entity_id) == ("alice", "travel")


def test_a_later_import_adds_the_new_events_and_the_new_state(
    adk: Adk, store: JsonStorage, import_twice: Import
) -> None:
    adk.session("trip", "One?", state={"n": 1})
    import_twice("adk", adk.path)
    adk.session("trip", "Two?", state={"n": 2})
    result = import_twice("adk", adk.path)
    assert (result.extended, result.items) == (("travel/alice/trip",), 1)
    assert [item.item_id for item in store.items("travel/alice/trip", 2)] == ["e1", "e2"]
    assert state(store, "travel/alice/trip") == {"n": 2}


def test_states_of_apps_and_users_have_sessions_of_their_own(
    adk: Adk, store: JsonStorage, import_twice: Import
) -> None:
    adk.session("a/b", "Hi", user="x/y%")
    adk.database.execute("INSERT INTO app_states VALUES ('travel', '{\"currency\": \"EUR\"}', 1)")
    adk.database.execute("INSERT INTO user_states VALUES ('travel', 'x/y%', '{\"seat\": 4}', 1)")
    import_twice("adk", adk.path)
    assert sorted(store) == ["travel/", "travel/x%2Fy%25/", "travel/x%2Fy%25/a/b"]
    assert state(store, "travel/") == {"currency": "EUR"}
    assert state(store, "travel/x%2Fy%25/") == {"seat": 4}


def test_what_cannot_be_read_is_named(tmp_path: Path, adk: Adk, store: JsonStorage, import_twice: Import) -> None:
    adk.session("trip", "One?")
    adk.event("trip", "{")
    adk.event("trip", "[1]")
    adk.session("other", "Two?")
    adk.database.execute("UPDATE sessions SET state = '{' WHERE id = 'other'")
    result = import_twice("adk", adk.path)
    assert [part.session_id for part in result.skipped] == ["travel/alice/trip"] * 2 + ["travel/alice/other"]
    assert [item.item_id for item in store.items("travel/alice/trip", 1)] == ["e1"]
    assert len(store.items("travel/alice/other")) == 2
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        old.execute("CREATE TABLE sessions (app_name, user_id, id, state, create_time, update_time)")
        old.execute("CREATE TABLE events (id, app_name, user_id, session_id, actions BLOB)")
    assert "adk migrate session" in str(store.import_from("adk", tmp_path / "old.db").skipped[0])
    (tmp_path / "text.db").write_text("no database, but text that is longer than the header of one: " * 9)
    assert "cannot be read as a database" in str(store.import_from("adk", tmp_path / "text.db").skipped[0])
    with pytest.raises(IsADirectoryError):
        store.import_from("adk", tmp_path)

"""Sessions of the OpenAI Agents SDK become sessions of a store."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, Session
from tests.unit.maintenance.importing.conftest import Import

TABLES = """
CREATE TABLE {prefix}_sessions (session_id TEXT PRIMARY KEY, created_at TIMESTAMP, updated_at TIMESTAMP);
CREATE TABLE {prefix}_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, message_data TEXT NOT NULL,
    created_at TIMESTAMP DEFAULT '2026-11-22 07:01:20'
);
"""
BRANCHES = """
CREATE TABLE message_structure (
    id INTEGER PRIMARY KEY, session_id TEXT, message_id INTEGER, branch_id TEXT, sequence_number INTEGER,
    user_turn_number INTEGER
);
"""


class Items:
    """A database of the SDK."""

    def __init__(self, path: Path, prefix: str = "agent") -> None:
        self.path = path
        self.table = f"{prefix}_messages"
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.executescript(TABLES.format(prefix=prefix))

    def add(self, session_id: str, *items: Any) -> None:
        """Add items to a session; a text is stored as it is."""
        for item in items:
            data = item if isinstance(item, str) else json.dumps(item)
            self.database.execute(
                f"INSERT INTO {self.table} (session_id, message_data) VALUES (?, ?)",  # noqa: S608
                (session_id, data),
            )


@pytest.fixture
def items(tmp_path: Path) -> Iterator[Items]:
    items = Items(tmp_path / "agents.db", "chosen")
    with closing(items.database):
        yield items


def read(store: JsonStorage, session_id: str) -> Session:
    session = store.read(session_id)
    assert session is not None
    return session


def asks(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def says(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}


def test_items_stay_as_they_are(items: Items, store: JsonStorage, import_twice: Import) -> None:
    """So that the adapter gives the SDK what its own session would."""
    given = [
        asks("Which train?"),
        {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Look."}]},
        {"type": "function_call", "call_id": "c1", "name": "trains", "arguments": '{"to": "Linz"}', "id": "fc_1"},
        {"type": "function_call_output", "call_id": "c1", "output": "7:58"},
        says("7:58."),
    ]
    items.add("user_1", *given)
    result = import_twice("openai-agents", items.path)
    assert (result.added, result.runs, result.items) == (("user_1",), 0, 5)
    assert [(item.source, item.data) for item in store.items("user_1")] == [("openai-agents", data) for data in given]
    items.add("user_1", asks("And back?"))
    result = import_twice("openai-agents", items.path)
    assert (result.extended, result.items) == (("user_1",), 1)
    assert [item.data for item in store.items("user_1", 2)] == [says("7:58."), asks("And back?")]


def test_an_item_that_was_removed_stays_removed(items: Items, store: JsonStorage, import_twice: Import) -> None:
    items.add("s1", asks("One?"), says("1"))
    import_twice("openai-agents", items.path)
    store.pop_item("s1")
    assert import_twice("openai-agents", items.path).unchanged == 1
    assert [item.data for item in store.items("s1")] == [asks("One?")]


def test_branches_become_forks(items: Items, store: JsonStorage, import_twice: Import) -> None:
    items.add("s1", asks("One?"), says("1"), asks("Two?"), says("2"), asks("Three?"), says("3"))
    items.database.executescript(BRANCHES)
    main, other = [(1, 1), (2, 1), (3, 2), (4, 2)], [(1, 1), (2, 1), (5, 2), (6, 2), (99, 3)]
    links = [*(("main", *link) for link in main), *(("b", *link) for link in other)]
    for number, (branch, message, turn) in enumerate(links):
        link = (number, "s1", message, branch, number, turn)
        items.database.execute("INSERT INTO message_structure VALUES (?, ?, ?, ?, ?, ?)", link)
    result = import_twice("openai-agents", items.path)
    assert len(result.added) == 2
    (fork,) = [name for name in result.added if name != "s1"]
    questions = {
        name: [one.data["content"] for one in store.items(name) if one.data["role"] == "user"] for name in ("s1", fork)
    }
    assert questions == {"s1": ["One?", "Two?"], fork: ["One?", "Three?"]}
    forked_from = read(store, fork).forked_from
    assert forked_from is not None
    assert forked_from.session_id == "s1"


def test_rows_that_cannot_be_read_are_named(items: Items, store: JsonStorage, import_twice: Import) -> None:
    items.add("s1", asks("One?"), '{"role": "us', "[1]", '{"__enc__": 1, "payload": "x"}', '{"role": 7}', "NaN")
    items.add("s1", '{"role": "assistant", "content": "half \\ud83d"}')
    items.add("s2", "{")
    items.add("", asks("Whose?"))
    result = import_twice("openai-agents", items.path)
    assert [(part.line, part.session_id) for part in result.skipped] == [
        (2, "s1"),
        (3, "s1"),
        (4, "s1"),
        (6, "s1"),
        (8, "s2"),
        (None, None),
    ]
    assert "a session without an id" in str(result.skipped[-1])
    assert store.items("s1")[-1].data["content"] == "half \\ud83d"


def test_sessions_of_two_databases_with_one_id_are_not_mixed(
    tmp_path: Path, items: Items, store: JsonStorage, import_twice: Import
) -> None:
    """Ids such as `user_1` occur in many databases: the runs of both came into one session."""
    items.add("user_1", asks("One?"), says("1"))
    import_twice("openai-agents", items.path)
    other = Items(tmp_path / "other.db")
    with closing(other.database):
        other.add("user_1", says("Hello!"), asks("Two?"), says("2"))
    result = import_twice("openai-agents", other.path)
    assert [part.problem for part in result.skipped] == [
        "the store has another session with this id, which was not changed"
    ]
    assert [item.data for item in store.items("user_1")] == [asks("One?"), says("1")]


def test_a_database_of_another_program_is_named(tmp_path: Path, store: JsonStorage) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE messages (id, text)")
    result = store.import_from("openai-agents", tmp_path / "other.db")
    assert [part.problem for part in result.skipped] == ["it has no table of messages of the OpenAI Agents SDK"]
    with pytest.raises(IsADirectoryError, match="Name the database in it"):
        store.import_from("openai-agents", tmp_path)

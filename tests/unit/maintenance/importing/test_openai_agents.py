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
CREATE TABLE turn_usage (
    session_id TEXT, branch_id TEXT, user_turn_number INTEGER, input_tokens INTEGER, output_tokens INTEGER,
    input_tokens_details JSON
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


def test_items_become_messages(items: Items, store: JsonStorage, import_twice: Import) -> None:
    items.add(
        "user_1",
        asks("Which train?"),
        {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Look."}]},
        {"type": "function_call", "call_id": "c1", "name": "trains", "arguments": '{"to": "Linz"}', "id": "fc_1"},
        {"type": "function_call_output", "call_id": "c1", "output": "7:58"},
        says("7:58."),
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://e.com/x.png", "detail": "auto"}]},
    )
    result = import_twice("openai-agents", items.path)
    assert (result.added, result.runs) == (("user_1",), 2)
    first, second = read(store, "user_1").runs
    assert [message.role for message in first.messages] == ["user", "assistant", "tool", "assistant"]
    assert [(call.id, call.arguments) for call in first.messages[1].tool_calls or ()] == [("c1", {"to": "Linz"})]
    assert (first.messages[1].model_extra or {})["reasoning"] == "Look."
    assert (first.question, first.answer, first.status) == ("Which train?", "7:58.", "completed")
    assert isinstance(second.messages[0].content, list)
    assert second.messages[0].content[0].url == "https://e.com/x.png"
    items.add("user_1", says("A train."))
    result = import_twice("openai-agents", items.path)
    assert (result.extended, result.runs) == (("user_1",), 1)
    assert read(store, "user_1").runs[1].answer == "A train."


def test_branches_become_forks_and_the_tokens_are_those_of_the_turns(
    items: Items, store: JsonStorage, import_twice: Import
) -> None:
    items.add("s1", asks("One?"), says("1"), asks("Two?"), says("2"), asks("Three?"), says("3"))
    items.database.executescript(BRANCHES)
    main, other = [(1, 1), (2, 1), (3, 2), (4, 2)], [(1, 1), (2, 1), (5, 2), (6, 2), (99, 3)]
    links = [*(("main", *link) for link in main), *(("b", *link) for link in other)]
    for number, (branch, message, turn) in enumerate(links):
        link = (number, "s1", message, branch, number, turn)
        items.database.execute("INSERT INTO message_structure VALUES (?, ?, ?, ?, ?, ?)", link)
    row = ("s1", "main", 2, 10, 5, '{"cached_tokens": 4}')
    items.database.execute("INSERT INTO turn_usage VALUES (?, ?, ?, ?, ?, ?)", row)
    result = import_twice("openai-agents", items.path)
    assert len(result.added) == 2
    session = read(store, "s1")
    assert [run.question for run in session.runs] == ["One?", "Two?"]
    assert session.runs[1].metrics is not None
    assert (session.runs[1].metrics.input_tokens, session.runs[1].metrics.cached_tokens) == (10, 4)
    (fork,) = [read(store, name) for name in result.added if name != "s1"]
    assert [run.question for run in fork.runs] == ["One?", "Three?"]
    assert fork.forked_from is not None
    assert fork.forked_from.run_id == session.runs[0].run_id


def test_rows_that_cannot_be_read_are_named(items: Items, store: JsonStorage, import_twice: Import) -> None:
    items.add("s1", asks("One?"), '{"role": "us', "[1]", '{"__enc__": 1, "payload": "x"}', '{"role": 7}', "NaN")
    items.add("s1", '{"role": "assistant", "content": "half \\ud83d"}')
    items.add("s2", "{")
    result = import_twice("openai-agents", items.path)
    assert [(part.line, part.session_id) for part in result.skipped] == [
        (2, "s1"),
        (3, "s1"),
        (4, "s1"),
        (6, "s1"),
        (8, "s2"),
    ]
    assert read(store, "s1").runs[0].answer == "half \\ud83d"


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
    assert [run.question for run in read(store, "user_1").runs] == ["One?"]


def test_a_database_of_another_program_is_named(tmp_path: Path, store: JsonStorage) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE messages (id, text)")
    result = store.import_from("openai-agents", tmp_path / "other.db")
    assert [part.problem for part in result.skipped] == ["it has no table of messages of the OpenAI Agents SDK"]
    with pytest.raises(IsADirectoryError, match="Name the database in it"):
        store.import_from("openai-agents", tmp_path)

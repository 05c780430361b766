"""Conversations of the command `llm` become sessions of a store."""

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
CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
CREATE TABLE attachments (id TEXT PRIMARY KEY, type TEXT, path TEXT, url TEXT, content BLOB);
CREATE TABLE prompt_attachments (response_id TEXT, attachment_id TEXT, "order" INTEGER);
CREATE TABLE responses (
    id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT, options_json TEXT, response TEXT,
    response_json TEXT, conversation_id TEXT, duration_ms INTEGER, datetime_utc TEXT, input_tokens INTEGER,
    output_tokens INTEGER, token_details TEXT, schema_id TEXT, resolved_model TEXT, reasoning TEXT
);
CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT, datetime_utc TEXT, source TEXT);
CREATE TABLE prompt_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
CREATE TABLE system_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
CREATE TABLE tool_calls (
    id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, arguments TEXT, tool_call_id TEXT
);
CREATE TABLE tool_results (
    id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, output TEXT, tool_call_id TEXT,
    instance_id INTEGER, exception TEXT
);
"""
TREE = """
CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT, role TEXT, provider_metadata TEXT);
CREATE TABLE parts (
    id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT, tool_name TEXT, text TEXT, payload TEXT
);
CREATE TABLE threads (id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, forked_from TEXT, datetime_utc TEXT);
CREATE TABLE turns (
    id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT, tip_message_hash TEXT, model TEXT,
    resolved_model TEXT, options_json TEXT, schema_id TEXT, input_tokens INTEGER, output_tokens INTEGER,
    token_details TEXT, duration_ms INTEGER, datetime_utc TEXT, response_json TEXT
);
"""


class Logs:
    """A `logs.db`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.executescript(TABLES)
        self.number = 0

    def insert(self, table: str, **row: Any) -> None:
        """Add a row."""
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        self.database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608

    def responds(self, name: str, prompt: str, response: str, conversation: str | None = "c1", **row: Any) -> None:
        """Add a response of an earlier version."""
        self.number += 1
        self.insert(
            "responses",
            id=name,
            model="gpt-4o",
            prompt=prompt,
            response=response,
            conversation_id=conversation,
            datetime_utc=f"2026-11-22T07:00:{self.number:02}.000000",
            **row,
        )

    def says(self, name: str, parent: str | None, role: str, text: str | None = None, *parts: tuple[str, Any]) -> None:
        """Add a message of the tree."""
        self.insert("messages", hash=name, parent_hash=parent, role=role)
        if text is not None:
            self.insert("parts", message_hash=name, position=0, type="text", text=text)
        for position, (kind, payload) in enumerate(parts, 1):
            self.insert("parts", message_hash=name, position=position, type=kind, payload=json.dumps(payload))

    def turn(self, name: str, parent: str, tip: str, thread: str = "t1", **row: Any) -> None:
        """Add a call of a model."""
        self.number += 1
        self.insert(
            "turns",
            id=name,
            thread_id=thread,
            parent_message_hash=parent,
            tip_message_hash=tip,
            model="gpt-5",
            datetime_utc=f"2026-11-23T07:00:{self.number:02}+00:00",
            **row,
        )


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    logs = Logs(tmp_path / "logs.db")
    with closing(logs.database):
        yield logs


def read(store: JsonStorage, session_id: str) -> Session:
    session = store.read(session_id)
    assert session is not None
    return session


def test_responses_of_earlier_versions(logs: Logs, store: JsonStorage, import_twice: Import) -> None:
    logs.insert("conversations", id="c1", name="Trains", model="gpt-4o")
    logs.insert("fragments", id=1, content="A timetable.")
    logs.responds("r1", "Which train?", "", system="Be brief.", input_tokens=10, output_tokens=2, duration_ms=1500)
    logs.insert("prompt_fragments", response_id="r1", fragment_id=1, order=0)
    logs.insert("tool_calls", response_id="r1", name="trains", arguments='{"to": "Linz"}', tool_call_id="k1")
    logs.responds("r2", "", "7:58.", input_tokens=20, output_tokens=3, resolved_model="gpt-4o-2024", reasoning="Hm.")
    logs.insert("tool_results", response_id="r2", name="trains", output="7:58", tool_call_id="k1")
    logs.insert("attachments", id="a1", type="image/png", content=b"\x89PNG")
    logs.responds("r3", "And this?", "A train.", options_json='{"temperature": 0.5}')
    logs.insert("prompt_attachments", response_id="r3", attachment_id="a1", order=0)
    logs.responds("r4", "Alone?", "Yes.", conversation=None)
    result = import_twice("llm", logs.path)
    assert result.added == ("c1", "r4")
    session = read(store, "c1")
    first, second = session.runs
    assert session.name == "Trains"
    assert session.instructions == "Be brief."
    assert (first.run_id, first.question, first.answer) == ("r1", "A timetable.\nWhich train?", "7:58.")
    assert [message.role for message in first.messages] == ["user", "assistant", "tool", "assistant"]
    assert first.messages[2].tool_call_id == "k1"
    assert first.metrics is not None
    assert (first.metrics.input_tokens, first.metrics.duration_seconds) == (30, 1.5)
    assert (first.model, first.requested_model) == ("gpt-4o-2024", "gpt-4o")
    assert isinstance(second.messages[0].content, list)
    assert second.messages[0].content[1].url == "data:image/png;base64,iVBORw=="
    assert (second.messages[1].model_extra or {})["imported"] == {"id": "r3", "options": {"temperature": 0.5}}


def test_a_thread_with_the_parts_of_its_messages(logs: Logs, store: JsonStorage, import_twice: Import) -> None:
    logs.database.executescript(TREE)
    logs.insert("fragments", id=1, content="A timetable.")
    logs.says("s", None, "system", "Be brief.")
    logs.says("u1", "s", "user", None, ("text", {"text_ref": [{"fragment": 1}, {"literal": "\nWhich train?"}]}))
    call = {"name": "trains", "arguments": {"to": "Linz"}, "tool_call_id": "k1"}
    logs.says("a1", "u1", "assistant", None, ("reasoning", {"text": "", "redacted": True}), ("tool_call", call))
    logs.says("o1", "a1", "tool", None, ("tool_result", {"name": "trains", "output": "7:58", "tool_call_id": "k1"}))
    logs.says("a2", "o1", "assistant", "7:58.")
    logs.turn("n1", "u1", "a1", input_tokens=10)
    logs.turn("n2", "o1", "a2", input_tokens=20, resolved_model="gpt-5-2026")
    logs.insert("threads", id="t1", name="Trains", tip_message_hash="a2", datetime_utc="2026-11-23T07:00:00+00:00")
    import_twice("llm", logs.path)
    session = read(store, "t1")
    (run,) = session.runs
    assert (run.run_id, run.question, run.answer) == ("n1", "A timetable.\nWhich train?", "7:58.")
    assert [message.role for message in run.messages] == ["user", "assistant", "tool", "assistant"]
    assert [call.arguments for call in run.messages[1].tool_calls or ()] == [{"to": "Linz"}]
    assert run.metrics is not None
    assert (run.metrics.input_tokens, run.model, session.instructions) == (30, "gpt-5-2026", "Be brief.")


def test_forks_share_messages_and_name_their_origin(logs: Logs, store: JsonStorage, import_twice: Import) -> None:
    logs.database.executescript(TREE)
    for name, parent, role in (("u1", None, "user"), ("a1", "u1", "assistant"), ("u2", "a1", "user")):
        logs.says(name, parent, role, name)
    logs.says("a2", "u2", "assistant", "one")
    logs.says("a3", "u2", "assistant", "another")
    logs.says("u4", "a1", "user", "u4")
    logs.says("a4", "u4", "assistant", "in the fork")
    logs.turn("n1", "u1", "a1")
    logs.turn("n2", "u2", "a2")
    logs.turn("n3", "u2", "a3")
    logs.turn("n4", "u4", "a4", thread="t2")
    logs.insert("threads", id="t1", tip_message_hash="a3", datetime_utc="2026-11-23T07:00:00")
    logs.insert("threads", id="t2", tip_message_hash="a4", forked_from="t1", datetime_utc="2026-11-23T08:00:00")
    result = import_twice("llm", logs.path)
    assert len(result.added) == 3
    assert [run.answer for run in read(store, "t1").runs] == ["a1", "another"]
    fork = read(store, "t2")
    assert [run.run_id for run in fork.runs] == ["n1", "n4"]
    assert fork.forked_from is not None
    assert (fork.forked_from.session_id, fork.forked_from.run_id) == ("t1", "n1")
    (branch,) = [read(store, name) for name in result.added if name not in ("t1", "t2")]
    assert [run.answer for run in branch.runs] == ["a1", "one"]


def test_a_conversation_that_is_continued_after_an_upgrade_has_each_run_once(
    logs: Logs, store: JsonStorage, import_twice: Import
) -> None:
    """The thread begins with a copy of the old messages: they were imported twice, under two ids, or came into
    conflict with the stored ones, as the copy has no attachments."""
    logs.insert("conversations", id="t1", name="Trains")
    logs.responds("r1", "Which train?", "", conversation="t1")
    logs.insert("attachments", id="a1", type="image/png", content=b"\x89PNG")
    logs.insert("prompt_attachments", response_id="r1", attachment_id="a1", order=0)
    logs.insert("tool_calls", response_id="r1", name="trains", arguments="{}", tool_call_id="k1")
    logs.responds("r2", "", "7:58.", conversation="t1")
    logs.insert("tool_results", response_id="r2", name="trains", output="7:58", tool_call_id="k1")
    import_twice("llm", logs.path)
    logs.database.executescript(TREE)
    logs.says("u1", None, "user", "Which train?")
    logs.says("x1", "u1", "assistant", None, ("tool_call", {"name": "trains", "arguments": {}, "tool_call_id": "k1"}))
    logs.says("x2", "x1", "tool", None, ("tool_result", {"name": "trains", "output": "7:58", "tool_call_id": "k1"}))
    logs.says("a1", "x2", "assistant", "7:58.")
    logs.says("u2", "a1", "user", "And back?")
    logs.says("a2", "u2", "assistant", "17:02.")
    logs.turn("n2", "u2", "a2")
    logs.insert("threads", id="t1", tip_message_hash="a2", datetime_utc="2026-11-23T07:00:00+00:00")
    result = import_twice("llm", logs.path.parent)
    assert (result.added, result.extended, result.runs, result.skipped) == ((), ("t1",), 1, ())
    first, second = read(store, "t1").runs
    assert (first.run_id, len(first.messages), second.run_id, second.answer) == ("r1", 4, "n2", "17:02.")


def test_rows_with_wrong_values_do_not_end_the_import(logs: Logs, store: JsonStorage, import_twice: Import) -> None:
    logs.database.executescript(TREE)
    logs.responds("r1", "One?", "One.", duration_ms=10**18, input_tokens="many", options_json="{")
    logs.insert("conversations", id="c1", name=b"\xff")
    logs.insert("conversations", id=None, name="nobody")
    logs.says("u1", "a1", "user", "in a cycle", ("unknown", {"x": 1}), ("attachment", {"attachment": 7}))
    logs.says("a1", "u1", "assistant", None, ("text", {"text_ref": [7, {"fragment": "x"}, {"fragment": 99}]}))
    logs.turn("n1", "u1", "a1")
    logs.insert("threads", id="t1", tip_message_hash="a1", forked_from="t1")
    logs.insert("threads", id="t2", tip_message_hash="nowhere")
    result = import_twice("llm", logs.path)
    assert set(result.added) == {"t1", "c1"}
    assert [str(part) for part in result.skipped] == [f"{logs.path}, session t2: its newest message is missing"]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\xff" * 5000, b"not a database" * 100])
def test_a_damaged_database_is_named(tmp_path: Path, store: JsonStorage, content: bytes) -> None:
    (tmp_path / "logs.db").write_bytes(content)
    result = store.import_from("llm", tmp_path / "logs.db")
    assert result.added == ()
    assert [part.path for part in result.skipped] == [str(tmp_path / "logs.db")] * bool(content)


def test_a_database_in_use_is_read_with_its_log(logs: Logs, store: JsonStorage) -> None:
    """What another program has written, and only its write-ahead log has yet, was not imported."""
    logs.database.execute("PRAGMA journal_mode = WAL")
    logs.insert("conversations", id="c1")
    logs.responds("r1", "One?", "One.")
    assert store.import_from("llm", logs.path).added == ("c1",)


def test_a_database_that_nobody_uses_gets_no_files_beside_it(logs: Logs, store: JsonStorage) -> None:
    logs.database.execute("PRAGMA journal_mode = WAL")
    logs.responds("r1", "One?", "One.", conversation=None)
    logs.database.close()
    before = sorted(logs.path.parent.iterdir())
    assert store.import_from("llm", logs.path).added == ("r1",)
    assert sorted(logs.path.parent.iterdir()) == before

"""Sessions of Codex CLI become sessions of a store."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from localstore import JsonStorage, Session
from tests.unit.maintenance.importing.conftest import Import

SESSION = "0199a213-81c0-7800-8aa1-bbab2a035a53"


class Rollout:
    """The lines of one session."""

    def __init__(self, session_id: str = SESSION, **meta: Any) -> None:
        self.session_id = session_id
        self.lines: list[str] = []
        known = {"id": session_id, "cwd": "/home/alice/work", "cli_version": "0.46.0", "instructions": "Be brief."}
        self.add("session_meta", **known, **meta)

    def add(self, kind: str, /, **payload: Any) -> None:
        """Add a line."""
        number = len(self.lines)
        timestamp = f"2026-11-22T07:{number // 60:02}:{number % 60:02}.123Z"
        self.lines.append(json.dumps({"timestamp": timestamp, "type": kind, "payload": payload}))

    def item(self, kind: str, /, **payload: Any) -> None:
        """Add an item of the model's history."""
        self.add("response_item", type=kind, **payload)

    def event(self, kind: str, /, **payload: Any) -> None:
        """Add an event."""
        self.add("event_msg", type=kind, **payload)

    def asks(self, text: str) -> None:
        """Add a question with its event."""
        self.item("message", role="user", content=[{"type": "input_text", "text": text}])
        self.event("user_message", message=text)

    def says(self, text: str) -> None:
        """Add an answer with its event."""
        self.event("agent_message", message=text)
        self.item("message", role="assistant", content=[{"type": "output_text", "text": text}])

    def write(self, folder: Path) -> Path:
        """Write the file below the folder of Codex."""
        path = folder / "sessions" / "2026" / "11" / "22" / f"rollout-2026-11-22T07-00-00-{self.session_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in self.lines))
        return path


def read(store: JsonStorage, session_id: str = SESSION) -> Session:
    session = store.read(session_id)
    assert session is not None
    return session


def test_items_are_imported_and_the_events_that_repeat_them_are_not(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    rollout = Rollout()
    rollout.item(
        "message", role="user", content=[{"type": "input_text", "text": "<environment_context>\n<cwd>/</cwd>"}]
    )
    rollout.add("turn_context", model="gpt-5-codex", cwd="/home/alice/work")
    rollout.asks("Which train?")
    rollout.item("reasoning", summary=[{"type": "summary_text", "text": "Look."}], encrypted_content="gAAA")
    rollout.item("function_call", name="shell", arguments='{"command":["trains"]}', call_id="c1")
    rollout.item("function_call", name="shell", arguments='{"command":["buses"]}', call_id="c2")
    rollout.item("function_call_output", call_id="c1", output="7:58")
    rollout.item("function_call_output", call_id="c2", output="8:10")
    rollout.says("The one at 7:58.")
    usage = {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 20, "reasoning_output_tokens": 5}
    for _ in range(2):
        rollout.event("token_count", info={"total_token_usage": usage})
    rollout.add("turn_context", model="gpt-5", cwd="/home/alice/work")
    rollout.asks("And back?")
    rollout.says("At 17:02.")
    rollout.event("token_count", info={"total_token_usage": {**usage, "input_tokens": 250}})
    rollout.add("world_state", anything=1)
    rollout.write(tmp_path / "codex")
    result = import_twice("codex", tmp_path / "codex")
    assert (result.added, result.runs) == ((SESSION,), 2)
    session = read(store)
    first, second = session.runs
    assert [message.role for message in first.messages] == [
        "developer",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    assert (first.question, first.answer, first.model) == ("Which train?", "The one at 7:58.", "gpt-5-codex")
    assert [call.arguments for call in first.messages[2].tool_calls or ()] == [
        {"command": ["trains"]},
        {"command": ["buses"]},
    ]
    extra = first.messages[2].model_extra or {}
    assert (extra["reasoning"], extra["imported"]["content"][0]["encrypted_content"]) == ("Look.", "gAAA")
    assert first.metrics is not None
    assert second.metrics is not None
    assert (first.metrics.input_tokens, first.metrics.cached_tokens, first.metrics.output_tokens) == (100, 40, 20)
    assert (second.metrics.input_tokens, second.model, second.status) == (150, "gpt-5", "completed")
    assert (second.model_extra or {})["imported"][-1] == {"type": "world_state", "anything": 1}
    assert session.instructions == "Be brief."
    assert session.metadata["cwd"] == "/home/alice/work"


def test_turns_that_were_rolled_back_become_a_fork(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    rollout = Rollout()
    for text in ("One?", "Two?"):
        rollout.asks(text)
        rollout.says(text.replace("?", "."))
    path = rollout.write(tmp_path / "codex")
    import_twice("codex", path)
    rollout.event("thread_rolled_back", num_turns=1)
    rollout.asks("Three?")
    rollout.says("Three.")
    rollout.write(tmp_path / "codex")
    result = import_twice("codex", path)
    assert (len(result.added), result.extended) == (1, (SESSION,))
    assert [run.question for run in read(store).runs] == ["One?", "Three?"]
    fork = read(store, result.added[0])
    assert [run.question for run in fork.runs] == ["One?", "Two?"]
    assert fork.forked_from is not None
    assert fork.forked_from.run_id == fork.runs[0].run_id


def test_a_compaction_an_interruption_and_an_error_are_those_of_their_runs(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    rollout = Rollout()
    rollout.asks("One?")
    rollout.event("turn_aborted", reason="interrupted")
    rollout.asks("Two?")
    rollout.add("compacted", message="They talked.", replacement_history=[])
    rollout.event("error", message="overloaded")
    import_twice("codex", rollout.write(tmp_path / "codex"))
    session = read(store)
    assert [(run.status, run.error) for run in session.runs] == [("cancelled", None), ("error", "overloaded")]
    assert session.session_summary == "They talked."


def test_a_fork_names_its_origin_and_a_title_comes_from_the_database(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    rollout = Rollout(forked_from_id="0199a213-81c0-7800-8aa1-bbab2a035a00")
    rollout.asks("One?")
    rollout.write(tmp_path / "codex")
    with sqlite3.connect(tmp_path / "codex" / "state_5.sqlite") as database:
        database.execute("CREATE TABLE threads (id TEXT PRIMARY KEY, title TEXT)")
        database.execute("INSERT INTO threads VALUES (?, 'Trains')", (SESSION,))
    database.close()
    import_twice("codex", tmp_path / "codex")
    session = read(store)
    assert session.name == "Trains"
    assert session.forked_from is not None
    assert session.forked_from.session_id == "0199a213-81c0-7800-8aa1-bbab2a035a00"


def test_the_lines_of_early_versions_have_no_envelope(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    path = tmp_path / f"rollout-2025-06-01-{SESSION}.jsonl"
    lines: list[dict[str, Any]] = [
        {"id": SESSION, "timestamp": "2025-06-01T10:00:00.000Z", "instructions": None},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "One?"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One."}]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    import_twice("codex", path)
    session = read(store)
    assert [(run.question, run.answer) for run in session.runs] == [("One?", "One.")]
    assert session.created_at is not None
    assert session.created_at.year == 2025


def test_wrong_types_and_torn_lines_do_not_end_the_import(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    rollout = Rollout()
    rollout.asks("One?")
    rollout.item("message", role=7, content="x")
    rollout.item("message", role="user", content={"a": 1})
    rollout.item("function_call", name=None, arguments=[1], call_id=5)
    rollout.item("function_call_output", call_id=None, output={"content": "x", "success": False})
    rollout.event("token_count", info={"total_token_usage": {"input_tokens": 10**40, "output_tokens": -1}})
    rollout.event("thread_rolled_back", num_turns="many")
    rollout.event("thread_rolled_back", num_turns=10**30)
    rollout.add("turn_context", model=["gpt"])
    rollout.says("One.")
    rollout.lines += ["7", '{"type":', '{"type":"response_item","payload":[1]}']
    path = rollout.write(tmp_path / "codex")
    result = import_twice("codex", path)
    assert [(part.path, part.line) for part in result.skipped] == [(str(path), 14), (str(path), 15)]
    assert read(store).runs

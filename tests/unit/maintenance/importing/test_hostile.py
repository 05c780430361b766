"""Sources with wrong values and damaged bytes: an import names what it leaves out, never fails, and repeats nothing."""

import copy
import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, YamlStorage
from localstore.exporting import atif_lines
from localstore.maintenance.importing import KINDS, Kind
from localstore.maintenance.importing.importer import reader_of
from localstore.maintenance.importing.source import SourceSession
from tests.effort import rounds
from tests.unit.exporting.conversations import full
from tests.unit.maintenance.importing import (
    test_adk,
    test_agno,
    test_atif,
    test_chatgpt,
    test_codex,
    test_llm,
    test_openai_agents,
)
from tests.unit.maintenance.importing.claude_lines import SESSION, ClaudeFile, calls

JUNK: list[Any] = [
    *(None, True, 0, -1, 2**63, 10**30, 1.5, 1e300, "", "x", "\ud83d", "\0", [], {}, [1], {"a": 1}, ["x", None]),
    *([[]], [{}], {"type": "text"}, "u1", "a1", "2026-11-22T07:01:20Z", {"role": "user"}, {"localstore": {"run": {}}}),
]
KEYS = (
    *("type", "role", "id", "uuid", "created_at", "content", "status", "tool_calls", "messages", "imported", "model"),
    *("extra", "name", "metadata", "user_id", "kind"),
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value in a value."""
    if place:
        yield place
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*place, key))


def at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def changed(value: Any, chance: random.Random) -> Any:
    """Return a copy with a few values that are wrong, missing, or in the wrong place."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 4)):
        if not (ways := list(places(value))):
            break
        way, other = chance.choice(ways), copy.deepcopy(at(value, chance.choice(ways)))
        holder, junk = at(value, way[:-1]), copy.deepcopy(chance.choice(JUNK))
        what = chance.random()
        if what < 0.55:
            holder[way[-1]] = junk
        elif what < 0.7:
            del holder[way[-1]]
        elif what < 0.85:
            holder[way[-1]] = other
        elif isinstance(holder, list):
            holder.insert(chance.randint(0, len(holder)), junk)
        else:
            holder[chance.choice(KEYS)] = junk
    return value


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """Return the bytes with some of them changed or cut out."""
    result = bytearray(raw)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(result))
        if chance.random() < 0.3:
            del result[place : place + chance.randint(1, 40)]
        else:
            result[place] = chance.choice(b'"{}[],:\\\x00\xff0e\n')
        if not result:
            break
    return bytes(result)


def claude() -> list[Any]:
    file = ClaudeFile()
    file.asks("u1", "Look around.")
    task = calls("t1", "Task", prompt="Find tests.", subagent_type="Explore")
    file.says("a1", "Now.", task, {"type": "thinking", "thinking": "Hm.", "signature": "s"}, answer="m1")
    file.says("a2", calls("t2", "Bash", command="ls"), answer="m1")
    file.returns("r1", "t1", "done", toolUseResult={"agentId": "x1"}, parentUuid="a1")
    file.returns("r2", "t2", "done")
    file.add("system", "s1", subtype="compact_boundary", parentUuid=None, logicalParentUuid="r2")
    file.asks("c1", "They looked around.", isCompactSummary=True)
    file.says("a3", "There.")
    file.asks("u2", "And here?", parentUuid="r2")
    file.says("a4", "Here.")
    file.asks("x1", "Find tests.", isSidechain=True)
    file.says("x2", "In tests/.", isSidechain=True, parentUuid="x1")
    return [*map(json.loads, file.lines), {"type": "summary", "summary": "Looking", "leafUuid": "a4"}]


def codex() -> list[Any]:
    rollout = test_codex.Rollout()
    rollout.add("turn_context", model="gpt-5")
    rollout.asks("One?")
    rollout.item("reasoning", summary=[{"type": "summary_text", "text": "Hm."}], encrypted_content="e")
    rollout.item("function_call", name="shell", arguments='{"a": 1}', call_id="c1")
    rollout.item("function_call_output", call_id="c1", output="done")
    rollout.says("One.")
    rollout.event("token_count", info={"total_token_usage": {"input_tokens": 1, "output_tokens": 2}})
    rollout.event("thread_rolled_back", num_turns=1)
    rollout.asks("Two?")
    rollout.add("compacted", message="They talked.", replacement_history=[])
    return [json.loads(line) for line in rollout.lines]


def chatgpt() -> list[Any]:
    talk = test_chatgpt.Conversation()
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://1"}
    talk.add("q1", "user", {"content_type": "multimodal_text", "parts": [picture, "What?"]})
    talk.add("a1", "assistant", "A train.")
    talk.add("a2", "assistant", {"content_type": "code", "text": "1"}, parent="q1", recipient="python")
    talk.add("o1", "tool", "1")
    talk.add("t1", "assistant", {"content_type": "thoughts", "thoughts": [{"content": "Hm."}]})
    return [talk.value, test_chatgpt.Conversation("other").value]


def atif() -> list[Any]:
    return [test_atif.FOREIGN, *(json.loads(line) for line in atif_lines([full()]))]


TEXTS: dict[Kind, tuple[str, Callable[[], list[Any]]]] = {
    "claude-code": (f"{SESSION}.jsonl", claude),
    "codex": (f"rollout-1-{test_codex.SESSION}.jsonl", codex),
    "chatgpt": ("conversations.json", chatgpt),
    "atif": ("talks.json", atif),
}


def llm(path: Path) -> None:
    logs = test_llm.Logs(path)
    with closing(logs.database):
        logs.database.executescript(test_llm.TREE)
        logs.responds("n0", "Old?", "Old.", conversation="t1", options_json='{"a": 1}')
        logs.insert("tool_calls", response_id="n0", name="look", arguments="{}", tool_call_id="k0")
        logs.insert("fragments", id=1, content="A timetable.")
        logs.says("s", None, "system", "Be brief.")
        logs.says("u1", "s", "user", None, ("text", {"text_ref": [{"fragment": 1}, {"literal": "?"}]}))
        logs.says("a1", "u1", "assistant", None, ("tool_call", {"name": "look", "arguments": {}, "tool_call_id": "k1"}))
        logs.says("o1", "a1", "tool", None, ("tool_result", {"name": "look", "output": "x", "tool_call_id": "k1"}))
        logs.says("a2", "o1", "assistant", "There.")
        logs.says("a3", "u1", "assistant", "Here.")
        for name, parent, tip in (("n1", "u1", "a1"), ("n2", "o1", "a2"), ("n3", "u1", "a3")):
            logs.turn(name, parent, tip)
        logs.insert("threads", id="t1", name="Look", tip_message_hash="a2", datetime_utc="2026-11-23T07:00:00")
        logs.insert("threads", id="t2", tip_message_hash="a3", forked_from="t1", datetime_utc="2026-11-23T08:00:00")


def openai_agents(path: Path) -> None:
    items = test_openai_agents.Items(path)
    with closing(items.database):
        call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
        result = {"type": "function_call_output", "call_id": "c1", "output": "x"}
        items.add("s1", test_openai_agents.asks("One?"), call, result, test_openai_agents.says("1"))
        items.add("s1", test_openai_agents.asks("Two?"))
        items.add("s2", test_openai_agents.asks("Three?"))
        items.database.executescript(test_openai_agents.BRANCHES)
        for number, (message, branch) in enumerate([(1, "main"), (2, "main"), (3, "main"), (1, "b"), (5, "b")]):
            row = (number, "s1", message, branch, number, 1)
            items.database.execute("INSERT INTO message_structure VALUES (?, ?, ?, ?, ?, ?)", row)


def agno(path: Path) -> None:
    first = test_agno.run(1)
    memory = {"runs": [{"run_id": "x", "messages": [{"role": "user", "content": "hi"}], "created_at": 1}]}
    old = {"session_id": "old", "agent_id": "ag", "memory": memory, "session_data": {}, "created_at": 1}
    test_agno.database(
        path,
        agno_sessions=[test_agno.session(runs=[first]), test_agno.session(session_id="s2", runs=[test_agno.run(3)])],
        agno_runs=[test_agno.run_row(first, 0), test_agno.run_row(test_agno.run(2, first), 1)],
        agents=[old],
    )


def adk(path: Path) -> None:
    source = test_adk.Adk(path)
    with closing(source.database):
        source.session("s1", "One?", "Two?", state={"n": 1, "seen": ["a"]})
        source.session("s2", "Three?")
        source.session("s1", "Four?", user="bob")
        source.database.execute("INSERT INTO app_states VALUES ('travel', '{\"a\": 1}', 1)")
        source.database.execute("INSERT INTO user_states VALUES ('travel', 'alice', '{\"b\": {}}', 1)")


DATABASES: dict[Kind, Callable[[Path], None]] = {
    "llm": llm,
    "openai-agents": openai_agents,
    "adk": adk,
    "agno": agno,
}


def spoil(path: Path, chance: random.Random) -> None:
    """Change some cells of a database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        tables = [name for (name,) in names]
        for _ in range(chance.randint(1, 4)):
            table = chance.choice(tables)
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            cells = database.execute(f"SELECT rowid, * FROM {table}").fetchall()  # noqa: S608
            if not cells:
                continue
            number, *values = chance.choice(cells)
            column = chance.randrange(len(columns))
            value = values[column]
            if isinstance(value, str) and value[:1] in ("{", "[") and len(value) > 1 and chance.random() < 0.8:
                value = json.dumps(changed(json.loads(value), chance))
            else:
                value = chance.choice([None, 0, -1, 2**62, 1e300, float("inf"), "", "x", "{", b"\xff", b"", "s1", "u1"])
            try:
                database.execute(f'UPDATE {table} SET "{columns[column]}" = ? WHERE rowid = ?', (value, number))  # noqa: S608
            except sqlite3.IntegrityError:
                continue


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_values_are_left_out_and_named(kind: Kind, tmp_path: Path) -> None:
    """Whatever a source holds: a dry run says what an import does, a second import changes nothing, and every document
    can be read."""
    for seed in range(rounds(8, 60, 10_000)):
        chance = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        if kind in TEXTS:
            name, make = TEXTS[kind]
            values = [changed(value, chance) if chance.random() < 0.3 else value for value in make()]
            if chance.random() < 0.2:
                chance.shuffle(values)
            text = "\n".join(map(json.dumps, values)) if name.endswith(".jsonl") else json.dumps(values)
            raw = text.encode()
            (folder / name).write_bytes(damaged(raw, chance) if chance.random() < 0.3 else raw)
        else:
            name = "source.db"
            DATABASES[kind](folder / name)
            spoil(folder / name, chance)
            if chance.random() < 0.2:
                (folder / name).write_bytes(damaged((folder / name).read_bytes(), chance))
        storage_class = chance.choice([JsonStorage, YamlStorage])
        with storage_class(folder / "store", durability="relaxed") as store:
            expected = store.import_from(kind, folder / name, dry_run=True).as_dict()
            result = store.import_from(kind, folder / name).as_dict()
            ids = [
                item.header["session_id"] for item in reader_of(kind)(folder / name) if isinstance(item, SourceSession)
            ]
            if len(ids) == len(set(ids)):  # a dry run does not know what the same import would have written before
                assert result == {**expected, "dry_run": False}, seed
            documents = {path: path.read_bytes() for path in store.root.glob("sessions/*/*")}
            again = store.import_from(kind, folder / name)
            assert (again.added, again.extended, again.runs, again.items) == ((), (), 0, 0), seed
            assert {path: path.read_bytes() for path in store.root.glob("sessions/*/*")} == documents, seed
        with storage_class(folder / "store") as store:
            assert {info.session_id for info in store.list_sessions()} == set(result["added"]), seed
            for session_id in result["added"]:
                assert store.read(session_id) is not None, seed


@pytest.mark.parametrize("kind", KINDS)
def test_a_named_pipe_is_refused(kind: Kind, tmp_path: Path) -> None:
    """It was waited for without an end, or taken for an empty folder."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="This is a pipe or a device"):
        JsonStorage(tmp_path / "store").import_from(kind, tmp_path / "pipe")


def test_a_named_pipe_in_a_folder_is_named(tmp_path: Path) -> None:
    names: dict[Kind, str] = {
        "claude-code": "a.jsonl",
        "codex": "rollout-a.jsonl",
        "chatgpt": "conversations.json",
        "atif": "a.json",
    }
    for kind, name in names.items():
        (tmp_path / kind).mkdir()
        os.mkfifo(tmp_path / kind / name)
        done = JsonStorage(tmp_path / "store").import_from(kind, tmp_path / kind)
        assert [one.path for one in done.skipped if "This is a pipe" in one.problem] == [str(tmp_path / kind / name)]

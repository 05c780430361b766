"""Sessions of Codex CLI: one file `rollout-*.jsonl` per session below `~/.codex/sessions`.

The items of the model's history (`response_item`) are imported; the events repeat their messages for the screen. Turns
that were rolled back become a fork.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import NO_TIME, count, mapping, text, time
from localstore.maintenance.importing.openai_items import ItemReader
from localstore.maintenance.importing.runs import Turn, group
from localstore.maintenance.importing.source import Items, Skipped, SourceSession, fork_header, new_header
from localstore.maintenance.importing.sqlite_file import DATABASE_ERRORS, opened, rows
from localstore.maintenance.importing.tree import fork_id

_REPEATED = ("user_message", "agent_message", "agent_reasoning", "agent_reasoning_raw_content")
"""The events that repeat items."""
_CONTEXT = re.compile(
    r"\s*(<(environment_context|user_instructions|permissions instructions|turn_aborted|skill|collaboration_mode"
    r"|INSTRUCTIONS|app-context|personality_spec)\b|# AGENTS\.md instructions)"
)
"""How a message of the user begins that the program wrote."""
_BEFORE = ("turn_context", "task_started", "turn_started")
"""Lines that belong to the message after them."""
_FILE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


@dataclass(slots=True)
class _Conversation:
    """The conversation so far. Each item of `path` has the turns from one question up to the next."""

    session_id: str
    path: list[list[Turn]] = field(default_factory=lambda: [[]])
    forks: list[list[list[Turn]]] = field(default_factory=list)
    before: list[Turn] = field(default_factory=list)
    """What belongs to the next message."""
    questions: int = 0
    items: ItemReader = field(default_factory=lambda: ItemReader(lambda said: _CONTEXT.match(said) is not None))
    tokens: dict[str, int] = field(default_factory=dict)

    def add(self, turn: Turn, *, is_before: bool = False) -> None:
        if is_before:
            self.before.append(turn)
            return
        if turn.is_question:
            turn.id = str(uuid5(NAMESPACE_URL, f"localstore:{self.session_id}:{self.questions}"))
            self.questions += 1
            if any(other.is_question for other in self.path[-1]):
                self.path.append([])
        self.path[-1] += [turn, *self.before] if turn.is_question else [*self.before, turn]
        self.before = []

    def roll_back(self, turns: int) -> None:
        """Leave the newest turns to a fork."""
        if turns > 0 and any(turn.is_question for turn in self.path[-1]):
            self.forks.append(list(self.path))
            self.path = self.path[:-turns] or [[]]


def read(path: Path) -> Items:
    """Yield the sessions of Codex CLI in a file or below a folder, such as `~/.codex`."""
    files = [path] if path.is_file() else sorted(path.rglob("rollout-*.jsonl"))
    if not files:
        yield Skipped(str(path), "there is no session (rollout-*.jsonl) in it")
    titles = _titles(path) if path.is_dir() else {}
    for file in files:
        try:
            yield from _session(file, titles)
        except OSError as error:
            yield Skipped(str(file), f"it cannot be read ({error.strerror})")


def _titles(folder: Path) -> dict[str, str]:
    """Return the titles that the program keeps in a database beside its sessions, by session."""
    titles: dict[str, str] = {}
    for file in sorted(folder.glob("state_*.sqlite")):
        with contextlib.suppress(*DATABASE_ERRORS), opened(file) as database:
            for row in rows(database, "threads"):
                if (session_id := text(row.get("id"))) and (title := text(row.get("title"))):
                    titles[session_id] = title
    return titles


def _session(path: Path, titles: dict[str, str]) -> Items:
    match = _FILE_ID.search(path.stem)
    meta: dict[str, Any] = {}
    conversation: _Conversation | None = None
    created_at: str | None = None
    for item in json_text.objects(path):
        if isinstance(item, Skipped):
            yield item
            continue
        _, line = item
        moment = time(line.get("timestamp"))
        created_at = created_at or moment
        kind, payload = line.get("type"), line.get("payload")
        if not isinstance(payload, dict):  # early versions wrote the payload alone
            payload = line
            is_meta = "id" in line and "type" not in line
            kind = "session_meta" if is_meta else "response_item" if "type" in line else "record"
        if kind == "session_meta" and not meta:
            meta = payload
            continue
        if conversation is None:
            session_id = text(meta.get("id")) or text(meta.get("session_id")) or (match[0] if match else path.stem)
            conversation = _Conversation(session_id)
        _add(conversation, str(kind), payload, moment)
    if conversation is None or not any(turn.message for turns in conversation.path for turn in turns):
        return
    conversation.path[-1] += conversation.before
    yield from _results(path, conversation, meta, created_at or NO_TIME, titles)


def _results(
    path: Path, conversation: _Conversation, meta: dict[str, Any], created_at: str, titles: dict[str, str]
) -> Iterator[SourceSession]:
    """Yield the forks of a session, and the session."""
    session_id = conversation.session_id
    metadata = {key: value for key, value in meta.items() if key not in ("id", "session_id", "timestamp")}
    instructions = text(metadata.pop("instructions", None))
    base = metadata.pop("base_instructions", None)
    instructions = text(mapping(base).get("text")) or instructions
    origin = text(metadata.pop("forked_from_id", None)) or text(metadata.pop("forked_from", None))
    header = new_header("codex", session_id, created_at, name=titles.get(session_id), metadata=metadata)
    if origin is not None and origin != session_id:
        header["forked_from"] = {"session_id": origin}

    def entries_of(target: str, turns: list[list[Turn]]) -> list[dict[str, Any]]:
        first = Turn(run={"instructions": instructions}, created_at=None)
        return group(target, [first, *(turn for part in turns for turn in part)])

    main = entries_of(session_id, conversation.path)
    forks = []
    shared = {turn.id for part in conversation.path for turn in part if turn.is_question}
    for turns in conversation.forks:
        own = next((turn for part in turns for turn in part if turn.is_question and turn.id not in shared), None)
        if own is None or own.id is None:
            continue
        fork = fork_id(session_id, own.id)
        entries = entries_of(fork, turns)
        forks.append(SourceSession(fork_header(header, fork, own.created_at, main, entries), entries, str(path)))
        yield forks[-1]
    yield SourceSession(header, main, str(path), forks)


def _add(conversation: _Conversation, kind: str, payload: dict[str, Any], moment: str | None) -> None:
    """Add a line to the conversation."""
    event = text(payload.get("type"))
    if kind == "response_item":
        turn = conversation.items.turn(payload)
        turn.created_at = moment
        conversation.add(turn)
    elif kind == "event_msg" and event in _REPEATED:
        return
    elif kind == "event_msg" and event == "token_count":
        limits = payload.get("rate_limits")
        other = {"type": event, "rate_limits": limits} if limits else None
        conversation.add(Turn(created_at=moment, metrics=_tokens(payload, conversation), other=other))
    elif kind == "event_msg" and event == "thread_rolled_back":
        conversation.roll_back(count(payload.get("num_turns")) or 0)
    else:
        run: dict[str, Any] = {}
        if kind == "turn_context":
            run["model"] = text(payload.get("model"))
        elif kind == "compacted":
            run["session_summary"] = text(payload.get("message"))
        elif event == "turn_aborted":
            run["status"] = "cancelled"
        elif event == "error" and kind == "event_msg":
            run["error"] = text(payload.get("message"))
        other = payload if kind == "event_msg" else {"type": kind, **payload} if "type" not in payload else payload
        conversation.add(Turn(created_at=moment, run=run, other=other), is_before=kind in _BEFORE or event in _BEFORE)


def _tokens(payload: dict[str, Any], conversation: _Conversation) -> dict[str, Any]:
    """Return the tokens since the last such event: the events have the sums, and repeat them."""
    info = mapping(payload.get("info"))
    names = {
        "input_tokens": "input_tokens",
        "cached_tokens": "cached_input_tokens",
        "output_tokens": "output_tokens",
        "reasoning_tokens": "reasoning_output_tokens",
    }
    totals = mapping(info.get("total_token_usage"))
    if not totals:
        last = mapping(info.get("last_token_usage"))
        return {name: count(last.get(key)) for name, key in names.items()}
    known = {name: value for name, key in names.items() if (value := count(totals.get(key))) is not None}
    before, conversation.tokens = conversation.tokens, known
    return {name: value - before.get(name, 0) for name, value in known.items() if value >= before.get(name, 0)}

"""Conversations of the command `llm`: its database `logs.db`.

Since version 0.36, it holds a tree of messages. A thread is a path through the tree, and a turn is one call of a model.
Earlier versions had a table of responses, which a newer database keeps. A continued conversation is in both: its thread
begins with the messages of those responses.
"""

import base64
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import NO_TIME, count, items, mapping, text, time
from localstore.maintenance.importing.parts import arguments, data_part, media_part, simplified, text_part
from localstore.maintenance.importing.runs import IMPORTED, Turn, group
from localstore.maintenance.importing.source import Items, Skipped, SourceSession, fork_header, new_header
from localstore.maintenance.importing.sqlite_file import DATABASE_ERRORS, opened, rows
from localstore.maintenance.importing.tree import branches, fork_id

Row = dict[str, Any]


def read(path: Path) -> Items:
    """Yield the conversations in `logs.db`, or in the folder that holds it."""
    file = path / "logs.db" if path.is_dir() else path
    try:
        with opened(file) as database:
            yield from _conversations(file, database)
    except DATABASE_ERRORS as error:
        yield Skipped(str(file), f"it cannot be read as a database ({error})")


def _conversations(path: Path, database: sqlite3.Connection) -> Items:
    threads = {row["id"]: row for row in rows(database, "threads", order="datetime_utc, id") if text(row.get("id"))}
    for thread in threads.values():
        yield from _Thread(path, database, thread, threads).sessions()
    ids = [row["id"] for row in rows(database, "conversations", order="id") if text(row.get("id"))]
    for session_id in ids:
        if session_id not in threads:
            yield from _Legacy(database).sessions(path, session_id)
    for row in rows(database, "responses", where="conversation_id IS NULL", order="id"):
        if text(row.get("id")) and not any(rows(database, "turns", where="id = ?", values=(row["id"],))):
            yield from _Legacy(database).sessions(path, row["id"], [row])


def _json(value: Any) -> Any:
    """Return the value of a column that holds JSON; its text, if it is not valid."""
    if not isinstance(value, str):
        return None
    try:
        return json_text.parse(value)
    except json_text.Unreadable:
        return value


def _call_fields(row: Row) -> tuple[Row, Row, Row]:
    """Return the run's keys, the metrics and the other keys of a turn or response, which is one call of a model."""
    asked, answered = text(row.get("model")), text(row.get("resolved_model"))
    run = {"model": answered or asked}
    if answered and asked and answered != asked:
        run["requested_model"] = asked
    details = mapping(_json(row.get("token_details")))
    duration = row.get("duration_ms")
    metrics = {
        "input_tokens": count(row.get("input_tokens")),
        "output_tokens": count(row.get("output_tokens")),
        "cached_tokens": count(mapping(details.get("prompt_tokens_details")).get("cached_tokens")),
        "reasoning_tokens": count(mapping(details.get("completion_tokens_details")).get("reasoning_tokens")),
        "duration_seconds": duration / 1000 if isinstance(duration, int) and 0 <= duration < 2**53 else None,
    }
    others = {
        "id": row.get("id"),
        "options": _json(row.get("options_json")) or None,
        "schema_id": row.get("schema_id"),
        "response": _json(row.get("response_json")),
    }
    return run, metrics, {key: value for key, value in others.items() if value is not None}


def _attachment(row: Row) -> dict[str, Any]:
    """Return an attachment as a part of a message."""
    mime_type = text(row.get("type"))
    kind = (mime_type or "").partition("/")[0]
    name = kind if kind in ("image", "audio") else "file"
    if isinstance(row.get("content"), bytes):
        data = base64.b64encode(row["content"]).decode()
        return media_part(name, f"data:{mime_type or 'application/octet-stream'};base64,{data}", mime_type)
    if url := text(row.get("url")):
        return media_part(name, url, mime_type)
    if path := text(row.get("path")):
        return {"type": name, "path": path} | ({"mime_type": mime_type} if mime_type else {})
    return data_part({key: value for key, value in row.items() if value is not None})


def _attachments(database: sqlite3.Connection, ids: list[Any]) -> list[dict[str, Any]]:
    found = []
    for key in ids:
        stored = next(rows(database, "attachments", where="id = ?", values=(key,)), None) if text(key) else None
        found.append(_attachment(stored) if stored is not None else data_part({"attachment": key}))
    return found


def _fragments(database: sqlite3.Connection, table: str, response_id: str) -> list[str]:
    """Return the texts of the fragments that a response was asked with."""
    texts = []
    for link in rows(database, table, where="response_id = ?", values=(response_id,), order='"order"'):
        for fragment in rows(database, "fragments", where="id = ?", values=(link.get("fragment_id"),)):
            texts.append(text(fragment.get("content")) or "")
    return texts


@dataclass(slots=True)
class _Legacy:
    """The tables before version 0.36."""

    database: sqlite3.Connection

    def sessions(self, path: Path, session_id: str, responses: list[Row] | None = None) -> Items:
        """Yield the session of a conversation."""
        responses = self.responses(session_id) if responses is None else responses
        entries = group(session_id, (turn for row in responses for turn in self.turns(row)), is_over=True)
        if not entries:
            return
        (conversation, *_) = [*rows(self.database, "conversations", where="id = ?", values=(session_id,)), {}]
        header = new_header("llm", session_id, entries[0]["created_at"], name=conversation.get("name"))
        yield SourceSession(header, entries, str(path))

    def responses(self, session_id: str) -> list[Row]:
        """Return the responses of a conversation that are not also turns."""
        found = rows(self.database, "responses", where="conversation_id = ?", values=(session_id,), order="id")
        known = [row for row in found if text(row.get("id"))]
        return [row for row in known if not any(rows(self.database, "turns", where="id = ?", values=(row["id"],)))]

    def turns(self, row: Row) -> Iterator[Turn]:
        """Yield the results of tools, the question and the answer of a response."""
        run, metrics, others = _call_fields(row)
        moment = time(row.get("datetime_utc"))
        system = "\n".join(
            [*_fragments(self.database, "system_fragments", row["id"]), *filter(None, [text(row.get("system"))])]
        )
        results = list(rows(self.database, "tool_results", where="response_id = ?", values=(row["id"],), order="id"))
        for result in results:
            yield Turn(_result(result, self._result_attachments(result)), moment)
        links = rows(self.database, "prompt_attachments", where="response_id = ?", values=(row["id"],), order='"order"')
        attachments = _attachments(self.database, [link.get("attachment_id") for link in links])
        fragments = _fragments(self.database, "prompt_fragments", row["id"])
        question = "\n".join([*fragments, text(row.get("prompt")) or ""])
        if question or attachments or not results:
            parts = [*([text_part(question)] if question else []), *attachments]
            content = simplified(parts)
            message = {"role": "user", **({"content": content} if content is not None else {})}
            yield Turn(message, moment, True, row["id"], run={"instructions": system or None})
        answer: dict[str, Any] = {"role": "assistant"}
        if said := text(row.get("response")):
            answer["content"] = said
        calls = list(rows(self.database, "tool_calls", where="response_id = ?", values=(row["id"],), order="id"))
        if calls:
            answer["tool_calls"] = [_call(call) for call in calls]
        if thought := text(row.get("reasoning")):
            answer["reasoning"] = thought
        yield Turn(answer | {IMPORTED: others}, moment, run=run, metrics=metrics)

    def _result_attachments(self, result: Row) -> list[dict[str, Any]]:
        links = rows(
            self.database,
            "tool_results_attachments",
            where="tool_result_id = ?",
            values=(result.get("id"),),
            order='"order"',
        )
        return _attachments(self.database, [link.get("attachment_id") for link in links])


def _call(row: Row) -> dict[str, Any]:
    call = {"name": text(row.get("name")) or "tool", "arguments": arguments(row.get("arguments"))}
    return {"id": row["tool_call_id"], **call} if text(row.get("tool_call_id")) else call


def _result(row: Row, attachments: list[dict[str, Any]]) -> dict[str, Any]:
    output = row.get("output")
    said = [text_part(output)] if isinstance(output, str) else [] if output is None else [data_part(output)]
    message: dict[str, Any] = {"role": "tool"}
    if (content := simplified([*said, *attachments])) is not None:
        message["content"] = content
    for key, name in (("name", "name"), ("tool_call_id", "tool_call_id")):
        if text(row.get(key)):
            message[name] = row[key]
    used = ("id", "response_id", "output", "name", "tool_call_id", "tool_id", "type", "attachments")
    others = {key: value for key, value in row.items() if key not in used and value is not None}
    return message | ({IMPORTED: others} if others else {})


@dataclass(slots=True)
class _Thread:
    """A thread of the tree of messages."""

    path: Path
    database: sqlite3.Connection
    row: Row
    threads: dict[str, Row]
    messages: dict[str, Row] = field(default_factory=dict)

    def sessions(self) -> Items:
        """Yield the session of the thread, after those of its branches."""
        session_id = self.row["id"]
        own = list(rows(self.database, "turns", where="thread_id = ?", values=(session_id,), order="datetime_utc, id"))
        tips = [tip for turn in reversed(own) if (tip := text(turn.get("tip_message_hash")))]
        current = text(self.row.get("tip_message_hash")) or (tips[0] if tips else None)
        for tip in [current, *tips]:
            self._load(tip)
        leaves = [tip for tip in tips if tip in self.messages]
        if current not in self.messages:
            if leaves:
                current = leaves[0]
            else:
                if current is not None:
                    yield Skipped(str(self.path), "its newest message is missing", session_id=session_id)
                return
        turns = self._turns_of_origins(own)
        parents = {key: text(row.get("parent_hash")) for key, row in self.messages.items()}
        main, *others = branches(current, leaves, parents)
        legacy = _Legacy(self.database).responses(session_id)
        entries = group(session_id, self._turns(main.nodes, turns, legacy), is_over=True)
        if not entries:
            return
        created_at = time(self.row.get("datetime_utc")) or entries[0]["created_at"] or NO_TIME
        header = new_header("llm", session_id, min(created_at, entries[0]["created_at"]), name=self.row.get("name"))
        forks: list[SourceSession] = []
        for branch, first in others:
            target = fork_id(session_id, first or branch[-1])
            history = group(target, self._turns(branch, turns, legacy), is_over=True)
            fork = fork_header(header, target, history[-1]["created_at"], entries, history)
            forks.append(SourceSession(fork, history, str(self.path)))
            yield forks[-1]
        origin = text(self.row.get("forked_from"))
        if origin is not None:
            ids = {turn["id"] for turn in own}
            shared = [entry["run_id"] for entry in entries if entry["run_id"] not in ids]
            header["forked_from"] = {"session_id": origin} | ({"run_id": shared[-1]} if shared else {})
        yield SourceSession(header, entries, str(self.path), forks)

    def _load(self, key: str | None) -> None:
        """Load a message and all before it."""
        while key is not None and key not in self.messages:
            row = next(rows(self.database, "messages", where="hash = ?", values=(key,)), None)
            if row is None:
                return
            self.messages[key] = row
            key = text(row.get("parent_hash"))

    def _turns_of_origins(self, own: list[Row]) -> list[Row]:
        """Return the turns of the thread and of those that it was forked from, the own ones first."""
        found = list(own)
        seen = {self.row["id"]}
        origin = text(self.row.get("forked_from"))
        while origin is not None and origin not in seen:
            seen.add(origin)
            found += rows(self.database, "turns", where="thread_id = ?", values=(origin,), order="datetime_utc, id")
            origin = text(self.threads.get(origin, {}).get("forked_from"))
        return [turn for turn in found if text(turn.get("id"))]

    def _turns(self, branch: list[str], turns: list[Row], legacy: list[Row]) -> Iterator[Turn]:
        """Yield the messages of a branch, with what its turns know of them.

        Where earlier versions asked, the responses that they stored are yielded: the tree has only a copy of their
        messages, without attachments.
        """
        nodes = set(branch)
        by_tip: dict[Any, Row] = {}
        by_parent: dict[Any, Row] = {}
        for row in reversed([row for row in turns if row.get("tip_message_hash") in nodes]):
            by_tip[row["tip_message_hash"]] = row
            by_parent[row.get("parent_message_hash")] = row
        waiting = list(legacy)
        is_copy = False
        moment: str | None = None
        instructions: str | None = None
        for key in branch:
            role = text(self.messages[key].get("role")) or "user"
            asked, answered = by_parent.get(key), by_tip.get(key)
            call = asked or answered
            if role == "user" or answered is not None:
                is_copy = call is None and bool(legacy)
            if is_copy and role != "system":
                continue
            moment = time(call.get("datetime_utc")) if call is not None else moment
            while waiting and role == "user" and (time(waiting[0].get("datetime_utc")) or "") <= (moment or ""):
                yield from _Legacy(self.database).turns(waiting.pop(0))
            for message in self._messages(key, role):
                if role == "system" and isinstance(message.get("content"), str):
                    instructions = message["content"]
                    continue
                turn = Turn(message, moment)
                if role == "user":
                    turn.is_question, turn.id = True, asked["id"] if asked is not None else key
                    turn.run = {"instructions": instructions}
                elif role == "assistant" and answered is not None:
                    turn.run, turn.metrics, others = _call_fields(answered)
                    message[IMPORTED] = {**message.get(IMPORTED, {}), **others}
                yield turn
        for row in waiting:
            yield from _Legacy(self.database).turns(row)

    def _messages(self, key: str, role: str) -> list[dict[str, Any]]:
        """Return a message of the tree as messages of a document: each result of a tool is one."""
        message: dict[str, Any] = {"role": role}
        parts: list[dict[str, Any]] = []
        results = []
        reasoning = []
        others: dict[str, Any] = {}
        for row in rows(self.database, "parts", where="message_hash = ?", values=(key,), order="position"):
            payload = mapping(_json(row.get("payload")))
            said = self._text(row, payload)
            kind = row.get("type")
            rest = {k: v for k, v in payload.items() if k not in ("text", "text_ref", "attachment")}
            if kind == "text":
                parts.append({**text_part(said), **rest})
            elif kind == "reasoning":
                reasoning += [said] if said else []
                others.setdefault("content", []).extend([{"type": kind, **rest}] if rest else [])
            elif kind == "tool_call":
                call: dict[str, Any] = {"name": text(payload.get("name")) or text(row.get("tool_name")) or "tool"}
                call["arguments"] = arguments(payload.get("arguments"))
                extra = {k: v for k, v in rest.items() if k not in ("name", "arguments", "tool_call_id")}
                known = {"id": payload["tool_call_id"]} if text(payload.get("tool_call_id")) else {}
                message.setdefault("tool_calls", []).append({**known, **call, **extra})
            elif kind == "tool_result":
                ids = [mapping(link).get("id") for link in items(payload.get("attachments"))]
                results.append(_result(payload, _attachments(self.database, ids)))
            elif kind == "attachment":
                parts += _attachments(self.database, [mapping(payload.get("attachment")).get("id")])
            else:
                parts.append(
                    data_part({k: v for k, v in row.items() if k not in ("id", "message_hash") and v is not None})
                )
        if (content := simplified(parts)) is not None:
            message["content"] = content
        if reasoning:
            message["reasoning"] = "\n\n".join(reasoning)
        if details := _json(self.messages[key].get("provider_metadata")):
            others["provider_metadata"] = details
        if others := {k: v for k, v in others.items() if v}:
            message[IMPORTED] = others
        return [*results, *([message] if len(message) > 1 or not results else [])]

    def _text(self, row: Row, payload: dict[str, Any]) -> str:
        """Return the text of a part, in which fragments are references."""
        if isinstance(row.get("text"), str):
            return str(row["text"])
        said = []
        for piece in items(payload.get("text_ref")):
            if isinstance(mapping(piece).get("literal"), str):
                said.append(piece["literal"])
            elif (number := mapping(piece).get("fragment")) is not None and isinstance(number, int):
                said += [
                    text(row.get("content")) or ""
                    for row in rows(self.database, "fragments", where="id = ?", values=(number,))
                ]
        return "".join(said)

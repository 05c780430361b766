"""Sessions of the OpenAI Agents SDK: the databases of `SQLiteSession`, `AdvancedSQLiteSession` and `SQLAlchemySession`.

The names of the tables are chosen by the program, so they are found by their columns.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import count, mapping, text, time
from localstore.maintenance.importing.openai_items import ItemReader
from localstore.maintenance.importing.runs import Turn, group
from localstore.maintenance.importing.source import Items, Skipped, SourceSession, fork_header, new_header
from localstore.maintenance.importing.sqlite_file import DATABASE_ERRORS, columns, opened, rows, tables
from localstore.maintenance.importing.tree import fork_id

Row = dict[str, Any]
_MAIN = "main"
"""The branch with which the SDK opens a session."""


def read(path: Path) -> Items:
    """Yield the sessions in a database of the OpenAI Agents SDK."""
    if path.is_dir():
        raise IsADirectoryError(21, "This is a folder. Name the database in it", str(path))
    try:
        with opened(path) as database:
            found = [
                table for table in tables(database) if {"session_id", "message_data"} <= {*columns(database, table)}
            ]
            if not found:
                yield Skipped(str(path), "it has no table of messages of the OpenAI Agents SDK")
            for table in found:
                name = table.replace('"', '""')
                ids = database.execute(f'SELECT session_id FROM "{name}" GROUP BY 1 ORDER BY min(id)')  # noqa: S608
                for (session_id,) in ids.fetchall():
                    if text(session_id):
                        yield from _session(path, database, table, session_id)
    except DATABASE_ERRORS as error:
        yield Skipped(str(path), f"it cannot be read as a database ({error})")


def _session(path: Path, database: sqlite3.Connection, table: str, session_id: str) -> Items:
    items: dict[Any, tuple[Row, dict[str, Any]]] = {}
    for row in rows(database, table, where="session_id = ?", values=(session_id,), order="id"):
        try:
            item = json_text.parse(row["message_data"]) if isinstance(row.get("message_data"), (str, bytes)) else None
        except json_text.Unreadable as error:
            yield Skipped(str(path), str(error), count(row.get("id")), session_id)
            continue
        if not isinstance(item, dict):
            yield Skipped(str(path), "it is not a JSON object", count(row.get("id")), session_id)
        elif "__enc__" in item:
            yield Skipped(str(path), "it is encrypted", count(row.get("id")), session_id)
        else:
            items[row.get("id")] = row, item
    if not items:
        return
    created_at = next((moment for row, _ in items.values() if (moment := time(row.get("created_at")))), None)
    branches = _branches(database, session_id, list(items))
    main = group(session_id, _turns(session_id, items, branches.pop(_MAIN)))
    header = new_header("openai-agents", session_id, created_at or main[0]["created_at"])
    forks: list[SourceSession] = []
    shared = {entry["run_id"] for entry in main}
    for name, parts in branches.items():
        target = fork_id(session_id, name)
        entries = group(target, _turns(session_id, items, parts))
        own = next((entry for entry in entries if entry["run_id"] not in shared), None)
        if own is not None:
            forks.append(
                SourceSession(fork_header(header, target, own["created_at"], main, entries), entries, str(path))
            )
            yield forks[-1]
    yield SourceSession(header, main, str(path), forks)


def _branches(database: sqlite3.Connection, session_id: str, ids: list[Any]) -> dict[str, list[tuple[Any, Row]]]:
    """Return the ids of the items of each branch, in order, with the tokens of the turns that they begin.

    Without the table of branches, the main branch has all items.
    """
    usage = {
        (row.get("branch_id"), row.get("user_turn_number")): row
        for row in rows(database, "turn_usage", where="session_id = ?", values=(session_id,))
    }
    branches: dict[str, list[tuple[Any, Row]]] = {}
    known = set(ids)
    structure = rows(
        database, "message_structure", where="session_id = ?", values=(session_id,), order="sequence_number"
    )
    for row in structure:
        if row.get("message_id") in known and text(row.get("branch_id")):
            cost = usage.get((row["branch_id"], row.get("user_turn_number")), {})
            branches.setdefault(row["branch_id"], []).append((row["message_id"], cost))
    if _MAIN not in branches:
        others = {message_id for parts in branches.values() for message_id, _ in parts}
        branches[_MAIN] = [(message_id, {}) for message_id in ids if message_id not in others or len(branches) == 0]
        if not branches[_MAIN]:
            branches[_MAIN] = branches.pop(next(iter(branches)))
    return branches


def _turns(session_id: str, items: dict[Any, tuple[Row, Row]], parts: list[tuple[Any, Row]]) -> Iterator[Turn]:
    """Yield the turns of a branch."""
    reader = ItemReader(lambda _: False)
    for message_id, cost in parts:
        row, item = items[message_id]
        turn = reader.turn(item)
        turn.created_at = time(row.get("created_at"))
        name = f"localstore:{session_id}:item:{message_id}:{row.get('created_at')}"
        turn.id = str(uuid5(NAMESPACE_URL, name))
        if turn.is_question:
            details = mapping(_details(cost.get("input_tokens_details")))
            turn.metrics = {
                "input_tokens": count(cost.get("input_tokens")),
                "output_tokens": count(cost.get("output_tokens")),
                "cached_tokens": count(details.get("cached_tokens")),
                "reasoning_tokens": count(mapping(_details(cost.get("output_tokens_details"))).get("reasoning_tokens")),
            }
        yield turn


def _details(value: Any) -> Any:
    try:
        return json_text.parse(value) if isinstance(value, str) else None
    except json_text.Unreadable:
        return None

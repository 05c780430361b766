"""Sessions of the OpenAI Agents SDK: the databases of `SQLiteSession`, `AdvancedSQLiteSession` and `SQLAlchemySession`.

The names of the tables are chosen by the program, so they are found by their columns. The items stay as they are, so
that `localstore.integrations.openai_agents` continues the sessions.
"""

import sqlite3
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import NO_TIME, count, text, time
from localstore.maintenance.importing.source import (
    Items,
    Skipped,
    SourceSession,
    fork_header,
    item_entry,
    new_header,
)
from localstore.maintenance.importing.sqlite_file import DATABASE_ERRORS, columns, opened, rows, tables
from localstore.maintenance.importing.tree import fork_id

Row = dict[str, Any]
SOURCE = "openai-agents"
"""The source of the items, as the adapter names it."""
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
                    else:
                        yield Skipped(str(path), "it has items of a session without an id")
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
    created_at = next((moment for row, _ in items.values() if (moment := time(row.get("created_at")))), NO_TIME)
    header = new_header("openai-agents", session_id, created_at)
    branches = _branches(database, session_id, list(items))
    main = branches.pop(_MAIN)
    for name, ids in branches.items():
        own = next((one for one in ids if one not in main), None)
        if own is not None:
            begun_at = time(items[own][0].get("created_at"))
            fork = fork_header(header, fork_id(session_id, name), begun_at, [], [])
            yield SourceSession(fork, [_entry(session_id, *items[one], created_at) for one in ids], str(path))
    yield SourceSession(header, [_entry(session_id, *items[one], created_at) for one in main], str(path))


def _entry(session_id: str, row: Row, item: dict[str, Any], created_at: str) -> dict[str, Any]:
    """Return an item as the adapter `localstore.integrations.openai_agents` stores it."""
    name = f"localstore:{session_id}:item:{row.get('id')}:{row.get('created_at')}:{row['message_data']}"
    return item_entry(SOURCE, str(uuid5(NAMESPACE_URL, name)), time(row.get("created_at")) or created_at, item)


def _branches(database: sqlite3.Connection, session_id: str, ids: list[Any]) -> dict[str, list[Any]]:
    """Return the ids of the items of each branch, in order.

    Without the table of branches, the main branch has all items.
    """
    branches: dict[str, list[Any]] = {}
    known = set(ids)
    structure = rows(
        database, "message_structure", where="session_id = ?", values=(session_id,), order="sequence_number"
    )
    for row in structure:
        if row.get("message_id") in known and text(row.get("branch_id")):
            branches.setdefault(row["branch_id"], []).append(row["message_id"])
    if _MAIN not in branches:
        others = {message_id for parts in branches.values() for message_id in parts}
        branches[_MAIN] = [message_id for message_id in ids if message_id not in others or len(branches) == 0]
        if not branches[_MAIN]:
            branches[_MAIN] = branches.pop(next(iter(branches)))
    return branches

"""Sessions of Google's Agent Development Kit, in SQLite: those of `DatabaseSessionService` and `SqliteSessionService`.

They become what `LocalSessionService` of `localstore.integrations.adk` stores, so that the ADK continues them: one item
for each event, and a session each for the state of an app and of a user.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import NO_TIME, mapping, text, time
from localstore.maintenance.importing.source import (
    Entry,
    Items,
    Skipped,
    SourceSession,
    item_entry,
    new_header,
)
from localstore.maintenance.importing.sqlite_file import DATABASE_ERRORS, columns, opened, rows
from localstore.models.joined_names import escaped_name

Row = dict[str, Any]
SOURCE = "adk"
"""The source of the items, as the adapter names it."""


def read(path: Path) -> Items:
    """Yield the sessions in a database of the ADK, and before them the states that they share."""
    if path.is_dir():
        raise IsADirectoryError(21, "This is a folder. Name the database in it", str(path))
    try:
        with opened(path) as database:
            if not {"app_name", "user_id", "id", "state"} <= {*columns(database, "sessions")}:
                yield Skipped(str(path), "it has no table of sessions of the ADK")
                return
            has_events = "event_data" in columns(database, "events")
            if not has_events:
                problem = "its events are in the older form of the ADK. Run 'adk migrate session' first"
                yield Skipped(str(path), problem)
                return
            for row in rows(database, "app_states", order="rowid"):
                yield from _shared(path, row, _key(text(row.get("app_name")) or ""))
            for row in rows(database, "user_states", order="rowid"):
                app, user = (text(row.get(name)) or "" for name in ("app_name", "user_id"))
                yield from _shared(path, row, _key(app, user))
            for row in rows(database, "sessions", order="create_time, rowid"):
                yield from _session(path, database, row)
    except DATABASE_ERRORS as error:
        yield Skipped(str(path), f"it cannot be read as a database ({error})")


def _key(*names: str) -> str:
    """Return the id under which the adapter stores a session, or the state of an app or a user."""
    return "".join(f"{escaped_name(name)}/" for name in names)


def _header(row: Row, session_id: str, created_at: str) -> dict[str, Any]:
    owner = {"agent_id": text(row.get("app_name")), "user_id": text(row.get("user_id"))}
    header = new_header("adk", session_id, created_at)
    return header | {key: value for key, value in owner.items() if value is not None}


def _shared(path: Path, row: Row, session_id: str) -> Items:
    """Yield the session that holds the state of an app or of a user, if it has one."""
    try:
        state = _parsed(row.get("state"))
    except json_text.Unreadable as error:
        yield Skipped(str(path), str(error), session_id=session_id)
        return
    if state:
        at = time(row.get("update_time")) or NO_TIME
        item_id = _id(session_id, json.dumps(state, sort_keys=True))
        entry = item_entry(SOURCE, item_id, at, {"state_delta": state}, state)
        yield SourceSession(_header(row, session_id, at), [entry], str(path))


def _session(path: Path, database: sqlite3.Connection, row: Row) -> Items:
    names = {name: text(row.get(column)) or "" for name, column in _NAMES.items()}
    session_id = _key(names["app_name"], names["user_id"]) + names["session_id"]
    created_at = time(row.get("create_time")) or NO_TIME
    entries: list[Entry] = [item_entry(SOURCE, _id(session_id, "beginning"), created_at, names)]
    condition = "app_name = ? AND user_id = ? AND session_id = ?"
    for event in rows(database, "events", where=condition, values=tuple(names.values()), order="timestamp, rowid"):
        event_id = text(event.get("id"))
        try:
            data = _parsed(event.get("event_data"))
        except json_text.Unreadable as error:
            yield Skipped(str(path), f"event {event_id}: {error}", session_id=session_id)
            continue
        if not data or event_id is None:
            yield Skipped(str(path), f"event {event_id} is not a JSON object", session_id=session_id)
            continue
        data |= {"id": event_id, "invocation_id": event.get("invocation_id")}
        at = time(data.get("timestamp")) or time(event.get("timestamp")) or created_at
        entries.append(item_entry(SOURCE, event_id, at, data))
    try:
        state = _parsed(row.get("state"))
    except json_text.Unreadable as error:
        yield Skipped(str(path), f"its state: {error}", session_id=session_id)
        state = {}
    if state:
        last = entries[-1]
        entries[-1] = item_entry(SOURCE, last["item_id"], last["created_at"], last["data"], state)
    yield SourceSession(_header(row, session_id, created_at), entries, str(path))


_NAMES = {"app_name": "app_name", "user_id": "user_id", "session_id": "id"}
"""The names that identify a session in the ADK, with their columns."""


def _parsed(value: Any) -> dict[str, Any]:
    """Return the mapping in a column, {} if it holds none. Raises Unreadable."""
    return mapping(json_text.parse(value)) if isinstance(value, (str, bytes)) else {}


def _id(session_id: str, name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"localstore:adk:{session_id}:{name}"))

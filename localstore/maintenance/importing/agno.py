"""Sessions of agno: databases of agno 1.x, 2.x and 3.x in SQLite, folders of their JSON databases, and files of 1.x.

They become the documents that an upgrade makes of files of agno 1.x, and that `LocalDb` writes for agno 2.x and 3.x, so
that agno can continue them. See "Version 0" and "Sessions of agno 2.x and 3.x" in FORMAT.md.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args
from uuid import NAMESPACE_URL, uuid5

from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.agno_db.history import extract_system, refer_to_history
from localstore.format.agno_db.runs import RunKind, in_order, names_owner, to_entry
from localstore.format.agno_db.sessions import to_fields
from localstore.format.document import LAYOUTS, order_header, parse_document
from localstore.format.versions import CannotUpgrade, upgraded
from localstore.format.versions.agno_remainder import KEY as REMAINDER
from localstore.format.versions.agno_remainder import is_remainder, restored
from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import NO_TIME, text, time
from localstore.maintenance.importing.source import Entry, Items, Skipped, SourceSession
from localstore.maintenance.importing.sqlite_file import DATABASE_ERRORS, columns, opened, rows, tables

Row = dict[str, Any]
RunsOf = Callable[[str], list[Row]]
SESSION_COLUMNS = {"session_id", "session_data"}
"""The columns by which a table of agno's sessions is recognised."""
RUN_COLUMNS = {"run_id", "session_id", "run_data"}
"""The columns by which a table of the runs of agno 3.x is recognised."""
JSON_COLUMNS = (
    *(
        "memory",
        "session_data",
        "extra_data",
        "agent_data",
        "team_data",
        "workflow_data",
        "metadata",
        "summary",
        "runs",
    ),
    "run_data",
)
"""The columns that hold JSON."""
REMAINDERS = ("extra_data", "metadata")
"""The columns of agno 1.x, and of 2.x and 3.x, in which an undo keeps what agno has no column for."""
_JSON_DATABASE = ("agno_sessions.json", "agno_runs.json")


def read(path: Path) -> Items:
    """Yield the sessions in a SQLite database, in a file of agno 1.x, or in a folder of JSON files."""
    if path.is_dir():
        if (path / _JSON_DATABASE[0]).exists():
            yield from _json_database(path)
        else:
            files = [file for file in sorted(path.iterdir()) if file.suffix in LAYOUTS and file.is_file()]
            if not files:
                yield Skipped(str(path), "there is no session of agno (*.json or *.yaml) in it")
            for file in files:
                yield from _file(file)
    elif path.name in _JSON_DATABASE:
        yield from _json_database(path.parent)
    elif path.suffix in LAYOUTS:
        yield from _file(path)
    else:
        try:
            with opened(path) as database:
                yield from _database(path, database)
        except DATABASE_ERRORS as error:
            yield Skipped(str(path), f"it cannot be read as a database ({error})")


def _file(path: Path) -> Items:
    """Yield the session in a file of agno 1.x."""
    try:
        parsed = parse_document(path.read_bytes(), LAYOUTS[path.suffix], path)
    except DocumentBroken as error:
        yield Skipped(str(path), error.problem or str(error), error.line)
    except LocalstoreError as error:
        yield Skipped(str(path), str(error))
    except OSError as error:
        yield Skipped(str(path), f"it cannot be read ({error.strerror})")
    else:
        yield SourceSession(_without_schema(parsed.header), parsed.entries, str(path))


def _without_schema(header: Row) -> Row:
    return {key: value for key, value in header.items() if key != "$schema"}


def _json_database(folder: Path) -> Items:
    """Yield the sessions of a JSON database of agno 2.x or 3.x."""
    by_session: dict[str, list[Row]] = {}
    runs, sessions = folder / _JSON_DATABASE[1], folder / _JSON_DATABASE[0]
    for item in json_text.elements(runs) if runs.exists() else ():
        if isinstance(item, Skipped):
            yield item
        elif session_id := text(item[1].get("session_id")):
            by_session.setdefault(session_id, []).append(item[1])
    for item in json_text.elements(sessions):
        if isinstance(item, Skipped):
            yield item
        else:
            record = {"session_type": None, **item[1]}
            yield from row_session(str(sessions), item[0], record, lambda session_id: by_session.get(session_id, []))


def _database(path: Path, database: sqlite3.Connection) -> Items:
    """Yield the sessions of all tables of a SQLite database. The user chooses the names of the tables."""
    known = {table: set(columns(database, table)) for table in tables(database)}
    run_tables = [table for table, names in known.items() if names >= RUN_COLUMNS]
    session_tables = [table for table, names in known.items() if names >= SESSION_COLUMNS]
    if not session_tables:
        yield Skipped(str(path), "it has no table of agno's sessions")

    def runs_of(session_id: str) -> list[Row]:
        found: list[Row] = []
        for table in run_tables:
            found += rows(database, table, where="session_id = ?", values=(session_id,), order="run_index, created_at")
        return found

    for table in session_tables:
        for number, row in enumerate(rows(database, table, order="created_at, session_id"), 1):
            yield from row_session(str(path), number, row, runs_of)


def row_session(path: str, number: int, row: Row, runs_of: RunsOf) -> Items:
    """Yield the session in a row of a database of agno, and what cannot be read of it.

    Args:
        path: The file or the address of the database.
        number: The number of the row, from 1 on.
        row: The values of all columns; JSON as text.
        runs_of: Returns the rows in the tables of runs for the id of a session, in order.
    """
    read = _session if "session_type" in row else _first_session
    try:
        record, parts = _without_remainder(parsed_row(row))
        for item in read(path, number, record, runs_of):
            yield item if parts is None or isinstance(item, Skipped) else _with_remainder(item, parts)
    except (json_text.Unreadable, LocalstoreError, CannotUpgrade) as error:
        yield Skipped(path, f"it is not a session of agno ({error})", number, text(row.get("session_id")))


def _first_session(path: str, _: int, record: Row, runs_of: RunsOf) -> Items:  # noqa: ARG001 (it has its runs)
    """Yield the session in a row of agno 1.x. Raises CannotUpgrade."""
    document = upgraded(record, 0)
    history = document.pop("history")
    yield SourceSession(_without_schema(document), history, path)


def _without_remainder(record: Row) -> tuple[Row, Row | None]:
    """Return a row without what an undo kept in it that agno has no column for, and that; see `agno_back`."""
    for name in REMAINDERS:
        values = record.get(name)
        if isinstance(values, dict) and is_remainder(values.get(REMAINDER)):
            others = {key: value for key, value in values.items() if key != REMAINDER}
            return {**record, name: others or None}, values[REMAINDER]
    return record, None


def _with_remainder(item: SourceSession, parts: Row) -> SourceSession:
    document = restored({**item.header, "history": item.entries}, parts)
    history = document.pop("history")
    return SourceSession(order_header(document), history, item.path)


def parsed_row(row: Row) -> Row:
    """Return a row with the values of the columns that hold JSON. Raises Unreadable."""
    return {key: _value(value) if key in JSON_COLUMNS else value for key, value in row.items()}


def _value(value: Any) -> Any:
    """Return a JSON value. agno writes some of them twice, as the JSON text of a JSON text."""
    for _ in range(2):
        if isinstance(value, (str, bytes)) and value[:1] in ("{", "[", '"', "n", b"{", b"[", b'"', b"n"):
            value = json_text.parse(value)
    return value


def _session(path: str, number: int, record: Row, runs_of: RunsOf) -> Items:
    """Yield a session of agno 2.x or 3.x. Raises Unreadable and UnstorableValue."""
    session_id = text(record.get("session_id"))
    kind = _kind(record.get("session_type"))
    if session_id is None or kind is None:
        raise json_text.Unreadable("it has no session_id, or an unknown session_type")
    created_at = time(record.get("created_at")) or NO_TIME
    fields = to_fields({key: value for key, value in record.items() if key != "runs"})
    for key in ("user_id", "name", "agent_id", "team_id", "workflow_id"):
        if not isinstance(fields.header.get(key, ""), str):
            raise json_text.Unreadable(f"its {key} is not text")
    if not isinstance(fields.header.get("metadata", {}), dict):
        fields.header["agno_metadata"] = fields.header.pop("metadata")
    header = {"schema_version": 1, "session_id": session_id, "kind": kind, "created_at": created_at, **fields.header}
    stored = runs_of(session_id)
    parsed = list(_runs(path, number, session_id, stored, record.get("runs")))
    yield from (run for run in parsed if isinstance(run, Skipped))
    runs = [run for run in parsed if not isinstance(run, Skipped)]
    entries = _entries(session_id, kind, runs, created_at)
    if fields.state:
        updated_at = time(record.get("updated_at")) or created_at
        entries.append({"type": "update", "created_at": updated_at, **fields.state})
    yield SourceSession(order_header(header), entries, path)


def _kind(value: Any) -> RunKind | None:
    return next((kind for kind in get_args(RunKind) if kind == value), None)


def _runs(
    path: str, number: int, session_id: str, stored: Iterable[Row], beside: Any
) -> Iterator[tuple[Row, int | None, Any] | Skipped]:
    """Yield the runs of a session, each with its `run_index` and its kind.

    agno 3.x stores runs in a table of their own. If it has none of the session, they are in the session's row, where an
    upgrade of the database also leaves a copy of those in the table.
    """
    has_table = False
    for row in stored:
        has_table = True
        try:
            data = _value(row.get("run_data"))
        except json_text.Unreadable as error:
            yield Skipped(path, f"run {row.get('run_id')}: {error}", number, session_id)
            continue
        if isinstance(data, dict):
            index = row.get("run_index")
            data = data if text(data.get("run_id")) else {**data, "run_id": row.get("run_id")}
            yield data, index if type(index) is int else None, row.get("run_type")
        else:
            yield Skipped(path, f"run {row.get('run_id')} is not a JSON object", number, session_id)
    for place, data in enumerate(beside if isinstance(beside, list) and not has_table else ()):
        if isinstance(data, dict):
            yield data, None, None
        else:
            yield Skipped(path, f"run {place} is not a JSON object", number, session_id)


def _entries(session_id: str, kind: RunKind, runs: list[tuple[Row, int | None, Any]], created_at: str) -> list[Entry]:
    """Return the entries of runs: with the instructions and copied messages of earlier runs only once."""
    entries: list[Entry] = []
    instructions: str | None = None
    following = 0
    for number, (data, index, run_kind) in enumerate(runs):
        if not text(data.get("run_id")):
            data = {**data, "run_id": str(uuid5(NAMESPACE_URL, f"localstore:{session_id}:{number}"))}
        entry = to_entry(data, session_id, None if names_owner(data) else _kind(run_kind) or kind)
        if type(data.get("created_at")) is not int:
            entry["created_at"] = time(data.get("created_at")) or created_at
        if index is not None and index != following:
            entry["agno_run_index"] = index
        following = max(following, entry.get("agno_run_index", following) + 1)
        system = extract_system(entry)
        refer_to_history(entry, reversed(entries))
        if system is not None and system != instructions:
            instructions = entry["instructions"] = system
        entries.append(in_order(entry))
    return entries

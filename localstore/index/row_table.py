"""The tables of rows: rows are folded into them from the lines of the manifest."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from zlib import crc32

import orjson

from localstore.index.found_table import apply_notes
from localstore.index.manifest_lines import DELETED, FolderNote, folder_note, last_usable_line, split_lines
from localstore.index.overview import Overview
from localstore.index.row import IndexRow, activity, due
from localstore.index.row_order import INDEXES, OrderValues, order_values
from localstore.index.row_queries import paths_of, sessions_at

_SECONDARY = (
    "CREATE INDEX session_by_time ON session(active_at, session_id)",
    "CREATE INDEX session_of_user ON session(user_id, active_at, session_id) WHERE user_id IS NOT NULL",
    "CREATE INDEX session_of_entity ON session(entity_id, active_at, session_id) WHERE entity_id IS NOT NULL",
    "CREATE INDEX session_by_name ON session(name) WHERE name IS NOT NULL",
)
"""The indexes that are made after the rows if very many rows are added at once, which is faster."""
_SECONDARY_STATEMENTS = ";\n    ".join(_SECONDARY)
STATEMENTS = f"""
    CREATE TABLE session(
        number INTEGER PRIMARY KEY, session_id TEXT UNIQUE NOT NULL, path TEXT UNIQUE NOT NULL,
        active_at TEXT NOT NULL, due TEXT, user_id TEXT, entity_id TEXT, name TEXT,
        kind TEXT NOT NULL, status TEXT, is_counted INTEGER NOT NULL,
        created TEXT NOT NULL, runs INTEGER NOT NULL, tokens INTEGER NOT NULL, size INTEGER NOT NULL,
        title TEXT NOT NULL,
        checksum INTEGER NOT NULL, row BLOB NOT NULL);
    {_SECONDARY_STATEMENTS};
    CREATE INDEX session_due ON session(due) WHERE due IS NOT NULL;
    CREATE INDEX session_uncounted ON session(is_counted) WHERE NOT is_counted;
    CREATE TABLE usage(
        session_id TEXT NOT NULL, month TEXT NOT NULL, model TEXT NOT NULL, runs INTEGER NOT NULL,
        failures INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL, cached INTEGER NOT NULL,
        milliseconds INTEGER NOT NULL, PRIMARY KEY(session_id, month, model)) WITHOUT ROWID;
    CREATE TABLE label(
        kind TEXT NOT NULL, value TEXT NOT NULL, session_id TEXT NOT NULL,
        PRIMARY KEY(kind, value, session_id)) WITHOUT ROWID;
    CREATE INDEX label_of_session ON label(session_id);
"""
_COLUMNS = (
    *("session_id", "path", "active_at", "due", "user_id", "entity_id", "name", "kind", "status", "is_counted"),
    *OrderValues._fields,
    *("checksum", "row"),
)
_UPSERT = (
    f"INSERT INTO session({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 (no input)
    f" ON CONFLICT(session_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
)
_CHUNK = 1 << 19
"""How many bytes of the manifest are folded at a time."""
_MANY = 1 << 20
"""From how many bytes of lines on `_SECONDARY` is made after the rows."""
Read = Callable[[int, int], bytes]


def fold(connection: sqlite3.Connection, read: Read, begin: int, end: int, latest: str) -> tuple[int, int]:
    """Add the lines of the manifest between two offsets. Return the offset behind the last whole line, and the number
    of lines.

    Args:
        connection: A connection with an open transaction.
        read: Returns the given number of bytes of the manifest, at an offset.
        begin: The offset from which on lines are added; 0 if the table is empty.
        end: The size of the manifest.
        latest: What `latest_plausible_time` returns.
    """
    is_new = begin == 0 and end > _MANY
    if is_new:
        for statement in _SECONDARY:
            connection.execute(f"DROP INDEX {statement.split()[2]}")
        for statement in INDEXES.values():
            connection.execute(f"DROP INDEX IF EXISTS {statement.split()[2]}")
    lines = 0
    while begin < end:
        data = read(min(_CHUNK, end - begin), begin)
        size = data.rfind(b"\n") + 1
        if not size and len(data) == _CHUNK:  # a longer line: it is not ours
            data = read(end - begin, begin)
            size = data.rfind(b"\n") + 1
        if not size:
            break
        lines += _fold_lines(connection, data[: size - 1], latest)
        begin += size
    if is_new:
        for statement in _SECONDARY:
            connection.execute(statement)
    return begin, lines


def _fold_lines(connection: sqlite3.Connection, data: bytes, latest: str) -> int:
    last: dict[str, list[bytes]] = {}
    notes: list[FolderNote] = []
    lines = split_lines(data)
    previous: bytes | None = None
    for line, session_id in lines:
        if session_id is not None:
            earlier = last.pop(session_id, [])  # to come last
            earlier.append(line)
            last[session_id] = earlier
        elif (note := folder_note(line, previous)) is not None:
            notes.append(note)
        previous = line
    rows: list[tuple[IndexRow, bytes]] = []
    removed: list[str] = []
    for session_id, found in last.items():
        usable = last_usable_line(session_id, found)
        if usable is None:
            continue
        if usable[0] is DELETED:
            removed.append(session_id)
        else:
            rows.append(usable)
    left = _put(connection, rows, removed, latest)
    apply_notes(connection, notes, left)
    return len(lines)


def put(connection: sqlite3.Connection, rows: Iterable[IndexRow], removed: Iterable[str], latest: str) -> set[str]:
    """Remove sessions, then store rows in this order. A row removes an earlier one with the same path.

    Return the folders in which there were rows at paths that have none now.
    """
    return _put(connection, ((row, orjson.dumps(row)) for row in rows), removed, latest)


def _put(
    connection: sqlite3.Connection, rows: Iterable[tuple[IndexRow, bytes]], removed: Iterable[str], latest: str
) -> set[str]:
    """Do what `put` does. Each row comes with its JSON text."""
    by_path: dict[str, tuple[IndexRow, bytes]] = {}
    removed = list(removed)
    for row, raw in rows:
        earlier = by_path.pop(row["path"], None)
        if earlier is not None:
            removed.append(earlier[0]["session_id"])
        by_path[row["path"]] = row, raw
    if connection.execute("SELECT 1 FROM session LIMIT 1").fetchone() is None:
        _insert(connection, by_path.values(), latest)
        return set()
    new_paths = {row["session_id"]: path for path, (row, _) in by_path.items()}
    paths = paths_of(connection, [*removed, *new_paths])
    left = {path for session_id, path in paths.items() if new_paths.get(session_id) != path}
    removed += (
        session_id
        for path, session_id in sessions_at(connection, by_path).items()
        if by_path[path][0]["session_id"] != session_id
    )
    connection.executemany("DELETE FROM session WHERE session_id = ?", ((session_id,) for session_id in removed))
    outdated = {*removed, *(new_paths.keys() & paths.keys())}
    for table in ("usage", "label"):
        statement = f"DELETE FROM {table} WHERE session_id = ?"  # noqa: S608 (no input)
        connection.executemany(statement, ((session_id,) for session_id in outdated))
    _insert(connection, by_path.values(), latest)
    return {path.rpartition("/")[0] for path in left - by_path.keys()}


def _insert(connection: sqlite3.Connection, rows: Collection[tuple[IndexRow, bytes]], latest: str) -> None:
    connection.executemany(_UPSERT, (_values(row, raw, latest) for row, raw in rows))
    connection.executemany("INSERT INTO usage VALUES (?,?,?,?,?,?,?,?,?)", _usage(row for row, _ in rows))
    connection.executemany("INSERT OR IGNORE INTO label VALUES (?,?,?)", _labels(row for row, _ in rows))


def _values(row: IndexRow, raw: bytes, latest: str) -> tuple[str | int | bytes | None, ...]:
    return (
        row["session_id"],
        row["path"],
        activity(row, latest),
        due(row, latest),
        row.get("user_id"),
        row.get("entity_id"),
        row.get("name"),
        row["kind"],
        row.get("overview", {}).get("status"),
        "overview" in row,
        *order_values(row),
        crc32(raw),
        raw,
    )


def _usage(rows: Iterable[IndexRow]) -> Iterator[tuple[str | int, ...]]:
    from localstore.models.stats import usage_of

    for row in rows:
        for month, models in usage_of(row).items():
            for model, numbers in models.items():
                yield row["session_id"], month, model, *numbers


def _labels(rows: Iterable[IndexRow]) -> Iterator[tuple[str, str, str]]:
    """Yield what few sessions have, and by which they can be selected: tags, ratings, a status but "completed", and
    the session of which they are a part."""
    for row in rows:
        overview = row.get("overview", _NOT_COUNTED)
        for tag in row.get("tags", ()):
            yield "tag", tag, row["session_id"]
        if "part_of" in row:
            yield "part_of", row["part_of"], row["session_id"]
        for rating in overview.get("ratings", ()):
            yield "rating", rating, row["session_id"]
        if (status := overview.get("status", "completed")) != "completed":
            yield "status", status, row["session_id"]


_NOT_COUNTED: Overview = {}

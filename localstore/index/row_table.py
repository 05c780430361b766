"""The index: the rows of all sessions in SQLite, so that a question costs what its answer does.

It is folded from the manifest: it has the last usable line of each session, up to an offset in that file. It also has
what was found in the month folders: their times, and the files in them that are not the document of a session.

Each function works on a connection. Those that change something need an open transaction.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast
from zlib import crc32

import orjson

from localstore.index.manifest_lines import DELETED, FolderNote, folder_note, last_usable_line, split_lines
from localstore.index.row import IndexRow, activity, due
from localstore.index.selection import Found, Place, Selection
from localstore.index.sqlite_file import Layout

if TYPE_CHECKING:
    from localstore.models.stats import GroupKey, Tally

LAYOUT = Layout(
    application=0x6C73_6978,
    format=1,
    statements="""
    CREATE TABLE folded(manifest BLOB NOT NULL, offset INTEGER NOT NULL, tail BLOB NOT NULL, lines INTEGER NOT NULL);
    CREATE TABLE session(
        number INTEGER PRIMARY KEY, session_id TEXT UNIQUE NOT NULL, path TEXT UNIQUE NOT NULL,
        active_at TEXT NOT NULL, due TEXT, user_id TEXT, entity_id TEXT, name TEXT,
        kind TEXT NOT NULL, status TEXT, is_counted INTEGER NOT NULL,
        checksum INTEGER NOT NULL, row BLOB NOT NULL);
    CREATE INDEX session_by_time ON session(active_at, session_id);
    CREATE INDEX session_of_user ON session(user_id, active_at, session_id) WHERE user_id IS NOT NULL;
    CREATE INDEX session_of_entity ON session(entity_id, active_at, session_id) WHERE entity_id IS NOT NULL;
    CREATE INDEX session_by_name ON session(name) WHERE name IS NOT NULL;
    CREATE INDEX session_due ON session(due) WHERE due IS NOT NULL;
    CREATE INDEX session_uncounted ON session(is_counted) WHERE NOT is_counted;
    CREATE TABLE usage(
        session_id TEXT NOT NULL, month TEXT NOT NULL, model TEXT NOT NULL, runs INTEGER NOT NULL,
        failures INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL, cached INTEGER NOT NULL,
        milliseconds INTEGER NOT NULL, PRIMARY KEY(session_id, month, model)) WITHOUT ROWID;
    CREATE TABLE folder(folder TEXT PRIMARY KEY, changed INTEGER NOT NULL);
    CREATE TABLE exception(path BLOB PRIMARY KEY, kind TEXT NOT NULL, detail TEXT NOT NULL);
    CREATE TABLE sweep(boot TEXT NOT NULL);
    """,
)
_SECONDARY = (
    "CREATE INDEX session_by_time ON session(active_at, session_id)",
    "CREATE INDEX session_of_user ON session(user_id, active_at, session_id) WHERE user_id IS NOT NULL",
    "CREATE INDEX session_of_entity ON session(entity_id, active_at, session_id) WHERE entity_id IS NOT NULL",
    "CREATE INDEX session_by_name ON session(name) WHERE name IS NOT NULL",
)
_COLUMNS = (
    *("session_id", "path", "active_at", "due", "user_id", "entity_id", "name", "kind", "status", "is_counted"),
    *("checksum", "row"),
)
_UPSERT = (
    f"INSERT INTO session({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 (no input)
    f" ON CONFLICT(session_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
)
_GROUPS: "dict[GroupKey, str]" = {
    "user": "coalesce(session.user_id, '')",
    "entity": "coalesce(session.entity_id, '')",
    "status": "coalesce(session.status, '')",
    "month": "usage.month",
    "model": "usage.model",
}
_SUMS = ", ".join(f"sum({name})" for name in ("runs", "failures", "input", "output", "cached", "milliseconds"))
TAIL = 64
"""How many bytes before the offset are compared, to recognise a manifest that is not the one that was folded."""
_CHUNK = 1 << 19
"""How many bytes of the manifest are folded at a time."""
_VALUES = 500
"""How many values a statement gets at once."""
Read = Callable[[int, int], bytes]
_MANY = 1 << 20
"""From how many bytes on the indexes are made after the rows, which is faster."""


class Position(NamedTuple):
    """How far the manifest is folded."""

    manifest: bytes
    """What identifies the manifest."""
    offset: int
    tail: bytes
    """The last bytes before the offset, at most `TAIL`."""
    lines: int
    """The number of lines before the offset."""


# The position


def position(connection: sqlite3.Connection) -> Position | None:
    """Return how far the manifest is folded, or None if nothing was folded yet."""
    found = connection.execute("SELECT manifest, offset, tail, lines FROM folded").fetchone()
    return None if found is None else Position(*found)


def set_position(connection: sqlite3.Connection, at: Position) -> None:
    """Store how far the manifest is folded."""
    connection.execute("DELETE FROM folded")
    connection.execute("INSERT INTO folded VALUES (?, ?, ?, ?)", at)


def clear(connection: sqlite3.Connection) -> None:
    """Remove everything, because it does not come from the current manifest."""
    for table in ("folded", "session", "usage", "folder", "exception", "sweep"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 (no input)


# Rows


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
    _apply_notes(connection, notes, left)
    return len(lines)


def _apply_notes(connection: sqlite3.Connection, notes: Iterable[FolderNote], left: set[str]) -> None:
    """Change the times of folders as the notes say, and forget those of the folders `left`.

    The documents at paths without a row may be there all the same: the manifest may be from another copy of the store.
    A writer that removes a document leaves a note.
    """
    for note in notes:
        if connection.execute(
            "UPDATE folder SET changed = ? WHERE folder = ? AND changed = ?", (note.after, note.folder, note.before)
        ).rowcount:
            left.discard(note.folder)
    connection.executemany("DELETE FROM folder WHERE folder = ?", ((folder,) for folder in left))


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
    connection.executemany("DELETE FROM usage WHERE session_id = ?", ((session_id,) for session_id in outdated))
    _insert(connection, by_path.values(), latest)
    return {path.rpartition("/")[0] for path in left - by_path.keys()}


def _insert(connection: sqlite3.Connection, rows: Collection[tuple[IndexRow, bytes]], latest: str) -> None:
    connection.executemany(_UPSERT, (_values(row, raw, latest) for row, raw in rows))
    connection.executemany("INSERT INTO usage VALUES (?,?,?,?,?,?,?,?,?)", _usage(row for row, _ in rows))


def paths_of(connection: sqlite3.Connection, session_ids: Iterable[str]) -> dict[str, str]:
    """Return the paths of the sessions that have a row."""
    return _pairs(connection, "SELECT session_id, path FROM session WHERE session_id IN", session_ids)


def sessions_at(connection: sqlite3.Connection, paths: Iterable[str]) -> dict[str, str]:
    """Return the ids of the sessions whose rows have one of these paths."""
    return _pairs(connection, "SELECT path, session_id FROM session WHERE path IN", paths)


def _pairs(connection: sqlite3.Connection, statement: str, values: Iterable[str]) -> dict[str, str]:
    """Return the pairs that a statement finds for the values that are put at its end."""
    found: dict[str, str] = {}
    remaining = list(values)
    for begin in range(0, len(remaining), _VALUES):
        some = remaining[begin : begin + _VALUES]
        found.update(connection.execute(f"{statement} ({', '.join('?' * len(some))})", some))
    return found


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
        crc32(raw),
        raw,
    )


def _usage(rows: Iterable[IndexRow]) -> Iterator[tuple[str | int, ...]]:
    from localstore.models.stats import usage_of

    for row in rows:
        for month, models in usage_of(row).items():
            for model, numbers in models.items():
                yield row["session_id"], month, model, *numbers


def _row(raw: bytes, checksum: int) -> IndexRow:
    """Return a stored row. Raises DatabaseError if it is damaged."""
    if crc32(raw) != checksum:
        raise sqlite3.DatabaseError("A row of the index is damaged.")
    return cast("IndexRow", orjson.loads(raw))


def get(connection: sqlite3.Connection, session_id: str) -> IndexRow | None:
    """Return the row of a session, or None if there is none."""
    found = connection.execute("SELECT row, checksum FROM session WHERE session_id = ?", (session_id,)).fetchone()
    return None if found is None else _row(*found)


def session_at(connection: sqlite3.Connection, path: str) -> str | None:
    """Return the id of the session whose row has this path, or None."""
    found = connection.execute("SELECT row, checksum FROM session WHERE path = ?", (path,)).fetchone()
    return None if found is None else _row(*found)["session_id"]


def paths_in(connection: sqlite3.Connection, folder: str) -> dict[str, str]:
    """Return the session id of each path in a folder."""
    return dict(
        connection.execute("SELECT path, session_id FROM session WHERE path > ? AND path < ?", _range_of(folder))
    )


def folders(connection: sqlite3.Connection) -> list[str]:
    """Return the folders in which rows have their paths."""
    found: list[str] = []
    after = ""
    while True:
        next_path = connection.execute("SELECT min(path) FROM session WHERE path >= ?", (after,)).fetchone()[0]
        if next_path is None:
            return found
        found.append(next_path.rpartition("/")[0])
        after = _range_of(found[-1])[1]


def _range_of(folder: str) -> tuple[str, str]:
    return f"{folder}/", f"{folder}0"  # 0 follows / in ASCII


def count(connection: sqlite3.Connection) -> int:
    """Return the number of rows."""
    found: int = connection.execute("SELECT count(*) FROM session").fetchone()[0]
    return found


def page(
    connection: sqlite3.Connection, where: Selection, after: Place | None, limit: int | None, *, newest_first: bool
) -> list[tuple[str, IndexRow]]:
    """Return rows with the times of their last activity, in this order.

    Args:
        connection: The connection.
        where: Which rows.
        after: The place of the row before the first one; None begins with the first.
        limit: The most rows to return; None returns all.
        newest_first: Whether the newest activity comes first, or last.
    """
    conditions, values = _conditions(where)
    if after is not None:
        conditions.append(f"(active_at, session_id) {'<' if newest_first else '>'} (?, ?)")
        values += after
    direction = "DESC" if newest_first else "ASC"
    statement = (
        f"SELECT active_at, row, checksum, due FROM session WHERE {' AND '.join(conditions)} "  # noqa: S608 (no input)
        f"ORDER BY active_at {direction}, session_id {direction} LIMIT ?"
    )
    values.append(-1 if limit is None else limit)
    found = []
    for active_at, raw, checksum, due_at in connection.execute(statement, values):
        row = _row(raw, checksum)
        if due_at is None and row["updated_at"] != active_at:
            raise sqlite3.DatabaseError("An entry of the index is damaged.")
        found.append((active_at, row))
    return found


def beginning_with(connection: sqlite3.Connection, text: str) -> list[IndexRow]:
    """Return the rows of the sessions whose id or name begins with this text."""
    end = f"{text}\U0010ffff"
    found = connection.execute(
        "SELECT row, checksum FROM session WHERE session_id >= ? AND session_id < ?"
        " UNION SELECT row, checksum FROM session WHERE name >= ? AND name < ?",
        (text, end, text, end),
    )
    return [_row(*one) for one in found]


def ids_beginning_with(connection: sqlite3.Connection, text: str, limit: int) -> list[IndexRow]:
    """Return the rows of at most `limit` sessions whose id begins with this text, in the order of their ids."""
    found = connection.execute(
        "SELECT row, checksum FROM session WHERE session_id >= ? AND session_id < ? ORDER BY session_id LIMIT ?",
        (text, f"{text}\U0010ffff", limit),
    )
    return [_row(*one) for one in found]


def neighbours(connection: sqlite3.Connection, session_id: str) -> list[str]:
    """Return the id before and the one after this id in alphabetical order, where there are such."""
    found = connection.execute(
        "SELECT max(session_id) FROM session WHERE session_id < ?1"
        " UNION ALL SELECT min(session_id) FROM session WHERE session_id > ?1",
        (session_id,),
    )
    return [other for (other,) in found if other is not None]


def has_name(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether a session has exactly this name."""
    return connection.execute("SELECT 1 FROM session WHERE name = ? LIMIT 1", (name,)).fetchone() is not None


def verify(connection: sqlite3.Connection) -> None:
    """Raise DatabaseError if a page is damaged, as it may be after a power cut."""
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def tally(
    connection: sqlite3.Connection, where: Selection, by: "Sequence[GroupKey]", without: Collection[str], latest: str
) -> "Tally | None":
    """Add up the usage of the selected sessions in groups of `by`, without some sessions.

    Return None if the rows must be read for that: what some of them count is not known, their times have come due, or
    the sums are too large for SQLite. `latest` is that of `fold`.
    """
    from localstore.models.stats import Tally

    if connection.execute("SELECT 1 FROM session WHERE NOT is_counted LIMIT 1").fetchone() is not None:
        return None
    if (where.since or where.until) and due_rows(connection, latest):
        return None
    conditions, values = _conditions(where)
    # In hexadecimal, because SQLite cuts off a text of JSON at the first NUL character.
    conditions.append("hex(session_id) NOT IN (SELECT value FROM json_each(?))")
    values.append(json.dumps([session_id.encode(errors="surrogatepass").hex().upper() for session_id in without]))
    selected = f"FROM session WHERE {' AND '.join(conditions)}"
    (sessions,) = connection.execute(f"SELECT count(*) {selected}", values).fetchone()
    groups = [_GROUPS[name] for name in by]
    joined = f"{selected.replace('FROM session', 'FROM session JOIN usage USING (session_id)')}"
    number = len(by)
    sessions_in: dict[tuple[str, ...], int] = {}
    numbers: dict[tuple[tuple[str, ...], str], list[int]] = {}
    grouped = f" GROUP BY {', '.join(groups)}" if groups else ""
    statement = f"SELECT {', '.join([*groups, 'count(DISTINCT session_id)'])} {joined}{grouped}"
    for found in connection.execute(statement, values):
        if found[-1]:
            sessions_in[found[:-1]] = found[-1]
    statement = (
        f"SELECT {', '.join([*groups, 'usage.model', _SUMS])} {joined} GROUP BY {', '.join([*groups, 'usage.model'])}"
    )
    try:
        for found in connection.execute(statement, values):
            numbers[found[:number], found[number]] = list(found[number + 1 :])
    except sqlite3.OperationalError as error:
        if "overflow" not in str(error):
            raise
        return None
    return Tally(sessions, 0, sessions_in, numbers)


def _conditions(where: Selection) -> tuple[list[str], list[str | int]]:
    conditions = ["active_at >= ?", "active_at < ?"]
    values: list[str | int] = [where.since or "", where.until or "\U0010ffff"]
    for column in ("user_id", "entity_id", "kind", "status"):
        value = getattr(where, column)
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    return conditions, values


def due_rows(connection: sqlite3.Connection, latest: str) -> list[IndexRow]:
    """Return the rows whose times were in the future when they were stored, and are no longer."""
    return [_row(*found) for found in connection.execute("SELECT row, checksum FROM session WHERE due <= ?", (latest,))]


def lines(connection: sqlite3.Connection) -> Iterator[bytes]:
    """Yield a line for each row, oldest activity first."""
    for raw, _ in connection.execute("SELECT row, checksum FROM session ORDER BY active_at, session_id"):
        yield raw + b"\n"


# What was found in the month folders


def found_in_folders(connection: sqlite3.Connection) -> Found:
    """Return what the last scans found."""
    return Found(
        dict(connection.execute("SELECT folder, changed FROM folder")),
        {
            path.decode(errors="surrogateescape"): (kind, json.loads(detail))
            for path, kind, detail in connection.execute("SELECT path, kind, detail FROM exception")
        },
    )


def set_found(connection: sqlite3.Connection, found: Found) -> None:
    """Store what a scan found, instead of everything that was stored before."""
    connection.execute("DELETE FROM folder")
    connection.executemany("INSERT INTO folder VALUES (?, ?)", found.folders.items())
    connection.execute("DELETE FROM exception")
    connection.executemany(
        "INSERT INTO exception VALUES (?, ?, ?)",
        (
            (path.encode(errors="surrogateescape"), kind, json.dumps(detail))
            for path, (kind, detail) in found.exceptions.items()
        ),
    )


def last_sweep(connection: sqlite3.Connection) -> str | None:
    """Return the boot in which all documents were compared with their rows, or None."""
    found = connection.execute("SELECT boot FROM sweep").fetchone()
    return None if found is None else found[0]


def set_last_sweep(connection: sqlite3.Connection, boot: str) -> None:
    """Store that all documents were compared with their rows in this boot."""
    connection.execute("DELETE FROM sweep")
    connection.execute("INSERT INTO sweep VALUES (?)", (boot,))

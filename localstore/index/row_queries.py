"""Queries on the tables of rows: each function asks one question."""

import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast
from zlib import crc32

import orjson

from localstore.index.row import IndexRow
from localstore.index.row_order import order_by
from localstore.index.selection import EVERYTHING, Place, Selection

if TYPE_CHECKING:
    from localstore.models.stats import GroupKey, Tally

_GROUPS: "dict[GroupKey, str]" = {
    "user": "coalesce(session.user_id, '')",
    "entity": "coalesce(session.entity_id, '')",
    "status": "coalesce(session.status, '')",
    "month": "usage.month",
    "model": "usage.model",
}
_SUMS = ", ".join(f"sum(usage.{name})" for name in ("runs", "failures", "input", "output", "cached", "milliseconds"))
_VALUES = 512
"""How many values a statement gets at once."""
_LONGEST_PATTERN = 10_000
"""How many characters LIKE compares, whose pattern has at most 50,000 bytes."""


def get(connection: sqlite3.Connection, session_id: str) -> IndexRow | None:
    """Return the row of a session, or None if there is none."""
    found = connection.execute("SELECT row, checksum FROM session WHERE session_id = ?", (session_id,)).fetchone()
    return None if found is None else _row(*found)


def session_at(connection: sqlite3.Connection, path: str) -> str | None:
    """Return the id of the session whose row has this path, or None."""
    found = connection.execute("SELECT row, checksum FROM session WHERE path = ?", (path,)).fetchone()
    return None if found is None else _row(*found)["session_id"]


def _row(raw: bytes, checksum: int) -> IndexRow:
    """Return a stored row. Raises DatabaseError if it is damaged."""
    if crc32(raw) != checksum:
        raise sqlite3.DatabaseError("A row of the index is damaged.")
    return cast("IndexRow", orjson.loads(raw))


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
        some += some[:1] * ((1 << (len(some) - 1).bit_length()) - len(some))  # sqlite3 keeps few statements
        found.update(connection.execute(f"{statement} ({', '.join('?' * len(some))})", some))
    return found


def all_paths(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the path of each session."""
    return dict(connection.execute("SELECT session_id, path FROM session NOT INDEXED"))


def all_states(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the recorded state of the document of each session, as `state_of` makes it from path and fingerprint."""
    numbers = "replace(trim(json_extract(CAST(row AS TEXT), '$.fingerprint'), '[]'), ',', ' ')"
    statement = f"SELECT session_id, path || char(10) || {numbers} FROM session NOT INDEXED"  # noqa: S608 (no input)
    return dict(connection.execute(statement))


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


def has_more_than(connection: sqlite3.Connection, number: int) -> bool:
    """Return whether there are more rows."""
    statement = "SELECT active_at FROM session ORDER BY active_at LIMIT 1 OFFSET ?"
    return connection.execute(statement, (number,)).fetchone() is not None


def beginning_with(connection: sqlite3.Connection, text: str, limit: int | None) -> list[IndexRow]:
    """Return the rows of the sessions whose id or name begins with this text: at most `limit` of each, in their order.

    A name that is the text itself comes first. With None, there is no limit.
    """
    end, most = f"{text}\U0010ffff", -1 if limit is None else limit
    of_ids = "SELECT row, checksum FROM session WHERE session_id >= ? AND session_id < ? ORDER BY session_id LIMIT ?"
    of_names = "SELECT row, checksum FROM session WHERE name >= ? AND name < ? ORDER BY name LIMIT ?"
    found = connection.execute(
        f"SELECT * FROM ({of_ids}) UNION SELECT * FROM ({of_names})",  # noqa: S608 (no input)
        (text, end, most, text, end, most),
    )
    return [_row(*one) for one in found]


def ids_beginning_with(connection: sqlite3.Connection, text: str, limit: int | None, rest: str = "") -> list[IndexRow]:
    """Return the rows of at most `limit` sessions whose id begins with this text, in the order of their ids.

    Behind the text, the id has `rest` somewhere. With None, there is no limit.
    """
    found = connection.execute(
        "SELECT row, checksum FROM session WHERE session_id >= ? AND session_id < ?"
        " AND instr(substr(session_id, ?), ?) ORDER BY session_id LIMIT ?",
        (text, f"{text}\U0010ffff", len(text) + 1, rest, -1 if limit is None else limit),
    )
    return [_row(*one) for one in found]


def containing(connection: sqlite3.Connection, text: str, limit: int | None) -> list[IndexRow]:
    """Return the rows of at most `limit` sessions with this text in their id, and of so many with it in their name.

    Upper and lower case make no difference.
    """
    escaped = re.sub("[!%_]", r"!\g<0>", text)
    condition, value = "{} LIKE ? ESCAPE '!'", f"%{escaped}%"
    if not text.isascii() or len(text) > _LONGEST_PATTERN:
        connection.create_function("casefold", 1, str.casefold, deterministic=True)
        condition, value = "instr(casefold({}), ?)", text.casefold()
    matching = [
        f"SELECT number FROM session WHERE {name} IS NOT NULL AND {condition.format(name)} LIMIT ?"  # noqa: S608 (no input)
        for name in ("session_id", "name")
    ]
    found = connection.execute(
        f"SELECT row, checksum FROM session WHERE number IN ({matching[0]})"  # noqa: S608 (no input)
        f" UNION SELECT row, checksum FROM session WHERE number IN ({matching[1]})",
        (value, -1 if limit is None else limit) * 2,
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
    conditions, values = _conditions(connection, where)
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


def leading(
    connection: sqlite3.Connection, where: Selection, sort: str, limit: int, *, is_reversed: bool
) -> list[IndexRow] | None:
    """Return the first `limit` rows in an order of `row_order`; None if what they are sorted by is not known of all."""
    if sort in ("tokens", "name") and _has_uncounted(connection):
        return None
    conditions, values = _conditions(connection, where)
    condition = " AND ".join(conditions).replace("active_at", "+active_at")  # its index is in another order
    statement = (
        f"SELECT row, checksum FROM session WHERE {condition} "  # noqa: S608 (no input)
        f"ORDER BY {order_by(sort, is_reversed=is_reversed)} LIMIT ?"
    )
    return [_row(*found) for found in connection.execute(statement, [*values, limit])]


def _conditions(connection: sqlite3.Connection, where: Selection) -> tuple[list[str], list[str | int]]:
    has_status = "status = ?" if where.status in (None, "completed") else _HAS_LABEL.format("status")
    asks_for_runs = where.status is not None or where.rating is not None or where.model is not None
    or_unknown = " OR NOT is_counted" if asks_for_runs and _has_uncounted(connection) else ""
    conditions = ["active_at >= ?", "active_at < ?"]
    values: list[str | int] = [where.since or "", where.until or "\U0010ffff"]
    for condition, value in (
        ("user_id = ?", where.user_id),
        ("entity_id = ?", where.entity_id),
        ("kind = ?", where.kind),
        *((_HAS_LABEL.format("tag"), tag) for tag in where.tags),
        (f"({has_status}{or_unknown})", where.status),
        (f"({_HAS_LABEL.format('rating')}{or_unknown})", where.rating),
        (f"({_HAS_MODEL}{or_unknown})", where.model),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if where.is_named:
        conditions.append("name IS NOT NULL")
    if where.without_tag is not None:
        conditions.append(f"NOT {_HAS_LABEL.format('tag')}")
        values.append(where.without_tag)
    if where.part_of:
        wanted = ", ".join("?" * len(where.part_of))
        conditions.append(_IS_PART_OF.format(wanted))
        values += where.part_of
    if where.is_part is not None:
        conditions.append(_IS_PART if where.is_part else f"NOT {_IS_PART}")
    return conditions, values


def _has_uncounted(connection: sqlite3.Connection) -> bool:
    """Return whether what is counted over the runs is not known of every session."""
    return connection.execute("SELECT 1 FROM session WHERE NOT is_counted LIMIT 1").fetchone() is not None


_HAS_MODEL = "session_id IN (SELECT session_id FROM usage WHERE model = ?)"
_HAS_LABEL = "session_id IN (SELECT session_id FROM label WHERE kind = '{}' AND value = ?)"

_IS_PART_OF = "session_id IN (SELECT session_id FROM label WHERE kind = 'part_of' AND value IN ({}))"
_IS_PART = "EXISTS (SELECT 1 FROM label WHERE label.session_id = session.session_id AND label.kind = 'part_of')"


def due_rows(connection: sqlite3.Connection, latest: str) -> list[IndexRow]:
    """Return the rows whose times were in the future when they were stored, and are no longer."""
    return [_row(*found) for found in connection.execute("SELECT row, checksum FROM session WHERE due <= ?", (latest,))]


def lines(connection: sqlite3.Connection) -> Iterator[bytes]:
    """Yield a line for each row, oldest activity first."""
    for raw, _ in connection.execute("SELECT row, checksum FROM session ORDER BY active_at, session_id"):
        yield raw + b"\n"


def conditions_of_tally(
    connection: sqlite3.Connection, where: Selection, without: Collection[str], latest: str
) -> tuple[list[str], list[str | int]] | None:
    """Return the conditions for the sessions that `tally` adds up, with their values; None if it cannot."""
    if _has_uncounted(connection):
        return None
    if (where.since or where.until) and due_rows(connection, latest):
        return None
    conditions, values = ([], []) if where == EVERYTHING else _conditions(connection, where)
    if without:  # in hexadecimal, because SQLite cuts off a text of JSON at the first NUL character
        conditions.append("hex(session_id) NOT IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([session_id.encode(errors="surrogatepass").hex().upper() for session_id in without]))
    return conditions, values


def tally(
    connection: sqlite3.Connection, where: Selection, by: "Sequence[GroupKey]", without: Collection[str], latest: str
) -> "Tally | None":
    """Add up the usage of the selected sessions in groups of `by`, without some sessions.

    Return None if the rows must be read for that: what some of them count is not known, their times have come due, or
    the sums are too large for SQLite. `latest` is that of `fold`.
    """
    from localstore.models.stats import Tally

    asked = conditions_of_tally(connection, where, without, latest)
    if asked is None:
        return None
    conditions, values = asked
    condition = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = f"SELECT count(*) FROM session {condition}"  # noqa: S608 (no input)
    (sessions,) = connection.execute(statement, values).fetchone()
    groups = [_GROUPS[name] for name in by]
    is_enough = where == EVERYTHING and all(group.startswith("usage.") for group in groups)
    joined = f"FROM {'usage' if is_enough else 'session JOIN usage USING (session_id)'} {condition}"
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

"""The values by which listings are sorted that do not begin with the newest activity, and their SQLite indexes.

An index is made when a listing is first sorted by its value: most stores need none, and it makes every write slower.
"""

import sqlite3
from typing import NamedTuple

from localstore.index.overview import INPUT, OUTPUT, Overview
from localstore.index.row import IndexRow
from localstore.index.sqlite_file import transaction
from localstore.models.excerpt import one_line
from localstore.models.times import is_time_text

_MOST = 2**63 - 1
"""The largest integer of SQLite. A row that another program wrote may have a larger one."""


INDEXES = {
    "created": "CREATE INDEX session_by_created ON session(created, active_at, session_id)",
    "runs": "CREATE INDEX session_by_runs ON session(runs, active_at, session_id)",
    "tokens": "CREATE INDEX session_by_tokens ON session(tokens, active_at, session_id)",
    "size": "CREATE INDEX session_by_size ON session(size, active_at, session_id)",
    "name": "CREATE INDEX session_by_title ON session(title, active_at DESC, session_id DESC)",
}
"""For each order, the statement that makes its index."""
_ORDERS = {name: f"{name} DESC, active_at DESC, session_id DESC" for name in INDEXES}
_ORDERS["name"] = "title, active_at DESC, session_id DESC"
_REVERSED = {name: f"{name}, active_at, session_id" for name in INDEXES}
_REVERSED["name"] = "title DESC, active_at, session_id"


class OrderValues(NamedTuple):
    """What `in_order_of` sorts sessions by. All but the title put the largest value first."""

    created: str
    """"" if it is no time."""
    runs: int
    tokens: int
    size: int
    title: str
    """`0` and the title without upper case; `1` if there is no title, so that those without one come last."""


def order_values(row: IndexRow) -> OrderValues:
    """Return the values of a row."""
    overview = row.get("overview", _NOTHING)
    title = (one_line(row["name"]) if "name" in row else "") or overview.get("question")
    created, runs, tokens, size = row["created_at"], row["runs"], 0, row["fingerprint"][0] if row["fingerprint"] else 0
    for models in overview.get("usage", _NO_USAGE).values():
        for numbers in models.values():
            tokens += numbers[INPUT] + numbers[OUTPUT]
    return OrderValues(
        created if is_time_text(created) else "",
        runs if -_MOST <= runs <= _MOST else _stored(runs),
        tokens if -_MOST <= tokens <= _MOST else _stored(tokens),
        size if -_MOST <= size <= _MOST else _stored(size),
        f"0{title.casefold()}" if title else "1",
    )


def _stored(number: int) -> int:
    return max(-_MOST, min(number, _MOST))


_NOTHING: Overview = {}
_NO_USAGE: dict[str, dict[str, list[int]]] = {}


def order_by(sort: str, *, is_reversed: bool) -> str:
    """Return the terms of ORDER BY for an order, with the newest activity first where the values are the same."""
    return (_REVERSED if is_reversed else _ORDERS)[sort]


def make_index(connection: sqlite3.Connection, sort: str) -> None:
    """Make the index of an order if there is none. Without it, a listing is as complete, but takes longer.

    Do nothing if another process is changing the tables.
    """
    statement = INDEXES[sort]
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (statement.split()[2],)).fetchone() is None:
        with transaction(connection, waits=False) as is_open:
            if is_open:
                connection.execute(statement.replace("INDEX", "INDEX IF NOT EXISTS", 1))

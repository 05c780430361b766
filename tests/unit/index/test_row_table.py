"""The tables of rows: rows are folded in batches, and a session is left out of a sum whatever its id is."""

import sqlite3
from collections.abc import Iterator

import orjson
import pytest

from localstore.index import index_tables, row_queries, row_table
from localstore.index.row import IndexRow
from localstore.index.selection import EVERYTHING
from tests.unit.index.manifests import row

LATEST = "2027-01-01T00:00:00.000Z"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(index_tables.LAYOUT.statements)
    yield connection
    connection.close()


def counted(session_id: str) -> IndexRow:
    return row(
        session_id,
        path=f"sessions/2026-11/{session_id.partition(chr(0))[0]}-{len(session_id)}.json",
        overview={"usage": {"2026-11": {"": [1, 0, 0, 0, 0, 0]}}},
    )


def fold(connection: sqlite3.Connection, rows: list[IndexRow]) -> None:
    data = b"".join(orjson.dumps(one) + b"\n" for one in rows)
    row_table.fold(connection, lambda size, offset: data[offset : offset + size], 0, len(data), LATEST)


def test_rows_are_folded_with_a_few_statements_for_hundreds_of_them(connection: sqlite3.Connection) -> None:
    """Two queries were made for each row, and most of the time to rebuild the index went into them."""
    fold(connection, [counted("first")])
    selects: list[str] = []
    connection.set_trace_callback(lambda text: selects.append(text) if text.startswith("SELECT") else None)
    fold(connection, [counted(f"session-{number}") for number in range(1000)])
    assert len(selects) <= 6
    assert row_queries.count(connection) == 1001


def test_folded_rows_replace_and_move_earlier_ones(connection: sqlite3.Connection) -> None:
    fold(connection, [counted("a"), counted("b"), counted("c")])
    moved: IndexRow = {**counted("a"), "path": "sessions/2026-12/a.json"}
    renamed: IndexRow = {**counted("d"), "path": counted("b")["path"]}
    fold(connection, [moved, renamed, counted("c")])
    assert {
        one["session_id"]: one for _, one in row_queries.page(connection, EVERYTHING, None, None, newest_first=True)
    } == {
        "a": moved,
        "d": renamed,
        "c": counted("c"),
    }
    assert connection.execute("SELECT count(*) FROM usage").fetchone() == (3,)


@pytest.mark.parametrize("session_id", ["a\0b", "é", "\U0001f600", "'"])
def test_a_session_with_any_id_is_left_out_of_a_sum(connection: sqlite3.Connection, session_id: str) -> None:
    """A session with a NUL character in its id was counted twice: in the index and in memory."""
    fold(connection, [counted(session_id), counted("other")])
    found = row_queries.tally(connection, EVERYTHING, (), {session_id}, LATEST)
    assert found is not None
    assert found.sessions == 1


def test_paths_and_sessions_are_found_for_any_id(connection: sqlite3.Connection) -> None:
    fold(connection, [counted("a"), counted("a\0b")])
    assert row_queries.paths_of(connection, ["a\0b", "missing"]) == {"a\0b": counted("a\0b")["path"]}
    assert row_queries.sessions_at(connection, [counted("a")["path"]]) == {counted("a")["path"]: "a"}

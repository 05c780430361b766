"""Listings in other orders than that of activity: what they are sorted by, and that a page costs what it returns."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from localstore import JsonStorage, Message, Run
from localstore.index import index_tables, row_order, row_queries, row_table
from localstore.index.selection import EVERYTHING, Selection
from localstore.models.session_info import SORT_KEYS, SortKey
from tests.unit.index.manifests import row

LATEST = "2027-01-01T00:00:00.000Z"
ORDERS = [sort for sort in SORT_KEYS if sort != "updated"]


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(index_tables.LAYOUT.statements)
    yield connection
    connection.close()


def test_the_values_of_a_row() -> None:
    usage = {"2026-11": {"a": [1, 0, 10, 2, 4, 0], "b": [1, 0, 1, 1, 0, 0]}, "": {"": [1, 0, 0, 0, 0, 0]}}
    full = row("a", name="A\n Trip", runs=3, fingerprint=[812, 1, 1, 1], overview={"usage": usage})
    assert row_order.order_values(full) == (full["created_at"], 3, 14, 812, "0a trip")
    bare = row("a", created_at="soon", fingerprint=[], overview={"usage": {}, "question": "Was\u00df?"})
    assert row_order.order_values(bare)[0::4] == ("", "0wasss?")
    odd = row("a", runs=10**30)
    assert row_order.order_values(odd) == (odd["created_at"], 2**63 - 1, 0, odd["fingerprint"][0], "1")


@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_page_is_read_in_the_order_of_an_index(
    connection: sqlite3.Connection, sort: SortKey, is_reversed: bool
) -> None:
    """All rows were read and sorted for the first ones: two seconds in a store of 100,000 sessions."""
    rows = [row(f"s{number}", overview={"usage": {}}) for number in range(5)]
    row_table.put(connection, rows, (), LATEST)
    row_order.make_index(connection, sort)
    row_order.make_index(connection, sort)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    for where in (EVERYTHING, Selection(without_tag="archived", since="2026-01-01")):
        found = row_queries.leading(connection, where, sort, 3, is_reversed=is_reversed)
        assert found is not None
        assert len(found) == 3
    connection.set_trace_callback(None)
    for statement in [text for text in statements if "LIMIT 3" in text]:
        plan = "\n".join(line[3] for line in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert row_order.INDEXES[sort].split()[2] in plan
        assert "ORDER BY" not in plan


@pytest.mark.parametrize("sort", ORDERS)
def test_an_index_takes_nothing_from_a_new_fill(connection: sqlite3.Connection, sort: SortKey) -> None:
    """Rows that are counted by no release yet are not sorted by what is counted."""
    row_order.make_index(connection, sort)
    row_table.put(connection, [row("a")], (), LATEST)
    found = row_queries.leading(connection, EVERYTHING, sort, 3, is_reversed=False)
    assert found is None if sort in ("tokens", "name") else found == [row("a")]


def test_a_document_that_was_edited_is_sorted_by_what_it_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index says what a document had. A listing compares what it returns with the files, and begins again."""
    monkeypatch.setattr("localstore.index.sweep._FEW", 0)
    storage = JsonStorage(tmp_path / "store")
    for session_id in "abc":
        storage.append(session_id, Run(messages=[Message(role="user", content="hi")]))
        storage.update(session_id, name=f"Title {session_id}")
    storage.list_sessions()
    path = storage.path("a")
    path.write_text(path.read_text().replace("Title a", "Zzz"))
    opened = JsonStorage(storage.root)
    assert [info.name for info in opened.list_sessions(sort="name", limit=2)] == ["Title b", "Title c"]
    assert [info.name for info in opened.list_sessions(sort="name", limit=9)] == ["Title b", "Title c", "Zzz"]
    path.unlink()
    assert [info.name for info in opened.list_sessions(sort="name", limit=9)] == ["Title b", "Title c"]

"""Create many sessions of an SQL database in one transaction, and compare many with what should be stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    Table,
    Text,
    any_,
    cast,
    exc,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from localstore.databases.backend import Change, StoredEntry
from localstore.databases.sql_session import Statements, body, entry_values, labels_of, parts, session_values
from localstore.databases.sql_tables import Tables, key
from localstore.maintenance.copying import digest_of


def create_many(connection: Connection, statements: Statements, new: Sequence[Change]) -> set[str]:
    """Create sessions, and return the ids of those that exist already."""
    by_key = {key(change.row["session_id"]): change for change in new}
    own = statements.tables.sessions.c.session_id
    existing: set[str] = set()
    for some in parts([*by_key]):
        statement = select(own).where(_is_one_of(statements.tables, own, some)).with_for_update()
        existing.update(connection.execute(statement).scalars())
    fresh = {name: change for name, change in by_key.items() if name not in existing}
    if fresh:
        _create(connection, statements, fresh)
    return {by_key[name].row["session_id"] for name in existing}


def _create(connection: Connection, statements: Statements, fresh: dict[str, Change]) -> None:
    tables = statements.tables
    put = [(name, one) for name, change in fresh.items() for one in change.put]
    entries: Iterator[dict[str, Any]] = (entry_values(tables, name, one) for name, one in put)
    if tables.is_sqlite:
        entries = _with_words(connection, statements, put, entries)
    labels = (
        {"session_id": name, "kind": kind, "value": value}
        for name, change in fresh.items()
        for kind, value in sorted(labels_of(change.row))
    )
    for table, rows in (
        (tables.sessions, map(session_values, fresh.values())),
        (tables.labels, labels),
        (tables.entries, entries),
    ):
        if connection.dialect.driver == "psycopg":
            _copy(connection, table, rows)
        elif values := [*rows]:
            connection.execute(statements.insert_entries if table is tables.entries else insert(table), values)


def _with_words(
    connection: Connection,
    statements: Statements,
    put: list[tuple[str, StoredEntry]],
    rows: Iterable[dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """Store the words of entries in SQLite, and yield the rows of the entries with their numbers."""
    number = connection.execute(select(func.max(statements.tables.entries.c.number))).scalar_one() or 0
    numbered = [(number + at, one) for at, (_, one) in enumerate(put, 1)]
    connection.execute(statements.insert_words, [{"number": number, "body": body(one)} for number, one in numbered])
    for row, (number, _) in zip(rows, numbered, strict=True):
        yield {**row, "number": number}


def _copy(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows into a table of PostgreSQL by its COPY protocol: the server stores the first while the next are made.

    An INSERT of each row takes several times as long.
    """
    preparer = connection.dialect.identifier_preparer
    names = [one.name for one in table.c]
    statement = f"COPY {preparer.format_table(table)} ({', '.join(map(preparer.quote, names))}) FROM STDIN"
    values = itemgetter(*names)
    cursor: Any = connection.connection.cursor()
    with _errors(connection, statement), cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(values(row))


@contextmanager
def _errors(connection: Connection, statement: str) -> Iterator[None]:
    """Raise the errors of the driver as those of SQLAlchemy, which makes a new connection if this one broke."""
    base = connection.dialect.loaded_dbapi.Error
    try:
        yield
    except base as error:
        is_broken = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
        if is_broken:
            connection.invalidate(error)
        raise exc.DBAPIError.instance(
            statement, None, error, base, True, connection_invalidated=is_broken, dialect=connection.dialect
        ) from None


def _is_one_of(tables: Tables, column: Column[Any], values: list[str]) -> ColumnElement[bool]:
    """Return the condition for one of many values: in PostgreSQL one array, which is faster than a list of values."""
    return column == any_(literal(values, ARRAY(Text))) if tables.is_postgres else column.in_(values)


def digests(connection: Connection, tables: Tables, session_ids: Sequence[str]) -> dict[str, bytes]:
    """Return the digests of those of these sessions that exist; see `Backend.digests`."""
    by_key = {key(session_id): session_id for session_id in session_ids}
    entries = tables.entries.c
    found: dict[str, bytes] = {}
    for some in parts([*by_key]):
        chosen = _is_one_of(tables, entries.session_id, some)
        if tables.is_postgres:  # the server computes them
            each: Any = func.sha256(func.convert_to(entries.content, "UTF8"))
            of_session = func.string_agg(each, aggregate_order_by(cast(b"", LargeBinary), entries.position))
            statement = select(entries.session_id, func.sha256(of_session)).where(chosen)
            rows = connection.execute(statement.group_by(entries.session_id))
            found |= {name: bytes(digest) for name, digest in rows}
            continue
        ordered = select(entries.session_id, entries.content).where(chosen)
        rows = connection.execute(ordered.order_by(entries.session_id, entries.position))
        for name, contents in groupby(rows, itemgetter(0)):
            found[name] = digest_of(text.encode() for _, text in contents)
    return {by_key[name]: digest for name, digest in found.items()}

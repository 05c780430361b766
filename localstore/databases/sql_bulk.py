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

from localstore.databases.backend import Change
from localstore.databases.sql_session import Statements, body, entry_values, labels_of, parts, session_values
from localstore.databases.sql_tables import Tables, key
from localstore.index.row import latest_plausible_time
from localstore.maintenance.copy_sides import digest_of


class NewRows:
    """The rows of new sessions: texts and numbers, which the garbage collector need not look at."""

    def __init__(self, tables: Tables, new: Iterable[Change]) -> None:
        """Make the rows. A change is not kept."""
        latest = latest_plausible_time()
        self.ids: dict[str, str] = {}
        """The id of each session, by its key."""
        self.sessions: list[dict[str, Any]] = []
        self.labels: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.words: list[str] = []
        """The words of each of the entries, in SQLite."""
        for change in new:
            values = session_values(change, latest)
            name = values["session_id"]
            self.ids[name] = change.row["session_id"]
            self.sessions.append(values)
            for kind, value in sorted(labels_of(change.row)):
                self.labels.append({"session_id": name, "kind": kind, "value": value})
            for one in change.put:
                self.entries.append(entry_values(tables, name, one))
            if tables.is_sqlite:
                self.words += map(body, change.put)


def create_many(connection: Connection, statements: Statements, new: NewRows) -> set[str]:
    """Create sessions, and return the ids of those that exist already."""
    tables = statements.tables
    own = tables.sessions.c.session_id
    existing: set[str] = set()
    for some in parts([*new.ids]):
        statement = select(own).where(_is_one_of(tables, own, some)).with_for_update()
        existing.update(connection.execute(statement).scalars())
    entries = new.entries
    if tables.is_sqlite:
        entries = _with_words(connection, statements, new, existing)
    for table, rows in ((tables.sessions, new.sessions), (tables.labels, new.labels), (tables.entries, entries)):
        values = [row for row in rows if row["session_id"] not in existing] if existing else rows
        if not values:
            continue
        if connection.dialect.driver == "psycopg":
            _copy(connection, table, values)
        else:
            connection.execute(statements.insert_entries if table is tables.entries else insert(table), values)
    return {new.ids[name] for name in existing}


def _with_words(
    connection: Connection, statements: Statements, new: NewRows, existing: set[str]
) -> list[dict[str, Any]]:
    """Store the words of entries in SQLite, and return the rows of the entries with their numbers."""
    number = connection.execute(select(func.max(statements.tables.entries.c.number))).scalar_one() or 0
    added = [pair for pair in zip(new.entries, new.words, strict=True) if pair[0]["session_id"] not in existing]
    words = [{"number": number + at, "body": text} for at, (_, text) in enumerate(added, 1)]
    if words:
        connection.execute(statements.insert_words, words)
    return [{**row, "number": number + at} for at, (row, _) in enumerate(added, 1)]


def _copy(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows into a table of PostgreSQL by its COPY protocol. An INSERT of each takes several times as long."""
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

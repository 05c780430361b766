"""What tables a store in an SQL database has, and how they are made."""

from __future__ import annotations

from sqlalchemy import Connection, exc, func, inspect, select, text
from sqlalchemy.schema import CreateSchema

from localstore.databases.backend import State, is_store, of_another_program
from localstore.databases.sql_errors import has_no_column
from localstore.databases.sql_tables import LAYOUT, Tables
from localstore.errors import NewerFormat, StoreUnavailable
from localstore.maintenance.importing.agno import SESSION_COLUMNS

_ENCODINGS = ("UTF8", "SQL_ASCII")
"""The encodings of PostgreSQL that hold all text. With the second one, it takes the bytes as they are."""
UPGRADE = "upgrade"
"""The name in the table of information of how far an upgrade came, as JSON. It stays there for an undo."""
UNFINISHED = "upgrading"
"""The name that is there, too, until all sessions are upgraded."""


def state_of(connection: Connection, tables: Tables, address: str) -> State:
    """Return whether the tables exist, agno made the table, or an upgrade of it is not finished.

    Raises StoreUnavailable if one of the tables is one of another program, and NewerFormat.
    """
    if not inspect(connection).has_table(tables.info.name, schema=tables.schema):
        there = _others(connection, tables)
        if not there:
            return "missing"
        inspector = inspect(connection)  # a new one, which remembers nothing
        if not inspector.has_table(tables.info.name, schema=tables.schema):
            if there[0] != tables.name:
                raise of_another_program(address, "table", there[0])
            columns = {column["name"] for column in inspector.get_columns(tables.name, schema=tables.schema)}
            if columns >= SESSION_COLUMNS:
                return "agno"
            raise of_another_program(address, "table")
    info = tables.info.c
    try:
        found = {name: value for name, value in connection.execute(select(info.name, info.value))}  # noqa: C416
    except exc.DBAPIError as error:
        if has_no_column(error):
            raise of_another_program(address, "table", tables.info.name) from None
        raise
    layout = found.get("layout")
    if layout is None and not tables.is_mysql:  # where tables are not created in a transaction, it comes last
        raise of_another_program(address, "table", tables.info.name)
    if layout not in (None, LAYOUT):
        raise NewerFormat(
            f"{address} has layout {layout}, but this localstore reads layout {LAYOUT}. Nothing was changed. "
            "Update localstore.",
            path=address,
        )
    if layout is None:
        return "missing"
    return "unfinished" if UNFINISHED in found else "ready"


def _others(connection: Connection, tables: Tables) -> list[str]:
    """Return which tables exist of those that a store has, besides that of information; that of sessions first."""
    names = [one.name for one in tables.metadata.sorted_tables if one is not tables.info]
    names += [tables.words_table] if tables.is_sqlite else []
    names.sort(key=lambda name: (name != tables.name, name))
    inspector = inspect(connection)
    return [name for name in names if inspector.has_table(name, schema=tables.schema)]


def is_ready(connection: Connection, tables: Tables, address: str) -> bool:
    """Return whether the tables exist. Raises OlderFormat for a table of agno, and the errors of `state_of`."""
    return is_store(state_of(connection, tables, address), address, "table")


def create(connection: Connection, tables: Tables, address: str, timeout: float) -> None:
    """Create the tables, unless another process did so meanwhile in MySQL. `timeout` is in seconds."""
    if tables.is_postgres:
        _check_encoding(connection, address)
    if not tables.is_mysql:
        create_tables(connection, tables)
        return
    # Each table is committed at once there: others must wait until all of them exist.
    name = f"localstore {tables.name}"
    connection.execute(select(func.get_lock(name, timeout)))
    try:
        if not is_ready(connection, tables, address):
            create_tables(connection, tables)
    finally:
        connection.execute(select(func.release_lock(name)))


def _check_encoding(connection: Connection, address: str) -> None:
    """Raise StoreUnavailable for a database that cannot hold all text: an answer could not be stored in the end."""
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding not in _ENCODINGS:
        raise StoreUnavailable(
            f"{address}: the database has the encoding {encoding}, which cannot hold all text. Nothing was written. "
            "Use a database with the encoding UTF8.",
            path=address,
        )


def create_tables(connection: Connection, tables: Tables) -> None:
    """Create the tables, and their schema if it does not exist."""
    if tables.schema is not None and not inspect(connection).has_schema(tables.schema):
        # Without the question, PostgreSQL wants a user who may create schemas, even if this one exists.
        connection.execute(CreateSchema(tables.schema, if_not_exists=True))
    tables.info.create(connection, checkfirst=True)  # first: it says whose the other tables are
    tables.metadata.create_all(connection)
    if tables.is_sqlite:
        connection.execute(
            text(f"CREATE VIRTUAL TABLE {tables.words_table} USING fts5(body, content='', tokenize='ascii')")
        )
    connection.execute(tables.info.insert(), {"name": "layout", "value": LAYOUT})


def drop_tables(connection: Connection, tables: Tables) -> None:
    """Drop all tables of the store."""
    if tables.is_sqlite:
        connection.execute(text(f"DROP TABLE {tables.words_table}"))
    tables.metadata.drop_all(connection)

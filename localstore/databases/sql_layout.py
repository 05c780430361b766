"""What tables a store in an SQL database has, and how they are made."""

from __future__ import annotations

from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.schema import CreateSchema

from localstore.databases.backend import State, is_store
from localstore.databases.sql_tables import LAYOUT, Tables
from localstore.errors import NewerFormat, StoreUnavailable
from localstore.maintenance.importing.agno import SESSION_COLUMNS

UPGRADE = "upgrade"
"""The name in the table of information of how far an upgrade came, as JSON. It stays there for an undo."""
UNFINISHED = "upgrading"
"""The name that is there, too, until all sessions are upgraded."""


def state_of(connection: Connection, tables: Tables, address: str) -> State:
    """Return whether the tables exist, agno made the table, or an upgrade of it is not finished.

    Raises StoreUnavailable if the table is one of another program, and NewerFormat.
    """
    inspector = inspect(connection)
    if not inspector.has_table(tables.info.name, schema=tables.schema):
        if not inspector.has_table(tables.name, schema=tables.schema):
            return "missing"
        columns = {column["name"] for column in inspector.get_columns(tables.name, schema=tables.schema)}
        if columns >= SESSION_COLUMNS:
            return "agno"
        raise StoreUnavailable(
            f"{address} is a table of another program. Nothing was changed. Use another table name.", path=address
        )
    info = tables.info.c
    found = {name: value for name, value in connection.execute(select(info.name, info.value))}  # noqa: C416
    layout = found.get("layout")
    if layout not in (None, LAYOUT):
        raise NewerFormat(
            f"{address} has layout {layout}, but this localstore reads layout {LAYOUT}. Nothing was changed. "
            "Update localstore.",
            path=address,
        )
    if layout is None:
        return "missing"
    return "unfinished" if UNFINISHED in found else "ready"


def is_ready(connection: Connection, tables: Tables, address: str) -> bool:
    """Return whether the tables exist. Raises OlderFormat for a table of agno, and the errors of `state_of`."""
    return is_store(state_of(connection, tables, address), address, "table")


def create(connection: Connection, tables: Tables, address: str, timeout: float) -> None:
    """Create the tables, unless another process did so meanwhile in MySQL. `timeout` is in seconds."""
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


def create_tables(connection: Connection, tables: Tables) -> None:
    """Create the tables, and their schema if it does not exist."""
    if tables.schema is not None:
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

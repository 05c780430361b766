"""Storages in an SQL database: `SqlStorage`, and `SqliteStorage` and `PostgresStorage` with the names people know.

    from localstore.databases.sql import SqlStorage

    storage = SqlStorage("postgresql://me@db.example.com/agents")

The extra `sql` has what they need: `pip install 'localstore-sessions[sql]'`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localstore.databases.database_storage import DatabaseStorage
from localstore.errors import StoreUnavailable
from localstore.models.nearest import shown
from localstore.storage.arguments import check_flag, check_lock_timeout

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from localstore.databases.sql_connections import Connections
    from localstore.databases.sql_upgrade import SqlUpgrade


class SqlStorage(DatabaseStorage):
    """A storage that keeps sessions in the tables of an SQL database, which many machines may use at once.

    >>> with SqlStorage("sqlite:///sessions.db") as storage:
    ...     len(storage)
    0
    """

    def __init__(
        self,
        url: str | URL,
        table: str = "agent_sessions",
        schema: str | None = None,
        auto_upgrade_schema: bool = False,
        *,
        lock_timeout: float = 10.0,
        create: bool = True,
    ) -> None:
        """Open the store, and create its tables if they do not exist.

        Args:
            url: The address, as SQLAlchemy takes it: `postgresql://user@host/database`, `sqlite:///file.db`.
            table: The name of the table of sessions. The names of the other tables begin with it.
            schema: The schema of the tables, in PostgreSQL. It is created if it does not exist.
            auto_upgrade_schema: If True, a table of agno is upgraded, as by `localstore upgrade`.
            lock_timeout: Seconds to wait for another writer to the same session.
            create: If False, a missing store raises StoreNotFound instead of being created.

        Raises ValueError for an invalid argument; StoreUnavailable if the database cannot be reached, a package is
        missing or the table is one of another program; OlderFormat if the table is one of agno and
        `auto_upgrade_schema` is False; NewerFormat if a newer localstore made it. No error shows the password.
        """
        check_lock_timeout(lock_timeout)
        check_flag("auto_upgrade_schema", auto_upgrade_schema)
        check_flag("create", create)
        connections = _connections(url, table, schema, float(lock_timeout))
        from localstore.databases.sql_backend import SqlBackend

        self._options: tuple[Any, ...] = (url, table, schema, auto_upgrade_schema, float(lock_timeout))
        super().__init__(SqlBackend(connections, table, schema, create=create, upgrade=auto_upgrade_schema))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address and the options, so that another process can open the same store."""
        return _open, (type(self), self._options)


class SqliteStorage(SqlStorage):
    """A storage that keeps sessions in a file of SQLite.

    >>> with SqliteStorage(table_name="agent_sessions", db_file="sessions.db") as storage:
    ...     len(storage)
    0
    """

    def __init__(
        self,
        table_name: str = "agent_sessions",
        db_file: str | os.PathLike[str] = "agents.db",
        *,
        auto_upgrade_schema: bool = False,
        lock_timeout: float = 10.0,
    ) -> None:
        """Open the file, or create it; its folder must exist. See `SqlStorage`."""
        path = os.fspath(db_file)
        if path in ("", ":memory:"):
            problem = f"{path!r}, so nothing would be kept" if path else "empty"
            raise ValueError(f"db_file is {problem}. Name a file.")
        super().__init__(
            _url_of(Path(path).absolute()), table_name, None, auto_upgrade_schema, lock_timeout=lock_timeout
        )


class PostgresStorage(SqlStorage):
    """A storage that keeps sessions in PostgreSQL: `PostgresStorage(table_name="agent_sessions", db_url=URL)`."""

    def __init__(
        self,
        table_name: str = "agent_sessions",
        db_url: str | URL = "postgresql://localhost/postgres",
        schema: str | None = "ai",
        *,
        auto_upgrade_schema: bool = False,
        lock_timeout: float = 10.0,
    ) -> None:
        """Open the tables in the schema, or create both. See `SqlStorage`."""
        super().__init__(db_url, table_name, schema, auto_upgrade_schema, lock_timeout=lock_timeout)


def upgrade_of(url: str | URL, table: str = "agent_sessions", schema: str | None = None) -> SqlUpgrade:
    """Return the upgrade of a table of agno: its preview, the upgrade itself, and its undo. Nothing is changed yet.

    Raises ValueError for an invalid argument, and StoreUnavailable if a package is missing.
    """
    connections = _connections(url, table, schema, 10.0)
    from localstore.databases.sql_tables import Tables
    from localstore.databases.sql_upgrade import SqlUpgrade

    return SqlUpgrade(connections, Tables(table, schema, connections.dialect))


def _connections(url: str | URL, table: str, schema: str | None, timeout: float) -> Connections:
    """Return the connections to a database, once the names and the packages are checked."""
    with _packages():
        from localstore.databases.sql_connections import Connections
        from localstore.databases.sql_tables import NAME
    for name, value in (("table", table), ("schema", schema)):
        if not (name == "schema" and value is None) and not (isinstance(value, str) and NAME.match(value)):
            raise ValueError(f"{name} must be 1 to 40 letters, digits and _, not {shown(value)}")
    connections = Connections(url, timeout)
    if schema is not None and connections.dialect == "sqlite":
        raise ValueError("schema is for PostgreSQL, and url names a file of SQLite. Leave schema out.")
    return connections


def _url_of(path: Path) -> URL:
    """Return the URL of a file of SQLite, whose name may have any characters."""
    with _packages():
        from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(path))


@contextmanager
def _packages() -> Iterator[None]:
    """Raise StoreUnavailable if an import fails because a package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("localstore"):
            raise
        raise StoreUnavailable(
            f"SqlStorage needs the package {error.name}, which is not installed. "
            "Run: pip install 'localstore-sessions[sql]'"
        ) from None


def _open(kind: type[SqlStorage], options: tuple[Any, ...]) -> SqlStorage:
    storage = kind.__new__(kind)
    url, table, schema, upgrades, timeout = options
    SqlStorage.__init__(storage, url, table, schema, upgrades, lock_timeout=timeout)
    return storage

"""Connections to an SQL database: made when they are needed, made again when they break, never shared with a child."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from localstore.databases import sqlite_forks, sqlite_read_only
from localstore.databases.backend import LONGEST_WAIT
from localstore.databases.sql_errors import address_of, explained, may_be_tried_again, secrets_in
from localstore.databases.sql_tables import MYSQL
from localstore.errors import StoreNotFound, StoreUnavailable

_Result = TypeVar("_Result")

_PAUSES = (0.0, 0.1, 0.3, 1.0, 2.0)
"""Seconds before each further try after a connection broke: a server needs a moment to start again."""
_MOST_RACES = 20
"""How often a transaction is tried that collides with others, such as one that creates the same session."""
_SYNCHRONOUS = "FULL"
_PAUSE_OF_SQLITE = 0.005
_OPTIONS_OF_SQLITE = {"cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout"}
"""What a URL of SQLite may have after its ?. SQLAlchemy ignores all others, such as a misspelt `table`."""
_OPTION_WITH_PASSWORD = re.compile(r"[?&]\w*password\w*=", re.IGNORECASE)
"""Matches where an option begins that SQLAlchemy takes for a part of the password in front of an @."""
_EXTRA = "pip install 'localstore-sessions[sql]'"
_OF_PARENTS: list[Engine] = []
"""Engines of the processes that this one was forked from. They are kept, because closing them would end connections
that the parent still uses."""


class Connections:
    """The connections to one database. Thread-safe, and usable after a fork."""

    def __init__(self, url: str | URL, timeout: float) -> None:
        """Check a URL. Nothing is connected yet.

        `timeout` is how many seconds to wait for locks. Raises ValueError, and StoreUnavailable if a package is
        missing.
        """
        self.url = parsed_url(url)
        self.timeout = min(timeout, LONGEST_WAIT)
        self.address = address_of(self.url)
        self.dialect = self.url.get_backend_name()
        self._secrets = secrets_in(self.url)
        self._mutex = threading.Lock()
        self._engine: Engine | None = None
        self._process = 0
        self._was_open = False
        self._read_only: str | None = None
        """The path of a file of SQLite to which this user may not write."""
        self._open()

    def _open(self) -> Engine:
        """Return the engine of this process."""
        engine = self._engine
        if engine is not None and self._process == os.getpid():
            return engine
        if self._process not in (0, os.getpid()):
            self._mutex = threading.Lock()  # another thread of the parent may have held it
        with self._mutex:
            if self._engine is None or self._process != os.getpid():
                if self._engine is not None:
                    _OF_PARENTS.append(self._engine)
                self._engine, self._process = self._new_engine(), os.getpid()
                weakref.finalize(self, _dispose, self._engine, self._process)
            return self._engine

    def _new_engine(self) -> Engine:
        options: dict[str, Any] = {"pool_timeout": max(self.timeout, 0.1), "hide_parameters": True}
        if self.dialect == "sqlite":
            options["connect_args"] = {"timeout": self.timeout, "check_same_thread": False}
        elif self.url.drivername == "postgresql+psycopg":
            # A prepared statement is planned without its values: a page of 20 as if it were a tenth of the table.
            # Without an encoding, the driver takes that of the database: bytes where it is SQL_ASCII.
            options["connect_args"] = {"prepare_threshold": None, "client_encoding": "UTF8"}
        if self.dialect in ("postgresql", *MYSQL):
            # Others may be the default of the server or the user: then writers to one session fail instead of waiting.
            # With REPEATABLE READ, MySQL locks the place of a session that does not exist: two creators wait for each
            # other.
            options["isolation_level"] = "READ COMMITTED"
        path = _path_of(self.url.database or "")
        is_plain = self.dialect == "sqlite" and "uri" not in self.url.query
        self._read_only = path if is_plain and sqlite_read_only.is_read_only(path) else None
        if self._read_only is not None:  # a connection for each transaction: none sees what others change meanwhile
            del options["pool_timeout"], options["connect_args"]
            options |= {"poolclass": NullPool, "creator": partial(sqlite_read_only.connect, path, self.timeout)}
        try:
            engine = create_engine(self.url, **options)
        except exc.NoSuchModuleError:
            raise ValueError(
                f"url names a database that SQLAlchemy does not know: {self.url.drivername}. "
                "Use postgresql://user@host/database, or sqlite:///file.db."
            ) from None
        except ModuleNotFoundError as error:
            advice = f"Run: {_EXTRA}" if error.name == "psycopg" else "Install the driver that the URL names."
            if self.dialect == "postgresql" and error.name != "psycopg":
                advice = "Use a URL that begins with postgresql://, which needs no other driver."
            raise StoreUnavailable(
                f"{self.address} needs the package {error.name}, which is not installed. {advice}",
                path=self.address,
            ) from None
        if self.dialect == "sqlite":
            if self._read_only is None:
                event.listen(engine, "connect", partial(_prepare_sqlite, self.timeout, path))
                event.listen(engine, "checkout", partial(_check_file, path))
            event.listen(engine, "begin", _begin_sqlite)
            sqlite_forks.register(engine)
        elif self.dialect == "postgresql":
            event.listen(engine, "connect", partial(_prepare_postgres, self.timeout))
        elif self.dialect in MYSQL:
            event.listen(engine, "connect", partial(_prepare_mysql, self.timeout))
        return engine

    def has_no_file(self) -> bool:
        """Return whether this is SQLite and the file does not exist. A look at the database would create it."""
        path = self.url.database
        return self.dialect == "sqlite" and path is not None and not os.path.exists(_path_of(path))

    def close(self) -> None:
        """Close the connections that are not in use. The next call opens new ones."""
        engine = self._engine
        if engine is not None and self._process == os.getpid():
            _dispose(engine, self._process)

    def read(self, work: Callable[[Connection], _Result]) -> _Result:
        """Return the result of `work`, whose statements all see the same state of the database."""
        return self._tried(work, writes=False)

    def ask(self, work: Callable[[Connection], _Result]) -> _Result:
        """Return the result of `work`, which executes a single statement and so needs no transaction."""
        return self._tried(work, writes=False, isolation="AUTOCOMMIT")

    def write(self, work: Callable[[Connection], _Result]) -> _Result:
        """Return the result of `work`, called in a transaction, once everything is durable.

        `work` is called again if the connection breaks or the transaction collides with another one. Raises
        StoreUnavailable and LockTimeout.
        """
        return self._tried(work, writes=True)

    def _tried(
        self, work: Callable[[Connection], _Result], *, writes: bool, isolation: str = "REPEATABLE READ"
    ) -> _Result:
        races, pauses = 0, iter(_PAUSES)
        while True:
            try:
                return self._once(work, writes=writes, isolation=isolation)
            except exc.IntegrityError as error:
                races += 1  # somebody else created the same session
                if races >= _MOST_RACES:
                    raise explained(error, self.address, self._secrets, self.timeout) from None
            except exc.SQLAlchemyError as error:
                pause = next(pauses, None) if may_be_tried_again(error) else None
                if pause is None:
                    raise explained(error, self.address, self._secrets, self.timeout) from None
                time.sleep(pause)

    def _once(
        self, work: Callable[[Connection], _Result], *, writes: bool, isolation: str = "REPEATABLE READ"
    ) -> _Result:
        if self._was_open and self.has_no_file():  # SQLite would make an empty one
            raise StoreNotFound(
                f"{self.address}: the file was removed after it had been opened. Nothing was written. Put it back, or "
                "open the storage again to make another one.",
                path=self.address,
            )
        inside = sqlite_forks.inside() if self.dialect == "sqlite" else nullcontext()
        with inside:
            engine = self._open()
            if self._read_only is None:
                return self._in_transaction(engine, work, writes=writes, isolation=isolation)
            if writes:
                raise sqlite_read_only.refusal(self._read_only, self.address)
            once = partial(self._in_transaction, engine, work, writes=False)
            return sqlite_read_only.read(self._read_only, self.address, once)

    def _in_transaction(
        self, engine: Engine, work: Callable[[Connection], _Result], *, writes: bool, isolation: str = "REPEATABLE READ"
    ) -> _Result:
        with engine.connect() as connection:
            if self.dialect == "sqlite":
                connection = connection.execution_options(localstore_writes=writes)
            elif not writes:
                connection = connection.execution_options(isolation_level=isolation)
            with connection.begin():
                self._was_open = True
                return work(connection)

    def first(self, work: Callable[[Connection], _Result], *, writes: bool) -> _Result:
        """Return the result of `work` in a transaction, without a second try: what is wrong at the start stays so."""
        try:
            return self._once(work, writes=writes)
        except exc.SQLAlchemyError as error:
            raise explained(error, self.address, self._secrets, self.timeout) from None


def _dispose(engine: Engine, process: int) -> None:
    """Close the connections of an engine that are not in use, unless they are those of the parent."""
    if process == os.getpid():
        with sqlite_forks.inside() if engine.dialect.name == "sqlite" else nullcontext():
            engine.dispose()


def parsed_url(url: str | URL) -> URL:
    """Return a URL, with the driver for PostgreSQL. Raises TypeError, and ValueError, which does not show the URL."""
    if not isinstance(url, (str, URL)):
        raise TypeError(f"url must be text, not {type(url).__name__}")
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise ValueError(
            "url is no address of a database. Use postgresql://user@host/database, or sqlite:///file.db."
        ) from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        _check_sqlite(parsed)
    elif "@" in (parsed.database or "") and parsed.host is None:  # a slash too many: it would be shown
        raise ValueError("url has three slashes in front of the user. Use postgresql://user@host/database.")
    elif _OPTION_WITH_PASSWORD.search(str(parsed.password or "")):
        raise ValueError("url has an @ in an option. Write it as %40.")
    return parsed


def _check_sqlite(url: URL) -> None:
    if url.database in (None, "", ":memory:"):
        raise ValueError("url names no file, so nothing would be kept. Use sqlite:///file.db.")
    unknown = url.query.keys() - _OPTIONS_OF_SQLITE
    if unknown and "uri" not in url.query and url.drivername in ("sqlite", "sqlite+pysqlite"):
        raise ValueError(f"SQLite has no option {min(unknown)!r}.")


def _path_of(database: str) -> str:
    """Return the path of a file of SQLite, which may be given as a URI."""
    return unquote(database.removeprefix("file:").partition("?")[0]) if database.startswith("file:") else database


# A listener must not refer to its `Connections`: the engine would keep them alive, and never be closed itself.


def _prepare_postgres(timeout: float, connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {max(1, round(timeout * 1000))}")
        # By default, a server may read all sessions in their order to find those of one user: on a disk that
        # spins, it is faster than to read each row from another place.
        cursor.execute("SET random_page_cost = 1.1")
    connection.commit()


def _prepare_mysql(timeout: float, connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {max(1, round(timeout))}")


def _prepare_sqlite(timeout: float, path: str, connection: Any, record: Any) -> None:
    record.info["file"] = _identity_of(path)
    connection.isolation_level = None  # the transactions are those of `_begin_sqlite`
    give_up = time.monotonic() + timeout
    while True:
        try:
            connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS}")
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:  # several connections are the first: SQLite does not wait for them
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
        time.sleep(_PAUSE_OF_SQLITE)


def _check_file(path: str, _: Any, record: Any, __: Any) -> None:
    """Let a new connection be made if the path has another file now: what is written to the old one would be lost."""
    if record.info["file"] != _identity_of(path):
        raise exc.DisconnectionError


def _identity_of(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("localstore_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

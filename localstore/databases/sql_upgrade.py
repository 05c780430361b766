"""Upgrade a table of agno in SQLite or PostgreSQL to the tables of a store, preview that, and undo it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import orjson
from sqlalchemy import Connection, delete, func, insert, inspect, select, text, update
from sqlalchemy import Table as AnyTable
from sqlalchemy.schema import MetaData

from localstore.databases.agno_sessions import Document
from localstore.databases.backend import HEADER, Change, State, entry_of, store_not_found
from localstore.databases.sql_agno import AgnoTables, run_tables
from localstore.databases.sql_bulk import NewRows, create_many
from localstore.databases.sql_connections import Connections
from localstore.databases.sql_layout import UNFINISHED, UPGRADE, create_tables, drop_tables, state_of
from localstore.databases.sql_session import Statements
from localstore.databases.sql_tables import Tables, key
from localstore.databases.upgrading import SUFFIX, Compared, DatabaseUpgrade, Progress, names_for
from localstore.errors import Conflict, OlderFormat

_Result = TypeVar("_Result")


class SqlUpgrade(DatabaseUpgrade[Connection]):
    """The upgrade of one table; see `DatabaseUpgrade`."""

    what = "table"

    def __init__(self, connections: Connections, tables: Tables) -> None:
        super().__init__(tables.name, tables.address(connections.address))
        self._connections = connections
        self._tables = tables
        self._statements = Statements(tables)

    def _read(self, work: Callable[[Connection], _Result]) -> _Result:
        return self._connections.read(work)

    def _write(self, work: Callable[[Connection], _Result]) -> _Result:
        return self._connections.write(work)

    def _state(self, handle: Connection) -> State:
        return state_of(handle, self._tables, self._address)

    def _check_place(self) -> None:
        if self._connections.has_no_file():
            raise store_not_found(self._address)

    def _begin(self) -> bool:
        return self._write(self._prepare)

    def _prepare(self, connection: Connection) -> bool:
        tables = self._tables
        if tables.is_postgres:  # another upgrade may rename the tables at the same time
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"localstore {tables.name}"))))
        state = state_of(connection, tables, self._address)
        if state == "missing":
            raise store_not_found(self._address)
        if state != "agno":
            return False
        if not (tables.is_sqlite or tables.is_postgres):
            raise OlderFormat(
                f"{self._address} is a table of agno, which is upgraded in SQLite and PostgreSQL alone. Nothing was "
                "changed. Use another table name.",
                path=self._address,
            )
        there = {*inspect(connection).get_table_names(schema=tables.schema)}
        taken = there & {one.name for one in tables.metadata.tables.values()} - {tables.name}
        if taken:
            raise Conflict(
                f"{self._address} is a table of agno, and the table {min(taken)} is in the way of its upgrade. Nothing "
                f"was changed. Rename or delete {min(taken)}."
            )
        runs = run_tables(connection, tables.schema)
        is_later = "session_type" in {
            one["name"] for one in inspect(connection).get_columns(tables.name, schema=tables.schema)
        }
        old = [tables.name, *(name for name in runs if is_later and not name.endswith(SUFFIX))]
        renamed: dict[str, str] = {}
        for name in old:
            renamed[name] = next(new for new in names_for(name) if new not in there)
            self._rename(connection, name, renamed[name])
        create_tables(connection, tables)
        values = {UPGRADE: _text_of(Progress(renamed, None, [])), UNFINISHED: ""}
        connection.execute(insert(tables.info), [{"name": name, "value": value} for name, value in values.items()])
        return True

    def _rename(self, connection: Connection, old: str, new: str) -> None:
        preparer = connection.dialect.identifier_preparer
        name = preparer.format_table(AnyTable(old, MetaData(), schema=self._tables.schema))
        connection.execute(text(f"ALTER TABLE {name} RENAME TO {preparer.quote(new)}"))

    def _progress(self, handle: Connection) -> Progress | None:
        info = self._tables.info.c
        found = handle.execute(select(info.value).where(info.name == UPGRADE)).scalar_one_or_none()
        return None if found is None else Progress(**orjson.loads(found))

    def _lock(self, handle: Connection) -> bool:
        info = self._tables.info.c
        handle.execute(select(info.name).where(info.name == UPGRADE).with_for_update()).all()
        return handle.execute(select(info.name).where(info.name == UNFINISHED)).one_or_none() is not None

    def _save(self, handle: Connection, progress: Progress) -> None:
        info = self._tables.info
        handle.execute(update(info).where(info.c.name == UPGRADE).values(value=_text_of(progress)))

    def _finish(self, handle: Connection) -> None:
        info = self._tables.info
        handle.execute(delete(info).where(info.c.name == UNFINISHED))

    def _agno(self, handle: Connection, name: str) -> AgnoTables:
        return AgnoTables(handle, name, self._tables.schema)

    def _create(self, handle: Connection, new: Sequence[Change]) -> set[str]:
        return create_many(handle, self._statements, NewRows(self._tables, new))

    def _count(self, handle: Connection) -> int:
        found: int = handle.execute(select(func.count()).select_from(self._tables.sessions)).scalar_one()
        return found

    def _facts(self, handle: Connection) -> Iterator[tuple[str, str]]:
        sessions = self._tables.sessions.c
        found = handle.execute(select(sessions.session_id, sessions.facts).order_by(sessions.session_id))
        yield from ((session_key, facts) for session_key, facts in found)

    def _stored(self, handle: Connection, key: str) -> Document | None:
        found = handle.execute(self._statements.entries, {"key": key, "begin": HEADER})
        values = [entry_of(content, key) for _, content in found]
        return (values[0], values[1:]) if values else None

    def _key(self, session_id: str) -> str:
        return key(session_id)

    def _has_aside(self, handle: Connection) -> bool:
        return bool(handle.execute(select(func.count()).select_from(self._tables.aside)).scalar_one())

    def _bring_back(self, compared: Compared) -> str:
        tables = self._tables

        def change(connection: Connection) -> str:
            if tables.is_postgres:  # writers wait, and find no tables
                name = connection.dialect.identifier_preparer.format_table(tables.sessions)
                connection.execute(text(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))
            self._lock(connection)
            progress = self._progress(connection)
            if progress is None or self._has_aside(connection) or self._digest(connection) != compared.digest:
                raise self._changed_meanwhile()
            old = progress.tables[tables.name]
            self._store_back(connection, self._agno(connection, old), compared.changed)
            drop_tables(connection, tables)
            for name, renamed in progress.tables.items():
                self._rename(connection, renamed, name)
            return old

        return self._connections.first(change, writes=True)


def _text_of(progress: Progress) -> str:
    return orjson.dumps(progress).decode()

"""The sessions of agno in tables that it made with SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Connection,
    Integer,
    Select,
    Text,
    cast,
    column,
    delete,
    func,
    insert,
    inspect,
    select,
    table,
    update,
)
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.types import TypeEngine

from localstore.databases.agno_sessions import AgnoForm, OldSession, Row
from localstore.maintenance.importing.agno import JSON_COLUMNS, RUN_COLUMNS


class AgnoTables:
    """The tables in an open transaction; see `AgnoSessions`. A key is the id of a session."""

    def __init__(self, connection: Connection, name: str, schema: str | None) -> None:
        self._connection = connection
        self._schema = schema
        self._inspector = inspect(connection)
        self._name = name
        self._sessions = self._selected(name)
        self._run_tables = run_tables(connection, schema)
        self._runs = [self._selected(name) for name in self._run_tables]
        self.is_later = "session_type" in self._sessions.selected_columns
        self.has_runs = bool(self._runs)
        some = connection.execute(self._sessions.limit(1)).mappings().one_or_none()
        self.is_text = some is not None and any(str(some.get(name)).startswith('"') for name in JSON_COLUMNS)

    def _selected(self, name: str) -> Select[Any]:
        """Return a query for all columns of a table, in which JSON is text."""
        columns = self._inspector.get_columns(name, schema=self._schema)
        source = table(name, *(column(one["name"]) for one in columns), schema=self._schema)
        kinds = {one["name"] for one in columns if isinstance(one["type"], JSON)}
        return select(*(cast(one, Text).label(one.name) if one.name in kinds else one for one in source.c)).select_from(
            source
        )

    def keys(self, after: Any, limit: int) -> list[Any]:
        session_id = self._sessions.selected_columns["session_id"]
        statement = self._sessions.with_only_columns(session_id).order_by(session_id).limit(limit)
        where = session_id.is_not(None) if after is None else session_id > after
        return [str(found) for found in self._connection.execute(statement.where(where)).scalars()]

    def count(self) -> int:
        found: int = self._connection.execute(self._sessions.with_only_columns(func.count())).scalar_one()
        return found

    def without_id(self) -> int:
        session_id = self._sessions.selected_columns["session_id"]
        statement = self._sessions.with_only_columns(func.count()).where(session_id.is_(None))
        found: int = self._connection.execute(statement).scalar_one()
        return found

    def read(self, keys: Sequence[Any]) -> Iterator[OldSession]:
        for session_id in keys:
            statement = self._sessions.where(self._sessions.selected_columns["session_id"] == session_id)
            for found in self._connection.execute(statement).mappings():
                yield OldSession(session_id, dict(found), self._runs_of(session_id))

    def _runs_of(self, session_id: str) -> list[Row]:
        found: list[Row] = []
        for runs in self._runs:
            columns = runs.selected_columns
            order = [columns[name] for name in ("run_index", "created_at") if name in columns]
            statement = runs.where(columns["session_id"] == session_id).order_by(*order)
            found += map(dict, self._connection.execute(statement).mappings())
        return found

    def fitting(self, row: Row) -> Row:
        """Times lose their milliseconds in a column of integers, where SQLite would keep them and PostgreSQL round."""
        kinds = {one["name"]: one["type"] for one in self._inspector.get_columns(self._name, schema=self._schema)}
        return {name: _fitting(row.get(name), kind) for name, kind in kinds.items()}

    def store(self, session_id: str, form: AgnoForm) -> None:
        sessions = self._table(self._name)
        values = _values(sessions, form.row)
        changed = self._connection.execute(update(sessions).where(sessions.c.session_id == session_id).values(values))
        if not changed.rowcount:
            self._connection.execute(insert(sessions).values(values))
        if form.runs is None:
            return
        for name in self._run_tables:
            runs = self._table(name)
            self._connection.execute(delete(runs).where(runs.c.session_id == session_id))
        runs = self._table(self._run_tables[0])
        for row in form.runs:
            self._connection.execute(insert(runs).values(_values(runs, row)))

    def _table(self, name: str) -> TableClause:
        """Return a table to write to."""
        columns = self._inspector.get_columns(name, schema=self._schema)
        kinds = {one["name"]: one["type"] for one in columns}
        for key, kind in kinds.items():
            if isinstance(kind, JSON):
                kinds[key] = type(kind)(none_as_null=True)
        return table(name, *(column(key, kind) for key, kind in kinds.items()), schema=self._schema)


def _fitting(value: Any, kind: TypeEngine[Any]) -> Any:
    return int(value) if isinstance(value, float) and isinstance(kind, Integer) else value


def _values(to: TableClause, row: Row) -> Row:
    """Return the values of a row that a table has columns for. JSON is text in columns of another type."""
    values: Row = {}
    for key in row.keys() & to.c.keys():
        is_text = isinstance(row[key], (dict, list)) and not isinstance(to.c[key].type, JSON)
        values[key] = orjson.dumps(row[key]).decode() if is_text else _fitting(row[key], to.c[key].type)
    return values


def run_tables(connection: Connection, schema: str | None) -> list[str]:
    """Return the names of the tables of runs of agno 3.x."""
    inspector = inspect(connection)
    columns = {name: inspector.get_columns(name, schema=schema) for name in sorted(inspector.get_table_names(schema))}
    return [name for name, names in columns.items() if {one["name"] for one in names} >= RUN_COLUMNS]

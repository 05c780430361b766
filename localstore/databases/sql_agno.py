"""Read the sessions of agno from tables that it made with SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import JSON, Connection, Select, Text, cast, column, func, inspect, select, table

from localstore.format.document import check_entry, order_header
from localstore.format.parse_error import ParseError
from localstore.maintenance.importing.agno import RUN_COLUMNS, parsed_row, row_session
from localstore.maintenance.importing.json_text import Unreadable
from localstore.maintenance.importing.source import Skipped
from localstore.maintenance.upgrade import Problem
from localstore.models.session import Session
from localstore.models.validation import first_problem

Row = dict[str, Any]


class Converted(NamedTuple):
    """A session of agno. `session` is its header and its entries; None if it cannot be read.

    `problems` has what could not be read of it.
    """

    session_id: str
    session: tuple[Row, list[Row]] | None
    problems: list[Problem]
    old: Row


class AgnoTables:
    """A table of sessions, and the tables of runs beside it, which agno 3.x has."""

    def __init__(self, connection: Connection, name: str, schema: str | None, address: str) -> None:
        """Look at the tables. `address` names the store in problems."""
        self._address = address
        self._schema = schema
        self._inspector = inspect(connection)
        self._sessions = self._selected(name)
        self._runs = [self._selected(name) for name in self.run_tables()]

    @property
    def version(self) -> str:
        """The versions of agno that make such a table."""
        return "agno 2.x and 3.x" if "session_type" in self._sessions.selected_columns else "agno 1.x"

    def run_tables(self) -> list[str]:
        """Return the names of the tables of runs."""
        found = sorted(self._inspector.get_table_names(schema=self._schema))
        columns = {name: self._inspector.get_columns(name, schema=self._schema) for name in found}
        return [name for name, names in columns.items() if {one["name"] for one in names} >= RUN_COLUMNS]

    def _selected(self, name: str) -> Select[Any]:
        """Return a query for all columns of a table, in which JSON is text."""
        columns = self._inspector.get_columns(name, schema=self._schema)
        source = table(name, *(column(one["name"]) for one in columns), schema=self._schema)
        is_json = {one["name"] for one in columns if isinstance(one["type"], JSON)}
        return select(
            *(cast(one, Text).label(one.name) if one.name in is_json else one for one in source.c)
        ).select_from(source)

    def ids(self, connection: Connection, after: str | None, limit: int) -> list[str]:
        """Return the ids of the first sessions after an id, in the order of the database."""
        session_id = self._sessions.selected_columns["session_id"]
        statement = self._sessions.with_only_columns(session_id).order_by(session_id).limit(limit)
        where = session_id.is_not(None) if after is None else session_id > after
        return [str(found) for found in connection.execute(statement.where(where)).scalars()]

    def count(self, connection: Connection) -> int:
        """Return the number of sessions."""
        found: int = connection.execute(self._sessions.with_only_columns(func.count())).scalar_one()
        return found

    def converted(self, connection: Connection, session_ids: Sequence[str]) -> Iterator[Converted]:
        """Yield these sessions in the form of documents, one at a time. Those that are gone are left out."""

        def runs_of(session_id: str) -> list[Row]:
            found: list[Row] = []
            for runs in self._runs:
                columns = runs.selected_columns
                order = [columns[name] for name in ("run_index", "created_at") if name in columns]
                statement = runs.where(columns["session_id"] == session_id).order_by(*order)
                found += map(dict, connection.execute(statement).mappings())
            return found

        session_column = self._sessions.selected_columns["session_id"]
        for session_id in session_ids:
            statement = self._sessions.where(session_column == session_id)
            for found in connection.execute(statement).mappings():
                row = dict(found)
                session, problems = None, []
                for item in row_session(self._address, 0, row, runs_of):
                    if isinstance(item, Skipped):
                        problems.append(self._problem(session_id, item.problem))
                    else:
                        session = order_header(item.header), item.entries
                if session is not None and (invalid := _invalid(*session)) is not None:
                    session = None
                    problems.append(self._problem(session_id, f"it is not a session of agno ({invalid})"))
                yield Converted(session_id, session, problems, row)

    def _problem(self, session_id: str, problem: str) -> Problem:
        return Problem(f"{self._address}, session {session_id!r}", problem)


def old_values(row: Row) -> Row:
    """Return a row of agno with the values in its JSON."""
    try:
        return parsed_row(row)
    except Unreadable:
        return row


def _invalid(header: Row, entries: list[Row]) -> str | None:
    """Return why this is no valid document, or None."""
    try:
        for number, entry in enumerate(entries):
            check_entry(entry, f"history[{number}]")
        Session.model_validate({**header, "history": entries})
    except (ParseError, ValidationError) as error:
        return error.problem if isinstance(error, ParseError) else first_problem(error)
    return None

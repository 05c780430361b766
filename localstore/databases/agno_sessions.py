"""Sessions of agno in a database, as documents, and documents in the form of agno: the same for each database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import orjson
from pydantic import ValidationError

from localstore.errors import UnstorableValue
from localstore.format.agno_db.history import restore_messages
from localstore.format.agno_db.messages import to_seconds
from localstore.format.agno_db.runs import kind_of, names_owner, run_indexes, to_run
from localstore.format.agno_db.sessions import to_record
from localstore.format.document import check_entry, newest_state, order_header
from localstore.format.parse_error import ParseError
from localstore.format.values import json_equal
from localstore.format.versions import CannotUpgrade, downgraded
from localstore.format.versions.agno_remainder import KEY as REMAINDER
from localstore.format.versions.agno_remainder import remainder
from localstore.maintenance.importing.agno import REMAINDERS, parsed_row, row_session
from localstore.maintenance.importing.json_text import Unreadable
from localstore.maintenance.importing.source import Skipped
from localstore.maintenance.upgrade import Problem
from localstore.models.session import Session
from localstore.models.validation import first_problem

Row = dict[str, Any]
Document = tuple[Row, list[Row]]
"""The header of a session, and its entries."""


class OldSession(NamedTuple):
    """A session as agno stored it: what identifies its row, the row, and its rows in the tables of runs, in order."""

    key: Any
    row: Row
    runs: list[Row]


class Converted(NamedTuple):
    """A session of agno in the form of a document. `session` is None if it cannot be read.

    `problems` has what could not be read of it.
    """

    old: OldSession
    session: Document | None
    problems: list[Problem]


class AgnoForm(NamedTuple):
    """A document in the form of agno. `runs` has the rows of its runs; None if they are in the row of the session."""

    row: Row
    runs: list[Row] | None


class AgnoSessions(Protocol):
    """The table of sessions that agno made in a database, and the tables of runs beside it, which agno 3.x has."""

    is_later: bool
    """Whether agno 2.x or 3.x made it, and not agno 1.x."""
    has_runs: bool
    """Whether there is a table of runs."""
    is_text: bool
    """Whether values are the JSON text of their JSON, as agno 2.0 stores them."""

    def keys(self, after: Any, limit: int) -> list[Any]:
        """Return what identifies the first rows after one, or the first of all, in the order of the database."""
        ...

    def read(self, keys: Sequence[Any]) -> Iterator[OldSession]:
        """Yield these sessions, one at a time. Those that are gone are left out."""
        ...

    def count(self) -> int:
        """Return the number of sessions."""
        ...

    def without_id(self) -> int:
        """Return the number of rows without a session_id. In a table, `keys` leaves them out."""
        ...

    def fitting(self, row: Row) -> Row:
        """Return the values of a row that its table has a place for."""
        ...

    def store(self, session_id: str, form: AgnoForm) -> None:
        """Store a session in place of that with its id, if there is one."""
        ...


def made_by(agno: AgnoSessions) -> str:
    """Return the versions of agno that make such a table."""
    return "agno 2.x and 3.x" if agno.is_later else "agno 1.x"


def converted(agno: AgnoSessions, keys: Sequence[Any], address: str) -> Iterator[Converted]:
    """Yield these sessions in the form of documents, one at a time. `address` names the store in problems."""
    for old in agno.read(keys):
        yield _converted(old, address)


def _converted(old: OldSession, address: str) -> Converted:
    name = old.row.get("session_id")
    place = f"{address}, session {name!r}" if name else f"{address}, the row {old.key!r} without a session_id"
    session, problems = None, []
    for item in row_session(address, 0, old.row, lambda _: old.runs):
        if isinstance(item, Skipped):
            problems.append(Problem(place, item.problem))
        else:
            session = order_header(item.header), item.entries
    if session is not None and (invalid := _invalid(*session)) is not None:
        session = None
        problems.append(Problem(place, f"it is not a session of agno ({invalid})"))
    return Converted(old, session, problems)


def _invalid(header: Row, entries: list[Row]) -> str | None:
    """Return why this is no valid document, or None."""
    try:
        for number, entry in enumerate(entries):
            check_entry(entry, f"history[{number}]")
        Session.model_validate({**header, "history": entries})
    except (ParseError, ValidationError) as error:
        return error.problem if isinstance(error, ParseError) else first_problem(error)
    return None


def old_values(old: OldSession) -> Row:
    """Return a session of agno with the values in its JSON."""
    try:
        return parsed_row(old.row)
    except Unreadable:
        return old.row


def agno_form(agno: AgnoSessions, header: Row, entries: list[Row]) -> AgnoForm | None:
    """Return a document in the form of agno, which becomes the same document again; None if agno cannot hold it.

    What agno has no place for stands under `localstore` in the column of its metadata.
    """
    row, runs = _later_rows(header, entries) if agno.is_later else _first_row(header, entries)
    if row is None:
        return None
    if runs is not None and not agno.has_runs:
        row, runs = {**row, "runs": [one["run_data"] for one in runs]}, None
    row = agno.fitting(row)
    document = {**header, "history": entries}
    if (found := _document(row, runs)) is None:
        return None
    if not json_equal(found, document):
        name = REMAINDERS[agno.is_later]
        kept = row.get(name)
        others = kept if isinstance(kept, dict) else {}
        row = agno.fitting({**row, name: {**others, REMAINDER: remainder(found, document)}})
        if not json_equal(_document(row, runs), document):
            return None
    if agno.is_text:
        row = {key: orjson.dumps(row[key]).decode() if isinstance(row[key], (dict, list)) else row[key] for key in row}
    return AgnoForm(row, runs)


def _document(row: Row, runs: list[Row] | None) -> Row | None:
    found = _converted(OldSession(None, row, runs or []), "").session
    return None if found is None else {**found[0], "history": found[1]}


def _first_row(header: Row, entries: list[Row]) -> tuple[Row | None, None]:
    """Return the row of agno 1.x for a document; None if it has none."""
    try:
        row = downgraded({**header, "history": entries}, 0)
    except CannotUpgrade:
        row = None
    return (None if row is None else {key: row[key] for key in row if key != REMAINDER}), None


def _later_rows(header: Row, entries: list[Row]) -> tuple[Row | None, list[Row] | None]:
    """Return the row of agno 2.x and 3.x for a document, and those of its runs; None if it has none."""
    session_id = header["session_id"]
    owner = f"{header['kind']}_id"
    times = [to_seconds(entry["created_at"]) for entry in entries if "created_at" in entry]
    try:
        updated_at = max([to_seconds(header["created_at"]), *times])
        row = {"session_id": session_id, **to_record(header, newest_state(entries), updated_at)}
        restored = restore_messages(entries, {}, whole=True)
        runs = []
        for entry, index in zip(restored, run_indexes(restored), strict=True):
            run = to_run(entry, session_id)
            if "agno_run_type" not in entry and not names_owner(run):  # it was not written by agno
                run[owner] = header.get(owner)
            about = {key: run.get(key) for key in ("agent_id", "team_id", "workflow_id", "parent_run_id", "status")}
            runs.append(
                {"run_id": run["run_id"], "session_id": session_id, **about, "user_id": header.get("user_id")}
                | {"run_type": kind_of(run, entry.get("agno_run_type")), "run_index": index, "run_data": run}
                | {"created_at": run.get("created_at"), "updated_at": updated_at}
            )
    except (AttributeError, KeyError, TypeError, UnstorableValue):
        return None, None  # a key that begins with agno_ has a value of another form
    return row, runs

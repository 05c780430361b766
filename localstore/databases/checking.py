"""Check the sessions in a database: what listings say of them, and what belongs to no session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from localstore.databases.backend import Backend, Stored, counted_rows, read_each
from localstore.errors import DocumentBroken
from localstore.format.document import check_entry
from localstore.format.parse_error import ParseError
from localstore.index.row import IndexRow, after_append, header_row
from localstore.maintenance.finding import Finding, part_without_session
from localstore.models.filter import Filter
from localstore.models.schema import SCHEMA_VERSION
from localstore.models.session import Session
from localstore.models.validation import first_problem

_TOGETHER = 100
_COMPARED = (
    "kind",
    "user_id",
    "entity_id",
    "name",
    "tags",
    "part_of",
    "created_at",
    "updated_at",
    "entries",
    "runs",
    "overview",
)
"""What the row of a session says, and its header and entries too."""
_ADVICE = "Export the session, delete it, and store it again: 'localstore copy' to a folder and back does that."


class DatabaseCheck:
    """A check of all sessions. Iterate over it for the findings; `sessions` is the number of sessions so far."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.sessions = 0

    def __iter__(self) -> Iterator[Finding]:
        rows = [row for _, row in self._backend.page(Filter(), None, None, newest_first=True)]
        for at in range(0, len(rows), _TOGETHER):
            ids = [row["session_id"] for row in rows[at : at + _TOGETHER]]
            for session_id, stored in read_each(self._backend, ids).items():
                self.sessions += 1
                what = f"session {session_id!r}"
                if isinstance(stored, DocumentBroken):
                    advice = "Correct its content in the database."
                    yield self._error(what, f"cannot be read: {stored.problem}", advice)
                elif (problem := _problem(stored)) is not None:
                    yield self._error(what, problem, _ADVICE)
        known = {row["session_id"] for row in rows}
        for row in rows:
            if "part_of" in row and row["part_of"] not in known:
                name = f"{self._backend.address}, session {row['session_id']!r}"
                yield Finding("note", name, None, *part_without_session(row["session_id"], row["part_of"]))
        for session_id in self._backend.orphans():
            problem = "has entries, and no session to which they belong: a deletion was interrupted"
            yield self._error(f"session {session_id!r}", problem, "Nothing reads them. Store a session with this id.")

        for table, count in self._backend.without_id().items():
            problem = f"has {counted_rows(count)} without the id of a session"
            yield self._error(table, problem, "Nothing reads them. Give them an id and upgrade again, or delete them.")

    def _error(self, what: str, problem: str, advice: str) -> Finding:
        return Finding("error", f"{self._backend.address}, {what}", None, problem, advice)


def _problem(stored: Stored) -> str | None:
    """Return what is wrong with a session, or None."""
    row = stored.row
    if row["version"] > SCHEMA_VERSION:
        return f"has schema version {row['version']}, and this localstore reads versions up to {SCHEMA_VERSION}"
    if row["entries"] != len(stored.entries):
        return f"has {len(stored.entries):,} entries, and its row says {row['entries']:,}"
    try:
        for number, entry in enumerate(stored.entries):
            check_entry(entry, f"history[{number}]")
        Session.model_validate({**stored.header, "history": stored.entries})
    except (ParseError, ValidationError) as error:
        return f"cannot be read: {error.problem if isinstance(error, ParseError) else first_problem(error)}"
    expected: IndexRow = header_row(stored.header, "", row["version"])
    for number, entry in enumerate(stored.entries):
        expected = after_append(expected, entry, number)
    wrong = [name for name in _COMPARED if _value(row, name) != _value(expected, name)]
    return f"has a row that differs from its entries in {', '.join(wrong)}" if wrong else None


def _value(row: IndexRow, name: str) -> Any:
    return row.get(name)

"""Which session a command works on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from localstore.errors import SessionNotFound

from .errors import Ambiguous, candidates
from .output import one_line

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.storage import JsonStorage


def find_session(storage: JsonStorage, text: str) -> SessionInfo:
    """The session with this id, else with this name, else the only one whose id begins like this.

    An id may also be written as `ls` prints it, with escapes for its control characters. Raises Ambiguous with the
    candidates, or SessionNotFound.
    """
    if not text:
        raise click.UsageError("SESSION is empty", click.get_current_context())
    rows = storage.list_sessions()
    for how, named in (
        ("have the id", [row for row in rows if row.session_id == text]),
        ("have the name", [row for row in rows if row.name == text]),
        ("have the id", [row for row in rows if one_line(row.session_id) == text]),
        ("have an id that begins with", [row for row in rows if one_line(row.session_id).startswith(text)]),
    ):
        if how == "have an id that begins with":
            with contextlib.suppress(SessionNotFound):
                storage.path(text)  # a file of this very name that cannot be read comes before others
        if len(named) == 1:
            return named[0]
        if named:
            raise Ambiguous(f"{len(named)} sessions {how} '{text}'. Give the whole id of one:", _lines(named))
    wanted = text.casefold()
    alike = [row for row in rows if wanted in row.session_id.casefold() or wanted in (row.name or "").casefold()]
    if alike:
        raise Ambiguous(f"No session is called '{text}'. Give the id of one of these:", _lines(alike))
    raise SessionNotFound(f"No session is called '{text}'. 'localstore ls' lists them.", session_id=text)


def newest_session(storage: JsonStorage) -> SessionInfo:
    """The session with the newest activity. Raises SessionNotFound in an empty store."""
    rows = storage.list_sessions(limit=1)
    if not rows:
        raise SessionNotFound("There is no session in this store. An agent that uses it adds the first one.")
    return rows[0]


def _lines(rows: list[SessionInfo]) -> list[str]:
    return candidates(one_line(row.session_id) + (f"  ({one_line(row.name)})" if row.name else "") for row in rows)

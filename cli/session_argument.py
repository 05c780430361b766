"""Finds the session that a command works on."""

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
    """Return the session with this id, else with this name, else the only one whose id begins with the text.

    An id may also be written as `ls` prints it, with escapes for control characters. Raises Ambiguous with the
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
                storage.path(text)  # raises for an unreadable file with exactly this id
        if len(named) == 1:
            return named[0]
        if named:
            raise Ambiguous(f"{len(named)} sessions {how} '{text}'. Give the whole id of one:", _lines(named))
    folded = text.casefold()
    similar = [row for row in rows if folded in row.session_id.casefold() or folded in (row.name or "").casefold()]
    if similar:
        raise Ambiguous(f"No session matches '{text}'. Give the id of one of these:", _lines(similar))
    raise SessionNotFound(f"No session matches '{text}'. 'localstore ls' lists them.", session_id=text)


def newest_session(storage: JsonStorage) -> SessionInfo:
    """Return the most recently active session. Raises SessionNotFound if the store is empty."""
    rows = storage.list_sessions(limit=1)
    if not rows:
        raise SessionNotFound("This store has no sessions yet. An agent that uses it adds the first one.")
    return rows[0]


def _lines(rows: list[SessionInfo]) -> list[str]:
    return candidates(one_line(row.session_id) + (f"  ({one_line(row.name)})" if row.name else "") for row in rows)

"""Finds the sessions that a command works on."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from localstore.errors import SessionNotFound
from localstore.models.filter import LISTED
from localstore.storage.session_names import beginning_with, exactly_named, similar_to

from .errors import MOST_CANDIDATES, Ambiguous, candidates
from .output import one_line
from .store_option import folder_of, is_path

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage

NO_SESSIONS = "This store has no sessions yet. An agent that uses it adds the first one."
_ENOUGH = MOST_CANDIDATES + 1
"""How many sessions to look for, to list those that are meant and to know whether there are more."""
_POSITION = re.compile("@([1-9][0-9]{0,8})\\Z")


def find_session(storage: SessionStorage, text: str) -> SessionInfo:
    """Return the only session that a text names.

    It is the session with this id, otherwise with this name; otherwise, for `@N`, the N-th of a listing, or the one
    whose document is at this path; otherwise the only one whose id, or else name, begins with the text. An id may also
    be written as `ls` prints it, with escapes for control characters, or with `…` for its middle.

    Raises Ambiguous with the candidates if several sessions match or some are similar, SessionNotFound if there are no
    candidates.
    """
    if not text:
        raise click.UsageError("SESSION is empty", click.get_current_context())
    if text == "-" and text not in storage:
        raise click.UsageError("This command takes one SESSION, and none from -", click.get_current_context())
    infos = storage.find_sessions(text, limit=_ENOUGH)
    if not any(text in (info.session_id, info.name) for info in infos):
        if position := _POSITION.match(text):
            return _at_position(storage, int(position[1]))
        if is_path(text):
            return folder_of(storage).session_at(text)
    if len(infos) == 1:
        return infos[0]
    if infos:
        raise _ambiguous(infos, _how(infos[0], text), text)
    has_escapes = "\\" in text
    return _find_similar(storage.list_sessions() if has_escapes else storage.sessions_containing(text, _ENOUGH), text)


def find_sessions(storage: SessionStorage, texts: Iterable[str], *, exact: bool = False) -> list[SessionInfo]:
    """Return the sessions that some texts name, in their order, each once. The first wrong text raises.

    `-` stands for ids from the standard input: one on each line, in front of the first tab. These must be whole ids, as
    other commands print them. With `exact`, `@N` is refused: the order may have changed since a person looked.

    Raises the errors of `find_session`, and SessionNotFound if `-` is given and the standard input has no id.
    """
    found: dict[str, SessionInfo] = {}
    for text in texts:
        if exact and _POSITION.match(text) and text not in storage:
            raise click.UsageError(
                f"{text} may be another session by now. Give its id, its name or its path", click.get_current_context()
            )
        for info in _from_input(storage) if text == "-" else [find_session(storage, text)]:
            found.setdefault(info.session_id, info)
    return list(found.values())


def _at_position(storage: SessionStorage, position: int) -> SessionInfo:
    rows = storage.list_sessions(where=LISTED, limit=position)
    if len(rows) == position:
        return rows[-1]
    number = "no sessions" if not rows else "1 session" if len(rows) == 1 else f"only {len(rows):,} sessions"
    raise SessionNotFound(f"There is no @{position}: 'localstore ls' lists {number}.")


def _from_input(storage: SessionStorage) -> Iterator[SessionInfo]:
    """Yield the sessions whose ids the standard input has."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "The standard input is closed")
    is_empty = True
    for line in sys.stdin.buffer:
        session_id = line.decode(errors="surrogateescape").rstrip("\r\n").partition("\t")[0]
        if session_id:
            is_empty = False
            yield _with_id(storage, session_id)
    if is_empty:
        raise SessionNotFound("The standard input names no session.")


def _with_id(storage: SessionStorage, session_id: str) -> SessionInfo:
    """Return the session with this id, which may have escapes. Names and beginnings do not count: nobody typed it."""
    named: Iterable[SessionInfo] = storage.find_sessions(session_id, limit=1)
    if "\\" in session_id and all(info.session_id != session_id for info in named):
        named = storage.sessions()
    for info in named:
        if session_id in (info.session_id, one_line(info.session_id)):
            return info
    raise SessionNotFound(f"There is no session '{session_id}'. 'localstore ls' lists them.", session_id=session_id)


def _how(info: SessionInfo, text: str) -> str:
    """Return how a session that `find_sessions` returned matches the text."""
    if info.name == text:
        return "have the name"
    if info.session_id.startswith(text):
        return "have an id that begins with"
    return "have a name that begins with" if (info.name or "").startswith(text) else "match"


def _find_similar(infos: list[SessionInfo], text: str) -> SessionInfo:
    """Find a session by an id with escapes, or after the listing has read what other programs changed.

    Raises Ambiguous or SessionNotFound otherwise.
    """
    named = exactly_named(infos, text) or beginning_with(infos, text)
    if named is not None and len(named.sessions) == 1:
        return named.sessions[0]
    if named is not None:
        raise _ambiguous(named.sessions, named.how, text)
    if similar := similar_to(infos, text):
        raise Ambiguous(f"No session matches '{text}'. Give the id of one of these:", _session_lines(similar))
    raise SessionNotFound(f"No session matches '{text}'. 'localstore ls' lists them.", session_id=text)


def _ambiguous(infos: list[SessionInfo], how: str, text: str) -> Ambiguous:
    number = len(infos) if len(infos) < _ENOUGH else f"More than {MOST_CANDIDATES}"
    return Ambiguous(f"{number} sessions {how} '{text}'. Give the whole id of one:", _session_lines(infos))


def newest_session(storage: SessionStorage) -> SessionInfo:
    """Return the most recently active session, an archived one only if all are. Raises SessionNotFound without any."""
    rows = storage.list_sessions(where=LISTED, limit=1) or storage.list_sessions(limit=1)
    if not rows:
        raise SessionNotFound(NO_SESSIONS)
    return rows[0]


def _session_lines(rows: list[SessionInfo]) -> list[str]:
    named = (one_line(row.session_id) + (f"  ({one_line(row.title)})" if row.title else "") for row in rows)
    lines = candidates(islice(named, MOST_CANDIDATES))
    return [*lines, "  … and more"] if len(rows) > MOST_CANDIDATES else lines

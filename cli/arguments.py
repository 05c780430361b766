"""Finds the session and the run that a command works on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from localstore.errors import SessionNotFound
from localstore.storage.session_names import beginning_with, exactly_named, similar_to

from .errors import Ambiguous, candidates
from .output import one_line

if TYPE_CHECKING:
    from localstore.models.session import Run, Session
    from localstore.models.session_info import SessionInfo
    from localstore.storage.storage import JsonStorage

_MAX_QUESTION = 60


def find_session(storage: JsonStorage, text: str) -> SessionInfo:
    """Return the only session that a text names: its id, its name, or the beginning of either.

    An id may also be written as `ls` prints it, with escapes for control characters. Raises Ambiguous with the
    candidates if several sessions match or some are similar, SessionNotFound if there are no candidates.
    """
    if not text:
        raise click.UsageError("SESSION is empty", click.get_current_context())
    infos = storage.find_sessions(text)
    if len(infos) == 1:
        return infos[0]
    if infos:
        raise _ambiguous(infos, _how(infos[0], text), text)
    return _find_among_all(storage.list_sessions(), text)


def _how(info: SessionInfo, text: str) -> str:
    """Return how a session that `find_sessions` returned matches the text."""
    if info.name == text:
        return "have the name"
    return f"have {'an id' if info.session_id.startswith(text) else 'a name'} that begins with"


def _find_among_all(infos: list[SessionInfo], text: str) -> SessionInfo:
    """Find a session by an id with escapes, or after the listing has read what other programs changed."""
    named = exactly_named(infos, text) or beginning_with(infos, text)
    if named is not None and len(named.sessions) == 1:
        return named.sessions[0]
    if named is not None:
        raise _ambiguous(named.sessions, named.how, text)
    if similar := similar_to(infos, text):
        raise Ambiguous(f"No session matches '{text}'. Give the id of one of these:", _session_lines(similar))
    raise SessionNotFound(f"No session matches '{text}'. 'localstore ls' lists them.", session_id=text)


def _ambiguous(infos: list[SessionInfo], how: str, text: str) -> Ambiguous:
    return Ambiguous(f"{len(infos)} sessions {how} '{text}'. Give the whole id of one:", _session_lines(infos))


def newest_session(storage: JsonStorage) -> SessionInfo:
    """Return the most recently active session. Raises SessionNotFound if the store is empty."""
    rows = storage.list_sessions(limit=1)
    if not rows:
        raise SessionNotFound("This store has no sessions yet. An agent that uses it adds the first one.")
    return rows[0]


def _session_lines(rows: list[SessionInfo]) -> list[str]:
    return candidates(one_line(row.session_id) + (f"  ({one_line(row.name)})" if row.name else "") for row in rows)


def find_run(session: Session, text: str) -> tuple[int, Run]:
    """Return a run and its number, counted from 1.

    It is the run with this id, otherwise with this number (-1 is the last), otherwise the only one whose id begins with
    `text`. Raises Ambiguous with the candidates if there is no such run or there are several.
    """
    if not text:
        raise click.UsageError("RUN is empty", click.get_current_context())
    runs = list(enumerate(session.runs, 1))
    same = [(number, run) for number, run in runs if text in (run.run_id, one_line(run.run_id))]
    if len(same) == 1:
        return same[0]
    if not same and (numbered := _number(text, len(runs))) is not None:
        return runs[numbered - 1]
    matches = same or [(number, run) for number, run in runs if one_line(run.run_id).startswith(text)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        how = "have the id" if same else "have an id that begins with"
        raise Ambiguous(f"{len(matches)} runs {how} '{text}'. Give the whole id of one:", _run_lines(matches))
    if not runs:
        raise Ambiguous(f"Session '{session.session_id}' has no runs.", [])
    newest = list(reversed(runs))
    raise Ambiguous(
        f"No run of '{session.session_id}' matches '{text}'. Give the number or the id of one:", _run_lines(newest)
    )


def _number(text: str, runs: int) -> int | None:
    """Return the number of the run that `text` counts from the start or, if negative, the end; otherwise None."""
    with contextlib.suppress(ValueError):
        number = int(text) if text.isascii() else 0
        if 1 <= abs(number) <= runs:
            return number if number > 0 else runs + 1 + number
    return None


def _run_lines(runs: list[tuple[int, Run]]) -> list[str]:
    return candidates(
        f"{number:>3}  {one_line(run.run_id)}  {_shortened(run.question)}".rstrip() for number, run in runs
    )


def _shortened(text: str) -> str:
    words = one_line(" ".join(text.split()))
    return words if len(words) <= _MAX_QUESTION else f"{words[:_MAX_QUESTION]}…"

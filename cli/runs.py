"""Which run of a session a command works on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from .errors import Ambiguous, candidates
from .output import one_line

if TYPE_CHECKING:
    from localstore.models.session import Run, Session

_LONGEST_QUESTION = 60


def find_run(session: Session, text: str) -> tuple[int, Run]:
    """The run with this id, else the one with this number (1 is the first, -1 the last), else the only one whose id
    begins like this; with its number. Raises Ambiguous with the candidates."""
    if not text:
        raise click.UsageError("RUN is empty", click.get_current_context())
    runs = list(enumerate(session.runs, 1))
    same = [(number, run) for number, run in runs if text in (run.run_id, one_line(run.run_id))]
    if len(same) == 1:
        return same[0]
    if not same and (numbered := _number(text, len(runs))) is not None:
        return runs[numbered - 1]
    alike = same or [(number, run) for number, run in runs if one_line(run.run_id).startswith(text)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        how = "have the id" if same else "have an id that begins with"
        raise Ambiguous(f"{len(alike)} runs {how} '{text}'. Give the whole id of one:", _lines(alike))
    if not runs:
        raise Ambiguous(f"Session '{session.session_id}' has no runs.", [])
    newest = list(reversed(runs))
    raise Ambiguous(
        f"No run of '{session.session_id}' is called '{text}'. Give the number or the id of one:", _lines(newest)
    )


def _number(text: str, runs: int) -> int | None:
    """The number of the run that is counted from either end, None when this is no such number."""
    with contextlib.suppress(ValueError):
        number = int(text) if text.isascii() else 0
        if 1 <= abs(number) <= runs:
            return number if number > 0 else runs + 1 + number
    return None


def _lines(runs: list[tuple[int, Run]]) -> list[str]:
    return candidates(
        f"{number:>3}  {one_line(run.run_id)}  {_shortened(run.question)}".rstrip() for number, run in runs
    )


def _shortened(text: str) -> str:
    words = one_line(" ".join(text.split()))
    return words if len(words) <= _LONGEST_QUESTION else f"{words[:_LONGEST_QUESTION]}…"

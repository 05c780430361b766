"""Finds the run of a session that a command works on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

import click

from .errors import Ambiguous, candidates
from .output import one_line

_MAX_QUESTION = 60
_NUMBER = re.compile("-?[0-9]{1,7}\\Z")
"""A text that is meant as the number of a run. A longer one may be the beginning of an id."""


def find_run(session_id: str, runs: Sequence[tuple[str, str]], text: str) -> int:
    """Return the number of a run of a session, counted from 1. `runs` are the ids and the questions of all of
    them, oldest first.

    It is the run with this id, otherwise with this number (-1 is the last), otherwise the only one whose id begins with
    `text`. A number is not the beginning of an id: 7 must not drop the run 7f3a… of a session that has three.

    Raises Ambiguous with the candidates if there is no such run or there are several.
    """
    if not text:
        raise click.UsageError("RUN is empty", click.get_current_context())
    numbered = list(enumerate(runs, 1))
    same = [(number, run) for number, run in numbered if text in (run[0], one_line(run[0]))]
    if not same and (number := _number(text, len(runs))) is not None:
        return number
    matches = same
    if not same and not _NUMBER.match(text):
        matches = [(number, run) for number, run in numbered if one_line(run[0]).startswith(text)]
    if len(matches) == 1:
        return matches[0][0]
    if matches:
        how = "have the id" if same else "have an id that begins with"
        raise Ambiguous(f"{len(matches)} runs {how} '{text}'. Give the whole id of one:", _run_lines(matches))
    if not runs:
        raise Ambiguous(f"Session '{session_id}' has no runs.", [])
    raise Ambiguous(
        f"No run of '{session_id}' matches '{text}'. Give the number or the id of one:", _run_lines(numbered[::-1])
    )


def _number(text: str, runs: int) -> int | None:
    """Return the number of the run that `text` counts from the start or, if negative, the end; otherwise None."""
    with contextlib.suppress(ValueError):
        number = int(text) if text.isascii() else 0
        if 1 <= abs(number) <= runs:
            return number if number > 0 else runs + 1 + number
    return None


def _run_lines(runs: list[tuple[int, tuple[str, str]]]) -> list[str]:
    return candidates(
        f"{number:>3}  {one_line(run_id)}  {_shortened(question)}".rstrip() for number, (run_id, question) in runs
    )


def _shortened(text: str) -> str:
    words = one_line(" ".join(text.split()))
    return words if len(words) <= _MAX_QUESTION else f"{words[:_MAX_QUESTION]}…"

"""How far a long command is: a bar for a person, a line now and then for a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import output

_QUIET = 1.0
"""Seconds for which nothing is said: most commands are done by then."""
_BETWEEN = 5.0
"""Seconds between two lines."""


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Say on the standard error how many of WHAT are done, how many a second, and how long the rest takes."""
    if sys.stderr is not None and sys.stderr.isatty():
        with _bar(what) as report:
            yield report
    else:
        yield _lines(what)


def _lines(what: str) -> Callable[[int, int], None]:
    began = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _BETWEEN and done < total:
            last = now
            rate = done / (now - began)
            left = (total - done) / rate
            output.note(f"{done:,} of {total:,} {what}, {rate:,.0f} a second, {_duration(left)} left")

    return report


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=False) as bar:
        task = bar.add_task(what, total=None, visible=False, rate="")

        def report(done: int, total: int) -> None:
            taken = time.monotonic() - began
            rate = f"{done / taken:,.0f}/s" if taken else ""
            bar.update(task, completed=done, total=total, visible=taken > _QUIET, rate=rate)

        yield report

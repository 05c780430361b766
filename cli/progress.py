"""How far a long command is: a bar for a person, a line now and then for a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import output

_QUIET = 1.0
"""Seconds for which nothing is said: most commands are done by then."""
_BETWEEN = 5.0
"""Seconds between two lines."""


@contextmanager
def progress(what: str) -> Iterator[_Lines | _Bar]:
    """Say on the standard error how many of WHAT are done, how many a second, and how long the rest takes."""
    report = _Bar(what) if sys.stderr is not None and sys.stderr.isatty() else _Lines(what)
    try:
        yield report
    finally:
        report.close()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say to a person what takes so long, until it is over."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True, highlight=False, markup=False).status(what):
        yield


class _Lines:
    """Is told how many are done, and how many there are."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= _BETWEEN and done < total:
            self._said = now
            rate = done / (now - self._began)
            left = f", {_duration((total - done) / rate)} left" if rate else ""
            output.note(f"{done:,} of {total:,} {self._what}, {rate:,.0f} a second{left}")

    def close(self) -> None:
        """There is nothing to take away."""


class _Bar:
    """The same, as a bar that goes away at the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = time.monotonic()
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        taken = time.monotonic() - self._began
        if taken < _QUIET:
            return
        if self._bar is None:
            self._bar = self._start(total)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, rate=f"{done / taken:,.0f}/s")

    def _start(self, total: int) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        rate, left = TextColumn("{task.fields[rate]}"), TimeRemainingColumn()
        columns = TextColumn(self._what), BarColumn(), MofNCompleteColumn(), rate, left
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        bar.add_task(self._what, total=total, rate="")
        bar.start()
        return bar

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

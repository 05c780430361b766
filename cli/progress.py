"""Shows the progress of a long command: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import output

_QUIET = 1.0
"""Seconds before the bar is shown. Most commands are done by then."""
_BETWEEN = 5.0
"""Seconds between two lines."""
_REFRESH = 0.1
"""Seconds between two pictures of the bar."""


@contextmanager
def progress(what: str) -> Iterator[_Lines | _Bar]:
    """Show on standard error how many items are done, the rate, and the remaining time.

    The block calls the yielded object with the number of finished items and the total. `what` names the items.
    """
    report = _report(what)
    try:
        yield report
    finally:
        report.close()


def _report(what: str) -> _Lines | _Bar:
    return _Bar(what) if sys.stderr is not None and sys.stderr.isatty() else _Lines(what)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show the text `what` on a terminal while the block runs."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True, highlight=False, markup=False).status(what):
        yield


class Reading:
    """Shows the progress of reading documents, whenever a command has to make an index."""

    def __init__(self) -> None:
        self._report: _Lines | _Bar | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._report is None:
            self._report = _report("documents read")
        self._report(done, total)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._report is not None:
            self._report.close()
            self._report = None


class _Lines:
    """Prints a line every few seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._printed_at = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._printed_at >= _BETWEEN and done < total:
            self._printed_at = now
            rate = done / (now - self._began)
            left = f", {_duration((total - done) / rate)} left" if rate else ""
            output.note(f"{done:,} of {total:,} {self._what}, {rate:,.0f} a second{left}")

    def close(self) -> None:
        """Do nothing: printed lines stay."""


class _Bar:
    """Shows a progress bar, which is removed at the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._shown_at = time.monotonic()
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        taken = now - self._began
        if taken < _QUIET or (now - self._shown_at < _REFRESH and done < total):
            return
        self._shown_at = now
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
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

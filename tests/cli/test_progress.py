"""Progress of a long command: nothing if it is short, lines in a file, a bar on a terminal."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from importlib import import_module

import pytest

PROGRESS = import_module("localstore_cli.progress")  # the folder of the package has another name


class Clock:
    """A clock that a test moves forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture(params=[False, True], ids=["file", "terminal"])
def watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], io.StringIO]:
    """Return a function that starts to record the standard error. Tests call it: pytest replaces that stream."""

    def begin() -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda: request.param, raising=False)
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        return stream

    return begin


def test_a_short_command_shows_no_progress(clock: Clock, watch: Callable[[], io.StringIO]) -> None:
    stderr = watch()
    with PROGRESS.progress("documents") as report:
        for done in range(10):
            clock.now += 0.09
            report(done, 10)
    assert stderr.getvalue() == ""


def test_a_long_command_shows_count_speed_and_remaining_time(clock: Clock, watch: Callable[[], io.StringIO]) -> None:
    stderr = watch()
    with PROGRESS.progress("documents") as report:
        for done in range(0, 20_001, 500):
            clock.now += 0.5
            report(done, 20_000)
    said = stderr.getvalue()
    if not stderr.isatty():
        assert said.splitlines() == [
            "localstore: 4,500 of 20,000 documents, 900 a second, 17 s left",
            "localstore: 9,500 of 20,000 documents, 950 a second, 11 s left",
            "localstore: 14,500 of 20,000 documents, 967 a second, 6 s left",
            "localstore: 19,500 of 20,000 documents, 975 a second, 1 s left",
        ]
    else:
        assert "documents" in said
        assert "20000/20000" in said
        assert "/s" in said


def test_a_command_without_any_progress_yet_says_so(clock: Clock, watch: Callable[[], io.StringIO]) -> None:
    stderr = watch()
    with PROGRESS.progress("documents") as report:
        clock.now += 130
        report(0, 5)
        clock.now += 300
        report(1, 5)
    if not stderr.isatty():
        first, second = stderr.getvalue().splitlines()
        assert first == "localstore: 0 of 5 documents, 0 a second"
        assert second.endswith("0 a second, 29 min left")


def test_an_error_removes_the_bar(clock: Clock, watch: Callable[[], io.StringIO]) -> None:
    stderr = watch()

    def fail() -> None:
        with PROGRESS.progress("documents") as report:
            clock.now += 10
            report(1, 5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    if stderr.isatty():
        assert "\x1b[?25h" in stderr.getvalue()  # the cursor is shown again


def test_reading_documents_is_shown_until_the_last_one_is_read(clock: Clock, watch: Callable[[], io.StringIO]) -> None:
    stderr = watch()
    reading = PROGRESS.Reading()
    for done in range(1, 101):
        clock.now += 0.25
        reading(done, 100)
    said = stderr.getvalue()
    if stderr.isatty():
        assert "documents read" in said
        assert said.endswith("\x1b[2K"), "the bar was removed"
        assert "\x1b[?25h" in said, "the cursor is back"
    else:
        assert said.splitlines()[0] == "localstore: 21 of 100 documents read, 4 a second, 19 s left"
    reading.close()
    assert stderr.getvalue() == said

"""Shows a session while it grows: `show --follow`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from .output import deliver, note
from .pieces import Piece, Printer

if TYPE_CHECKING:
    from localstore.agents.terminal.region import Region
    from localstore.storage.following import Change, Follower

    from .session_view import Excerpt, SessionView

_PAUSE = 0.1
"""The shortest pause in seconds between two looks at the file."""
_SHARE = 5
"""The pause is at least this many times as long as the last look and drawing took."""
_NOTES = {
    "gone": "was deleted. Waiting until it is back; Ctrl-C ends",
    "back": "can be read again",
    "moved": "has moved to {}",
    "unreadable": "cannot be read. Waiting until it can; Ctrl-C ends. {}",
    "removed": "no longer has run {}",
}


class Following:
    """Prints what happens to a session: on the rich console `screen`, or to a pipe if it is None.

    The current run is an unfinished one at the end. On a terminal it is drawn again whenever it grows. Into a pipe it
    is printed when it ends, or when another entry follows it.
    """

    def __init__(self, follower: Follower, view: SessionView, screen: Any | None) -> None:
        self._follower = follower
        self._view = view
        self._printer = Printer(screen)
        self._region: Region | None = None
        if screen is not None and screen.file.isatty() and not screen.is_dumb_terminal:
            from localstore.agents.terminal.region import Region

            self._region = Region(screen)
        self._current: tuple[dict[str, Any], int] | None = None

    def begin(self, excerpt: Excerpt) -> None:
        """Print the session as it is now."""
        self._view.header(excerpt)
        number = excerpt.runs_before
        for entry in excerpt.session.history:
            number += entry["type"] == "run"
            self._add(entry, number)
        self._draw()
        deliver()

    def step(self) -> None:
        """Print what has happened since the last step."""
        if changes := self._follower.poll():
            for change in changes:
                self._apply(change)
            self._draw()
            deliver()

    def run(self) -> NoReturn:
        """Make steps until Ctrl-C raises KeyboardInterrupt."""
        from localstore.agents.terminal.keyboard import ECHO

        ECHO.hide()  # a typed newline would move the lines that are drawn again
        try:
            while True:
                began = time.perf_counter()
                self.step()
                time.sleep(max(_PAUSE, _SHARE * (time.perf_counter() - began)))
        finally:
            self._leave()
            ECHO.show()

    def _apply(self, change: Change) -> None:
        entry, number = change.entry, change.number or 0
        if entry is None:
            self._leave()
            if self._current is not None and self._current[1] == number:
                self._current = None  # the run was removed
            text = _NOTES[change.kind].format(change.text or number)
            note(f"Session {self._follower.session_id} {text}")
        elif self._current is not None and self._current[0]["run_id"] == entry.get("run_id"):
            self._current = (entry, number)
            if not _is_unfinished(entry):
                self._end_current()
        elif change.kind == "added" or self._current is None or not _is_unfinished(entry):
            self._add(entry, number)

    def _add(self, entry: dict[str, Any], number: int) -> None:
        self._end_current()
        if _is_unfinished(entry):
            self._current = (entry, number)
        else:
            self._view.entry(entry, number)

    def _end_current(self) -> None:
        """Print the current run as it is now, if there is one. It is not drawn again."""
        if self._current is None:
            return
        entry, number = self._current
        self._current = None
        if self._region is None:
            self._view.entry(entry, number)
        else:
            self._region.draw(*map(self._printer.drawn, self._view.formatted(entry, number)))
            self._region.leave()

    def _draw(self) -> None:
        """Draw the current run on the screen, without its status, which may scroll away before it changes."""
        if self._region is not None and self._current is not None:
            entry, number = self._current
            pieces = self._view.formatted({key: entry[key] for key in entry if key != "status"}, number)
            self._region.draw(*map(self._printer.drawn, [*pieces, Piece("…", style="dim")]))

    def _leave(self) -> None:
        """Leave what is drawn on the screen. The current run is drawn as a whole below it when it grows."""
        if self._region is not None:
            self._region.leave()


def _is_unfinished(entry: dict[str, Any]) -> bool:
    return entry.get("status") == "unfinished"

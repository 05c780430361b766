"""Prints sessions as `show` shows them: all of their entries, their messages, or their tool calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .excerpts import Excerpts
from .pieces import Piece, Printer
from .transcript import Transcript

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.plain_session import PlainSession


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A session with the entries to show.

    `runs_before` is how many runs come before the first of them. `is_one_run` is True if only one run was asked for.
    """

    info: SessionInfo
    session: PlainSession
    runs_before: int
    is_one_run: bool = False


class SessionView:
    """Prints sessions on the rich console `screen` for a person, or to a pipe if it is None.

    With `full`, a person gets the whole header, and nothing is shortened. With `messages` or `tools`, only these are
    shown.
    """

    def __init__(self, screen: Any | None, *, full: bool, messages: bool, tools: bool) -> None:
        self._person = screen is not None
        self._has_short_header = self._person and (messages or tools or not full)
        self._is_excerpt = messages or tools
        self._transcript = Transcript(person=self._person, fold=self._person and not full)
        self._excerpts = Excerpts(self._transcript, messages=messages, tools=tools)
        self._print = Printer(screen)
        self._is_first = True
        """Whether nothing of the session is printed yet."""

    def show(self, excerpts: Iterable[Excerpt]) -> None:
        """Print sessions, with an empty line between two."""
        for number, excerpt in enumerate(excerpts):
            if number:
                self._print([Piece("")])
            self.header(excerpt)
            run = excerpt.runs_before
            for entry in excerpt.session.history:
                run += entry["type"] == "run"
                self.entry(entry, run)

    def header(self, excerpt: Excerpt) -> None:
        """Print the header of a session. There is none in a pipe that gets the messages or the tool calls alone."""
        pieces: list[Piece] = []
        if self._has_short_header:
            pieces += self._transcript.title(excerpt.info)
        elif not self._is_excerpt:
            pieces += self._transcript.header(excerpt.session, excerpt.info)
        hidden = 0 if excerpt.is_one_run else excerpt.runs_before
        if hidden and pieces:
            text = f"… {hidden:,} earlier run{'s' * (hidden > 1)}. --all shows {'them' if hidden > 1 else 'it'}."
            pieces.append(Piece(text, style="dim"))
        self._print(pieces)
        self._is_first = not pieces

    def header_lines(self, info: SessionInfo) -> int:
        """Return how many lines the short header takes on the screen; 0 if the header is not short."""
        if not self._has_short_header:
            return 0
        return sum(str(self._print.drawn(piece)).count("\n") + 1 for piece in self._transcript.title(info))

    def entry(self, entry: dict[str, Any], number: int | None) -> None:
        """Print an entry, with an empty line before it unless it comes first. `number` is that of a run, from 1."""
        if pieces := self.formatted(entry, number):
            self._print(pieces)
            self._is_first = False

    def formatted(self, entry: dict[str, Any], number: int | None) -> list[Piece]:
        """Return what is shown of an entry: nothing, or its text with an empty line before it unless it comes first."""
        number = number if entry["type"] == "run" else None
        shown = self._excerpts.entry(entry, number) if self._is_excerpt else self._transcript.entry(entry, number)
        pieces = list(shown)
        return [Piece(""), *pieces] if pieces and not self._is_first else pieces

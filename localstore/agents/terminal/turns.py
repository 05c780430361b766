"""Who speaks: the events of members that speak at once, one member after the other."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from localstore.agents.events import Event, RunFinished, RunStarted, TextDelta, ToolCallFinished, ToolCallStarted

if TYPE_CHECKING:
    from localstore.agents.terminal.answer import AnswerRenderer

_CALLS = (ToolCallStarted, ToolCallFinished)


class SpeakerQueue:
    """Shows the events of a run in which members may speak, so that no two talk across each other.

    Who speaks first goes on until its run is finished; what others say meanwhile waits. Without `members` they are not
    shown; an answer that a member gave in the place of the leader is, in either case.
    """

    def __init__(self, answer: AnswerRenderer, *, members: bool, tool_calls: bool) -> None:
        self._answer = answer
        self._members = members
        self._tool_calls = tool_calls
        self._floor: str | None = None
        self._waiting: dict[str, list[Event]] = {}
        self._speaker: str | None = None
        self._is_said = False

    def __enter__(self) -> SpeakerQueue:
        self._answer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call_up("")
        finally:
            self._answer.__exit__(kind, error, trace)

    def take(self, event: Event) -> None:
        """Show it now, or later."""
        who = event.speaker
        if who is None:
            self._call_up("")
            if isinstance(event, RunFinished) and not self._is_said and event.run.answer:
                self._show(TextDelta(event.run.answer))
            self._show(event)
        elif self._members and not isinstance(event, RunStarted):
            if self._floor is not None and self._floor.startswith(f"{who}/"):
                self._call_up(f"{who}/")
            if self._floor is None or who == self._floor or who.startswith(f"{self._floor}/"):
                self._floor = who
                self._show(event)
                if isinstance(event, RunFinished):
                    self._hand_on()
            else:
                self._waiting.setdefault(who, []).append(event)

    def _hand_on(self) -> None:
        """Let the next one speak who waits."""
        self._floor = None
        while self._waiting and self._floor is None:
            who = next(iter(self._waiting))
            events = self._waiting.pop(who)
            for event in events:
                self._show(event)
            self._floor = None if isinstance(events[-1], RunFinished) else who

    def _call_up(self, below: str) -> None:
        """Show all that those wait with whose names begin like this: nothing more comes of them."""
        for who in [who for who in self._waiting if who.startswith(below)]:
            for event in self._waiting.pop(who):
                self._show(event)
        self._floor = None

    def _show(self, event: Event) -> None:
        is_shown = isinstance(event, TextDelta) or (self._tool_calls and isinstance(event, _CALLS))
        if event.speaker != self._speaker and is_shown:
            self._speaker = event.speaker
            self._answer.speaks(event.speaker)
        self._is_said = self._is_said or isinstance(event, TextDelta)
        self._answer.take(event)

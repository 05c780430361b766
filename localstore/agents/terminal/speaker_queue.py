"""Shows one speaker at a time while several members of a team answer at once."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from localstore.agents.events import Event, RunFinished, RunStarted, TextDelta, ToolCallFinished, ToolCallStarted

_TOOL_EVENTS = (ToolCallStarted, ToolCallFinished)


class AnswerRenderer(Protocol):
    """A context manager that shows the events of one run. Its output stays on the screen when the run ends or fails."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def handle(self, event: Event) -> None:
        """Show an event of the speaker whose section was begun last. Events that have no output are ignored."""

    def begin_speaker(self, speaker: str | None) -> None:
        """Start a section for this member, or for the agent itself if `speaker` is None."""


class SpeakerQueue:
    """A context manager that passes the events of a run to a renderer, one speaker at a time.

    The events of the member that speaks first are shown until its run finishes; the events of other members wait. If
    `members` is false, the events of members are dropped, but an answer that a member gave in place of the leader is
    still shown.
    """

    def __init__(self, renderer: AnswerRenderer, *, members: bool, tool_calls: bool) -> None:
        self._renderer = renderer
        self._members = members
        self._tool_calls = tool_calls
        self._current_member: str | None = None
        """The member whose events are shown immediately; None if the next member may speak."""
        self._waiting: dict[str, list[Event]] = {}
        self._heading: str | None = None
        """The speaker whose section was begun last."""
        self._has_text = False

    def __enter__(self) -> SpeakerQueue:
        self._renderer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._flush("")
        finally:
            self._renderer.__exit__(kind, error, trace)

    def handle(self, event: Event) -> None:
        """Show an event now, or keep it until its speaker's turn. An event of the agent itself ends all turns first."""
        speaker = event.speaker
        if speaker is None:
            self._flush("")
            if isinstance(event, RunFinished) and not self._has_text and event.run.answer:
                self._show(TextDelta(event.run.answer))
            self._show(event)
        elif self._members and not isinstance(event, RunStarted):
            if self._current_member is not None and self._current_member.startswith(f"{speaker}/"):
                self._flush(f"{speaker}/")
            if (
                self._current_member is None
                or speaker == self._current_member
                or speaker.startswith(f"{self._current_member}/")
            ):
                self._current_member = speaker
                self._show(event)
                if isinstance(event, RunFinished):
                    self._show_waiting_members()
            else:
                self._waiting.setdefault(speaker, []).append(event)

    def _show_waiting_members(self) -> None:
        """Show the events of the waiting members in turn, up to and including one whose run has not finished."""
        self._current_member = None
        while self._waiting and self._current_member is None:
            speaker = next(iter(self._waiting))
            events = self._waiting.pop(speaker)
            for event in events:
                self._show(event)
            self._current_member = None if isinstance(events[-1], RunFinished) else speaker

    def _flush(self, prefix: str) -> None:
        """Show the waiting events of all members whose names begin with `prefix`, and end the current turn."""
        for speaker in [name for name in self._waiting if name.startswith(prefix)]:
            for event in self._waiting.pop(speaker):
                self._show(event)
        self._current_member = None

    def _show(self, event: Event) -> None:
        is_shown = isinstance(event, TextDelta) or (self._tool_calls and isinstance(event, _TOOL_EVENTS))
        if event.speaker != self._heading and is_shown:
            self._heading = event.speaker
            self._renderer.begin_speaker(event.speaker)
        self._has_text = self._has_text or isinstance(event, TextDelta)
        self._renderer.handle(event)

"""Shows an answer while it arrives: redrawn in place on a terminal, otherwise written piece by piece."""

from __future__ import annotations

import json
from threading import Event as Flag
from threading import RLock, Thread
from time import perf_counter
from typing import TYPE_CHECKING

from localstore.agents.events import Event, RunFinished, TextDelta, ToolCallFinished, ToolCallStarted
from localstore.agents.terminal.screen import Screen, one_line, visible
from localstore.agents.terminal.speaker_queue import SpeakerQueue

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from localstore.models.session import ToolCall

_REDRAW_SECONDS = 0.05
"""The shortest pause between two drawings. An answer that takes long to draw is drawn less often."""
_DRAWING_SHARE = 5
"""The pause after a drawing is at least this many times as long as the drawing took."""
OWN_HEADING = "Answer"
"""The heading of the agent's own text after its members have spoken."""


def open_answer(screen: Screen, *, markdown: bool, panel: bool, tool_calls: bool, members: bool = True) -> SpeakerQueue:
    """Return a context manager that shows one run on `screen`. Pass each event of the run to its `handle`.

    Args:
        screen: The screen to draw on.
        markdown: Render the text as Markdown. Has no effect without a terminal.
        panel: Draw a frame around the text. Has no effect without a terminal.
        tool_calls: Show tool calls and their results.
        members: Also show the answers of a team's members. On a terminal, they are always shown.
    """
    if screen.console is None:
        return SpeakerQueue(_PlainText(screen, tool_calls), members=members, tool_calls=tool_calls)
    display = _LiveDisplay(screen.console, markdown=markdown, panel=panel, tool_calls=tool_calls)
    return SpeakerQueue(display, members=True, tool_calls=tool_calls)


class _PlainText:
    """Writes an answer to standard output as it arrives, with a blank line between two messages of the model."""

    def __init__(self, screen: Screen, tool_calls: bool) -> None:
        self._write = screen.write
        self._tool_calls = tool_calls
        self._pending = ""
        self._at_line_start = True
        self._needs_blank_line = False
        self._has_output = False

    def __enter__(self) -> _PlainText:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    def handle(self, event: Event) -> None:
        match event:
            case TextDelta(text):
                text = self._pending + text
                self._pending = "\r" if text.endswith("\r") else ""  # the "\n" of a line break may follow
                if text := text.removesuffix(self._pending):
                    if self._needs_blank_line:
                        self._write("\n")
                    self._needs_blank_line, self._has_output = False, True
                    self._write(text)
                    self._at_line_start = text.endswith("\n")
            case ToolCallStarted(call):
                self._needs_blank_line = self._end_line() or self._needs_blank_line
                if self._tool_calls:
                    self._write(f"{call_line(call)}\n")
            case ToolCallFinished() if self._tool_calls:
                self._write(f"{result_line(event)}\n")
                self._needs_blank_line = True
            case RunFinished():
                self._end_line()

    def begin_speaker(self, speaker: str | None) -> None:
        self._end_line()
        if self._has_output:
            self._write("\n")
        self._needs_blank_line, self._has_output = False, True
        self._write(f"{visible(speaker) if speaker is not None else OWN_HEADING}:\n")

    def _end_line(self) -> bool:
        """End the current output line. Return True if it had any text."""
        if self._pending:
            self._write(self._pending)
            self._pending, self._at_line_start = "", False
        if self._at_line_start:
            return False
        self._write("\n")
        self._at_line_start = True
        return True


class _LiveDisplay:
    """Draws an answer in place on a terminal.

    The first piece of a message is drawn immediately. After that, a background thread redraws the message a few times a
    second, and shows "Thinking ..." while the model has sent nothing.
    """

    def __init__(self, console: Console, *, markdown: bool, panel: bool, tool_calls: bool) -> None:
        from localstore.agents.terminal.region import Region

        self._console = console
        self._region = Region(console)
        self._markdown = markdown
        self._panel = panel
        self._tool_calls = tool_calls
        self._texts: list[str] = []
        self._speaker: str | None = None
        self._open_calls = 0
        self._is_thinking = True
        self._is_stale = False
        """Whether text has arrived since the last drawing."""
        self._pause = _REDRAW_SECONDS
        self._drawn_at = 0.0
        self._lock = RLock()
        self._stop = Flag()
        self._ticker = Thread(target=self._tick, name="localstore-answer", daemon=True)

    def __enter__(self) -> _LiveDisplay:
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        try:
            self._ticker.join()
        finally:
            self._end_message()

    def handle(self, event: Event) -> None:
        with self._lock:
            match event:
                case TextDelta(text):
                    is_first = not self._texts
                    self._texts.append(text)
                    self._is_thinking, self._is_stale = False, True
                    if is_first or perf_counter() - self._drawn_at > self._pause:
                        self._draw()
                case ToolCallStarted(call):
                    self._end_message()  # a tool may print
                    self._open_calls += 1
                    if self._tool_calls:
                        self._print_line(call_line(call))
                case ToolCallFinished():
                    if self._tool_calls:
                        self._print_line(result_line(event))
                    self._open_calls -= 1
                    self._is_thinking = self._open_calls <= 0
                case RunFinished():
                    self._end_message()

    def begin_speaker(self, speaker: str | None) -> None:
        with self._lock:
            self._end_message()
            self._speaker = speaker
            if not self._panel:
                self._print_line(speaker if speaker is not None else OWN_HEADING, "bold cyan")

    def _tick(self) -> None:
        with self._lock:
            self._draw()
        self._body("`x`")  # import what drawing needs while the model is still thinking
        while not self._stop.wait(_REDRAW_SECONDS):
            with self._lock:
                if self._is_thinking or (self._is_stale and perf_counter() - self._drawn_at > self._pause):
                    self._draw()

    def _draw(self) -> None:
        from rich.text import Text

        began = perf_counter()
        parts: list[RenderableType] = []
        if self._texts:
            parts.append(self._body("".join(self._texts)))
        if self._is_thinking and not self._stop.is_set():
            parts.append(Text("Thinking " + "." * (1 + int(began * 2) % 3), "dim"))
        self._region.draw(*parts)
        self._is_stale = False
        self._drawn_at = perf_counter()
        self._pause = max(_REDRAW_SECONDS, _DRAWING_SHARE * (self._drawn_at - began))

    def _end_message(self) -> None:
        """Draw the current message one last time and leave it on the screen. The next text starts a new message."""
        with self._lock:
            self._is_thinking = False
            self._draw()
            self._region.leave()
            self._texts = []

    def _body(self, text: str) -> RenderableType:
        from rich.text import Text

        body: RenderableType = Text(visible(text).rstrip("\n"))
        if self._markdown:
            from localstore.agents.terminal.markdown_text import rendered

            body = rendered(text)
        if not self._panel:
            return body
        from rich.panel import Panel

        is_own = self._speaker is None
        title = OWN_HEADING if self._speaker is None else Text(visible(self._speaker))
        return Panel(body, title=title, title_align="left", border_style="green" if is_own else "cyan")

    def _print_line(self, text: str, style: str = "magenta") -> None:
        from rich.text import Text

        self._console.print(Text(visible(text), style))


def call_line(call: ToolCall) -> str:
    """Return one line that shows a tool call with its arguments, shortened if it is long."""
    if isinstance(call.arguments, str):
        arguments = call.arguments
    else:
        arguments = ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in call.arguments.items()
        )
    return one_line(f"Calls {call.name}({arguments})")


def result_line(event: ToolCallFinished) -> str:
    """Return one line that shows the result of a tool call, shortened if it is long."""
    verb = "failed" if event.failed else "returned"
    return one_line(f"{event.call.name} {verb}: {event.result or 'nothing'}")

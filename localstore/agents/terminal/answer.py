"""An answer as it arrives: drawn again and again on a terminal, else written piece by piece."""

from __future__ import annotations

import json
from threading import Event as Flag
from threading import RLock, Thread
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from localstore.agents.events import Event, RunFinished, TextDelta, ToolCallFinished, ToolCallStarted
from localstore.agents.terminal.screen import Screen, short, visible
from localstore.agents.terminal.turns import SpeakerQueue

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from localstore.models.session import ToolCall

_PAUSE = 0.05
"""Seconds between two drawings, and more for an answer so long that drawing it takes a while."""
_ITSELF = "Answer"
"""The heading of what the agent itself says, behind its members."""
_SHARE = 5
"""Drawing may take one part in so many of the time."""


class AnswerRenderer(Protocol):
    """Shows the events of one run. What was shown stays when it ends, whatever ends it."""

    def __enter__(self) -> AnswerRenderer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def take(self, event: Event) -> None: ...

    def speaks(self, who: str | None) -> None:
        """What comes from here on is said by this member, or by the agent itself."""


def answer_on(screen: Screen, *, markdown: bool, panel: bool, tool_calls: bool, members: bool = True) -> SpeakerQueue:
    """The way to show an answer there; `panel` draws a frame around it where that is possible.

    Where there is no terminal, what members of a team say is shown with `members` alone.
    """
    if screen.console is None:
        return SpeakerQueue(_Plain(screen, tool_calls), members=members, tool_calls=tool_calls)
    drawn = _Drawn(screen.console, markdown=markdown, panel=panel, tool_calls=tool_calls)
    return SpeakerQueue(drawn, members=True, tool_calls=tool_calls)


class _Plain:
    """Writes the text as it comes, with each message of the model as a paragraph of its own."""

    def __init__(self, screen: Screen, tool_calls: bool) -> None:
        self._write = screen.write
        self._tool_calls = tool_calls
        self._held = ""
        self._at_start = True
        self._goes_on = False
        self._is_begun = False

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    def take(self, event: Event) -> None:
        match event:
            case TextDelta(text):
                text = self._held + text
                self._held = "\r" if text.endswith("\r") else ""  # the other half of a line break may follow
                if text := text.removesuffix(self._held):
                    if self._goes_on:
                        self._write("\n")
                    self._goes_on, self._is_begun = False, True
                    self._write(text)
                    self._at_start = text.endswith("\n")
            case ToolCallStarted(call):
                self._goes_on = self._end_line() or self._goes_on
                if self._tool_calls:
                    self._write(f"{_asked(call)}\n")
            case ToolCallFinished() if self._tool_calls:
                self._write(f"{_given(event)}\n")
                self._goes_on = True
            case RunFinished():
                self._end_line()

    def speaks(self, who: str | None) -> None:
        self._end_line()
        if self._is_begun:
            self._write("\n")
        self._goes_on, self._is_begun = False, True
        self._write(f"{visible(who) if who is not None else _ITSELF}:\n")

    def _end_line(self) -> bool:
        """Whether there was a line to end."""
        if self._held:
            self._write(self._held)
            self._held, self._at_start = "", False
        if self._at_start:
            return False
        self._write("\n")
        self._at_start = True
        return True


class _Drawn:
    """Draws the text at once when it begins, and then some times a second, also when the model pauses."""

    def __init__(self, console: Console, *, markdown: bool, panel: bool, tool_calls: bool) -> None:
        from localstore.agents.terminal.region import Region

        self._console = console
        self._region = Region(console)
        self._markdown = markdown
        self._panel = panel
        self._tool_calls = tool_calls
        self._texts: list[str] = []
        self._who: str | None = None
        self._open_calls = 0
        self._waits = True
        self._is_new = False
        self._pause = _PAUSE
        self._drawn = 0.0
        self._lock = RLock()
        self._over = Flag()
        self._ticker = Thread(target=self._tick, name="localstore-answer", daemon=True)

    def __enter__(self) -> _Drawn:
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        try:
            self._ticker.join()
        finally:
            self._settle()

    def take(self, event: Event) -> None:
        with self._lock:
            match event:
                case TextDelta(text):
                    is_first = not self._texts
                    self._texts.append(text)
                    self._waits, self._is_new = False, True
                    if is_first or perf_counter() - self._drawn > self._pause:
                        self._draw()
                case ToolCallStarted(call):
                    self._settle()  # a tool may print
                    self._open_calls += 1
                    if self._tool_calls:
                        self._line(_asked(call))
                case ToolCallFinished():
                    if self._tool_calls:
                        self._line(_given(event))
                    self._open_calls -= 1
                    self._waits = self._open_calls <= 0
                case RunFinished():
                    self._settle()

    def speaks(self, who: str | None) -> None:
        with self._lock:
            self._settle()
            self._who = who
            if not self._panel:
                self._line(who if who is not None else _ITSELF, "bold cyan")

    def _tick(self) -> None:
        with self._lock:
            self._draw()
        self._body("`x`")  # loads what drawing needs, while the model still thinks
        while not self._over.wait(_PAUSE):
            with self._lock:
                if self._waits or (self._is_new and perf_counter() - self._drawn > self._pause):
                    self._draw()

    def _draw(self) -> None:
        from rich.text import Text

        began = perf_counter()
        shown: list[RenderableType] = []
        if self._texts:
            shown.append(self._body("".join(self._texts)))
        if self._waits and not self._over.is_set():
            shown.append(Text("Thinking " + "." * (1 + int(began * 2) % 3), "dim"))
        self._region.draw(*shown)
        self._is_new = False
        self._drawn = perf_counter()
        self._pause = max(_PAUSE, _SHARE * (self._drawn - began))

    def _settle(self) -> None:
        """Let the text so far stand; what comes then is another message."""
        with self._lock:
            self._waits = False
            self._draw()
            self._region.leave()
            self._texts = []

    def _body(self, text: str) -> RenderableType:
        from rich.text import Text

        body: RenderableType = _markdown(text) if self._markdown else Text(visible(text).rstrip("\n"))
        if not self._panel:
            return body
        from rich.panel import Panel

        title = _ITSELF if self._who is None else Text(visible(self._who))
        return Panel(body, title=title, title_align="left", border_style="green" if self._who is None else "cyan")

    def _line(self, text: str, style: str = "magenta") -> None:
        from rich.text import Text

        self._console.print(Text(visible(text), style))


def _markdown(text: str) -> RenderableType:
    """Markdown of which nothing is hidden: tags stand there as text, and links say where they lead."""
    from markdown_it import MarkdownIt
    from rich.markdown import Markdown

    shown = Markdown("", hyperlinks=False)
    shown.parsed = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).parse(visible(text))
    return shown


def _asked(call: ToolCall) -> str:
    """A tool call on one line."""
    if isinstance(call.arguments, str):
        said = call.arguments
    else:
        said = ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in call.arguments.items()
        )
    return short(f"Calls {call.name}({said})")


def _given(event: ToolCallFinished) -> str:
    return short(f"{event.call.name} {'failed' if event.failed else 'gave'}: {event.result or 'nothing'}")

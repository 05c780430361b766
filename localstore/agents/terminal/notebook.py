"""Shows an answer in a Jupyter notebook while it arrives, rendered as Markdown."""

from __future__ import annotations

import sys
from html import escape
from importlib import import_module
from time import perf_counter
from types import TracebackType
from typing import Any

from localstore.agents.events import Event, RunFinished, TextDelta, ToolCallFinished, ToolCallStarted
from localstore.agents.terminal.answer import OWN_HEADING, call_line, result_line
from localstore.exporting.characters import visible
from localstore.exporting.html_markdown import renderer

_REDRAW_SECONDS = 0.1
"""The shortest pause between two drawings of an answer."""
_DRAWING_SHARE = 5
"""The pause after a drawing is at least this many times as long as the drawing took."""


def is_notebook() -> bool:
    """Return whether this process is the kernel of a Jupyter notebook."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and hasattr(get_shell(), "kernel")


class NotebookAnswer:
    """A context manager that draws an answer in a notebook.

    The Markdown is rendered here and not by the notebook, which would also run the HTML and the scripts that a model
    writes into it.
    """

    def __init__(self, *, tool_calls: bool) -> None:
        self._display = import_module("IPython.display")  # it is there in a notebook
        self._markdown = renderer()
        self._tool_calls = tool_calls
        self._texts: list[str] = []
        self._output: Any = None
        """The output that shows the current message, or None if nothing of it is drawn."""
        self._draw_after = 0.0

    def __enter__(self) -> NotebookAnswer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_message()

    def handle(self, event: Event) -> None:
        match event:
            case TextDelta(text):
                self._texts.append(text)
                if self._output is None or perf_counter() > self._draw_after:
                    self._draw()
            case ToolCallStarted(call):
                self._end_message()
                if self._tool_calls:
                    self._show_line(call_line(call))
            case ToolCallFinished() if self._tool_calls:
                self._show_line(result_line(event))
            case RunFinished():
                self._end_message()

    def begin_speaker(self, speaker: str | None) -> None:
        self._end_message()
        self._show(f"<p><b>{escape(OWN_HEADING if speaker is None else visible(speaker))}</b></p>")

    def _draw(self) -> None:
        began = perf_counter()
        html = self._display.HTML(f'<div dir="auto">{self._markdown("".join(self._texts))}</div>')
        if self._output is None:
            self._output = self._display.display(html, display_id=True)
        else:
            self._output.update(html)
        ended = perf_counter()
        self._draw_after = ended + max(_REDRAW_SECONDS, _DRAWING_SHARE * (ended - began))

    def _end_message(self) -> None:
        if self._texts:
            self._draw()
        self._texts, self._output = [], None

    def _show_line(self, line: str) -> None:
        self._show(f"<p><code>{escape(line)}</code></p>")

    def _show(self, html: str) -> None:
        self._display.display(self._display.HTML(html))

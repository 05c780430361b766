"""Printing for people: the only place in the library that prints."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TextIO

_CONTROL = re.compile(r"[^\n\t -~\xa0-\U0010ffff]")


def print_response(question: str | None, respond: Callable[[], str], *, markdown: bool) -> None:
    """Print the question, ask, print the answer: as panels when standard output is a terminal, else as plain text.

    Control characters (a model could move the cursor or set the title with them) are shown as escapes. What `respond`
    raises passes through.
    """
    if sys.stdout.isatty():
        _print_panels(question, respond, markdown=markdown)
        return
    if question is not None:
        _write(sys.stdout, "".join(f"> {line}\n" for line in question.splitlines()))
    _write(sys.stdout, f"{respond()}\n\n")


def _print_panels(question: str | None, respond: Callable[[], str], *, markdown: bool) -> None:
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.panel import Panel
    from rich.text import Text

    console = Console()
    if question is not None:
        console.print(Panel(Text(_visible(question)), title="Question", title_align="left", border_style="cyan"))
    with console.status("Thinking ..."):
        answer = _visible(respond())
    body = Markdown(answer) if markdown else Text(answer)
    console.print(Panel(body, title="Answer", title_align="left", border_style="green"))


def _write(stream: TextIO, text: str) -> None:
    """Write what the stream's encoding lacks (a pipe may be ASCII) as escapes, rather than fail after the answer."""
    encoding = stream.encoding or "utf-8"
    stream.write(_visible(text).encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))

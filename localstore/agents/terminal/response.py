"""`Agent.print_response`: one question and its answer."""

from __future__ import annotations

from collections.abc import Generator

from localstore.agents.events import Event
from localstore.agents.terminal.answer import answer_on
from localstore.agents.terminal.screen import Screen, visible


def print_response(question: str | None, events: Generator[Event], *, markdown: bool, tool_calls: bool) -> None:
    """Print the question, and the answer as it arrives: panels on a terminal, else plain text.

    Control characters (a model could move the cursor or set the title with them) are shown as escapes. What the run
    raises passes through; what had arrived stays there.
    """
    screen = Screen()
    if question is not None:
        _print_question(screen, question)
    try:
        with answer_on(screen, markdown=markdown, panel=True, tool_calls=tool_calls) as answer:
            for event in events:
                answer.take(event)
    finally:
        events.close()
    if screen.console is None:
        screen.write("\n")


def _print_question(screen: Screen, question: str) -> None:
    if screen.console is None:
        screen.write("".join(f"> {line}\n" for line in question.splitlines()))
        return
    from rich.panel import Panel
    from rich.text import Text

    screen.console.print(Panel(Text(visible(question)), title="Question", title_align="left", border_style="cyan"))

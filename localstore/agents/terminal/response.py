"""Prints one question and its answer, for `print_response`."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from localstore.agents.events import Event, RunFinished
from localstore.agents.terminal.answer import open_answer
from localstore.agents.terminal.error_text import incomplete_line
from localstore.agents.terminal.keyboard import QuietInput
from localstore.agents.terminal.notebook import NotebookAnswer, is_notebook
from localstore.agents.terminal.screen import Screen, visible
from localstore.agents.terminal.speaker_queue import SpeakerQueue

if TYPE_CHECKING:
    from localstore.models.session import Run


def print_response(
    question: str | None, events: Generator[Event], *, markdown: bool, tool_calls: bool, panel: bool = True
) -> Run | None:
    """Print the question, and then the answer as it arrives. Return the run, or None if it has not finished.

    On a terminal, both are in panels. In a Jupyter notebook, `markdown` renders the answer. Otherwise, both are plain
    text, with a blank line after the answer.

    Control characters are shown as escapes, because a model could use them to move the cursor or set the terminal's
    title. A remark says so if the answer is not complete. Errors of the run propagate; the part of the answer that has
    arrived stays on the screen.

    Args:
        question: The text to print above the answer. None prints only the answer.
        events: The events of the run. The generator is closed at the end, also after an error.
        markdown: Render the answer as Markdown. Has no effect without a terminal or a notebook.
        tool_calls: Print tool calls and their results, shortened.
        panel: Draw panels on a terminal. False prints the answer without a panel, and without a blank line after it.
    """
    screen = Screen()
    run: Run | None = None
    if question is not None:
        _print_question(screen, question)
    in_notebook = markdown and is_notebook()
    try:
        answer = (
            _notebook_answer(tool_calls)
            if in_notebook
            else open_answer(screen, markdown=markdown, panel=panel, tool_calls=tool_calls)
        )
        with QuietInput() as quiet, answer:
            for event in events:
                quiet.handle(event)
                answer.handle(event)
                if isinstance(event, RunFinished) and event.speaker is None:
                    run = event.run
    finally:
        events.close()
    if run is not None and (incomplete := incomplete_line(run)) is not None:
        screen.note(incomplete)
    if panel and screen.console is None and not in_notebook:
        screen.write("\n")
    return run


def _notebook_answer(tool_calls: bool) -> SpeakerQueue:
    return SpeakerQueue(NotebookAnswer(tool_calls=tool_calls), members=True, tool_calls=tool_calls)


def _print_question(screen: Screen, question: str) -> None:
    if screen.console is None:
        screen.write("".join(f"> {line}\n" for line in question.splitlines()))
        return
    from rich.panel import Panel
    from rich.text import Text

    screen.console.print(Panel(Text(visible(question)), title="Question", title_align="left", border_style="cyan"))

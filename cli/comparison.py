"""Prints the old and the new answer to each question: for a terminal, for a pipe, or as JSON."""

from __future__ import annotations

from typing import Any, Protocol

from localstore.agents.replay import Repeated

from . import output
from .scorer import Score

WIDE = 80
"""The minimum width of a terminal, in columns, for printing the answers side by side."""


class Comparison(Protocol):
    """Prints each question with its answers as soon as the new run ends."""

    def show(self, repeated: Repeated, score: Score | None) -> None: ...


class Rows:
    """Prints one line per question: number, run, question, old answer, new answer, score, error."""

    def show(self, repeated: Repeated, score: Score | None) -> None:
        question = repeated.question
        output.write_rows(
            [
                (
                    str(question.number),
                    question.run.run_id,
                    question.run.question,
                    repeated.old,
                    repeated.new or "",
                    "" if score is None else f"{score.value:g}",
                    repeated.run.error or "",
                )
            ]
        )
        output.deliver()
        for text in remarks(repeated):
            output.note(f"question {question.number}: {text}")


class JsonLines:
    """Prints one JSON object per line. `session_id` is that of the new session, None if nothing is stored."""

    def __init__(self, session_id: str | None) -> None:
        self._session_id = session_id

    def show(self, repeated: Repeated, score: Score | None) -> None:
        question, run = repeated.question, repeated.run
        incomplete = {} if run.finish_reason is None else {"finish_reason": run.finish_reason}
        output.write_json_line(
            {
                "number": question.number,
                "run_id": question.run.run_id,
                "session_id": self._session_id,
                "new_run_id": run.run_id,
                "question": question.run.question,
                "old_model": question.run.model,
                "old": repeated.old,
                "new_model": run.model,
                "new": repeated.new,
                "tools": list(question.tools),
                "missing_files": list(question.missing),
                "score": None if score is None else score.value,
                "passed": None if score is None else score.passed,
                "error": run.error,
                **incomplete,
            }
        )
        output.deliver()


class Columns:
    """Prints the answers in two columns if the terminal is wide enough, otherwise one below the other."""

    def __init__(self) -> None:
        self._screen = output.console()

    def show(self, repeated: Repeated, score: Score | None) -> None:
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        question, run = repeated.question, repeated.run
        self._print(f"question {question.number}", "bold")
        self._screen.print(Padding(_text(question.run.question), (0, 0, 0, 2)))
        for text in remarks(repeated):
            self._print(text, "dim")
        new = Text(output.lines(run.error), "red") if run.error is not None else _text(repeated.new)
        answers = [
            (f"old  {question.run.model or ''}".rstrip(), _text(repeated.old)),
            (f"new  {run.model or ''}".rstrip(), new),
        ]
        if self._screen.width >= WIDE:
            table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold cyan", expand=True)
            for heading, _ in answers:
                table.add_column(Text(output.one_line(heading)), ratio=1, overflow="fold")
            table.add_row(*(answer for _, answer in answers))
            self._screen.print(table)
        else:
            for heading, answer in answers:
                self._print(heading, "bold cyan")
                self._screen.print(Padding(answer, (0, 0, 0, 2)))
        if score is not None:
            self._print(f"score {score.value:g}", "green" if score.passed else "bold red")
        self._screen.print()

    def _print(self, text: str, style: str) -> None:
        self._screen.print(output.one_line(text), style=style)


def _text(answer: str | None) -> Any:
    from rich.text import Text

    return Text(output.lines(answer.strip("\n"))) if answer else Text("(no text)", "dim")


def remarks(repeated: Repeated) -> list[str]:
    """Return remarks on how the repeated question differs from the original one, and on incomplete answers."""
    question = repeated.question
    lines = []
    for answer, run in (("old", question.run), ("new", repeated.run)):
        if run.finish_reason is not None:
            lines.append(f"the {answer} answer is not complete (finish_reason: {run.finish_reason})")
    if question.tools:
        lines.append(f"answered from the stored results of {', '.join(question.tools)}")
    if question.run.output is not None:
        lines.append("the old answer was asked for as data, the new one is not")
    if question.missing:
        lines.append(f"files that no longer exist: {', '.join(question.missing)}")
    return lines


class Tally:
    """Counts answers and scores for the summary and the exit code."""

    def __init__(self, total: int) -> None:
        self.done = 0
        self.unanswered = 0
        self._total = total
        self._scores: list[Score] = []

    def add(self, repeated: Repeated, score: Score | None) -> None:
        self.done += 1
        self.unanswered += repeated.new is None
        if score is not None:
            self._scores.append(score)

    @property
    def has_failing_score(self) -> bool:
        return not all(score.passed for score in self._scores)

    def summary(self) -> None:
        """Print a summary of the comparison to standard error."""
        if self.done < self._total:
            output.note(f"Stopped after {self.done:,} of {self._total:,} questions.")
        if self.unanswered:
            output.note(f"{self.unanswered:,} of {self.done:,} questions got no answer.")
        if self._scores:
            mean = sum(score.value for score in self._scores) / len(self._scores)
            passed = sum(score.passed for score in self._scores)
            output.note(f"Mean score {mean:.3g}; {passed:,} of {len(self._scores):,} passed.")

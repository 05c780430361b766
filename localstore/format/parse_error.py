"""The error that all parsers of documents raise."""

from __future__ import annotations


class ParseError(ValueError):
    """Raised when bytes cannot be parsed as one document. Code that knows the path raises DocumentBroken from it.

    `problem` is written for the person who edits the file. `line` and `column` count from 1 and are None if unknown.
    """

    def __init__(self, problem: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(problem, line, column)  # all of them in args, so that the error pickles
        self.problem = problem
        self.line = line
        self.column = column

    def __str__(self) -> str:
        if self.line is None:
            return self.problem
        if self.column is None:
            return f"line {self.line}: {self.problem}"
        return f"line {self.line}, column {self.column}: {self.problem}"

"""The error of the readers: these bytes are not a document."""

from __future__ import annotations


class ParseError(ValueError):
    """These bytes cannot be read as one document.

    `problem` says what is wrong, in words for the person who edits the file. `line` and `column` count from 1 and say
    where; they are None where no place is known. Whoever knows the path turns this into an error of the public API.
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

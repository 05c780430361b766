"""The type of an upgrade step, and the error of a document that cannot be upgraded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
"""A document as plain values: dict, list, str, int, float, bool and None."""

Place = tuple[str | int, ...]
"""Keys and indexes that lead to a value: `("memory", "runs", 3, "messages", 1)`."""


class CannotUpgrade(ValueError):
    """A document is not valid for its version.

    Attributes:
        problem: What was expected.
        where: The place in the document. A problem that appears only in the result (it nests too deeply, a sum is too
            large) has its place in the result.
    """

    def __init__(self, problem: str, where: Place = ()) -> None:
        super().__init__(problem, where)
        self.problem = problem
        self.where = where

    def __str__(self) -> str:
        place = ""
        for key in self.where:
            place += f"[{key}]" if isinstance(key, int) else f".{key}" if place else key
        return f"{place}: {self.problem}" if place else self.problem


@dataclass(frozen=True, slots=True)
class Step:
    """The step from one version of the format to the next, and back.

    `up` and `down` do not change their argument, and return the same result every time. `up` takes any mapping of plain
    values and returns a valid document of `version`, or raises CannotUpgrade. `down` takes a valid document of
    `version`, and `up` of its result is that document again.
    """

    version: int
    """The version of the result of `up`."""
    title: str
    up: Callable[[Document], Document]
    down: Callable[[Document], Document] | None
    """None if the step cannot be reversed."""

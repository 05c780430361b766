"""The type of an upgrade step, and the error for a document that cannot be upgraded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
"""A document as plain values: dict, list, str, int, float, bool and None."""

Place = tuple[str | int, ...]
"""The keys and indexes of the path to a value: `("memory", "runs", 3, "messages", 1)`."""


class CannotUpgrade(ValueError):
    """Raised if a document is not valid for its version.

    Attributes:
        problem: What was expected.
        where: The path to the invalid value in the document. If only the converted document is invalid (it nests too
            deeply, or a sum is too large), it is a path in that document.
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
    """Converts documents from one version of the format to the next, and back.

    `up` and `down` do not change their argument and are deterministic. `up` takes any mapping of plain values and
    returns a valid document of `version`, or raises CannotUpgrade. `down` takes a valid document of `version` and
    returns one of the version before, which `up` converts to an equal document.
    """

    version: int
    """The version of the result of `up`."""
    title: str
    """A description of the step for people."""
    up: Callable[[Document], Document]
    down: Callable[[Document], Document] | None
    """None if the step cannot be reversed."""

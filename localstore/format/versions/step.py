"""One step from a version of the format to the next."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
"""A document as plain values: dict, list, str, int, float, bool and None."""

Place = tuple[str | int, ...]
"""Keys and indexes that lead to a value: `("memory", "runs", 3, "messages", 1)`."""


class CannotUpgrade(ValueError):
    """A document does not say what its version says it does. `problem` says what is wrong there, `where` the place.

    What shows in the result only (it nests too deeply, a sum is too big) is named by its place there.
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
    """A step up, and the way back where there is one.

    Both are pure: they leave their argument as it is and give the same result every time. `up` takes any mapping of
    plain values and gives a valid document of `version`, or raises CannotUpgrade. `down` takes a valid document of
    `version`; `up` of what it gives is that document again.
    """

    version: int
    """The version that `up` gives."""
    title: str
    up: Callable[[Document], Document]
    down: Callable[[Document], Document] | None

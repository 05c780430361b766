"""How much the tests do: three levels, chosen by the environment variable `LOCALSTORE_TESTS`.

- `default`: three minutes on two cores; many processes, chats in a pseudo-terminal and migrations are left out, and
  the loops over places and kinds of faults take samples.
- `ci`: a failure at every place, every kind of fault in turn, real processes, other packages' releases; what `.ci/run`
  asks for.
- `long`: every fault at every place, and the same loops ten to a hundred times; run by hand, for hours.

Every loop is bounded at each level, and random choices are seeded, so that two runs of one level do the same.
"""

import os
from collections.abc import Iterable
from typing import Final, Literal, TypeVar, cast

import pytest

Level = Literal["default", "ci", "long"]
Value = TypeVar("Value")

_NAME: Final = os.environ.get("LOCALSTORE_TESTS", "default")
if _NAME not in ("default", "ci", "long"):
    raise pytest.UsageError(f"LOCALSTORE_TESTS is {_NAME!r}. Set it to default, ci or long, or unset it.")
LEVEL: Final = cast("Level", _NAME)
IS_DEFAULT: Final = LEVEL == "default"
IS_LONG: Final = LEVEL == "long"

ci_only = pytest.mark.ci_only
"""Marks a test that runs at the levels `ci` and `long` alone."""
long_only = pytest.mark.long_only
"""Marks a test that runs at the level `long` alone."""


def rounds(default: int, ci: int, long: int) -> int:
    """Return the number of rounds for this level."""
    return {"default": default, "ci": ci, "long": long}[LEVEL]


def sampled(values: Iterable[Value], step: int, ci: int = 1) -> list[Value]:
    """Return the values: at the default level every `step`-th of them, at the level `ci` every `ci`-th."""
    return list(values)[:: rounds(step, ci, 1)]

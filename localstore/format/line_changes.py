"""Find which lines of a text changed, in bounded time."""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypeVar, cast

Line = TypeVar("Line", str, bytes)

_MOST_LINES, _MOST_EFFORT = 5000, 50_000_000
"""Beyond this number of changed lines on either side, or of steps to match them, they count as a single change.
Finding the smallest difference takes quadratic time, and more if many lines are equal."""

LineChange = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]
"""Tag, i, j, k, n: lines i to j of the old text become lines k to n of the new one (from 0, ends excluded)."""


def line_changes(old: Sequence[Line], new: Sequence[Line]) -> list[LineChange]:
    """Return how the old lines become the new ones, in order and without gaps. It is empty if they are the same.

    >>> line_changes(["a", "b", "c"], ["a", "B", "c"])
    [('equal', 0, 1, 0, 1), ('replace', 1, 2, 1, 2), ('equal', 2, 3, 2, 3)]
    """
    if old == new:
        return []
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    old_end, new_end = len(old) - last, len(new) - last
    before, after = old[first:old_end], new[first:new_end]
    codes: Iterable[LineChange] = [("replace", 0, len(before), 0, len(after))]
    if max(len(before), len(after)) <= _MOST_LINES and _effort(before, after) <= _MOST_EFFORT:
        codes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    between: list[LineChange] = [(tag, i + first, j + first, k + first, n + first) for tag, i, j, k, n in codes]
    return [("equal", 0, first, 0, first), *between, ("equal", old_end, len(old), new_end, len(new))]


def with_context(changes: list[LineChange], context: int) -> Iterable[list[LineChange]]:
    """Yield groups of changes, each with at most `context` equal lines around it."""
    return cast("Iterable[list[LineChange]]", _KnownChanges(changes).get_grouped_opcodes(context))


def _effort(old: Sequence[Line], new: Sequence[Line]) -> int:
    """Return an upper bound for the steps of `difflib.SequenceMatcher`.

    It visits each pair of equal lines again for each stretch of equal lines.
    """
    counts = Counter(new)
    pairs = [counts[line] for line in old]
    return (sum(pairs) + len(old)) * sum(map(bool, pairs))


class _KnownChanges(difflib.SequenceMatcher[str]):
    """A matcher that returns given changes, to group them with their context."""

    def __init__(self, codes: list[LineChange]) -> None:
        super().__init__(None, [], [])
        self._codes = codes

    def get_opcodes(self) -> list[LineChange]:
        return self._codes

"""Write the change of a document as a unified diff that `patch -p1` applies, byte for byte.

`difflib.unified_diff` does not suffice: its time is not bounded, and it does not mark a missing newline at the end.
"""

import difflib
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from localstore.maintenance.upgrade.preview import Change

_MOST_LINES, _MOST_EFFORT = 5000, 50_000_000
"""Beyond this number of changed lines on either side, or of steps to match them, the diff shows a single change.
Finding the smallest diff takes quadratic time, and more if many lines are equal."""
_CONTEXT = 3
_Code = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]
"""Tag, i, j, k, n: lines i to j of the old document become lines k to n of the new one (from 0, ends excluded)."""


def unified_diff(change: Change) -> Iterator[bytes]:
    """Yield the lines of the diff of a change, each with its newline.

    A document with a new path is shown as a rename. Names are quoted as `git diff` quotes them.
    """
    old, new = _lines(change.old), _lines(change.new)
    before, after = _name("a/" + change.path), _name("b/" + change.new_path)
    if change.path != change.new_path:
        yield b"diff --git " + before + b" " + after + b"\n"
        yield b"rename from " + _name(change.path) + b"\n"
        yield b"rename to " + _name(change.new_path) + b"\n"
    yield b"--- " + before + b"\n"
    yield b"+++ " + after + b"\n"
    for line in _hunks(old, new):
        yield line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"


def _lines(raw: bytes) -> list[bytes]:
    """Return the lines with their newlines. Unlike `bytes.splitlines`, carriage returns do not end a line."""
    lines = raw.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def _hunks(old: list[bytes], new: list[bytes]) -> Iterator[bytes]:
    for group in _KnownChanges(_changes(old, new)).get_grouped_opcodes(_CONTEXT):
        yield f"@@ -{_range(group[0][1], group[-1][2])} +{_range(group[0][3], group[-1][4])} @@\n".encode()
        for tag, i, j, k, n in group:
            if tag == "equal":
                yield from (b" " + line for line in old[i:j])
                continue
            yield from (b"-" + line for line in old[i:j])
            yield from (b"+" + line for line in new[k:n])


def _changes(old: list[bytes], new: list[bytes]) -> list[_Code]:
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
    codes: list[_Code] = [("replace", 0, len(before), 0, len(after))]
    if max(len(before), len(after)) <= _MOST_LINES and _effort(before, after) <= _MOST_EFFORT:
        codes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    between = [(tag, i + first, j + first, k + first, n + first) for tag, i, j, k, n in codes]
    return [("equal", 0, first, 0, first), *between, ("equal", old_end, len(old), new_end, len(new))]


def _effort(old: list[bytes], new: list[bytes]) -> int:
    """Return an upper bound for the steps of `difflib.SequenceMatcher`.

    It visits each pair of equal lines again for each stretch of equal lines.
    """
    counts = Counter(new)
    pairs = [counts[line] for line in old]
    return (sum(pairs) + len(old)) * sum(map(bool, pairs))


class _KnownChanges(difflib.SequenceMatcher[bytes]):
    """A matcher that returns given changes, to group them with their context."""

    def __init__(self, codes: list[_Code]) -> None:
        super().__init__(None, [], [])
        self._codes = codes

    def get_opcodes(self) -> list[_Code]:
        return self._codes


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _name(path: str) -> bytes:
    """Return a path as bytes, quoted as `git diff` quotes it if it has special characters."""
    raw = path.encode()
    if all(0x20 < byte < 0x7F and byte not in b'"\\' for byte in raw):
        return raw
    quoted = b"".join(
        bytes([byte]) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03o}".encode() for byte in raw
    )
    return b'"' + quoted + b'"'

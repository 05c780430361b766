"""A change of a document as a unified diff that `patch -p1` takes, byte for byte."""

import difflib
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from localstore.maintenance.upgrade.preview import Change

_MOST_LINES, _MOST_EFFORT = 5000, 50_000_000
"""Beyond so many changed lines, on either side, they are shown as one: finding the fewest takes quadratic time, and
more where many lines are the same."""
_CONTEXT = 3
_Code = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]
"""What becomes of the lines i to j of the old document: the lines k to n of the new one."""


def unified_diff(change: Change) -> Iterator[bytes]:
    """The lines of the diff, each with its newline. A document that goes to another place is shown as a renaming.

    Names are quoted as `git diff` does it.
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
    """Cut behind each newline, and nowhere else."""
    lines = raw.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def _hunks(old: list[bytes], new: list[bytes]) -> Iterator[bytes]:
    for group in _Groups(_changes(old, new)).get_grouped_opcodes(_CONTEXT):
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
    """How long it takes at most to find what is equal: each equal pair is looked at for each equal stretch."""
    counts = Counter(new)
    pairs = [counts[line] for line in old]
    return (sum(pairs) + len(old)) * sum(map(bool, pairs))


class _Groups(difflib.SequenceMatcher[bytes]):
    """Puts changes that are found already into groups with their context."""

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
    """A name as `git` quotes it where it has characters that would not be read back."""
    raw = path.encode()
    if all(0x20 < byte < 0x7F and byte not in b'"\\' for byte in raw):
        return raw
    quoted = b"".join(
        bytes([byte]) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03o}".encode() for byte in raw
    )
    return b'"' + quoted + b'"'

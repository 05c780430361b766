"""A change of a document as a unified diff that `patch -p1` takes, byte for byte."""

import difflib
from collections.abc import Iterator

from localstore.upgrade.preview import Change

_MOST_LINES = 5000
"""Beyond so many changed lines, on either side, they are shown as one: finding the fewest takes quadratic time."""
_CONTEXT = 3


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
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    changed = max(len(old), len(new)) - first - last
    if changed > _MOST_LINES:
        groups = [[("equal", first - min(first, _CONTEXT), first, first - min(first, _CONTEXT), first)]]
        groups[0].append(("replace", first, len(old) - last, first, len(new) - last))
        behind = min(last, _CONTEXT)
        groups[0].append(
            ("equal", len(old) - last, len(old) - last + behind, len(new) - last, len(new) - last + behind)
        )
    else:
        matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
        groups = [list(group) for group in matcher.get_grouped_opcodes(_CONTEXT)]
    for group in groups:
        yield f"@@ -{_range(group[0][1], group[-1][2])} +{_range(group[0][3], group[-1][4])} @@\n".encode()
        for tag, i, j, k, n in group:
            if tag == "equal":
                yield from (b" " + line for line in old[i:j])
                continue
            yield from (b"-" + line for line in old[i:j])
            yield from (b"+" + line for line in new[k:n])


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

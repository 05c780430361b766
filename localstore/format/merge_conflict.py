"""Recognise a merge conflict that git left in a document.

Neither JSON nor YAML in any layout has the lines that git adds, and no crash writes them. So they explain why a
document does not parse.
"""

import itertools
import re
from collections import Counter
from typing import NamedTuple

from localstore.format.parse_error import ParseError

_MARKS = re.compile(rb"^(?:(?:<{7}|\|{7}|>{7})(?:[ \t][^\n]*)?|={7})\r?$", re.MULTILINE)
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_KEYS = re.compile(rb"""^(?:  "(?:[^"\\\n]|\\.)*":|[^\s#"{}\[\]-][^\n:]*:(?=[ \n]))""", re.MULTILINE)
"""A line that begins with a key of a header, in JSON or YAML."""
UNRESOLVED = (
    "this is a merge conflict of git that is not resolved. Keep the lines that you want of both sides, and delete the "
    "lines that begin with <<<<<<<, ======= and >>>>>>>, or let 'localstore check --repair' unite both sides"
)
"""The problem of a document with such a conflict."""


def find_conflict(raw: bytes) -> ParseError | None:
    """Return the error about the first conflict in a document that does not parse, or None if there is none."""
    mark = _MARKS.search(raw)
    return None if mark is None else ParseError(UNRESOLVED, raw.count(b"\n", 0, mark.start()) + 1)


class Sides(NamedTuple):
    """The versions of a document that a merge conflict holds. `base` is None if it holds only two."""

    ours: bytes
    theirs: bytes
    base: bytes | None


def find_sides(raw: bytes) -> Sides | None:
    """Return the versions that a document with merge conflicts holds, or None if a conflict is not complete."""
    if not _MARKS.search(raw):
        return None
    versions: dict[bytes, list[bytes]] = {b"<": [], b"|": [], b"=": []}
    order: list[bytes] = []
    mark = b">"
    for line in _LINE.findall(raw):
        if _MARKS.match(line):
            mark = line[:1]
            order.append(mark)
        elif mark == b">":
            for lines in versions.values():
                lines.append(line)
        else:
            versions[mark].append(line)
    marks = b"".join(order)
    if not re.fullmatch(rb"(?:<\|?=>)+", marks):
        return None
    ours, base, theirs = map(b"".join, versions.values())
    return Sides(ours, theirs, base if marks.count(b"|") == marks.count(b"<") else None)


def sides_of_union(head: bytes) -> Sides | None:
    """Return the two versions of a header in which keys stand twice, or None if there is no such key.

    `merge=union` in git's attributes leaves such headers: the lines of our side come first. `head` is a document up to
    the line that opens the history, in our layout of JSON or YAML.
    """
    starts = [match.start() for match in _KEYS.finditer(head)]
    parts = [head[i:j] for i, j in itertools.pairwise([0, *starts, len(head)])]
    keys = [part.partition(b":")[0] for part in parts]
    if max(Counter(keys).values()) != 2:
        return None
    last = {key: number for number, key in enumerate(keys)}
    first = {key: number for number, key in reversed([*enumerate(keys)])}
    ours, theirs = (b"".join(parts[number] for number in sorted(chosen.values())) for chosen in (first, last))
    return Sides(ours, theirs, None)


def own_side(raw: bytes) -> bytes:
    """Return the document with only the first side of each conflict. Other documents are returned unchanged."""
    if not _MARKS.search(raw):
        return raw
    kept = []
    is_own = True
    for line in _LINE.findall(raw):
        if _MARKS.match(line):
            is_own = line[:1] in b"<>"
        elif is_own:
            kept.append(line)
    return b"".join(kept)

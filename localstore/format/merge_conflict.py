"""Recognise a merge conflict that git left in a document.

Neither JSON nor YAML in any layout has the lines that git adds, and no crash writes them. So they explain why a
document does not parse.
"""

import re

from localstore.format.parse_error import ParseError

_MARKS = re.compile(rb"^(?:(?:<{7}|\|{7}|>{7})(?:[ \t][^\n]*)?|={7})\r?$", re.MULTILINE)
_PROBLEM = (
    "this is a merge conflict of git that is not resolved. Keep the lines that you want of both sides, and delete the "
    "lines that begin with <<<<<<<, ======= and >>>>>>>"
)


def find_conflict(raw: bytes) -> ParseError | None:
    """Return the error about the first conflict in a document that does not parse, or None if there is none."""
    mark = _MARKS.search(raw)
    return None if mark is None else ParseError(_PROBLEM, raw.count(b"\n", 0, mark.start()) + 1)


def own_side(raw: bytes) -> bytes:
    """Return the document with only the first side of each conflict. Other documents are returned unchanged."""
    if not _MARKS.search(raw):
        return raw
    kept = []
    is_own = True
    for line in raw.splitlines(keepends=True):
        if _MARKS.match(line):
            is_own = line[:1] in b"<>"
        elif is_own:
            kept.append(line)
    return b"".join(kept)

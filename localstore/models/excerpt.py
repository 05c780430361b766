"""Short forms of values, for reprs of one line."""

from collections.abc import Mapping
from typing import Any

_JOINER = "\u200d"
_LONGEST = 60
"""How many characters of a value are shown."""


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line and in quotes.

    >>> excerpt("What shall I\\nsee in Vienna?")
    "'What shall I see in Vienna?'"
    """
    return repr(_shortened(" ".join(text[: 4 * _LONGEST].split())))


def one_line(text: str, longest: int = 80) -> str:
    """Return the beginning of a text on one line, with `…` at the end if it was cut off.

    >>> one_line("What shall I\\nsee in Vienna?", 12)
    'What shall…'
    """
    line = " ".join(text[: 20 * longest].split())
    return line if len(line) <= longest else f"{line[: whole_end(line, longest - 1)].rstrip()}…"


def whole_end(text: str, end: int) -> int:
    """Return `end`, or a place before it where no character is cut in half that is written with several code points.

    >>> whole_end("e\\u0301", 1), whole_end("a\\U0001f469\\u200d\\U0001f467", 3)
    (0, 1)
    """
    while 0 < end < len(text) and _continues(text, end):
        end -= 1
    return end


def _continues(text: str, at: int) -> bool:
    """Return whether the code point at a place belongs to the character of the one before it."""
    point, before = text[at], text[at - 1]
    if point.isascii():
        return False
    if _is_flag_part(point) and _is_flag_part(before):
        start = at
        while start and _is_flag_part(text[start - 1]):
            start -= 1
        return (at - start) % 2 == 1
    return before == _JOINER or point == _JOINER or "\U0001f3fb" <= point <= "\U0001f3ff" or _is_mark(point)


def _is_flag_part(point: str) -> bool:
    return "\U0001f1e6" <= point <= "\U0001f1ff"


def _is_mark(point: str) -> bool:
    from unicodedata import category

    return category(point).startswith("M")


def short_repr(value: Any) -> str:
    """Return the repr of a value on one line, shortened."""
    return _shortened(" ".join(repr(value).split()))


def given_repr(name: str, fields: Mapping[str, Any]) -> str:
    """Return the repr of an object with the fields that are not None, on one line.

    >>> given_repr("Filter", {"user": "alice", "kind": None})
    "Filter(user='alice')"
    """
    given = [f"{field}={short_repr(value)}" for field, value in fields.items() if value is not None]
    return f"{name}({', '.join(given)})"


def bare(word: str) -> str:
    """Return a word without quotes, or in quotes if it holds characters that cannot be printed."""
    return word if word.isprintable() else repr(word)


def session_repr(name: str, session_id: str, runs: int, user_id: str | None) -> str:
    """Return the repr of a session.

    >>> session_repr("Session", "trip", 12, "alice")
    "Session('trip', 12 runs, alice)"
    """
    parts = [repr(session_id), "1 run" if runs == 1 else f"{runs:,} runs"]
    return f"{name}({', '.join(parts if user_id is None else [*parts, bare(user_id)])})"


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."

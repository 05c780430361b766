"""Short forms of values, for reprs of one line."""

from typing import Any

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
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def short_repr(value: Any) -> str:
    """Return the repr of a value on one line, shortened."""
    return _shortened(" ".join(repr(value).split()))


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

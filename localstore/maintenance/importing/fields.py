"""Take fields of the expected type from the mappings of other programs, and times in the form of a document."""

from datetime import UTC, datetime
from typing import Any

from localstore.format.values import MAX_INTEGER
from localstore.models.times import is_time_text, parse_time, time_text

NO_TIME = "1970-01-01T00:00:00.000Z"
"""The time of a session or a run if the source does not know it."""


def text(value: Any) -> str | None:
    """Return `value` if it is text that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def mapping(value: Any) -> dict[str, Any]:
    """Return `value` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return `value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def count(value: Any) -> int | None:
    """Return `value` if it is a whole number from 0 on that a document can hold, else None.

    >>> count(3), count(True), count("3"), count(3.0)
    (3, None, None, 3)
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_INTEGER else None


def time(value: Any) -> str | None:
    """Return a time in the form of a document: from ISO 8601 text, or seconds or milliseconds since 1970.

    >>> time("2026-11-22T08:01:20+01:00"), time(1795334480.5), time("soon")
    ('2026-11-22T07:01:20.000Z', '2026-11-22T08:01:20.500Z', None)
    """
    try:
        if isinstance(value, str):
            if is_time_text(value):
                return value
            moment = parse_time(value)
            return time_text(moment) if moment is not None else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return time_text(datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC))
    except (ValueError, OverflowError, OSError):
        pass
    return None

"""Copy plain values, check their types, and convert times."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from localstore.format.values import is_exact
from localstore.format.versions.step import CannotUpgrade, Place
from localstore.models.times import time_text

MAX_DEPTH = 200
"""The maximum number of nested levels in a document."""
_SLACK = 20
"""Input may nest this many levels deeper, because a conversion can move a value to a higher level."""
_INTEGERS = range(-(2**63), 2**64)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def copied(value: Any, where: Place = (), depth: int = MAX_DEPTH + _SLACK) -> Any:
    """Return a deep copy of a value.

    Raises CannotUpgrade if a document cannot hold the value, or if it has more than `depth` nested levels. `where` is
    the path to the value, for the error.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _sound_text(value, where)
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise CannotUpgrade("expected a whole number of at most 64 bits", where)
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CannotUpgrade("expected a finite number", where)
        return value
    if not isinstance(value, (dict, list)):
        raise CannotUpgrade(f"expected text, a number, a list or a mapping, not {type(value).__name__}", where)
    if depth <= 0:
        raise CannotUpgrade(f"expected at most {MAX_DEPTH} levels of nesting", where[:8])
    if isinstance(value, list):
        return [copied(item, (*where, index), depth - 1) for index, item in enumerate(value)]
    for key in value:
        if not isinstance(key, str):
            raise CannotUpgrade("expected keys that are text", where)
    return {_sound_text(key, where): copied(item, (*where, key), depth - 1) for key, item in value.items()}


def _sound_text(value: str, where: Place) -> str:
    """Return `value` unchanged. Raises CannotUpgrade if it contains lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CannotUpgrade("expected text without lone surrogates", where) from None
    return value


def object_in(text: str, depth: int) -> dict[str, Any] | None:
    """Parse `text` as a JSON object of at most `depth` nested levels.

    Return None if it is anything else, repeats a key, or contains a value that a document cannot hold unchanged, such
    as a decimal that would be rounded.
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats, parse_float=_exact_float)
        return cast(dict[str, Any], copied(value, (), depth)) if isinstance(value, dict) else None
    except (ValueError, RecursionError):  # CannotUpgrade is a ValueError
        return None


def _exact_float(text: str) -> float:
    number = float(text)
    if not is_exact(text, number):
        raise ValueError("a decimal would be rounded")
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is repeated")
    return value


def identity(value: Any) -> str:
    """Return a text by which to compare values. Unlike `==`, it distinguishes 1, 1.0 and True."""
    return json.dumps(value, sort_keys=True)


def is_empty(value: Any) -> bool:
    """Return whether agno treats the value as absent: None, an empty list or an empty mapping."""
    return value is None or (not value and isinstance(value, (list, dict)))


def mapping(value: Any, where: Place, what: str = "a mapping") -> dict[str, Any]:
    """Return `value` unchanged, or {} if it is None.

    Raises CannotUpgrade, which says that `what` was expected at `where`, if it is not a mapping.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CannotUpgrade(f"expected {what}", where)
    return value


def items(value: Any, where: Place, what: str) -> list[Any]:
    """Return `value` unchanged, or [] if it is None.

    Raises CannotUpgrade, which says that `what` was expected at `where`, if it is not a list.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise CannotUpgrade(f"expected {what}", where)
    return value


def text(value: Any, where: Place) -> str | None:
    """Return `value` unchanged. Raises CannotUpgrade if it is neither text nor None."""
    if value is not None and not isinstance(value, str):
        raise CannotUpgrade("expected text", where)
    return value


def is_number(value: Any) -> bool:
    """Return whether the value is an int or a float, and not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def to_time(seconds: Any, where: Place) -> str | None:
    """Return seconds since 1970 as a time in the format, rounded to milliseconds. Return None for None.

    Raises CannotUpgrade if `seconds` is not a number or is out of range.
    """
    if seconds is None:
        return None
    try:
        if not is_number(seconds):
            raise TypeError
        return time_text(_EPOCH + round(seconds * 1000) * _MILLISECOND)
    except (TypeError, OverflowError):
        raise CannotUpgrade("expected a time in seconds since 1970", where) from None


def seconds_of(time: Any) -> int | float | None:
    """Return a time of the format as seconds since 1970, to the millisecond: an int if they are whole, else a float.

    Return None if `time` is not a valid time with an offset.
    """
    try:
        milliseconds: int = (datetime.fromisoformat(time) - _EPOCH) // _MILLISECOND
    except (TypeError, ValueError, OverflowError):
        return None
    return milliseconds / 1000 if milliseconds % 1000 else milliseconds // 1000

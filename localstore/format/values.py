"""Converts Python values to JSON values, which both formats can store, or reports why that is impossible."""

import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import orjson

from localstore.errors import UnstorableValue

MAX_DEPTH = 200
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
"""The integers that every reader keeps exactly (what orjson reads and writes)."""

_LONGEST_PLACE = 120
_LONGEST_NUMBER = 60
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class _Unstorable(Exception):
    """Raised while a value is converted. Each level that it passes adds its key or index to the end of `where`."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.where: list[str | int] = []


def to_json_value(value: Any, what: str = "") -> Any:
    """Return `value` as a tree of dict, list, str, int, float, bool and None, which JSON and YAML parsers read back.

    >>> to_json_value({"when": date(2026, 11, 22), "tags": {"b", "a"}})
    {'when': '2026-11-22', 'tags': ['a', 'b']}

    datetime and date become ISO 8601 text, UUID, Decimal and Path text, Enum its value, set a sorted list, tuple a
    list, dataclass and pydantic models a mapping of their fields. `value` is not changed, and the result shares nothing
    mutable with it.
    Raises UnstorableValue for NaN, infinities, lone surrogates, integers beyond 64 bits, keys that are not text,
    depth over 200 and unknown objects; the error names the position of the value, starting with `what`.
    """
    try:
        return _plain(value, MAX_DEPTH)
    except _Unstorable as error:
        where = _path(what, reversed(error.where))
        if len(where) > _LONGEST_PLACE:
            where = f"{where[:_LONGEST_PLACE]}…"
        raise UnstorableValue(f"{where or 'The value'} {error.problem}", where=where) from None
    except UnstorableValue:
        raise
    except Exception as error:  # code of the caller, in one of the objects, failed
        raise UnstorableValue(
            f"{what or 'The value'} holds something that raises {type(error).__name__} when it is read. "
            "Convert it to text, numbers, lists or dicts.",
            where=what,
        ) from error


def json_equal(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal in value and type. The order of keys does not matter.

    >>> json_equal(1, 1.0), json_equal({"a": 1, "b": 2}, {"b": 2, "a": 1})
    (False, True)
    """
    if one != other:
        return False
    try:
        return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested too deeply to compare the types
        return True


def is_exact(text: str, number: float) -> bool:
    """Return whether a decimal, as a parser reads it from `text`, is written again as the same number.

    `number` is the float that the parser made of it. Digits beyond those of a 64-bit number are rounded away.

    >>> is_exact("1.10", 1.10), is_exact("3.14159265358979323846", 3.14159265358979323846)
    (True, False)
    """
    written = repr(number)
    if written == text:
        return True
    try:
        return Decimal(text) == Decimal(written)
    except InvalidOperation:  # an exponent of many digits
        return False


def rounding_problem(text: str, number: float) -> str:
    """Return the description of a decimal for which `is_exact` is false, for an error."""
    shown = text if len(text) <= _LONGEST_NUMBER else f"{text[:_LONGEST_NUMBER]}..."
    return (
        f"{shown} has more digits than a number of 64 bits can hold, and would be rounded to {number!r}; "
        "put it in quotes to keep all of them"
    )


def _path(what: str, steps: Any) -> str:
    where = what
    for step in steps:
        if isinstance(step, str) and _NAME.match(step):
            where += f".{step}" if where else step
        else:
            where += f"[{step!r}]"
    return where


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
        return value
    if kind is dict:
        return _mapping(value, depth)
    if kind is list or kind is tuple:
        return _sequence(value, depth)
    if value is None or kind is bool:
        return value
    if kind is int:
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise _Unstorable("is an integer beyond 64 bits. Store it as text.")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise _Unstorable(f"is {value}, which has no form in JSON. Store None or text.")
        return value
    return _convert(value, depth)


def _check_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Unstorable("holds a lone surrogate, which is not valid Unicode. Remove or replace it.") from None


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    if depth <= 0:
        raise _Unstorable(f"is nested more than {MAX_DEPTH} levels deep. Flatten it or remove the cycle.")
    result = {}
    for key, item in value.items():
        if type(key) is not str:
            if not isinstance(key, str) or isinstance(key, Enum):
                raise _Unstorable(f"has the key {key!r}, which is not text. Use str(key).")
            key = str.__str__(key)
        try:
            if not key.isascii():
                _check_text(key)
            # Most values are ASCII text. Handling them here, without a call, halves the time.
            result[key] = item if type(item) is str and item.isascii() else _plain(item, depth - 1)
        except _Unstorable as error:
            error.where.append(key)
            raise
    return result


def _sequence(value: Any, depth: int) -> list[Any]:
    if depth <= 0:
        raise _Unstorable(f"is nested more than {MAX_DEPTH} levels deep. Flatten it or remove the cycle.")
    result = []
    for item in value:
        try:
            result.append(_plain(item, depth - 1))
        except _Unstorable as error:
            error.where.append(len(result))
            raise
    return result


def _convert(value: Any, depth: int) -> Any:
    """Convert a value that is not a JSON value. Records of localstore come first, as they are the most frequent."""
    document = getattr(type(value), "__document__", None)
    if document is not None:
        return _mapping(document(value), depth)
    if isinstance(value, Enum):
        return _plain(value.value, depth)
    for kind in (bool, str, int, float):
        if isinstance(value, kind):
            return _plain(str.__str__(value) if kind is str else kind(value), depth)
    if isinstance(value, date):  # datetime is a date as well
        return value.isoformat()
    if isinstance(value, (UUID, Decimal, PurePath)):
        return _plain(str(value), depth)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, (list, tuple)):
        return _sequence(value, depth)
    if isinstance(value, (set, frozenset)):
        return sorted(_sequence(value, depth), key=sort_key)
    if is_dataclass(value) and not isinstance(value, type):
        return _mapping({field.name: getattr(value, field.name) for field in fields(value)}, depth)
    if hasattr(type(value), "__pydantic_fields__"):
        return _mapping(dict(value), depth)
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    raise _Unstorable(f"is a {name}, which has no form in a document. Convert it to text, numbers, lists or dicts.")


def sort_key(item: Any) -> tuple[str, Any]:
    """Return the key by which the items of a set are sorted, after they were converted to JSON values."""
    if isinstance(item, (bool, int, float)):
        return "", item
    return type(item).__name__, item if isinstance(item, str) else repr(item)

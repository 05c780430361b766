"""Serialised values of LangGraph as JSON that a person can read, and back to the same bytes.

LangGraph's serialiser returns the name of an encoding and bytes, mostly MessagePack. A value is stored as
`{"json": ...}` if that leads back to exactly these bytes, and otherwise as `{"type": ..., "base64": ...}`, for example
if it is encrypted. A list that continues an earlier one is stored as what was added, see `added_to`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from math import isfinite
from typing import Any, NamedTuple

import ormsgpack

Typed = tuple[str, bytes]
"""The name of an encoding, and bytes."""
Stored = dict[str, Any]

_MSGPACK = "msgpack"
_DEEPEST = 60
_NULL: Typed = ("null", b"")


class _Unreadable(Exception):
    """Raised for a value that has no form in JSON."""


class _Extension(NamedTuple):
    tag: int
    data: bytes


def stored(typed: Typed) -> Stored:
    """Return the form in which a serialised value is stored."""
    encoding, data = typed
    try:
        found: Stored = {"json": None if typed == _NULL else _readable(_unpacked(data), 0)}
        if serialised(found) == typed:
            return found
    except (_Unreadable, ValueError, TypeError):
        pass
    return {"type": encoding, "base64": b64encode(data).decode()}


def serialised(value: Stored) -> Typed:
    """Return the serialised value that `stored` was given."""
    if "base64" in value:
        return value["type"], b64decode(value["base64"])
    return _NULL if value["json"] is None else (_MSGPACK, ormsgpack.packb(_packable(value["json"])))


def added_to(base: Typed, new: Typed) -> tuple[int, Stored] | None:
    """Return how many items a list had, and in stored form a list of those added to it; None if that is not the change.

    Only bytes are compared, so an item that changed in any way is noticed.
    """
    before, after = _array(base), _array(new)
    if before is None or after is None or not 0 < before.length <= after.length:
        return None
    old = base[1][before.start :]
    if not new[1].startswith(old, after.start):
        return None
    return before.length, stored((_MSGPACK, _head(after.length - before.length) + new[1][after.start + len(old) :]))


def joined(base: Typed, added: list[Stored]) -> Typed:
    """Return the list that a list became by what was added to it, the oldest first."""
    parts = [base, *map(serialised, added)]
    arrays = [_array(part) or _Array(0, 0) for part in parts]
    pieces = [part[1][array.start :] for part, array in zip(parts, arrays, strict=True)]
    return _MSGPACK, b"".join([_head(sum(array.length for array in arrays)), *pieces])


class _Array(NamedTuple):
    length: int
    start: int


def _array(typed: Typed) -> _Array | None:
    """Return the length of a list in MessagePack, and where its items begin; None for anything else."""
    encoding, data = typed
    if encoding != _MSGPACK or not data:
        return None
    match data[0]:
        case first if 0x90 <= first <= 0x9F:
            return _Array(first & 0x0F, 1)
        case 0xDC:
            return _Array(int.from_bytes(data[1:3]), 3)
        case 0xDD:
            return _Array(int.from_bytes(data[1:5]), 5)
    return None


def _head(length: int) -> bytes:
    """Return what a list of this length begins with in MessagePack."""
    if length < 16:
        return bytes([0x90 | length])
    return b"\xdc" + length.to_bytes(2) if length < 1 << 16 else b"\xdd" + length.to_bytes(4)


def _unpacked(data: bytes) -> Any:
    return ormsgpack.unpackb(data, ext_hook=_Extension, option=ormsgpack.OPT_NON_STR_KEYS)


def _readable(value: Any, depth: int) -> Any:
    """Return an unpacked value as a JSON value. Raises _Unreadable."""
    if value is None or isinstance(value, str | int):
        return value
    if depth > _DEEPEST or (isinstance(value, float) and not isfinite(value)):
        raise _Unreadable
    if isinstance(value, float):
        return value
    if isinstance(value, _Extension):  # before tuple, which it is
        return {"$ext": value.tag, "value": _readable(_unpacked(value.data), depth + 1)}
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise _Unreadable
        return {key: _readable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item, depth + 1) for item in value]
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    raise _Unreadable


def _packable(value: Any) -> Any:
    """Return what `_readable` was given, in a form that can be packed."""
    if isinstance(value, list):
        return [_packable(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ext" in value:
        return ormsgpack.Ext(value["$ext"], ormsgpack.packb(_packable(value["value"])))
    if "$bytes" in value:
        return b64decode(value["$bytes"])
    return {key: _packable(item) for key, item in value.items()}

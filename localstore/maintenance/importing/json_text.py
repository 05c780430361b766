"""Read the JSON of other programs, also where it is not quite valid, and make its values fit into a document."""

import json
import math
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from localstore.format.values import MAX_INTEGER, MIN_INTEGER, is_exact
from localstore.maintenance.importing.source import Skipped, open_file

_DIGITS = bytes(ord("0") if chr(byte) in "0123456789." else 32 for byte in range(256))
"""Translates digits and dots to zeros, and other bytes to blanks."""
_LONG_NUMBER = b"0" * 17
"""If a translated text does not contain it, it has no number that a parser could round."""
_NUMBER = re.compile(rb"[0-9][0-9.eE+-]{16,}")
"""Finds the numbers that a parser could round."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEPTH = 150
"""How deep a value may be nested. A document allows more, but it puts the value inside other values."""


class Unreadable(ValueError):
    """Raised for text that is not JSON. The message is a clause that says why."""


def parse(text: bytes | str, depth: int = _DEPTH) -> Any:
    """Return the value of a JSON text, in a form that a document can hold.

    >>> parse('{"id": 123456789012345678901234567890}')
    {'id': '123456789012345678901234567890'}

    A number that would be rounded becomes text. See `storable` for other values, and for `depth`. Raises Unreadable.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if not _may_round(raw):
        try:
            value = orjson.loads(raw)
            if raw.count(b"[") + raw.count(b"{") < depth or not _is_deeper(value, depth):
                return value
        except orjson.JSONDecodeError:
            pass  # a lone surrogate, a control character or NaN, perhaps
    try:
        value = json.loads(raw.decode("utf-8", "surrogatepass"), strict=False, parse_int=_integer, parse_float=_decimal)
        return storable(value, depth)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None
    except ValueError as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise Unreadable(f"it is not JSON ({why[:1].lower()}{why[1:]})") from None


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether a value is nested more than `depth` levels deep."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if depth == 0:
        return isinstance(value, (dict, list))
    return any(_is_deeper(child, depth - 1) for child in children if type(child) is dict or type(child) is list)


def _may_round(raw: bytes) -> bool:
    """Return whether a text has a number that a parser would round. Digits inside a string may count as one."""
    if _LONG_NUMBER not in raw.translate(_DIGITS):
        return False
    return any(isinstance(_number(match[0].decode()), str) for match in _NUMBER.finditer(raw))


def _number(digits: str) -> int | float | str | None:
    """Return a number, its digits if it would be rounded, or None if it is not one."""
    try:
        return _integer(digits) if digits.isdecimal() else _decimal(digits)
    except ValueError:
        return None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < 21 and MIN_INTEGER <= int(digits) <= MAX_INTEGER else digits


def _decimal(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) and is_exact(digits, value) else digits


def storable(value: Any, depth: int = _DEPTH) -> Any:
    """Return a value of the JSON kinds in a form that a document can hold. Nothing is lost.

    Integers beyond 64 bits, NaN and infinities become text. A lone surrogate becomes its escape, such as `\\ud83d`.
    What is nested more than `depth` levels deep becomes its JSON text.
    """
    return _storable(value, depth)


def _storable(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", value)
    if isinstance(value, (dict, list)) and depth == 0:
        return json.dumps(value)
    if isinstance(value, dict):
        return {_storable(str(key), 1): _storable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item, depth - 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not MIN_INTEGER <= value <= MAX_INTEGER:
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    """Yield the JSON object of each line of a file, with the number of the line. Blank lines are left out.

    Raises OSError if the file cannot be read.
    """
    with open_file(path) as file:
        for number, line in enumerate(file, 1):
            stripped = line.strip(b" \t\r\n\0\xef\xbb\xbf")
            if not stripped:
                continue
            try:
                value = parse(stripped)
            except Unreadable as error:
                yield Skipped(str(path), str(error), number)
                continue
            if isinstance(value, dict):
                yield number, value
            else:
                yield Skipped(str(path), "it is not a JSON object", number)


_TOKEN = re.compile(rb'(?:[^][{}"]++|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))*+([][{}]|\Z)', re.DOTALL)
"""Finds the next bracket outside of strings, or the end. A string that does not end goes to the end."""


def elements(path: Path, depth: int = _DEPTH) -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    """Yield the objects in a file that is a JSON array, or has one or several objects, with their numbers from 1 on.

    One object at a time is in memory. `depth` is that of `storable`. Raises OSError if the file cannot be read.
    """
    with open_file(path) as file:
        if not file.read(1):
            yield Skipped(str(path), "it is empty")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield from _elements(path, content, depth)


def _elements(path: Path, content: mmap.mmap, most: int) -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    depth = number = start = 0
    level: int | None = None
    """The depth at which the objects lie."""
    end = 0
    for match in _TOKEN.finditer(content):
        token = match[1]
        if not token:
            break
        if level is None:
            level = 1 if token == b"[" else 0
            end = match.end() if level else 0
        if token in b"[{":
            if depth == level:
                start = match.start(1)
                number += 1
                if content[end:start].strip(b", \t\r\n\xef\xbb\xbf"):
                    yield Skipped(str(path), "there is something else before it", number)
            depth += 1
        elif token in b"]}":
            depth -= 1
            if depth < level:
                break
            if depth == level:
                end = match.end()
                try:
                    value = parse(content[start:end], most)
                except Unreadable as error:
                    yield Skipped(str(path), str(error), number)
                    continue
                if isinstance(value, dict):
                    yield number, value
                else:
                    yield Skipped(str(path), "it is not a JSON object", number)
    if level is None:
        yield Skipped(str(path), "it is not JSON")
    elif depth > 0:
        yield Skipped(
            str(path), "the file ends in the middle of it" if depth > level else "the file is cut off", number
        )

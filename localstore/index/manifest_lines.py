"""The lines of the manifest as bytes: what each of them says, and the first one, which names a generation."""

import os
import re
from typing import cast

import orjson

from localstore.index.row import IndexRow, is_row

_LINE = re.compile(rb'^((?:\{"session_id":"([^"\n]*)"(?:.*"user_id":("[^"\n]*"))?)?.*)$', re.MULTILINE)
"""A line, and the session and the user whom it names when it is one of ours, with nothing escaped in it."""

_USER = b'"user_id"'
ANYTHING = b"?"
"""The user whom a line names when that takes a closer look."""
DELETED = cast(IndexRow, {})
"""What a line says that is about a deletion."""


def last_usable(session_id: str, lines: bytes | list[bytes]) -> IndexRow | None:
    """What the last line says that can be used: a row, or DELETED; None when there is no such line."""
    for line in (lines,) if isinstance(lines, bytes) else reversed(lines):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if not isinstance(value, dict) or value.get("session_id") != session_id:
            continue
        if value.get("deleted") is True:
            return DELETED
        if is_row(value):
            return cast(IndexRow, value)
    return None


def lines_in(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """The lines, and what each of them says of its session and its user, whose id has quotation marks; nothing where a
    closer look has to tell, or nothing is said. Whether a line can be used is seen later."""
    lines: list[tuple[bytes, bytes, bytes]] = _LINE.findall(data)
    named = sum(1 for _, _, user in lines if user)
    if data.count(_USER) == named and b"\\" not in data:
        return lines
    if len(lines) == 1:
        return [(data, b"", ANYTHING)]
    return [found for line, _, _ in lines for found in lines_in(line)]


def id_in(line: bytes) -> str | None:
    """The id of the session that a line is about, whoever wrote it in which way."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    session_id = value.get("session_id") if isinstance(value, dict) else None
    return session_id if isinstance(session_id, str) else None


def generation_line(before: bytes = b"", lines: int = 0) -> bytes:
    """The first line; of a file that is made from the one whose first line is `before`, it says so: whoever has read
    that one to its end knows already what so many `lines` of this one say."""
    first = {"localstore": "manifest", "format": 1, "generation": os.urandom(8).hex()}
    name = _name_in(before)
    if name is not None:
        first |= {"follows": name, "lines": lines}
    return orjson.dumps(first) + b"\n"


def _name_in(first_line: bytes) -> str | None:
    """The name of the generation that a first line begins; None when it is not one of ours."""
    try:
        name = orjson.loads(first_line)["generation"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and len(name) <= 64 else None


def lines_known_from(first_line: bytes, before: bytes) -> int:
    """How many lines of a file those know who have read the one whose first line is `before`."""
    name = _name_in(before)
    if name is None or _name_in(first_line) is None:
        return 0
    first = orjson.loads(first_line)
    lines = first.get("lines")
    return lines if first.get("follows") == name and type(lines) is int and lines > 0 else 0

"""The lines of the manifest as bytes: rows, deletions, and the first line, which names the file's generation."""

import os
import re
from typing import cast

import orjson

from localstore.index.row import IndexRow, is_row

_LINE = re.compile(rb'^((?:\{"session_id":"([^"\n]*)"(?:.*"user_id":("[^"\n]*"))?)?.*)$', re.MULTILINE)
"""A line, its session id and its user id. The ids are found only in the form that localstore writes, unescaped."""

_USER = b'"user_id"'
UNKNOWN_USER = b"?"
"""The user of a line that must be parsed to find its user."""
DELETED = cast(IndexRow, {})
"""The row of a line that removes its session."""


def last_usable(session_id: str, lines: bytes | list[bytes]) -> IndexRow | None:
    """Return the row of the last usable line, DELETED if that line removes the session, or None if there is none."""
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


def split_lines(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Split bytes into lines, each with its session id and its user id, the latter with its quotation marks.

    An id is empty if the line has none, or if the line must be parsed to find it. Lines are not checked: they may be
    unusable.
    """
    lines: list[tuple[bytes, bytes, bytes]] = _LINE.findall(data)
    matched = sum(1 for _, _, user in lines if user)
    if data.count(_USER) == matched and b"\\" not in data:
        return lines
    if len(lines) == 1:
        return [(data, b"", UNKNOWN_USER)]
    return [found for line, _, _ in lines for found in split_lines(line)]


def session_id_in(line: bytes) -> str | None:
    """Return the session id in a line, or None if the line is not valid JSON or has no session id."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    session_id = value.get("session_id") if isinstance(value, dict) else None
    return session_id if isinstance(session_id, str) else None


def generation_line(before: bytes = b"", lines: int = 0) -> bytes:
    """Return the first line of a new manifest.

    If the new manifest replaces one whose first line is `before`, the new first line names that generation. A process
    that has read the old manifest to its end can then skip the first `lines` lines of the new one.
    """
    first = {"localstore": "manifest", "format": 1, "generation": os.urandom(8).hex()}
    name = _generation_in(before)
    if name is not None:
        first |= {"follows": name, "lines": lines}
    return orjson.dumps(first) + b"\n"


def _generation_in(first_line: bytes) -> str | None:
    """Return the name of the generation in a first line, or None if it has none."""
    try:
        name = orjson.loads(first_line)["generation"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and len(name) <= 64 else None


def lines_known_from(first_line: bytes, before: bytes) -> int:
    """Return how many lines of a manifest can be skipped after reading the one whose first line is `before`."""
    name = _generation_in(before)
    if name is None or _generation_in(first_line) is None:
        return 0
    first = orjson.loads(first_line)
    lines = first.get("lines")
    return lines if first.get("follows") == name and type(lines) is int and lines > 0 else 0

"""The lines of the manifest as bytes: rows, deletions, notes about folders, and the first line, which is random."""

import os
import re
from typing import NamedTuple, cast
from zlib import crc32

import orjson

from localstore.index.row import IndexRow, is_row

_LINE = re.compile(rb'^((?:\{"session_id":"([^"\n]*)")?.*)$', re.MULTILINE)
"""A line and its session id. The id is found only in the form that localstore writes, and may have escapes."""
_PATH = re.compile(rb'\{"session_id":"[^"\\]*","path":"([^"\\]*)",')
"""The beginning of a line as localstore writes it, with its path, if neither this nor the session id has escapes."""
DELETED = cast(IndexRow, {})
"""The row of a line that removes its session."""
_FOLDER_NOTE = b'{"folder":'


class FolderNote(NamedTuple):
    """A writer's statement that it alone changed the names in a folder between two modification times of the folder."""

    folder: str
    before: int
    """The time of the folder before the change, in ns."""
    after: int

    def line(self, previous: bytes) -> bytes:
        """Return the note as a line of the manifest, without its end. `previous` is the line that says what changed."""
        values = {"folder": self.folder, "before": self.before, "after": self.after, "checksum": crc32(previous)}
        return orjson.dumps(values)


def folder_note(line: bytes, previous: bytes | None) -> FolderNote | None:
    """Return the note in a line, or None if it has none.

    A note holds only behind the line that was written with it: a power cut may lose the one and leave the other.
    """
    if previous is None or not line.startswith(_FOLDER_NOTE):
        return None
    try:
        value = orjson.loads(line)
        note = FolderNote(value["folder"], value["before"], value["after"])
        if value["checksum"] != crc32(previous):
            return None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return note if type(note.folder) is str and type(note.before) is int and type(note.after) is int else None


def last_usable(session_id: str, lines: bytes | list[bytes]) -> IndexRow | None:
    """Return the row of the last usable line, DELETED if that line removes the session, or None if there is none."""
    found = last_usable_line(session_id, lines)
    return None if found is None else found[0]


def last_usable_line(session_id: str, lines: bytes | list[bytes]) -> tuple[IndexRow, bytes] | None:
    """Return the row that `last_usable` returns, with its line; None if no line is usable."""
    for line in (lines,) if isinstance(lines, bytes) else reversed(lines):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if not isinstance(value, dict) or value.get("session_id") != session_id:
            continue
        if value.get("deleted") is True:
            return DELETED, line
        if is_row(value):
            return cast(IndexRow, value), line
    return None


def path_in(lines: bytes | list[bytes]) -> str | None:
    """Return the path in the lines of a session, or None if they have several, or if they must be parsed to find it."""
    matches = map(_PATH.match, (lines,) if isinstance(lines, bytes) else lines)
    found = {None if match is None else match[1] for match in matches}
    path = found.pop() if len(found) == 1 else None
    try:
        return None if path is None else path.decode()
    except UnicodeDecodeError:
        return None


def split_lines(data: bytes) -> list[tuple[bytes, str | None]]:
    """Split bytes into lines, each with its session id, or None if it has none.

    Lines are not checked: they may be unusable.
    """
    return [
        (line, id_bytes.decode(errors="replace") if id_bytes and b"\\" not in id_bytes else _session_id_in(line))
        for line, id_bytes in _LINE.findall(data)
    ]


def _session_id_in(line: bytes) -> str | None:
    """Return the session id in a line, or None if the line is not valid JSON or has no session id."""
    if b'"session_id"' not in line:
        return None
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    session_id = value.get("session_id") if isinstance(value, dict) else None
    return session_id if isinstance(session_id, str) else None


_FORMER_KEYS = {
    "foreign": "other_layout",
    "waiting": "unfinished_offsets",
    "era": "boot_hash",
    "unsettled": "coarse_mtime",
}


def from_format_1(data: bytes) -> list[bytes]:
    """Return the lines of a manifest of an earlier release as lines of this one, without their ends and the first.

    Lines that cannot be used are left out.
    """
    lines = []
    for line in data.splitlines():
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict) and "session_id" in value:
            lines.append(orjson.dumps({_FORMER_KEYS.get(key, key): item for key, item in value.items()}))
    return lines


def generation_line() -> bytes:
    """Return the first line of a new manifest."""
    return orjson.dumps({"localstore": "manifest", "format": 2, "generation": os.urandom(8).hex()}) + b"\n"

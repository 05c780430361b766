"""The mark of a write in progress: all that is needed to undo or complete a write whose process was killed.

A writer replaces the last bytes of a document by longer ones: first it writes what lies beyond the old end, then the
bytes that overlap the old end. This module works on bytes alone; `disk/write_marks.py` stores the marks.
"""

from typing import NamedTuple

import orjson

_SAMPLE = 160
"""How many new bytes beyond the old end are noted. They usually contain the run id, so no other text has them."""


class WriteMark(NamedTuple):
    """One write to the end of a document."""

    session_id: str
    size: int
    """The size of the document before the write, in bytes."""
    new_size: int
    """The size after the write."""
    old: bytes
    """The last bytes before the write, all of which the write replaces."""
    new: bytes
    """The first of the new bytes: those that replace `old`, and some more."""
    boot: str
    """The hash of the boot in which the write was made."""

    def line(self) -> bytes:
        """Return the mark as one line of JSON."""
        values = {**self._asdict(), "old": self.old.decode("latin-1"), "new": self.new.decode("latin-1")}
        return orjson.dumps(values) + b"\n"


def mark_of(session_id: str, size: int, old: bytes, new: bytes, boot: str) -> WriteMark:
    """Return the mark of a write that replaces `old`, the last bytes of a document of `size` bytes, with `new`."""
    return WriteMark(session_id, size, size + len(new) - len(old), old, new[: len(old) + _SAMPLE], boot)


def parse_mark(line: bytes) -> WriteMark | None:
    """Return the mark in a line without its newline, or None if it has none."""
    try:
        values = orjson.loads(line)
        texts = {key: values[key].encode("latin-1") for key in ("old", "new")}
        mark = WriteMark(**{**values, **texts})
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    is_valid = (
        type(mark.session_id) is str
        and type(mark.boot) is str
        and type(mark.size) is int
        and type(mark.new_size) is int
        and len(mark.old) <= min(mark.size, len(mark.new))
    )
    return mark if is_valid else None


class RepairedBytes(NamedTuple):
    """The bytes of a document after an interrupted write was undone or completed."""

    raw: bytes
    rest: bytes
    """The bytes at the end of the document that an undone write had added; empty if the write was completed."""


def repaired(raw: bytes, mark: WriteMark) -> RepairedBytes | None:
    """Return the bytes of a document with the marked write undone, or completed if all bytes beyond the old end exist.

    `raw` are the bytes of the document as it is. Returns None if they are not what that write leaves when its process
    is killed: the write had not begun, was complete, or somebody changed the document since.
    """
    start = mark.size - len(mark.old)
    overlap, beyond = raw[start : mark.size], raw[mark.size :]
    new, sample = mark.new[: len(mark.old)], mark.new[len(mark.old) :]
    if len(overlap) < len(mark.old) or len(raw) > mark.new_size:
        return None
    if overlap == new or (overlap == mark.old and not beyond):
        return None
    if any(byte not in (0, *pair) for byte, *pair in zip(overlap, mark.old, new, strict=True)):
        return None
    if beyond[: len(sample)] != sample[: len(beyond)]:
        return None
    if len(raw) == mark.new_size:
        return RepairedBytes(raw[:start] + new + beyond, b"")
    return RepairedBytes(raw[:start] + mark.old, beyond)

"""Recognise an append that a power cut interrupted: it leaves the old end of the document, new bytes, or a mixture."""

import re

from localstore.format.document import Layout
from localstore.format.in_place import SECTOR
from localstore.format.parse_error import ParseError

_COMMENT_LINES = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\n)*")
APPEND_START = {".json": b',\n    {\n      "', ".yaml": b"- type: "}
"""The first bytes of an append, which replace the end of the document."""
CONTINUED_END = {
    ".json": re.compile(rb"\n  \]\n\}\n(?=\s*\S)"),
    ".yaml": re.compile(rb"(?:^|(?<=\n))\.\.\.\n(?=(?:\s*#[^\n]*\n)*\s*[^\s#])"),
}
"""The end of a document that has more text after it."""


def has_old_end(raw: bytes, layout: Layout, at: int) -> bool:
    """Return whether the end of the document stands at `at`, behind the last entry, with more text after it.

    Nothing after it is durable: a sync after it was replaced would have kept what replaced it.
    """
    end = CONTINUED_END[layout.suffix].search(raw, at)
    return end is not None and end.start() == after_comments(raw, layout, at)


def after_comments(raw: bytes, layout: Layout, at: int) -> int:
    """Return the offset of what follows the comment lines at `at`."""
    comments = _COMMENT_LINES.match(raw, at) if layout.keeps_comments else None
    return at if comments is None else comments.end()


def completed(raw: bytes, layout: Layout, at: int) -> bytes | None:
    """Return the document with the write completed that replaced the end at `at`, if only those bytes are damaged.

    They are a mixture of old, new and zero bytes. Returns None for any other damage.
    """
    at = after_comments(raw, layout, at)
    old, new = layout.end, APPEND_START[layout.suffix][: len(layout.end)]
    overlap, beyond = raw[at : at + len(old)], raw[at + len(old) :]
    if overlap in (old, new) or any(byte not in (0, *pair) for byte, *pair in zip(overlap, old, new, strict=False)):
        return None
    if b"\0" not in overlap and at // SECTOR == (at + len(old) - 1) // SECTOR:
        return None  # no crash mixes the bytes of one sector
    whole = raw[:at] + new + beyond
    return whole if parses_to_end(whole, layout) else None


def looks_like_torn_append(raw: bytes, layout: Layout, at: int) -> bool:
    """Return whether the bytes from `at` on, where the old end was, look like those of an interrupted append.

    An interrupted append leaves old, new and zero bytes where the old end was, followed by the first bytes of an entry.
    A tail whose bytes are all new would parse.
    """
    start = APPEND_START[layout.suffix]
    old, new = layout.end, start[: len(layout.end)]
    if len(raw) < at:
        return False  # bytes that were on the disk stay there
    tail = raw[at:]
    overlap, beyond = tail[: len(old)], tail[len(old) : len(start)]
    mixed = all(byte in (0, *pair) for byte, *pair in zip(overlap, old, new, strict=False))
    begun = all(byte in (0, there) for byte, there in zip(beyond, start[len(old) :], strict=False))
    is_complete = overlap == new and raw.endswith(layout.closing) and b"\0" not in tail
    return mixed and begun and not is_complete


def parses_to_end(raw: bytes, layout: Layout) -> bool:
    """Return whether the document parses to its end, which means that no crash damaged it."""
    if layout.keeps_comments and not raw.endswith(layout.closing):
        return False  # YAML parses wherever it is cut off
    try:
        layout.parse(raw)
    except ParseError:
        return False
    return True

"""Recovers an unfinished run that a torn write damaged: as it was before the write, or as much of it as is left.

This is possible because a run is only extended and finished in the ways that `in_place` allows.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from localstore.format.document import Layout, check_entry, run_id_and_state
from localstore.format.in_place import RUN_LISTS, SECTOR, assistant_text_end
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.parse_error import ParseError
from localstore.format.yaml_layout import LAYOUT as YAML

ENTRY_START = {
    ".json": re.compile(rb"(?:^|(?<=[\n\0]))    \{\n"),
    ".yaml": re.compile(rb"(?:^|(?<=[\n\0]))- "),
}
"""The line that starts an entry. In a damaged document, there may be zeros before it."""
_UNCHANGED = {
    JSON.closing_after_list: b"\n        }",
    JSON.closing_after_value: b',\n      "',
    JSON.closing_after_text: b"",
    YAML.closing_after_list: b"  ",
    YAML.closing_after_text: b"",
}
"""The first bytes of each unfinished closing, which no in-place write changes."""
_VALUE_END = {
    ".json": re.compile(rb'\n        \}|(?P<key>,\n      ")'),
    ".yaml": re.compile(rb"\n(?=    - |(?P<key>  [^ \n])|\0)"),
}
"""Where an item of a run's last list, or the value before a `key`, may end."""
_LONGEST_ESCAPE = 6
"""The largest number of bytes that an escape of one character has."""
_MOST_ATTEMPTS = 10
"""The most times that a part of a run is parsed. A torn write needs few; a limit keeps the time of any input linear."""


class Piece(NamedTuple):
    """An entry found in a damaged document: its start and end offsets there, and its bytes."""

    start: int
    end: int
    data: bytes


def is_valid_entry(layout: Layout, data: bytes) -> bool:
    """Return whether `data` parses as one entry with a valid structure."""
    return _problem(layout, data) is None


def _problem(layout: Layout, data: bytes) -> ParseError | None:
    """Return the error in `data`, which should be one entry, or None if it is a valid one."""
    try:
        check_entry(layout.parse_entry(data), "entry")
    except ParseError as error:
        return error
    return None


def is_partly_overwritten(raw: bytes, layout: Layout, run: Piece) -> bool:
    """Return whether some, but not all, of the sectors that contained the end of `run` still have their old bytes."""
    closing = run.data[run.end - run.start :] + layout.end
    if run.end % SECTOR == 0 and _has_rest_of_closing(raw, run.end, closing):
        return True
    at, end, kept = run.end, run.end + len(closing), set()
    while at < end:
        border = min((at // SECTOR + 1) * SECTOR, end)
        if border > run.end + len(_UNCHANGED[closing]):
            kept.add(raw[at:border] == closing[at - run.end : border - run.end])
        at = border
    return len(kept) == 2


def _has_rest_of_closing(raw: bytes, border: int, closing: bytes) -> bool:
    """Return whether the sector at `border` consists of the last bytes of `closing`, with at most zeros after them."""
    rest = raw[border : border + SECTOR].rstrip(b"\0")
    return rest != b"" and closing.endswith(rest)


def recover_partial_run(
    raw: bytes, layout: Layout, begin: int, contiguous: list[Piece], pieces: list[Piece]
) -> Piece | None:
    """Return the part of a run that exists after the entries in `contiguous`, as an unfinished run.

    The part consists of the complete items, and of all text that exists of an assistant message. Returns None if there
    is no such run. Whether the write appended the run, extended it or finished it cannot be known; an unfinished run
    is correct in all three cases.
    """
    start = contiguous[-1].end + len(layout.separator) if contiguous else begin
    match = ENTRY_START[layout.suffix].match(raw, start)
    if match is None:
        return None
    bound = pieces[len(contiguous)].start if len(contiguous) < len(pieces) else len(raw)
    attempts = 0
    for end, closing in sorted(_possible_ends(raw, layout, match.end(), bound), reverse=True):
        if end > bound:
            continue
        if attempts == _MOST_ATTEMPTS:
            return None
        attempts += 1
        run = _unfinished_run(raw, layout, start, end, closing)
        if isinstance(run, Piece):
            return run
        if run is not None and run.line is not None:
            bound = min(bound, _end_of_line(raw, start, run.line))  # any longer part has the same error
    return None


def _end_of_line(raw: bytes, start: int, line: int) -> int:
    """Return the offset at which a line ends. Lines count from 1, and line 1 begins at the offset `start`."""
    match = re.compile(rb"(?:[^\n]*+\n){%d}" % line).match(raw, start)
    return match.end() if match else len(raw)


def _possible_ends(raw: bytes, layout: Layout, start: int, bound: int) -> Iterator[tuple[int, bytes]]:
    """Yield each offset at which the complete part of a run may end, with the closing to add there."""
    for match in _VALUE_END[layout.suffix].finditer(raw, start, bound):
        end = match.start() + layout.keeps_comments  # in YAML, the newline belongs to the item before it
        if raw[end : end + 1] == b"\0" and (end % SECTOR == 0 or _zeros_exceed_closing(raw, end, layout)):
            continue  # the zeros may replace the rest of the message
        yield end, layout.closing_after_value if match["key"] else layout.closing_after_list
    end = assistant_text_end(layout, raw, start, bound)
    border = end // SECTOR * SECTOR
    if end >= 0 and raw[border:end] and _has_rest_of_closing(raw, border, layout.closing_after_text):
        end = border  # old bytes after new ones
    for cut in range(_LONGEST_ESCAPE if end >= 0 else 0):
        yield end - cut, layout.closing_after_text


def _zeros_exceed_closing(raw: bytes, at: int, layout: Layout) -> bool:
    """Return whether more zeros begin at an offset than a write to the end of a run puts in place of the closing."""
    closing = len(layout.closing_after_list)
    return raw.startswith(bytes(closing + 1), at)


def _unfinished_run(raw: bytes, layout: Layout, start: int, end: int, closing: bytes) -> Piece | ParseError | None:
    """Return the bytes between two offsets, completed with `closing`, as an unfinished run.

    Returns the error if they do not parse as an entry. Returns None if they are not an unfinished run, or if it has
    neither input nor messages, member runs or steps.
    """
    data = (raw[start:end] + closing).removesuffix(layout.end)
    if (problem := _problem(layout, data)) is not None:
        return problem
    if not run_id_and_state(layout, data)[1]:
        return None
    run = layout.parse_entry(data)
    if closing == layout.closing_after_text and not isinstance((run.get("messages") or [{}])[-1].get("content"), str):
        return None
    has_input = closing == layout.closing_after_value and run.get("input") is not None
    return Piece(start, end, data) if has_input or any(run.get(name) for name in RUN_LISTS) else None

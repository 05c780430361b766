"""What a torn write left of a run that was unfinished: as it was before, or as far as it is there.

Nobody finishes a run or lets it grow but as `growth` says, so that its end can be found again.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from localstore.format.document import Layout, check_entry, run_id_and_state
from localstore.format.in_place import RUN_LISTS, SECTOR, assistant_text_end
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.parse_error import ParseError
from localstore.format.yaml_layout import LAYOUT as YAML

LINE_START = {
    ".json": re.compile(rb"(?:^|(?<=[\n\0]))    \{\n"),
    ".yaml": re.compile(rb"(?:^|(?<=[\n\0]))- "),
}
_STAYS = {
    JSON.closing_after_list: b"\n        }",
    JSON.closing_after_value: b',\n      "',
    JSON.closing_after_text: b"",
    YAML.closing_after_list: b"  ",
    YAML.closing_after_text: b"",
}
"""What the end of an unfinished run and what is written in its place have in common: no write changes that."""
_PART_ENDS = {
    ".json": re.compile(rb'\n        \}|(?P<key>,\n      ")'),
    ".yaml": re.compile(rb"\n(?=    - |(?P<key>  [^ \n])|\0)"),
}
"""Where an item of a run's last list may have ended, or the value of a `key`."""
_LONGEST_ESCAPE = 6
"""So many bytes stand for one character at most."""


class Piece(NamedTuple):
    start: int
    end: int
    data: bytes


def is_valid_entry(layout: Layout, data: bytes) -> bool:
    try:
        check_entry(layout.parse_entry(data), "entry")
    except ParseError:
        return False
    return True


def recover_overwritten_run(raw: bytes, layout: Layout, size: int, whole: list[Piece]) -> Piece | None:
    """The entry that follows those that are `whole`, as it was, the last one of a document of `size` bytes, before
    somebody began to finish it."""
    for closing in (layout.closing_after_list, layout.closing_after_text, layout.closing_after_value):
        end, stays = size - len(closing), _STAYS[closing]
        match = LINE_START[layout.suffix].search(raw, whole[-1].end if whole else 0, end)
        if match is None or any(byte not in (0, there) for byte, there in zip(raw[end:], stays, strict=False)):
            continue
        if closing == layout.closing_after_text and assistant_text_end(layout, raw, match.end(), end) != end:
            continue
        restored = _as_unfinished(raw, layout, match.start(), end, closing)
        if restored is not None:
            return restored
    return None


def is_partly_overwritten(raw: bytes, layout: Layout, asked: Piece) -> bool:
    """Whether one of the sectors in which the end of an unfinished run stood still holds it, and another one does
    not."""
    closing = asked.data[asked.end - asked.start :] + layout.end
    if asked.end % SECTOR == 0 and _holds_rest(raw, asked.end, closing):
        return True
    place, end, kept = asked.end, asked.end + len(closing), set()
    while place < end:
        border = min((place // SECTOR + 1) * SECTOR, end)
        if border > asked.end + len(_STAYS[closing]):
            kept.add(raw[place:border] == closing[place - asked.end : border - asked.end])
        place = border
    return len(kept) == 2


def _holds_rest(raw: bytes, border: int, closing: bytes) -> bool:
    """Whether a sector begins with the rest of this closing, and holds nothing else."""
    rest = raw[border : border + SECTOR].rstrip(b"\0")
    return rest != b"" and closing.endswith(rest)


def recover_partial_run(
    raw: bytes, layout: Layout, begin: int, whole: list[Piece], pieces: list[Piece]
) -> Piece | None:
    """What may be an unfinished run behind the entries that are `whole`, that somebody began to finish, or that grew:
    its items as far as they are complete, and of an answer the text as far as it is there. Nobody can tell it from a
    run that somebody began to append; as an unfinished run it is right in both cases."""
    place = whole[-1].end + len(layout.separator) if whole else begin
    match = LINE_START[layout.suffix].match(raw, place)
    if match is None:
        return None
    bound = pieces[len(whole)].start if len(whole) < len(pieces) else len(raw)
    for end, closing in sorted(_ends(raw, layout, match.end(), bound), reverse=True):
        asked = _as_unfinished(raw, layout, place, end, closing)
        if asked is not None:
            return asked
    return None


def _ends(raw: bytes, layout: Layout, start: int, bound: int) -> Iterator[tuple[int, bytes]]:
    """Where what is complete of a run may end, and the closing that belongs there."""
    for found in _PART_ENDS[layout.suffix].finditer(raw, start, bound):
        end = found.start() + layout.keeps_comments  # in YAML, the newline belongs to what it ends
        if raw[end : end + 1] == b"\0" and end % SECTOR == 0:
            continue  # the zeros may as well be in the place of the rest of the message
        yield end, layout.closing_after_value if found["key"] else layout.closing_after_list
    end = assistant_text_end(layout, raw, start, bound)
    border = end // SECTOR * SECTOR
    if end >= 0 and raw[border:end] and _holds_rest(raw, border, layout.closing_after_text):
        end = border  # old bytes behind new ones
    for cut in range(_LONGEST_ESCAPE if end >= 0 else 0):
        yield end - cut, layout.closing_after_text


def _as_unfinished(raw: bytes, layout: Layout, start: int, end: int, closing: bytes) -> Piece | None:
    """What stands there as an unfinished run that asks something, None when that is no entry."""
    data = (raw[start:end] + closing).removesuffix(layout.end)
    if not is_valid_entry(layout, data) or not run_id_and_state(layout, data)[1]:
        return None
    run = layout.parse_entry(data)
    if closing == layout.closing_after_text and not isinstance((run.get("messages") or [{}])[-1].get("content"), str):
        return None
    is_asking = any(run.get(name) for name in RUN_LISTS) or (
        closing == layout.closing_after_value and run.get("input") is not None
    )
    return Piece(start, end, data) if is_asking else None

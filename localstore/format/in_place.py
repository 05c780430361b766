"""In-place changes of an unfinished run: finds the bytes at its end that may be overwritten, and compares its forms.

A write may only overwrite bytes from a position that recovery can find in the document alone: after a value of the run,
after an item of its last list, or within the text of an assistant message that comes last.
"""

import re
from typing import Any

from localstore.format.document import Layout

SECTOR = 512
"""The number of bytes that a disk writes as a whole or not at all."""
RUN_LISTS = ("messages", "member_runs", "steps")
"""The keys of a run that contain lists to which items may be added."""

_ASSISTANT_TEXT_OPENING = {
    ".json": b'\n        {\n          "role": "assistant",\n          "content": "',
    ".yaml": b"\n    - role: assistant\n      content: ",
}
"""The bytes before the text of an assistant message."""
_JSON_TEXT = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+')
# Text in other styles ends in a quote, or keeps the newline at its end.
_GROWING_YAML_TEXT = re.compile(rb"\|2?-\n|[\w/($^;<\\\x80-\xff]")
_YAML_TEXT_END = re.compile(rb"\0|\n(?! {8}|\n)")
_CONTINUATION = {".json": re.compile(rb'\n        \}|,\n      "'), ".yaml": re.compile(rb"    - |  [^ \n]")}
"""The bytes after a complete item or a complete value of a run."""
_VOLATILE_KEYS = ("created_at", "metrics")
"""Keys whose values may change while a run grows."""


def assistant_text_end(layout: Layout, raw: bytes, begin: int, end: int) -> int:
    """Return the offset in `raw` at which the text of the last assistant message between two offsets ends.

    If the text is cut off, this is the end of what there is of it, at most `end`. Returns -1 if there is no such
    message, or if its text is written in a style that cannot be continued.
    """
    opening = _ASSISTANT_TEXT_OPENING[layout.suffix]
    start = raw.rfind(opening, begin, end) + len(opening)
    if start < len(opening):
        return -1
    if not layout.keeps_comments:
        match = _JSON_TEXT.match(raw, start, end)
        return match.end() if match else -1
    if _GROWING_YAML_TEXT.match(raw, start, end) is None:
        return -1
    match = _YAML_TEXT_END.search(raw, start, end)
    return match.start() if match else end


def overwrite_offset(layout: Layout, old: bytes, new: bytes, start: int) -> int | None:
    """Return the offset in `old` from which it has to be overwritten to become `new`.

    `old` and `new` are the end of a document, from the start of its last entry; `start` is the offset of that entry in
    the file. Returns None if an in-place change is not allowed: it would overwrite bytes other than the constant
    closing, recovery could not find its position, or the file would not become longer, which shows that it was written.
    """
    if len(new) <= len(old):
        return None
    at = len(old) - len(layout.closing_after_text)
    if not old.endswith(layout.closing_after_text) or assistant_text_end(layout, old, 0, len(old)) != at:
        closings = (layout.closing_after_list, layout.closing_after_value)
        ends = [len(old) - len(closing) for closing in closings if old.endswith(closing)]
        at = next((end for end in ends if _CONTINUATION[layout.suffix].match(new, end)), -1)
    if at < 0 or not new.startswith(old[:at]):
        return None
    while at < len(old) and old[at] == new[at]:
        at += 1
    border = (start + len(old)) // SECTOR * SECTOR - start
    if (
        layout.keeps_comments
        and at < border < len(old)
        and not new[new.rfind(b"\n", 0, border) : border].strip(b"\n -")
    ):
        return None  # cut at the border, the line would not show whether it continues the text before it
    return at


def is_prefix_of(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Return whether the lists of the run `new` contain everything that those of `old`, an earlier form of it, contain.

    `new` may contain additional items, and longer texts.
    """
    return all(_is_prefix(old.get(name) or [], new.get(name) or []) for name in RUN_LISTS)


def _is_prefix(old: Any, new: Any) -> bool:
    if type(old) is not type(new):
        return False
    if isinstance(old, str):
        return bool(new.startswith(old))
    if isinstance(old, list):
        return len(old) <= len(new) and all(map(_is_prefix, old, new))
    if isinstance(old, dict):
        return all(name in _VOLATILE_KEYS or (name in new and _is_prefix(old[name], new[name])) for name in old)
    return bool(old == new)

"""How an unfinished run grows: which bytes of its end are constant and may be overwritten in place, and which of two
forms of a run goes on from the other.

What a write overwrites begins where salvage finds it again, even when nothing but the document tells: behind a value of
the run, behind an item of its last list, or within the text of the assistant that is its last message.
"""

import re
from typing import Any

from localstore.format.document import Layout

SECTOR = 512
"""So many bytes a disk writes at once, or not at all."""
_ANSWER = {
    ".json": b'\n        {\n          "role": "assistant",\n          "content": "',
    ".yaml": b"\n    - role: assistant\n      content: ",
}
"""What stands before the text of an assistant's message."""
_JSON_TEXT = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+')
# Other styles end in a quote, or keep the newline that ends the text.
_YAML_STYLE = re.compile(rb"\|2?-\n|[\w/($^;<\\\x80-\xff]")
_YAML_TEXT_ENDS = re.compile(rb"\0|\n(?! {8}|\n)")
_GOES_ON = {".json": re.compile(rb'\n        \}|,\n      "'), ".yaml": re.compile(rb"    - |  [^ \n]")}
"""What follows an item or a value of a run that is whole."""
RUN_LISTS = ("messages", "member_runs", "steps")
"""What may grow."""
_TOLD_ANEW = ("created_at", "metrics")


def assistant_text_end(layout: Layout, raw: bytes, begin: int, end: int) -> int:
    """Where the text of the last assistant's message between two offsets ends, be it whole or cut off; -1 when there
    is none, or when it is written so that it cannot grow."""
    mark = _ANSWER[layout.suffix]
    start = raw.rfind(mark, begin, end) + len(mark)
    if start < len(mark):
        return -1
    if not layout.keeps_comments:
        match = _JSON_TEXT.match(raw, start, end)
        return match.end() if match else -1
    if _YAML_STYLE.match(raw, start, end) is None:
        return -1
    found = _YAML_TEXT_ENDS.search(raw, start, end)
    return found.start() if found else end


def overwrite_offset(layout: Layout, old: bytes, new: bytes, start: int) -> int | None:
    """From where on `old`, the end of a document from its last entry on, which begins at `start`, has to be overwritten
    to become `new`; None when more than constant bytes would be."""
    if len(new) < len(old):
        return None
    at = len(old) - len(layout.closing_after_text)
    if not old.endswith(layout.closing_after_text) or assistant_text_end(layout, old, 0, len(old)) != at:
        ends = [
            len(old) - len(closing)
            for closing in (layout.closing_after_list, layout.closing_after_value)
            if old.endswith(closing)
        ]
        at = next((end for end in ends if _GOES_ON[layout.suffix].match(new, end)), -1)
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
        return None  # of a line that is cut there nobody could tell whether it goes on with what is before it
    return at


def is_prefix_of(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a run says in its lists all that an older form of it says there, and perhaps more."""
    return all(_begins(old.get(name) or [], new.get(name) or []) for name in RUN_LISTS)


def _begins(old: Any, new: Any) -> bool:
    if type(old) is not type(new):
        return False
    if isinstance(old, str):
        return bool(new.startswith(old))
    if isinstance(old, list):
        return len(old) <= len(new) and all(map(_begins, old, new))
    if isinstance(old, dict):
        return all(name in _TOLD_ANEW or (name in new and _begins(old[name], new[name])) for name in old)
    return bool(old == new)

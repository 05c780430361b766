"""Merge the text of a document that a person edited with what was written to the document meanwhile.

Each entry and the header keep their exact bytes, those of the side that changed them. Nothing here touches a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from localstore.format.document import ParsedDocument, order_header
from localstore.format.parse_error import ParseError
from localstore.format.values import json_equal

Key = tuple[str, str, int]
"""What identifies an entry: its type, its id or time, and a number among those with the same ones."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that both sides changed. `text` is the person's form of it, which is not in the merged document.

    `text` is None if the person removed it, and it stayed. `key` is that of the entry, if it is one.
    """

    name: str
    text: bytes | None
    key: Key | None = None


@dataclass(slots=True)
class TextMerge:
    """The merged document, and what is not in it as the person wrote it."""

    raw: bytes
    lost: list[Lost] = field(default_factory=list)


def merge_texts(base: ParsedDocument, mine: ParsedDocument, theirs: ParsedDocument) -> TextMerge:
    """Return the document `theirs` with the changes from `base` to `mine`, the text of the person.

    All three must be in our layout, and in the same one. Where both sides changed the same entry or header, `theirs`
    stays, and `lost` has the other form.
    """
    result = TextMerge(b"")
    head = _merged_head(base, mine, theirs, result.lost)
    entries = _merged_entries(_texts(base), _texts(mine), _texts(theirs), result.lost)
    result.raw = theirs.layout.assemble(head, entries)
    return result


def entry_keys(entries: Sequence[dict[str, Any]]) -> list[Key]:
    """Return the key of each entry, by which it is found again in another version of the document."""
    seen: dict[tuple[str, str], int] = {}
    keys = []
    for entry in entries:
        name = {"run": "run_id", "item": "item_id"}.get(entry["type"], "created_at")
        found = entry["type"], str(entry.get(name))
        seen[found] = seen.get(found, -1) + 1
        keys.append((*found, seen[found]))
    return keys


def _texts(parsed: ParsedDocument) -> dict[Key, bytes]:
    return dict(zip(entry_keys(parsed.entries), parsed.slices(), strict=True))


def _merged_entries(
    base: dict[Key, bytes], mine: dict[Key, bytes], theirs: dict[Key, bytes], lost: list[Lost]
) -> list[bytes]:
    kept: dict[Key, bytes] = {}
    for key, text in mine.items():
        before, there = base.get(key), theirs.get(key)
        is_changed = text != before
        if there != before and is_changed and there != text:
            lost.append(Lost(_name(key), text, key))
        if (final := text if is_changed and there == before else there) is not None:
            kept[key] = final
    order = list(kept)
    previous: Key | None = None
    for key, text in theirs.items():
        if key not in kept and key not in mine:
            if key in base:
                if text == base[key]:
                    continue  # the person removed it
                lost.append(Lost(_name(key), None, key))
            kept[key] = text
            order.insert(0 if previous is None else order.index(previous) + 1, key)
        if key in kept:
            previous = key
    return [kept[key] for key in order]


def _merged_head(base: ParsedDocument, mine: ParsedDocument, theirs: ParsedDocument, lost: list[Lost]) -> bytes:
    if theirs.head in (base.head, mine.head):
        return mine.head
    if mine.head == base.head:
        return theirs.head
    merged = dict(theirs.header)
    is_whole = _is_lossless(mine) and _is_lossless(theirs)
    for name in {**base.header, **mine.header, **theirs.header}:
        before, here, there = (one.header.get(name) for one in (base, mine, theirs))
        if json_equal(here, before) or json_equal(here, there):
            continue
        if not json_equal(there, before):
            is_whole = False
        elif here is None:
            del merged[name]
        else:
            merged[name] = here
    if is_whole:
        return theirs.layout.head(order_header(merged))
    lost.append(Lost("the header", mine.head))
    return theirs.head


def _is_lossless(parsed: ParsedDocument) -> bool:
    """Return whether the header can be written again without a loss of comments or digits."""
    layout = parsed.layout
    try:
        layout.parse_strict(layout.assemble(parsed.head, []))
    except ParseError:
        return False
    return not layout.keeps_comments or parsed.head == layout.head(parsed.header)


def _name(key: Key) -> str:
    return f"run {key[1]}" if key[0] == "run" else f"the {key[0]} of {key[1]}"

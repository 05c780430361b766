"""A whole document with its secrets replaced, and the way back."""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from localstore.errors import DocumentBroken
from localstore.format.document import ParsedDocument, parse_document
from localstore.format.redaction import Redactor, rules_from
from localstore.format.values import json_equal

_SCHEMA_LINE = "# yaml-language-server: "
"""How the comment begins that localstore writes."""


def redacted_document(old: ParsedDocument, redactor: Redactor, path: str) -> ParsedDocument | None:
    """Return a document with its secrets replaced, or None if it has none. `path` is only used in errors.

    What has no secrets keeps its bytes, if the document is in our layout. What has some is written again, without its
    comments.
    """
    layout = old.layout
    if not old.starts:
        old = parse_document(old.raw, layout, path)  # what was parsed strictly is not divided into entries
    header = redactor.record("header", old.header)
    entries = [redactor.entry(entry, f"history[{number}]") for number, entry in enumerate(old.entries)]
    head, pieces = layout.head(header), [layout.entry(entry) for entry in entries]
    if not old.in_layout or len(old.starts) != len(old.entries):
        is_same = json_equal(header, old.header) and json_equal(entries, old.entries)
        if is_same and not _has_secret_comment(old, old.raw, layout.assemble(head, pieces), redactor, "comment"):
            return None
        return parse_document(layout.assemble(head, pieces), layout, path)
    old_head, old_pieces = old.head, old.slices()
    if json_equal(header, old.header) and not _has_secret_comment(
        old, old_head, head, redactor, "comment of the header"
    ):
        head = old_head
    for number, (entry, raw) in enumerate(zip(entries, old_pieces, strict=True)):
        place = f"comment of history[{number}]"
        if json_equal(entry, old.entries[number]) and not _has_secret_comment(
            old, raw, pieces[number], redactor, place
        ):
            pieces[number] = raw
    if (head, pieces) == (old_head, old_pieces):
        return None
    return parse_document(layout.assemble(head, pieces), layout, path)


def _has_secret_comment(old: ParsedDocument, raw: bytes, written: bytes, redactor: Redactor, place: str) -> bool:
    """Return whether a part of a document has a comment with a secret. Its values have none.

    `written` is the part as localstore writes it, without comments.
    """
    if not old.layout.keeps_comments or raw == written:
        return False
    lines = [line for line in raw.decode(errors="replace").splitlines() if not line.startswith(_SCHEMA_LINE)]
    comments = [line.partition("#")[2] for line in lines if "#" in line]
    return any(redactor.text(comment, place) != comment for comment in comments)


def unredacted(
    old: ParsedDocument, current: ParsedDocument, rules: Sequence[Sequence[str]], path: str
) -> ParsedDocument:
    """Return the values of the current document with what the redaction of `old` replaced as it was.

    The bytes are those of the current document. What was added since then stays. Raises DocumentBroken if something
    that was redacted was changed or removed since, because its old form would be lost.
    """
    try:
        redactor = Redactor(rules_from(rules))
    except (ValueError, TypeError):
        problem = "cannot be brought back: backup.json, which has the rules of the redaction, was changed"
        raise DocumentBroken(f"{path} {problem}. Nothing was changed.", path=path, problem=problem) from None
    after = redactor.record("header", old.header)
    header = {**current.header}
    is_whole = True
    for key, value in old.header.items():
        if key not in after:  # the key itself was redacted
            is_whole = is_whole and any(json_equal(current.header, one) for one in (old.header, after))
            header = old.header
        elif not json_equal(value, after[key]):
            is_whole = is_whole and any(json_equal(header.get(key), one) for one in (value, after[key]))
            header[key] = value
    places: dict[str, deque[int]] = {}
    """The old entries that an entry may come from, by its content: redacted, or as it was after a stopped undo."""
    altered: set[int] = set()
    for number, entry in enumerate(old.entries):
        new = redactor.entry(entry, f"history[{number}]")
        for key in dict.fromkeys((_key(new), _key(entry))):
            places.setdefault(key, deque()).append(number)
        if not json_equal(entry, new):
            altered.add(number)
    entries, used = [], set()
    for one in current.entries:
        queue = places.get(_key(one), deque())
        while queue and queue[0] in used:
            queue.popleft()
        if queue:
            used.add(queue[0])
            one = old.entries[queue.popleft()]
        entries.append(one)
    if not is_whole or altered - used:
        problem = "was changed where it was redacted. The backup still has its old form"
        raise DocumentBroken(f"{path} {problem}. Nothing was changed.", path=path, problem=problem)
    return replace(current, header=header, entries=entries)


def _key(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)

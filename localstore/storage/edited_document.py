"""A document that a person edited as text: which parts a person edits, whether the text is valid, what it changed.

Nothing here touches a file or a database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localstore.disk import file_names
from localstore.errors import DocumentBroken, LocalstoreError, OlderFormat
from localstore.format.document import LAYOUTS, ParsedDocument, document_broken, parse_document
from localstore.format.parse_error import ParseError
from localstore.format.values import json_equal
from localstore.models.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from localstore.engine.document_merge import MergedDocument
    from localstore.format.document import Layout

CHANGED = "changed in an editor and elsewhere"
"""The reason given for a text that is kept aside because the document has another version."""
REMOVED = "removed in an editor"
"""The reason given for entries that are kept aside because a person removed them."""
_MOST_NAMED = 4
"""How many changes are named one by one."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """The result of `replace_document`.

    `changes` says what the new text changed, such as "run 3 was changed"; it is empty if nothing was written.
    `elsewhere` says in the same way what others had changed since. `lost` names what both changed: the document has the
    form of the others. `rescued` are the names of the rescue files that hold the person's form. `removed` is the name
    of the rescue file with the entries that the person removed, if there are any. In a database, `restore` takes these
    names.
    """

    changes: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    rescued: tuple[str, ...] = ()
    removed: str | None = None


def document_name(session_id: str) -> Path:
    """Return the name of the document that a session would have in a folder."""
    return Path(f"{file_names.stem(session_id)}.json")


@dataclass(frozen=True, slots=True)
class RunText:
    """A run in the bytes of a document, from `start` to `end`. `entry` is the run as plain values."""

    entry: dict[str, Any]
    start: int
    end: int

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return str(self.entry["run_id"])


def runs_in(document: bytes, path: Path) -> list[RunText]:
    """Return the runs in the bytes of the document at `path`, oldest first.

    Raises DocumentBroken if the document is broken or is not formatted as localstore does it: then a run does not have
    lines of its own.
    """
    parsed = check_editable(document, path)
    if not parsed.in_layout:
        raise DocumentBroken(
            f"{path} is not formatted as localstore formats it, so its runs cannot be edited one by one. Edit the "
            "whole document.",
            path=str(path),
        )
    places = zip(parsed.entries, parsed.starts, parsed.slices(), strict=True)
    return [RunText(entry, start, start + len(text)) for entry, start, text in places if entry["type"] == "run"]


def check_editable(document: bytes, path: Path) -> ParsedDocument:
    """Parse the bytes of the document at `path`.

    Raises DocumentBroken if it is broken, and OlderFormat or NewerFormat if it has another schema version.
    """
    parsed = parse_document(document, LAYOUTS[path.suffix], path)
    if parsed.version != SCHEMA_VERSION:
        raise OlderFormat(
            f"{path} has schema version {parsed.version}, and this localstore writes version {SCHEMA_VERSION}. Nothing "
            "was stored. Upgrade it first, with: localstore upgrade",
            path=str(path),
            session_id=parsed.header["session_id"],
        )
    return parsed


Key = tuple[str, str, int]
"""What identifies an entry: its type, its id or time, and a number among those with the same ones."""


def entry_keys(entries: Iterable[dict[str, Any]]) -> list[Key]:
    """Return the key of each entry, by which a person finds it again in another version of the document."""
    seen: dict[tuple[str, str], int] = {}
    keys = []
    for entry in entries:
        name = {"run": "run_id", "item": "item_id"}.get(entry["type"], "created_at")
        found = entry["type"], str(entry.get(name))
        seen[found] = seen.get(found, -1) + 1
        keys.append((*found, seen[found]))
    return keys


def lost_in(merged: MergedDocument) -> dict[str, Key | None]:
    """Return what a person changed and a merged document has in the form of the others.

    The key is that of the entry; None for anything else, such as a name.
    """
    return {
        one.what: None if one.run_id is None else ((one.theirs or one.ours)["type"], one.run_id, 0)
        for one in merged.differences
        if one.taken == "theirs"
    }


def removed_keys(before: ParsedDocument, mine: ParsedDocument, stays: Collection[Key | None]) -> set[Key]:
    """Return the keys of the entries that a person removed, without those that stay in the document."""
    return {*entry_keys(before.entries)} - {*entry_keys(mine.entries)} - {*stays}


def parsed_or_none(raw: bytes, layout: Layout, path: str) -> ParsedDocument | None:
    try:
        return parse_document(raw, layout, path)
    except LocalstoreError:
        return None


def checked(text: bytes, path: Path, session_id: str) -> ParsedDocument:
    """Parse the new text of a session's document.

    Raises DocumentBroken, with the line if it is known, if the text is no valid document of this session; OlderFormat
    or NewerFormat if it has another schema version.
    """
    parsed = check_editable(text, path)
    if parsed.header["session_id"] != session_id:
        problem = f"\"session_id\" must stay {session_id}. 'localstore rename' gives a session a name"
        raise document_broken(ParseError(problem, line_of(parsed, b"session_id")), path)
    check_models(parsed, path)
    return parsed


def line_of(parsed: ParsedDocument, key: bytes) -> int | None:
    found = parsed.raw.find(key)
    return None if found < 0 else parsed.raw.count(b"\n", 0, found) + 1


def check_models(parsed: ParsedDocument, path: Path) -> None:
    """Raise DocumentBroken if a value has the wrong type. Words and times that are wrong are left to `check`."""
    from pydantic import ValidationError

    from localstore.format.document import newest_state
    from localstore.models.session import Session
    from localstore.models.validation import first_problem

    try:
        Session.model_validate({**parsed.header, "history": parsed.entries, **newest_state(parsed.entries)})
    except ValidationError as error:
        where = error.errors(include_url=False, include_context=False)[0]["loc"]
        line = None
        if len(where) > 1 and where[0] == "history" and isinstance(where[1], int) and parsed.starts:
            line = parsed.raw.count(b"\n", 0, parsed.starts[where[1]]) + 1
        raise document_broken(ParseError(first_problem(error), line), path) from None


def changes_between(before: ParsedDocument | None, after: ParsedDocument) -> tuple[str, ...]:
    """Return what is different, in words. `before` is None if it could not be read."""
    if before is None:
        return ("it can be read again",)
    words = [
        f"{name} was {'added' if name not in before.header else 'removed' if name not in after.header else 'changed'}"
        for name in {**before.header, **after.header}
        if not json_equal(before.header.get(name), after.header.get(name))
    ]
    words += _changed_entries(before.entries, after.entries)
    return tuple(words) or ("the layout or the comments were changed",)


def _changed_entries(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    old, new = (dict(zip(entry_keys(entries), entries, strict=True)) for entries in (before, after))
    numbers = {**_run_numbers(after), **_run_numbers(before)}
    found: list[tuple[str, str, str]] = []
    for key in {**old, **new}:
        if not json_equal(old.get(key), new.get(key)):
            how = "added" if key not in old else "removed" if key not in new else "changed"
            found.append((key[0], how, f"{key[0]} {numbers[key]}" if key in numbers else f"an {key[0]} entry"))
    if len(found) <= _MOST_NAMED:
        words = [f"{name} was {how}" for _, how, name in found]
    else:
        counts = Counter((kind, how) for kind, how, _ in found)
        words = [
            f"{count:,} {kind}s were {how}" if count > 1 else f"1 {kind} was {how}"
            for (kind, how), count in counts.items()
        ]
    if not found and entry_keys(before) != entry_keys(after):
        words.append("the order was changed")
    return words


def _run_numbers(entries: list[dict[str, Any]]) -> dict[tuple[str, str, int], int]:
    runs = [key for key in entry_keys(entries) if key[0] == "run"]
    return {key: number for number, key in enumerate(runs, 1)}

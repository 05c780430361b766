"""Replace the text of a document by the text of a person who edited a copy of it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localstore.disk import durable_files, rescue_folder, store_tree
from localstore.disk.document_file import DocumentFile
from localstore.disk.durable_files import FileChanged
from localstore.engine.document_merge import merge_documents
from localstore.errors import Conflict, DocumentBroken, LocalstoreError, OlderFormat, SessionNotFound
from localstore.format.document import LAYOUTS, ParsedDocument, document_broken, normalise, parse_document
from localstore.format.parse_error import ParseError
from localstore.format.values import json_equal
from localstore.models.schema import SCHEMA_VERSION
from localstore.storage.document_path import path_below

if TYPE_CHECKING:
    from localstore.engine.engine import Engine
    from localstore.engine.transaction import Transaction
    from localstore.format.document import Layout
    from localstore.index.row import IndexRow

CHANGED = "changed in an editor and elsewhere"
"""The reason that a rescue file gives for a text that is not in the document."""
REMOVED = "removed in an editor"
"""The reason that a rescue file gives for entries that a person removed."""
_MOST_NAMED = 4
"""How many changes are named one by one."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """The result of `Storage.replace_document`.

    `changes` says what the new text changed, such as "run 3 was changed"; it is empty if nothing was written.
    `elsewhere` says in the same way what others had changed since. `lost` names what both changed: the document has the
    form of the others. `rescued` are the names of the rescue files that hold the person's form. `removed` is the name
    of the rescue file with the entries that the person removed, if there are any.
    """

    changes: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    rescued: tuple[str, ...] = ()
    removed: str | None = None


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


def read_document(engine: Engine, session_id: str) -> bytes:
    """Return the bytes of a session's document, also of one that is broken. Raises SessionNotFound, DocumentBroken.

    A document that a crash tore is repaired first, as the next write would do.
    """
    document, path = _read(engine, session_id)
    if _parsed_or_none(document, LAYOUTS[path[-5:]], path) is None:
        with contextlib.suppress(LocalstoreError, OSError):
            for attempt in engine.edit(session_id):
                with attempt:
                    pass  # opening it for a change repairs it
        document, _ = _read(engine, session_id)
    return document


def _read(engine: Engine, session_id: str) -> tuple[bytes, str]:
    path = store_tree.full_path(engine.root, _row(engine, session_id)["path"])
    with DocumentFile(path) as file:
        return file.read_all(), path


def _row(engine: Engine, session_id: str) -> IndexRow:
    row = engine.listed(session_id)
    if row is None:
        engine.refuse_unreadable(session_id)
        raise SessionNotFound(f"There is no session {session_id!r}. Check the id.", session_id=session_id)
    return row


def replace_document(engine: Engine, session_id: str, text: bytes, base: bytes) -> Replaced:
    """Replace a document as `Storage.replace_document` does."""
    if text == base:
        return Replaced()
    path = store_tree.full_path(engine.root, _row(engine, session_id)["path"])
    edit = _Edit(engine, session_id, base, _checked(text, Path(path), session_id))
    try:
        for attempt in engine.edit(session_id):
            with attempt as document:
                if document is None:
                    raise SessionNotFound(
                        f"Session {session_id!r} was deleted meanwhile. Nothing was stored.", session_id=session_id
                    )
                edit.apply(document)
    except DocumentBroken:
        if edit.is_begun or "problem" not in _row(engine, session_id):
            raise
        edit.repair()
    return edit.result


def replace_unreadable(engine: Engine, path: str, text: bytes, base: bytes) -> str:
    """Replace a file in which no session can be read as `Storage.replace_unreadable` does."""
    below = path_below(engine.root, path)
    if below is None or engine.index.problem_of(below) is None:
        raise SessionNotFound(f"{path} is not a file of this store that cannot be read as a session.", path=path)
    mine = check_editable(text, Path(path))
    _check_models(mine, Path(path))
    session_id: str = mine.header["session_id"]
    with engine.locks.all_sessions(engine.timeout):  # which session the file holds was not known
        other = engine.locate(session_id)
        if other is not None and other["path"] != below:
            problem = f'"session_id" is that of another document, {store_tree.full_path(engine.root, other["path"])}'
            raise document_broken(ParseError(problem, _line_of(mine, b"session_id")), Path(path))
        full_path = store_tree.full_path(engine.root, below)
        with DocumentFile(full_path) as file:
            current, status = file.read_all(), file.status
        try:
            if current != base:
                raise FileChanged(path)
            durable_files.replace_file(full_path, [text], status)
        except FileChanged:
            raise Conflict(f"{path} was changed meanwhile. Nothing was stored. Edit it again.", path=path) from None
        engine.index.adopt(below)
    return session_id


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


@dataclass(slots=True)
class _Edit:
    """The replacement of one document's text by `mine`, which a person made of `base`."""

    engine: Engine
    session_id: str
    base: bytes
    mine: ParsedDocument
    is_begun: bool = False
    """Whether the document could be read."""
    result: Replaced = field(default_factory=Replaced)
    _kept: dict[bytes, str] = field(default_factory=dict)
    """The texts that were set aside, and the names of their rescue files. Another attempt does not repeat that."""

    def apply(self, document: Transaction) -> None:
        self.is_begun = True
        path, layout, mine = document.file.path, document.file.layout, self.mine
        current = document.text()
        before = _parsed_or_none(self.base, mine.layout, path)
        if current in (self.base, mine.raw):
            removed = None if before is None else self._keep_removed(document, before, mine, ())
            if current == self.base:
                document.replace_text(mine.raw, has_comments=True)
            else:  # an earlier attempt wrote it
                document.sync()
        elif before is not None and layout is mine.layout:
            self._merge(document, before)
            return
        else:
            raise self._conflict(path)
        self.result = Replaced(_changes(before, mine), removed=removed)

    def _merge(self, document: Transaction, before: ParsedDocument) -> None:
        """Write the changes from `before` to `mine` to a document that others changed too."""
        path, theirs = document.file.path, document.whole()
        base, mine = (one if one.in_layout else normalise(one, path) for one in (before, self.mine))
        merged = merge_documents(mine, theirs, base, path, prefer="theirs")
        texts = dict(zip(entry_keys(mine.entries), mine.slices(), strict=True))
        lost: dict[str, bytes | None] = {}
        stays = []
        for one in merged.differences:
            if one.taken == "theirs":
                key = None if one.run_id is None else ((one.theirs or one.ours)["type"], one.run_id, 0)
                stays.append(key)
                lost[one.what] = mine.raw if key is None else texts.get(key)
        if mine is not self.mine and mine.layout.keeps_comments and b"#" in self.mine.raw:
            lost["the comments"] = self.mine.raw
        elif merged.loses_comments:
            lost["the comments"] = mine.raw
            self._set_aside(document, rescue_folder.COMMENTS, theirs.raw)
        names = dict.fromkeys(self._set_aside(document, CHANGED, text) for text in lost.values() if text is not None)
        removed = self._keep_removed(document, base, mine, stays)
        self.result = Replaced(_changes(base, mine), _changes(base, theirs), tuple(lost), tuple(names), removed)
        if merged.raw != theirs.raw:
            document.replace_text(merged.raw, has_comments=False)

    def _keep_removed(
        self, document: Transaction, before: ParsedDocument, mine: ParsedDocument, without: Collection[Key | None]
    ) -> str | None:
        """Keep the entries that are not in `mine` any more in one rescue file, and return its name.

        Those in `without` stay in the document. Return None if there are none. If an entry has no lines of its own, the
        whole document is kept.
        """
        gone = {*entry_keys(before.entries)} - {*entry_keys(mine.entries)} - {*without}
        if not gone:
            return None
        if not before.in_layout:
            return self._set_aside(document, REMOVED, before.raw)
        pieces = zip(entry_keys(before.entries), before.slices(), strict=True)
        text = before.layout.separator.join(piece for key, piece in pieces if key in gone)
        return self._set_aside(document, REMOVED, text)

    def _set_aside(self, document: Transaction, reason: str, text: bytes) -> str:
        """Keep a text in the rescue folder, and return the name of its file."""
        if text not in self._kept:
            content = rescue_folder.piece(0, text)
            path = rescue_folder.set_aside(self.engine.root, document.row["path"], self.session_id, reason, content)
            self._kept[text] = path.name
        return self._kept[text]

    def repair(self) -> None:
        """Replace a document that cannot be read, if it still has the bytes of `base`."""
        engine = self.engine
        with engine.locks.session(self.session_id, engine.timeout):
            row = _row(engine, self.session_id)
            path = store_tree.full_path(engine.root, row["path"])
            with DocumentFile(path) as file:
                current, status, layout = file.read_all(), file.status, file.layout
            if current != self.base or layout is not self.mine.layout:
                raise self._conflict(path)
            try:
                durable_files.replace_file(path, [self.mine.raw], status)
            except FileChanged:
                raise self._conflict(path) from None
            engine.index.adopt(row["path"])
            self.result = Replaced(_changes(None, self.mine))

    def _conflict(self, path: str) -> Conflict:
        return Conflict(
            f"{path} was changed meanwhile, and the two versions cannot be merged, because one is broken or of the "
            "other format. Nothing was stored. Edit it again, and copy what you need from your text.",
            path=path,
            session_id=self.session_id,
        )


def _parsed_or_none(raw: bytes, layout: Layout, path: str) -> ParsedDocument | None:
    try:
        return parse_document(raw, layout, path)
    except LocalstoreError:
        return None


def _checked(text: bytes, path: Path, session_id: str) -> ParsedDocument:
    """Parse the new text of a session's document.

    Raises DocumentBroken, with the line if it is known, if the text is no valid document of this session; OlderFormat
    or NewerFormat if it has another schema version.
    """
    parsed = check_editable(text, path)
    if parsed.header["session_id"] != session_id:
        problem = f"\"session_id\" must stay {session_id}. 'localstore rename' gives a session a name"
        raise document_broken(ParseError(problem, _line_of(parsed, b"session_id")), path)
    _check_models(parsed, path)
    return parsed


def _line_of(parsed: ParsedDocument, key: bytes) -> int | None:
    found = parsed.raw.find(key)
    return None if found < 0 else parsed.raw.count(b"\n", 0, found) + 1


def _check_models(parsed: ParsedDocument, path: Path) -> None:
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


def _changes(before: ParsedDocument | None, after: ParsedDocument) -> tuple[str, ...]:
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

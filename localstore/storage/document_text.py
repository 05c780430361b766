"""Replace the text of a document by the text of a person who edited a copy of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localstore.disk import durable_files, rescue_folder, store_tree
from localstore.disk.document_file import DocumentFile
from localstore.disk.durable_files import FileChanged
from localstore.engine.document_merge import merge_documents
from localstore.errors import Conflict, DocumentBroken, LocalstoreError, SessionNotFound
from localstore.format.document import LAYOUTS, ParsedDocument, document_broken, normalise
from localstore.format.parse_error import ParseError
from localstore.storage.document_path import path_below
from localstore.storage.edited_document import (
    CHANGED,
    REMOVED,
    Key,
    Replaced,
    changes_between,
    check_editable,
    check_models,
    checked,
    entry_keys,
    line_of,
    lost_in,
    parsed_or_none,
    removed_keys,
)

if TYPE_CHECKING:
    from localstore.engine.engine import Engine
    from localstore.engine.transaction import Transaction
    from localstore.index.row import IndexRow


def read_document(engine: Engine, session_id: str) -> bytes:
    """Return the bytes of a session's document, also of one that is broken. Raises SessionNotFound, DocumentBroken.

    A document that a crash tore is repaired first, as the next write would do.
    """
    document, path = _read(engine, session_id)
    if parsed_or_none(document, LAYOUTS[path[-5:]], path) is None:
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
    edit = _Edit(engine, session_id, base, checked(text, Path(path), session_id))
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
    check_models(mine, Path(path))
    session_id: str = mine.header["session_id"]
    with engine.locks.all_sessions(engine.timeout):  # which session the file holds was not known
        other = engine.locate(session_id)
        if other is not None and other["path"] != below:
            problem = f'"session_id" is that of another document, {store_tree.full_path(engine.root, other["path"])}'
            raise document_broken(ParseError(problem, line_of(mine, b"session_id")), Path(path))
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
        before = parsed_or_none(self.base, mine.layout, path)
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
        self.result = Replaced(changes_between(before, mine), removed=removed)

    def _merge(self, document: Transaction, before: ParsedDocument) -> None:
        """Write the changes from `before` to `mine` to a document that others changed too."""
        path, theirs = document.file.path, document.whole()
        base, mine = (one if one.in_layout else normalise(one, path) for one in (before, self.mine))
        merged = merge_documents(mine, theirs, base, path, prefer="theirs")
        texts = dict(zip(entry_keys(mine.entries), mine.slices(), strict=True))
        keys = lost_in(merged)
        lost = {what: mine.raw if key is None else texts.get(key) for what, key in keys.items()}
        if mine is not self.mine and mine.layout.keeps_comments and b"#" in self.mine.raw:
            lost["the comments"] = self.mine.raw
        elif merged.loses_comments:
            lost["the comments"] = mine.raw
            self._set_aside(document, rescue_folder.COMMENTS, theirs.raw)
        names = dict.fromkeys(self._set_aside(document, CHANGED, text) for text in lost.values() if text is not None)
        removed = self._keep_removed(document, base, mine, keys.values())
        self.result = Replaced(
            changes_between(base, mine), changes_between(base, theirs), tuple(lost), tuple(names), removed
        )
        if merged.raw != theirs.raw:
            document.replace_text(merged.raw, has_comments=False)

    def _keep_removed(
        self, document: Transaction, before: ParsedDocument, mine: ParsedDocument, without: Collection[Key | None]
    ) -> str | None:
        """Keep the entries that are not in `mine` any more in one rescue file, and return its name.

        Those in `without` stay in the document. Return None if there are none. If an entry has no lines of its own, the
        whole document is kept.
        """
        gone = removed_keys(before, mine, without)
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
            self.result = Replaced(changes_between(None, self.mine))

    def _conflict(self, path: str) -> Conflict:
        return Conflict(
            f"{path} was changed meanwhile, and the two versions cannot be merged, because one is broken or of the "
            "other format. Nothing was stored. Edit it again, and copy what you need from your text.",
            path=path,
            session_id=self.session_id,
        )

"""Mends single things in a store, each under the lock that guards it, while others may be writing.

Nothing is deleted: what has no place any more is moved to `.localstore/rescue/`. Every method looks again under the
lock before it changes anything, may be stopped at any point, and may be called again.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from localstore.disk import file_names, filesystem, rescue_folder, store_tree
from localstore.disk.boot import boot_id
from localstore.disk.document_file import DocumentFile
from localstore.disk.locks import pool_of
from localstore.engine.transaction import ConcurrentChange, Transaction
from localstore.errors import LocalstoreError
from localstore.format.document import LayoutMismatch, ParsedDocument, document_broken
from localstore.format.parse_error import ParseError
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, carry_rewrite_flag, row_of
from localstore.index.session_index import SessionIndex

_ATTEMPTS = 5
"""How often a document is tried again that another program writes to at the same time."""


class Mender:
    """Paths are relative to the root, with slashes. Methods raise LockTimeout, DocumentBroken and OSError."""

    def __init__(self, root: Path, timeout: float) -> None:
        self._root = str(root)
        self._timeout = timeout
        self._locks = pool_of(root)
        self._manifest = Manifest(self._root, self._locks, timeout)
        self._catalog = SessionIndex(self._root, self._manifest)

    def set_mode(self, path: str, mode: int) -> None:
        """Give a file or folder its permissions. It needs no lock: a writer in the middle of it starts again."""
        with contextlib.suppress(FileNotFoundError):
            filesystem.system.set_mode(self._full(path), mode)

    def mend_torn(self, path: str) -> None:
        """Do what the next write would do to a torn document: set the odd bytes aside and write the others anew."""
        for _ in range(_ATTEMPTS):
            self._manifest.refresh()  # only with what it knows a crash can be told from an edit
            row = self._catalog.adopt(path)
            if row is None:
                return  # gone by now
            try:
                with self._locks.session(row["session_id"], self._timeout):
                    self._manifest.refresh()
                    again = self._catalog.adopt(path)
                    if again is None or again["session_id"] != row["session_id"]:
                        continue
                    with Transaction(self._root, again, durable=True) as transaction:
                        session_id = transaction.row["session_id"]
                        if transaction.changed and self._manifest.at(path) in (None, session_id):
                            holder = self._manifest.get(session_id)
                            if holder is None or holder["path"] == path:
                                self._manifest.record([transaction.row])
                return
            except ConcurrentChange:
                continue
            except FileNotFoundError:
                return

    def move_leftover(self, path: str) -> None:
        """Move a temporary file aside unless somebody may be writing it. With the lock of its session held, nobody of
        us is; where that is not known, its age alone tells."""
        folder, _, name = path.rpartition("/")
        became = filesystem.temporary_for(name)
        if became is None:
            return
        self._manifest.refresh()
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
            if not folder and became == "manifest.jsonl":
                stack.enter_context(self._locks.manifest(self._timeout))
            else:
                session_id = self._manifest.at(f"{folder}/{became}") or rescue_folder.id_in_head(
                    self._full(path), became
                )
                if session_id is not None:
                    stack.enter_context(self._locks.session(session_id, self._timeout))
            if rescue_folder.is_old(filesystem.system.status(self._full(path))):
                rescue_folder.move_aside(self._root, path, became)

    def give_new_id(self, path: str, keeper: str, wanted: str) -> tuple[str, str] | None:
        """Give the document at `path`, whose id is that of the one at `keeper`, an id of its own, and a name to fit.

        `wanted`, or the next one that is free. Its entries stay byte for byte. Returns id and path; None when it is no
        duplicate any more. The file is renamed first: stopped in between, it is still a duplicate, and found again.
        """
        ids = self._ids(path, keeper)
        if len(ids) != 1:
            return None
        (session_id,) = ids
        for new_id in itertools.chain([wanted], free_ids(session_id)):
            with self._locks.sessions([session_id, new_id], self._timeout):
                self._manifest.refresh(thorough=True)
                if self._ids(path, keeper) != {session_id} or self._manifest.at(path) == session_id:
                    return None
                new_path = f"{os.path.dirname(path)}/{file_names.stem(new_id)}{os.path.splitext(path)[1]}"
                if self._is_taken(new_id, path, new_path):
                    continue
                parsed = self._parse(path)
                _refuse_what_would_be_lost(parsed, self._full(path))
                if new_path != path:
                    filesystem.move_file(self._full(path), self._full(new_path))
                with contextlib.suppress(ConcurrentChange, LayoutMismatch):  # still a duplicate, and found again
                    self._write_id(new_path, new_id, parsed)
                    return new_id, new_path
                return None
        raise AssertionError("free ids never end")

    def _write_id(self, path: str, new_id: str, parsed: ParsedDocument) -> None:
        status = filesystem.system.status(self._full(path))
        with Transaction(self._root, row_of(parsed, path, status, boot_id()), durable=True) as transaction:
            transaction.change({**transaction.header(), "session_id": new_id}, {}, [])
            self._manifest.record([transaction.row])

    def _ids(self, *paths: str) -> set[str]:
        """The ids that these documents have; nothing when one of them cannot be read any more."""
        try:
            return {self._parse(path).header["session_id"] for path in paths}
        except (FileNotFoundError, LocalstoreError):
            return set()

    def _is_taken(self, session_id: str, path: str, new_path: str) -> bool:
        """Whether a session has this id, or another file the name that is to become the one of `path`."""
        if new_path != path and filesystem.exists(self._full(new_path)):
            return True
        others = set(store_tree.candidates(self._root, session_id)) - {path}
        return bool(others) or self._catalog.find_anywhere(session_id) is not None

    def right_manifest(self, doubtful: Sequence[tuple[str, str]]) -> None:
        """Make the manifest say what the documents say. `doubtful` are those (path, session_id) of which it may say
        something else although their files have not changed.

        What it lacks is added and what is gone left out. What only the manifest knows, that the last sync of a
        document failed, stays.
        """
        self._catalog.look_anew()
        self._catalog.scan()
        before = {session_id: self._manifest.get(session_id) for _, session_id in doubtful}
        for path, session_id in doubtful:
            with contextlib.suppress(FileNotFoundError, LocalstoreError):  # the next check sees what became of it
                self._right_row(path, session_id, before[session_id])
        self._manifest.compact()

    def _right_row(self, path: str, session_id: str, before: IndexRow | None) -> None:
        with self._locks.session(session_id, self._timeout):
            self._manifest.refresh()
            with DocumentFile(self._full(path)) as file:
                row = row_of(file.parse(), path, file.status, boot_id())
            known = self._manifest.get(session_id)
            if row["session_id"] != session_id:
                return
            if known is None or known["path"] == path or not self._may_hold(known["path"], session_id):
                self._manifest.record([carry_rewrite_flag(row, known or before)])
            elif (holder := self._manifest.at(path)) is not None:
                self._manifest.record_deletion(holder)  # this file is another session's by now

    def _may_hold(self, path: str, session_id: str) -> bool:
        """Whether a document that the manifest names is there and not known to be another session's."""
        return filesystem.exists(self._full(path)) and self._ids(path) in (set(), {session_id})

    def _parse(self, path: str) -> ParsedDocument:
        with DocumentFile(self._full(path)) as file:
            return file.parse()

    def _full(self, path: str) -> str:
        return store_tree.full_path(self._root, path)


def free_ids(session_id: str) -> Iterator[str]:
    """What a second document with this id may be called, without end: `<id>-2`, `<id>-3` and so on."""
    return (f"{session_id}-{number}" for number in itertools.count(2))


def _refuse_what_would_be_lost(parsed: ParsedDocument, path: str) -> None:
    try:
        parsed.layout.parse_strict(parsed.raw)
    except ParseError as error:
        raise document_broken(error, path) from None

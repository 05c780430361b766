"""Rewrite documents, and move them if their path changes: one at a time, each under its lock.

Documents are rewritten in batches, so that folders and the manifest are written once for many documents:

1. Keep the old documents in the backup, and make the backup durable.
2. For each document: parse, transform, lock, check that it is unchanged, and write the new one (temporary file, sync,
   rename).
3. Make the new names durable, then add the rows to the manifest.
4. If the new document has another path, remove the old one. Sessions in the store may be written to at any time, so for
   them steps 3 and 4 are done before the lock is released.

Editors take no lock. If one saves the old document at any moment before it is replaced or removed, what it saved stays
in place or goes back there, and the document is rewritten again from it.

If this is interrupted at any point, the old document, the new one or both are in place, and the same call does the
rest.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from localstore.disk import backup_folder, durable_files, filesystem, store_tree
from localstore.disk.backup_folder import Backup
from localstore.disk.document_file import IRREGULAR, DocumentFile, fingerprint
from localstore.disk.durable_files import FileChanged
from localstore.disk.store_identity import make_folders
from localstore.engine.engine import Engine
from localstore.errors import DocumentBroken, LocalstoreError, StoreNotFound
from localstore.format.document import ParsedDocument, parse_strictly
from localstore.format.values import json_equal
from localstore.index.row import IndexRow, row_of
from localstore.maintenance.upgrade.results import Problem

Transform = Callable[[ParsedDocument, str], tuple[str, ParsedDocument] | None]
"""A function from a strictly parsed document and its path relative to the root to the new path and document, or to None
if the document need not change."""

_Result = TypeVar("_Result")

_MARGIN = 16 << 20
"""Bytes that must stay free on the disk."""

_ATTEMPTS = 5
"""The most times a document is read without its lock while another program writes to it."""


@dataclass(slots=True)
class Outcome:
    """The number of documents that were rewritten, and the problems of those that could not be."""

    documents: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Merge `other`, the outcome for other documents, into this one."""
        self.documents += other.documents
        self.problems += other.problems


@dataclass(slots=True)
class _Change:
    """A document as it was read (`raw`, `status`), and the document `new` to write to the path `target`."""

    raw: bytes
    status: os.stat_result
    target: str
    new: ParsedDocument

    @property
    def session_id(self) -> str:
        return str(self.new.header["session_id"])


@dataclass(slots=True)
class _Written:
    """A document that was rewritten.

    `row` is the row of the new document. `source` is the path of the old document if it must be removed, or None, and
    `old` is its status. `is_complete` is True once the manifest has the row and the old document is removed.
    """

    row: IndexRow
    source: str | None
    old: os.stat_result
    is_complete: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """The path for a new document, and the status of the file there; None if there is none.

    `is_written` is True if an earlier, interrupted call already wrote the document there.
    """

    path: str
    status: os.stat_result | None = None
    is_written: bool = False


class Rewriter:
    """Rewrites documents of a store with `transform`. Paths are relative to the root, with slashes."""

    def __init__(self, root: str, backup: Backup, transform: Transform, timeout: float) -> None:
        self._root = root
        self._backup = backup
        self._transform = transform
        self._timeout = timeout
        engine = Engine(Path(root), durable=True, timeout=timeout)
        self._locks, self._manifest, self._index = engine.locks, engine.manifest, engine.index
        self._resumed: set[str] = set()
        """The paths of the documents that were in the backup already, because an interrupted call began with them."""
        self._created: dict[str, tuple[str, list[int]]] = {}
        """The paths of the documents that this call wrote: the path of the old one, and the fingerprint of the new."""

    def rewrite(self, paths: Sequence[str]) -> Outcome:
        """Rewrite the documents at these paths and return the outcome.

        A document that cannot be rewritten stays as it is, and the outcome names it. Raises OSError if the disk is
        full; the documents before that one have then been rewritten.
        """
        outcome = Outcome()
        kept = [path for path in paths if self._try(path, outcome, self._keep)]
        self._backup.sync()
        written: list[_Written] = []
        try:
            for path in kept:
                done = self._try(path, outcome, self._write)
                if done is None:
                    self._backup.forget_unchanged(path)
                else:
                    written.append(done)
        finally:
            for folder in {os.path.dirname(self._full(done.row["path"])) for done in written}:
                filesystem.sync_folder(folder)
            incomplete = [done for done in written if not done.is_complete]
            self._manifest.record([done.row for done in incomplete if self._belongs_in_manifest(done)])
        outcome.documents += len(written)
        self._remove_sources(written, outcome)
        return outcome

    def _keep(self, path: str) -> bool:
        status = filesystem.system.status(self._full(path))
        if not stat.S_ISREG(status.st_mode):
            raise DocumentBroken(f"{self._full(path)} {IRREGULAR}.", path=self._full(path), problem=IRREGULAR)
        if filesystem.exists(self._backup.place(path)):
            self._resumed.add(path)
        self._backup.keep(path)
        return True

    def _try(self, path: str, outcome: Outcome, work: Callable[[str], _Result | None]) -> _Result | None:
        """Return the result of `work` for a document, or None if it fails or the document was deleted.

        A failure is added to the problems of `outcome`. Raises OSError if the disk is full.
        """
        try:
            return work(path)
        except StoreNotFound:
            raise
        except FileNotFoundError as error:
            if not filesystem.exists(self._full(path)):
                return None  # deleted in the meantime
            outcome.problems.append(Problem.of(self._full(path), error))
        except (LocalstoreError, OSError) as error:
            if isinstance(error, OSError) and error.errno in filesystem.FULL:
                raise  # the next document would fail as well
            outcome.problems.append(Problem.of(self._full(path), error))
        return None

    def _write(self, path: str) -> _Written | None:
        """Rewrite one document and return the result, or None if it need not change or was deleted.

        The document is read without its lock. If other programs keep writing to it, it is read under the lock.
        """
        for _ in range(_ATTEMPTS):
            try:
                change = self._read(path)
            except DocumentBroken:
                break
            if change is None:
                return None
            with self._locks.session(change.session_id, self._timeout):
                now = filesystem.status_or_none(self._full(path))
                if now is None:
                    return None
                if fingerprint(now) == fingerprint(change.status):
                    with contextlib.suppress(FileChanged):
                        return self._put(path, change)
        session_id = self._session_at(path)
        with self._locks.session(session_id, self._timeout), contextlib.suppress(FileChanged):
            change = self._read(path)
            if change is None or change.session_id == session_id:
                return None if change is None else self._put(path, change)
        problem = "keeps being changed by another program"
        raise DocumentBroken(f"{self._full(path)} {problem}.", path=self._full(path), problem=problem)

    def _session_at(self, path: str) -> str:
        """Return the session id that the manifest has for a path or, without one, the file name without its suffix."""
        self._manifest.refresh()
        with self._manifest.mutex:
            return self._manifest.session_at(path) or os.path.splitext(os.path.basename(path))[0]

    def _read(self, path: str) -> _Change | None:
        with DocumentFile(self._full(path)) as file:
            raw, status = file.read_all(), file.status
        rewritten = self._transform(parse_strictly(raw, file.layout, file.path), path)
        return None if rewritten is None else _Change(raw, status, *rewritten)

    def _put(self, path: str, change: _Change) -> _Written:
        """Write the new document. Requires the session's lock. Raises FileChanged if the old document changed."""
        new, old = change.new, change.status
        if len(new.raw) > len(change.raw):
            check_free_space(self._root, len(new.raw), self._full(path))
        if not self._backup.holds(path, old, change.raw):
            self._backup.keep(path)
            self._backup.sync()
            old = filesystem.system.status(self._full(path))  # a hard link to a file changes its ctime
            if not durable_files.is_same(old, change.status):
                raise FileChanged(path)
        place = _Place(path, old) if change.target == path else self._place(change.target, path, new)
        if place.is_written:
            return self._written_before(place.path, path, old)
        target = self._full(place.path)
        written = None
        try:
            if place.status is None:
                written = durable_files.create_file(target, [new.raw], sync_name=False)
            else:
                durable_files.replace_file(target, [new.raw], place.status, sync_name=False)
            row = row_of(new, place.path, filesystem.system.status(target), None)
            done = _Written(row, None if place.path == path else path, old)
            if place.path != path and path.startswith(f"{store_tree.SESSIONS}/"):
                self._complete(done, path)
        except BaseException:
            with contextlib.suppress(OSError, FileChanged):
                if written is not None and filesystem.exists(self._full(path)):
                    # The old document stays, and the session must not have two.
                    now = filesystem.system.status(target)
                    if durable_files.is_same(now, written):
                        durable_files.remove_unchanged(target, now)
            raise
        self._created[place.path] = path, row["fingerprint"]
        return done

    def _place(self, target: str, source: str, new: ParsedDocument) -> _Place:
        """Return the place for the new document: `target`, or that of an existing document of the session.

        Raises DocumentBroken if there is a document with different content.
        """
        session_id = new.header["session_id"]
        holder = self._index.find(session_id)
        if (
            holder is not None
            and holder["path"] not in (source, target)
            and filesystem.exists(self._full(holder["path"]))
        ):
            target = holder["path"]
        if not filesystem.exists(self._full(target)):
            make_folders(self._root, os.path.dirname(self._full(target)))
            return _Place(target)
        with DocumentFile(self._full(target)) as file:
            there, status = file.parse(), file.status
        if there.header["session_id"] == session_id:
            if includes(there, new):
                self._keep_other(target, source)
                return _Place(target, status, is_written=True)
            is_ours = self._created.get(target) == (source, fingerprint(status))  # and the old one was changed since
            if (includes(new, there) or is_ours) and there.layout is new.layout:
                if self._keep_other(target, source):
                    status = filesystem.system.status(self._full(target))
                return _Place(target, status)
        raise DocumentBroken(
            f"{self._full(source)} and {self._full(target)} have different contents for session {session_id!r}. "
            "Nothing was changed.",
            path=self._full(source),
            problem=f"is session {session_id!r}, and so is {self._full(target)}, which has another content. Give one "
            "of them another session_id, or remove it",
        )

    def _complete(self, done: _Written, source: str) -> None:
        """Make the new document durable, record its row and remove the old document.

        Requires the session's lock: once it is released, other programs could write to the old document.
        """
        filesystem.sync_folder(os.path.dirname(self._full(done.row["path"])))
        if self._belongs_in_manifest(done):
            self._manifest.record([done.row])
        durable_files.remove_unchanged(self._full(source), done.old, sync_name=False)
        done.is_complete = True

    def _keep_other(self, target: str, source: str) -> bool:
        """Keep the document at `target` in the backup, unless this call or an interrupted one wrote it.

        Return whether it was kept.
        """
        if source in self._resumed or target in self._created or self._was_kept(source):
            return False
        self._backup.keep(target)
        self._backup.sync()
        return True

    def _was_kept(self, source: str) -> bool:
        """Return whether an earlier backup holds the same file as `source`.

        The document at the target was then made from it.
        """
        now = filesystem.system.status(self._full(source))
        for backup in backup_folder.listing(self._root):
            kept = filesystem.status_or_none(Backup(self._root, backup.name).place(source))
            if backup.name != self._backup.name and kept is not None and os.path.samestat(kept, now):
                return True
        return False

    def _written_before(self, target: str, source: str, status: os.stat_result) -> _Written:
        with DocumentFile(self._full(target)) as file:
            row = row_of(file.parse(), target, file.status, None)
        return _Written(row, source, status)

    def _belongs_in_manifest(self, done: _Written) -> bool:
        """Return whether to record the row: False if the manifest names another existing document for the session."""
        self._manifest.refresh()
        listed = self._manifest.get(done.row["session_id"])
        return (
            listed is None
            or listed["path"] in (done.row["path"], done.source)
            or not filesystem.exists(self._full(listed["path"]))
        )

    def _remove_sources(self, written: list[_Written], outcome: Outcome) -> None:
        """Remove the old documents that have a new path, and update `outcome`.

        If another program wrote to an old document since it was read, it is rewritten again first.
        """
        again: list[str] = []
        folders: set[str] = set()
        for done in written:
            if done.source is None:
                continue
            source = self._full(done.source)
            folders.add(os.path.dirname(source))
            if done.is_complete:
                continue
            try:
                with self._locks.session(done.row["session_id"], self._timeout):
                    durable_files.remove_unchanged(source, done.old, sync_name=False)
            except FileChanged:
                if filesystem.exists(source):
                    again.append(done.source)
            except (LocalstoreError, OSError) as error:
                outcome.problems.append(Problem.of(source, error))
                outcome.documents -= 1
        for folder in folders:
            filesystem.sync_folder(folder)
        if again:
            outcome.documents -= len(again)
            outcome.add(self.rewrite(again))

    def _full(self, path: str) -> str:
        return store_tree.full_path(self._root, path)


def check_free_space(root: str, size: int, path: str | None = None) -> None:
    """Raise OSError unless `size` bytes fit on the disk. The error names the document at `path`, or else the root."""
    needed, free = size + _MARGIN, filesystem.system.free_space(root)
    if free < needed:
        needed_text, free_text = (f"{number / 1_000_000:,.0f} MB" for number in (needed, free))
        problem = f"Too little room: {needed_text} are needed, and {free_text} are free. Nothing was changed"
        raise OSError(errno.ENOSPC, problem, path or root)


def includes(longer: ParsedDocument, shorter: ParsedDocument) -> bool:
    """Return whether both documents have the same header, and `longer` begins with the entries of `shorter`."""
    entries = longer.entries[: len(shorter.entries)]
    return json_equal(longer.header, shorter.header) and json_equal(entries, shorter.entries)

"""Rewrite documents, and move them where needed: one at a time, each under its lock.

Documents are rewritten in batches, so that folders and manifest are written once for many of them:

1. Keep the old documents in the backup, and make the backup durable.
2. For each document: parse, transform, lock, check that it is unchanged, and write the new one (temporary file, sync,
   rename).
3. Make the new names durable, then add the rows to the manifest.
4. Where the new document has another path, remove the old one unless somebody wrote to it meanwhile. Sessions in the
   store may be written to at any time, so for them steps 3 and 4 are done before the lock is released.

Stopped at any point, the old document or the new one is in its place, or both; the same call does the rest.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from localstore.disk import backup_folder, durable_files, filesystem, store_tree
from localstore.disk.backup_folder import Backup
from localstore.disk.document_file import IRREGULAR, DocumentFile, fingerprint
from localstore.engine.engine import Engine
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import ParsedDocument, parse_strictly
from localstore.format.values import json_equal
from localstore.index.row import IndexRow, row_of
from localstore.maintenance.upgrade.results import Problem

Transform = Callable[[ParsedDocument, str], tuple[str, ParsedDocument] | None]
"""Maps a document, strictly parsed, and its path below the root to the new path and document, or to None if nothing has
to be changed."""

_Result = TypeVar("_Result")

_ATTEMPTS = 5
"""How often a document is read again when another program writes to it at the same time."""


@dataclass(slots=True)
class Outcome:
    """How many documents were rewritten, and which were not."""

    documents: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Add the outcome of other documents."""
        self.documents += other.documents
        self.problems += other.problems


@dataclass(slots=True)
class _Change:
    """A document as it was read, and the document to write."""

    raw: bytes
    status: os.stat_result
    target: str
    new: ParsedDocument

    @property
    def session_id(self) -> str:
        return str(self.new.header["session_id"])


@dataclass(slots=True)
class _Written:
    """A new document: its row, and the path and fingerprint of the old one if it has to be removed.

    `settled` says that the manifest has the row and the old document is gone.
    """

    row: IndexRow
    source: str | None
    fingerprint: list[int]
    settled: bool = False


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
        """Documents that the backup had already: an interrupted call began to rewrite them."""
        self._created: set[str] = set()
        """The paths of the documents that this call wrote."""

    def rewrite(self, paths: Sequence[str]) -> Outcome:
        """Rewrite these documents. One that cannot be rewritten stays as it is and is named in the outcome.

        Raises OSError when the disk is full; the documents before that are rewritten.
        """
        outcome = Outcome()
        kept = [path for path in paths if self._try(path, outcome, self._keep)]
        self._backup.settle()
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
            unsettled = [done for done in written if not done.settled]
            self._manifest.record([done.row for done in unsettled if self._belongs_in_manifest(done)])
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
        """Take one step for a document. Returns None if nothing was to be done or it failed; the outcome names it."""
        try:
            return work(path)
        except FileNotFoundError as error:
            if not filesystem.exists(self._full(path)):
                return None  # deleted meanwhile
            outcome.problems.append(Problem.of(self._full(path), error))
        except (LocalstoreError, OSError) as error:
            if isinstance(error, OSError) and error.errno in filesystem.FULL:
                raise  # the next document would fail as well
            outcome.problems.append(Problem.of(self._full(path), error))
        return None

    def _write(self, path: str) -> _Written | None:
        """Rewrite one document, read without its lock first, and under the lock if others keep writing to it."""
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
                    return self._put(path, change)
        session_id = self._session_at(path)
        with self._locks.session(session_id, self._timeout):
            change = self._read(path)
            if change is None or change.session_id == session_id:
                return None if change is None else self._put(path, change)
        problem = "is being changed by another program all the time"
        raise DocumentBroken(f"{self._full(path)} {problem}.", path=self._full(path), problem=problem)

    def _session_at(self, path: str) -> str:
        """Return whose document this probably is, without reading it."""
        self._manifest.refresh()
        with self._manifest.mutex:
            return self._manifest.session_at(path) or os.path.splitext(os.path.basename(path))[0]

    def _read(self, path: str) -> _Change | None:
        with DocumentFile(self._full(path)) as file:
            raw, status = file.read_all(), file.status
        rewritten = self._transform(parse_strictly(raw, file.layout, file.path), path)
        return None if rewritten is None else _Change(raw, status, *rewritten)

    def _put(self, path: str, change: _Change) -> _Written:
        """Write the new document. The caller holds the session's lock, and the old document is unchanged."""
        target, new, now = change.target, change.new, change.status
        if not self._backup.holds(path, now, change.raw):
            self._backup.keep(path)
            self._backup.settle()
            now = filesystem.system.status(self._full(path))
        if target != path:
            target, is_written = self._place(target, path, new)
            if is_written:
                return self._written_before(target, path, now)
        is_new = not filesystem.exists(self._full(target))
        try:
            durable_files.write_file(self._full(target), [new.raw], settle=False)
            row = row_of(new, target, filesystem.system.status(self._full(target)), None)
            done = _Written(row, None if target == path else path, fingerprint(now))
            if target != path and path.startswith(f"{store_tree.SESSIONS}/"):
                self._settle(done, path)
        except BaseException:
            with contextlib.suppress(OSError):
                if is_new and filesystem.exists(self._full(path)):
                    # The old document stays, and the session must not have two.
                    filesystem.system.unlink(self._full(target))
            raise
        self._created.add(target)
        return done

    def _place(self, target: str, source: str, new: ParsedDocument) -> tuple[str, bool]:
        """Return where the new document goes, and whether an interrupted call has written it already."""
        session_id = new.header["session_id"]
        holder = self._index.find(session_id)
        if (
            holder is not None
            and holder["path"] not in (source, target)
            and filesystem.exists(self._full(holder["path"]))
        ):
            target = holder["path"]
        if not filesystem.exists(self._full(target)):
            filesystem.make_folders(Path(os.path.dirname(self._full(target))))
            return target, False
        with DocumentFile(self._full(target)) as file:
            there = file.parse()
        if there.header["session_id"] == session_id:
            if includes(there, new):
                self._keep_other(target, source)
                return target, True
            if includes(new, there) and there.layout is new.layout:
                self._keep_other(target, source)
                return target, False
        raise DocumentBroken(
            f"{self._full(source)} and {self._full(target)} have different contents for session {session_id!r}. "
            "Nothing was changed.",
            path=self._full(source),
            problem=f"is session {session_id!r}, and so is {self._full(target)}, which has another content. Give one "
            "of them another session_id, or remove it",
        )

    def _settle(self, done: _Written, source: str) -> None:
        """Remove the old document before the session's lock is released, or others would go on writing to it."""
        filesystem.sync_folder(os.path.dirname(self._full(done.row["path"])))
        if self._belongs_in_manifest(done):
            self._manifest.record([done.row])
        filesystem.system.unlink(self._full(source))
        done.settled = True

    def _keep_other(self, target: str, source: str) -> None:
        """Keep a document that was at the target before, unless this call or an interrupted one wrote it."""
        if source in self._resumed or target in self._created or self._was_kept(source):
            return
        self._backup.keep(target)
        self._backup.settle()

    def _was_kept(self, source: str) -> bool:
        """Return whether an earlier backup holds this very file: then the document at the target was made from it."""
        now = filesystem.system.status(self._full(source))
        for backup in backup_folder.listing(self._root):
            kept = filesystem.status_or_none(Backup(self._root, backup.name).place(source))
            if backup.name != self._backup.name and kept is not None and os.path.samestat(kept, now):
                return True
        return False

    def _written_before(self, target: str, source: str, status: os.stat_result) -> _Written:
        with DocumentFile(self._full(target)) as file:
            row = row_of(file.parse(), target, file.status, None)
        return _Written(row, source, fingerprint(status))

    def _belongs_in_manifest(self, done: _Written) -> bool:
        """Return whether the manifest should have this row: not if it names another document that exists."""
        self._manifest.refresh()
        listed = self._manifest.get(done.row["session_id"])
        return (
            listed is None
            or listed["path"] in (done.row["path"], done.source)
            or not filesystem.exists(self._full(listed["path"]))
        )

    def _remove_sources(self, written: list[_Written], outcome: Outcome) -> None:
        """Remove the old documents; those that somebody wrote to since they were read are rewritten again first."""
        again: list[str] = []
        folders: set[str] = set()
        for done in written:
            if done.source is None:
                continue
            source = self._full(done.source)
            folders.add(os.path.dirname(source))
            if done.settled:
                continue
            try:
                with self._locks.session(done.row["session_id"], self._timeout):
                    now = filesystem.status_or_none(source)
                    if now is not None and fingerprint(now) == done.fingerprint:
                        filesystem.system.unlink(source)
                    elif now is not None:
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


def includes(longer: ParsedDocument, shorter: ParsedDocument) -> bool:
    """Return whether a document has the same header as another, and begins with its entries."""
    entries = longer.entries[: len(shorter.entries)]
    return json_equal(longer.header, shorter.header) and json_equal(entries, shorter.entries)

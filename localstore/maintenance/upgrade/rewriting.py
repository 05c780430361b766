"""Give documents other bytes, and another place where they need one, one at a time, under its lock.

In batches, so that the folders and the manifest are written once for many documents:

1. Keep the old documents in the backup, and make that durable.
2. For each: parse, transform, lock, see that it is still the same, write the new one: temporary file, sync, rename.
3. Make the new names durable, then tell the manifest.
4. Where the new document has another path, remove the old one, unless somebody wrote to it meanwhile. What stands in
   the store is written to all the time: there, 3 and 4 are done for each document before its lock is given back.

Stopped anywhere, the old document or the new one is in its place, or both; the same call does the rest.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from localstore.disk import backup_folder, filesystem, locks, store_tree
from localstore.disk.backup_folder import Backup
from localstore.disk.document_file import IRREGULAR, DocumentFile, fingerprint
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import ParsedDocument, parse_strictly
from localstore.format.values import json_equal
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, row_of
from localstore.index.session_index import SessionIndex
from localstore.maintenance.upgrade.results import Problem

Transform = Callable[[ParsedDocument, str], tuple[str, ParsedDocument] | None]
"""From a document, strictly parsed, and its path below the root to the new path and document; None when it is right as
it is."""

_Result = TypeVar("_Result")

_ATTEMPTS = 5
"""How often a document is tried again that somebody else writes to at the same time."""


@dataclass(slots=True)
class Outcome:
    """What became of some documents: how many were rewritten, and which were not."""

    documents: int = 0
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class _Seen:
    """A document as it was read, and what is to become of it."""

    raw: bytes
    status: os.stat_result
    target: str
    new: ParsedDocument

    @property
    def session_id(self) -> str:
        return str(self.new.header["session_id"])


@dataclass(slots=True)
class _Written:
    """A new document: its row, and what the old one was when it was read, if that stood elsewhere. `settled` says that
    the manifest knows it and the old one is gone."""

    row: IndexRow
    source: str | None
    fingerprint: list[int]
    settled: bool = False


class Rewriter:
    """Rewrites documents of the store at `root` by `transform`. Paths are relative to the root, with slashes."""

    def __init__(self, root: str, backup: Backup, transform: Transform, timeout: float) -> None:
        self._root = root
        self._backup = backup
        self._transform = transform
        self._timeout = timeout
        self._locks = locks.pool_of(Path(root))
        self._manifest = Manifest(root, self._locks, timeout)
        self._catalog = SessionIndex(root, self._manifest)
        self._goes_on: set[str] = set()
        self._made: set[str] = set()

    def rewrite(self, paths: Sequence[str]) -> Outcome:
        """Do it to these documents. One that cannot be rewritten stays as it is, and is named.

        Raises OSError when the disk is full; what was done until then is done.
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
            self._manifest.record([done.row for done in written if not done.settled and self._is_to_be_known(done)])
        outcome.documents += len(written)
        self._remove_sources(written, outcome)
        return outcome

    def _keep(self, path: str) -> bool:
        status = filesystem.system.status(self._full(path))
        if not stat.S_ISREG(status.st_mode):
            raise DocumentBroken(f"{self._full(path)} {IRREGULAR}.", path=self._full(path), problem=IRREGULAR)
        if filesystem.exists(self._backup.place(path)):
            self._goes_on.add(path)
        self._backup.keep(path)
        return True

    def _try(self, path: str, outcome: Outcome, work: Callable[[str], _Result | None]) -> _Result | None:
        """Do one thing about a document; None when it could not be done, which is named, or nothing was to be done."""
        try:
            return work(path)
        except FileNotFoundError as error:
            if not filesystem.exists(self._full(path)):
                return None  # deleted meanwhile
            outcome.problems.append(Problem.of(self._full(path), error))
        except (LocalstoreError, OSError) as error:
            if isinstance(error, OSError) and error.errno in filesystem.FULL:
                raise  # going on with the next document is of no use
            outcome.problems.append(Problem.of(self._full(path), error))
        return None

    def _write(self, path: str) -> _Written | None:
        """Rewrite one document. It is read without the lock first; under it when somebody writes to it just now."""
        for _ in range(_ATTEMPTS):
            try:
                seen = self._read(path)
            except DocumentBroken:
                break
            if seen is None:
                return None
            with self._locks.session(seen.session_id, self._timeout):
                now = filesystem.status_if_there(self._full(path))
                if now is None:
                    return None
                if fingerprint(now) == fingerprint(seen.status):
                    return self._put(path, seen)
        session_id = self._session_at(path)
        with self._locks.session(session_id, self._timeout):
            seen = self._read(path)
            if seen is None or seen.session_id == session_id:
                return None if seen is None else self._put(path, seen)
        problem = "is being changed by another program all the time"
        raise DocumentBroken(f"{self._full(path)} {problem}.", path=self._full(path), problem=problem)

    def _session_at(self, path: str) -> str:
        """Whose document this is, as far as can be told without reading it."""
        self._manifest.refresh()
        with self._manifest.mutex:
            return self._manifest.at(path) or os.path.splitext(os.path.basename(path))[0]

    def _read(self, path: str) -> _Seen | None:
        with DocumentFile(self._full(path)) as file:
            raw, status = file.read_all(), file.status
        change = self._transform(parse_strictly(raw, file.layout, file.path), path)
        return None if change is None else _Seen(raw, status, *change)

    def _put(self, path: str, seen: _Seen) -> _Written:
        """Write the new document, under the lock of its session; the old one is still what was seen."""
        target, new, now = seen.target, seen.new, seen.status
        if not self._backup.holds(path, now, seen.raw):
            self._backup.keep(path)
            self._backup.settle()
            now = filesystem.system.status(self._full(path))
        if target != path:
            target, is_there = self._place(target, path, new)
            if is_there:
                return self._already(target, path, now)
        is_new = not filesystem.exists(self._full(target))
        try:
            filesystem.write_file(self._full(target), [new.raw], settle=False)
            row = row_of(new, target, filesystem.system.status(self._full(target)), None)
            done = _Written(row, None if target == path else path, fingerprint(now))
            if target != path and path.startswith(f"{store_tree.SESSIONS}/"):
                self._settle(done, path)
        except BaseException:
            with contextlib.suppress(OSError):
                if is_new and filesystem.exists(self._full(path)):
                    # The old one stays: nobody is to take this one for another of that session.
                    filesystem.system.unlink(self._full(target))
            raise
        self._made.add(target)
        return done

    def _place(self, target: str, source: str, new: ParsedDocument) -> tuple[str, bool]:
        """Where the new document goes, and whether it is there already: left by somebody who was stopped in between."""
        session_id = new.header["session_id"]
        holder = self._catalog.find(session_id)
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
            if goes_on_from(there, new):
                self._keep_other(target, source)
                return target, True
            if goes_on_from(new, there) and there.layout is new.layout:
                self._keep_other(target, source)
                return target, False
        raise DocumentBroken(
            f"{self._full(source)} and {self._full(target)} say different things about session {session_id!r}. "
            "Nothing was changed.",
            path=self._full(source),
            problem=f"is session {session_id!r}, and so is {self._full(target)}, which says something else. Give one "
            "of them another session_id, or remove it",
        )

    def _settle(self, done: _Written, source: str) -> None:
        """Let the new document be the session's before its lock is given back. Others write to what stands in the
        store, and would write to the old one first and to the new one later."""
        filesystem.sync_folder(os.path.dirname(self._full(done.row["path"])))
        if self._is_to_be_known(done):
            self._manifest.record([done.row])
        filesystem.system.unlink(self._full(source))
        done.settled = True

    def _keep_other(self, target: str, source: str) -> None:
        """Keep a document that was there before: not one of ours, of now or of when we were interrupted."""
        if source in self._goes_on or target in self._made or self._was_kept(source):
            return
        self._backup.keep(target)
        self._backup.settle()

    def _was_kept(self, source: str) -> bool:
        """Whether a backup before this one holds this very file: then the other document was made of it."""
        now = filesystem.system.status(self._full(source))
        for one in backup_folder.listing(self._root):
            kept = filesystem.status_if_there(Backup(self._root, one.name).place(source))
            if one.name != self._backup.name and kept is not None and os.path.samestat(kept, now):
                return True
        return False

    def _already(self, target: str, source: str, status: os.stat_result) -> _Written:
        with DocumentFile(self._full(target)) as file:
            row = row_of(file.parse(), target, file.status, None)
        return _Written(row, source, fingerprint(status))

    def _is_to_be_known(self, done: _Written) -> bool:
        """Whether the manifest is to name this document for its session: not when it names another one."""
        self._manifest.refresh()
        known = self._manifest.get(done.row["session_id"])
        return (
            known is None
            or known["path"] in (done.row["path"], done.source)
            or not filesystem.exists(self._full(known["path"]))
        )

    def _remove_sources(self, written: list[_Written], outcome: Outcome) -> None:
        """Remove the old documents. What somebody wrote to them since they were read is taken over first."""
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
                    now = filesystem.status_if_there(source)
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
            more = self.rewrite(again)
            outcome.documents += more.documents
            outcome.problems += more.problems

    def _full(self, path: str) -> str:
        return store_tree.full_path(self._root, path)


def goes_on_from(longer: ParsedDocument, shorter: ParsedDocument) -> bool:
    """Whether a document says all that the other one says, and goes on from there, if at all."""
    entries = longer.entries[: len(shorter.entries)]
    return json_equal(longer.header, shorter.header) and json_equal(entries, shorter.entries)

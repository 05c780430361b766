"""Repair the problems that `check` finds and that need no decision by a person, while other programs may be writing.

A repair that changes the content, the name or the place of a file takes the file's lock and checks the problem again
under it. Every repair may be interrupted at any point and repeated. Nothing is deleted but old versions of documents
that a finished rewrite has replaced: other bytes and files to remove are moved to `.localstore/rescue/`.
"""

import contextlib
import errno
import os
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from localstore.disk import durable_files, filesystem, rescue_folder, store_place, store_tree, temporary_files
from localstore.disk.boot import boot_id
from localstore.disk.document_file import DocumentFile
from localstore.disk.id_of_file import id_in_head
from localstore.disk.store_tree import Opened
from localstore.engine.engine import Engine
from localstore.engine.open_document import ConcurrentChange
from localstore.engine.transaction import Transaction
from localstore.errors import DocumentBroken, LocalstoreError, NewerFormat, OlderFormat
from localstore.format.document import ParsedDocument
from localstore.index.row import IndexRow, carry_rewrite_flag, row_of
from localstore.maintenance.check import SUPERSEDED, Check
from localstore.maintenance.finding import Finding
from localstore.maintenance.git_merge import unite_in_file, unite_sides
from localstore.maintenance.merge_copies import MergedSession, merge_copies
from localstore.maintenance.tree_checks import MOST_MODES

CONFLICT = "both sides of a merge conflict"
"""The reason that a rescue file gives for a document whose conflict was resolved."""
_ROUNDS = 5
"""The most times the store is checked, since a repaired problem may have hidden another one."""
_RESCUE = rescue_folder.FOLDER.as_posix()
_ATTEMPTS = 5
"""The most times a repair is tried while another program writes to the document at the same time."""


def repair(store: Opened | Path | str, *, dry_run: bool = False, lock_timeout: float = 10.0) -> "Repair":
    """Return a repair of a store. Iterate over the result to run it and get the findings.

    The findings start with a `repair` for each problem that was repaired, followed by an `error` or `note` for each one
    that is left. The repair covers torn documents, merge conflicts of git, the manifest, leftover temporary files,
    permissions, and copies of sessions, which are united with their documents. Other programs may write in the
    meantime. Nothing is deleted. If the iteration is stopped at any point, the next repair does the rest.

    >>> from localstore import JsonStorage
    >>> [finding.advice for finding in repair(JsonStorage("my-sessions"), dry_run=True)]
    []

    Args:
        store: An open storage or the path of a store.
        dry_run: If True, nothing is changed; the findings say what would be repaired.
        lock_timeout: Seconds to wait for each lock.

    Raises StoreNotFound, OlderFormat or NewerFormat if there is no usable store. Iterating may raise LockTimeout, and
    OSError if the store cannot be read or written.
    """
    return Repair(store_tree.root_of(store), dry_run=dry_run, lock_timeout=lock_timeout)


class Repair:
    """A repair of a store. Iterating runs it: each problem is repaired just before its finding is yielded."""

    def __init__(self, root: Path, *, dry_run: bool, lock_timeout: float) -> None:
        self._root = root
        self._dry_run = dry_run
        self._lock_timeout = lock_timeout
        self._findings = self._run()
        self.sessions = 0
        """The number of documents checked in the last round; 0 before the first."""

    def __iter__(self) -> Generator[Finding, None, None]:
        return self._findings

    def _run(self) -> Generator[Finding, None, None]:
        failures: dict[tuple[str, int | None, str], str] = {}
        """Each problem that was tried, so that none is tried twice, and the reason why it could not be repaired.

        The reason is "" if the repair did not fail.
        """
        for rounds_left in reversed(range(_ROUNDS)):
            check = Check(str(self._root))
            findings = list(check)
            self.sessions = check.sessions
            repairs = _Repairs(check, Repairer(Engine(self._root, durable=True, timeout=self._lock_timeout)))
            others: list[Finding] = []
            is_done = True
            for finding in findings:
                key = finding.path, finding.line, finding.problem
                if finding.kind is None:
                    others.append(finding)
                elif key in failures:
                    others.append(replace(finding, problem=f"{finding.problem}{failures[key]}", kind=None))
                elif self._dry_run:
                    yield replace(finding, severity="repair", advice=repairs.description(finding))
                else:
                    is_done = False
                    failures[key], description = _try(repairs, finding)
                    if description is not None:
                        yield replace(finding, severity="repair", advice=description)
            if is_done or not rounds_left:
                break
        yield from others


def _try(repairs: "_Repairs", finding: Finding) -> tuple[str, str | None]:
    """Repair one problem. Return why it failed ("" if it did not), and what was done (None if nothing).

    Raises LockTimeout, and OSError unless the system forbids changing this one file.
    """
    try:
        return "", repairs.apply(finding)
    except (DocumentBroken, NewerFormat, OlderFormat) as error:
        return f", and cannot be repaired: {getattr(error, 'problem', '') or error}", None
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return ", and cannot be repaired: it belongs to another user, or the system protects it", None


class _Repairs:
    """Chooses and describes the repair for each finding of one finished check."""

    def __init__(self, check: Check, repairer: "Repairer") -> None:
        self._check = check
        self._repairer = repairer
        self._modes = dict(check.tree.modes)
        self._manifest_is_corrected = False
        self._merged: dict[str, list[MergedSession]] = {}
        """What became of the copies of each session that were united."""

    def description(self, finding: Finding) -> str:
        """Return a sentence that describes the repair that `apply` makes for a finding."""
        path = self._relative(finding)
        match finding.kind:
            case "mode":
                return f"Set it to {self._modes[path]:o}." if path else "Set them to 600 and 700."
            case "torn":
                return f"Rewrite it without the torn part, which is kept in {_RESCUE}."
            case "conflict":
                return (
                    "Unite the runs of both sides. If both changed the same thing, the document as it is now is kept "
                    f"in {_RESCUE}."
                )
            case "leftover" if finding.problem == SUPERSEDED:
                return "Remove it."
            case "leftover":
                return f"Move it to {_RESCUE}."
            case "duplicate":
                document = self._check.duplicates[path]
                if document == path:
                    return "Give it the name of the document."
                return f"Unite it with {store_tree.full_path(self._check.root, document)}, and move it to {_RESCUE}."
            case "copy":
                return f"Record its place in {store_place.PLACE}."
            case _:
                return "Rewrite the manifest to match the documents."

    def apply(self, finding: Finding) -> str | None:
        """Repair the problem of a finding. Return what was done, or None if nothing was left to do.

        May raise LockTimeout; DocumentBroken, NewerFormat or OlderFormat if the document cannot be repaired; OSError.
        """
        path = self._relative(finding)
        match finding.kind:
            case "mode":
                self._set_modes([(path, self._modes[path])] if path else self._check.tree.modes[MOST_MODES:])
            case "torn":
                self._repairer.rewrite_torn(path)
            case "leftover":
                self._repairer.move_leftover(path)
            case "conflict":
                return self._repairer.unite_sides(path)
            case "duplicate":
                self._merge(path)
            case "copy":
                store_place.record(self._check.root)
            case _:
                if not self._manifest_is_corrected:
                    self._repairer.correct_manifest(self._check.manifest.stale)
                    self._manifest_is_corrected = True
        return self.description(finding)

    def _merge(self, path: str) -> None:
        """Unite a copy, and all others of its session, with the document. Raises DocumentBroken if it stays."""
        session_id = self._check.rows[path]["session_id"]
        if session_id not in self._merged:
            self._merged[session_id] = self._repairer.merge_copies(session_id)
        full_path = store_tree.full_path(self._check.root, path)
        for merged in self._merged[session_id]:
            problems = [copy.problem for copy in merged.copies if str(copy.path) == full_path] or [merged.problem]
            for problem in filter(None, problems):
                raise DocumentBroken(problem, path=full_path, problem=problem.removeprefix(full_path).strip())

    def _set_modes(self, modes: list[tuple[str, int]]) -> None:
        """Set all modes that the system lets us set, then raise the first PermissionError, if there was one."""
        refused = None
        for path, mode in modes:
            try:
                self._repairer.set_mode(path, mode)
            except PermissionError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def _relative(self, finding: Finding) -> str:
        """Return the path of a finding relative to the root, with slashes; "" for the root itself."""
        path = os.path.relpath(finding.path, self._check.root).replace(os.sep, "/")
        return "" if path == "." else path


class Repairer:
    """Makes single repairs in a store. Paths are relative to its root, with slashes.

    Methods other than `set_mode` may raise LockTimeout if a lock is not free in time, and DocumentBroken, NewerFormat
    or OlderFormat if a document cannot be repaired. All may raise OSError.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._root = engine.root
        self._timeout = engine.timeout
        self._locks = engine.locks
        self._manifest = engine.manifest
        self._index = engine.index

    def set_mode(self, path: str, mode: int) -> None:
        """Set the permissions of a file or folder; do nothing if it no longer exists.

        No lock is taken: a program that is writing the file notices the change and tries again.
        """
        with contextlib.suppress(FileNotFoundError):
            filesystem.system.set_mode(self._full(path), mode)

    def rewrite_torn(self, path: str) -> None:
        """Rewrite a torn document as the next write would, and move its torn bytes to a rescue file.

        Do nothing if the document was deleted or is whole again.
        """
        for _ in range(_ATTEMPTS):
            self._manifest.refresh()  # its rows tell a crash from an edit
            row = self._index.adopt(path)
            if row is None:
                return  # deleted in the meantime
            try:
                with self._locks.session(row["session_id"], self._timeout):
                    self._manifest.refresh()
                    current = self._index.adopt(path)
                    if current is None or current["session_id"] != row["session_id"]:
                        continue
                    marks = self._locks.marks(row["session_id"])
                    with Transaction(self._root, current, marks, durable=True) as transaction:
                        session_id = transaction.row["session_id"]
                        if transaction.changed and self._manifest.session_at(path) in (None, session_id):
                            listed = self._manifest.get(session_id)
                            if listed is None or listed["path"] == path:
                                self._manifest.record([transaction.row])
                return
            except ConcurrentChange:
                continue
            except FileNotFoundError:
                return

    def unite_sides(self, path: str) -> str | None:
        """Replace a document with merge conflicts of git by what both sides are together. Return what was done.

        If something of one side is not in it, the document with the conflicts is kept in a rescue file first. Return
        None, and do nothing, if there is no conflict any more.
        """
        full_path = self._full(path)
        for _ in range(_ATTEMPTS):
            found = unite_in_file(full_path)
            if found is None:
                return None
            with self._locks.session(found.session_id, self._timeout), DocumentFile(full_path) as file:
                raw = file.read_all()
                united = unite_sides(raw, file.layout, full_path)
                if united is None or united.session_id != found.session_id:
                    continue
                done = "United the runs of both sides."
                if not united.is_complete:
                    content = rescue_folder.piece(0, raw)
                    kept = rescue_folder.set_aside(self._root, path, united.session_id, CONFLICT, content)
                    what = ", ".join(one.what for one in united.differences)
                    done += f" Both changed {what}: see" if what else " Not everything is in it: see"
                    done += f" {rescue_folder.FOLDER / kept.name}, which has both sides."
                try:
                    durable_files.replace_file(full_path, [united.raw], file.status)
                except durable_files.FileChanged:
                    continue
                self._manifest.refresh()
                self._index.adopt(path)
                return done
        return None

    def move_leftover(self, path: str) -> None:
        """Move a temporary file to `.localstore/rescue/`, unless another program may still be writing it.

        An old version of a document that a finished rewrite has replaced is removed instead: nothing in it is lost.
        The file must be old. Its session's lock is held as well, which excludes every writer of localstore; if the
        session is unknown, only the age counts.
        """
        folder, _, name = path.rpartition("/")
        final_name = temporary_files.final_name(name)
        if final_name is None:
            return
        self._manifest.refresh()
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
            if f"{folder}/{final_name}".lstrip("/") in (store_tree.MANIFEST, store_tree.OLD_MANIFEST):
                stack.enter_context(self._locks.manifest(self._timeout))
            else:
                session_id = self._manifest.session_at(f"{folder}/{final_name}")
                session_id = session_id or id_in_head(self._full(path), final_name)
                if session_id is not None:
                    stack.enter_context(self._locks.session(session_id, self._timeout))
            status = filesystem.system.status(self._full(path))
            if temporary_files.is_superseded(name, status):
                durable_files.remove_file(self._full(path))
            elif temporary_files.is_old(status):
                rescue_folder.move_aside(self._root, path, final_name)

    def merge_copies(self, session_id: str) -> list[MergedSession]:
        """Unite the copies of a session with its document, and return what was done."""
        return merge_copies(self._engine, session_id)

    def correct_manifest(self, stale: Sequence[tuple[str, str]]) -> None:
        """Update the manifest to match the documents, and compact it.

        Missing sessions are added and deleted ones removed. `stale` lists the documents, as pairs of path and session
        id, whose row may be wrong although their files have not changed. The record that the last sync of a document
        failed is kept, since only the manifest has it.
        """
        self._index.forget_scans()
        self._index.scan()
        rows_before = {session_id: self._manifest.get(session_id) for _, session_id in stale}
        for path, session_id in stale:
            with contextlib.suppress(FileNotFoundError, LocalstoreError):  # the next check reports it
                self._correct_row(path, session_id, rows_before[session_id])
        self._manifest.compact()

    def _correct_row(self, path: str, session_id: str, row_before: IndexRow | None) -> None:
        with self._locks.session(session_id, self._timeout):
            self._manifest.refresh()
            with DocumentFile(self._full(path)) as file:
                row = row_of(file.parse(), path, file.status, boot_id())
            listed = self._manifest.get(session_id)
            if row["session_id"] != session_id:
                return
            if listed is None or listed["path"] == path or not self._may_hold(listed["path"], session_id):
                self._manifest.record([carry_rewrite_flag(row, listed or row_before)])
            elif (listed_id := self._manifest.session_at(path)) is not None:
                self._manifest.record_deletion(listed_id)  # the file now belongs to another session

    def _may_hold(self, path: str, session_id: str) -> bool:
        """Return whether the file exists and belongs to the session. A file that cannot be read counts as its own."""
        try:
            return bool(self._parse(path).header["session_id"] == session_id)
        except FileNotFoundError:
            return False
        except LocalstoreError:
            return True

    def _parse(self, path: str) -> ParsedDocument:
        with DocumentFile(self._full(path)) as file:
            return file.parse()

    def _full(self, path: str) -> str:
        return store_tree.full_path(self._root, path)

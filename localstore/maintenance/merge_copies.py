"""Unite the copies of sessions with their documents, and keep the copies in the rescue folder.

Everything in a copy is durable in the document before the copy moves. What a merge does not take is in the copy, which
stays in the rescue folder unchanged; what it takes out of the document is set aside there first.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localstore.disk import durable_files, file_names, filesystem, rescue_folder, store_tree
from localstore.disk.conflict_copies import copy_name
from localstore.disk.document_file import DocumentFile
from localstore.disk.durable_files import FileChanged
from localstore.engine.merge import Difference, Merged, Version, keyed, merge
from localstore.engine.merged_rewrite import refuse_invalid, write_merged
from localstore.engine.open_document import ConcurrentChange
from localstore.engine.transaction import older_format_error
from localstore.errors import DocumentBroken, LocalstoreError, SessionNotFound, reason
from localstore.format.document import ParsedDocument, parse_strictly
from localstore.index.row import after_write
from localstore.models.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from localstore.engine.engine import Engine
    from localstore.engine.transaction import Transaction

LOST = "replaced by what a copy of the session has"
"""The reason for keeping what a document loses in a merge."""


@dataclass(frozen=True, slots=True)
class MergedCopy:
    """What became of one copy; in a dry run, what would.

    Attributes:
        path: Where the copy was.
        tool: The program that made it, as far as its name tells; else None.
        added: How many entries only the copy had.
        changed: How many entries of the document got another form, such as that of a finished run.
        removed: How many entries left the document, because the copy knows that they were removed on purpose.
        differences: What both have in different forms. `taken` is "ours" for the form of the document, and "theirs" for
            that of the copy.
        kept: The copy in the rescue folder; None in a dry run, or if there is a problem.
        problem: Why the copy stays in its place, or None.
    """

    path: Path
    tool: str | None
    added: int = 0
    changed: int = 0
    removed: int = 0
    differences: tuple[Difference, ...] = ()
    kept: Path | None = None
    problem: str | None = None

    @property
    def summary(self) -> str:
        """What the document got from the copy, such as `2 entries added, 1 changed`; empty if there is a problem."""
        if self.problem is not None:
            return ""
        counts = {"added": self.added, "changed": self.changed, "removed": self.removed}
        texts = [f"{number:,} {word}" for word, number in counts.items() if number]
        if texts:
            number, _, word = texts[0].partition(" ")
            texts[0] = f"{number} {'entry' if number == '1' else 'entries'} {word}"
        forms = {"ours": "the document", "theirs": "the copy"}
        texts += [f"{one.what} differs (taken from {forms[one.taken]})" for one in self.differences]
        return ", ".join(texts) or "nothing to add"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        differences = [{"what": one.what, "taken": one.taken, "run_id": one.run_id} for one in self.differences]
        paths = {"path": str(self.path), "kept": None if self.kept is None else str(self.kept)}
        return {**{name: getattr(self, name) for name in self.__slots__}, **paths, "differences": differences}


@dataclass(frozen=True, slots=True)
class MergedSession:
    """What became of the copies of one session; in a dry run, what would.

    Attributes:
        session_id: The session.
        path: Its document.
        copies: What became of each copy.
        renamed_from: The former path of the document if it had the name of a copy; else None.
        problem: Why nothing could be done, or None.
    """

    session_id: str
    path: Path
    copies: tuple[MergedCopy, ...] = ()
    renamed_from: Path | None = None
    problem: str | None = None

    @property
    def problems(self) -> list[str]:
        """Everything that could not be done."""
        found = [self.problem, *(copy.problem for copy in self.copies)]
        return [problem for problem in found if problem is not None]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {
            "session_id": self.session_id,
            "path": str(self.path),
            "copies": [copy.as_dict() for copy in self.copies],
            "renamed_from": None if self.renamed_from is None else str(self.renamed_from),
            "problem": self.problem,
        }


def merge_copies(engine: Engine, session_id: str | None = None, *, dry_run: bool = False) -> list[MergedSession]:
    """Unite the copies of one session, or of all, with its document; see `Storage.merge_copies`."""
    engine.index.scan()
    for folder, problem in engine.index.unreadable_folders.items():
        path = store_tree.full_path(engine.root, folder)
        raise DocumentBroken(f"{path} cannot be listed: {problem}. Check its permissions and the disk.", path=path)
    if session_id is not None:
        if engine.index.find_anywhere(session_id) is None:
            engine.refuse_unreadable(session_id)
            raise SessionNotFound(f"There is no session {session_id!r}. Check the id.", session_id=session_id)
        session_ids = [session_id]
    else:
        session_ids = sorted({*engine.index.duplicate_files().values(), *_only_copies(engine)})
    merged: list[MergedSession] = []
    moved_from: set[str] = set()
    try:
        for one in session_ids:
            _merge_session(engine, one, merged, moved_from, dry_run=dry_run)
    finally:
        if moved_from:
            rescue_folder.sync_moves(engine.root, moved_from)
    return merged


def _only_copies(engine: Engine) -> list[str]:
    """Return the sessions whose document has the name of a copy."""
    manifest = engine.manifest
    with manifest.mutex:
        return [
            session_id
            for folder in manifest.folders()
            for path, session_id in manifest.paths_in(folder).items()
            if copy_name(os.path.basename(path)) is not None
        ]


def _merge_session(
    engine: Engine, session_id: str, merged: list[MergedSession], moved_from: set[str], *, dry_run: bool
) -> None:
    """Unite the copies of a session, and add to `merged` what became of them, if there are any.

    The folders that copies left are added to `moved_from`.
    """
    row = engine.index.find_anywhere(session_id)
    if row is None:
        return
    merging = _Merging(engine, session_id, row["path"], moved_from)
    try:
        if dry_run:
            merging.preview()
        else:
            for attempt in engine.edit(session_id, names_copies=False):
                with attempt as document:
                    if document is not None:
                        merging.apply(document)
    except LocalstoreError as error:
        merging.problem = str(error)
    if (result := merging.result()) is not None:
        merged.append(result)


@dataclass
class _Merging:
    """The merge of the copies of one session. After a change by another program, it begins again."""

    engine: Engine
    session_id: str
    path: str
    moved_from: set[str]
    """The folders that copies left."""
    renamed_from: str | None = None
    copies: dict[str, MergedCopy] = field(default_factory=dict)
    """By path, what became of each copy. A copy that was moved is not among the copies of a further attempt."""
    problem: str | None = None

    def result(self) -> MergedSession | None:
        """Return what was done; None if there was nothing to do."""
        if not (self.copies or self.renamed_from or self.problem):
            return None
        renamed_from = None if self.renamed_from is None else self._full(self.renamed_from)
        copies = tuple(self.copies.values())
        return MergedSession(self.session_id, self._full(self.path), copies, renamed_from, self.problem)

    def preview(self) -> None:
        """Find out what `apply` would do, without a lock."""
        parsed, _ = self._parse(self.path)
        self._merge_all(parsed)
        if (new := self._canonical()) is not None:
            self.path, self.renamed_from = new, self.path

    def apply(self, document: Transaction) -> None:
        """Unite all copies with the document, whose session is locked.

        Raises ConcurrentChange and LayoutMismatch if another program writes to one of them meanwhile. It is then called
        again.
        """
        self.path = document.row["path"]
        merged, found = self._merge_all(document.whole())
        if found:
            write_merged(self.engine.root, document, merged, LOST)
            if not document.durable:
                filesystem.sync_file(document.file.fd, document.file.path)
                filesystem.sync_folder(os.path.dirname(document.file.path))
        for path, status in found.items():
            self._move(path, status)
        if (new := self._canonical()) is not None:
            with contextlib.suppress(FileExistsError):  # somebody has just made it: the next merge unites both
                _rename(document, self.engine.root, new)
                self.path, self.renamed_from = new, self.path

    def _merge_all(self, parsed: ParsedDocument) -> tuple[Merged, dict[str, os.stat_result]]:
        """Merge all copies with the document, which is `parsed`, and note what they give it. Nothing is written.

        Return the merged session, and by path the status of the copies that are in it.
        """
        merged = Merged(parsed.header, parsed.entries, ())
        found: dict[str, os.stat_result] = {}
        for path in self.engine.index.duplicates_of(self.session_id):
            name = copy_name(os.path.basename(path))
            copy = MergedCopy(self._full(path), name and name.tool)
            try:
                other, status = self._parse(path)
                if other.header["session_id"] != self.session_id:
                    continue
                ours = Version(merged.header, merged.entries)
                step = merge(ours, Version(other.header, other.entries))
                refuse_invalid(ours, step, str(copy.path))
            except FileNotFoundError:
                self.engine.index.forget_duplicate(path)
                continue
            except (LocalstoreError, PermissionError) as error:
                self.copies[path] = replace(copy, problem=reason(error))
                continue
            found[path] = status
            before, after = keyed(merged.entries), keyed(step.entries)
            self.copies[path] = replace(
                copy,
                added=len(after.keys() - before.keys()),
                changed=sum(after[key] is not entry for key, entry in before.items() if key in after),
                removed=len(before.keys() - after.keys()),
                differences=step.differences,
            )
            merged = Merged(step.header, step.entries, (*merged.differences, *step.differences))
        return merged, found

    def _move(self, path: str, status: os.stat_result) -> None:
        """Move a copy, which has this status, to the rescue folder."""
        try:
            kept = rescue_folder.keep_copy(self.engine.root, path, status)
        except FileChanged:
            raise ConcurrentChange from None
        finally:
            self.moved_from.add(path.rpartition("/")[0])  # also if the disk failed after the move
        self.engine.index.forget_duplicate(path)
        self.copies[path] = replace(self.copies[path], kept=kept)

    def _canonical(self) -> str | None:
        """Return the path that a document with the name of a copy gets, or None if it keeps its name."""
        folder, _, name = self.path.rpartition("/")
        if copy_name(name) is None:
            return None
        new = f"{folder}/{file_names.stem(self.session_id)}{os.path.splitext(name)[1]}"
        return None if filesystem.exists(f"{self.engine.root}/{new}") else new

    def _parse(self, path: str) -> tuple[ParsedDocument, os.stat_result]:
        """Return a document that can be written again without a loss, and its status.

        Raises LocalstoreError, OSError.
        """
        full_path = f"{self.engine.root}/{path}"
        with DocumentFile(full_path) as file:
            parsed = parse_strictly(file.read_all(), file.layout, full_path)
            if parsed.version != SCHEMA_VERSION:
                raise older_format_error(parsed, full_path, self.engine.root)
            return parsed, file.status

    def _full(self, path: str) -> Path:
        return Path(store_tree.full_path(self.engine.root, path))


def _rename(document: Transaction, root: str, path: str) -> None:
    """Give the document another path, relative to the root, durably.

    Raises FileExistsError, ConcurrentChange if it was saved meanwhile, OSError.
    """
    before, new = document.file.status, f"{root}/{path}"
    document.file.close()
    durable_files.move_file(document.file.path, new)
    document.file = DocumentFile(new, write=True)
    if not durable_files.is_same(before, document.file.status):
        raise ConcurrentChange
    document.row = after_write({**document.row, "path": path}, document.file.status, None)
    document.changed = True

"""Undo the last upgrade or conversion: restore the documents of the newest backup."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from localstore.disk import backup_folder, durable_files, filesystem, rescue_folder, store_tree, temporary_files
from localstore.disk.agno_files import is_agno_session
from localstore.disk.backup_folder import Backup
from localstore.disk.document_file import DocumentFile
from localstore.disk.durable_files import FileChanged
from localstore.disk.locks import pool_of
from localstore.disk.store_identity import MARKER, make_folders
from localstore.engine.engine import Engine
from localstore.errors import BackupNotFound, DocumentBroken, LocalstoreError
from localstore.format.document import ParsedDocument, parse_document, parse_strictly
from localstore.format.redacted_document import unredacted
from localstore.format.values import json_equal
from localstore.format.versions import CannotUpgrade, downgraded, upgraded
from localstore.index.row import IndexRow, row_of
from localstore.maintenance.upgrade.results import Problem, Undone
from localstore.maintenance.upgrade.rewriting import includes
from localstore.models.progress import Progress
from localstore.models.schema import SCHEMA_VERSION

_ATTEMPTS = 5
"""The most times that a document is restored while another program writes to it at the same time."""


def undo(folder: Path | str, *, lock_timeout: float = 10.0, progress: Progress | None = None) -> Undone:
    """Restore the documents of the newest backup of a store, and remove them from the backup.

    A document that has not changed since the backup is restored byte for byte. One that has changed is converted back
    to the old form with its current content. A document that was deleted, or whose content the old form cannot express,
    stays as it is; the result names it, and its old version stays in the backup. If all documents are restored, a
    former folder of agno 1.x is one again, unless it has new sessions. If a call is interrupted, the next continues.

    Args:
        folder: The path of the store.
        lock_timeout: Seconds to wait for each lock.
        progress: Called with the number of documents done so far and the total number.

    Raises BackupNotFound if the store has no backup, LockTimeout if an upgrade or conversion is running, and OSError.
    """
    root = Path(os.path.realpath(folder))
    if store_tree.is_store(root):
        store_tree.open_store(root, create=False)
    _newest_backup(root)
    with pool_of(root).migration(lock_timeout):
        info = _newest_backup(root)  # another undo may have finished while this one waited
        backup = Backup(str(root), info.name)
        backup.begin_undo()
        made_store = backup.made_store
        restorer = _Restorer(str(root), backup, lock_timeout)
        problems: list[Problem] = []
        # A session whose file has the name of the store marker comes last: until then the marker is needed.
        paths = sorted(backup.paths(), key=lambda path: path == MARKER)
        # An undo that was killed may have left temporary files, which no check would find there.
        if flat := {path for path in paths if not path.startswith(f"{store_tree.SESSIONS}/")}:
            temporary_files.remove(str(root), flat)
        for number, path in enumerate(paths, 1):
            try:
                restorer.restore(path)
            except (LocalstoreError, OSError) as error:
                problems.append(Problem.of(store_tree.full_path(str(root), path), error))
            if progress is not None:
                progress(number, len(paths))
        if not problems:
            if made_store and not backup.has_documents():
                store_tree.remove_store_files(root)
            backup.remove_if_empty()
            if not store_tree.is_store(root):
                backup_folder.tidy(str(root), old=False)
                store_tree.remove_local_files(root)
    return Undone(info.name, restorer.restored, restorer.changed, problems)


def _newest_backup(root: Path) -> backup_folder.BackupInfo:
    try:
        return backup_folder.newest(str(root))
    except BackupNotFound:
        if not store_tree.is_store(root):
            backup_folder.tidy(str(root), old=False)  # an undo was stopped before its last step
            store_tree.remove_local_files(root)
        raise


class _Read(NamedTuple):
    """A document and the status of its file when it was read."""

    document: ParsedDocument
    status: os.stat_result


class _Restorer:
    """Restores single documents from a backup. Paths are relative to the root, with slashes."""

    def __init__(self, root: str, backup: Backup, timeout: float) -> None:
        self._root = root
        self._backup = backup
        self._timeout = timeout
        engine = Engine(Path(root), durable=True, timeout=timeout)
        self._locks, self._manifest, self._index = engine.locks, engine.manifest, engine.index
        self._rules = backup.rules
        self._done: set[str] = set()
        self.restored = self.changed = 0

    def restore(self, path: str) -> None:
        """Restore the old document at `path`, and remove the new one.

        The old document is durably in place before anything is removed. What another program saves in the meantime is
        kept: the document is then read and restored again. Raises LocalstoreError or OSError if that is not possible.
        """
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(FileChanged, FileExistsError):
                return self._restore(path)
        problem = "keeps being changed by another program"
        raise DocumentBroken(f"{self._full(path)} {problem}.", path=self._full(path), problem=problem)

    def _restore(self, path: str) -> None:
        old = self._parse(self._backup.place(path)).document
        session_id = old.header["session_id"]
        with self._locks.session(session_id, self._timeout):
            others = self._others(session_id, path)
            there = self._parse(self._full(path)) if self._is_taken(path) else None
            current = self._most_complete(
                [one.document for one in (there, *others.values()) if one is not None], session_id, path
            )
            now = current
            if self._rules is not None:
                current = unredacted(old, now, self._rules, self._full(path))
            restored: os.stat_result | None = None
            is_back = there is not None and _has_form_of(there.document, old) and includes(there.document, current)
            if is_back and there is not None and self._rules is not None and _may_have_comments(old):
                is_back = there.document.raw == old.raw  # a redaction may have taken comments alone
            if not is_back:
                if there is not None and there.document.header["session_id"] != session_id:
                    raise _in_the_way(self._full(path), session_id)
                commented = [now] if self._rules is None or _is_content_of(current, old) else [now, old]
                restored = self._put_back(path, old, current, there, commented)
            try:
                for other, parsed in others.items():
                    # Another document that existed at the time stays: it has the old form or is restored too.
                    is_restored = other in self._done or filesystem.exists(self._backup.place(other))
                    existed_before = is_restored or _has_form_of(parsed.document, old)
                    if other.startswith(f"{store_tree.SESSIONS}/") and not existed_before:
                        durable_files.remove_unchanged(self._full(other), parsed.status)
            except FileChanged:
                if there is None and restored is not None:  # it is out of date by now
                    self._remove_restored(self._full(path), restored)
                raise
            self._update_manifest(path, session_id)
            durable_files.remove_file(self._backup.place(path))
            self._done.add(path)
            if not is_back:
                self._count(old, current)

    def _count(self, old: ParsedDocument, current: ParsedDocument) -> None:
        if _is_content_of(current, old):
            self.restored += 1
        else:
            self.changed += 1

    def _others(self, session_id: str, path: str) -> dict[str, "_Read"]:
        """Return the documents of the session at other paths than `path`, including files of agno, by path."""
        row = self._index.find_anywhere(session_id)
        while row is not None and not filesystem.exists(self._full(row["path"])):
            row = self._index.find_moved(row)
        stem = os.path.splitext(path)[0]
        paths = {f"{stem}.json", f"{stem}.yaml", *store_tree.paths_named_after(self._root, session_id)}
        if row is not None:
            paths.add(row["path"])
        others = {}
        for other in sorted(paths - {path, MARKER}):
            if not filesystem.exists(self._full(other)):
                continue
            if other.startswith(f"{store_tree.SESSIONS}/") or is_agno_session(self._full(other)):
                parsed = self._parse(self._full(other))
                if parsed.document.header["session_id"] == session_id:
                    others[other] = parsed
        return others

    def _is_taken(self, path: str) -> bool:
        """Return whether a file is at `path`.

        The marker of the store does not count if the store has at most one document; otherwise it raises
        DocumentBroken.
        """
        if path != MARKER or not store_tree.is_store(Path(self._root)):
            return filesystem.exists(self._full(path))
        if len(list(store_tree.all_documents(self._root))) > 1:
            raise _in_the_way(self._full(path), os.path.splitext(path)[0])
        return False

    def _most_complete(self, documents: list[ParsedDocument], session_id: str, path: str) -> ParsedDocument:
        """Return the document of the session that includes all the others; documents of other sessions are ignored.

        Raises DocumentBroken if there is none.
        """
        documents = [document for document in documents if document.header["session_id"] == session_id]
        if not documents:
            kept = f"Its old version is still in backup {self._backup.name}"
            problem = f"Session {session_id!r} was deleted since then. {kept}"
            raise DocumentBroken(f"{problem}.", path=self._full(path), problem=problem)
        for document in documents:
            if all(includes(document, other) for other in documents):
                return document
        problem = f"Session {session_id!r} has documents with different contents. Unite them with 'localstore merge'"
        raise DocumentBroken(f"{problem}.", path=self._full(path), problem=problem)

    @staticmethod
    def _remove_restored(path: str, restored: os.stat_result) -> None:
        now = filesystem.status_or_none(path)
        if now is not None and durable_files.is_same(now, restored):
            durable_files.remove_unchanged(path, now)

    def _put_back(
        self,
        path: str,
        old: ParsedDocument,
        current: ParsedDocument,
        there: "_Read | None",
        commented: list[ParsedDocument],
    ) -> os.stat_result:
        """Restore a document in place of the one that is there, or of the marker of the store if that has the path.

        Its values are those of `current`. The documents in `commented` that may have comments are set aside, because
        these are lost. Return the status of the restored file.
        """
        target = self._full(path)
        parse_strictly(current.raw, current.layout, target)  # raises if the old form would round what was typed since
        session_id = current.header["session_id"]
        for document in filter(_may_have_comments, commented):
            name = os.path.splitext(path)[0] + document.layout.suffix
            content = rescue_folder.piece(0, document.raw)
            rescue_folder.set_aside(self._root, name, session_id, rescue_folder.COMMENTS, content)
        make_folders(self._root, os.path.dirname(target))
        status = filesystem.status_or_none(target) if there is None else there.status
        if _is_content_of(current, old):
            restored = durable_files.restore_file(self._backup.place(path), target, status)
            filesystem.sync_folder(os.path.dirname(target))
            return restored
        raw = _in_form_of(old, current, target)
        if status is None:
            return durable_files.create_file(target, [raw])
        return durable_files.replace_file(target, [raw], status)

    def _update_manifest(self, path: str, session_id: str) -> None:
        if path.startswith(f"{store_tree.SESSIONS}/"):
            self._manifest.record([self._row(path)])
        else:
            self._manifest.record_deletion(session_id)

    def _row(self, path: str) -> IndexRow:
        with DocumentFile(self._full(path)) as file:
            return row_of(file.parse(), path, file.status, None)

    @staticmethod
    def _parse(path: str) -> "_Read":
        with DocumentFile(path) as file:
            return _Read(file.parse(), file.status)

    def _full(self, path: str) -> str:
        return store_tree.full_path(self._root, path)


def _may_have_comments(parsed: ParsedDocument) -> bool:
    layout = parsed.layout
    if not layout.keeps_comments or b"#" not in parsed.raw:
        return False
    return parsed.raw != layout.document(parsed.header, parsed.entries)


def _is_content_of(current: ParsedDocument, old: ParsedDocument) -> bool:
    return json_equal(current.header, old.header) and json_equal(current.entries, old.entries)


def _has_form_of(there: ParsedDocument, old: ParsedDocument) -> bool:
    return there.version == old.version and there.layout is old.layout


def _in_form_of(old: ParsedDocument, current: ParsedDocument, path: str) -> bytes:
    """Return the bytes of the current session in the format and version of the old document.

    Raises DocumentBroken if that form cannot hold all of its content.
    """
    layout = old.layout
    document: dict[str, Any] | None = {**current.header, "history": current.entries}
    assert document is not None  # noqa: S101 (for the type checker)
    if old.version == SCHEMA_VERSION:
        raw = layout.document(current.header, current.entries)
        return parse_document(raw, layout, path).raw
    try:
        before = downgraded(document, old.version)
        is_whole = before is not None and json_equal(upgraded(before, old.version), document)
    except CannotUpgrade:
        before, is_whole = None, False
    if before is None or not is_whole:
        problem = f"was changed since, and has no form in schema version {old.version} that holds all of it"
        raise DocumentBroken(f"{path} {problem}. Nothing was changed.", path=path, problem=problem)
    if old.version == 0:
        return _as_agno_writes(before, layout.suffix)
    header = {key: value for key, value in before.items() if key != "history"}
    return layout.document(header, before["history"])


def _as_agno_writes(document: dict[str, Any], suffix: str) -> bytes:
    if suffix == ".json":
        return json.dumps(document, ensure_ascii=False, indent=4).encode()
    from localstore.format.yaml_writer import mapping

    return mapping(document).encode()


def _in_the_way(path: str, session_id: str) -> DocumentBroken:
    problem = f"is in the way of session {session_id!r}. Rename or remove it"
    return DocumentBroken(f"{path} {problem}.", path=path, problem=problem)

"""Bring back the documents of the newest backup."""

import json
import os
from pathlib import Path
from typing import Any

from localstore.disk import backup_folder, filesystem, locks, store_tree
from localstore.disk.backup_folder import Backup, NoSuchBackup
from localstore.disk.document_file import DocumentFile
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import ParsedDocument, parse_document
from localstore.format.values import json_equal
from localstore.format.versions import CannotUpgrade, downgraded, upgraded
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, row_of
from localstore.index.session_index import SessionIndex
from localstore.maintenance.upgrade.apply import Progress
from localstore.maintenance.upgrade.results import Problem, Undone
from localstore.maintenance.upgrade.rewriting import goes_on_from
from localstore.models.schema import SCHEMA_VERSION


def undo(folder: Path | str, *, lock_timeout: float = 10.0, progress: Progress | None = None) -> Undone:
    """Bring back what the newest backup of a store holds, and remove it from there.

    A document that nobody changed since is, byte for byte, what it was. One that was changed since is written in the
    old form with all that it holds now. One that has no such form, or was deleted since, stays as it is, and so does
    its old self in the backup; it is named in the result. A folder of agno 1.x becomes one again, unless there are
    sessions that never stood in it. Interrupted and called again, it goes on.

    Raises NoSuchBackup, LockTimeout when an upgrade is at work, OSError.
    """
    root = Path(os.path.realpath(folder))
    if store_tree.is_store(root):
        store_tree.open_store(root, create=False)
    _newest(root)
    with locks.pool_of(root).migration(lock_timeout):
        info = _newest(root)  # others may have undone it while we waited
        backup = Backup(str(root), info.name)
        backup.begin_undo()
        made_store = backup.made_store
        work = _Undoing(str(root), backup, lock_timeout)
        problems: list[Problem] = []
        # A session that is called as the marker of a store comes last: until then the marker has its place.
        paths = sorted(backup.paths(), key=lambda path: path == store_tree.MARKER)
        # What somebody left who was killed while he wrote a flat file; no check would find it there.
        if flat := {path for path in paths if not path.startswith(f"{store_tree.SESSIONS}/")}:
            filesystem.remove_temporaries(str(root), flat)
        for number, path in enumerate(paths, 1):
            try:
                work.bring_back(path)
            except (LocalstoreError, OSError) as error:
                problems.append(Problem.of(store_tree.full_path(str(root), path), error))
            if progress is not None:
                progress(number, len(paths))
        if not problems:
            if made_store and not backup.has_documents():
                store_tree.unmark(root)
            backup.remove_if_empty()
            if not store_tree.is_store(root):
                backup_folder.tidy(str(root), old=False)
                store_tree.clear(root)
    return Undone(info.name, work.restored, work.changed, problems)


def _newest(root: Path) -> backup_folder.BackupInfo:
    try:
        return backup_folder.newest(str(root))
    except NoSuchBackup:
        if not store_tree.is_store(root):
            backup_folder.tidy(str(root), old=False)  # stopped at the very last, it was left
            store_tree.clear(root)
        raise


class _Undoing:
    """Paths are relative to the root, with slashes."""

    def __init__(self, root: str, backup: Backup, timeout: float) -> None:
        self._root = root
        self._backup = backup
        self._timeout = timeout
        self._locks = locks.pool_of(Path(root))
        self._manifest = Manifest(root, self._locks, timeout)
        self._catalog = SessionIndex(root, self._manifest)
        self._back: set[str] = set()
        self.restored = self.changed = 0

    def bring_back(self, path: str) -> None:
        """Put one old document back. The old one is in its place, durably, before anything else is removed."""
        old = self._parse(self._backup.place(path))
        session_id = old.header["session_id"]
        with self._locks.session(session_id, self._timeout):
            others = self._others(session_id, path)
            there = self._parse(self._full(path)) if self._is_taken(path) else None
            current = self._newest([one for one in (there, *others.values()) if one is not None], session_id, path)
            is_back = there is not None and _has_form_of(there, old) and goes_on_from(there, current)
            if not is_back:
                if there is not None and there.header["session_id"] != session_id:
                    raise _in_the_way(self._full(path), session_id)
                self._put_back(path, old, current)
            for other, parsed in others.items():
                # What stood beside it before stays: it has the old form, or is brought back by itself.
                is_kept = other in self._back or filesystem.exists(self._backup.place(other))
                was_there = is_kept or _has_form_of(parsed, old)
                if other.startswith(f"{store_tree.SESSIONS}/") and not was_there:
                    filesystem.remove_file(self._full(other))
            self._tell_manifest(path, session_id)
            filesystem.remove_file(self._backup.place(path))
            self._back.add(path)

    def _others(self, session_id: str, path: str) -> dict[str, ParsedDocument]:
        """The documents of this session that stand elsewhere, those of agno in the other format included."""
        row = self._catalog.find_anywhere(session_id)
        while row is not None and not filesystem.exists(self._full(row["path"])):
            row = self._catalog.moved(row)
        stem = os.path.splitext(path)[0]
        paths = {f"{stem}.json", f"{stem}.yaml", *store_tree.candidates(self._root, session_id)}
        if row is not None:
            paths.add(row["path"])
        found = {}
        for other in sorted(paths - {path, store_tree.MARKER}):
            if not filesystem.exists(self._full(other)):
                continue
            if other.startswith(f"{store_tree.SESSIONS}/") or store_tree.is_of_agno(self._full(other)):
                parsed = self._parse(self._full(other))
                if parsed.header["session_id"] == session_id:
                    found[other] = parsed
        return found

    def _is_taken(self, path: str) -> bool:
        """Whether something has this name. The marker gives way once no document stands in the store."""
        if path != store_tree.MARKER or not store_tree.is_store(Path(self._root)):
            return filesystem.exists(self._full(path))
        if len(list(store_tree.all_documents(self._root))) > 1:
            raise _in_the_way(self._full(path), os.path.splitext(path)[0])
        return False

    def _newest(self, found: list[ParsedDocument], session_id: str, path: str) -> ParsedDocument:
        """The document that says all that the others say."""
        found = [one for one in found if one.header["session_id"] == session_id]
        if not found:
            problem = f"Session {session_id!r} was deleted since. What it was is still in backup {self._backup.name}"
            raise DocumentBroken(f"{problem}.", path=self._full(path), problem=problem)
        for one in found:
            if all(goes_on_from(one, other) for other in found):
                return one
        problem = f"Session {session_id!r} has several documents that say different things. Run 'localstore check'"
        raise DocumentBroken(f"{problem}.", path=self._full(path), problem=problem)

    def _put_back(self, path: str, old: ParsedDocument, current: ParsedDocument) -> None:
        target = self._full(path)
        filesystem.make_folders(Path(os.path.dirname(target)))
        if json_equal(current.header, old.header) and json_equal(current.entries, old.entries):
            filesystem.keep_file(self._backup.place(path), target)
            filesystem.sync_folder(os.path.dirname(target))
            self.restored += 1
        else:
            filesystem.write_file(target, [_in_form_of(old, current, target)])
            self.changed += 1

    def _tell_manifest(self, path: str, session_id: str) -> None:
        if path.startswith(f"{store_tree.SESSIONS}/"):
            self._manifest.record([self._row(path)])
        else:
            self._manifest.record_deletion(session_id)

    def _row(self, path: str) -> IndexRow:
        with DocumentFile(self._full(path)) as file:
            return row_of(file.parse(), path, file.status, None)

    @staticmethod
    def _parse(path: str) -> ParsedDocument:
        with DocumentFile(path) as file:
            return file.parse()

    def _full(self, path: str) -> str:
        return store_tree.full_path(self._root, path)


def _has_form_of(there: ParsedDocument, old: ParsedDocument) -> bool:
    return there.version == old.version and there.layout is old.layout


def _in_form_of(old: ParsedDocument, current: ParsedDocument, path: str) -> bytes:
    """What the session is now, in the format and the version of the old document. Raises DocumentBroken."""
    layout = old.layout
    document: dict[str, Any] | None = {**current.header, "history": current.entries}
    assert document is not None  # noqa: S101 (for the type checker)
    if old.version == SCHEMA_VERSION:
        raw = layout.assemble(layout.head(current.header), [layout.entry(entry) for entry in current.entries])
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
    return layout.assemble(layout.head(header), [layout.entry(entry) for entry in before["history"]])


def _as_agno_writes(document: dict[str, Any], suffix: str) -> bytes:
    if suffix == ".json":
        return json.dumps(document, ensure_ascii=False, indent=4).encode()
    from localstore.format.yaml_writer import mapping

    return mapping(document).encode()


def _in_the_way(path: str, session_id: str) -> DocumentBroken:
    problem = f"is in the way of session {session_id!r}. Rename or remove it"
    return DocumentBroken(f"{path} {problem}.", path=path, problem=problem)

"""Find the document of a session, read it consistently, and change it under its lock."""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from localstore.disk import backup_folder, durable_files, filesystem, locks, rescue_folder, store_tree
from localstore.disk.boot import boot_id
from localstore.disk.document_file import DocumentFile
from localstore.engine.run_writer import RunWriter
from localstore.engine.snapshot import Snapshot, tail_snapshot, whole_snapshot
from localstore.engine.transaction import ConcurrentChange, Transaction, create_document
from localstore.errors import DocumentBroken, LocalstoreError, LockTimeout
from localstore.format.document import LayoutMismatch, newer_format_error
from localstore.format.recovery import RecoveredDocument, parse_or_recover
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, carry_rewrite_flag, is_trusted, recorded_state, row_of
from localstore.index.session_index import SessionIndex, folder_time
from localstore.models.schema import SCHEMA_VERSION

_ATTEMPTS = 5
"""How often a change starts again when another program writes to the same file at the same time."""
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Edit:
    """The attempts to change one document. Iterate over it, and enter each attempt:

        for attempt in engine.edit(session_id):
            with attempt as document:
                ...

    `document` is None when the session does not exist. The session's lock is held inside the `with` statement. When
    another program writes to the file meanwhile, the `with` statement ends, and there is another attempt: what the
    body decided must be decided again. Any other exception ends the loop.
    """

    def __init__(self, engine: "Engine", session_id: str) -> None:
        self._engine = engine
        self._session_id = session_id
        self._attempts = 0
        self._is_done = False
        self._held: AbstractContextManager[None] | None = None
        self._document: Transaction | None = None

    @property
    def is_repeated(self) -> bool:
        """Whether an attempt before this one failed. What it wrote may be in the document all the same."""
        return self._attempts > 1

    def __iter__(self) -> Iterator[Self]:
        while not self._is_done:
            yield self

    def __enter__(self) -> Transaction | None:
        engine = self._engine
        while True:
            self._count_attempt()
            self._held = engine.locks.session(self._session_id, engine.timeout)
            self._held.__enter__()
            try:
                self._document = engine.open_document(self._session_id)
                return self._document
            except BaseException as error:
                self._held.__exit__(None, None, None)
                if not isinstance(error, (ConcurrentChange, LayoutMismatch)):
                    raise
            engine.distrust(self._session_id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        assert self._held is not None  # noqa: S101 (for the type checker)
        document, self._document = self._document, None
        try:
            if document is not None:
                try:
                    if document.changed:
                        self._engine.manifest.record([document.row])
                finally:
                    document.__exit__(kind, error, trace)
        finally:
            self._held.__exit__(None, None, None)
        if isinstance(error, (ConcurrentChange, LayoutMismatch)):
            self._engine.distrust(self._session_id)
            return True
        self._is_done = True
        return False

    def _count_attempt(self) -> None:
        self._attempts += 1
        if self._attempts > _ATTEMPTS:
            row = self._engine.index.find(self._session_id)
            raise DocumentBroken(
                f"The document of session {self._session_id!r} is being changed by another program all the time. "
                "Nothing was written. Close the program that writes to it and try again.",
                path=f"{self._engine.root}/{row['path']}" if row is not None else None,
                session_id=self._session_id,
            )


class Engine:
    """One open store: its locks, its manifest, its index of sessions, and the way to change a document.

    Everything that works on a store is built on it. `locks`, `manifest` and `index` belong together: nobody makes
    others for the same store. Methods raise LockTimeout, DocumentBroken, NewerFormat, OlderFormat and OSError.
    """

    def __init__(self, root: Path, *, durable: bool = True, timeout: float = 10.0, upgrades: bool = False) -> None:
        """Open the store at `root`.

        Args:
            root: The real path of a store, as `store_tree.open_store` returns it.
            durable: Whether a write returns only when it is on the disk.
            timeout: Seconds to wait for a lock.
            upgrades: Whether a write upgrades a document of an older schema version; else it raises OlderFormat.
        """
        self.root = str(root)
        self.upgrades = upgrades
        self._backup: backup_folder.Backup | None = None
        self.durable = durable
        self.timeout = timeout
        self.locks = locks.pool_of(root)
        self.manifest = Manifest(self.root, self.locks, timeout)
        self.index = SessionIndex(self.root, self.manifest)
        self._durable_folders: set[str] = set()
        self.runs = RunWriter(self.root)

    # Changing

    def edit(self, session_id: str) -> Edit:
        """Return the attempts to change the document of a session, under its lock; see `Edit`."""
        return Edit(self, session_id)

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock of another file in the store. Take no other lock while it is held."""
        return self.locks.session(name, self.timeout)

    def open_document(self, session_id: str) -> Transaction | None:
        """Open the document of a session for a change, or return None if there is none. The caller holds its lock.

        Raises DocumentBroken, also when a file has the session's name and cannot be read as a session.
        """
        for row in self._rows_of(session_id):
            try:
                keep = self._keep if self.upgrades else None
                document = Transaction(self.root, row, durable=self.durable, keep=keep)
            except FileNotFoundError:
                continue
            try:
                if document.changed:
                    # Before anything is added: what a crash leaves of that is told by what the manifest knew.
                    self.manifest.record([document.row])
                    document.changed = False
            except BaseException:
                document.file.close()
                raise
            if document.row["session_id"] == session_id:
                return document
            document.file.close()  # the file holds another session by now
        self.refuse_unreadable(session_id)
        return None

    def _rows_of(self, session_id: str) -> Iterator[IndexRow]:
        """Yield the row of a session; when asked again, the row of the place that the document was moved to."""
        row = self.index.find_anywhere(session_id)
        while row is not None:
            yield row
            row = self.index.find_moved(row)

    def _keep(self, path: str) -> None:
        """Back up an older document before a write upgrades it. An open store has one backup for all of them."""
        if self._backup is None or not filesystem.exists(self._backup.folder):
            self._backup = backup_folder.make(self.root, "write", finished=True)
        self._backup.keep(path)
        self._backup.settle()

    def distrust(self, session_id: str) -> None:
        """Have the whole document of a session read at its next use, because its row does not match."""
        with self.manifest.mutex:
            row = self.manifest.get(session_id)
            if row is not None:
                self.manifest.put({**row, "foreign": True})

    def create(self, header: dict[str, Any], entries: list[dict[str, Any]], suffix: str) -> IndexRow:
        """Write the document of a new session. The caller holds its lock, and made sure that there is no document."""
        path = store_tree.new_path(header["session_id"], header["created_at"], suffix)
        folder = path.rpartition("/")[0]
        if folder not in self._durable_folders:
            store_tree.make_durable(self.root, folder)
            self._durable_folders.add(folder)
        before = folder_time(self.root, folder)
        row = create_document(self.root, path, header, entries)
        self.manifest.record([row])
        self.index.note_own_change(folder, before)
        return row

    def delete(self, session_id: str, allow: Callable[[IndexRow], None]) -> bool:
        """Delete a document for good, broken or not, unless `allow` raises. Raises NewerFormat."""

        def take(row: IndexRow) -> None:
            allow(row)
            durable_files.remove_file(f"{self.root}/{row['path']}")

        return self.take_out(session_id, take, lambda: rescue_folder.forget(self.root, [session_id]))

    def take_out(
        self, session_id: str, take: Callable[[IndexRow], None], behind: Callable[[], None] | None = None
    ) -> bool:
        """Call `take` to remove the document of a session, broken or not, then call `behind`, both under its lock.

        Returns False if there is no document. Raises NewerFormat.
        """
        with self.locks.session(session_id, self.timeout):
            row = self.locate(session_id)
            if row is None:
                self.refuse_unreadable(session_id)
                return False
            while row is not None:  # a second document with this id would come back in its place
                refuse_newer(row, self.root)
                folder = row["path"].rpartition("/")[0]
                before = folder_time(self.root, folder)
                take(row)
                self.manifest.record_deletion(session_id)
                self.index.note_own_change(folder, before)
                row = self.index.next_duplicate(session_id)
            if behind is not None:
                behind()
            return True

    def drop(self) -> None:
        """Delete every session and the folders that are then empty. Raises NewerFormat before it deletes any."""
        dropped: set[str] = set()
        with self.locks.all_sessions(self.timeout):
            while rows := self.index.rows(None, None, None, None):  # again, for documents with the same id
                for row in rows:
                    refuse_newer(row, self.root)
                for row in rows:
                    durable_files.remove_file(f"{self.root}/{row['path']}")
                    dropped.add(row["session_id"])
                self.index.forget_scans()
            rescue_folder.forget(self.root, dropped)
            for folder in store_tree.folders(self.root):
                filesystem.remove_folder_if_empty(f"{self.root}/{folder}")
            self.manifest.replace_all([])

    def keep_run(self, error: DocumentBroken, session_id: str, entry: dict[str, Any]) -> DocumentBroken:
        """Keep a run that could not be written, and return the error that says where."""
        path = (error.path or "").removeprefix(f"{self.root}/")
        content = {"entry": entry}
        kept = rescue_folder.set_aside(self.root, path, session_id, "its document could not be written", content)
        return DocumentBroken(
            f"{error.message} The run was kept in {kept}. Once the file is mended, put it back with: "
            f"localstore rescue {kept.name} --restore",
            path=error.path,
            session_id=session_id,
            problem=error.problem,
            line=error.line,
            column=error.column,
            rescued=str(kept),
        )

    # Reading

    def locate(self, session_id: str) -> IndexRow | None:
        """Return the row of a session as its file is now, since a person may have edited it; None if there is none."""
        for row in self._rows_of(session_id):
            current = self.index.current(row)
            if current is not None and current["session_id"] == session_id:
                return current
        return None

    def refuse_unreadable(self, session_id: str) -> None:
        """Raise DocumentBroken when a file has the name of this session and nobody can tell what it holds: a document
        that cannot be read is never taken for a missing one."""
        for path in store_tree.paths_named_after(self.root, session_id):
            if (problem := self.index.problem_of(path)) is not None:
                DocumentFile(f"{self.root}/{path}").close()  # raises what the system says when it may not be opened
                raise DocumentBroken(
                    f"{problem} Its name says that it is session {session_id!r}.",
                    path=f"{self.root}/{path}",
                    session_id=session_id,
                )

    def look(self, session_id: str, wanted: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        """Read a session consistently. Return None if it does not exist or its row is not `wanted`.

        Takes no lock unless something does not fit; then looks once more under the lock.
        """
        row = self.index.find_anywhere(session_id)
        if row is None:
            self.refuse_unreadable(session_id)
            return None
        try:
            with DocumentFile(f"{self.root}/{row['path']}") as file:
                if is_trusted(row, file.status):
                    if not wanted(row):
                        return None
                    seen = tail_snapshot(file, row, last_runs)
                    if file.is_unchanged():
                        return seen
        except (LayoutMismatch, FileNotFoundError, LocalstoreError):
            pass
        try:
            with self.locks.session(session_id, self.timeout):
                return self._look_again(session_id, wanted, last_runs)
        except OSError as error:
            if error.errno not in _READ_ONLY or isinstance(error, LockTimeout):
                raise
            return self._look_again(session_id, wanted, last_runs)  # nobody writes to a store that is read-only

    def _look_again(
        self, session_id: str, wanted: Callable[[IndexRow], bool], last_runs: int | None
    ) -> Snapshot | None:
        for row in self._rows_of(session_id):
            if not filesystem.exists(f"{self.root}/{row['path']}"):
                continue
            with DocumentFile(f"{self.root}/{row['path']}") as file:
                if is_trusted(row, file.status):
                    try:
                        return tail_snapshot(file, row, last_runs) if wanted(row) else None
                    except LayoutMismatch:
                        pass
                found = parse_or_recover(file.read_all(), file.layout, recorded_state(row), file.path)
                # Of a torn document, what the next write will make of it; a read changes nothing.
                parsed = found.parsed if isinstance(found, RecoveredDocument) else found
                fresh = row_of(parsed, row["path"], file.status, boot_id())
                if parsed is found:
                    fresh = carry_rewrite_flag(fresh, row)
                    if fresh != row:
                        self.manifest.record([fresh])
                if fresh["session_id"] == session_id:
                    return whole_snapshot(parsed, file, last_runs) if wanted(fresh) else None
        self.refuse_unreadable(session_id)
        return None


def refuse_newer(row: IndexRow, root: str) -> None:
    """Raise NewerFormat if a newer localstore wrote the document."""
    if row["version"] > SCHEMA_VERSION:
        raise newer_format_error(row["version"], f"{root}/{row['path']}", row["session_id"])

"""Find the document of a session, read it consistently, and change it under its lock."""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from localstore.disk import backup_folder, durable_files, filesystem, locks, rescue_folder, store_tree
from localstore.disk.boot import boot_id
from localstore.disk.conflict_copies import copy_name
from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.disk.durable_files import FileChanged
from localstore.disk.folder_watch import FolderWatch
from localstore.disk.loading import is_ready_for, load_yaml
from localstore.disk.store_identity import make_folders
from localstore.disk.write_marks import WriteMarks
from localstore.engine.batch import batch_of
from localstore.engine.copies import CopyWarnings
from localstore.engine.run_writer import RunWriter
from localstore.engine.snapshot import Snapshot, tail_snapshot, whole_snapshot
from localstore.engine.transaction import ConcurrentChange, Transaction, create_document
from localstore.errors import DocumentBroken, LocalstoreError, LockTimeout
from localstore.format.document import LayoutMismatch, newer_format_error
from localstore.format.recovery import CreationLost, RecoveredDocument
from localstore.index.document_row import is_lost
from localstore.index.manifest import Manifest
from localstore.index.manifest_lines import from_format_1, generation_line
from localstore.index.row import (
    IndexRow,
    activity,
    carry_rewrite_flag,
    in_order,
    is_trusted,
    latest_plausible_time,
    row_of,
)
from localstore.index.selection import Place
from localstore.index.session_index import SessionIndex
from localstore.index.whole_document import parse_whole
from localstore.models.filter import Filter
from localstore.models.progress import Progress
from localstore.models.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localstore.models.session_info import SortKey
    from localstore.models.stats import GroupKey, Period, Tally

_ATTEMPTS = 5
"""The most attempts at one change. Each attempt that collides with another program's write is repeated."""
_PATIENCE = 2.0
"""How many seconds a listing waits for the writers of a document that seems broken."""
_ABSENCE = 0.1
"""How many seconds a document may be missing while a program saves it: some remove or rename the old file first."""
_PAUSE = 0.002
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Edit:
    """The attempts to change one document. Iterate over it, and enter each attempt:

        for attempt in engine.edit(session_id):
            with attempt as document:
                ...

    `document` is None if the session does not exist. The session's lock is held inside the `with` statement. If
    another program writes to the file during an attempt, the `with` statement suppresses the exception and the loop
    makes another attempt. The body must then repeat all of its decisions, because the document may be different. Any
    other exception ends the loop and propagates. After too many attempts, entering raises DocumentBroken.
    """

    def __init__(self, engine: "Engine", session_id: str, *, names_copies: bool = True) -> None:
        self._engine = engine
        self._names_copies = names_copies
        self._session_id = session_id
        self._attempts = 0
        self._is_done = False
        self._lock: AbstractContextManager[None] | None = None
        self._document: Transaction | None = None

    @property
    def is_repeated(self) -> bool:
        """True if an earlier attempt failed. The document may nevertheless contain what that attempt wrote."""
        return self._attempts > 1

    def __iter__(self) -> Iterator[Self]:
        while not self._is_done:
            yield self

    def __enter__(self) -> Transaction | None:
        engine = self._engine
        while True:
            self._count_attempt()
            engine.load_format_of(self._session_id)
            self._lock = engine.locks.session(self._session_id, engine.timeout)
            self._lock.__enter__()
            try:
                self._document = engine.open_document(self._session_id)
                return self._document
            except BaseException as error:
                self._lock.__exit__(None, None, None)
                if not isinstance(error, (ConcurrentChange, LayoutMismatch)):
                    raise
            engine.distrust(self._session_id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        assert self._lock is not None  # noqa: S101 (for the type checker)
        document, self._document = self._document, None
        try:
            if document is not None:
                try:
                    if document.changed:
                        note = self._engine.index.own_change(document.row["path"], document.watch)
                        self._engine.manifest.record([document.row], note)
                        self._engine.index.keep_scan(note)
                finally:
                    document.__exit__(kind, error, trace)
                self._engine.settle_others(self._session_id, document.marks)
        finally:
            self._lock.__exit__(None, None, None)
        if isinstance(error, (ConcurrentChange, LayoutMismatch)):
            self._engine.distrust(self._session_id)
            return True
        if isinstance(error, FileNotFoundError):
            self._engine.locks.check_store()  # raises the error that says what is missing: the store
        self._is_done = True
        if error is None and self._names_copies:
            self._engine.copies.warn(self._session_id)
        return False

    def _count_attempt(self) -> None:
        self._attempts += 1
        if self._attempts > _ATTEMPTS:
            raise self._engine.changed_all_the_time(self._session_id, self._engine.index.find(self._session_id))


class Engine:
    """An open store: its locks, manifest and session index, and the methods that read and change documents.

    Everything that works on a store uses an engine. Use the engine's own `locks`, `manifest` and `index`; do not create
    others for the same engine. Methods may raise LockTimeout if a lock is not free in time, DocumentBroken if a
    document cannot be read, NewerFormat or OlderFormat if a document is in another format version, and OSError.
    """

    def __init__(
        self,
        root: Path,
        *,
        durable: bool = True,
        timeout: float = 10.0,
        upgrades: bool = False,
        suffix: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Open the store at `root`.

        Args:
            root: The real path of a store, as `store_tree.open_store` returns it.
            durable: If true, a write returns only after its bytes are durable on disk.
            timeout: The maximum number of seconds to wait for a lock.
            upgrades: If true, a write upgrades a document in an older schema version; otherwise, it raises OlderFormat.
            suffix: `.json` if nearly all documents are JSON. Otherwise, what YAML needs is loaded at once.
            progress: Called while documents are read to make an index.
        """
        if suffix != ".json":
            load_yaml()
        self.root = str(root)
        self.upgrades = upgrades
        self._backup: backup_folder.Backup | None = None
        self.durable = durable
        self.timeout = timeout
        self.locks = locks.pool_of(root)
        self._take_over_manifest()
        self.manifest = Manifest(self.root, self.locks, timeout)
        self.progress = progress
        self.index = SessionIndex(self.root, self.manifest, self.locks, progress)
        self.copies = CopyWarnings(self.root, self.index)
        self._durable_folders: set[str] = set()
        self.runs = RunWriter(self.root)

    def _take_over_manifest(self) -> None:
        """Take over the manifest of an earlier release. Without it, the documents are read again."""
        old, new = f"{self.root}/{store_tree.OLD_MANIFEST}", f"{self.root}/{store_tree.MANIFEST}"
        if not filesystem.exists(old):
            return
        with contextlib.suppress(OSError, LockTimeout), self.locks.manifest(self.timeout):
            if not stat.S_ISREG(filesystem.system.status(old).st_mode):
                return
            content = filesystem.read_file(old)
            if not store_tree.is_manifest(content):
                return  # a file of another program
            if not filesystem.exists(new):
                make_folders(self.root, os.path.dirname(new))
                lines = [generation_line(), *(line + b"\n" for line in from_format_1(content))]
                durable_files.write_file(new, lines)
            durable_files.remove_file(old)

    def close(self) -> None:
        """Close the files that are kept open and not in use by another thread. The next call opens them again."""
        self.manifest.close()
        self.locks.close()

    # Changing

    def edit(self, session_id: str, *, names_copies: bool = True) -> Edit:
        """Return the attempts to change a session's document while holding its lock; see `Edit`.

        With `names_copies`, a warning names the copies of the session afterwards.
        """
        return Edit(self, session_id, names_copies=names_copies)

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Return a context manager that holds the lock of a file other than a document. Take no other lock inside."""
        return self.locks.session(name, self.timeout)

    def load_format_of(self, session_id: str) -> None:
        """Load what the format of a session's document needs, so that nothing is imported while its lock is held."""
        self.manifest.load()
        if is_ready_for(".yaml"):
            return
        row = self.manifest.get(session_id)
        if row is None:
            self.manifest.refresh()
            row = self.manifest.get(session_id)
        if row is not None and not is_ready_for(row["path"]):
            load_yaml()

    def open_document(self, session_id: str) -> Transaction | None:
        """Open a session's document for a change. Return None if there is no document.

        The caller must hold the session's lock and close the document. Raises DocumentBroken if the document cannot be
        read, or if there is no document but a file named after the session cannot be read. Raises OlderFormat if the
        document is in an older schema version and the engine does not upgrade.
        """
        marks = self.locks.marks(session_id)
        document = self._open(session_id, marks)
        if document is None:
            for path in store_tree.paths_named_after(self.root, session_id):
                if is_lost(f"{self.root}/{path}", self.locks):
                    self._set_lost_aside(path, session_id)
            self.refuse_unreadable(session_id)
        return document

    def _set_lost_aside(self, path: str, session_id: str) -> None:
        """Remove what a power cut left of a new document, and keep its bytes in the rescue folder if there are any."""
        full_path = f"{self.root}/{path}"
        with DocumentFile(full_path) as file:
            raw, status = file.read_all(), file.status
        if raw.strip(b"\0"):
            content = rescue_folder.piece(0, raw)
            rescue_folder.set_aside(self.root, path, session_id, "torn by a crash", content)
        try:
            durable_files.remove_unchanged(full_path, status)
        except FileChanged:
            raise ConcurrentChange from None
        self.manifest.record_deletion(session_id)

    def _open(self, session_id: str, marks: WriteMarks) -> Transaction | None:
        for row in self._rows_of(session_id, for_writing=True):
            self._refuse_copy_of_unreadable(row)
            try:
                keep = self._back_up if self.upgrades else None
                durable = self.durable and batch_of(self) is None
                document = Transaction(self.root, row, marks, durable=durable, keep=keep)
            except FileNotFoundError:
                continue
            except CreationLost:
                self._set_lost_aside(row["path"], session_id)
                continue
            self._syncs(session_id)
            try:
                if document.changed:
                    # Record the row before anything is added: recovery after a power cut compares the file with it.
                    self.manifest.record([document.row])
                    document.changed = False
            except BaseException:
                document.file.close()
                raise
            if document.row["session_id"] == session_id:
                return document
            document.file.close()  # the file now holds another session
        return None

    def _syncs(self, session_id: str) -> bool:
        """Return whether a write to a session is synced at once. In a batch, it is synced at the end of the batch.

        Call it for documents that can be opened: the end of the batch opens them again.
        """
        batch = batch_of(self)
        if batch is None or not self.durable:
            return self.durable
        batch.sessions.setdefault(session_id, None)
        return False

    def sync_names(self, session_ids: Iterable[str]) -> None:
        """Make the names of these sessions' documents durable. Raises OSError."""
        self.manifest.refresh()
        rows = [row for session_id in session_ids if (row := self.manifest.get(session_id)) is not None]
        for folder in sorted({row["path"].rpartition("/")[0] for row in rows}):
            with contextlib.suppress(FileNotFoundError):  # the sessions in it were moved or deleted
                filesystem.sync_folder(f"{self.root}/{folder}")

    def sync_session(self, session_id: str, synced: list[int] | None) -> None:
        """Make a session's document durable if writes to it were not synced. `sync_names` must have been called.

        A document with the fingerprint `synced` has no other bytes than its first ones, which are durable.
        """
        for attempt in self.edit(session_id):
            with attempt as document:
                if document is not None and "boot" in document.row:
                    document.sync(name=False, data=document.row["fingerprint"] != synced)

    def settle_marked(self) -> None:
        """Repair the documents of all writes that were interrupted because their process was killed.

        Only the first call for a store in this process does anything. A session whose lock is held is left out: its
        writer is alive. What cannot be repaired now is left to the next write.
        """
        with contextlib.suppress(OSError):
            for session_id in self.locks.marked_sessions():
                with contextlib.suppress(OSError, LockTimeout), self.locks.session(session_id, 0):
                    self._settle(session_id, self.locks.marks(session_id))

    def settle_others(self, session_id: str, marks: WriteMarks) -> None:
        """Repair the documents of the other sessions that have a mark in this lock file, if the marks were read.

        The caller must hold the lock of the session. What cannot be repaired now is left to a later write.
        """
        for other in marks.known():
            if other != session_id:
                self._settle(other, marks)

    def _settle(self, session_id: str, marks: WriteMarks) -> None:
        """Repair the document of a session that has a mark, and clear the mark. The caller must hold its lock.

        If the disk refuses, the mark stays. If a crash does not explain what is in the document, the mark is cleared
        without a change: a person has edited the document since.
        """
        try:
            document = self._open(session_id, marks)
        except (OSError, ConcurrentChange, LayoutMismatch):
            return
        except LocalstoreError:
            document = None
        if document is not None:
            document.file.close()
        marks.clear(session_id)

    def _rows_of(self, session_id: str, *, for_writing: bool = False) -> Iterator[IndexRow]:
        """Yield the row of a session.

        If the caller asks for another row, assume that the document was moved and yield its row at the new path. If it
        is nowhere, a program may be saving it: wait a moment for the new file.
        """
        row = self.index.find_anywhere(session_id, for_writing=for_writing)
        while row is not None:
            yield row
            moved = self.index.find_moved(row)
            if moved is None and _is_back(f"{self.root}/{row['path']}"):
                moved = self.index.find_moved(row)
            row = moved

    def _back_up(self, path: str) -> None:
        """Back up a document before a write upgrades it. All upgrades by this engine share one backup."""
        if self._backup is None or not filesystem.exists(self._backup.folder):
            self._backup = backup_folder.make(self.root, "write", finished=True)
        self._backup.keep(path)
        self._backup.settle()

    def changed_all_the_time(self, session_id: str, row: IndexRow | None) -> DocumentBroken:
        """Return the error to raise when each attempt at a change met another program's write."""
        return DocumentBroken(
            f"Another program keeps changing the document of session {session_id!r}. Nothing was written. Close that "
            "program and try again.",
            path=f"{self.root}/{row['path']}" if row is not None else None,
            session_id=session_id,
        )

    def distrust(self, session_id: str) -> None:
        """Mark the row of a session as unreliable, so that the next use reads the whole document.

        Do nothing if the manifest has no row of the session.
        """
        with self.manifest.mutex:
            row = self.manifest.get(session_id)
            if row is not None:
                self.manifest.put({**row, "other_layout": True})

    def create(
        self, header: dict[str, Any], entries: list[dict[str, Any]], suffix: str, raw: bytes | None = None
    ) -> IndexRow:
        """Write the document of a new session and return its row. `raw` has its bytes if they are made already.

        Its bytes are synced before it gets its name. The name is not, in a relaxed engine or in a batch: after a power
        cut, the session may be missing. In a relaxed engine, those of a JSON document with at most one entry are not
        synced either. Of several entries, a power cut could leave some, and YAML that was cut off may parse, and look
        like the work of a person.

        The caller must hold the session's lock and have checked that the session has no document. `suffix` is `.json`
        or `.yaml`. Raises DocumentBroken if a file or link is in the way of the new document, and ConcurrentChange if
        another program has saved a document of the session in the meantime.
        """
        path = store_tree.new_path(header["session_id"], header["created_at"], suffix)
        folder = path.rpartition("/")[0]
        if self.durable and folder not in self._durable_folders:
            store_tree.make_durable(self.root, folder)
            self._durable_folders.add(folder)
        watch = FolderWatch(f"{self.root}/{folder}")
        durable = self._syncs(header["session_id"])
        try:
            row = create_document(
                self.root,
                path,
                header,
                entries,
                raw,
                durable=durable,
                sync=self.durable or suffix == ".yaml" or len(entries) > 1,
                watch=watch,
            )
        except DocumentBroken:
            if self.locate(header["session_id"]) is not None:
                raise ConcurrentChange from None
            self.refuse_unreadable(header["session_id"])
            raise
        if not durable and (batch := batch_of(self)) is not None:
            batch.sessions[header["session_id"]] = row["fingerprint"]
        note = self.index.own_change(path, watch)
        self.manifest.record([row], note)
        self.index.keep_scan(note)
        return row

    def delete(self, session_id: str, allow: Callable[[IndexRow], None]) -> bool:
        """Delete a session's document and rescue files permanently. Return False if there is no document.

        A broken document is deleted too. `allow` is called with the row before each deletion and may raise to prevent
        it. Raises NewerFormat if a newer localstore wrote the document.
        """

        def take(row: IndexRow, watch: FolderWatch) -> None:
            allow(row)
            self._remove(row, watch)

        return self.take_out(session_id, take, lambda: rescue_folder.forget(self.root, [session_id]))

    def take_out(
        self,
        session_id: str,
        take: Callable[[IndexRow, FolderWatch], None],
        afterwards: Callable[[], None] | None = None,
    ) -> bool:
        """Remove a session's document by calling `take` with its row and a watch of its folder.

        Return False if there is no document.

        If `afterwards` is given, it is called after the last document was removed, while the session's lock is held.
        The rest is as in `take_out_locked`.
        """
        self.load_format_of(session_id)
        with self.locks.session(session_id, self.timeout):
            is_gone = self.take_out_locked(session_id, take)
            if is_gone and afterwards is not None:
                afterwards()
            return is_gone

    def take_out_locked(self, session_id: str, take: Callable[[IndexRow, FolderWatch], None]) -> bool:
        """Remove a session's document as `take_out` does. The caller must hold the session's lock.

        `take` is called for a broken document too, and once for each further document with this session id; again if it
        raises FileChanged. Raises NewerFormat if a newer localstore wrote a document, which is then not removed, and
        DocumentBroken if another program keeps writing to the document.
        """
        attempts = 0
        row = self.locate(session_id)
        if row is None:
            self.refuse_unreadable(session_id)
            return False
        while row is not None:  # otherwise a second document with this id would take its place
            refuse_newer(row, self.root)
            watch = FolderWatch(os.path.dirname(f"{self.root}/{row['path']}"))
            try:
                take(row, watch)
            except FileChanged:
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise self.changed_all_the_time(session_id, row) from None
                row = self.locate(session_id)
                continue
            note = self.index.own_change(row["path"], watch)
            self.manifest.record_deletion(session_id, note)
            self.index.keep_scan(note)
            row = self.index.next_duplicate(session_id)
        return True

    def _remove(self, row: IndexRow, watch: FolderWatch | None = None) -> None:
        """Remove a document that is as its row says. Raises FileChanged if it was saved, moved or removed since."""
        path = f"{self.root}/{row['path']}"
        status = filesystem.status_or_none(path)
        if status is None or not ("problem" in row or fingerprint(status) == row["fingerprint"]):
            raise FileChanged(path)
        durable_files.remove_unchanged(path, status, watch=watch)

    def drop(self) -> None:
        """Delete every session, then the folders that are empty.

        Raises NewerFormat if a newer localstore wrote one of the documents. This is checked before any document is
        deleted, except for documents that share their session id with another one.
        """
        if not all(is_ready_for(path) for path in store_tree.all_documents(self.root)):
            load_yaml()
        self.manifest.load(always=True)
        dropped: set[str] = set()
        with self.locks.all_sessions(self.timeout):
            while rows := self.index.rows(Filter(), None):  # list again: several documents may share an id
                for row in rows:
                    refuse_newer(row, self.root)
                for row in rows:
                    with contextlib.suppress(FileChanged):  # the next round lists it again
                        self._remove(row)
                    dropped.add(row["session_id"])
                self.index.forget_scans()
            rescue_folder.forget(self.root, dropped)
            for folder in store_tree.folders(self.root):
                filesystem.remove_folder_if_empty(f"{self.root}/{folder}")
            self.manifest.remove_all()

    def keep_run(self, error: DocumentBroken, session_id: str, entry: dict[str, Any]) -> DocumentBroken:
        """Save a run that could not be written to the rescue folder, and return the error to raise instead of `error`.

        The returned error has the same facts and names the rescue file, also in `rescued`.
        """
        path = (error.path or "").removeprefix(f"{self.root}/")
        content = {"entry": entry}
        kept = rescue_folder.set_aside(self.root, path, session_id, "its document could not be written", content)
        return DocumentBroken(
            f"{error.message} The run is kept in {kept}. When the file is repaired, put the run back with: "
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
        """Return the row of a session, updated if its file was edited since. Return None if there is no document."""
        for row in self._rows_of(session_id):
            current = self.index.current(row)
            if current is not None and current["session_id"] == session_id:
                return current
        return None

    def rows(
        self,
        where: Filter,
        limit: int | None = None,
        *,
        after: Place | None = None,
        newest_first: bool = True,
        counted: bool = False,
    ) -> list[IndexRow]:
        """Return the rows that match the filter, ordered by activity; see `SessionIndex.rows`.

        With `counted`, each has what is counted over its runs. A document that seems broken may be one that is being
        written. It is read again under its session's lock before its row gets a `problem`.
        """
        rows: list[IndexRow] = []
        for _ in range(_ATTEMPTS):
            rows = self.index.rows(where, limit, after=after, newest_first=newest_first)
            number = len(rows)
            if any("problem" in row for row in rows):
                checked = (self._checked(row) if "problem" in row else row for row in rows)
                rows = in_order(
                    self.select((row for row in checked if row is not None), where), newest_first=newest_first
                )
            if len(rows) == number or limit is None:  # otherwise list again: a short page would seem to be the last one
                break
        return [self.index.with_overview(row) for row in rows] if counted else rows

    def leading(self, where: Filter, sort: "SortKey", limit: int, *, newest_first: bool) -> list[IndexRow]:
        """Return rows that match the filter, each with what is counted over its runs, by descending activity.

        The first `limit` ones in the order of `sort` are among them; see `SessionIndex.leading`.
        """
        rows = self.index.leading(where, sort, limit, newest_first=newest_first)
        if rows is not None:
            checked = [self._checked(row) if "problem" in row else row for row in rows]
            selected = self.select((row for row in checked if row is not None), where)
            if len(selected) == len(rows):
                return in_order(selected, newest_first=True)
        return self.rows(where, counted=True)

    def listed(self, session_id: str) -> IndexRow | None:
        """Return the row of a session as listings have it, with a `problem` if its document is broken.

        Return None if there is no document.
        """
        for row in self._rows_of(session_id):
            current = self.index.listed(row)
            if current is not None and "problem" in current:
                current = self._checked(current)
            if current is not None and current["session_id"] == session_id:
                return current
        return None

    def row_at(self, path: str) -> IndexRow | None:
        """Return the row of the session whose document is at this path, as listings have it.

        The path is relative to the root. Return None if it is not the document of a session.
        """
        self.index.scan()
        for _ in range(2):  # a person may have typed another session_id into it
            known = self.manifest.row_at(path)
            row = None if known is None else self.listed(known["session_id"])
            if row is not None and row["path"] == path:
                return row
        return None

    def beginning_with(self, text: str, limit: int | None = None) -> list[IndexRow]:
        """Return the rows of the sessions whose id or name begins with this text, newest activity first.

        With `limit`, so many of each are enough.
        """
        rows = [self._checked(row) if "problem" in row else row for row in self.index.beginning_with(text, limit)]
        return in_order((row for row in rows if row is not None), newest_first=True)

    def ids_beginning_with(self, text: str, limit: int | None, rest: str = "") -> list[IndexRow]:
        """Return the rows of at most `limit` sessions whose id begins with this text, newest activity first.

        If there are more, it is those that come first in the order of their ids. Behind the text, the id has `rest`
        somewhere.
        """
        return in_order(self.index.ids_beginning_with(text, limit, rest), newest_first=True)

    def containing(self, text: str, limit: int) -> list[IndexRow]:
        """Return the rows of at most `limit` sessions with this text in their id or name, newest activity first.

        Upper and lower case make no difference.
        """
        return in_order(self.index.containing(text, limit), newest_first=True)[:limit]

    def recorded(self, where: Filter) -> list[IndexRow]:
        """Return the rows to count; see `SessionIndex.recorded`. A document that seems broken is read again."""
        rows = self.index.recorded(where)
        checked = (self._checked(row) if "problem" in row else row for row in rows)
        return [row for row in checked if row is not None]

    def tally(self, where: Filter, by: "Sequence[GroupKey]") -> "Tally":
        """Add up the usage of the sessions that match the filter, in groups of `by`.

        Days are counted from the documents.
        """
        from localstore.models.stats import tally_of, tally_of_periods

        if "day" in by:
            return tally_of_periods(self._by_day(where), by)
        found = self.index.tally(where, by)
        return tally_of(self.recorded(where), by) if found is None else found

    def _by_day(self, where: Filter) -> "Iterator[tuple[IndexRow, list[Period]]]":
        """Yield the rows that match the filter, each with the usage on each day, which is read from its document.

        If the document cannot be read, the months of the row are used, without days.
        """
        from localstore.index.daily_usage import usage_by_day
        from localstore.models.stats import months_of

        rows = self.rows(where, counted=True)
        for number, row in enumerate(rows, 1):
            problem = row.get("problem")
            snapshot = None
            if problem is None:
                try:
                    snapshot = self._look(row["session_id"], lambda _: True, None)
                except (LocalstoreError, OSError) as error:
                    problem = str(error)
            if problem is not None:
                yield {**row, "problem": problem}, months_of(row)
            elif snapshot is not None:  # otherwise the session was deleted meanwhile
                yield row, usage_by_day(row, snapshot.entries)
            if self.progress is not None:
                self.progress(number, len(rows))

    def count(self, where: Filter) -> int:
        """Return the number of sessions that match the filter."""
        found = self.index.tally(where, ())
        return len(self.recorded(where)) if found is None else found.sessions

    def select(self, rows: Iterable[IndexRow], where: Filter) -> list[IndexRow]:
        """Return those of the rows that match the filter, in the same order."""
        if where.counts_runs:
            rows = map(self.index.with_overview, rows)
        latest = latest_plausible_time()
        return [row for row in rows if where.matches(row, activity(row, latest))]

    def _checked(self, row: IndexRow) -> IndexRow | None:
        """Return the row of a document that seems broken, read again under its lock. Return None if it is gone.

        If the lock was never used, nobody is writing. If it is not free in time, the row stays as it is.
        """
        session_id = row["session_id"]
        with contextlib.suppress(OSError):
            if self.locks.has_been_used(session_id):
                with self.locks.session(session_id, min(_PATIENCE, self.timeout)):
                    current = self.index.listed(row)
                    return current if current is not None and current["session_id"] == session_id else None
        return row

    def refuse_unreadable(self, session_id: str) -> None:
        """Raise DocumentBroken if a file named after this session cannot be read, or iCloud has taken it elsewhere.

        Such a file may hold the session, so the session must not be treated as missing. Do nothing if there is no such
        file. Raises the OSError of opening the file if it cannot be opened.
        """
        for path in store_tree.paths_named_after(self.root, session_id):
            if (problem := self.index.problem_of(path)) is not None:
                DocumentFile(f"{self.root}/{path}").close()  # raises the OSError if the file cannot be opened
                raise DocumentBroken(
                    f"{problem} Its file name is that of session {session_id!r}.",
                    path=f"{self.root}/{path}",
                    session_id=session_id,
                )
        for path, reason in self.index.placeholders_of(session_id):
            full_path = f"{self.root}/{path}"
            problem = f"{full_path} {reason.problem}. Nothing was changed. {reason.advice}"
            raise DocumentBroken(problem, path=full_path, session_id=session_id, problem=reason.problem)

    def _refuse_copy_of_unreadable(self, row: IndexRow) -> None:
        """Raise what `refuse_unreadable` raises if a copy is used only because the document itself cannot be read."""
        if copy_name(os.path.basename(row["path"])) is not None:
            self.refuse_unreadable(row["session_id"])

    def look(self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        """Return a consistent snapshot of a session. Return None if it does not exist or `matches` rejects its row.

        `last_runs` is the number of newest runs to return, with the entries after the first of them; None returns all
        entries. Reads without a lock first. If the document does not match its row or changes during the read, reads
        again while holding the session's lock.

        If the session has copies beside its document, a warning names them.
        """
        snapshot = self._look(session_id, matches, last_runs)
        if snapshot is not None:
            self.copies.warn(session_id)
        return snapshot

    def _look(self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        row = self.index.find_anywhere(session_id)
        if row is None:
            self.refuse_unreadable(session_id)
            return None
        self._refuse_copy_of_unreadable(row)
        try:
            with DocumentFile(f"{self.root}/{row['path']}") as file:
                if is_trusted(row, file.status):
                    if not matches(row):
                        return None
                    snapshot = tail_snapshot(file, row, last_runs)
                    if file.is_unchanged():
                        return snapshot
        except (LayoutMismatch, FileNotFoundError, LocalstoreError):
            pass
        try:
            with self.locks.session(session_id, self.timeout):
                return self._look_again(session_id, matches, last_runs)
        except OSError as error:
            if error.errno not in _READ_ONLY or isinstance(error, LockTimeout):
                raise
            return self._look_again(session_id, matches, last_runs)  # a read-only store needs no lock

    def _look_again(
        self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None
    ) -> Snapshot | None:
        for row in self._rows_of(session_id):
            if not filesystem.exists(f"{self.root}/{row['path']}"):
                continue
            with DocumentFile(f"{self.root}/{row['path']}") as file:
                if is_trusted(row, file.status):
                    try:
                        return tail_snapshot(file, row, last_runs) if matches(row) else None
                    except LayoutMismatch:
                        pass
                try:
                    found = parse_whole(file.read_all(), file, row, self.locks)
                except CreationLost:
                    return None
                # Of a torn document, return what the next write will recover. A read does not repair the file.
                parsed = found.parsed if isinstance(found, RecoveredDocument) else found
                fresh = row_of(parsed, row["path"], file.status, boot_id())
                if parsed is found:
                    fresh = carry_rewrite_flag(fresh, row)
                    if fresh != row:
                        self.manifest.record([fresh])
                if fresh["session_id"] == session_id:
                    return whole_snapshot(parsed, file, last_runs) if matches(fresh) else None
        self.refuse_unreadable(session_id)
        return None


def _is_back(path: str) -> bool:
    """Return whether there is a file at a path again, within a moment."""
    deadline = time.monotonic() + _ABSENCE
    while not filesystem.exists(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def refuse_newer(row: IndexRow, root: str) -> None:
    """Raise NewerFormat if a newer localstore wrote the document that `row` describes."""
    if row["version"] > SCHEMA_VERSION:
        raise newer_format_error(row["version"], f"{root}/{row['path']}", row["session_id"])

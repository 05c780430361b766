"""Open documents to change them, and repair those that a crash left incomplete."""

import contextlib

from localstore.disk import backup_folder, durable_files, filesystem, rescue_folder, store_tree
from localstore.disk.document_file import DocumentFile
from localstore.disk.durable_files import FileChanged
from localstore.disk.loading import is_ready_for, load_yaml
from localstore.disk.write_marks import WriteMarks
from localstore.engine.batch import batch_of
from localstore.engine.listing import EngineListing
from localstore.engine.open_document import ConcurrentChange
from localstore.engine.transaction import Transaction
from localstore.errors import DocumentBroken, LocalstoreError, LockTimeout
from localstore.format.document import LayoutMismatch
from localstore.format.recovery import CreationLost
from localstore.index.document_row import is_lost
from localstore.index.row import IndexRow


class EngineOpening(EngineListing):
    """Opens documents under the lock of their session. See `Engine`."""

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

    def repair_marked(self) -> None:
        """Repair the documents of all writes that were interrupted because their process was killed.

        Only the first call for a store in this process does anything. A session whose lock is held is left out: its
        writer is alive. What cannot be repaired now is left to the next write.
        """
        with contextlib.suppress(OSError):
            for session_id in self.locks.marked_sessions():
                with contextlib.suppress(OSError, LockTimeout), self.locks.session(session_id, 0):
                    self._repair(session_id, self.locks.marks(session_id))

    def repair_others(self, session_id: str, marks: WriteMarks) -> None:
        """Repair the documents of the other sessions that have a mark in this lock file, if the marks were read.

        The caller must hold the lock of the session. What cannot be repaired now is left to a later write.
        """
        for other in marks.known():
            if other != session_id:
                self._repair(other, marks)

    def _repair(self, session_id: str, marks: WriteMarks) -> None:
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

    def _back_up(self, path: str) -> None:
        """Back up a document before a write upgrades it. All upgrades by this engine share one backup."""
        if self._backup is None or not filesystem.exists(self._backup.folder):
            self._backup = backup_folder.make(self.root, "write", finished=True)
        self._backup.keep(path)
        self._backup.sync()

    def keeps_changing_error(self, session_id: str, row: IndexRow | None) -> DocumentBroken:
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

"""Create, change and delete the documents of an open store."""

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any

from localstore.disk import durable_files, filesystem, rescue_folder, store_tree
from localstore.disk.document_file import fingerprint
from localstore.disk.durable_files import FileChanged
from localstore.disk.folder_watch import FolderWatch
from localstore.disk.loading import is_ready_for, load_yaml
from localstore.engine.batch import batch_of
from localstore.engine.edit import Edit
from localstore.engine.new_document import create_document
from localstore.engine.open_document import ConcurrentChange
from localstore.engine.opening import EngineOpening
from localstore.errors import DocumentBroken
from localstore.format.document import newer_format_error
from localstore.index.row import IndexRow
from localstore.models.filter import Filter
from localstore.models.schema import SCHEMA_VERSION

_ATTEMPTS = 5
"""The most attempts to remove one document. Each attempt that collides with another program's write is repeated."""


class Engine(EngineOpening):
    """An open store: its locks, manifest and session index, and the methods that read and change documents.

    Everything that works on a store uses an engine. Use the engine's own `locks`, `manifest` and `index`; do not create
    others for the same engine. Methods may raise LockTimeout if a lock is not free in time, DocumentBroken if a
    document cannot be read, NewerFormat or OlderFormat if a document is in another format version, and OSError.
    """

    def edit(self, session_id: str, *, names_copies: bool = True) -> Edit:
        """Return the attempts to change a session's document while holding its lock; see `Edit`.

        With `names_copies`, a warning names the copies of the session afterwards.
        """
        return Edit(self, session_id, names_copies=names_copies)

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

    def create(
        self, header: dict[str, Any], entries: list[dict[str, Any]], suffix: str, raw: bytes | None = None
    ) -> IndexRow:
        """Write the document of a new session and return its row. `raw` has its bytes if they are made already.

        The bytes are synced before the file gets its name, and the name after that, with two exceptions. In a relaxed
        engine and in a batch, the name is not synced: after a power cut, the session may be missing. In a relaxed
        engine, the bytes of a JSON document with at most one entry are not synced. Those of several entries are,
        because a power cut could leave some of the entries, and those of YAML, which may parse although it was cut off.

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
                sync_name=durable,
                sync_bytes=self.durable or suffix == ".yaml" or len(entries) > 1,
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
                    raise self.keeps_changing_error(session_id, row) from None
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
        """Save a run whose document could not be written in the rescue folder. Return the error to raise for `error`.

        It has the attributes of `error`, and names the rescue file in its text and in `rescued`.
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


def refuse_newer(row: IndexRow, root: str) -> None:
    """Raise NewerFormat if a newer localstore wrote the document that `row` describes."""
    if row["version"] > SCHEMA_VERSION:
        raise newer_format_error(row["version"], f"{root}/{row['path']}", row["session_id"])

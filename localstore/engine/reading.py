"""Read a consistent snapshot of a session."""

import errno
from collections.abc import Callable

from localstore.disk import filesystem
from localstore.disk.boot import boot_id
from localstore.disk.document_file import DocumentFile
from localstore.engine.base import EngineBase
from localstore.engine.snapshot import WHOLE, Part, Snapshot, tail_snapshot, whole_snapshot
from localstore.errors import LocalstoreError, LockTimeout
from localstore.format.document import LayoutMismatch
from localstore.format.recovery import CreationLost, RecoveredDocument
from localstore.index.row import IndexRow, carry_rewrite_flag, is_trusted, row_of
from localstore.index.whole_document import parse_whole

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class EngineReading(EngineBase):
    """Reads sessions. See `Engine`."""

    def snapshot(self, session_id: str, matches: Callable[[IndexRow], bool], part: Part = WHOLE) -> Snapshot | None:
        """Return a consistent snapshot of a session. Return None if it does not exist or `matches` rejects its row.

        Reads without a lock first. If the document does not match its row or changes during the read, reads again while
        holding the session's lock.

        If the session has copies beside its document, a warning names them.
        """
        snapshot = self._snapshot(session_id, matches, part)
        if snapshot is not None:
            self.copies.warn(session_id)
        return snapshot

    def _snapshot(self, session_id: str, matches: Callable[[IndexRow], bool], part: Part) -> Snapshot | None:
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
                    snapshot = tail_snapshot(file, row, part)
                    if file.is_unchanged():
                        return snapshot
        except (LayoutMismatch, FileNotFoundError, LocalstoreError):
            pass
        try:
            with self.locks.session(session_id, self.timeout):
                return self._snapshot_under_lock(session_id, matches, part)
        except OSError as error:
            if error.errno not in _READ_ONLY or isinstance(error, LockTimeout):
                raise
            return self._snapshot_under_lock(session_id, matches, part)  # a read-only store needs no lock

    def _snapshot_under_lock(self, session_id: str, matches: Callable[[IndexRow], bool], part: Part) -> Snapshot | None:
        """Return a snapshot, and read the whole document if it is not as its row says.

        The caller must hold the session's lock, except in a read-only store.
        """
        for row in self._rows_of(session_id):
            if not filesystem.exists(f"{self.root}/{row['path']}"):
                continue
            with DocumentFile(f"{self.root}/{row['path']}") as file:
                if is_trusted(row, file.status):
                    try:
                        return tail_snapshot(file, row, part) if matches(row) else None
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
                    return whole_snapshot(parsed, file, part) if matches(fresh) else None
        self.refuse_unreadable(session_id)
        return None

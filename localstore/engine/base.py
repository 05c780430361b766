"""An open store: its locks, manifest and index, and where the document of a session is."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from localstore.disk import backup_folder, durable_files, filesystem, locks, store_tree
from localstore.disk.conflict_copies import copy_name
from localstore.disk.document_file import DocumentFile
from localstore.disk.loading import load_yaml
from localstore.disk.store_identity import make_folders
from localstore.engine.copies import CopyWarnings
from localstore.engine.last_writes import LastWrites
from localstore.engine.run_writer import RunWriter
from localstore.errors import DocumentBroken, LockTimeout
from localstore.index.manifest import Manifest
from localstore.index.manifest_lines import from_format_1, generation_line
from localstore.index.row import IndexRow
from localstore.index.session_index import SessionIndex
from localstore.models.progress import Progress

_ABSENCE = 0.1
"""How many seconds a document may be missing while a program saves it: some remove or rename the old file first."""
_PAUSE = 0.002


class EngineBase:
    """Opens a store, and finds the document of a session. The base of `Engine`."""

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
        self.recent_items: LastWrites[list[str]] = LastWrites()
        """The ids of the newest items, oldest first; none if they were not read."""

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

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Return a context manager that holds the lock of a file other than a document. Take no other lock inside."""
        return self.locks.session(name, self.timeout)

    def locate(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, updated if its file was edited since. Return None if there is no document."""
        for row in self._rows_of(session_id):
            current = self.index.current(row)
            if current is not None and current["session_id"] == session_id:
                return current
        return None

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


def _is_back(path: str) -> bool:
    """Wait a moment for a file at this path. Return whether there is one."""
    deadline = time.monotonic() + _ABSENCE
    while not filesystem.exists(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True

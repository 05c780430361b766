"""Several documents of one session: read as one, and made one by the next write.

They come from a conversion that was killed, from sync tools and version control, and from copies made by hand.
"""

import contextlib
import warnings

from localstore.disk import filesystem, trash_folder
from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.engine.plan import Rewrite
from localstore.engine.snapshot import Snapshot
from localstore.engine.transaction import Transaction
from localstore.engine.union import union
from localstore.errors import LocalstoreError
from localstore.format.document import ParsedDocument, newest_state, parse_strictly
from localstore.index.session_index import SessionIndex


class Duplicates:
    """Adds what other documents of a session have to its document. Known are those that the index has found."""

    def __init__(self, root: str, index: SessionIndex) -> None:
        self._root = root
        self._index = index
        self._kept: dict[str, list[int]] = {}
        """Documents that stay although their entries were added, by path, with their fingerprints at that time."""
        self._reported: set[str] = set()
        """The notices that were given: each is given once."""
        self._notices: list[str] = []

    def unite(self, document: Transaction) -> None:
        """Add the entries that only other documents of the session have, and move these to the trash.

        The caller holds the session's lock. A document moves only once everything in it is durable in `document`. It
        stays where it is if both have different forms of a run, or different headers; its other entries are added.
        Raises LayoutMismatch, ConcurrentChange and OSError, after which nothing was moved.
        """
        session_id = document.row["session_id"]
        for path in self._index.duplicates_of(session_id):
            found = self._read(path, session_id)
            if found is None:
                continue
            other, state = found
            if self._kept.get(path) == state:
                continue
            parsed = document.whole()
            changes = union(parsed.header, parsed.entries, other.header, other.entries)
            if changes.inserted or changes.replaced:
                inserted = {
                    parsed.starts[index]: entries
                    for index, entries in changes.inserted.items()
                    if index < len(parsed.starts)
                }
                added = changes.inserted.get(len(parsed.entries), [])
                replaced = {parsed.starts[index]: entry for index, entry in changes.replaced.items()}
                document.execute(Rewrite({**replaced}, added, inserted=inserted))
            else:
                filesystem.sync_file(document.file.fd, document.file.path)
            if changes.conflicts:
                self._kept[path] = state
                differences = ", ".join(changes.conflicts)
                self._report(
                    f"Entries that only {self._root}/{path} has were added to "
                    f"{document.file.path}. Both have session_id {session_id!r} and differ in {differences}, so both "
                    "files stay. Delete one, or change the session_id in one."
                )
                continue
            with contextlib.suppress(OSError, LocalstoreError):
                if fingerprint(filesystem.system.status(f"{self._root}/{path}")) == state:
                    trashed = trash_folder.move_in(self._root, path, session_id)
                    self._index.forget_duplicate(path)
                    self._report(
                        f"{self._root}/{path} had the same session_id as {document.file.path}. "
                        f"Everything in it is there now, and the file was moved to {trashed.path}."
                    )

    def add_to(self, snapshot: Snapshot, session_id: str) -> Snapshot:
        """Return a snapshot with all entries of the session, from all of its documents.

        `snapshot` has all entries of the session's document. It is returned itself if nothing is added.
        """
        entries = snapshot.entries
        for path in self._index.duplicates_of(session_id):
            found = self._read(path, session_id)
            if found is None:
                continue
            other = found[0]
            changes = union(snapshot.header, entries, other.header, other.entries)
            entries = changes.apply(entries)
            differences = f" They differ in {', '.join(changes.conflicts)}." if changes.conflicts else ""
            self._report(
                f"Session {session_id!r} has two documents, {snapshot.path} and "
                f"{self._root}/{path}. Their entries were read as one history, and the next write unites "
                f"them.{differences}"
            )
        if entries == snapshot.entries:
            return snapshot
        # No file has this content, so the fingerprint must match none.
        return Snapshot(snapshot.path, snapshot.header, entries, newest_state(entries), [])

    def warn(self) -> None:
        """Issue the warnings that the last calls left. Call it when no lock is held."""
        notices, self._notices = self._notices, []
        for notice in notices:
            warnings.warn(notice, stacklevel=4)  # the caller of the storage's method

    def _report(self, notice: str) -> None:
        if notice not in self._reported:
            self._reported.add(notice)
            self._notices.append(notice)

    def _read(self, path: str, session_id: str) -> tuple[ParsedDocument, list[int]] | None:
        """Return another document of the session and its fingerprint, or None if it cannot be read without a loss."""
        try:
            with DocumentFile(f"{self._root}/{path}") as file:
                parsed = parse_strictly(file.read_all(), file.layout, file.path)
                return (parsed, fingerprint(file.status)) if parsed.header["session_id"] == session_id else None
        except FileNotFoundError:
            self._index.forget_duplicate(path)
            return None
        except (OSError, LocalstoreError):
            return None  # `check` names it

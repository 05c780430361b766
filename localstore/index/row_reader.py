"""Read documents one by one, record their rows, and keep track of the files that are not the document of a session."""

from localstore.disk import file_names, filesystem
from localstore.disk.conflict_copies import copy_name
from localstore.disk.document_file import fingerprint
from localstore.disk.locks import LockPool
from localstore.index.document_row import Torn, Unreadable, read_row
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, matches_file

_ATTEMPTS = 3
"""How often a document is read at most, if other programs keep changing it."""
_Exceptions = dict[str, Unreadable] | dict[str, tuple[list[int], str]]
"""Files that are not used as the document of a session, by path. The first item is the fingerprint."""


class RowReader:
    """Reads the documents whose rows are missing or outdated. The manifest's `mutex` guards what it knows of files."""

    def __init__(self, root: str, manifest: Manifest, locks: LockPool) -> None:
        self._root = root
        self._manifest = manifest
        self._locks = locks
        self.duplicates: dict[str, tuple[list[int], str]] = {}
        """Files that hold a session whose document is another file: path to fingerprint and session id."""
        self.unreadable: dict[str, Unreadable] = {}
        """Files in which no session can be read, by path."""

    def current(self, row: IndexRow) -> IndexRow | None:
        """Return the row, read again if its file changed. That of a torn document is the one to repair it with.

        Return None if the file is gone, no session can be read from it, or it is a duplicate.
        """
        content = self._compared(row)
        return content.recorded if isinstance(content, Torn) else content

    def listed(self, row: IndexRow) -> IndexRow | None:
        """Return the row, read again if its file changed. That of a torn document counts what a read returns.

        Return None in the same cases as `current`.
        """
        content = self._compared(row)
        return content.readable if isinstance(content, Torn) else content

    def _compared(self, row: IndexRow) -> IndexRow | Torn | None:
        try:
            status = filesystem.status_or_none(f"{self._root}/{row['path']}")
        except OSError as error:
            return {**row, "problem": str(error)}
        if status is None:
            return None
        if matches_file(row, status):
            return row
        self._manifest.refresh()  # reading a line costs less than reading the document
        newer = self._manifest.get(row["session_id"])
        if newer is not None and newer["path"] == row["path"] and matches_file(newer, status):
            return newer
        content = self._read_or_torn(row["path"])
        fresh = content.recorded if isinstance(content, Torn) else content
        if fresh is None or self.is_duplicate(fresh):
            return None
        self._store(fresh)
        return content

    def with_overview(self, row: IndexRow) -> IndexRow:
        """Return the row with what is counted over the runs.

        If its line was made by an earlier release, the document is read once. The row of a document that cannot be read
        is returned as it is.
        """
        if "overview" in row or "problem" in row:
            return row
        fresh = self.read(row["path"])
        if fresh is None or "overview" not in fresh or fresh["fingerprint"] != row["fingerprint"]:
            return row
        complete: IndexRow = {**row, "overview": fresh["overview"]}
        self._store(complete)
        return complete

    def adopt(self, path: str) -> IndexRow | None:
        """Read a document, store its row and return it. Return None if no session can be read.

        The row of a duplicate is returned but not stored.
        """
        row = self.read(path)
        if row is not None and not self.is_duplicate(row):
            self._store(row)
        return row

    def _store(self, row: IndexRow) -> None:
        if self._manifest.get(row["session_id"]) is row:
            return
        if "problem" not in row:
            self.record([row])
        else:
            with self._manifest.mutex:
                self._manifest.put(row)

    def record(self, rows: list[IndexRow]) -> None:
        """Store the rows of documents that were read.

        Documents are read without a lock, so the line of a process that changed or removed one may come before the
        one that is added now. Such documents are looked at again.
        """
        for _ in range(_ATTEMPTS):
            self._manifest.record(rows)
            rows = self._outdated(rows)
            if not rows:
                break

    def _outdated(self, rows: list[IndexRow]) -> list[IndexRow]:
        """Return new rows of those documents that changed meanwhile. Remove the rows of those that are gone."""
        fresh = []
        for row in rows:
            try:
                status = filesystem.status_or_none(f"{self._root}/{row['path']}")
            except OSError:
                continue  # the listing reports it
            if status is None:
                known = self._manifest.get(row["session_id"])
                if known is not None and known["path"] == row["path"]:
                    self._manifest.record_gone(row["session_id"])
            elif fingerprint(status) != row["fingerprint"]:
                again = self.read(row["path"])
                is_same = again is not None and again["session_id"] == row["session_id"] and "problem" not in again
                if again is not None and is_same and again["fingerprint"] != row["fingerprint"]:
                    fresh.append(again)
        return fresh

    def read(self, path: str) -> IndexRow | None:
        """Return the row of the document at `path`, or None if no session can be read there.

        A broken document whose id can be read gets a row with a `problem`, and a torn one the row of the manifest.
        """
        content = self._read_or_torn(path)
        return content.recorded if isinstance(content, Torn) else content

    def _read_or_torn(self, path: str) -> IndexRow | Torn | None:
        with self._manifest.mutex:
            unreadable = self.unreadable.get(path)
        content = read_row(self._root, path, self._manifest, self._locks, unreadable)
        if isinstance(content, Unreadable):
            if content is not unreadable:
                with self._manifest.mutex:
                    self.unreadable[path] = content
                    self.duplicates.pop(path, None)
            return None
        if content is not None:
            self._forget_exception(self.unreadable, path)
        return content

    # Files that are not the document of a session

    def unreadable_files(self) -> dict[str, str]:
        """Return the files in which no session can be read, and why. Paths are relative to the root."""
        with self._manifest.mutex:
            return {path: unreadable.problem for path, unreadable in self.unreadable.items()}

    def duplicate_files(self) -> dict[str, str]:
        """Return the files that hold a session whose document is another file, with the session's id.

        A file that cannot be read is among them if its name is that of a copy. Paths are relative to the root.
        """
        with self._manifest.mutex:
            found = {path: session_id for path, (_, session_id) in self.duplicates.items()}
            for path in self.unreadable:
                if (session_id := self._session_copied_to(path)) is not None:
                    found[path] = session_id
        return dict(sorted(found.items()))

    def _session_copied_to(self, path: str) -> str | None:
        """Return the session of the document of which a file is a copy, judged by its name, or None."""
        folder, _, name = path.rpartition("/")
        while (copied := copy_name(name)) is not None:
            name = copied.original
            if (session_id := self._manifest.session_at(f"{folder}/{name}")) is not None:
                return session_id
        return None

    def problem_of(self, path: str) -> str | None:
        """Return why no session can be read in this file, or None if it is not known as unreadable."""
        unreadable = self.unreadable.get(path)
        return None if unreadable is None else unreadable.problem

    def forget_duplicate(self, path: str) -> None:
        """Forget a file that is no longer a second document of a session."""
        self._forget_exception(self.duplicates, path)

    def is_duplicate(self, row: IndexRow) -> bool:
        """Return whether another document is the session's document, and note the result.

        That is the last one in the order of `rank`, whatever the manifest named before.
        """
        session_id = row["session_id"]
        with self._manifest.mutex:
            first = self._manifest.get(session_id)
        if first is None or first["path"] == row["path"] or not self._still_holds(first["path"], session_id):
            self._forget_exception(self.duplicates, row["path"])
            return False
        if rank(row) > rank(first):
            self._forget_exception(self.duplicates, row["path"])
            with self._manifest.mutex:
                self.duplicates[first["path"]] = first["fingerprint"], session_id
            return False
        with self._manifest.mutex:
            self.duplicates[row["path"]] = row["fingerprint"], session_id
            former = self._manifest.session_at(row["path"])
        if former is not None and former != session_id:  # its document was overwritten, or is elsewhere by now
            self._manifest.record_gone(former)
        return True

    def _still_holds(self, path: str, session_id: str) -> bool:
        """Return whether the file at `path` exists and holds this session. If it cannot be read, return True."""
        row = self._manifest.row_at(path)
        try:
            status = filesystem.status_or_none(f"{self._root}/{path}")
        except OSError:
            return True  # if in doubt, the first file keeps the id
        if status is None or (row is not None and row["fingerprint"] == fingerprint(status)):
            return status is not None
        current = self.read(path)
        return current is None or current["session_id"] == session_id

    def changed_exceptions(self) -> set[str]:
        """Return the unreadable and duplicate files that changed since they were read. Forget those that are gone.

        A changed file keeps its status until it is read again, so that other threads do not treat it as missing.
        """
        changed = set()
        with self._manifest.mutex:  # other processes may have recorded another document as that of the session
            for path in self._manifest.sessions_at(self.duplicates) if self.duplicates else ():
                del self.duplicates[path]
        for exceptions in (self.unreadable, self.duplicates):
            with self._manifest.mutex:
                fingerprints = [(path, before) for path, (before, _) in exceptions.items()]
            for path, before in fingerprints:
                try:
                    status = filesystem.status_or_none(f"{self._root}/{path}")
                except OSError:
                    continue
                if status is None:
                    self._forget_exception(exceptions, path)
                elif fingerprint(status) != before:
                    changed.add(path)
        return changed

    def _forget_exception(self, exceptions: _Exceptions, path: str) -> None:
        if path in exceptions:
            with self._manifest.mutex:
                exceptions.pop(path, None)


def rank(row: IndexRow) -> tuple[bool, bool, str, int, int, list[int]]:
    """Return a key that orders documents of one session. The last one in this order is the session's document.

    Documents whose name is that of a copy come first, and those with the canonical name last, even if they are broken:
    an unreadable document is not a missing one. Then come those with newer entries, more entries, a shorter name, and
    the path that is first in the alphabet. The times of the files do not count: copying a file makes a new one.
    """
    name = row["path"].rpartition("/")[2]
    is_canonical = name.rpartition(".")[0] == file_names.stem(row["session_id"])
    reversed_path = [-ord(character) for character in row["path"]]
    is_original = is_canonical or copy_name(name) is None
    return is_canonical, is_original, row["updated_at"], row["entries"], -len(name), reversed_path

"""The sessions of a store: the rows of the manifest, corrected by the files in the folders.

A folder is listed again when its modification time changes. This detects files that a person or a sync tool added,
moved or removed, without opening any other file.
"""

import bisect
import contextlib
import time
from collections.abc import Iterable

from localstore.disk import file_names, filesystem, ignored_files, store_tree
from localstore.disk.document_file import fingerprint
from localstore.disk.ignored_files import Reason
from localstore.disk.locks import LockPool
from localstore.index.document_row import Torn, Unreadable, read_row
from localstore.index.manifest import Manifest
from localstore.index.row import (
    COARSE_TICK,
    IndexRow,
    activity,
    in_order,
    is_coarse,
    latest_plausible_time,
    matches_file,
)
from localstore.models.filter import Filter

_FINE_TICK = 50_000_000
"""How long, in ns, a folder's time may stay the same while names in it change, unless times are whole seconds."""
_SWEEP_SHARE = 100
"""The pause between two sweeps is at least this many times the duration of the last one, and at least one second."""
_RECENT = 2_000_000_000
"""How old, in ns, a change must be for a later sweep to read the file: its writer normally records the row itself."""
_BATCH = 1000
_LISTING_ATTEMPTS = 3
"""The most attempts at a listing. It starts again if documents changed during the attempt."""

Position = tuple[str, str]
"""A place in the order of activity: (time of the last activity, session_id)."""
_Exceptions = dict[str, Unreadable] | dict[str, tuple[list[int], str]]
"""Files that are not used as the document of a session, by path. The first item is the fingerprint."""


class SessionIndex:
    """Finds and lists the sessions of one store, including those whose files were added or edited by others."""

    def __init__(self, root: str, manifest: Manifest, locks: LockPool) -> None:
        self._root = root
        self._locks = locks
        self._manifest = manifest
        self._scanned: dict[str, int] = {}
        self._restarts = self._swept = 0
        self._sweep_due = 0.0
        self._duplicates: dict[str, tuple[list[int], str]] = {}
        """Files that hold a session whose document is another file: path to fingerprint and session id."""
        self._new: set[str] = set()
        """Sessions that had no row before the current scan: of their documents, the first in rank counts."""
        self._unreadable: dict[str, Unreadable] = {}
        """Files in which no session can be read, by path."""
        self.unreadable_folders: dict[str, str] = {}
        """Folders that the last scan could not list: path to problem. Each scan sets a new mapping."""
        self._ignored: dict[str, dict[str, Reason]] = {}
        """Files that look like documents but are not read, by month folder and path."""

    def unreadable_files(self) -> dict[str, str]:
        """Return the files in which no session can be read, and why. Paths are relative to the root."""
        with self._manifest.mutex:
            return {path: unreadable.problem for path, unreadable in self._unreadable.items()}

    def duplicate_files(self) -> dict[str, str]:
        """Return the files that hold a session whose document is another file, with the session's id.

        Paths are relative to the root.
        """
        with self._manifest.mutex:
            return {path: session_id for path, (_, session_id) in sorted(self._duplicates.items())}

    def ignored_files(self) -> dict[str, Reason]:
        """Return the files that look like documents but are not read, and why. Paths are relative to the root.

        In the month folders, they are those of the last scan. The folders above are listed now.
        """
        ignored = ignored_files.above_month_folders(self._root)
        with self._manifest.mutex:
            for files in self._ignored.values():
                ignored.update(files)
        return dict(sorted(ignored.items()))

    def duplicates_of(self, session_id: str) -> list[str]:
        """Return the files that hold this session although its document is another file, as far as they are known."""
        if not self._duplicates:
            return []
        return [path for path, duplicate in self.duplicate_files().items() if duplicate == session_id]

    def forget_duplicate(self, path: str) -> None:
        """Forget a file that is no longer a second document of a session."""
        self._forget_exception(self._duplicates, path)

    def problem_of(self, path: str) -> str | None:
        """Return why no session can be read in this file, or None if it is not known as unreadable."""
        unreadable = self._unreadable.get(path)
        return None if unreadable is None else unreadable.problem

    def find(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, from the manifest or else from a file that is named after the session.

        Return None if there is neither. The row is not compared with its file.
        """
        self._manifest.refresh()
        row = self._manifest.get(session_id)
        if row is not None and store_tree.has_folder(self._root, row["path"].rpartition("/")[0]):
            return row
        self._new = set()
        found = [self.adopt(path) for path in store_tree.paths_named_after(self._root, session_id)]
        if any(row is not None and row["session_id"] == session_id for row in found):
            return self._manifest.get(session_id)
        return None

    def find_anywhere(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, even if its file has another name. Return None if there is no document."""
        row = self.find(session_id)
        if row is None:
            self.scan()
            row = self._manifest.get(session_id)
        return row

    def find_moved(self, row: IndexRow) -> IndexRow | None:
        """Return the new row of a session whose file is no longer where `row` says, or None if it is gone."""
        with self._manifest.mutex:
            current = self._manifest.get(row["session_id"])
            if current is not None and current["path"] == row["path"]:
                self._manifest.hide(row["session_id"])
        self.forget_scans()
        return self.find_anywhere(row["session_id"])

    def forget_scans(self) -> None:
        """Make the next scan list every folder again."""
        self._scanned = {}  # a new mapping, because a scan in another thread may still add to the old one

    def next_duplicate(self, session_id: str) -> IndexRow | None:
        """Return the row of another document with this id after the first was removed, or None if there is none."""
        self._new = set()
        for path in self.duplicates_of(session_id):
            row = self.adopt(path)
            if row is not None and row["session_id"] == session_id:
                return row
        return None

    def scan(self) -> None:
        """List the folders that changed, read their new documents, and hide the rows of removed ones."""
        manifest = self._manifest
        manifest.refresh(thorough=True)
        self._new = set()
        if self._restarts != manifest.restarts:
            self.forget_scans()
            self._restarts = manifest.restarts
        now = time.time_ns()
        scanned = self._scanned
        folders = store_tree.folders(self._root)
        unreadable: dict[str, str] = {}
        times: dict[str, int] = {}
        ignored: dict[str, dict[str, Reason]] = {}
        added = self._changed_exceptions()
        hidden: list[str] = []
        with manifest.mutex:
            for folder in manifest.folders():
                if folder not in folders:
                    hidden += manifest.paths_in(folder).values()
                    self._hide_all(manifest.paths_in(folder).values())
        for folder, changed in folders.items():
            if scanned.get(folder) == changed:
                continue
            try:
                listing = store_tree.list_folder(self._root, folder)
            except OSError as error:  # keep the rows of a folder that cannot be listed
                unreadable[folder] = str(error)
                continue
            found = set(listing.documents)
            ignored[folder] = ignored_files.in_month_folder(self._root, folder, listing.others)
            with manifest.mutex:
                known = manifest.paths_in(folder)
                gone = [session_id for path, session_id in known.items() if path not in found]
                self._hide_all(gone)
                hidden += gone
                added |= found - known.keys()
            tick = COARSE_TICK if is_coarse(changed) else _FINE_TICK
            times[folder] = changed if now - changed > tick else -1
        self._adopt_all(added)
        for session_id in hidden:
            if manifest.get(session_id) is None:
                self.next_duplicate(session_id)
        self.unreadable_folders = unreadable
        with manifest.mutex:  # last: another thread that finds a folder scanned relies on the rows of its documents
            for folder in scanned.keys() - folders.keys():
                del scanned[folder]
            scanned.update(times)
            for folder in self._ignored.keys() - folders.keys():
                del self._ignored[folder]
            self._ignored.update(ignored)

    def _sweep(self) -> None:
        """Compare every row with its file's status, and read the files that changed.

        The first sweep compares all rows, because the manifest may be outdated or from another machine, or a person may
        have edited documents. Later sweeps run only so often that they take at most a hundredth of the time.
        """
        now = time.monotonic()
        restarts = self._manifest.restarts
        is_first = self._swept != restarts
        if not is_first and now < self._sweep_due:
            return
        with self._manifest.mutex:
            rows = self._manifest.all()
        min_age = 0 if is_first else _RECENT
        changed = self._changed_rows(rows, min_age)
        if changed:
            self._manifest.refresh()
            again = [row for old in changed if (row := self._manifest.get(old["session_id"])) is not None]
            self._adopt_all(row["path"] for row in self._changed_rows(again, min_age))
        self._swept = restarts  # set this last, so that another thread does not list before the sweep is complete
        end = time.monotonic()
        self._sweep_due = end + max(1.0, _SWEEP_SHARE * (end - now))

    def _changed_rows(self, rows: Iterable[IndexRow], min_age: int) -> list[IndexRow]:
        """Return the rows that differ from their files.

        Rows whose files are missing, or were modified less than `min_age` ns ago, are left out.
        """
        changed = []
        now = time.time_ns()
        for row in rows:
            with contextlib.suppress(OSError):  # the listing reports it
                status = filesystem.status_or_none(f"{self._root}/{row['path']}")
                if status is None or matches_file(row, status) or 0 <= now - status.st_mtime_ns < min_age:
                    continue
                changed.append(row)
        return changed

    def _hide_all(self, session_ids: Iterable[str]) -> None:
        for session_id in list(session_ids):
            self._manifest.hide(session_id)

    def note_own_change(self, folder: str, before: int | None) -> None:
        """Keep the result of a folder's scan if this process alone changed it since its time was `before`."""
        if before is not None and self._scanned.get(folder) == before:
            now = folder_time(self._root, folder)
            if now is not None:
                self._scanned[folder] = now

    def adopt(self, path: str) -> IndexRow | None:
        """Read a document, store its row and return it. Return None if no session can be read.

        The row of a duplicate is returned but not stored.
        """
        row = self._read(path)
        if row is not None and not self._is_duplicate(row):
            self._store(row)
        return row

    def _store(self, row: IndexRow) -> None:
        if self._manifest.get(row["session_id"]) is row:
            return
        if "problem" not in row:
            self._manifest.record([row])
        else:
            with self._manifest.mutex:
                self._manifest.put(row)

    def _adopt_all(self, paths: Iterable[str]) -> None:
        rows = []
        for path in sorted(paths):
            row = self._read(path)
            if row is None or self._is_duplicate(row):
                continue
            with self._manifest.mutex:
                self._manifest.put(row)
            if "problem" not in row:
                rows.append(row)
            if len(rows) >= _BATCH:
                self._manifest.record(rows)
                rows = []
        if rows:
            self._manifest.record(rows)

    def _is_duplicate(self, row: IndexRow) -> bool:
        """Return whether another document is the session's document, and note the result.

        That is the document that the manifest named before. If it named none, the first in rank counts.
        """
        session_id = row["session_id"]
        with self._manifest.mutex:
            first = self._manifest.get(session_id)
        if first is None:
            self._new.add(session_id)
        if first is None or first["path"] == row["path"] or not self._still_holds(first["path"], session_id):
            self._forget_exception(self._duplicates, row["path"])
            return False
        if session_id in self._new and rank(row) > rank(first):
            self._forget_exception(self._duplicates, row["path"])
            with self._manifest.mutex:
                self._duplicates[first["path"]] = first["fingerprint"], session_id
            return False
        with self._manifest.mutex:
            self._duplicates[row["path"]] = row["fingerprint"], session_id
        return True

    def _changed_exceptions(self) -> set[str]:
        """Return the unreadable and duplicate files that changed since they were read. Forget those that are gone.

        A changed file keeps its status until it is read again, so that other threads do not treat it as missing.
        """
        changed = set()
        for exceptions in (self._unreadable, self._duplicates):
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

    def _still_holds(self, path: str, session_id: str) -> bool:
        """Return whether the file at `path` exists and holds this session. If it cannot be read, return True."""
        row = self._manifest.row_at(path)
        try:
            status = filesystem.status_or_none(f"{self._root}/{path}")
        except OSError:
            return True  # if in doubt, the first file keeps the id
        if status is None or (row is not None and row["fingerprint"] == fingerprint(status)):
            return status is not None
        current = self._read(path)
        return current is None or current["session_id"] == session_id

    def _read(self, path: str) -> IndexRow | None:
        """Return the row of the document at `path`, or None if no session can be read there.

        A broken document whose id can be read gets a row with a `problem`, and a torn one the row of the manifest.
        """
        content = self._read_or_torn(path)
        return content.recorded if isinstance(content, Torn) else content

    def _read_or_torn(self, path: str) -> IndexRow | Torn | None:
        with self._manifest.mutex:
            unreadable = self._unreadable.get(path)
        content = read_row(self._root, path, self._manifest, self._locks, unreadable)
        if isinstance(content, Unreadable):
            if content is not unreadable:
                with self._manifest.mutex:
                    self._unreadable[path] = content
                    self._duplicates.pop(path, None)
            return None
        if content is not None:
            self._forget_exception(self._unreadable, path)
        return content

    def all(self, *, thorough: bool) -> list[IndexRow]:
        """Return all rows, in no particular order. If `thorough` is true, compare them with their files first."""
        self.scan()
        if thorough:
            self._sweep()
        with self._manifest.mutex:
            return self._manifest.all()

    def rows(
        self, where: Filter, limit: int | None, *, after: Position | None = None, newest_first: bool = True
    ) -> list[IndexRow]:
        """Return the rows that match the filter, ordered by activity, each compared with its file.

        `limit` is the maximum number of rows; None returns all. With `after`, the rows begin behind that position.
        """
        for _ in range(_LISTING_ATTEMPTS):
            rows, moved = self._rows(where, limit, after, newest_first)
            if not moved:
                return rows
        # Other processes keep writing, so sort the rows that were read by their own times.
        return in_order(rows, newest_first=newest_first)

    def _rows(
        self, where: Filter, limit: int | None, after: Position | None, newest_first: bool
    ) -> tuple[list[IndexRow], bool]:
        """Return the matching rows, and whether any of them changed its position in the order or its session id."""
        self.scan()
        self._sweep()
        rows: list[IndexRow] = []
        moved = False
        latest = latest_plausible_time()
        with self._manifest.mutex:
            by_activity = self._manifest.by_activity(where.user, where.entity)
            start, end = 0, len(by_activity)
            if where.since_text is not None:
                start = bisect.bisect_left(by_activity, (where.since_text, ""))
            if where.until_text is not None:
                end = bisect.bisect_left(by_activity, (where.until_text, ""))
            if after is not None and newest_first:
                end = min(end, bisect.bisect_left(by_activity, after))
            elif after is not None:
                start = max(start, bisect.bisect_right(by_activity, after))
            positions = by_activity[start:end]
        for active_at, session_id in reversed(positions) if newest_first else positions:
            if len(rows) == limit:
                break
            row = self._manifest.get(session_id)
            if row is None or not where.matches_header(row):
                continue
            current = self.listed(row)
            if current is None:
                continue
            current_time = activity(current, latest)
            moved = moved or current_time != active_at  # lines of other processes were read since
            if current["session_id"] != session_id:  # two documents have swapped their file names
                self.forget_scans()
                moved = True
                continue
            if where.counts_runs:
                current = self.with_overview(current)
            if where.matches(current, current_time):
                rows.append(current)
        return rows, moved

    def beginning_with(self, text: str) -> list[IndexRow]:
        """Return the rows of the sessions whose id or name begins with this text, each compared with its file."""
        self.scan()
        rows = [self.listed(row) for row in self.all(thorough=False) if _begins_with(row, text)]
        return [row for row in rows if row is not None and _begins_with(row, text)]

    def with_overview(self, row: IndexRow) -> IndexRow:
        """Return the row with what is counted over the runs.

        If its line was made by an earlier release, the document is read once. The row of a document that cannot be read
        is returned as it is.
        """
        if "overview" in row or "problem" in row:
            return row
        fresh = self._read(row["path"])
        if fresh is None or "overview" not in fresh or fresh["fingerprint"] != row["fingerprint"]:
            return row
        complete: IndexRow = {**row, "overview": fresh["overview"]}
        self._store(complete)
        return complete

    def current(self, row: IndexRow) -> IndexRow | None:
        """Return the row, read again if its file changed. That of a torn document is the one to repair it with.

        Return None if the file is gone, no session can be read from it, or it is a duplicate.
        """
        content = self._look(row)
        return content.recorded if isinstance(content, Torn) else content

    def listed(self, row: IndexRow) -> IndexRow | None:
        """Return the row, read again if its file changed. That of a torn document counts what a read returns.

        Return None in the same cases as `current`.
        """
        content = self._look(row)
        return content.readable if isinstance(content, Torn) else content

    def _look(self, row: IndexRow) -> IndexRow | Torn | None:
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
        if fresh is None or self._is_duplicate(fresh):
            return None
        self._store(fresh)
        return content


def _begins_with(row: IndexRow, text: str) -> bool:
    return row["session_id"].startswith(text) or row.get("name", "").startswith(text)


def rank(row: IndexRow) -> tuple[bool, bool, str, int, int, str]:
    """Return a key that orders documents of one session. The last one in this order is the session's document.

    Readable documents come after broken ones, then those with the canonical name, then those with newer entries.
    """
    name = row["path"].rpartition("/")[2].rpartition(".")[0]
    is_canonical = name == file_names.stem(row["session_id"])
    changed = row["fingerprint"][1] if row["fingerprint"] else 0
    return "problem" not in row, is_canonical, row["updated_at"], row["entries"], changed, row["path"]


def folder_time(root: str, folder: str) -> int | None:
    """Return the mtime_ns of a folder of the store, or None if it cannot be read."""
    try:
        return filesystem.system.status(f"{root}/{folder}").st_mtime_ns
    except OSError:
        return None

"""The sessions of a store: the rows of the manifest, corrected by the files in the folders.

A folder is listed again when its modification time changes. This detects files that a person or a sync tool added,
moved or removed, without opening any other file.
"""

import contextlib
import os
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from localstore.disk import file_names, filesystem, ignored_files, store_tree
from localstore.disk.boot import boot_hash
from localstore.disk.document_file import fingerprint
from localstore.disk.folder_watch import FolderWatch, stamp
from localstore.disk.ignored_files import Reason
from localstore.disk.locks import LockPool
from localstore.index.document_row import Torn, Unreadable, read_row
from localstore.index.manifest import Manifest
from localstore.index.manifest_lines import FolderNote
from localstore.index.row import (
    COARSE_TICK,
    IndexRow,
    activity,
    begins_with,
    in_order,
    is_coarse,
    latest_plausible_time,
    matches_file,
)
from localstore.index.selection import ExceptionKind, Found, Place, Selection
from localstore.models.filter import Filter
from localstore.models.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localstore.models.stats import GroupKey, Tally

_FINE_TICK = 50_000_000
"""How long, in ns, a folder's time may stay the same while names in it change, unless times are whole seconds."""
_SWEEP_SHARE = 100
"""The pause between two sweeps is at least this many times the duration of the last one, and at least one second."""
_LOOK = 4e-6
"""About how many seconds it takes to compare a document with its row."""
_RECENT = 2_000_000_000
"""How old, in ns, a change must be for a later sweep to read the file: its writer normally records the row itself."""
_BATCH = 1000
_LISTING_ATTEMPTS = 3
"""The most attempts at a listing. It starts again if documents changed during the attempt."""

_FEW = 1000
"""Up to how many sessions the first listing of every process compares all documents with their rows."""
_FIRST_PAGE = 100
"""How many rows are read at first if a filter may leave out some."""
_Result = TypeVar("_Result")
_Exceptions = dict[str, Unreadable] | dict[str, tuple[list[int], str]]
"""Files that are not used as the document of a session, by path. The first item is the fingerprint."""


class SessionIndex:
    """Finds and lists the sessions of one store, including those whose files were added or edited by others."""

    def __init__(self, root: str, manifest: Manifest, locks: LockPool, progress: Progress | None = None) -> None:
        """`progress` is called while a scan reads documents."""
        self._root = root
        self._progress = progress
        self._locks = locks
        self._manifest = manifest
        self._scanned: dict[str, int] = {}
        self._restarts = self._swept = 0
        self._sweep_due = 0.0
        self._duplicates: dict[str, tuple[list[int], str]] = {}
        """Files that hold a session whose document is another file: path to fingerprint and session id."""
        self._unreadable: dict[str, Unreadable] = {}
        """Files in which no session can be read, by path."""
        self.unreadable_folders: dict[str, str] = {}
        """Folders that the last scan could not list: path to problem. Each scan sets a new mapping."""
        self._ignored: dict[str, dict[str, Reason]] = {}
        """Files that look like documents but are not read, by month folder and path."""
        self._stored: Found | None = None
        """What the index knows about the folders, as far as this process read or stored it."""

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
        if self._stored is None and not self._manifest.is_small():
            self._load()
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
        paths = set(store_tree.paths_named_after(self._root, session_id))
        found = [self._adopt(path, paths) for path in sorted(paths)]
        if any(row is not None and row["session_id"] == session_id for row in found):
            return self._manifest.get(session_id)
        return None

    def find_anywhere(self, session_id: str, *, for_writing: bool = False) -> IndexRow | None:
        """Return the row of a session, even if its file has another name. Return None if there is no document.

        `for_writing` is that of `scan`.
        """
        row = self.find(session_id)
        if row is None:
            self.scan(for_lookup=True, for_writing=for_writing)
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
        paths = self.duplicates_of(session_id)
        for path in paths:
            row = self._adopt(path, set(paths))
            if row is not None and row["session_id"] == session_id:
                return row
        return None

    def scan(self, *, for_lookup: bool = False, for_writing: bool = False) -> None:
        """List the folders that changed, read their new documents, and hide the rows of removed ones.

        Args:
            for_lookup: Keep what is found in a small store in memory: loading SQLite would cost more.
            for_writing: Give a folder that has just changed another time, so that it need not be listed again after
                each document that is made in it.
        """
        manifest = self._manifest
        manifest.refresh(thorough=True)
        folders = store_tree.folders(self._root)
        for folder in manifest.take_left():
            self._scanned.pop(folder, None)
        is_new = self._restarts != manifest.restarts
        if is_new:
            self.forget_scans()
            self._restarts = manifest.restarts
        uses_index = not (for_lookup and manifest.is_small())
        if uses_index and any(self._scanned.get(folder) != changed for folder, changed in folders.items()):
            self._load()  # another process may have scanned them
        now = time.time_ns()
        scanned = self._scanned
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
            if scanned.get(folder) == changed and filesystem.system.may_list(f"{self._root}/{folder}"):
                continue
            tick = COARSE_TICK if is_coarse(changed) else _FINE_TICK
            if now - changed <= tick:  # other changes at this moment would not be seen
                changed = (stamp(f"{self._root}/{folder}") if for_writing else None) or -1
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
            times[folder] = changed
        self._adopt_new(added)
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
        if uses_index:
            self._save(hidden)

    def _load(self) -> None:
        """Take over what the last scans of any process found, if the index has it."""
        found = self._manifest.found_in_folders()
        self._stored = found
        if not found.folders:
            return
        with self._manifest.mutex:
            self._scanned = dict(found.folders)
            self._unreadable, self._duplicates, self._ignored = {}, {}, {}
            for path, (kind, detail) in found.exceptions.items():
                if kind == "unreadable":
                    self._unreadable[path] = Unreadable(*detail)
                elif kind == "broken":
                    if self._manifest.get(detail["session_id"]) is None and self._manifest.session_at(path) is None:
                        self._manifest.put(detail)
                elif kind == "duplicate":
                    self._duplicates[path] = (detail[0], detail[1])
                else:
                    self._ignored.setdefault(_month_folder(path), {})[path] = Reason(*detail)

    def _save(self, hidden: list[str]) -> None:
        """Store what the scan found, if it is not what the index has."""
        with self._manifest.mutex:
            exceptions: dict[str, tuple[ExceptionKind, Any]] = {
                path: ("ignored", reason) for files in self._ignored.values() for path, reason in files.items()
            }
            exceptions.update((row["path"], ("broken", row)) for row in self._manifest.broken_rows())
            exceptions.update((path, ("duplicate", detail)) for path, detail in self._duplicates.items())
            exceptions.update((path, ("unreadable", detail)) for path, detail in self._unreadable.items())
            unwritten = self._manifest.unwritten_folders()
            folders = {folder: changed for folder, changed in self._scanned.items() if folder not in unwritten}
            found = Found(folders, exceptions)
        if hidden or found != self._stored:
            self._manifest.set_found(found, hidden)
            self._stored = found

    def _sweep(self) -> None:
        """Compare every row with its file's status, and read the files that changed.

        This finds documents that a person edited in place, which changes no folder. The first listing of a process does
        it if there are few sessions, or if none did since the machine was started: the rows may be from another
        machine. Later sweeps run only so often that they take at most a hundredth of the time.
        """
        now = time.monotonic()
        restarts = self._manifest.restarts
        is_first = self._swept != restarts
        if is_first:
            was_swept = self._manifest.was_swept(boot_hash())
            if was_swept and (number := self._manifest.count()) > _FEW:
                self._swept = restarts
                self._sweep_due = now + number * _SWEEP_SHARE * _LOOK
                return
        elif now < self._sweep_due:
            return
        self._sweep_all(0 if is_first else _RECENT)
        self._swept = restarts  # set this last, so that another thread does not list before the sweep is complete
        end = time.monotonic()
        self._sweep_due = end + max(1.0, _SWEEP_SHARE * (end - now))

    def _sweep_all(self, min_age: int) -> None:
        changed = self._changed_rows(self._manifest.all(), min_age)
        if changed:
            self._manifest.refresh()
            again = [row for old in changed if (row := self._manifest.get(old["session_id"])) is not None]
            self._adopt_all(sorted(row["path"] for row in self._changed_rows(again, min_age)), set())
        if not min_age:
            self._manifest.set_swept(boot_hash())

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

    def own_change(self, path: str, watch: FolderWatch | None) -> FolderNote | None:
        """Return a note for the manifest if this process alone changed a document's folder since its scan, else None.

        With it, nobody needs to scan the folder again. `watch` was made before the change. Once the manifest has the
        rows that belong to the change, call `keep_scan`.
        """
        folder = path.rpartition("/")[0]
        if watch is None or watch.before is None or watch.after is None:
            return None
        if self._stored is None and not self._manifest.is_small():
            self._load()
        if self._scanned.get(folder) != watch.before:
            return None
        return FolderNote(folder, watch.before, watch.after)

    def keep_scan(self, note: FolderNote | None) -> None:
        """Keep the result of the scan of a folder that a recorded note is about."""
        if note is not None and self._scanned.get(note.folder) == note.before:
            self._scanned[note.folder] = note.after
            if self._stored is not None:
                self._stored.folders[note.folder] = note.after  # as the note does

    def adopt(self, path: str) -> IndexRow | None:
        """Read a document, store its row and return it. Return None if no session can be read.

        The row of a duplicate is returned but not stored.
        """
        return self._adopt(path, set())

    def _adopt(self, path: str, new: Collection[str]) -> IndexRow | None:
        """Do what `adopt` does. `new` are paths that had no row before."""
        row = self._read(path)
        if row is not None and not self._is_duplicate(row, new):
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

    def _adopt_new(self, paths: set[str]) -> None:
        """Read documents that had no row, and store their rows.

        Other processes may be reading the same documents, and record their rows. So each process takes the batches in
        an order of its own, and skips what has a row by then.
        """
        ordered = sorted(paths)
        batches = [ordered[begin : begin + _BATCH] for begin in range(0, len(ordered), _BATCH)]
        random.Random(os.getpid()).shuffle(batches)  # noqa: S311 (no secret)
        done = 0
        for batch in batches:
            missing = self._without_row(batch) if done else batch
            done += len(batch) - len(missing)
            self._adopt_all(missing, paths, done, len(ordered))
            done += len(missing)
        if len(batches) > 1:  # of two documents of a session, another process may have recorded the wrong one
            missing = self._without_row(ordered)
            with self._manifest.mutex:
                missing = [path for path in missing if path not in self._unreadable and path not in self._duplicates]
            self._adopt_all(missing, paths)

    def _without_row(self, paths: list[str]) -> list[str]:
        """Return the paths that no row has. The others are no exceptions any more."""
        self._manifest.refresh()
        with self._manifest.mutex:
            recorded = self._manifest.sessions_at(paths)
            for path in recorded:
                self._unreadable.pop(path, None)
                self._duplicates.pop(path, None)
        return [path for path in paths if path not in recorded]

    def _adopt_all(self, paths: Collection[str], new: Collection[str], done: int = 0, total: int = 0) -> None:
        """Read documents and store their rows.

        Args:
            paths: The documents.
            new: The paths that had no row before.
            done: How many documents are done already.
            total: How many there are in total, for `progress`; 0 reports nothing.
        """
        rows = []
        for number, path in enumerate(paths, done + 1):
            row = self._read(path)
            if row is not None and not self._is_duplicate(row, new):
                with self._manifest.mutex:
                    self._manifest.put(row)
                if "problem" not in row:
                    rows.append(row)
            if len(rows) >= _BATCH:
                self._manifest.record(rows)
                rows = []
            if total and self._progress is not None:
                self._progress(number, total)
        if rows:
            self._manifest.record(rows)

    def _is_duplicate(self, row: IndexRow, new: Collection[str]) -> bool:
        """Return whether another document is the session's document, and note the result.

        That is the document with the canonical name, or else the one that the manifest named before. If it named none,
        because its path is one of those that are `new`, the first in rank counts.
        """
        session_id = row["session_id"]
        with self._manifest.mutex:
            first = self._manifest.get(session_id)
        if first is None or first["path"] == row["path"] or not self._still_holds(first["path"], session_id):
            self._forget_exception(self._duplicates, row["path"])
            return False
        if rank(row) > rank(first) and (first["path"] in new or rank(row)[:2] > rank(first)[:2]):
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
        with self._manifest.mutex:  # other processes may have recorded another document as that of the session
            for path in self._manifest.sessions_at(self._duplicates) if self._duplicates else ():
                del self._duplicates[path]
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
        return self._repeated(lambda: self._all(thorough))

    def _all(self, thorough: bool) -> list[IndexRow]:
        self.scan()
        if thorough:
            self._sweep_all(0)
        return self._manifest.all()

    def _repeated(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of `work`, which scans the folders. It is called again if rows were discarded meanwhile."""
        for _ in range(_LISTING_ATTEMPTS):
            result = work()
            if self._manifest.restarts == self._restarts:
                break
        return result

    def rows(
        self, where: Filter, limit: int | None, *, after: Place | None = None, newest_first: bool = True
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
        self, where: Filter, limit: int | None, after: Place | None, newest_first: bool
    ) -> tuple[list[IndexRow], bool]:
        """Return the matching rows, and whether any of them changed its position in the order or its session id."""
        self.scan()
        self._sweep()
        rows: list[IndexRow] = []
        moved = False
        latest = latest_plausible_time()
        selection = _selection(where)
        for active_at, row in self._in_order(selection, after, limit, newest_first):
            if len(rows) == limit:
                break
            if not where.matches_header(row):
                continue
            current = self.listed(row)
            if current is None:
                continue
            current_time = activity(current, latest)
            moved = moved or current_time != active_at  # lines of other processes were read since
            if current["session_id"] != row["session_id"]:  # two documents have swapped their file names
                self.forget_scans()
                moved = True
                continue
            if where.counts_runs:
                current = self.with_overview(current)
            if where.matches(current, current_time):
                rows.append(current)
        return rows, moved or self._manifest.restarts != self._restarts  # rows of this process were discarded

    def beginning_with(self, text: str) -> list[IndexRow]:
        """Return the rows of the sessions whose id or name begins with this text, each compared with its file."""
        self.scan(for_lookup=True)
        rows = [self.listed(row) for row in self._manifest.beginning_with(text)]
        return [row for row in rows if row is not None and begins_with(row, text)]

    def ids_beginning_with(self, text: str, limit: int) -> list[IndexRow]:
        """Return the rows of at most `limit` sessions whose id begins with this text, each compared with its file."""
        self.scan(for_lookup=True)
        rows = [self.listed(row) for row in self._manifest.ids_beginning_with(text, limit)]
        return [row for row in rows if row is not None and row["session_id"].startswith(text)]

    def _in_order(
        self, selection: Selection, after: Place | None, limit: int | None, newest_first: bool
    ) -> Iterator[tuple[str, IndexRow]]:
        """Yield selected rows in the order of activity, about as many at once as will be needed.

        A session that other programs write to meanwhile is yielded at least once.
        """
        stamp = self._manifest.stamp()
        size = None if limit is None else max(limit, _FIRST_PAGE)
        rows, has_more = self._manifest.in_order(selection, after, size, newest_first=newest_first)
        yield from rows
        if has_more:
            last = (rows[-1][0], rows[-1][1]["session_id"]) if rows else after
            rest, _ = self._manifest.in_order(selection, last, None, newest_first=newest_first)
            if self._manifest.stamp() != stamp:  # a session may have moved from the rest to the first rows
                known = {row["session_id"] for _, row in rows}
                everything, _ = self._manifest.in_order(selection, after, None, newest_first=newest_first)
                rest = [item for item in everything if item[1]["session_id"] not in known]
            yield from rest

    def tally(self, where: Filter, by: "Sequence[GroupKey]") -> "Tally | None":
        """Add up the usage of the sessions that match the filter, in groups of `by`, as `recorded` would select them.

        Return None if there are few, or if the rows must be read for that.
        """
        if where.name is not None or where.tag or where.model is not None or where.rating is not None:
            return None
        return self._repeated(lambda: self._tally(where, by))

    def _tally(self, where: Filter, by: "Sequence[GroupKey]") -> "Tally | None":
        self.scan()
        if self._manifest.count() <= _FEW:
            return None
        self._sweep()
        return self._manifest.tally(
            Selection(where.user, where.entity, where.kind, where.status, where.since_text, where.until_text), by
        )

    def recorded(self, where: Filter) -> list[IndexRow]:
        """Return the rows that match the filter, with what is counted over their runs, in no particular order.

        Few are compared with their files. Of many, one that was edited in place is counted as it was until a listing or
        a sweep looks at it.
        """
        return self._repeated(lambda: self._recorded(where))

    def _recorded(self, where: Filter) -> list[IndexRow]:
        self.scan()
        if self._manifest.count() <= _FEW:
            return [self.with_overview(row) for row in self.rows(where, None)]
        self._sweep()
        selection = _selection(where)
        rows, _ = self._manifest.in_order(selection, None, None, newest_first=True)
        complete = ((at, row if "overview" in row else self.with_overview(row)) for at, row in rows)
        return [row for active_at, row in complete if where.matches(row, active_at)]

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
        if fresh is None or self._is_duplicate(fresh, ()):
            return None
        self._store(fresh)
        return content


def _selection(where: Filter) -> Selection:
    """Return what the index can select. The status is left out, because rows of earlier releases lack it."""
    return Selection(where.user, where.entity, where.kind, None, where.since_text, where.until_text)


def _month_folder(path: str) -> str:
    """Return the month folder of a path."""
    return "/".join(path.split("/")[:2])


def rank(row: IndexRow) -> tuple[bool, bool, str, int, int, str]:
    """Return a key that orders documents of one session. The last one in this order is the session's document.

    Readable documents come after broken ones, then those with the canonical name, then those with newer entries.
    """
    name = row["path"].rpartition("/")[2].rpartition(".")[0]
    is_canonical = name == file_names.stem(row["session_id"])
    changed = row["fingerprint"][1] if row["fingerprint"] else 0
    return "problem" not in row, is_canonical, row["updated_at"], row["entries"], changed, row["path"]

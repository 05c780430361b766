"""The sessions of a store: the rows of the manifest, corrected by the files in the folders."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from localstore.disk import store_tree
from localstore.disk.conflict_copies import copy_name
from localstore.disk.folder_watch import FolderWatch
from localstore.disk.ignored_files import Reason
from localstore.disk.locks import LockPool
from localstore.index.folder_scan import FolderScan
from localstore.index.manifest import Manifest
from localstore.index.manifest_lines import FolderNote
from localstore.index.row import IndexRow, activity, begins_with, contains, in_order, latest_plausible_time
from localstore.index.row_batches import RowBatches
from localstore.index.row_reader import RowReader
from localstore.index.selection import Place, Selection, selection_of
from localstore.index.sweep import Sweep
from localstore.models.filter import Filter
from localstore.models.progress import Progress

if TYPE_CHECKING:
    from localstore.models.session_info import SortKey
    from localstore.models.stats import GroupKey, Tally

_LISTING_ATTEMPTS = 3
"""The most attempts at a listing. It starts again if documents changed during the attempt."""
_FIRST_PAGE = 100
"""How many rows are read at first if a filter may leave out some."""
_AT_ONCE = 500
"""Of how many sessions the index is asked for the sub-sessions at once."""
_GROWTH = 4
"""How many times as many are read next."""
_Result = TypeVar("_Result")


class SessionIndex:
    """Finds and lists the sessions of one store, including those whose files were added or edited by others."""

    def __init__(self, root: str, manifest: Manifest, locks: LockPool, progress: Progress | None = None) -> None:
        """`progress` is called while a scan reads documents."""
        self._root = root
        self._manifest = manifest
        self._reader = RowReader(root, manifest, locks)
        batches = RowBatches(manifest, self._reader, progress)
        self._folders = FolderScan(root, manifest, self._reader, batches)
        self._sweep = Sweep(root, manifest, batches)

    # Looking up sessions

    def find(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, from the manifest or else from a file that is named after the session.

        Return None if there is neither. The row is not compared with its file.
        """
        self._manifest.refresh()
        row = self._manifest.get(session_id)
        folder, _, name = ("", "", "") if row is None else row["path"].rpartition("/")
        is_there = row is not None and store_tree.has_folder(self._root, folder)
        if is_there and copy_name(name) is None:  # otherwise the document itself may have arrived since
            return row
        found = [self._reader.adopt(path) for path in store_tree.paths_named_after(self._root, session_id)]
        if is_there or any(row is not None and row["session_id"] == session_id for row in found):
            return self._manifest.get(session_id)
        return None

    def find_anywhere(self, session_id: str, *, for_writing: bool = False) -> IndexRow | None:
        """Return the row of a session, even if its file has another name. Return None if there is no document.

        `for_writing` is that of `scan`.
        """
        row = self.find(session_id)
        if row is None:
            self._folders.scan(for_lookup=True, for_writing=for_writing)
            row = self._manifest.get(session_id)
        return row

    def find_moved(self, row: IndexRow) -> IndexRow | None:
        """Return the new row of a session whose file is no longer where `row` says, or None if it is gone."""
        with self._manifest.mutex:
            current = self._manifest.get(row["session_id"])
            if current is not None and current["path"] == row["path"]:
                self._manifest.hide(row["session_id"])
        self._folders.forget_scans()
        return self.find_anywhere(row["session_id"])

    def adopt(self, path: str) -> IndexRow | None:
        """Read a document, store its row and return it; see `RowReader.adopt`."""
        return self._reader.adopt(path)

    def current(self, row: IndexRow) -> IndexRow | None:
        """Return the row to write to the document with; see `RowReader.current`."""
        return self._reader.current(row)

    def listed(self, row: IndexRow) -> IndexRow | None:
        """Return the row that listings have; see `RowReader.listed`."""
        return self._reader.listed(row)

    def with_overview(self, row: IndexRow) -> IndexRow:
        """Return the row with what is counted over the runs; see `RowReader.with_overview`."""
        return self._reader.with_overview(row)

    # What is in the folders

    def scan(self, *, for_lookup: bool = False, for_writing: bool = False) -> None:
        """List the folders that changed, and read their new documents; see `FolderScan.scan`."""
        self._folders.scan(for_lookup=for_lookup, for_writing=for_writing)

    def forget_scans(self) -> None:
        """Make the next scan list every folder again."""
        self._folders.forget_scans()

    def own_change(self, path: str, watch: FolderWatch | None) -> FolderNote | None:
        """Return a note for the manifest about a change of this process; see `FolderScan.own_change`."""
        return self._folders.own_change(path, watch)

    def keep_scan(self, note: FolderNote | None) -> None:
        """Keep the result of the scan of a folder that a recorded note is about."""
        self._folders.keep_scan(note)

    @property
    def unreadable_folders(self) -> dict[str, str]:
        """Folders that the last scan could not list: path to problem."""
        return self._folders.unreadable_folders

    def unreadable_files(self) -> dict[str, str]:
        """Return the files in which no session can be read, and why. Paths are relative to the root."""
        return self._reader.unreadable_files()

    def problem_of(self, path: str) -> str | None:
        """Return why no session can be read in this file, or None if it is not known as unreadable."""
        return self._reader.problem_of(path)

    def ignored_files(self) -> dict[str, Reason]:
        """Return the files that look like documents but are not read, and why; see `FolderScan.ignored_files`."""
        return self._folders.ignored_files()

    def placeholders_of(self, session_id: str) -> list[tuple[str, Reason]]:
        """Return what iCloud has put in place of a document of this session; see `FolderScan.placeholders_of`."""
        return self._folders.placeholders_of(session_id)

    def duplicate_files(self) -> dict[str, str]:
        """Return the files that hold a session whose document is another file, with the session's id.

        A file that cannot be read is among them if its name is that of a copy. Paths are relative to the root.
        """
        return self._reader.duplicate_files()

    def duplicates_of(self, session_id: str) -> list[str]:
        """Return the files that hold this session although its document is another file, as far as they are known."""
        return self._folders.duplicates_of(session_id)

    def next_duplicate(self, session_id: str) -> IndexRow | None:
        """Return the row of another document with this id after the first was removed, or None if there is none."""
        return self._folders.next_duplicate(session_id)

    def forget_duplicate(self, path: str) -> None:
        """Forget a file that is no longer a second document of a session."""
        self._reader.forget_duplicate(path)

    # Listing sessions

    def all(self, *, thorough: bool) -> list[IndexRow]:
        """Return all rows, in no particular order. If `thorough` is true, compare them with their files first."""
        return self._repeated(lambda: self._all(thorough))

    def _all(self, thorough: bool) -> list[IndexRow]:
        self._folders.scan()
        if thorough:
            self._sweep.run(0)
        return self._manifest.all()

    def _repeated(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of `work`, which scans the folders. It is called again if another scan is needed then."""
        for _ in range(_LISTING_ATTEMPTS):
            result = work()
            if not self._folders.is_outdated():
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
        """Return the matching rows, and whether they must be listed again, because they changed meanwhile.

        One that was at the beginning of a listing, and has moved further to its beginning, is one of the first still.
        """
        self._folders.scan()
        self._sweep.run_if_due()
        rows: list[IndexRow] = []
        moved = is_newer = False
        is_beginning = newest_first and after is None
        latest = latest_plausible_time()
        selection = self._selection(where)
        for active_at, row in self._in_order(selection, after, limit, newest_first) if limit != 0 else ():
            if not where.matches_header(row):
                continue
            current = self._reader.listed(row)
            if current is None:
                continue
            current_time = activity(current, latest)
            if current_time != active_at:  # lines of other processes were read since
                is_newer = is_newer or (is_beginning and current_time > active_at)
                moved = moved or not (is_beginning and current_time > active_at)
            if current["session_id"] != row["session_id"]:  # two documents have swapped their file names
                self._folders.forget_scans()
                moved = True
                continue
            if where.counts_runs:
                current = self._reader.with_overview(current)
            if where.matches(current, current_time):
                rows.append(current)
                if len(rows) == limit:
                    break  # now, before the next rows are read
        if is_newer:
            rows = in_order(rows, newest_first=True)
        return rows, moved or self._folders.is_outdated()

    def beginning_with(self, text: str, limit: int | None = None) -> list[IndexRow]:
        """Return the rows of the sessions whose id or name begins with this text, each compared with its file.

        With `limit`, so many of each are enough.
        """
        self._folders.scan(for_lookup=True)
        rows = [self._reader.listed(row) for row in self._manifest.beginning_with(text, limit)]
        return [row for row in rows if row is not None and begins_with(row, text)]

    def ids_beginning_with(self, text: str, limit: int | None, rest: str = "") -> list[IndexRow]:
        """Return the rows of at most `limit` sessions whose id begins with this text, each compared with its file.

        Behind the text, the id has `rest` somewhere.
        """
        self._folders.scan(for_lookup=True)
        rows = [self._reader.listed(row) for row in self._manifest.ids_beginning_with(text, limit, rest)]
        return [row for row in rows if row is not None and row["session_id"].startswith(text)]

    def sub_sessions(self, session_ids: Sequence[str], user_id: str | None) -> list[IndexRow]:
        """Return the rows of the sub-sessions of these sessions, each compared with its file; only those of a user
        unless `user_id` is None."""
        self._folders.scan(for_lookup=True)
        rows: list[IndexRow] = []
        for at in range(0, len(session_ids), _AT_ONCE):
            where = Filter(user=user_id, part_of=(*session_ids[at : at + _AT_ONCE],))
            found, _ = self._manifest.in_order(selection_of(where), None, None, newest_first=True)
            listed = (self._reader.listed(row) for _, row in found)
            rows += [row for row in listed if row is not None and where.matches_header(row)]
        return rows

    def containing(self, text: str, limit: int) -> list[IndexRow]:
        """Return the rows of sessions with this text in their id or name, each compared with its file.

        They are at least `limit`, or all. Upper and lower case make no difference.
        """
        self._folders.scan()
        self._sweep.run_if_due()
        rows = [self._reader.listed(row) for row in self._manifest.containing(text, limit)]
        return [row for row in rows if row is not None and contains(row, text)]

    def _in_order(
        self, selection: Selection, after: Place | None, limit: int | None, newest_first: bool
    ) -> Iterator[tuple[str, IndexRow]]:
        """Yield selected rows in the order of activity. Few are read at first, then more and more.

        A session that other programs write to meanwhile is yielded at least once.
        """
        size = None if limit is None else max(limit, _FIRST_PAGE)
        known: set[str] = set()
        stamp, place = self._manifest.stamp(), after
        has_more = True
        while has_more:
            rows, has_more = self._manifest.in_order(selection, place, size, newest_first=newest_first)
            yield from (item for item in rows if item[1]["session_id"] not in known)
            if has_more and size is not None:
                known.update(row["session_id"] for _, row in rows)
                place = (rows[-1][0], rows[-1][1]["session_id"]) if rows else place
                size *= _GROWTH
                before, stamp = stamp, self._manifest.stamp()
                if stamp != before:  # a session may have moved from the rest to the rows before
                    place = after

    def leading(self, where: Filter, sort: "SortKey", limit: int, *, newest_first: bool) -> list[IndexRow] | None:
        """Return rows that match the filter, each compared with its file, in no particular order.

        The first `limit` ones in the order of `sort` are among them. Return None if all rows must be read for that:
        there are few, or what some of them are sorted by is not known.
        """
        size, attempts = max(limit, _FIRST_PAGE), 0
        while attempts < _LISTING_ATTEMPTS:
            self._folders.scan()
            if self._sweep.has_few():
                return None
            self._sweep.run_if_due()
            found = self._manifest.leading(selection_of(where), sort, size, not newest_first)
            if found is None:
                return None
            rows, is_current = self._compared(where, *found, limit)
            if not is_current or self._folders.is_outdated():
                attempts += 1
            elif len(rows) >= limit or len(found[0]) < size:
                return rows
            else:
                size *= _GROWTH
        return None

    def _compared(
        self, where: Filter, first: list[IndexRow], others: list[IndexRow], limit: int
    ) -> tuple[list[IndexRow], bool]:
        """Return those of some rows that match, as their files are now, and whether the order did not change by that.

        The `first` ones are in order: the rest of them is left out once `limit` match.
        """
        from localstore.index.row_order import order_values

        rows: list[IndexRow] = []
        latest = latest_plausible_time()
        matching = 0
        for is_first, row in [*((True, row) for row in first), *((False, row) for row in others)]:
            if (is_first and matching == limit) or not where.matches_header(row):
                continue
            current = self._reader.listed(row)
            if current is None:
                continue
            if current["session_id"] != row["session_id"] or order_values(current) != order_values(row):
                return rows, False
            if where.matches(current, activity(current, latest)):
                rows.append(current)
                matching += is_first
        return rows, True

    def tally(self, where: Filter, by: "Sequence[GroupKey]") -> "Tally | None":
        """Add up the usage of the sessions that match the filter, in groups of `by`, as `recorded` would select them.

        Return None if there are few, or if the rows must be read for that.
        """
        if where.name is not None:
            return None
        return self._repeated(lambda: self._tally(where, by))

    def _tally(self, where: Filter, by: "Sequence[GroupKey]") -> "Tally | None":
        self._folders.scan()
        if self._sweep.has_few():
            return None
        self._sweep.run_if_due()
        return self._manifest.tally(selection_of(where), by)

    def recorded(self, where: Filter) -> list[IndexRow]:
        """Return the rows that match the filter, with what is counted over their runs, in no particular order.

        Few are compared with their files. Of many, one that was edited in place is counted as it was until a listing or
        a sweep looks at it.
        """
        return self._repeated(lambda: self._recorded(where))

    def _recorded(self, where: Filter) -> list[IndexRow]:
        self._folders.scan()
        if self._sweep.has_few():
            return [self._reader.with_overview(row) for row in self.rows(where, None)]
        self._sweep.run_if_due()
        rows, _ = self._manifest.in_order(selection_of(where), None, None, newest_first=True)
        complete = ((at, row if "overview" in row else self._reader.with_overview(row)) for at, row in rows)
        return [row for active_at, row in complete if where.matches(row, active_at)]

    def _selection(self, where: Filter) -> Selection:
        """Return what to ask the index for. Of few sessions, the documents are asked what may have changed in them."""
        selection = selection_of(where)
        of_sessions = Selection(*selection[:3], None, selection.since, selection.until)
        return of_sessions if selection == of_sessions or self._sweep.has_few() else selection

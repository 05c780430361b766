"""Answers questions about many rows: from the index, corrected by the rows in memory, which take precedence."""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from localstore.index.manifest_lines import DELETED
from localstore.index.manifest_reader import ManifestReader
from localstore.index.row import IndexRow, activity, begins_with, contains, latest_plausible_time
from localstore.index.selection import EVERYTHING, Place, Selection

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from localstore.models.stats import GroupKey, Tally

_PAGE = 4096
"""How many rows `in_pages` yields at a time."""


class ManifestQueries:
    """Selects, sorts, counts and finds rows. The base class of Manifest."""

    def __init__(self, reader: ManifestReader) -> None:
        self._reader = reader
        self._index = reader.index
        self._recent = reader.recent

    def count(self) -> int:
        """Return the number of rows."""
        return self._reader.count()

    def has_more_than(self, number: int) -> bool:
        """Return whether there are more than `number` rows, at the same cost however many there are.

        Return False in doubt: while rows in memory differ from those in the index.
        """
        from localstore.index import row_queries

        with self._reader.mutex:
            self._reader.resolve_paths()
            present = len(self._recent.present())
            most = number + len(self._recent.rows) - present  # the index may still have those that were removed
            return present > number or self._reader.ask(partial(row_queries.has_more_than, number=most), False)

    def all(self) -> list[IndexRow]:
        """Return all rows, in no particular order."""
        return [row for _, row in self.in_order(EVERYTHING, None, None, newest_first=True)[0]]

    def in_pages(self) -> Iterator[list[IndexRow]]:
        """Yield all rows, many at a time. Those that are written meanwhile may be missing, or come twice."""
        after: Place | None = None
        limit: int | None = _PAGE
        has_more = True
        while has_more:
            page, has_more = self.in_order(EVERYTHING, after, limit, newest_first=True)
            yield [row for _, row in page]
            if page:
                after = _place(*page[-1])
            else:  # newer rows of all that were found are in memory
                limit = None

    def in_order(
        self, where: Selection, after: Place | None, limit: int | None, *, newest_first: bool
    ) -> tuple[list[tuple[str, IndexRow]], bool]:
        """Return rows with the times of their last activity, in this order, and whether there may be more of them.

        Args:
            where: Which rows.
            after: The place of the row before the first one; None begins with the first.
            limit: About how many rows to return; None returns all.
            newest_first: Whether the newest activity comes first, or last.
        """
        with self._reader.mutex:
            return self._in_order(where, after, limit, newest_first)

    def _in_order(
        self, where: Selection, after: Place | None, limit: int | None, newest_first: bool
    ) -> tuple[list[tuple[str, IndexRow]], bool]:
        from localstore.index import row_queries

        self._reader.parse_lines_with(where.text(), where.fits)
        latest = latest_plausible_time()
        no_rows: list[IndexRow] = []
        come_due = self._reader.ask(partial(row_queries.due_rows, latest=latest), no_rows)
        page = partial(row_queries.page, where=where, after=after, limit=limit, newest_first=newest_first)
        nothing: list[tuple[str, IndexRow]] = []
        found = self._reader.ask(page, nothing)
        has_more = limit is not None and len(found) == limit
        last = _place(*found[-1]) if has_more else None
        for session_id in [row["session_id"] for row in come_due] + [row["session_id"] for _, row in found]:
            if session_id in self._recent.pending:
                self._reader.get(session_id)
        mine = self._recent.rows
        if come_due:
            mine = {row["session_id"]: row for row in come_due} | mine
        if mine:
            found = [(active_at, row) for active_at, row in found if row["session_id"] not in mine]
        own = [(activity(row, latest), row) for row in mine.values() if row is not DELETED and where.fits(row)]
        added = [
            (active_at, row)
            for active_at, row in own
            if where.covers(active_at)
            and (after is None or _is_behind(_place(active_at, row), after, newest_first))
            and (last is None or not _is_behind(_place(active_at, row), last, newest_first))
        ]
        added.sort(key=lambda item: _place(*item), reverse=newest_first)
        if added:
            found = list(heapq.merge(found, added, key=lambda item: _place(*item), reverse=newest_first))
        return found, has_more

    def leading(
        self, where: Selection, sort: str, limit: int, is_reversed: bool
    ) -> tuple[list[IndexRow], list[IndexRow]] | None:
        """Return the first rows in an order of `row_order`, and other rows, which may be among them.

        These are in no particular order. If there are less than `limit` of the first rows, there are no more. Return
        None if all rows must be read.
        """
        from localstore.index import row_order, row_queries

        with self._reader.mutex:
            self._reader.parse_all_lines()
            latest = latest_plausible_time()
            no_rows: list[IndexRow] = []
            come_due = self._reader.ask(partial(row_queries.due_rows, latest=latest), no_rows)
            mine = {row["session_id"]: row for row in come_due} | self._recent.rows
            self._reader.ask(partial(row_order.make_index, sort=sort), None)
            first: list[IndexRow] | None = []
            most = limit + len(mine)
            work = partial(row_queries.leading, where=where, sort=sort, limit=most, is_reversed=is_reversed)
            first = self._reader.ask(work, first)
            own = [row for row in mine.values() if row is not DELETED and where.fits(row)]
            if first is None or any("overview" not in row for row in own if "problem" not in row):
                return None
            added = [row for row in own if where.covers(activity(row, latest))]
            return [row for row in first if row["session_id"] not in mine], added

    def stamp(self) -> tuple[int, int, int]:
        """Return a value that changes whenever answers of `in_order` may change."""

        def work(connection: "sqlite3.Connection") -> int:
            version: int = connection.execute("PRAGMA data_version").fetchone()[0]
            return version

        with self._reader.mutex:
            return self._reader.ask(work, 0), self._index.end, self._recent.changes

    def tally(self, where: Selection, by: "Sequence[GroupKey]") -> "Tally | None":
        """Add up the usage of the selected sessions in groups of `by`: ("day",), or others without days.

        Return None if the rows must be read for that. By day, sessions whose rows do not tell it are left out.
        """
        from localstore.index import day_queries, row_queries
        from localstore.index.daily_usage import tally_of_rows

        with self._reader.mutex:
            self._reader.fold_all()
            self._reader.parse_all_lines()
            latest = latest_plausible_time()
            ask: Callable[..., Tally | None]
            ask = day_queries.tally_of_days if "day" in by else partial(row_queries.tally, by=by)
            work = partial(ask, where=where, without=self._recent.rows.keys(), latest=latest)
            found = self._reader.ask(work, None)
            if found is not None:
                own = [row for row in self._recent.rows.values() if row is not DELETED and where.fits(row)]
                found.add(tally_of_rows([row for row in own if where.covers(activity(row, latest))], by))
            return found

    def sessions_at(self, paths: Collection[str]) -> dict[str, str]:
        """Return the ids of the sessions whose rows have one of these paths. The caller must hold `mutex`."""
        self._reader.resolve_paths()
        found: dict[str, str] = {}
        if self._index.folded:
            from localstore.index import row_queries

            found = self._reader.ask(partial(row_queries.sessions_at, paths=paths), found)
            found = {path: session_id for path, session_id in found.items() if session_id not in self._recent.rows}
        found.update((path, self._recent.paths[path]) for path in paths if path in self._recent.paths)
        return found

    def folders(self) -> list[str]:
        """Return the folders in which rows have their paths. The caller must hold `mutex`."""
        self._reader.resolve_paths()
        found = {path.rpartition("/")[0] for path in self._recent.paths}
        if self._index.folded:
            from localstore.index import row_queries

            nothing: list[str] = []
            found.update(self._reader.ask(row_queries.folders, nothing))
        return sorted(found)

    def paths(self) -> dict[str, str]:
        """Return the path of the document of each session."""
        from localstore.index.row_queries import all_paths

        return self._of_each(all_paths, lambda row: row["path"])

    def states(self) -> dict[str, str]:
        """Return the state in which the document of each session was recorded; see `state_of`."""
        from localstore.index.row_queries import all_states
        from localstore.index.search_content import state_of

        return self._of_each(all_states, lambda row: state_of(row["path"], row["fingerprint"]))

    def _of_each(
        self, folded: "Callable[[sqlite3.Connection], dict[str, str]]", of_row: Callable[[IndexRow], str]
    ) -> dict[str, str]:
        """Return a text for each session: the index has those of `folded` lines, the others come from their rows."""
        with self._reader.mutex:
            self._reader.parse_all_lines()
            found: dict[str, str] = {}
            if self._index.folded:
                found = self._reader.ask(folded, found)
            for session_id, row in self._recent.rows.items():
                if row is DELETED:
                    found.pop(session_id, None)
                else:
                    found[session_id] = of_row(row)
            return found

    def paths_in(self, folder: str) -> dict[str, str]:
        """Return a mapping from path to session id for the rows in a folder. The caller must hold `mutex`."""
        self._reader.resolve_paths()
        found: dict[str, str] = {}
        if self._index.folded:
            from localstore.index import row_queries

            found = self._reader.ask(partial(row_queries.paths_in, folder=folder), found)
            found = {path: session_id for path, session_id in found.items() if session_id not in self._recent.rows}
        for path, session_id in self._recent.paths.items():
            if path.rpartition("/")[0] == folder:
                found[path] = session_id
        return found

    def beginning_with(self, text: str, limit: int | None = None) -> list[IndexRow]:
        """Return the rows of the sessions whose id or name begins with this text, in no particular order.

        With `limit`, so many of each are enough, those that come first in alphabetical order.
        """
        from localstore.index import row_queries

        return self._matching(partial(row_queries.beginning_with, text=text), limit, lambda row: begins_with(row, text))

    def ids_beginning_with(self, text: str, limit: int | None, rest: str = "") -> list[IndexRow]:
        """Return the rows of at most `limit` sessions whose id begins with this text, in the order of their ids.

        Behind the text, the id has `rest` somewhere.
        """
        from localstore.index import row_queries

        def is_meant(row: IndexRow) -> bool:
            return row["session_id"].startswith(text) and rest in row["session_id"][len(text) :]

        query = partial(row_queries.ids_beginning_with, text=text, rest=rest)
        return sorted(self._matching(query, limit, is_meant), key=lambda row: row["session_id"])[:limit]

    def containing(self, text: str, limit: int) -> list[IndexRow]:
        """Return rows of sessions with this text in their id or name, in no particular order: at least `limit`, or all.

        Upper and lower case make no difference.
        """
        from localstore.index import row_queries

        return self._matching(partial(row_queries.containing, text=text), limit, lambda row: contains(row, text))

    def _matching(
        self, query: Callable[..., list[IndexRow]], limit: int | None, is_meant: Callable[[IndexRow], bool]
    ) -> list[IndexRow]:
        """Return the rows in memory that match, and about `limit` others that the query finds in the index."""
        with self._reader.mutex:
            self._reader.parse_all_lines()
            more = None if limit is None else limit + len(self._recent.rows)  # those that are in memory are left out
            nothing: list[IndexRow] = []
            found = self._reader.ask(partial(query, limit=more), nothing)
            own = [row for row in self._recent.present() if is_meant(row)]
            return [row for row in found if row["session_id"] not in self._recent.rows] + own

    def neighbours(self, session_ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the ids before and after each of these ids, in alphabetical order. They may have been deleted."""
        from localstore.index import row_queries

        with self._reader.mutex:
            self._reader.parse_all_lines()
            own = sorted(session_id for session_id, row in self._recent.rows.items() if row is not DELETED)
            found: dict[str, list[str]] = {}
            for session_id in session_ids:
                none: list[str] = []
                stored = self._reader.ask(partial(row_queries.neighbours, session_id=session_id), none)
                before, behind = bisect_left(own, session_id), bisect_right(own, session_id)
                found[session_id] = [*stored, *own[max(0, before - 1) : before], *own[behind : behind + 1]]
            return found

    def has_name(self, text: str) -> bool:
        """Return whether a session may have exactly this name. It may have been deleted meanwhile."""
        from localstore.index import row_queries

        with self._reader.mutex:
            self._reader.parse_all_lines()
            is_own = any(row is not DELETED and row.get("name") == text for row in self._recent.rows.values())
            return is_own or self._reader.ask(partial(row_queries.has_name, name=text), False)


def _place(active_at: str, row: IndexRow) -> Place:
    return active_at, row["session_id"]


def _is_behind(place: Place, other: Place, newest_first: bool) -> bool:
    """Return whether a place comes after another one in the order that is read."""
    return place < other if newest_first else place > other

"""List, find and count sessions by their rows."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from localstore.engine.open_document import ConcurrentChange
from localstore.engine.reading import EngineReading
from localstore.engine.snapshot import WHOLE, Part
from localstore.errors import LocalstoreError
from localstore.index.row import IndexRow, activity, in_order, latest_plausible_time
from localstore.index.selection import Place
from localstore.models.filter import Filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localstore.models.session_info import SortKey
    from localstore.models.stats import GroupKey, Period, Tally

_ATTEMPTS = 5
"""The most attempts at one page. A page that became shorter, because documents changed meanwhile, is listed again."""
_RUNS_AT_ONCE = 2000
"""How many runs of a long session are in memory at once while they are counted."""
_PATIENCE = 2.0
"""How many seconds a listing waits for the writers of a document that seems broken."""


class EngineListing(EngineReading):
    """Lists and counts sessions. See `Engine`."""

    def rows(
        self,
        where: Filter,
        limit: int | None = None,
        *,
        after: Place | None = None,
        newest_first: bool = True,
        counted: bool = False,
    ) -> list[IndexRow]:
        """Return the rows that match the filter, ordered by activity; see `SessionIndex.rows`.

        With `counted`, each row has an overview of its runs. A document that seems broken may be one that is being
        written. It is read again under its session's lock before its row gets a `problem`.
        """
        rows: list[IndexRow] = []
        for _ in range(_ATTEMPTS):
            rows = self.index.rows(where, limit, after=after, newest_first=newest_first)
            number = len(rows)
            if any("problem" in row for row in rows):
                checked = (self._checked(row) if "problem" in row else row for row in rows)
                rows = in_order(
                    self.select((row for row in checked if row is not None), where), newest_first=newest_first
                )
            if len(rows) == number or limit is None:  # otherwise list again: a short page would seem to be the last one
                break
        return [self.index.with_overview(row) for row in rows] if counted else rows

    def leading(self, where: Filter, sort: "SortKey", limit: int, *, newest_first: bool) -> list[IndexRow]:
        """Return rows that match the filter, each with an overview of its runs, newest activity first.

        The first `limit` ones in the order of `sort` are among them; see `SessionIndex.leading`.
        """
        rows = self.index.leading(where, sort, limit, newest_first=newest_first)
        if rows is not None:
            checked = [self._checked(row) if "problem" in row else row for row in rows]
            selected = self.select((row for row in checked if row is not None), where)
            if len(selected) == len(rows):
                return in_order(selected, newest_first=True)
        return self.rows(where, counted=True)

    def listed(self, session_id: str) -> IndexRow | None:
        """Return the row of a session as listings have it, with a `problem` if its document is broken.

        Return None if there is no document.
        """
        for row in self._rows_of(session_id):
            current = self.index.listed(row)
            if current is not None and "problem" in current:
                current = self._checked(current)
            if current is not None and current["session_id"] == session_id:
                return current
        return None

    def row_at(self, path: str) -> IndexRow | None:
        """Return the row of the session whose document is at this path, as listings have it.

        The path is relative to the root. Return None if it is not the document of a session.
        """
        self.index.scan()
        for _ in range(2):  # a person may have typed another session_id into it
            known = self.manifest.row_at(path)
            row = None if known is None else self.listed(known["session_id"])
            if row is not None and row["path"] == path:
                return row
        return None

    def beginning_with(self, text: str, limit: int | None = None) -> list[IndexRow]:
        """Return the rows of the sessions whose id or name begins with this text, newest activity first.

        With `limit`, so many of each are enough.
        """
        rows = [self._checked(row) if "problem" in row else row for row in self.index.beginning_with(text, limit)]
        return in_order((row for row in rows if row is not None), newest_first=True)

    def ids_beginning_with(self, text: str, limit: int | None, rest: str = "") -> list[IndexRow]:
        """Return the rows of at most `limit` sessions whose id begins with this text, newest activity first.

        If there are more, it is those that come first in the order of their ids. Behind the text, the id has `rest`
        somewhere.
        """
        return in_order(self.index.ids_beginning_with(text, limit, rest), newest_first=True)

    def containing(self, text: str, limit: int) -> list[IndexRow]:
        """Return the rows of at most `limit` sessions with this text in their id or name, newest activity first.

        Upper and lower case make no difference.
        """
        return in_order(self.index.containing(text, limit), newest_first=True)[:limit]

    def recorded(self, where: Filter) -> list[IndexRow]:
        """Return the rows to count; see `SessionIndex.recorded`. A document that seems broken is read again."""
        rows = self.index.recorded(where)
        checked = (self._checked(row) if "problem" in row else row for row in rows)
        return [row for row in checked if row is not None]

    def tally(self, where: Filter, by: "Sequence[GroupKey]") -> "Tally":
        """Add up the usage of the sessions that match the filter, in groups of `by`.

        Days are counted from the documents.
        """
        from localstore.models.stats import tally_of, tally_of_periods

        if "day" in by:
            return tally_of_periods(self._with_days(self.rows(where, counted=True)), by)
        found = self.index.tally(where, by)
        return tally_of(self.recorded(where), by) if found is None else found

    def tally_of_days(self, where: Filter) -> "Tally | None":
        """Add up the usage of the sessions that match the filter by day, from the index as far as it tells the days.

        The runs of a session that began and was last active on one day are taken to be of this day. Other documents are
        read. Return None if there are few sessions, or if very many documents would have to be read.
        """
        from localstore.models.stats import tally_of_periods

        found = self.index.tally(where, ("day",))
        if found is not None:
            rows = (self.listed(session_id) for session_id in found.left_out)
            chosen = self.select((row for row in rows if row is not None), where)
            found.add(tally_of_periods(self._with_days([self.index.with_overview(row) for row in chosen]), ("day",)))
        return found

    def _with_days(self, rows: "Sequence[IndexRow]") -> "Iterator[tuple[IndexRow, list[Period]]]":
        """Yield the rows, each with the usage on each day, which is read from its document.

        If the document cannot be read, the months of the row are used, without days.
        """
        from localstore.models.stats import months_of

        for number, row in enumerate(rows, 1):
            problem = row.get("problem")
            days = None
            if problem is None:
                try:
                    days = self._days_of(row)
                except (LocalstoreError, OSError) as error:
                    problem = str(error)
            if problem is not None:
                yield {**row, "problem": problem}, months_of(row)
            elif days is not None:  # otherwise the session was deleted meanwhile
                yield row, days
            if self.progress is not None:
                self.progress(number, len(rows))

    def _days_of(self, row: IndexRow) -> "list[Period] | None":
        """Return the usage of a session on each day, read from its document. Return None if the document is gone."""
        from localstore.index.daily_usage import usage_by_day

        if row["runs"] > _RUNS_AT_ONCE and "other_layout" not in row:
            with contextlib.suppress(ConcurrentChange):
                return usage_by_day(row, self._runs_in_parts(row))
        snapshot = self._snapshot(row["session_id"], lambda _: True, WHOLE)
        return None if snapshot is None else usage_by_day(row, snapshot.entries)

    def _runs_in_parts(self, row: IndexRow) -> "Iterator[dict[str, Any]]":
        """Yield the runs of a session, and what is between them, with some in memory at a time.

        Raises ConcurrentChange if the document is not in the state of the row.
        """
        for last in range(row["runs"], 0, -_RUNS_AT_ONCE):
            snapshot = self._snapshot(row["session_id"], lambda _: True, Part(last, most=_RUNS_AT_ONCE))
            if snapshot is None or snapshot.fingerprint != row["fingerprint"]:
                raise ConcurrentChange
            yield from snapshot.entries

    def count(self, where: Filter) -> int:
        """Return the number of sessions that match the filter."""
        found = self.index.tally(where, ())
        return len(self.recorded(where)) if found is None else found.sessions

    def select(self, rows: Iterable[IndexRow], where: Filter) -> list[IndexRow]:
        """Return those of the rows that match the filter, in the same order."""
        if where.counts_runs:
            rows = map(self.index.with_overview, rows)
        latest = latest_plausible_time()
        return [row for row in rows if where.matches(row, activity(row, latest))]

    def _checked(self, row: IndexRow) -> IndexRow | None:
        """Return the row of a document that seems broken, read again under its lock. Return None if it is gone.

        If the lock was never used, nobody is writing. If it is not free in time, the row stays as it is.
        """
        session_id = row["session_id"]
        with contextlib.suppress(OSError):
            if self.locks.has_been_used(session_id):
                with self.locks.session(session_id, min(_PATIENCE, self.timeout)):
                    current = self.index.listed(row)
                    return current if current is not None and current["session_id"] == session_id else None
        return row

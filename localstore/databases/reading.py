"""What a storage in a database reads: sessions, listings, counts, searches and exports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from localstore.databases.backend import HEADER, Backend, Stored
from localstore.engine.snapshot import Snapshot
from localstore.errors import NoFile
from localstore.format.document import newer_format_error, newest_state
from localstore.format.words import composed
from localstore.index.daily_usage import usage_by_day
from localstore.index.row import IndexRow, activity, contains, latest_plausible_time, revision_of
from localstore.index.search_query import LiteralQuery, parse_query
from localstore.index.short_ids import short_ids
from localstore.models.filter import Filter
from localstore.models.schema import SCHEMA_VERSION, SESSION_KEYS
from localstore.models.session_info import SessionInfo, SortKey, in_order_of, session_info
from localstore.storage.arguments import (
    check_count,
    check_cursor,
    check_filter,
    check_flag,
    check_id,
    check_ids,
    check_limit,
    check_search,
    check_sort,
    check_text,
    is_valid,
    narrowed,
    not_found,
    optional,
    require_text,
)
from localstore.storage.checked_values import session_of
from localstore.storage.derived_calls import DerivedCalls
from localstore.storage.items import Item, items_in
from localstore.storage.search import hits_in

if TYPE_CHECKING:
    from localstore.maintenance.copy_sides import Side
    from localstore.models.search_hit import SearchHit
    from localstore.models.session import Session
    from localstore.models.stats import GroupKey, Prices, Stats


class DatabaseReader(DerivedCalls):
    """The methods of `SessionStorage` that only read. See there, and `Storage` for details."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None:
        """Read a session; with `last_runs`, only the newest entries. Return None if this user has no such session."""
        check_id(session_id)
        check_text("user_id", user_id)
        check_limit(last_runs, "last_runs")
        snapshot = self._look(session_id, lambda row: user_id is None or row.get("user_id") == user_id, last_runs)
        return None if snapshot is None else session_of(snapshot)

    def _look(self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        """Return a session as it is stored, or None if there is none or if `matches` is false for its row."""
        stored = self._backend.read(session_id, last_runs)
        if stored is None or not matches(stored.row):
            return None
        check_version(stored.row, self._backend.address)
        return self._snapshot(stored, is_whole=last_runs is None)

    def _look_at_run(self, session_id: str, run_id: str) -> Snapshot | None:
        """Return a session with one run, and with what of its newest state is not newer; None if it has no such run."""
        stored = self._backend.read_run(session_id, run_id)
        if stored is None:
            return None
        check_version(stored.row, self._backend.address)
        return self._snapshot(stored, is_whole=False)

    def _snapshot(self, stored: Stored, *, is_whole: bool) -> Snapshot:
        if is_whole:
            current = newest_state(stored.entries)
        else:
            offsets = stored.row.get("offsets", {})
            places = {name: offsets[name] for name in SESSION_KEYS if offsets.get(name) in stored.stateful}
            current = {name: stored.stateful[place][name] for name, place in places.items()}
        return Snapshot(self._backend.address, stored.header, stored.entries, current, stored.row["fingerprint"])

    def items(
        self, session_id: str, last: int | None = None, *, user_id: str | None = None, source: str | None = None
    ) -> list[Item]:
        """Return the last `last` items of a session, or all, oldest first; [] if this user has no such session.

        With `source`, only the items of this framework.
        """
        check_id(session_id)
        check_text("user_id", user_id)
        check_text("source", source)
        optional(check_count)("last", last)
        wanted = last
        while True:
            stored = self._backend.read(session_id, last_entries=wanted)
            if stored is None or (user_id is not None and stored.row.get("user_id") != user_id):
                return []
            found = items_in(stored.entries, last, source)
            if wanted is None or len(found) == last or len(stored.entries) >= stored.row["entries"]:
                return found
            wanted *= 4

    def revision(self, session_id: str) -> str:
        """Return a text that changes with every write to the session; "" if there is no such session."""
        check_id(session_id)
        row = self._backend.row(session_id)
        return "" if row is None else revision_of(row["fingerprint"])

    # Listing

    def list_sessions(
        self,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = None,
        *,
        where: Filter | None = None,
        after: str | None = None,
        newest_first: bool = True,
        sort: SortKey = "updated",
    ) -> list[SessionInfo]:
        """Return an overview of each session that matches, most recently updated first."""
        check_limit(limit)
        check_flag("newest_first", newest_first)
        check_sort(sort, after)
        merged = narrowed(where, user_id, entity_id, kind)
        if merged is None:
            return []
        if sort != "updated":
            infos = in_order_of(self._page(merged, None, None, newest_first=True), sort)
            return (infos if newest_first else infos[::-1])[:limit]
        return self._page(merged, after, limit, newest_first=newest_first)

    def _page(self, where: Filter, after: str | None, limit: int | None, *, newest_first: bool) -> list[SessionInfo]:
        place = None if after is None else check_cursor(after)
        found = self._backend.page(where, place, limit, newest_first=newest_first)
        return [session_info(row, "", active_at) for active_at, row in found]

    def _infos(self, rows: Iterable[IndexRow]) -> list[SessionInfo]:
        latest = latest_plausible_time()
        return [session_info(row, "", activity(row, latest)) for row in rows]

    def find_sessions(self, text: str, *, limit: int | None = None) -> list[SessionInfo]:
        """Return the sessions that a text names: by an id, a name, or the beginning of one; at most `limit`."""
        require_text(text)
        check_limit(limit)
        if not text or not is_valid(text):
            return []
        if (row := self._backend.row(text)) is not None:
            return self._infos([row])[:limit]
        rows = [*self._backend.beginning_with(text, names=True)]
        found = (
            [row for row in rows if row.get("name") == text]
            or [row for row in rows if row["session_id"].startswith(text)]
            or rows
            or self._elided(text)
        )
        return sorted(self._infos(found), key=lambda info: info.cursor, reverse=True)[:limit]

    def sessions_containing(self, text: str, limit: int = 50) -> list[SessionInfo]:
        """Return sessions with this text anywhere in their id or name, in upper or lower case."""
        require_text(text)
        check_count("limit", limit)
        if not is_valid(text):
            return []
        return list(islice((info for info in self.sessions() if contains(cast("IndexRow", info._row), text)), limit))

    def _elided(self, text: str) -> list[IndexRow]:
        """Return the sessions whose id has this text, in which `…` stands for a part that was left out."""
        beginning, mark, rest = text.partition("…")
        if not beginning or not mark:
            return []
        rows = self._backend.beginning_with(beginning, names=False)
        return [row for row in rows if rest in row["session_id"][len(beginning) :]]

    def sessions_beginning_with(self, text: str, limit: int = 50) -> list[SessionInfo]:
        """Return sessions whose id begins with this text."""
        require_text(text)
        check_limit(limit)
        if not is_valid(text):
            return []
        found = self._infos(islice(self._backend.beginning_with(text, names=False), limit))
        return sorted(found, key=lambda info: info.cursor, reverse=True)

    def short_ids(self, session_ids: Iterable[str], *, least: int = 8) -> dict[str, str]:
        """Return the beginning of each of these ids that is enough for `find_sessions`."""
        check_count("least", least)
        return short_ids(self._backend, check_ids(session_ids), least)

    def path(self, session_id: str) -> Path:
        """Raise NoFile, because sessions in a database have no files, or SessionNotFound."""
        check_id(session_id)
        row = self._backend.row(session_id)
        if row is None:
            raise not_found(session_id)
        raise NoFile(
            f"Session {session_id!r} is in a database and has no file. 'localstore export' writes one.",
            session_id=session_id,
        )

    def unreadable_files(self) -> dict[Path, str]:
        """Return {}: sessions in a database have no files."""
        return {}

    def __contains__(self, session_id: object) -> bool:
        """Return whether a session exists."""
        if not isinstance(session_id, str) or not session_id or not is_valid(session_id):
            return False
        return self._backend.row(session_id) is not None

    # Counting and searching

    def count(self, where: Filter | None = None) -> int:
        """Return the number of sessions that match."""
        return self._backend.count(check_filter(where))

    def stats(
        self,
        where: Filter | None = None,
        *,
        by: GroupKey | tuple[GroupKey, ...] | list[GroupKey] = ("month",),
        prices: Prices | None = None,
    ) -> Stats:
        """Count sessions, runs, failures, tokens and seconds of the sessions that match, in groups."""
        from localstore.models.stats import check_grouping, check_prices, stats_of, tally_of, tally_of_periods

        names = check_grouping(by)
        table = None if prices is None else check_prices(prices)
        chosen = check_filter(where)
        if "day" not in names:
            return stats_of(self._backend.fold(chosen, lambda rows: tally_of(rows, names)), names, table)
        rows = (row for _, row in self._backend.page(chosen, None, None, newest_first=True))
        periods = ((row, usage_by_day(row, self._entries(row["session_id"]))) for row in rows)
        return stats_of(tally_of_periods(periods, names), names, table)

    def _entries(self, session_id: str) -> list[dict[str, Any]]:
        stored = self._backend.read(session_id)
        return [] if stored is None else stored.entries

    def search(
        self,
        text: str,
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = 20,
        literal: bool = False,
        rank: bool = False,
        sweep: bool = True,
        where: Filter | None = None,
    ) -> list[SearchHit]:
        """Return the entries of the history that have all words of `text`, newest first. `sweep` changes nothing."""
        check_search(text, limit, literal=literal, rank=rank, sweep=sweep)
        merged = narrowed(where, user_id, entity_id, kind)
        return [] if merged is None else list(islice(self._hits(text, merged, literal=literal, rank=rank), limit))

    def _hits(self, text: str, where: Filter, *, literal: bool, rank: bool) -> Iterator[SearchHit]:
        query = (None if literal else parse_query(text)) or LiteralQuery(composed(text))
        for match in self._backend.matches(query, where, rank=rank):
            title = session_info(match.row, "").title or ""
            position = HEADER if match.found.position == HEADER else match.number
            yield from hits_in(match.row, title, position, match.found.entry, query)

    def _copy_side(self) -> Side:
        from localstore.databases.copy_side import DatabaseSide

        return DatabaseSide(self, self._backend)

    def _info(self, session: str | SessionInfo) -> SessionInfo:
        if isinstance(session, SessionInfo):
            return session
        check_id(session)
        row = self._backend.row(session)
        if row is None:
            raise not_found(session)
        return self._infos([row])[0]


def check_version(row: IndexRow, address: str) -> None:
    """Raise NewerFormat if a newer release wrote the session."""
    if row["version"] > SCHEMA_VERSION:
        raise newer_format_error(row["version"], f"{address}, session {row['session_id']!r},", row["session_id"])

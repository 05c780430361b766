"""The calls of a storage that list, find and count sessions."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from localstore.index.row import IndexRow
from localstore.models.filter import Filter
from localstore.models.nearest import shown
from localstore.models.session_info import SessionInfo, SortKey, in_order_of
from localstore.storage.arguments import (
    check_count,
    check_cursor,
    check_filter,
    check_flag,
    check_id,
    check_ids,
    check_limit,
    check_sort,
    is_valid,
    narrowed,
    not_found,
    require_text,
)
from localstore.storage.async_twins import async_twin
from localstore.storage.base import StorageBase
from localstore.storage.derived_calls import DerivedCalls

if TYPE_CHECKING:
    from localstore.models.stats import GroupKey, Prices, Stats


class StorageListing(StorageBase, DerivedCalls):
    """Lists, finds and counts sessions. See `Storage`."""

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
        """Return an overview of each session that matches, most recently updated first.

            >>> [info.session_id for info in storage.list_sessions(kind="workflow")]
            ['flow']

        A document is opened only if another program changed its file, or if its row was made by an earlier release.

        Args:
            user_id: Only the sessions of this user.
            entity_id: Only the sessions of this agent, team or workflow.
            kind: Only the sessions of this kind.
            limit: The most sessions to return; None means no limit.
            where: Only the sessions that match this filter too.
            after: The `cursor` of a session: begin with the one that follows it, as for the next page.
            newest_first: If False, the order is the other way round.
            sort: What comes first: the newest by "updated" or "created", the largest by "runs", "tokens" or "size" of
                the document, or the titles from A to Z by "name".

        Raises ValueError if `kind` or `sort` is unknown, `limit` is neither None nor an integer of at least 0, `after`
        is no cursor, or it is given with another order than "updated".
        """
        check_limit(limit)
        check_flag("newest_first", newest_first)
        check_sort(sort, after)
        merged = narrowed(where, user_id, entity_id, kind)
        if merged is None:
            return []
        if sort != "updated":
            if limit is None:
                rows = self._engine.rows(merged, counted=True)
            else:
                rows = self._engine.leading(merged, sort, limit, newest_first=newest_first)
            infos = in_order_of(self._infos(rows), sort)
            return (infos if newest_first else infos[::-1])[:limit]
        position = None if after is None else check_cursor(after)
        return self._infos(self._engine.rows(merged, limit, after=position, newest_first=newest_first, counted=True))

    def _info(self, session: str | SessionInfo) -> SessionInfo:
        """Return the row of a listing for a session that is given by its id or as such. Raises SessionNotFound."""
        if isinstance(session, SessionInfo):
            return session
        check_id(session)
        row = self._engine.listed(session)
        if row is None:
            self._engine.refuse_unreadable(session)
            raise not_found(session)
        return self._infos([self._engine.index.with_overview(row)])[0]

    def find_sessions(self, text: str, *, limit: int | None = None) -> list[SessionInfo]:
        """Return the sessions that a text names, as a person types it: an id, a name, or the beginning of one.

            >>> [info.session_id for info in storage.find_sessions("Trip to")]
            ['trip']

        The result is the session with this id; otherwise those with this name; otherwise those whose id begins with
        the text; otherwise those whose name does; otherwise, if the text has a `…`, those whose id begins with what is
        before it, and has what is behind it further on, as in a list that leaves out the middle of long ids. It is
        empty if there are none. Of several, the most recently updated comes first. A name that another program changed
        may be found only after the next listing.

        Args:
            text: What was typed.
            limit: The most sessions to return. If there are more, the result has any of them. None means no limit.

        Raises DocumentBroken if no id or name is this text, but a file that is named after it cannot be read.
        """
        require_text(text)
        check_limit(limit)
        if not text or not is_valid(text):
            return []
        self._engine.index.scan()  # a second document of a session is noticed
        row = self._engine.listed(text)
        rows = [row] if row is not None else self._engine.beginning_with(text, limit)
        if row is None and (named := [row for row in rows if row.get("name") == text]):
            rows = named
        elif row is None:
            self._engine.refuse_unreadable(text)
            rows = [row for row in rows if row["session_id"].startswith(text)] or rows
            rows = rows or self._elided(text, limit)
        return self._infos(map(self._engine.index.with_overview, rows[:limit]))

    def _elided(self, text: str, limit: int | None) -> list[IndexRow]:
        """Return the sessions whose id has this text, in which `…` stands for a part that was left out."""
        beginning, mark, rest = text.partition("…")
        return self._engine.ids_beginning_with(beginning, limit, rest) if beginning and mark else []

    def sessions_containing(self, text: str, limit: int = 50) -> list[SessionInfo]:
        """Return sessions with this text anywhere in their id or name, in upper or lower case, newest activity first.

            >>> [info.session_id for info in storage.sessions_containing("LINZ")]
            ['trip']

        These are what a person may have meant if `find_sessions` finds nothing. If there are more than `limit`, the
        result has any of them. Raises ValueError if `limit` is not an integer of at least 0.
        """
        require_text(text)
        check_count("limit", limit)
        if not is_valid(text):
            return []
        return self._infos(map(self._engine.index.with_overview, self._engine.containing(text, limit)))

    def sessions_beginning_with(self, text: str, limit: int = 50) -> list[SessionInfo]:
        """Return sessions whose id begins with this text, most recently updated first, as to complete what is typed.

            >>> [info.session_id for info in storage.sessions_beginning_with("tr")]
            ['trip']

        The cost is that of the result. If there are more than `limit`, it has those that come first in the order of
        their ids. A session that another program added may be missing until the next listing.

        Raises ValueError if `limit` is not an integer of at least 0.
        """
        require_text(text)
        check_limit(limit)
        if not is_valid(text):
            return []
        return self._infos(map(self._engine.index.with_overview, self._engine.ids_beginning_with(text, limit)))

    def __contains__(self, session_id: object) -> bool:
        """Return whether a session exists, also if its document is broken.

        Raises DocumentBroken if a file that is named after the session cannot be read, because it may hold the session.
        """
        if not isinstance(session_id, str) or not session_id or not is_valid(session_id):
            return False
        if self._engine.locate(session_id) is None:
            self._engine.refuse_unreadable(session_id)
            return False
        return True

    def count(self, where: Filter | None = None) -> int:
        """Return the number of sessions that match the filter.

            >>> storage.count(Filter(status="unfinished"))
            1

        The cases in which a document is opened are those of `list_sessions`. In a store of more than 1,000 sessions, a
        document that was edited in place is taken as it was until a listing returns its session, or a search or
        `localstore check` finds the edit.
        """
        return self._engine.count(check_filter(where))

    def stats(
        self,
        where: Filter | None = None,
        *,
        by: "GroupKey | tuple[GroupKey, ...] | list[GroupKey]" = ("month",),
        prices: "Prices | None" = None,
    ) -> "Stats":
        """Count the sessions, runs, failures, tokens and seconds of the sessions that match the filter, in groups.

            >>> storage.stats(by=("user", "month")).total.failures
            0

        No prices are built in, because they change. Tokens of unfinished runs are not counted. Documents that
        were edited in place are taken as `count` takes them.

        The index knows the months of runs, and not their days. With "day" in `by`, the document of every session that
        matches is therefore read, as it is now. That takes about as long as reading these sessions, and calls
        `progress`. The sums are those by month. The runs of a document that cannot be read have no day.

        Args:
            where: Only the sessions that match this filter; None counts all. All runs of these sessions count.
            by: What forms a group: one or several of "user", "month", "day", "model", "entity" and "status"; () counts
                all sessions in one group.
            prices: The price of a million tokens by model, as (input, output) or (input, output, cached input). A price
                also holds for the model with a date at the end of its name. None counts no cost.

        Raises ValueError for an unknown word in `by` and for an invalid price.
        """
        from localstore.models.stats import check_grouping, check_prices, stats_of

        names = check_grouping(by)
        table = None if prices is None else check_prices(prices)
        return stats_of(self._engine.tally(check_filter(where), names), names, table)

    def path(self, session_id: str) -> Path:
        """Return the path of the document of a session.

            >>> storage.path("trip").name
            'trip.json'

        Raises SessionNotFound if there is none, and DocumentBroken if its file cannot be read as a session.
        """
        check_id(session_id)
        row = self._engine.locate(session_id)
        if row is None:
            self._engine.refuse_unreadable(session_id)
            raise not_found(session_id)
        return self.root / row["path"]

    def short_ids(self, session_ids: Iterable[str], *, least: int = 8) -> dict[str, str]:
        """Return the beginning of each of these ids that is enough for `find_sessions`, to show it in little space.

            >>> storage.short_ids(["trip"], least=2)
            {'trip': 'tr'}

        Args:
            session_ids: The ids.
            least: How many characters each beginning has at least. With few, it is soon shared by a new session.
        """
        from localstore.index.short_ids import short_ids

        check_count("least", least)
        chosen = check_ids(session_ids)
        self._engine.index.scan()
        return short_ids(self._engine.manifest, chosen, least)

    def session_at(self, path: str | os.PathLike[str]) -> SessionInfo:
        """Return the session whose document is at this path.

            >>> storage.session_at(storage.path("trip")).session_id
            'trip'

        Args:
            path: An absolute path, or one relative to the working directory. Links are followed.

        Raises SessionNotFound if there is no such file or it is not the document of a session of this store, and
        DocumentBroken if no session can be read in it.
        """
        from localstore.storage.document_path import row_at

        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path must be a path, not {type(path).__name__}: {shown(path)}")
        return self._infos([row_at(self._engine, os.fspath(path))])[0]

    # The same calls for async code

    alist_sessions = async_twin(list_sessions, writes=False)
    afind_sessions = async_twin(find_sessions, writes=False)
    asessions_beginning_with = async_twin(sessions_beginning_with, writes=False)
    asessions_containing = async_twin(sessions_containing, writes=False)
    acount = async_twin(count, writes=False)
    astats = async_twin(stats, writes=False)
    ashort_ids = async_twin(short_ids, writes=False)
    apath = async_twin(path, writes=False)
    asession_at = async_twin(session_at, writes=False)

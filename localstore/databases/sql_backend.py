"""The sessions of a store in an SQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Select, delete, exists, func, or_, select, text, tuple_

from localstore.databases.backend import (
    HEADER,
    TRASH,
    Aside,
    Change,
    Locked,
    Match,
    Stored,
    StoredEntry,
    entry_of,
    store_not_found,
    stored_row,
    take_header,
)
from localstore.databases.sql_bulk import NewRows, create_many, digests
from localstore.databases.sql_connections import Connections
from localstore.databases.sql_layout import create as create_store
from localstore.databases.sql_layout import is_ready
from localstore.databases.sql_search import conditions, full_text, may_have
from localstore.databases.sql_session import LockedSession, Statements, aside_of, forget
from localstore.databases.sql_tables import Tables, hashed_keys, key, plain_start, start_of_key
from localstore.errors import OlderFormat, StoreUnavailable
from localstore.index.row import IndexRow
from localstore.index.search_query import LiteralQuery, WordQuery
from localstore.index.selection import Place
from localstore.models.filter import Filter

if TYPE_CHECKING:
    from localstore.maintenance.upgrade import Upgraded

_Result = TypeVar("_Result")
_FIRST, _LARGEST = 25, 1000
"""How many matches and rows a statement returns at first, and at most."""
_NEWEST = 300
"""Among how many of the newest entries a search looks first."""
_END = "\U0010ffff"


class SqlBackend:
    """The tables of one store; see `Backend`."""

    def __init__(
        self, connections: Connections, table: str, schema: str | None, *, create: bool, upgrade: bool
    ) -> None:
        """Open the tables. They are created if they do not exist and `create` is true, and upgraded with `upgrade`.

        Raises StoreUnavailable, StoreNotFound, OlderFormat for a table of agno, and NewerFormat.
        """
        self._connections = connections
        self._tables = Tables(table, schema, connections.dialect)
        self.shares_writes = self._tables.is_postgres  # a file of SQLite has one writer
        self._statements = Statements(self._tables)
        self.address = self._tables.address(connections.address)
        if not create and connections.has_no_file():
            raise store_not_found(self.address)
        check = partial(is_ready, tables=self._tables, address=self.address)
        try:
            exists = connections.first(check, writes=False)
        except OlderFormat:
            if not upgrade:
                raise
            self.upgrade()
            exists = connections.first(check, writes=False)
        if not exists:
            if not create:
                raise store_not_found(self.address)
            try:
                connections.first(
                    partial(create_store, tables=self._tables, address=self.address, timeout=connections.timeout),
                    writes=True,
                )
            except StoreUnavailable:  # another process may have created them at the same time
                if not connections.first(check, writes=False):
                    raise

    def upgrade(self) -> Upgraded:
        from localstore.databases.sql_upgrade import SqlUpgrade

        return SqlUpgrade(self._connections, self._tables).upgrade()

    def close(self) -> None:
        self._connections.close()

    # One session

    def change(self, session_id: str, work: Callable[[Locked], _Result], run_id: str | None = None) -> _Result:
        return self._connections.write(
            lambda connection: work(LockedSession(connection, self._statements, session_id, run_id))
        )

    def create_many(self, new: Iterable[Change]) -> set[str]:
        rows = NewRows(self._tables, new)
        return self._connections.write(lambda connection: create_many(connection, self._statements, rows))

    def read(self, session_id: str, last_runs: int | None = None, last_entries: int | None = None) -> Stored | None:
        session_key = key(session_id)
        if last_runs is not None and 0 < last_runs <= _FIRST:  # in one statement, if its answer is enough
            found = self._all(self._statements.end, {"key": session_key, "count": last_runs})
            if not found or (stored := _stored_end(found, last_runs)) is not None:
                return stored if found else None
        return self._connections.read(lambda connection: self._stored(connection, session_key, last_runs, last_entries))

    def _stored(
        self, connection: Connection, session_key: str, last_runs: int | None, last_entries: int | None
    ) -> Stored | None:
        found = connection.execute(self._statements.row, {"key": session_key}).one_or_none()
        if found is None:
            return None
        row = stored_row(found[0], session_key)
        own = {"key": session_key}
        begin = 0 if last_entries is None else max(0, found[1] - last_entries)
        if last_runs is None:
            chosen = [*connection.execute(self._statements.entries, {**own, "begin": begin})]
        else:
            chosen = self._last_runs(connection, own, found[1], last_runs)
        session_id = row["session_id"]
        values = {position: entry_of(content, session_id) for position, content in chosen}
        stateful = row.get("offsets", {}).values()
        missing = connection.execute(self._statements.entries_at, {**own, "places": [HEADER, *stateful]})
        others = {position: values.get(position) or entry_of(content, session_id) for position, content in missing}
        return Stored(row, take_header(others, session_id), [*values.values()], others)

    def _last_runs(self, connection: Connection, own: dict[str, Any], end: int, count: int) -> list[tuple[int, str]]:
        """Return the entries from the last `count` runs on, given the position after the last entry."""
        wanted = count
        while wanted:
            found = [*connection.execute(self._statements.tail, {**own, "begin": max(0, end - wanted)})]
            runs = [number for number, (_, _, run_id) in enumerate(found) if run_id is not None]
            if len(runs) >= count or wanted >= end:
                first = runs[-count] if len(runs) >= count else 0
                return [(position, content) for position, content, _ in found[first:]]
            wanted *= 4
        return []

    def read_run(self, session_id: str, run_id: str) -> Stored | None:
        own = {"key": key(session_id)}

        def read(connection: Connection) -> Stored | None:
            found = connection.execute(self._statements.row, own).one_or_none()
            runs = connection.execute(self._statements.runs, {**own, "runs": [key(run_id)]}).one_or_none()
            if found is None or runs is None:
                return None
            row = stored_row(found[0], session_id)
            places = {HEADER, runs[1], *(place for place in row.get("offsets", {}).values() if place < runs[1])}
            chosen = connection.execute(self._statements.entries_at, {**own, "places": sorted(places)})
            entries = {position: entry_of(content, session_id) for position, content in chosen}
            return Stored(row, take_header(entries, session_id), [entries[runs[1]]], entries)

        return self._connections.read(read)

    def row(self, session_id: str) -> IndexRow | None:
        found = self._all(self._statements.row, {"key": key(session_id)})
        return stored_row(found[0][0], session_id) if found else None

    def rows(self, session_ids: Sequence[str]) -> list[IndexRow]:
        return [stored_row(facts) for facts in self._connections.read(partial(self._facts, session_ids=session_ids))]

    def _facts(self, connection: Connection, session_ids: Sequence[str]) -> list[str]:
        sessions = self._tables.sessions.c
        found: list[str] = []
        for at in range(0, len(session_ids), _LARGEST):
            some = [*map(key, session_ids[at : at + _LARGEST])]
            found += connection.execute(select(sessions.facts).where(sessions.session_id.in_(some))).scalars()
        return found

    def rows_with_run(self, run_id: str) -> list[IndexRow]:
        entries, sessions = self._tables.entries.c, self._tables.sessions.c
        of_run = select(entries.session_id).where(entries.run_id == key(run_id))
        return [
            stored_row(facts) for (facts,) in self._all(select(sessions.facts).where(sessions.session_id.in_(of_run)))
        ]

    def read_many(self, session_ids: Sequence[str]) -> dict[str, Stored]:
        return self._connections.read(partial(self._whole, session_ids=session_ids))

    def _whole(self, connection: Connection, session_ids: Sequence[str]) -> dict[str, Stored]:
        rows: list[IndexRow] = [stored_row(facts) for facts in self._facts(connection, session_ids)]
        own: dict[str, list[Any]] = {key(row["session_id"]): [] for row in rows}
        entries = self._tables.entries.c
        for at in range(0, len(rows), _LARGEST):
            statement = select(entries.session_id, entries.content).where(
                entries.session_id.in_([*own][at : at + _LARGEST])
            )
            for session_key, content in connection.execute(statement.order_by(entries.session_id, entries.position)):
                own[session_key].append(entry_of(content, session_key))
        return {
            row["session_id"]: Stored(row, found[0] if found else {}, found[1:], {})  # without any, a check says so
            for row, found in zip(rows, own.values(), strict=True)
        }

    def digests(self, session_ids: Sequence[str]) -> dict[str, bytes]:
        return self._connections.read(lambda connection: digests(connection, self._tables, session_ids))

    def orphans(self) -> list[str]:
        sessions, entries = self._tables.sessions.c, self._tables.entries.c
        is_there = exists(select(sessions.session_id).where(sessions.session_id == entries.session_id))
        return [found for (found,) in self._all(select(entries.session_id).where(~is_there).distinct())]

    def without_id(self) -> dict[str, int]:
        from localstore.databases.sql_upgrade import SqlUpgrade

        counts = {}
        for one in (self._tables.sessions, self._tables.entries, self._tables.labels):
            counts[one.name] = self._all(select(func.count()).select_from(one).where(one.c.session_id.is_(None)))[0][0]
        counts |= SqlUpgrade(self._connections, self._tables).without_id()
        return {name: count for name, count in counts.items() if count}

    def _all(self, statement: Any, values: dict[str, Any] | None = None) -> list[Any]:
        return self._connections.ask(lambda connection: [*connection.execute(statement, values or {})])

    # Many sessions

    def page(
        self, where: Filter, after: Place | None, limit: int | None, *, newest_first: bool
    ) -> list[tuple[str, IndexRow]]:
        sessions = self._tables.sessions.c
        order = [sessions.active_at, sessions.session_id]
        place: Any = tuple_(*order)
        statement = select(sessions.active_at, sessions.session_id, sessions.facts).where(
            *conditions(self._tables, where)
        )
        statement = statement.order_by(*(column.desc() for column in order) if newest_first else order)
        begin = None if after is None else (after[0], key(after[1]))
        found: list[tuple[str, IndexRow]] = []
        size = limit
        while limit is None or len(found) < limit:
            part = statement if begin is None else statement.where(place < begin if newest_first else place > begin)
            rows = self._all(part.limit(size))
            matching = ((active_at, stored_row(facts, session_key)) for active_at, session_key, facts in rows)
            found += [(active_at, row) for active_at, row in matching if where.matches(row, active_at)]
            if size is None or len(rows) < size:
                break
            begin, size = tuple(rows[-1][:2]), min(2 * size, max(size, _LARGEST))
        return found[:limit]

    def fold(self, where: Filter, work: Callable[[Iterator[IndexRow]], _Result]) -> _Result:
        sessions = self._tables.sessions.c
        statement = select(sessions.active_at, sessions.facts).where(*conditions(self._tables, where))

        def read(connection: Connection) -> _Result:
            found = connection.execute(statement, execution_options={"yield_per": _LARGEST})
            rows = ((active_at, stored_row(facts)) for active_at, facts in found)
            return work(row for active_at, row in rows if where.matches(row, active_at))

        return self._connections.read(read)

    def count(self, where: Filter) -> int:
        if where.name is not None:
            return len(self.page(where, None, None, newest_first=True))
        statement = select(func.count()).select_from(self._tables.sessions).where(*conditions(self._tables, where))
        number: int = self._all(statement)[0][0]
        return number

    def beginning_with(self, text: str, *, names: bool) -> Iterator[IndexRow]:
        sessions = self._tables.sessions.c
        start = start_of_key(text)
        columns = [sessions.session_id, sessions.name] if names else [sessions.session_id]
        begins = or_(*[(column >= start) & (column < start + _END) for column in columns])
        statement = select(sessions.session_id, sessions.facts).where(begins).order_by(sessions.session_id)
        last, size = "", _FIRST
        while True:
            rows = self._all(statement.where(sessions.session_id > last).limit(size))
            for session_key, facts in rows:
                row = stored_row(facts, session_key)
                if row["session_id"].startswith(text) or (names and row.get("name", "").startswith(text)):
                    yield row
            if len(rows) < size:
                return
            last, size = rows[-1][0], _LARGEST

    def neighbours(self, session_ids: Iterable[str]) -> dict[str, list[str]]:
        sessions = self._tables.sessions.c
        found = {}
        for session_id in session_ids:
            own, plain = key(session_id), plain_start(session_id)
            others = select(sessions.facts).where(sessions.session_id != own)
            before = others.where(sessions.session_id <= plain).order_by(sessions.session_id.desc())
            behind = others.where(sessions.session_id > plain).order_by(sessions.session_id)
            rows = [*self._all(before.limit(1)), *self._all(behind.limit(1))]
            if own != session_id or start_of_key(session_id) != session_id:  # keys with a hash are in no order
                begin, end = hashed_keys(session_id)
                rows += self._all(others.where(sessions.session_id >= begin, sessions.session_id < end))
            found[session_id] = [stored_row(facts)["session_id"] for (facts,) in rows]
        return found

    def has_name(self, text: str) -> bool:
        sessions = self._tables.sessions.c
        return bool(self._all(select(sessions.session_id).where(sessions.name == key(text)).limit(1)))

    # Searching

    def matches(self, query: WordQuery | LiteralQuery, where: Filter, *, rank: bool) -> Iterator[Match]:
        for places in self._ranked(query, where) if rank else self._by_time(query, where):
            yield from self._matches(self._entries_at(places), where)

    def _by_time(self, query: WordQuery | LiteralQuery, where: Filter) -> Iterator[list[Any]]:
        """Yield the places of the entries that may match, newest first. Each page begins behind the last place."""
        entries = self._tables.entries.c
        place: Any = tuple_(entries.created_at, entries.session_id, entries.position)
        statement, size = self._search(query, where, rank=False), _FIRST
        begin: Any = None
        if (cut := self._time_of_newest()) is not None:
            places = self._all(self._search(query, where, rank=False, after=cut).limit(size))
            yield places
            begin = entries.created_at <= cut if len(places) < size else place < tuple(places[-1])
        while True:
            places = self._all((statement if begin is None else statement.where(begin)).limit(size))
            yield places
            if len(places) < size:
                return
            begin, size = place < tuple(places[-1]), _LARGEST

    def _ranked(self, query: WordQuery | LiteralQuery, where: Filter) -> Iterator[list[Any]]:
        """Yield the places of the entries that may match, best first: few, then all others."""
        statement = self._search(query, where, rank=True)
        first = self._all(statement.limit(_FIRST))
        yield first
        if len(first) < _FIRST:
            return
        known = {tuple(place) for place in first}
        others = [place for place in self._all(statement) if tuple(place) not in known]
        for at in range(0, len(others), _LARGEST):
            yield others[at : at + _LARGEST]

    def _matches(self, rows: Iterable[Any], where: Filter) -> Iterator[Match]:
        for position, content, facts, following in rows:
            row = stored_row(facts)
            if where.matches_header(row):
                number = position if row["entries"] == following else self._number(row["session_id"], position)
                entry = entry_of(content, row["session_id"])
                yield Match(row, StoredEntry(position, entry, content), number)

    def _time_of_newest(self) -> str | None:
        """Return the time after which the newest entries were made, or None if there are few entries.

        Of a common word, these entries are enough, and nothing has to be sorted.
        """
        entries = self._tables.entries.c
        found = self._all(select(entries.created_at).order_by(entries.created_at.desc()).limit(1).offset(_NEWEST))
        return found[0][0] if found else None

    def _search(
        self, query: WordQuery | LiteralQuery, where: Filter, *, rank: bool, after: str | None = None
    ) -> Select[Any]:
        """Return the statement for the places of the entries that may match, only those made after a time."""
        tables = self._tables
        entries = tables.entries.c
        statement: Select[Any] = select(entries.created_at, entries.session_id, entries.position)
        if chosen := conditions(tables, where):
            own = entries.session_id == tables.sessions.c.session_id
            statement = statement.join_from(tables.entries, tables.sessions, own).where(*chosen)
        if after is not None:
            statement = statement.where(entries.created_at > after)
        order = _newest_first(entries)
        if tables.words is None or isinstance(query, LiteralQuery):
            return statement.where(*may_have(tables, query)).order_by(*order)
        found, ranked = full_text(tables, query, rank=rank, one_by_one=after is not None)
        return statement.where(*found).order_by(*ranked, *order)

    def _entries_at(self, places: Iterable[Any]) -> list[Any]:
        """Return the entries at places, with the rows of their sessions. What was removed meanwhile is missing."""
        entries, sessions = self._tables.entries.c, self._tables.sessions.c
        keys = [(session_key, position) for _, session_key, position in places]
        columns = (entries.session_id, entries.position, entries.content, sessions.facts, sessions.next_position)
        own = entries.session_id == sessions.session_id
        statement = select(*columns).join_from(self._tables.entries, self._tables.sessions, own)
        found: dict[Any, Any] = {}
        for at in range(0, len(keys), _FIRST):
            some = keys[at : at + _FIRST]
            part = statement.where(  # a few too many, because few databases use an index for pairs of values
                entries.session_id.in_([session_key for session_key, _ in some]),
                entries.position.in_([position for _, position in some]),
            )
            found |= {(session_key, position): (position, *rest) for session_key, position, *rest in self._all(part)}
        return [found[place] for place in keys if place in found]

    def _number(self, session_id: str, position: int) -> int:
        """Return the index in the history of the entry at a position, where entries were removed before."""
        entries = self._tables.entries.c
        statement = select(func.count()).where(
            entries.session_id == key(session_id), entries.position >= 0, entries.position < position
        )
        number: int = self._all(statement)[0][0]
        return number

    # What was taken out

    def asides(self) -> list[Aside]:
        return self._connections.read(self._asides)

    def _asides(self, connection: Connection) -> list[Aside]:
        table = self._tables.aside.c
        found = connection.execute(select(table.name, table.made_at, table.about).order_by(table.name.desc()))
        return [aside_of(*one) for one in found]

    def aside(self, name: str) -> Aside | None:
        table = self._tables.aside.c
        found = self._all(select(table.name, table.made_at, table.about, table.content).where(table.name == key(name)))
        return aside_of(*found[0]) if found else None

    def forget(self, names: Iterable[str]) -> None:
        chosen = [*names]
        self._connections.write(lambda connection: forget(connection, self._statements, chosen))

    def drop(self) -> None:
        self._connections.write(self._drop)

    def _drop(self, connection: Connection) -> None:
        tables = self._tables
        names = [one.name for one in self._asides(connection) if one.reason != TRASH]
        forget(connection, self._statements, names)
        for table in (tables.sessions, tables.entries, tables.labels):
            connection.execute(delete(table))
        if tables.is_sqlite:
            connection.execute(text(f"INSERT INTO {tables.words_table}({tables.words_table}) VALUES ('delete-all')"))  # noqa: S608


def _stored_end(found: list[Any], count: int) -> Stored | None:
    """Return the end of a session: its last `count` entries, each with the row and the header.

    Return None if fewer of them are runs, or a newest value of the state is in none of them.
    """
    row = stored_row(found[0][0])
    session_id = row["session_id"]
    entries = {position: entry_of(content, session_id) for _, _, position, content, _ in found if position is not None}
    runs = sum(run_id is not None for *_, run_id in found)
    stateful = row.get("offsets", {}).values()
    if (runs < count and len(entries) < row["entries"]) or not entries.keys() >= {*stateful}:
        return None
    header = take_header({} if found[0][1] is None else {HEADER: entry_of(found[0][1], session_id)}, session_id)
    return Stored(row, header, [*entries.values()], {place: entries[place] for place in stateful})


def _newest_first(entries: Any) -> list[Any]:
    return [entries.created_at.desc(), entries.session_id.desc(), entries.position.desc()]

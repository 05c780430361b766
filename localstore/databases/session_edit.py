"""Change one session in a database under its lock; see `localstore.storage.session_edit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from localstore.databases.session_change import SessionChange, create
from localstore.engine.run_writer import REMEMBERED_RUNS
from localstore.format.run_entry import keep_rating
from localstore.storage.access import check_access
from localstore.storage.arguments import is_valid
from localstore.storage.session_edit import Create, Entry, OpenSession, Whole

if TYPE_CHECKING:
    from localstore.databases.backend import Locked
    from localstore.databases.writing import DatabaseWriter
    from localstore.engine.snapshot import Snapshot
    from localstore.errors import DocumentBroken
    from localstore.index.row import IndexRow
    from localstore.models.filter import Filter

Result = TypeVar("Result")
_FIRST = 8
"""How many of the newest entries are read first where the newest runs are asked for."""


class DatabaseDocuments:
    """Sessions in a database."""

    def __init__(self, storage: DatabaseWriter) -> None:
        self._storage = storage

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._storage,)

    def edit(self, session_id: str, work: Callable[[OpenSession], Result], make: Callable[[Create], Result]) -> Result:
        def make_in(locked: Locked) -> Result:
            return make(lambda header, entries: create(locked, header, entries))

        return self._storage._change(session_id, None, lambda change: work(DatabaseSession(change)), make=make_in)

    def snapshot(self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        return self._storage._look(session_id, matches, last_runs)

    def look_at_run(self, session_id: str, run_id: str) -> Snapshot | None:
        return self._storage._look_at_run(session_id, run_id)

    def check_access(self, row: IndexRow, user_id: str | None, kind: str | None) -> None:
        check_access(row, user_id, kind)

    def row(self, session_id: str) -> IndexRow | None:
        return self._storage._backend.row(session_id)

    def rows(self, where: Filter) -> list[IndexRow]:
        return [row for _, row in self._storage._backend.page(where, None, None, newest_first=True)]

    def with_run(self, run_id: str) -> Iterator[str]:
        found = self._storage._backend.rows_with_run(run_id) if is_valid(run_id) else []
        for row in sorted(found, key=lambda row: row["updated_at"], reverse=True):
            yield row["session_id"]

    def keep_run(self, error: DocumentBroken, session_id: str, entry: Entry) -> DocumentBroken:  # noqa: ARG002
        return error  # no session in a database is a broken document


class _Whole(NamedTuple):
    header: Entry
    entries: list[Entry]
    starts: list[int]


class DatabaseSession:
    """A session in a database whose lock is held."""

    def __init__(self, change: SessionChange) -> None:
        self._change = change

    @property
    def row(self) -> IndexRow:
        return self._change.row

    def header(self) -> Entry:
        return self._change.header()

    def whole(self) -> Whole:
        found = self._change.entries()
        return _Whole(self.header(), [one.entry for one in found], [one.position for one in found])

    def entry(self, place: int) -> Entry:
        return self._change.entry(place)

    def newest_runs(self) -> Iterator[tuple[int, Entry]]:
        end = self._change.next
        for begin in (max(0, end - _FIRST), max(0, end - REMEMBERED_RUNS)):
            for one in reversed(self._change.entries(begin)):
                if one.position < end and one.entry["type"] == "run":
                    yield one.position, one.entry
            end = begin

    def place_of(self, run_id: str, *, far: bool = True) -> int | None:  # noqa: ARG002 - all are found at once
        return self._change.position_of(run_id)

    def append(self, entries: list[Entry]) -> None:
        self._change.change(None, {}, entries)

    def append_run(self, entry: Entry) -> None:
        self._change.change(None, {}, [entry])

    def finish(self, place: int, entry: Entry) -> None:
        self._change.change(None, {place: keep_rating(self.entry(place), entry)}, [])

    def change(self, header: Entry, replaced: dict[int, Entry | None], added: list[Entry]) -> None:
        self._change.change(header, replaced, added)

    def set_aside(self, places: list[int], reason: str) -> None:
        for place in places:
            self._change.keep_aside(place, reason)

    def sync(self) -> None:
        """Do nothing: a transaction that has ended is durable."""

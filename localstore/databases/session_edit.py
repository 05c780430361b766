"""Change one session in a database under its lock; see `localstore.storage.session_edit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from localstore.databases.session_change import SessionChange, create
from localstore.storage.access import check_access
from localstore.storage.session_edit import Create, Entry, OpenSession, Whole

if TYPE_CHECKING:
    from localstore.databases.backend import Locked
    from localstore.databases.writing import DatabaseWriter
    from localstore.engine.snapshot import Snapshot
    from localstore.index.row import IndexRow

Result = TypeVar("Result")


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

    def look(self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        return self._storage._look(session_id, matches, last_runs)

    def check_access(self, row: IndexRow, user_id: str | None, kind: str | None) -> None:
        check_access(row, user_id, kind)


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

    def append(self, entries: list[Entry]) -> None:
        self._change.change(None, {}, entries)

    def change(self, header: Entry, replaced: dict[int, Entry | None], added: list[Entry]) -> None:
        self._change.change(header, replaced, added)

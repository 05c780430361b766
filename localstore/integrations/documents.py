"""Change one session under its lock, in a folder or in a database: what the adapters for agno need of a storage.

agno passes whole sessions and runs, of which only what is new is written. So its adapters read what they compare with,
and write the difference, in one step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from localstore.storage.access import check_access
from localstore.storage.storage import Storage

if TYPE_CHECKING:
    from localstore.databases.backend import Locked
    from localstore.databases.database_storage import DatabaseStorage
    from localstore.databases.session_change import SessionChange
    from localstore.engine.snapshot import Snapshot
    from localstore.index.row import IndexRow
    from localstore.storage.contract import SessionStorage

Entry = dict[str, Any]
Result = TypeVar("Result")
Create = Callable[[Entry, list[Entry]], "IndexRow"]
"""Creates the session with this header and these entries, and returns its row."""


class Whole(Protocol):
    """All of a session. `starts` has the place of each entry."""

    @property
    def header(self) -> Entry: ...
    @property
    def entries(self) -> list[Entry]: ...
    @property
    def starts(self) -> list[int]: ...


class OpenSession(Protocol):
    """A session whose lock is held."""

    @property
    def row(self) -> IndexRow:
        """Its row, as the changes so far leave it."""
        ...

    def header(self) -> Entry:
        """Return the header."""
        ...

    def whole(self) -> Whole:
        """Return the header and all entries."""
        ...

    def append(self, entries: list[Entry]) -> None:
        """Add entries."""
        ...

    def change(self, header: Entry, replaced: dict[int, Entry | None], added: list[Entry]) -> None:
        """Replace the header, and entries by their places, where None removes one; then add entries."""
        ...


class Documents(Protocol):
    """The sessions of a storage. Methods raise the errors of the storage."""

    def edit(self, session_id: str, work: Callable[[OpenSession], Result], make: Callable[[Create], Result]) -> Result:
        """Return the result of `work` on a session or, if there is no such session, that of `make`.

        Both may be called several times, and all but the last have written nothing then.
        """
        ...

    def look(self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        """Return a session, or None if there is none or if `matches` is false for its row.

        `last_runs` is the number of newest runs, with the entries after the first of them; None returns all entries.
        """
        ...

    def check_access(self, row: IndexRow, user_id: str | None, kind: str | None) -> None:
        """Raise OwnerMismatch or KindMismatch if a session has another owner or kind. None matches any."""
        ...


def documents_of(storage: SessionStorage) -> Documents:
    """Return the sessions of a storage. Raises TypeError for one that is neither a folder nor a database."""
    if isinstance(storage, Storage):
        return FolderDocuments(storage)
    from localstore.databases.database_storage import DatabaseStorage

    if isinstance(storage, DatabaseStorage):
        return DatabaseDocuments(storage)
    raise TypeError(f"storage must be a storage of localstore, such as JsonStorage(...), not {type(storage).__name__}")


class FolderDocuments:
    """Sessions in a folder."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._engine = storage._engine

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._storage,)

    def edit(self, session_id: str, work: Callable[[OpenSession], Result], make: Callable[[Create], Result]) -> Result:
        result: list[Result] = []
        for attempt in self._engine.edit(session_id):
            with attempt as transaction:
                result[:] = [make(self._create) if transaction is None else work(transaction)]
        return result[0]

    def _create(self, header: Entry, entries: list[Entry]) -> IndexRow:
        return self._engine.create(header, entries, self._storage._suffix)

    def look(self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        return self._engine.look(session_id, matches, last_runs)

    def check_access(self, row: IndexRow, user_id: str | None, kind: str | None) -> None:
        self._storage._check_access(row, user_id, kind)


class DatabaseDocuments:
    """Sessions in a database."""

    def __init__(self, storage: DatabaseStorage) -> None:
        self._storage = storage

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._storage,)

    def edit(self, session_id: str, work: Callable[[OpenSession], Result], make: Callable[[Create], Result]) -> Result:
        from localstore.databases.session_change import create

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

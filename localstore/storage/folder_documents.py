"""Change one session in a folder under its lock; see `localstore.storage.session_edit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from localstore.storage.session_edit import Create, Entry, OpenSession

if TYPE_CHECKING:
    from localstore.engine.snapshot import Snapshot
    from localstore.index.row import IndexRow
    from localstore.storage.base import StorageBase

Result = TypeVar("Result")


class FolderDocuments:
    """Sessions in a folder."""

    def __init__(self, storage: StorageBase) -> None:
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

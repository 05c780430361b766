"""Many writes with one sync at the end: what `Storage.bulk` and `Storage.append_many` do."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from localstore.engine.batch import Batch
from localstore.engine.plan import Refused, Rewrite, plan_form
from localstore.errors import LocalstoreError

if TYPE_CHECKING:
    from localstore.engine.engine import Engine
    from localstore.engine.transaction import Transaction

Entry = dict[str, Any]


class Bulk:
    """Postpones the syncs of writes in a `with` or `async with` statement to its end; see `Storage.bulk`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._batch = Batch(engine)

    def __enter__(self) -> Self:
        self._batch.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batch.end()
        self._sync()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from localstore.storage.threads import run_in_thread

        self._batch.end()
        await run_in_thread(self._sync)

    def _sync(self) -> None:
        """Make the writes of the batch durable. All sessions are tried; then the first error is raised."""
        sessions, self._batch.sessions = self._batch.sessions, {}
        if not sessions:
            return
        first: OSError | LocalstoreError | None = None
        self._engine.sync_names(sessions)
        for session_id, synced in sessions.items():
            try:
                self._engine.sync_session(session_id, synced)
            except (OSError, LocalstoreError) as error:
                first = first or error
        if first is not None:
            raise first


def append_all(engine: Engine, document: Transaction, entries: list[Entry]) -> None:
    """Add runs to a document with one write: all of them, or none.

    A run that is stored already is not written again, and one whose unfinished form is stored replaces it. Raises
    Conflict if a different run is stored under the same id.
    """
    stored = {
        entry["run_id"]: (offset, entry)
        for offset, entry in zip(document.whole().starts, document.whole().entries, strict=True)
        if entry["type"] == "run"
    }
    replaced: dict[int, Entry | None] = {}
    added = []
    for entry in entries:
        if entry["run_id"] not in stored:
            added.append(entry)
            continue
        offset, before = stored[entry["run_id"]]
        plan = plan_form(before, offset, entry, None)
        if isinstance(plan, Refused):
            raise engine.runs.conflict(document, plan.stored, entry)
        if isinstance(plan, Rewrite):
            replaced |= plan.replaced
    if replaced:
        document.execute(Rewrite(replaced, added))
    elif added:
        document.append(added)
    else:
        document.sync()

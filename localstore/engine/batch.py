"""Remember the sessions that are written without a sync, to sync them together; see `storage.bulk`."""

from contextvars import ContextVar, Token


class Batch:
    """The sessions that the current thread or task writes to while one sync at the end is enough.

    Other threads are not affected. Threads that serve an async call of the task are.
    """

    def __init__(self, owner: object) -> None:
        self._owner = owner
        self._token: Token[tuple[Batch, ...]] | None = None
        self.sessions: dict[str, list[int] | None] = {}
        """The sessions in the order of their first write: the fingerprint with which a new document was synced, or None
        for an older one."""

    def begin(self) -> None:
        """Make this the batch of its owner."""
        self._token = _BATCHES.set((*_BATCHES.get(), self))

    def end(self) -> None:
        """Undo `begin`. An outer batch of the same owner takes over the sessions."""
        if self._token is not None:
            _BATCHES.reset(self._token)
            self._token = None
        if (outer := batch_of(self._owner)) is not None:
            outer.sessions = {**self.sessions, **outer.sessions}
            self.sessions = {}


_BATCHES: ContextVar[tuple[Batch, ...]] = ContextVar("localstore_batches", default=())


def batch_of(owner: object) -> Batch | None:
    """Return the innermost batch of an engine in this thread or task, or None if there is none."""
    for batch in reversed(_BATCHES.get()):
        if batch._owner is owner:
            return batch
    return None

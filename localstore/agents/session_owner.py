"""What agents, teams and workflows have in common: a session at a time, its state, and a storage that keeps it."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from localstore.agents.memory_storage import AgentStorage, MemoryStorage
from localstore.agents.session_state import SharedState
from localstore.errors import KindMismatch, SessionNotFound
from localstore.models.session import Kind, Run, Session

if TYPE_CHECKING:
    from localstore.storage.storage import Storage

_SEEN = 10_000
"""Of so many sessions it is remembered that they were there."""


class SessionOwner:
    """Runs in sessions of one kind. A session that was deleted after it was seen does not come back."""

    kind: Kind

    def __init__(
        self,
        *,
        name: str | None,
        entity_id: str | None,
        session_id: str | None,
        user_id: str | None,
        storage: AgentStorage | None,
        session_state: dict[str, Any] | None,
        strict_state: bool,
    ) -> None:
        if storage is not None and not hasattr(storage, "append"):
            raise TypeError(f"storage must be a storage such as JsonStorage({str(storage)!r}), not {kind_of(storage)}")
        if session_state is not None and not isinstance(session_state, dict):
            raise TypeError(f"session_state must be a dict, not {kind_of(session_state)}")
        self.name = name
        self.entity_id = entity_id or slug(name)
        self.session_id = session_id or str(uuid4())
        self.user_id = user_id
        self.storage: AgentStorage = MemoryStorage() if storage is None else storage
        self.strict_state = strict_state
        self.shared_state = SharedState(session_state)
        self._seen: OrderedDict[str, None] = OrderedDict()

    @property
    def session_state(self) -> dict[str, Any]:
        """The state of the session; change it in place or assign a new one."""
        return self.shared_state.live

    @session_state.setter
    def session_state(self, value: dict[str, Any]) -> None:
        self.shared_state.live = value

    # Sessions

    def new_session(self, session_id: str | None = None) -> str:
        """Go on in a new session, with the state that this was made with; returns its id."""
        self.session_id = session_id or str(uuid4())
        self.shared_state.reset(self.session_id, None)
        return self.session_id

    def load_session(self, session_id: str) -> Session:
        """Go on in a session that is there, with its state; returns it without its history.

        Raises SessionNotFound, also for another user's session, and KindMismatch for one of another kind.
        """
        session = self.read(session_id, self.user_id, 0)
        if session is None:
            raise SessionNotFound(
                f"There is no session {session_id!r} of this user. 'localstore ls' lists what there is.",
                session_id=session_id,
            )
        if session.kind != self.kind:
            raise KindMismatch(
                f"Session {session_id!r} is of kind {session.kind}, not {self.kind}. Load another one.",
                session_id=session_id,
            )
        self.follow(session_id, session)
        return session

    def rename_session(self, name: str) -> None:
        """Name the session, for people. Raises SessionNotFound, OwnerMismatch."""
        self.sessions("rename_session").update(self.session_id, user_id=self.user_id, name=name)

    def follow(self, session_id: str, session: Session | None) -> None:
        """Go on in this session, with its state."""
        self.session_id = session_id
        self.shared_state.reset(session_id, session.session_state if session is not None else None)

    def sessions(self, what: str) -> Storage:
        """The storage, for what cannot be done in memory."""
        storage: Any = self.storage
        if isinstance(storage, MemoryStorage):
            raise ValueError(f"{what} needs a storage. Give the {self.kind} one: storage=JsonStorage(...)")
        return storage  # type: ignore[no-any-return]

    def store_changes(self, session: Session) -> None:
        """Store what was changed in a session that was read."""
        storage: Any = self.storage
        storage.upsert(session)

    # What a run needs

    def read(self, session_id: str, user_id: str | None, last_runs: int | None) -> Session | None:
        """The session with its last runs, which is remembered to have been there."""
        session = self.storage.read(session_id, user_id=user_id, last_runs=last_runs)
        if session is not None:
            self._saw(session_id)
        return session

    def append(self, session_id: str, run: Run, user_id: str | None, **options: Any) -> None:
        """Store a run, in a new session only when this one was not seen before."""
        create = session_id not in self._seen
        self.storage.append(
            session_id, run, user_id=user_id, entity_id=self.entity_id, kind=self.kind, create=create, **options
        )
        self._saw(session_id)

    def _saw(self, session_id: str) -> None:
        self._seen[session_id] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)


def kind_of(value: object) -> str:
    """The type of a wrong argument, for people."""
    return type(value).__name__


def slug(name: str | None) -> str | None:
    """An id made of a name."""
    return re.sub(r"\W+", "-", (name or "").casefold()).strip("-") or None

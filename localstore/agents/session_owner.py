"""The current session of an agent, a team or a workflow, its state, and its storage."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import uuid4

from localstore.agents.memory_storage import MemoryStorage
from localstore.agents.session_state import SharedState
from localstore.agents.typed_state import check_state_model
from localstore.errors import KindMismatch, SessionNotFound
from localstore.models.schema import Kind
from localstore.models.session import Run, Session
from localstore.storage.arguments import check_flag, check_text
from localstore.storage.contract import AgentStorage

if TYPE_CHECKING:
    from pydantic import BaseModel

    from localstore.storage.contract import SessionStorage

_REMEMBERED_SESSIONS = 10_000
"""How many session ids an agent remembers, to notice that a session was deleted."""


class SessionOwner:
    """The base class of Agent, Team and Workflow: keeps track of the current session and its state, and stores runs.

    A session that is deleted after it has been read or written here is not created again.
    """

    kind: Kind

    checks: ClassVar[dict[str, Callable[[str, Any], None]]] = {
        "name": check_text,
        "session_id": check_text,
        "user_id": check_text,
        "strict_state": check_flag,
    }
    """The settings with their checks. A check gets the name and the new value, and raises TypeError or ValueError."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.checks:
            self.checks[name](name, value)
        super().__setattr__(name, value)

    def __init__(
        self,
        *,
        name: str | None,
        entity_id: str | None,
        session_id: str | None,
        user_id: str | None,
        storage: AgentStorage | None,
        session_state: dict[str, Any] | BaseModel | None,
        state_model: type[BaseModel] | None,
        strict_state: bool,
    ) -> None:
        if isinstance(storage, type):
            raise TypeError(
                f"storage must be an instance of {storage.__name__}, not the class: {storage.__name__}(...)"
            )
        if storage is not None and not hasattr(storage, "append"):
            raise TypeError(f"storage must be a storage such as JsonStorage({str(storage)!r}), not {kind_of(storage)}")
        if state_model is not None:
            check_state_model(state_model)
        if session_state is not None and not isinstance(session_state, (dict, state_model or dict)):
            raise TypeError(f"session_state must be a dict, not {kind_of(session_state)}")
        check_text(f"{self.kind}_id", entity_id)
        self.name = name
        self.entity_id = entity_id or slug(name)
        self.session_id = str(uuid4()) if session_id in (None, "") else session_id
        self.user_id = user_id
        self.storage: AgentStorage = MemoryStorage() if storage is None else storage
        self.strict_state = strict_state
        self.state_model = state_model
        self.shared_state = SharedState(session_state, state_model)
        self._seen: OrderedDict[str, None] = OrderedDict()

    @property
    def session_state(self) -> dict[str, Any]:
        """The state of the current session. Change it in place or assign a new dict; the next run stores the changes.

        With a `state_model`, its values have the types of the model's fields.

        >>> from localstore import Agent, FunctionModel
        >>> agent = Agent(model=FunctionModel(lambda messages: "hi"), session_state={"language": "en"})
        >>> agent.session_state["language"] = "de"
        >>> agent.run("hello").session_state
        {'language': 'de'}
        """
        return self.shared_state.current

    @session_state.setter
    def session_state(self, value: dict[str, Any]) -> None:
        if not isinstance(value, (dict, self.state_model or dict)):
            raise TypeError(f"session_state must be a dict, not {kind_of(value)}")
        self.shared_state.assign(value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return an independent copy with the same settings, current session and state.

        The copy uses the same model, tools and storage. Sessions in memory are copied.
        """
        duplicate = type(self).__new__(type(self))
        memo[id(self)] = duplicate
        for name, value in vars(self).items():
            is_shared = name == "model" or (name == "storage" and not isinstance(value, MemoryStorage))
            setattr(duplicate, name, value if is_shared else deepcopy(value, memo))
        return duplicate

    def __repr__(self) -> str:
        name = self.name or self.entity_id
        named = [] if name is None else [repr(name)]
        return f"{type(self).__name__}({', '.join([*named, f'session {self.session_id!r}'])})"

    # Sessions

    def new_session(self, session_id: str | None = None) -> str:
        """Switch to a new session with the initial state, and return its id, by default a random one."""
        self.follow(session_id or str(uuid4()), None)
        return self.session_id

    def load_session(self, session_id: str) -> Session:
        """Switch to an existing session and its state, and return the session without its history.

        Raises SessionNotFound if this user has no such session, KindMismatch if the session is of another kind, and
        StateInvalid if its state does not fit the `state_model`.
        """
        session = self.read(session_id, self.user_id, 0)
        if session is None:
            raise SessionNotFound(
                f"There is no session {session_id!r} of this user. 'localstore ls' lists the sessions.",
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
        """Set the name that people see for the current session. Raises SessionNotFound or OwnerMismatch."""
        self.sessions("rename_session").update(self.session_id, user_id=self.user_id, name=name)

    def follow(self, session_id: str, session: Session | None) -> None:
        """Switch to session `session_id` and to the state in `session`, or to the initial state if it is None.

        Raises StateInvalid, and does not switch, if the state does not fit the `state_model`.
        """
        previous, self.session_id = self.session_id, session_id
        try:
            self.shared_state.reset(session_id, session.session_state if session is not None else None)
        except BaseException:
            self.session_id = previous
            raise

    def sessions(self, what: str) -> SessionStorage:
        """Return the storage. Raises ValueError if sessions are in memory; `what` names the feature that needs it."""
        storage: Any = self.storage
        if isinstance(storage, MemoryStorage):
            raise ValueError(f"{what} needs a storage. Give the {self.kind} one: storage=JsonStorage(...)")
        return storage  # type: ignore[no-any-return]

    def store_changes(self, session: Session) -> None:
        """Store the changes made to `session`, which was read from the storage."""
        storage: Any = self.storage
        storage.upsert(session)

    # Called by runs

    def read(self, session_id: str, user_id: str | None, last_runs: int | None) -> Session | None:
        """Return the session with its last `last_runs` runs (all if None), or None. Remember that it exists."""
        session = self.storage.read(session_id, user_id=user_id, last_runs=last_runs)
        if session is not None:
            self._remember(session_id)
        return session

    def append(self, session_id: str, run: Run, user_id: str | None, **options: Any) -> None:
        """Store a run. `options` are passed to the `append` of the storage.

        Raises SessionNotFound if the session was read or written before and no longer exists.
        """
        create = session_id not in self._seen
        self.storage.append(
            session_id, run, user_id=user_id, entity_id=self.entity_id, kind=self.kind, create=create, **options
        )
        self._remember(session_id)

    def _remember(self, session_id: str) -> None:
        self._seen[session_id] = None
        if len(self._seen) > _REMEMBERED_SESSIONS:
            self._seen.popitem(last=False)


def kind_of(value: object) -> str:
    """Return the name of the type of `value`, for error messages."""
    return type(value).__name__


def slug(name: str | None) -> str | None:
    """Return an id derived from a name, such as `trip-planner`, or None if it has no letters or digits."""
    return re.sub(r"\W+", "-", (name or "").casefold()).strip("-") or None

"""Stores a run as an entry of a session, or holds it as part of the run of a team or a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from localstore.agents.prompts.history import HistoryWindow
from localstore.agents.session_state import RunState, SharedState, State, changes
from localstore.errors import UnstorableValue
from localstore.format.values import to_json_value
from localstore.models.session import Message, Run, Session
from localstore.storage.contract import AgentStorage


@dataclass(frozen=True, slots=True)
class RunStart:
    """The data from the session that a run begins with.

    `history` contains the messages of earlier runs to send to the model. `earlier` contains the newest earlier runs,
    oldest first, up to the number that was requested. `summary` is the session's summary. `state` is the session state
    that the run's tools see and change.
    """

    history: list[Message]
    earlier: Sequence[Run]
    summary: Any
    state: State


class RunStore(Protocol):
    """Stores one run. Its methods may block."""

    session_id: str
    user_id: str | None

    @property
    def has_begun(self) -> bool:
        """Whether `begin` has stored the question."""
        ...

    def begin(self, run: Run, runs_needed: int, window: HistoryWindow | None) -> RunStart:
        """Store the question, and return the data that the run begins with.

        `runs_needed` is the maximum number of earlier runs to return. `window` selects the messages of earlier runs to
        send to the model; None selects no messages.
        """
        ...

    def write(self, run: Run) -> None:
        """Store the unfinished run in its current form."""
        ...

    def end(self, run: Run, *, instructions: str | None, with_state: bool) -> None:
        """Store the finished run, with the state if `with_state` is true.

        The instructions are stored with it if they differ from those of the session. Raises UnstorableValue if the run
        is completed and its state cannot be stored.
        """
        ...

    def warn_of_changed_types(self) -> None:
        """Warn of values in the stored state that are read as another type. Call this after the run is stored."""
        ...


class Sessions(Protocol):
    """The part of SessionOwner that runs use."""

    session_id: str
    strict_state: bool
    shared_state: SharedState
    storage: AgentStorage

    def read(self, session_id: str, user_id: str | None, last_runs: int | None) -> Session | None: ...

    def append(self, session_id: str, run: Run, user_id: str | None, **options: Any) -> None: ...


@dataclass(slots=True)
class SessionRunStore:
    """Stores a run as an entry of a session."""

    sessions: Sessions
    session_id: str
    user_id: str | None
    is_stored: bool = False
    """Whether the question is stored. True from the start if an unfinished run is resumed."""
    _state: RunState | None = None
    _instructions: str | None = None
    """The instructions that the session had when the run began."""

    @property
    def has_begun(self) -> bool:
        return self.is_stored and self._state is not None

    def begin(self, run: Run, runs_needed: int, window: HistoryWindow | None) -> RunStart:
        sessions = self.sessions
        is_own = self.session_id == sessions.session_id
        if is_own:
            sessions.shared_state.storable()  # raises before the model is called, not when the answer is stored
        session = sessions.read(self.session_id, self.user_id, runs_needed)
        earlier = [] if session is None else session.runs
        summary = None if session is None else session.session_summary
        history = [] if window is None else window.messages(earlier, summary, self._read_runs)
        stored_state = {} if session is None else session.session_state
        sessions.shared_state.check(self.session_id, stored_state)
        if not self.is_stored:
            self.write(run)
            self.is_stored = True
        self._state = RunState(sessions.shared_state, self.session_id, stored_state, is_own=is_own)
        for message in run.messages:  # in a resumed run: the changes that its tools made before
            if message.state_changes is not None:
                self._state.apply(message.state_changes)
        self._instructions = None if session is None else session.instructions
        return RunStart(history, earlier, summary, self._state.current)

    def _read_runs(self, count: int) -> Sequence[Run]:
        session = self.sessions.read(self.session_id, self.user_id, count)
        return [] if session is None else session.runs

    def write(self, run: Run) -> None:
        self.sessions.append(self.session_id, run, self.user_id)

    def end(self, run: Run, *, instructions: str | None, with_state: bool) -> None:
        state = self._state
        assert state is not None  # noqa: S101 (for the type checker)
        if instructions and instructions != self._instructions:
            run.instructions = instructions
        try:
            new_state = state.to_store() if with_state else None
        except UnstorableValue:
            if run.status == "completed":
                raise
            new_state = None  # the run failed because of its state
        run.session_state = new_state
        if new_state is None:
            self.sessions.append(self.session_id, run, self.user_id)
            return
        strict = self.sessions.strict_state and run.status == "completed"
        self.sessions.append(self.session_id, run, self.user_id, state_base=state.base, strict_state=strict)
        state.mark_stored(run.session_state if run.session_state is not None else new_state)

    def warn_of_changed_types(self) -> None:
        if self._state is not None:
            self._state.warn_of_changed_types()


@dataclass(slots=True)
class NestedRunStore:
    """Holds the run of a team member or a workflow step, with its own copy of the state.

    Nothing is written to the storage. `ended` is the finished run, which the team or the workflow stores as part of its
    own run. `changed` contains the top-level keys of `state` that the run changed; it is empty unless the run is
    completed. `earlier` contains the earlier runs of the same agent in the session.
    """

    session_id: str
    user_id: str | None
    state: State
    earlier: Sequence[Run] = ()
    has_begun: bool = False
    ended: Run | None = None
    changed: set[str] = field(default_factory=set)
    _start: State = field(default_factory=dict)

    def begin(self, run: Run, runs_needed: int, window: HistoryWindow | None) -> RunStart:  # noqa: ARG002
        self._start = to_json_value(self.state, "session_state")
        self.has_begun = True
        history = [] if window is None else window.messages(self.earlier, None, lambda _: self.earlier)
        return RunStart(history, self.earlier, None, self.state)

    def write(self, run: Run) -> None:
        pass  # the team or the workflow has stored the question

    def end(self, run: Run, *, instructions: str | None, with_state: bool) -> None:  # noqa: ARG002
        if run.status == "completed":
            self.changed = changes(self._start, to_json_value(self.state, "session_state"))
        self.ended = run

    def warn_of_changed_types(self) -> None:
        pass  # the team or the workflow stores the state

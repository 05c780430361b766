"""Where a run is stored: as an entry of a session, or inside the run of a team or a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from localstore.agents.memory_storage import AgentStorage
from localstore.agents.prompts.history import HistoryWindow
from localstore.agents.session_state import RunState, SharedState, State, apply_changes, changes
from localstore.errors import UnstorableValue
from localstore.format.values import to_json_value
from localstore.models.session import Message, Run, Session


@dataclass(frozen=True, slots=True)
class RunStart:
    """What a run begins with.

    `history` are the messages of earlier runs for the model, `earlier` the newest earlier runs, as many as were asked
    for, oldest first. `summary` is the session's summary. `state` is the session state that the run's tools see and
    change.
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
        """Store the question, and return what the run begins with.

        `runs_needed` is how many earlier runs to return. `window` says which of them the model is given.
        """
        ...

    def write(self, run: Run) -> None:
        """Store the unfinished run as it is now."""
        ...

    def end(self, run: Run, *, instructions: str | None, with_state: bool) -> None:
        """Store the finished run, its instructions if the session has other ones, and the state if `with_state`.

        Raises UnstorableValue if the run is completed and its state cannot be stored.
        """
        ...


class Sessions(Protocol):
    """The owner of the sessions, as far as a run calls it back."""

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
    """Whether the question is in the document: from the start if an unfinished run is resumed."""
    _state: RunState | None = None
    _instructions: str | None = None
    """Those that the session had when the run began."""

    @property
    def has_begun(self) -> bool:
        return self.is_stored and self._state is not None

    def begin(self, run: Run, runs_needed: int, window: HistoryWindow | None) -> RunStart:
        sessions = self.sessions
        is_own = self.session_id == sessions.session_id
        if is_own:
            sessions.shared_state.storable()  # fail before the model is called, not when the answer is to be stored
        session = sessions.read(self.session_id, self.user_id, runs_needed)
        earlier = [] if session is None else session.runs
        summary = None if session is None else session.session_summary
        history = [] if window is None else window.messages(earlier, summary, self._read_runs)
        if not self.is_stored:
            self.write(run)
            self.is_stored = True
        stored_state = {} if session is None else session.session_state
        self._state = RunState(sessions.shared_state, self.session_id, stored_state, is_own=is_own)
        for message in run.messages:  # of a resumed run: what its tools changed before
            if message.state_changes is not None:
                apply_changes(self._state.current, message.state_changes)
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
            new_state = None  # the state is why the run failed
        run.session_state = new_state
        if new_state is None:
            self.sessions.append(self.session_id, run, self.user_id)
            return
        strict = self.sessions.strict_state and run.status == "completed"
        self.sessions.append(self.session_id, run, self.user_id, state_base=state.base, strict_state=strict)
        state.mark_stored(run.session_state if run.session_state is not None else new_state)


@dataclass(slots=True)
class NestedRunStore:
    """Holds a run of a team's member or a workflow's step, with its own copy of the state.

    Nothing is written: `ended` is the finished run, which the team or the workflow stores as part of its own, and
    `changed` are the top-level keys of `state` that the run changed, if it was completed. `earlier` are the earlier
    runs of the same agent in the session.
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

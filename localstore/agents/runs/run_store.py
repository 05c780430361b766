"""Where a run is kept: in a session, or in another run, by whoever asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from localstore.agents.prompts.prompt import completed_of, fitting, flat
from localstore.agents.session_state import RunState, State, change_again, changes
from localstore.errors import UnstorableValue
from localstore.format.values import to_json_value
from localstore.models.session import Message, Run

if TYPE_CHECKING:
    from localstore.agents.agent import Agent
    from localstore.agents.session_owner import SessionOwner


@dataclass(frozen=True, slots=True)
class Known:
    """What is known as a run begins: the messages that the model is given of earlier runs, a summary, the state that
    its tools see and change, and the newest of the earlier runs, as many as were read."""

    history: list[Message]
    summary: Any
    live: State
    earlier: list[Run]


class RunStore(Protocol):
    """What a run needs of the place where it is kept."""

    session_id: str
    user_id: str | None

    @property
    def has_begun(self) -> bool:
        """Whether the question is there."""
        ...

    def begin(self, run: Run) -> Known:
        """Store the question."""
        ...

    def write(self, run: Run) -> None:
        """Store the unfinished run as it is by now."""
        ...

    def end(self, run: Run, *, with_state: bool) -> None:
        """Store how it ended. Raises UnstorableValue, for a completed one, when the state cannot be stored."""
        ...


@dataclass(slots=True)
class SessionRunStore:
    """A run that is an entry of a session."""

    agent: SessionOwner
    session_id: str
    user_id: str | None
    is_stored: bool = False
    """Whether the question is on disk: an unfinished run that is resumed, or soon any."""
    _state: RunState | None = None
    _instructions: str | None = None

    @property
    def has_begun(self) -> bool:
        return self.is_stored and self._state is not None

    def begin(self, run: Run) -> Known:
        agent = self.agent
        is_own = self.session_id == agent.session_id
        if is_own:
            agent.shared_state.as_stored()  # raises now what would otherwise be raised when the answer is to be stored
        session = agent.read(self.session_id, self.user_id, agent.runs_needed())
        history = agent.history_for(session, self.session_id, self.user_id)
        if not self.is_stored:
            self.write(run)
            self.is_stored = True
        held = session.session_state if session is not None else {}
        self._state = RunState(agent.shared_state, self.session_id, held, is_own=is_own)
        for message in run.messages:  # of a run that is resumed: what its tools did
            if message.state_changes is not None:
                change_again(self._state.live, message.state_changes)
        self._instructions = session.instructions if session is not None else None
        summary = session.session_summary if session is not None and agent.summaries is not None else None
        return Known(history, summary, self._state.live, session.runs if session is not None else [])

    def write(self, run: Run) -> None:
        self.agent.append(self.session_id, run, self.user_id)

    def end(self, run: Run, *, with_state: bool) -> None:
        agent, state = self.agent, self._state
        assert state is not None  # noqa: S101 (for the type checker)
        instructions = agent.instructions_text()
        if instructions and instructions != self._instructions:
            run.instructions = instructions
        try:
            wanted = state.wanted() if with_state else None
        except UnstorableValue:
            if run.status == "completed":
                raise
            wanted = None  # it is what failed
        run.session_state = wanted
        merging = {"state_base": state.base, "strict_state": agent.strict_state and run.status == "completed"}
        agent.append(self.session_id, run, self.user_id, **(merging if wanted is not None else {}))
        if wanted is not None:
            state.settle(run.session_state if run.session_state is not None else wanted)


@dataclass(slots=True)
class NestedRunStore:
    """A run that stands in another one, of a team or a workflow, and has a copy of its state. It is in memory until
    whoever asked for it stores it.

    `earlier` are the runs of the same agent in the session's earlier runs. `ended` is the run as it ended, `changed`
    the keys of the state that it changed.
    """

    agent: Agent
    session_id: str
    user_id: str | None
    live: State
    earlier: list[Run] = field(default_factory=list)
    has_begun: bool = False
    ended: Run | None = None
    changed: set[str] = field(default_factory=set)
    _start: State = field(default_factory=dict)

    def begin(self, run: Run) -> Known:  # noqa: ARG002 - whoever asked for it has stored the question
        agent = self.agent
        self._start = to_json_value(self.live, "session_state")
        self.has_begun = True
        runs = completed_of(self.earlier) if agent.add_history_to_messages else []
        wanted = runs[-agent.num_history_runs :] if agent.num_history_runs else []
        return Known(flat(fitting(wanted, agent.max_history_tokens)), None, self.live, self.earlier)

    def write(self, run: Run) -> None:
        pass

    def end(self, run: Run, *, with_state: bool) -> None:  # noqa: ARG002
        if run.status == "completed":
            self.changed = changes(self._start, to_json_value(self.live, "session_state"))
        self.ended = run

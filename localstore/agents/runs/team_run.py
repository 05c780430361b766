"""The runs of a team's members, inside the run of their leader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from threading import RLock
from typing import Literal

from localstore.agents.models.model import EventLoopRunning
from localstore.agents.prompts.prompt import completed_of
from localstore.agents.prompts.question import question_of
from localstore.agents.run_spec import RunSpec, TeamSpec
from localstore.agents.runs.agent_run import AgentRun
from localstore.agents.runs.driver import Driver
from localstore.agents.runs.run_store import NestedRunStore, RunStart, RunStore
from localstore.agents.runs.token_count import TokenCount
from localstore.agents.session_state import State, put
from localstore.agents.tools.tool import Result, RunContext, Tool, error_result
from localstore.models.session import Message, Run, ToolCall

_MAX_DESCRIPTION = 300
"""How many characters of a member's instructions describe it if it has no description."""

_MERGE = "Answer the question above with one answer, made of these. Do not mention who said what, unless that matters."


def new_run(spec: RunSpec, run: Run, store: RunStore, *, speaker: str | None = None) -> AgentRun:
    """Return an AgentRun that executes `run` for an agent, or for a team with its members. It is not started."""
    agent_run = AgentRun(spec, run, store, speaker=speaker)
    if spec.team is not None:
        agent_run.members = MemberRuns(spec.team, spec.save_partial, run, store, agent_run.tokens, speaker)
    return agent_run


class Delegate(Tool):
    """The tool with which a team's leader asks a member. Several calls in one reply run concurrently."""

    def __init__(self, members: Mapping[str, RunSpec], *, routes: bool) -> None:
        def route_to(member: str) -> tuple[str, str | None]:
            return member, None

        def delegate_task(member: str, task: str) -> tuple[str, str | None]:
            return member, task

        function = route_to if routes else delegate_task
        function.__annotations__.update(member=Literal[tuple(members)])
        purpose = (
            "Let one member of the team answer the user."
            if routes
            else "Give a member of the team a task, and get the answer. Say everything that it has to know: it sees "
            "nothing of this conversation. Several tasks at once are done at the same time."
        )
        lines = "\n".join(f"- {name}{_description(member)}" for name, member in members.items())
        super().__init__(function, description=f"{purpose} Members:\n{lines}")

    def may_run_with(self, other: Tool | None) -> bool:
        return other is self


def _description(member: RunSpec) -> str:
    text = member.description or member.instructions[:_MAX_DESCRIPTION]
    return f": {' '.join(text.split())}" if text else ""


@dataclass(slots=True)
class _MemberRun:
    """A run of a member. `is_merged` is true once it has been added to the leader's run."""

    name: str
    agent_run: AgentRun
    store: NestedRunStore
    error: BaseException | None = None
    is_merged: bool = False


@dataclass(slots=True)
class MemberRuns:
    """The runs of a team's members, which are stored as part of their leader's run.

    They are stored when the leader's run ends. With `save_partial`, each is also stored as soon as it ends.

    Each member works on a copy of the state. When it is done, the keys that it changed are copied to the leader's
    state.
    """

    team: TeamSpec
    save_partial: bool
    run: Run
    """The run of the leader."""
    store: RunStore
    tokens: TokenCount
    speaker: str | None = None
    routed_answer: Message | None = None
    routed_finish_reason: str | None = None

    _state: State = field(default_factory=dict)
    _earlier: list[Run] = field(default_factory=list)
    """The completed earlier runs of the leader."""
    _stored_before: int = 0
    """How many member runs the leader's run had when it began. It is 0 unless an unfinished run is resumed."""
    _lock: RLock = field(default_factory=RLock)

    async def begin(self, driver: Driver, start: RunStart) -> None:
        self._state = start.state
        self._earlier = completed_of(start.earlier)
        self._stored_before = len(self.run.member_runs or ())
        if self.team.mode == "collaborate":
            question = question_of(self.run.messages)
            answered = {run.agent_id or run.team_id for run in completed_of(self.run.member_runs or ())}
            names = [name for name, member in self.team.members.items() if member.entity_id not in answered]
            await self._execute(driver, [self._new_run(name, question, None) for name in names])

    def with_answers(self, messages: list[Message]) -> list[Message]:
        if self.team.mode != "collaborate":
            return messages
        answers = [f"## {self._name(run)}\n\n{_answer(run)}" for run in self.run.member_runs or ()]
        text = "\n\n".join(["The members of the team answered:", *answers, _MERGE])
        question = question_of(messages)
        return [*question, Message(role="user", content=text), *messages[len(question) :]]

    def handles(self, tool: Tool) -> bool:
        return isinstance(tool, Delegate)

    async def results(self, driver: Driver, tool: Tool, calls: Sequence[ToolCall], context: RunContext) -> list[Result]:
        routes = self.team.mode == "route"
        results: dict[int, Result] = {}
        asked: dict[int, _MemberRun] = {}
        for number, call in enumerate(calls):
            try:
                name, task = tool.function(**tool.arguments(call, context))
            except ValueError as error:
                results[number] = error_result(error)
                continue
            if routes and (asked or self.routed_answer is not None):
                results[number] = Result("Error: another member answers already. Pick one.", failed=True)
                continue
            question = question_of(self.run.messages) if task is None else [Message(role="user", content=task)]
            asked[number] = self._new_run(name, question, call.id)
        await self._execute(driver, list(asked.values()))
        for number, member in asked.items():
            run = member.store.ended
            if member.error is not None or run is None:
                results[number] = Result(f"Error: {member.name} failed: {_error(member.error)}", failed=True)
            elif routes:
                results[number] = Result(f"{member.name} answers the user.")
                self.routed_answer = Message(role="assistant", content=run.answer, name=member.name)
                self.routed_finish_reason = run.finish_reason
            else:
                results[number] = Result(run.answer)
        return [results[number] for number in range(len(calls))]

    def as_stored(self, run: Run) -> Run:
        # Once members' runs are stored, messages cannot be appended in place: each round would rewrite the document.
        if self.save_partial:
            return run
        return run.model_copy(update={"member_runs": (run.member_runs or [])[: self._stored_before] or None})

    def _new_run(self, name: str, messages: list[Message], call_id: str | None) -> _MemberRun:
        spec = self.team.members[name]
        run = Run(messages=list(messages), status="unfinished", tool_call_id=call_id)
        setattr(run, f"{spec.kind}_id", spec.entity_id)
        earlier = [
            member_run
            for leader_run in self._earlier
            for member_run in leader_run.member_runs or ()
            if getattr(member_run, f"{spec.kind}_id") == spec.entity_id
        ]
        store = NestedRunStore(self.store.session_id, self.store.user_id, deepcopy(self._state), earlier)
        speaker = name if self.speaker is None else f"{self.speaker}/{name}"
        return _MemberRun(name, new_run(spec.nested(), run, store, speaker=speaker), store)

    async def _execute(self, driver: Driver, members: list[_MemberRun]) -> None:
        """Run the members concurrently.

        Errors are recorded on each member and reported to the leader. Interruptions (KeyboardInterrupt, cancellation)
        and EventLoopRunning propagate.
        """
        try:
            if len(members) == 1:
                try:
                    await self._execute_one(members[0], driver)
                except EventLoopRunning:
                    raise
                except Exception as error:  # noqa: BLE001 - reported to the leader
                    members[0].error = error
            elif members:
                outcomes = await driver.together([partial(self._execute_one, member) for member in members])
                for member, outcome in zip(members, outcomes, strict=True):
                    if isinstance(outcome.error, EventLoopRunning) or not isinstance(outcome.error, Exception | None):
                        raise outcome.error
                    member.error = outcome.error
        except BaseException:
            for member in members:  # also those that are still running, as cancelled
                self._merge(member)
            raise

    async def _execute_one(self, member: _MemberRun, driver: Driver) -> None:
        try:
            await member.agent_run.execute(driver)
        finally:
            self._merge(member)
        if self.save_partial:
            await driver.write(self._write)

    def _merge(self, member: _MemberRun) -> None:
        """Add the member's run, tokens and state changes to those of the leader, unless this was done before."""
        with self._lock:
            if member.is_merged:
                return
            member.is_merged = True
            run = member.store.ended or member.agent_run.run.model_copy(deep=True, update={"status": "cancelled"})
            self.run.member_runs = [*(self.run.member_runs or ()), run]
            if run.metrics is not None:
                self.tokens.add(run.metrics)
            put(self._state, member.store.changed, member.store.state)

    def _write(self) -> None:
        with self._lock:
            self.store.write(self.run)

    def _name(self, run: Run) -> str:
        entity_id = run.agent_id or run.team_id
        names = {member.entity_id: name for name, member in self.team.members.items()}
        return names.get(entity_id, entity_id or "?")


def _answer(run: Run) -> str:
    return run.answer if run.status == "completed" else f"(failed: {run.error})"


def _error(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()

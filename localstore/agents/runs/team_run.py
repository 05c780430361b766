"""A run of a team: the leader's, in which the runs of the members stand."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Literal

from localstore.agents.events import Event
from localstore.agents.prompts.prompt import completed_of
from localstore.agents.prompts.question import only_asked
from localstore.agents.run_spec import RunSpec, TeamSpec
from localstore.agents.runs.agent_run import AgentRun
from localstore.agents.runs.driver import Blocking, Effect, Steps, Together
from localstore.agents.runs.run_store import NestedRunStore, RunStart, RunStore
from localstore.agents.session_state import put
from localstore.agents.tools.tool import Result, RunContext, Tool, failure
from localstore.models.session import Message, Run, ToolCall

_LONGEST = 300
"""Characters of a member's instructions, where it has no description."""

_MERGE = "Answer the question above with one answer, made of these. Do not mention who said what, unless that matters."


class Delegate(Tool):
    """The tool with which a team's leader asks a member. Several calls side by side go on at once."""

    def __init__(self, members: Mapping[str, RunSpec], *, routes: bool) -> None:
        def route_to(member: str) -> tuple[str, str | None]:
            return member, None

        def delegate_task(member: str, task: str) -> tuple[str, str | None]:
            return member, task

        names = Literal[tuple(members)]  # type: ignore[valid-type]
        function = route_to if routes else delegate_task
        function.__annotations__.update(member=names)
        said = (
            "Let one member of the team answer the user."
            if routes
            else "Give a member of the team a task, and get the answer. Say everything that it has to know: it sees "
            "nothing of this conversation. Several tasks at once are done at the same time."
        )
        told = "\n".join(f"- {name}{_description(member)}" for name, member in members.items())
        super().__init__(function, description=f"{said} Members:\n{told}")

    def may_go_together(self, other: Tool | None) -> bool:
        return other is self


def _description(member: RunSpec) -> str:
    said = member.description or member.instructions[:_LONGEST]
    return f": {' '.join(said.split())}" if said else ""


@dataclass(slots=True)
class _Part:
    """A member's run on its way."""

    name: str
    running: AgentRun
    store: NestedRunStore
    error: BaseException | None = None
    is_over: bool = False


@dataclass(slots=True)
class TeamRun(AgentRun):
    """A leader's run. Members' runs are stored with its end; with `save_partial`, each when it is over.

    Each member has a copy of the state, of which what it changed is taken over when it is done.
    """

    _earlier: list[Run] = field(default_factory=list)
    _stored: int = 0
    """So many of the members' runs were stored before: an unfinished run that is resumed."""
    _routed: Message | None = None
    _lock: RLock = field(default_factory=RLock)

    @property
    def _team(self) -> TeamSpec:
        assert self.spec.team is not None  # noqa: S101 (for the type checker)
        return self.spec.team

    def _prompt(self, start: RunStart) -> list[Message]:
        self._earlier = completed_of(start.earlier)
        self._stored = len(self.run.member_runs or ())
        return AgentRun._prompt(self, start)

    def _answer(self, prompt: list[Message]) -> Generator[Effect | Event, Any, None]:
        if self._team.mode == "collaborate":
            question = only_asked(self.run.messages)
            answered = {run.agent_id or run.team_id for run in completed_of(self.run.member_runs or ())}
            asked = [name for name, member in self._team.members.items() if member.entity_id not in answered]
            yield from self._go_on([self._part(name, question, None) for name in asked])
        yield from AgentRun._answer(self, prompt)

    def _conversation(self, prompt: list[Message]) -> list[Message]:
        if self._team.mode != "collaborate":
            return AgentRun._conversation(self, prompt)
        said = [f"## {self._name(run)}\n\n{_answer_of(run)}" for run in self.run.member_runs or ()]
        answers = Message(role="user", content="\n\n".join(["The members of the team answered:", *said, _MERGE]))
        question = only_asked(self.run.messages)
        return [*prompt, *question, answers, *self.run.messages[len(question) :]]

    def _call_tools(self, calls: list[ToolCall]) -> Generator[Effect | Event, Any, None]:
        yield from AgentRun._call_tools(self, calls)
        if self._routed is not None:
            self.run.messages.append(self._routed)

    def _results(self, calls: Sequence[ToolCall]) -> Generator[Effect | Event, Any, list[Result]]:
        tool = self.spec.tools[calls[0].name]
        if not isinstance(tool, Delegate):
            return (yield from AgentRun._results(self, calls))
        context = RunContext(self.store.session_id, self.run.run_id, self.store.user_id, self._live)
        routes = self._team.mode == "route"
        results: dict[int, Result] = {}
        parts: dict[int, _Part] = {}
        for number, call in enumerate(calls):
            try:
                name, task = tool.function(**tool.given(call, context))
            except ValueError as error:
                results[number] = failure(error)
                continue
            if routes and (parts or self._routed is not None):
                results[number] = Result("Error: another member answers already. Pick one.", failed=True)
                continue
            asked = only_asked(self.run.messages) if task is None else [Message(role="user", content=task)]
            parts[number] = self._part(name, asked, call.id)
        yield from self._go_on(list(parts.values()))
        for number, part in parts.items():
            run = part.store.ended
            if part.error is not None or run is None:
                results[number] = Result(f"Error: {part.name} failed: {_said(part.error)}", failed=True)
            elif routes:
                results[number] = Result(f"{part.name} answers the user.")
                self._routed = Message(role="assistant", content=run.answer, name=part.name)
            else:
                results[number] = Result(run.answer)
        return [results[number] for number in range(len(calls))]

    # Members

    def _part(self, name: str, messages: list[Message], call_id: str | None) -> _Part:
        member = self._team.members[name]
        run = Run(messages=list(messages), status="unfinished", tool_call_id=call_id)
        setattr(run, f"{member.kind}_id", member.entity_id)
        earlier = [
            one
            for run in self._earlier
            for one in run.member_runs or ()
            if getattr(one, f"{member.kind}_id") == member.entity_id
        ]
        store = NestedRunStore(self.store.session_id, self.store.user_id, deepcopy(self._live), earlier)
        running = new_run(member.nested(), run, store)
        running.streams = self.streams
        running.speaker = name if self.speaker is None else f"{self.speaker}/{name}"
        return _Part(name, running, store)

    def _go_on(self, parts: list[_Part]) -> Generator[Effect | Event, Any, None]:
        """Let the members do what they were asked for; an error of one is in its part."""
        try:
            if len(parts) == 1:
                try:
                    yield from self._member(parts[0])
                except Exception as error:  # noqa: BLE001 - the leader is told
                    parts[0].error = error
            elif parts:
                raised = yield Together([self._member(part) for part in parts])
                for part, failed in zip(parts, raised, strict=True):
                    if failed is not None and not isinstance(failed, Exception):
                        raise failed
                    part.error = failed
        except BaseException:
            for part in parts:  # whoever is not done by now is not waited for
                self._take_over(part)
            raise

    def _member(self, part: _Part) -> Steps:
        try:
            yield from part.running.steps()
        finally:
            self._take_over(part)
        if self.spec.save_partial:
            yield Blocking(self._write_all)

    def _take_over(self, part: _Part) -> None:
        """Let the member's run stand in the leader's, with what it changed of the state, and what it cost."""
        with self._lock:
            if part.is_over:
                return
            part.is_over = True
            run = part.store.ended or part.running.run.model_copy(deep=True, update={"status": "cancelled"})
            self.run.member_runs = [*(self.run.member_runs or ()), run]
            for name in ("input_tokens", "output_tokens"):
                if run.metrics is not None and (used := getattr(run.metrics, name)) is not None:
                    self._tokens[name] = self._tokens.get(name, 0) + used
            put(self._live, part.store.changed, part.store.state)

    def _write_all(self) -> None:
        with self._lock:
            AgentRun._write(self, self.run)

    def _write(self, run: Run) -> None:
        # Behind members' runs no message can be added in place: the document would be written anew in each round.
        if not self.spec.save_partial:
            run = run.model_copy(update={"member_runs": (run.member_runs or [])[: self._stored] or None})
        AgentRun._write(self, run)

    def _name(self, run: Run) -> str:
        ids = {member.entity_id: name for name, member in self._team.members.items()}
        which = run.agent_id or run.team_id
        return ids.get(which, which or "?")


def _answer_of(run: Run) -> str:
    return run.answer if run.status == "completed" else f"(failed: {run.error})"


def _said(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()


def new_run(spec: RunSpec, run: Run, store: RunStore) -> AgentRun:
    """Return a run of an agent or a team that has not begun."""
    return (AgentRun if spec.team is None else TeamRun)(spec, run, store)

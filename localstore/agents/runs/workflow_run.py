"""Executes a run of a workflow, and stores each step as soon as it ends.

A resumed run goes through its steps from the beginning. A step that is completed according to the journal is not run
again: its output and its state changes are taken from the journal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from localstore.agents.events import RunFinished, RunStarted, RunWaiting, StepFinished, StepStarted
from localstore.agents.prompts.prompt import completed_of
from localstore.agents.run_spec import AnyAgent
from localstore.agents.runs.agent_run import error_text
from localstore.agents.runs.driver import Driver
from localstore.agents.runs.run_store import NestedRunStore, SessionRunStore
from localstore.agents.runs.step_journal import Place, StepJournal
from localstore.agents.runs.team_run import new_run
from localstore.agents.runs.token_count import TokenCount
from localstore.agents.session_state import State, changes, put
from localstore.agents.steps import Condition, Function, Loop, Parallel, Part, StepContext, Task, agents_in
from localstore.agents.typed_state import restored
from localstore.errors import StateConflict
from localstore.format.values import to_json_value
from localstore.models.schema import RunStatus, StepStatus
from localstore.models.session import Message, Run, Step
from localstore.models.times import now

_HINT = "A step is async and an event loop is running. Use `await workflow.arun(...)`."


class _Waiting(Exception):
    """Raised when a step waits for its confirmation."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.name)
        self.step = step


class _Rejected(Exception):
    """Raised when the confirmation of a step was refused."""


@dataclass(slots=True)
class Branch:
    """The driver and the state of steps that run in order: the whole workflow, or one branch of a Parallel.

    `state` is the state that the steps see and change; `stored` is that state as of the last stored step.
    """

    driver: Driver
    state: State
    stored: State

    def copy(self) -> Branch:
        """Return a branch with a copy of the state."""
        return Branch(self.driver, deepcopy(self.state), deepcopy(self.stored))

    def changed_state(self) -> State | None:
        """Return the state to store with a step and set `stored` to it, or return None if it has not changed."""
        state: State = to_json_value(self.state, "session_state")
        if not changes(self.stored, state):
            return None
        self.stored = state
        return state

    def replay(self, stored: State | None) -> None:
        """Apply the changes of a completed step. `stored` is the state stored with it, None if it changed nothing."""
        if stored is not None:
            put(self.state, changes(self.stored, stored), restored(stored, self.state))
            self.stored = deepcopy(stored)

    def join(self, start: State, branch: Branch) -> None:
        """Copy the changes of `branch`, which began with the state `start`, into this branch."""
        changed = changes(start, branch.stored)
        put(self.state, changed, branch.state)
        put(self.stored, changed, branch.stored)


@dataclass(slots=True)
class _Attempt:
    """One attempt at a step: the step to store, and the tokens and the start time for its metrics."""

    step: Step
    tokens: TokenCount = field(default_factory=TokenCount)
    began: float = field(default_factory=perf_counter)

    def end(self, status: StepStatus) -> None:
        self.step.status = status
        self.step.metrics = self.tokens.metrics(perf_counter() - self.began)


@dataclass(slots=True)
class WorkflowRun:
    """Executes and stores one run of a workflow, new or resumed."""

    parts: Sequence[Part]
    run: Run
    store: SessionRunStore
    journal: StepJournal
    begun_with: State | None = None
    """The session's state when the run first began, if the run is resumed; otherwise None."""
    confirm: bool | None = None
    """The answer to the question of the waiting step, or None if there is no answer."""

    _outputs: dict[str, Any] = field(default_factory=dict)
    _earlier: list[Run] = field(default_factory=list)
    _started: float = 0.0

    async def execute(self, driver: Driver) -> Run:
        """Execute the run to its end, or up to a step that waits for its confirmation, and return the stored run.

        Every exception, including KeyboardInterrupt and cancellation, is raised again after the run has been stored as
        failed or cancelled. Nothing is stored if another process has continued the run.
        """
        if self.run.status == "completed":  # the same call was made before
            await driver.emit(RunFinished(self.run))
            return self.run
        self._started = perf_counter()
        try:
            runs_needed = max(
                (agent.run_spec(remembers=False).runs_needed for agent in agents_in(self.parts)), default=0
            )
            start = await driver.write(partial(self.store.begin, self.run, runs_needed, None))
            self._earlier = completed_of(start.earlier)
            await driver.emit(RunStarted(self.store.session_id, self.run.run_id))
            await driver.write(self._load_steps)
            stored = to_json_value(start.state) if self.begun_with is None else self.begun_with
            branch = Branch(driver, start.state, stored)
            self.run.output = await self._sequence(self.parts, (), self.run.input, branch)
            await driver.write(partial(self._end, "completed"))
        except _Waiting as waiting:
            self.store.warn_of_changed_types()
            await driver.emit(RunWaiting(self.run, waiting.step))
            return self.run
        except _Rejected:
            await driver.write(partial(self._end, "cancelled"))
        except BaseException as error:
            if not self.journal.is_taken_over:
                await driver.write(partial(self._store_failure, error))  # no event: the consumer may be gone
            raise
        self.store.warn_of_changed_types()
        await driver.emit(RunFinished(self.run))
        return self.run

    def _load_steps(self) -> None:
        self.journal.load()
        if self.confirm is not None and (waiting := self.run.waiting) is not None:
            answer: StepStatus = "confirmed" if self.confirm else "rejected"
            self.journal.add(Step(name=waiting.name, within=waiting.within, status=answer))

    # Going through the steps

    async def _sequence(self, parts: Sequence[Part], within: Place, value: Any, branch: Branch) -> Any:
        for part in parts:
            value = await self._part(part, within, value, branch)
        return value

    async def _part(self, part: Part, within: Place, value: Any, branch: Branch) -> Any:
        match part:
            case Task():
                value = await self._task(part, within, value, branch)
            case Parallel():
                value = await self._parallel(part, within, value, branch)
            case Condition():
                value = await self._condition(part, within, value, branch)
            case Loop():
                value = await self._loop(part, within, value, branch)
        self._outputs[part.name] = value
        return value

    async def _parallel(self, part: Parallel, within: Place, value: Any, branch: Branch) -> dict[str, Any]:
        start = deepcopy(branch.stored)
        branches = [branch.copy() for _ in part.steps]

        async def job(step: Part, own: Branch, driver: Driver) -> Any:
            own.driver = driver
            return await self._part(step, (*within, part.name), value, own)

        outcomes = await branch.driver.together(
            [partial(job, step, own) for step, own in zip(part.steps, branches, strict=True)]
        )
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if errors:  # prefer an interruption, then an error, then a step that waits or was refused
            raise min(errors, key=lambda error: isinstance(error, Exception) + isinstance(error, (_Waiting, _Rejected)))
        for own in branches:
            branch.join(start, own)
        return {step.name: outcome.value for step, outcome in zip(part.steps, outcomes, strict=True)}

    async def _condition(self, part: Condition, within: Place, value: Any, branch: Branch) -> Any:
        place = (*within, part.name)
        decision = self.journal.completed(place)
        if decision is None:
            answer = bool(await self._test(place, part.test, value, branch))
            decision = _step(place, input=value, output=answer, status="completed")
            await self._add(decision, branch)
        return await self._sequence(part.then if decision.output else part.otherwise, place, value, branch)

    async def _loop(self, part: Loop, within: Place, value: Any, branch: Branch) -> Any:
        place = (*within, part.name)
        for number in range(1, part.max_rounds + 1):
            value = await self._sequence(part.steps, (*within, f"{part.name}[{number}]"), value, branch)
            end = self.journal.completed(place)
            if end is not None:
                if number >= end.output:
                    break
                continue
            is_last = number == part.max_rounds or self.journal.has_begun((*within, f"{part.name}[{number + 1}]"))
            if part.until is None or is_last:
                continue
            if await self._test(place, part.until, value, branch):
                await self._add(_step(place, output=number, status="completed"), branch)
                break
        return value

    async def _test(self, place: Place, test: Function, value: Any, branch: Branch) -> Any:
        """Return the result of the test of a condition or a loop. If it raises an error, store that and raise it."""
        try:
            return await self._call(test, value, branch)
        except Exception as error:
            await self._add(_step(place, input=value, error=error_text(error), status="error"), branch)
            error.add_note(f"This was raised in {' / '.join(place)}.")
            raise

    async def _add(self, step: Step, branch: Branch) -> None:
        await branch.driver.write(partial(self.journal.add, step))

    # Doing a step

    async def _task(self, task: Task, within: Place, value: Any, branch: Branch) -> Any:
        place = (*within, task.name)
        if (done := self.journal.completed(place)) is not None:
            branch.replay(done.session_state)
            return done.output
        if task.question is not None:
            await self._await_confirmation(task.question, place, value, branch)
        emit, speaker = branch.driver.emit, "/".join(place)
        for number in range(task.retries + 1):
            await emit(StepStarted(speaker))
            attempt, before = _Attempt(_step(place, input=value)), deepcopy(branch.state)
            step = attempt.step
            try:
                await self._work(task, attempt, value, branch)
                step.session_state = branch.changed_state()
            except BaseException as error:
                failed = isinstance(error, Exception)
                step.output = None
                step.error = error_text(error) if failed else None
                attempt.end("error" if failed else "cancelled")
                put(branch.state, {*branch.state, *before}, before)
                await self._add(step, branch)
                if failed:
                    error.add_note(f"This was raised in {' / '.join(place)}.")
                if not failed or number == task.retries:
                    raise
            else:
                attempt.end("completed")
                await self._add(step, branch)
                await emit(StepFinished(step, speaker))
                return step.output
            await emit(StepFinished(step, speaker))
            await branch.driver.sleep(task.backoff * 2**number)
        raise AssertionError("a step ends, or raises")

    async def _await_confirmation(self, question: str, place: Place, value: Any, branch: Branch) -> None:
        """Raise _Waiting or _Rejected unless the step is confirmed. Store the question when it is first asked."""
        step = self.journal.latest(place)
        if step is None or step.status not in ("waiting", "rejected", "confirmed", "error", "cancelled"):
            step = _step(place, input=value, status="waiting", question=question)
            await self._add(step, branch)
        if step.status == "waiting":
            raise _Waiting(step)
        if step.status == "rejected":
            raise _Rejected(step.name)

    async def _work(self, task: Task, attempt: _Attempt, value: Any, branch: Branch) -> None:
        if task.function is not None:
            output = await self._call(task.function, value, branch)
            attempt.step.output = to_json_value(output, f"The output of {task.name!r}")
        elif task.agent is not None:
            await self._run_agent(task.agent, attempt, value, branch)

    async def _call(self, function: Function, value: Any, branch: Branch) -> Any:
        store, outputs = self.store, dict(self._outputs)
        context = StepContext(store.session_id, self.run.run_id, store.user_id, branch.state, self.run.input, outputs)
        call: Callable[[], Any] = partial(function.function, **function.arguments(value, context))
        return await branch.driver.call(call, _HINT)

    async def _run_agent(self, agent: AnyAgent, attempt: _Attempt, value: Any, branch: Branch) -> None:
        step = attempt.step
        if value is None:
            raise TypeError(f"The step {step.name!r} is an agent, but its input is None: there is no question to ask.")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        run = Run(messages=[Message(role="user", content=text)], status="unfinished")
        earlier = [
            Run(messages=one.messages or [], member_runs=one.member_runs)
            for workflow_run in self._earlier
            for one in workflow_run.steps or ()
            if one.name == step.name and one.within == step.within and one.status == "completed"
        ]
        store = NestedRunStore(self.store.session_id, self.store.user_id, deepcopy(branch.state), earlier)
        speaker = "/".join([*(step.within or ()), step.name])
        try:
            await new_run(agent.run_spec(remembers=False).nested(), run, store, speaker=speaker).execute(branch.driver)
        finally:
            ended = store.ended or run
            step.messages = ended.messages
            step.member_runs = ended.member_runs
            step.finish_reason = ended.finish_reason
            if ended.metrics is not None:
                attempt.tokens.add(ended.metrics)
        put(branch.state, store.changed, store.state)
        step.output = ended.answer if ended.output is None else ended.output

    # Ending

    def _end(self, status: RunStatus, *, with_state: bool = True) -> None:
        self.run.metrics = self.journal.metrics(perf_counter() - self._started)
        self.run.status = status
        self.store.end(self.run, instructions=None, with_state=with_state)

    def _store_failure(self, error: BaseException) -> None:
        """Store the run as failed or cancelled. If that fails too, add a note to `error`, which the caller raises."""
        if not self.store.has_begun:
            return
        failed = isinstance(error, Exception)
        if failed:
            error.run = self.run  # type: ignore[attr-defined]
            self.run.error = error_text(error)
        try:
            self._end("error" if failed else "cancelled", with_state=not isinstance(error, StateConflict))
        except Exception as second:  # noqa: BLE001 - the first error is the one to raise
            error.add_note(f"The run could not be stored as failed: {error_text(second)}")


def _step(place: Place, **fields: Any) -> Step:
    return Step(name=place[-1], within=list(place[:-1]) or None, created_at=now(), **fields)

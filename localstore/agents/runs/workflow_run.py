"""One run of a workflow: each step that is over is stored at once, and a run that is resumed goes on behind it.

A step's place is its name, and the names of what it stands in. What is stored of a place is taken for done, so the run
is gone through from its beginning whenever it is resumed, and only what is not stored is done.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from threading import RLock
from time import perf_counter
from typing import Any

from localstore.agents.events import Event, RunFinished, RunStarted, RunWaiting, StepFinished, StepStarted
from localstore.agents.memory_storage import WorkflowStorage
from localstore.agents.prompts.prompt import completed_of
from localstore.agents.run_spec import AnyAgent
from localstore.agents.runs.driver import Blocking, Call, Effect, Sleep, Steps, Together
from localstore.agents.runs.run_store import NestedRunStore, SessionRunStore
from localstore.agents.runs.team_run import new_run
from localstore.agents.session_state import State, changes, put
from localstore.agents.steps import Condition, Function, Loop, Parallel, Part, StepContext, Task, agents_in
from localstore.errors import Conflict, StateConflict
from localstore.format.values import to_json_value
from localstore.models.session import Message, Metrics, Run, Step, now

Place = tuple[str, ...]
_HINT = "A step is async and an event loop is running. Use `await workflow.arun(...)`."


class _Waiting(Exception):
    """A step waits for its confirmation."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.name)
        self.step = step


class _Rejected(Exception):
    """A step was not confirmed."""


@dataclass(slots=True)
class Scope:
    """The state that a sequence of steps sees: `live`, and as it was stored last."""

    live: State
    stored: State

    def copy(self) -> Scope:
        return Scope(deepcopy(self.live), deepcopy(self.stored))

    def changed(self) -> State | None:
        """The state as it is to be stored, None when it is that already. Raises UnstorableValue."""
        new: State = to_json_value(self.live, "session_state")
        if not changes(self.stored, new):
            return None
        self.stored = new
        return new

    def replay(self, stored: State | None) -> None:
        """Do again what a step did that was stored."""
        if stored is not None:
            put(self.live, changes(self.stored, stored), deepcopy(stored))
            self.stored = deepcopy(stored)

    def join(self, start: State, branch: Scope) -> None:
        """Take over what a branch changed, which began with this state."""
        changed = changes(start, branch.stored)
        put(self.live, changed, branch.live)
        put(self.stored, changed, branch.stored)


@dataclass(slots=True)
class WorkflowRun:
    """A run on its way: a new one, or one that was begun before. Whoever drives `steps` does what it yields."""

    parts: Sequence[Part]
    run: Run
    store: SessionRunStore
    storage: WorkflowStorage
    begun_with: State | None = None
    """The session's state as the run began, where it is resumed."""
    confirm: bool | None = None
    streams: bool = False

    _done: dict[Place, Step] = field(default_factory=dict)
    _begun: set[Place] = field(default_factory=set)
    _outputs: dict[str, Any] = field(default_factory=dict)
    _earlier: list[Run] = field(default_factory=list)
    _is_elsewhere: bool = False
    """Somebody else goes on with the run: nothing more is stored of it here."""
    _lock: RLock = field(default_factory=RLock)
    _started: float = 0.0
    _resumed_at: int = 0
    """So many steps were over before, and their time is known."""

    def steps(self) -> Steps:
        if self.run.status == "completed":  # the same call again
            yield RunFinished(self.run)
            return
        self._started = perf_counter()
        try:
            runs_needed = max((agent.run_spec().runs_needed for agent in agents_in(self.parts)), default=0)
            start = yield Blocking(lambda: self.store.begin(self.run, runs_needed, None))
            self._earlier = completed_of(start.earlier)
            yield RunStarted(self.store.session_id, self.run.run_id)
            yield Blocking(self._look_back)
            begun_with = to_json_value(start.state) if self.begun_with is None else self.begun_with
            scope = Scope(start.state, begun_with)
            self.run.output = yield from self._sequence(self.parts, (), self.run.input, scope)
            yield Blocking(partial(self._end, "completed"))
        except _Waiting as waiting:
            yield RunWaiting(self.run, waiting.step)
            return
        except _Rejected:
            yield Blocking(partial(self._end, "cancelled"))
        except BaseException as error:
            if not self._is_elsewhere:
                yield Blocking(partial(self._store_failure, error))  # and no event: whoever listened may be gone
            raise
        yield RunFinished(self.run)

    def _look_back(self) -> None:
        """What was done before, and the answer to what waits."""
        for step in self.run.steps or ():
            self._note(step)
            self._resumed_at += step.metrics is not None
        if self.confirm is not None and (waiting := self.run.waiting) is not None:
            answer = "confirmed" if self.confirm else "rejected"
            self._add(Step(name=waiting.name, within=waiting.within, status=answer))

    def _note(self, step: Step) -> None:
        place = (*(step.within or ()), step.name)
        self._done[place] = step
        for length in range(1, len(place)):
            self._begun.add(place[:length])

    def _add(self, step: Step) -> None:
        """Store a step that is over."""
        with self._lock:
            number = len(self.run.steps or ())
            at = self.store
            try:
                self.storage.add_step(at.session_id, self.run.run_id, step, number=number, user_id=at.user_id)
            except Conflict:
                self._is_elsewhere = True
                raise
            if self.run.steps is None:
                self.run.steps = []
            self.run.steps.append(step)
            self._note(step)

    # Going through the steps

    def _sequence(
        self, parts: Sequence[Part], within: Place, value: Any, scope: Scope
    ) -> Generator[Effect | Event, Any, Any]:
        for part in parts:
            value = yield from self._part(part, within, value, scope)
        return value

    def _part(self, part: Part, within: Place, value: Any, scope: Scope) -> Generator[Effect | Event, Any, Any]:
        match part:
            case Task():
                value = yield from self._task(part, within, value, scope)
            case Parallel():
                value = yield from self._parallel(part, within, value, scope)
            case Condition():
                value = yield from self._condition(part, within, value, scope)
            case Loop():
                value = yield from self._loop(part, within, value, scope)
        self._outputs[part.name] = value
        return value

    def _parallel(self, part: Parallel, within: Place, value: Any, scope: Scope) -> Generator[Effect | Event, Any, Any]:
        start = deepcopy(scope.stored)
        scopes = [scope.copy() for _ in part.steps]
        outputs: dict[str, Any] = {}

        def branch(one: Part, own: Scope) -> Steps:
            outputs[one.name] = yield from self._part(one, (*within, part.name), value, own)

        raised = yield Together([branch(one, own) for one, own in zip(part.steps, scopes, strict=True)])
        failed = [error for error in raised if error is not None]
        if failed:  # one that waits is heard of when nothing else is in the way
            raise min(failed, key=lambda error: isinstance(error, Exception) + isinstance(error, (_Waiting, _Rejected)))
        for own in scopes:
            scope.join(start, own)
        return {one.name: outputs[one.name] for one in part.steps}

    def _condition(
        self, part: Condition, within: Place, value: Any, scope: Scope
    ) -> Generator[Effect | Event, Any, Any]:
        place = (*within, part.name)
        decided = self._completed(place)
        if decided is None:
            decided = yield from self._decided(place, part.test, value, scope, bool)
        return (yield from self._sequence(part.then if decided.output else part.otherwise, place, value, scope))

    def _loop(self, part: Loop, within: Place, value: Any, scope: Scope) -> Generator[Effect | Event, Any, Any]:
        place = (*within, part.name)
        for number in range(1, part.max_rounds + 1):
            value = yield from self._sequence(part.steps, (*within, f"{part.name}[{number}]"), value, scope)
            ended = self._completed(place)
            if ended is not None:
                if number >= ended.output:
                    break
            elif number < part.max_rounds and (*within, f"{part.name}[{number + 1}]") not in self._begun:
                if part.until is None:
                    continue
                is_over = yield from self._asked(place, part.until, value, scope)
                if is_over:
                    yield Blocking(partial(self._add, self._step(place, output=number, status="completed")))
                    break
        return value

    def _decided(
        self, place: Place, test: Function, value: Any, scope: Scope, made: type
    ) -> Generator[Effect | Event, Any, Step]:
        output = yield from self._asked(place, test, value, scope)
        step = self._step(place, input=value, output=made(output), status="completed")
        yield Blocking(partial(self._add, step))
        return step

    def _asked(self, place: Place, test: Function, value: Any, scope: Scope) -> Generator[Effect | Event, Any, Any]:
        """What a test says. When it raises, that is stored."""
        try:
            return (yield from self._called(test, value, scope))
        except Exception as error:
            yield Blocking(partial(self._add, self._step(place, input=value, error=said(error), status="error")))
            error.add_note(f"This was raised in {' / '.join(place)}.")
            raise

    def _completed(self, place: Place) -> Step | None:
        step = self._done.get(place)
        return step if step is not None and step.status == "completed" else None

    # Doing a step

    def _task(self, task: Task, within: Place, value: Any, scope: Scope) -> Generator[Effect | Event, Any, Any]:
        place = (*within, task.name)
        if (done := self._completed(place)) is not None:
            scope.replay(done.session_state)
            return done.output
        if task.question is not None:
            yield from self._confirmed(task.question, place, value)
        for attempt in range(task.retries + 1):
            yield StepStarted("/".join(place))
            work, before = _Work(self._step(place, input=value)), deepcopy(scope.live)
            try:
                yield from self._work(task, work, value, scope)
                work.step.session_state = scope.changed()
            except BaseException as error:
                failed = isinstance(error, Exception)
                work.step.output = None
                work.step.error, work.step.status = (said(error), "error") if failed else (None, "cancelled")
                work.over()
                scope.live.clear()
                scope.live.update(before)
                yield Blocking(partial(self._add, work.step))
                if failed:
                    error.add_note(f"This was raised in {' / '.join(place)}.")
                if not failed or attempt == task.retries:
                    raise
                yield StepFinished(work.step, "/".join(place))
            else:
                work.step.status = "completed"
                work.over()
                yield Blocking(partial(self._add, work.step))
                yield StepFinished(work.step, "/".join(place))
                return work.step.output
            yield Sleep(task.backoff * 2**attempt)
        raise AssertionError("a step ends, or raises")

    def _confirmed(self, question: str, place: Place, value: Any) -> Generator[Effect | Event, Any, None]:
        step = self._done.get(place)
        if step is None or step.status not in ("waiting", "rejected", "confirmed", "error", "cancelled"):
            step = self._step(place, input=value, status="waiting", question=question)
            yield Blocking(partial(self._add, step))
        if step.status == "waiting":
            raise _Waiting(step)
        if step.status == "rejected":
            raise _Rejected(step.name)

    def _work(self, task: Task, work: _Work, value: Any, scope: Scope) -> Generator[Effect | Event, Any, None]:
        if task.function is not None:
            output = yield from self._called(task.function, value, scope)
            work.step.output = to_json_value(output, f"The output of {task.name!r}")
        elif task.agent is not None:
            yield from self._run(task.agent, work, value, scope)

    def _called(self, function: Function, value: Any, scope: Scope) -> Generator[Effect | Event, Any, Any]:
        at = self.store
        with self._lock:
            outputs = dict(self._outputs)
        context = StepContext(at.session_id, self.run.run_id, at.user_id, scope.live, self.run.input, outputs)
        return (yield Call(partial(function.function, **function.arguments(value, context)), _HINT))

    def _run(self, agent: AnyAgent, work: _Work, value: Any, scope: Scope) -> Generator[Effect | Event, Any, None]:
        if value is None:
            raise TypeError(f"The step {work.step.name!r} is an agent, and was given nothing to ask it.")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        run = Run(messages=[Message(role="user", content=text)], status="unfinished")
        earlier = [
            Run(messages=step.messages or [], member_runs=step.member_runs)
            for one in self._earlier
            for step in one.steps or ()
            if step.name == work.step.name and step.within == work.step.within and step.status == "completed"
        ]
        store = NestedRunStore(self.store.session_id, self.store.user_id, deepcopy(scope.live), earlier)
        running = new_run(agent.run_spec().nested(), run, store)
        running.streams = self.streams
        running.speaker = "/".join([*(work.step.within or ()), work.step.name])
        try:
            yield from running.steps()
        finally:
            ended = store.ended or run
            work.step.messages = ended.messages
            work.step.member_runs = ended.member_runs
            if ended.metrics is not None:
                work.tokens = {
                    name: used
                    for name in ("input_tokens", "output_tokens")
                    if (used := getattr(ended.metrics, name)) is not None
                }
        put(scope.live, store.changed, store.state)
        work.step.output = ended.answer if ended.output is None else ended.output

    def _step(self, place: Place, **fields: Any) -> Step:
        return Step(name=place[-1], within=list(place[:-1]) or None, created_at=now(), **fields)

    # Ending

    def _end(self, status: str, *, with_state: bool = True) -> None:
        run = self.run
        run.metrics = self._cost()
        run.status = status
        self.store.end(run, instructions=None, with_state=with_state)

    def _cost(self) -> Metrics:
        """What all of its steps cost, those of earlier attempts as well."""
        spent = [step.metrics for step in self.run.steps or () if step.metrics is not None]
        tokens = {
            name: sum(known)
            for name in ("input_tokens", "output_tokens")
            if (known := [used for one in spent if (used := getattr(one, name)) is not None])
        }
        before = sum(one.duration_seconds or 0 for one in spent[: self._resumed_at])
        return Metrics(duration_seconds=round(before + perf_counter() - self._started, 3), **tokens)

    def _store_failure(self, error: BaseException) -> None:
        """Store how the run ended. Never raises instead of `error`, which is about to be raised again."""
        if not self.store.has_begun:
            return
        failed = isinstance(error, Exception)
        if failed:
            error.run = self.run  # type: ignore[attr-defined]
            self.run.error = said(error)
        try:
            self._end("error" if failed else "cancelled", with_state=not isinstance(error, StateConflict))
        except Exception as second:  # noqa: BLE001 - whatever it is, the first error is the one to raise
            error.add_note(f"The run could not be stored as failed: {said(second)}")


@dataclass(slots=True)
class _Work:
    """A step that is being done."""

    step: Step
    tokens: dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=perf_counter)

    def over(self) -> None:
        self.step.metrics = Metrics(duration_seconds=round(perf_counter() - self.began, 3), **self.tokens)


def said(error: BaseException) -> str:
    """An error as a document has it."""
    text = " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
    return text.encode(errors="backslashreplace").decode()

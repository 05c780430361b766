"""A workflow: steps that are functions, agents and teams, and a session that knows which of them are done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import aclosing
from typing import Any, cast
from uuid import uuid4

from localstore.agents.events import Event, RunFinished, RunWaiting, StepFinished, TextDelta
from localstore.agents.memory_storage import WorkflowStorage
from localstore.agents.runs import driver
from localstore.agents.runs.run_store import SessionRunStore
from localstore.agents.runs.step_journal import StepJournal
from localstore.agents.runs.workflow_run import WorkflowRun
from localstore.agents.session_owner import SessionOwner
from localstore.agents.steps import StepLike, made
from localstore.agents.threads import run_in_thread
from localstore.errors import Conflict, WorkflowChanged
from localstore.format.values import json_equal, to_json_value
from localstore.models.session import Kind, Run, Session

_LAST = 64
"""Among so many of the last runs one with a `run_id` is looked for."""


class Workflow(SessionOwner):
    """Does its steps, each with what the one before gave, and stores each as soon as it is over.

    A step is a function (plain or async), an Agent, a Team, a Task of one of these, or a Parallel, Condition or Loop of
    steps. A function's first parameter gets the output of the step before (of the first step, the workflow's input), in
    the type that it is annotated with; a parameter annotated StepContext gets the state, the ids and the outputs so
    far. What it returns has to have a form in a document, and the next step is given what stands there: a workflow that
    is resumed does just what one does that was never interrupted. An agent is asked its input as a question (text as it
    is, anything else as JSON) and gives its answer, or its data; with `add_history_to_messages` it is given what this
    step was asked in earlier runs of the session. Agents use the workflow's session, state and storage, not their own.

    **State.** All steps share `session_state`. What a step changed is stored with it; a step that fails changes
    nothing. At the end the run's changes come together with those of other runs as an agent's do.

    **Interrupted** by a kill, an error, Ctrl-C or the cancellation of the task, a run goes on behind the last step that
    is stored, with `resume()`, or with the same call of `run` with the same `run_id`. No step that is stored is done
    again; the one that was at work is. Two processes may not go on with one run at once: the later one raises Conflict.

    **Confirmation.** Before a Task with `confirm` the run is stored and returned as it waits: `run.waiting` is the
    step. `resume(confirm=True)` goes on, in any process and at any time; `confirm=False` cancels the run.

    One workflow may be used by several threads and tasks, and for several sessions at once.
    """

    kind: Kind = "workflow"

    def __init__(
        self,
        *,
        steps: Sequence[StepLike],
        name: str | None = None,
        workflow_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        storage: WorkflowStorage | None = None,
        session_state: dict[str, Any] | None = None,
        strict_state: bool = False,
    ) -> None:
        """Raises TypeError and ValueError, which say what to pass."""
        super().__init__(
            name=name,
            entity_id=workflow_id,
            session_id=session_id,
            user_id=user_id,
            storage=storage,
            session_state=session_state,
            strict_state=strict_state,
        )
        if not hasattr(self.storage, "add_step"):
            raise TypeError("storage must have add_step, as JsonStorage and YamlStorage have")
        self.steps = made(steps, "the workflow")

    @property
    def workflow_id(self) -> str | None:
        """The workflow's id: what was given, else made of its name."""
        return self.entity_id

    @property
    def flow_storage(self) -> WorkflowStorage:
        """The storage, which takes steps as well."""
        return cast("WorkflowStorage", self.storage)

    # Running

    def run(
        self,
        input: Any = None,  # noqa: A002 - what it is
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Run:
        """Do the steps, and return the run: completed, with its `output`, or unfinished and `waiting`.

        With a `run_id` that the session has among its last 64 runs, this is that run: it goes on where it was
        interrupted, and one that is completed is returned as it is.

        What a step raises is raised again after the run was stored with status `error`, or `cancelled` for
        KeyboardInterrupt; it has the run as its attribute `run`. Raises Conflict for another input than that of the
        run, or when another process goes on with it, WorkflowChanged when it was begun with other steps, and what a
        storage raises.
        """
        flow = self._flow(input, run_id, session_id or self.session_id, user_id or self.user_id)
        return driver.run(flow.execute)

    async def arun(
        self,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Run:
        """Do what `run` does without blocking the event loop. A cancelled task leaves a run `cancelled`."""
        flow = await run_in_thread(self._flow, input, run_id, session_id or self.session_id, user_id or self.user_id)
        return await driver.arun(flow.execute)

    def stream(
        self,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Generator[Event]:
        """Do the steps, and give what happens as it happens; the last event is RunFinished or RunWaiting.

        Raises what `run` raises. Whoever stops early (`close()`, or the end of a `for` that is left) cancels the run.
        """
        flow = self._flow(input, run_id, session_id or self.session_id, user_id or self.user_id)
        yield from driver.stream_events(flow.execute)

    async def astream(
        self,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> AsyncIterator[Event]:
        """Do what `stream` does without blocking the event loop."""
        flow = await run_in_thread(self._flow, input, run_id, session_id or self.session_id, user_id or self.user_id)
        async with aclosing(driver.astream_events(flow.execute)) as events:
            async for event in events:
                yield event

    def resume(self, *, confirm: bool | None = None) -> Run | None:
        """Go on with the session's last run, when it is not completed; None when there is nothing to go on with.

        `confirm` is the answer to what the run waits for; without it, a run that waits is returned as it is. Raises
        ValueError for an answer when nothing waits, and what `run` raises.
        """
        flow = self._resuming(confirm)
        return None if flow is None else driver.run(flow.execute)

    async def aresume(self, *, confirm: bool | None = None) -> Run | None:
        """Do what `resume` does without blocking the event loop."""
        flow = await run_in_thread(self._resuming, confirm)
        return None if flow is None else await driver.arun(flow.execute)

    def stream_resumed(self, *, confirm: bool | None = None) -> Generator[Event]:
        """Do what `resume` does, and give what happens as it happens; no event when there is nothing to resume."""
        flow = self._resuming(confirm)
        if flow is not None:
            yield from driver.stream_events(flow.execute)

    def print_response(self, input: Any = None, *, markdown: bool = False, show_message: bool = True) -> None:  # noqa: A002
        """Run, and print the input (with `show_message`) and what each step gives, under its name, as it arrives:
        panels on a terminal, else plain text. Raises what `run` raises."""
        from localstore.agents.terminal.response import print_response

        shown = input if isinstance(input, str) else str(to_json_value(input)) if input is not None else ""
        events = _spoken(self.stream(input))
        print_response(shown if show_message and shown else None, events, markdown=markdown, tool_calls=False)

    # Which run

    def _flow(self, given: Any, run_id: str | None, session_id: str, user_id: str | None) -> WorkflowRun:
        """A new run, or the one with this id."""
        value = to_json_value(given, "input")
        if run_id is not None:
            session = self._with_run(run_id, session_id, user_id)
            if session is not None:
                found = next(run for run in reversed(session.runs) if run.run_id == run_id)
                if not json_equal(found.input, value):
                    raise Conflict(
                        f"Run {run_id!r} of session {session_id!r} was begun with another input. Nothing was done. "
                        "Give it the same input, or another run_id.",
                        session_id=session_id,
                    )
                return self._going_on(session, found, session_id, user_id, None)
        run = Run(run_id=run_id or str(uuid4()), input=value, plan=self._plan(), status="unfinished")
        return self._workflow_run(run, session_id, user_id)

    def _resuming(self, confirm: bool | None) -> WorkflowRun | None:
        session = self.read(self.session_id, self.user_id, 1)
        last = session.runs[-1] if session is not None and session.runs else None
        waits = last is not None and last.waiting is not None
        if confirm is not None and not waits:
            raise ValueError(f"Nothing in session {self.session_id!r} waits for a confirmation. Call resume() alone.")
        if last is None or last.status == "completed":
            return None
        session = self.read(self.session_id, self.user_id, None)
        found = None if session is None else next((run for run in session.runs if run.run_id == last.run_id), None)
        if session is None or found is None:
            return None  # somebody removed it just now
        return self._going_on(session, found, self.session_id, self.user_id, confirm)

    def _going_on(
        self, session: Session, run: Run, session_id: str, user_id: str | None, confirm: bool | None
    ) -> WorkflowRun:
        if run.status == "completed":
            if session_id == self.session_id:
                self.shared_state.adopt(session_id, session.session_state)
            return self._workflow_run(run, session_id, user_id, is_stored=True)
        self._refuse_other_steps(run, session_id)
        before: dict[str, Any] = {}
        for entry in session.history:
            if entry is run:
                break
            before = getattr(entry, "session_state", None) or before
        if run.status != "unfinished":  # what ended it is over, and so is the state that it had then
            run.status = "unfinished"
            run.error = run.session_state = run.state_conflicts = run.metrics = None
            self.store_changes(session)
            if session_id == self.session_id:
                self.shared_state.go_back(session_id, before)
        begun_with = self.shared_state.initial | before
        resumed = self._workflow_run(run.model_copy(deep=True), session_id, user_id, is_stored=True)
        resumed.begun_with, resumed.confirm = begun_with, confirm
        return resumed

    def _workflow_run(self, run: Run, session_id: str, user_id: str | None, *, is_stored: bool = False) -> WorkflowRun:
        store = SessionRunStore(self, session_id, user_id, is_stored)
        return WorkflowRun(self.steps, run, store, StepJournal(run, session_id, user_id, self.flow_storage))

    def _with_run(self, run_id: str, session_id: str, user_id: str | None) -> Session | None:
        """The whole session, when it has this run."""
        for count in (_LAST, None):
            session = self.read(session_id, user_id, count)
            if session is None or all(run.run_id != run_id for run in session.runs):
                return None
        return session

    def _plan(self) -> list[str]:
        return [str(part) for part in self.steps]

    def _refuse_other_steps(self, run: Run, session_id: str) -> None:
        then, current = run.plan or [], self._plan()
        for number in range(max(len(then), len(current))):
            old = then[number] if number < len(then) else None
            new = current[number] if number < len(current) else None
            if old != new:
                was = "there was none" if old is None else f"it was {old!r}"
                what = "is gone" if new is None else f"is {new!r}"
                raise WorkflowChanged(
                    f"Run {run.run_id!r} of session {session_id!r} was begun with other steps: step {number + 1} "
                    f"{what} now, and {was} then. Nothing was done. Put the steps back to go on, or begin a new run.",
                    session_id=session_id,
                )


def _spoken(events: Generator[Event]) -> Generator[Event]:
    """The events, with what functions gave said in words."""
    try:
        for event in events:
            if isinstance(event, StepFinished):
                step = event.step
                if step.messages is None or step.error is not None:
                    given = step.error if step.error is not None else step.output
                    yield TextDelta(given if isinstance(given, str) else str(given), event.speaker)
                yield RunFinished(Run(), event.speaker)
            elif isinstance(event, RunWaiting):
                yield TextDelta(f"{event.step.question} (resume(confirm=True) goes on.)", event.step.name)
            else:
                yield event
    finally:
        events.close()

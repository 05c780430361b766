"""A workflow: steps that are functions, agents and teams, and a session that records the completed ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from localstore.agents.events import Event, RunFinished, RunWaiting, StepFinished, TextDelta
from localstore.agents.runs import driver
from localstore.agents.runs.run_store import SessionRunStore
from localstore.agents.runs.step_journal import StepJournal
from localstore.agents.runs.workflow_run import WorkflowRun
from localstore.agents.session_owner import SessionOwner
from localstore.agents.steps import StepLike, parts_of
from localstore.errors import Conflict, WorkflowChanged
from localstore.format.values import json_equal, to_json_value
from localstore.models.schema import Kind
from localstore.models.session import Run, Session
from localstore.storage.contract import WorkflowStorage
from localstore.storage.threads import run_in_thread

if TYPE_CHECKING:
    from pydantic import BaseModel

_SEARCHED_RUNS = 64
"""How many of a session's last runs are searched for a given `run_id`."""


class Workflow(SessionOwner):
    """Runs steps in order, each with the output of the previous one, and stores each step as soon as it ends.

    A step is a function (plain or async), an Agent, a Team, a Task (one of these with options), or a Parallel,
    Condition or Loop of steps. The first parameter of a function receives the previous step's output (the workflow's
    input for the first step), converted to the type it is annotated with. A parameter annotated with StepContext
    receives the state, the ids and the outputs so far. Outputs are stored as JSON values, and the next step receives
    the stored value, so that a resumed workflow does exactly the same as one that was never interrupted.

    An agent receives its input as a question (text unchanged, other values as JSON). Its output is the answer, or the
    data if it has a `response_model`. With `add_history_to_messages=True`, it also receives the messages of the same
    step in earlier runs of the session. Agents use the workflow's session, state and storage instead of their own.

    **State.** All steps share `session_state`. The changes of a step are stored with it; a step that fails changes
    nothing. When the run ends, its changes are merged with those of other runs, as for an Agent.

    **Resuming.** After a crash, an error, Ctrl-C or the cancellation of the task, a run continues after its last
    completed step: call `resume()`, or call `run` again with the same input and `run_id`. Completed steps are not
    repeated; the interrupted step starts again. If two processes resume the same run, the one that stores a step later
    raises Conflict.

    **Confirmation.** Before a Task with `confirm`, the run is stored and returned, and `run.waiting` is the task's
    step. `resume(confirm=True)` continues the run, in any process and at any time; `resume(confirm=False)` cancels it.

    Several threads and tasks may use one workflow at the same time, also for different sessions.

    >>> from localstore import Workflow
    >>> def add(number: int) -> int:
    ...     return number + 1
    >>> def double(number: int) -> int:
    ...     return number * 2
    >>> Workflow(steps=[add, double]).run(20).output
    42
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
        session_state: dict[str, Any] | BaseModel | None = None,
        state_model: type[BaseModel] | None = None,
        strict_state: bool = False,
    ) -> None:
        """Create a workflow. Raises TypeError or ValueError if an argument is invalid; the message says what to pass.

        Args:
            steps: The steps, in order. No two may have the same name.
            name: The workflow's name, shown to people.
            workflow_id: The id to store with the workflow's sessions. Derived from `name` by default.
            session_id: The session to use; it may exist already. A new one by default.
            user_id: The owner of the sessions.
            storage: Where sessions are stored, such as `JsonStorage(path)`; by default in memory.
            session_state: The initial state: it applies to keys that the session does not have yet.
            state_model: A pydantic class for the state. `session_state` stays a dict, but its values have the types of
                the fields, also after the session was read again: sets, dates, models. Without it, values come back as
                JSON values, and a warning names those that change their type.
            strict_state: Whether the run fails with StateConflict if another run has changed the same key of the state.
        """
        super().__init__(
            name=name,
            entity_id=workflow_id,
            session_id=session_id,
            user_id=user_id,
            storage=storage,
            session_state=session_state,
            state_model=state_model,
            strict_state=strict_state,
        )
        if not hasattr(self.storage, "add_step"):
            raise TypeError("storage must have add_step, as JsonStorage and YamlStorage have")
        self.steps = parts_of(steps, "the workflow")

    @property
    def workflow_id(self) -> str | None:
        """The id stored with the workflow's sessions, or None if it has neither an id nor a name."""
        return self.entity_id

    @property
    def _workflow_storage(self) -> WorkflowStorage:
        """The storage, typed as one that can add steps."""
        return cast("WorkflowStorage", self.storage)

    # Running

    def run(
        self,
        input: Any = None,  # noqa: A002 - the parameter is the input
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Run:
        """Run the steps, and return the run.

        The run is completed and has an `output`, or it is unfinished and `waiting` is the step to confirm. If a step
        raises an error, the run is stored with status `error`, and the error is raised again with the run as its
        attribute `run`. After KeyboardInterrupt, the status is `cancelled`.

        Args:
            input: The input of the first step: any value that can be stored as JSON.
            run_id: The id of the run, by default a random one. If one of the session's last 64 runs has this id, that
                run continues where it was interrupted, or is returned unchanged if it is completed.
            session_id: The session to use instead of the workflow's current one.
            user_id: The user to use instead of the workflow's `user_id`.

        Raises Conflict if the run was begun with a different input or another process is working on it, WorkflowChanged
        if it was begun with different steps, and errors of the storage.
        """
        workflow_run = self._new_or_stored_run(input, run_id, session_id, user_id)
        return driver.run(workflow_run.execute)

    async def arun(
        self,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Run:
        """Do the same as `run` without blocking the event loop. Cancelling the task cancels the run."""
        workflow_run = await run_in_thread(
            self._new_or_stored_run, input, run_id, session_id or self.session_id, user_id or self.user_id
        )
        return await driver.arun(workflow_run.execute)

    def stream(
        self,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Generator[Event]:
        """Run the steps, and yield the events of the run as they happen. The last one is RunFinished or RunWaiting.

        The arguments and errors are those of `run`. If the generator is closed early, for example by leaving a `for`
        loop, the run is stored as `cancelled`.
        """
        workflow_run = self._new_or_stored_run(input, run_id, session_id, user_id)
        yield from driver.stream_events(workflow_run.execute)

    async def astream(
        self,
        input: Any = None,  # noqa: A002
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> AsyncIterator[Event]:
        """Do the same as `stream` without blocking the event loop."""
        workflow_run = await run_in_thread(
            self._new_or_stored_run, input, run_id, session_id or self.session_id, user_id or self.user_id
        )
        async with aclosing(driver.astream_events(workflow_run.execute)) as events:
            async for event in events:
                yield event

    def resume(self, *, confirm: bool | None = None) -> Run | None:
        """Continue the session's last run if it is not completed; return it, or None if there is nothing to resume.

        `confirm` answers the question of a waiting step: True runs the step, False cancels the run. If it is None, a
        waiting run is returned and keeps waiting. Raises ValueError if `confirm` is given and no step is waiting, and
        the same errors as `run`.
        """
        workflow_run = self._run_to_resume(confirm)
        return None if workflow_run is None else driver.run(workflow_run.execute)

    async def aresume(self, *, confirm: bool | None = None) -> Run | None:
        """Do the same as `resume` without blocking the event loop."""
        workflow_run = await run_in_thread(self._run_to_resume, confirm)
        return None if workflow_run is None else await driver.arun(workflow_run.execute)

    def stream_resumed(self, *, confirm: bool | None = None) -> Generator[Event]:
        """Do the same as `resume`, and yield events as they happen; yield none if there is nothing to resume."""
        workflow_run = self._run_to_resume(confirm)
        if workflow_run is not None:
            yield from driver.stream_events(workflow_run.execute)

    def print_response(self, input: Any = None, *, markdown: bool = False, show_message: bool = True) -> None:  # noqa: A002
        """Run the steps, and print the output of each under its name, as it arrives.

        On a terminal, each output is shown in a panel; otherwise it is printed as plain text. If `markdown` is true,
        outputs on a terminal or in a Jupyter notebook are rendered as Markdown. If `show_message` is true, the input is
        printed as well. Raises the same errors as `run`.
        """
        from localstore.agents.terminal.response import print_response

        shown = input if isinstance(input, str) else str(to_json_value(input)) if input is not None else ""
        events = _as_messages(self.stream(input))
        print_response(shown if show_message and shown else None, events, markdown=markdown, tool_calls=False)

    # Which run

    def _new_or_stored_run(
        self, value: Any, run_id: str | None, session_id: str | None, user_id: str | None
    ) -> WorkflowRun:
        """Return the stored run with id `run_id`, or a new run if there is none. Raises the errors of `run`."""
        session_id, user_id = session_id or self.session_id, user_id or self.user_id
        value = to_json_value(value, "input")
        if run_id is not None:
            session = self._with_run(run_id, session_id, user_id)
            if session is not None:
                run = next(run for run in reversed(session.runs) if run.run_id == run_id)
                if not json_equal(run.input, value):
                    raise Conflict(
                        f"Run {run_id!r} of session {session_id!r} was begun with another input. Nothing was done. "
                        "Give it the same input, or another run_id.",
                        session_id=session_id,
                    )
                return self._continued(session, run, session_id, user_id, None)
        run = Run(run_id=run_id or str(uuid4()), input=value, plan=self._plan(), status="unfinished")
        return self._workflow_run(run, session_id, user_id)

    def _run_to_resume(self, confirm: bool | None) -> WorkflowRun | None:
        session = self.read(self.session_id, self.user_id, 1)
        last = session.runs[-1] if session is not None and session.runs else None
        waits = last is not None and last.waiting is not None
        if confirm is not None and not waits:
            raise ValueError(f"Nothing in session {self.session_id!r} waits for a confirmation. Call resume() alone.")
        if last is None or last.status == "completed":
            return None
        session = self.read(self.session_id, self.user_id, None)
        run = None if session is None else next((run for run in session.runs if run.run_id == last.run_id), None)
        if session is None or run is None:
            return None  # another process has removed it
        return self._continued(session, run, self.session_id, self.user_id, confirm)

    def _continued(
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
        if run.status != "unfinished":  # discard its outcome and the state stored with it
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
        return WorkflowRun(self.steps, run, store, StepJournal(run, session_id, user_id, self._workflow_storage))

    def _with_run(self, run_id: str, session_id: str, user_id: str | None) -> Session | None:
        """Return the whole session if one of its last _SEARCHED_RUNS runs has this id, otherwise None."""
        for count in (_SEARCHED_RUNS, None):
            session = self.read(session_id, user_id, count)
            if session is None or all(run.run_id != run_id for run in session.runs):
                return None
        return session

    def _plan(self) -> list[str]:
        return [str(part) for part in self.steps]

    def _refuse_other_steps(self, run: Run, session_id: str) -> None:
        stored, current = run.plan or [], self._plan()
        for number in range(max(len(stored), len(current))):
            old = stored[number] if number < len(stored) else None
            new = current[number] if number < len(current) else None
            if old != new:
                was = "there was none" if old is None else f"it was {old!r}"
                what = "is gone" if new is None else f"is {new!r}"
                raise WorkflowChanged(
                    f"Run {run.run_id!r} of session {session_id!r} was begun with other steps: step {number + 1} "
                    f"{what} now, and {was} then. Nothing was done. Put the steps back to go on, or begin a new run.",
                    session_id=session_id,
                )


def _as_messages(events: Generator[Event]) -> Generator[Event]:
    """Yield the events of a workflow in the form of a team's events, with the steps as members."""
    try:
        for event in events:
            if isinstance(event, StepFinished):
                step = event.step
                if step.messages is None or step.error is not None:
                    text = step.error if step.error is not None else step.output
                    yield TextDelta(text if isinstance(text, str) else str(text), event.speaker)
                yield RunFinished(Run(), event.speaker)
            elif isinstance(event, RunWaiting):
                yield TextDelta(f"{event.step.question} (resume(confirm=True) goes on.)", event.step.name)
            else:
                yield event
    finally:
        events.close()

"""Executes a run of an agent: stores the question, alternates between model and tools, and stores the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Protocol

from localstore.agents.events import RunFinished, RunStarted, TextDelta, ToolCallFinished, ToolCallStarted
from localstore.agents.models.model import Options, Reply, answered_by, redacted
from localstore.agents.prompts.prompt import system_message
from localstore.agents.prompts.structured_output import correction_request, parse_answer
from localstore.agents.run_spec import RunSpec
from localstore.agents.runs.driver import Driver
from localstore.agents.runs.run_store import RunStart, RunStore
from localstore.agents.runs.summary_update import SummaryUpdate
from localstore.agents.runs.token_count import TokenCount
from localstore.agents.session_state import State, state_changes
from localstore.agents.tools.tool import Result, RunContext, Tool, unknown_tool
from localstore.errors import ResponseInvalid, StateConflict, UnstorableValue
from localstore.format.values import to_json_value
from localstore.models.schema import RunStatus
from localstore.models.session import Message, Run, ToolCall

_SAVE_EVERY = 0.2
"""The minimum number of seconds between two writes of a partial answer."""
_SAVE_SHARE = 10
"""The minimum time between two writes of a partial answer, as a multiple of the duration of the last write."""


class Members(Protocol):
    """The interface to a team's members that the run of their leader uses."""

    routed_answer: Message | None
    """The answer of the member that the question was routed to, or None if there is none yet."""
    routed_finish_reason: str | None
    """The `finish_reason` of that answer."""

    async def begin(self, driver: Driver, start: RunStart) -> None:
        """Prepare for the leader's run, which begins with `start`. In mode `collaborate`, ask all members."""
        ...

    def with_answers(self, messages: list[Message]) -> list[Message]:
        """Return the leader's messages, in mode `collaborate` with the members' answers after the question."""
        ...

    def handles(self, tool: Tool) -> bool:
        """Return whether `tool` is the tool that asks members, so that its calls must go to `results`."""
        ...

    async def results(self, driver: Driver, tool: Tool, calls: Sequence[ToolCall], context: RunContext) -> list[Result]:
        """Ask members as the leader's calls of this tool request. Return one result per call, in the same order."""
        ...

    def as_stored(self, run: Run) -> Run:
        """Return the leader's unfinished run in the form to store. `run` itself is not changed."""
        ...


@dataclass(slots=True)
class AgentRun:
    """Executes and stores one run of an agent, or of the leader of a team."""

    spec: RunSpec
    run: Run
    store: RunStore
    members: Members | None = None
    tokens: TokenCount = field(default_factory=TokenCount)
    speaker: str | None = None
    """The path of a team member or a workflow step, as in the events of the run; None for the caller's own run."""
    summary_update: SummaryUpdate | None = None

    _state: State = field(default_factory=dict)
    _recorded_state: State | None = None
    """The state after the last tool call whose changes are recorded in the run's messages."""
    _finish_reason: str | None = None
    """Why the last reply is not complete; None if it is, or if there is none."""
    _answering_model: str | None = None
    """The model that gave the last reply, if it said so."""
    _started: float = 0.0
    _received: list[str] = field(default_factory=list)
    """The pieces of text received so far of the reply being streamed. `_received_calls` are its tool calls."""
    _received_calls: list[ToolCall] = field(default_factory=list)
    _saved: float = 0.0
    _save_after: float = 0.0

    async def execute(self, driver: Driver) -> Run:
        """Execute the run to its end, and return the stored run.

        Every exception, including KeyboardInterrupt and cancellation, is raised again after the run has been stored as
        failed or cancelled.
        """
        try:
            start = await driver.write(partial(self.store.begin, self.run, self.spec.runs_needed, self.spec.history))
            self._state = start.state
            self._started = self._saved = perf_counter()
            self._save_after = _SAVE_EVERY
            await driver.emit(RunStarted(self.store.session_id, self.run.run_id, self.speaker))
            if self.members is not None:
                await self.members.begin(driver, start)
            await self._answer(driver, self._prompt(start))
            await driver.write(self._finish)
        except BaseException as error:
            await driver.write(partial(self._store_failure, error))  # no event: the consumer may be gone
            raise
        self.store.warn_of_changed_types()
        await driver.emit(RunFinished(self.run, self.speaker))
        if self.summary_update is not None:
            await self.summary_update.execute(driver)
        return self.run

    def _prompt(self, start: RunStart) -> list[Message]:
        """Return the messages before the question: the system message, the examples and the history."""
        spec = self.spec
        summary = start.summary if spec.summaries is not None else None
        return [*system_message(spec.instructions, start.state, summary), *spec.examples, *start.history]

    async def _answer(self, driver: Driver, prompt: list[Message]) -> None:
        spec, output = self.spec, self.spec.response_model
        schemas = tuple(tool.schema for tool in spec.tools.values())
        rounds = 0
        while True:
            may_call = rounds < spec.max_tool_rounds
            await self._ask(driver, prompt, Options(schemas, may_call, output))
            calls = self.run.messages[-1].tool_calls
            if not calls:
                break
            if not may_call:
                raise RuntimeError(
                    f"The model asked for tools more than {spec.max_tool_rounds} times and was told to answer. Give "
                    "it more: max_tool_rounds=..., or ask for less at once."
                )
            await self._call_tools(driver, calls)
            if self.members is not None and self.members.routed_answer is not None:
                self.run.messages.append(self.members.routed_answer)
                self._finish_reason = self.members.routed_finish_reason
                break
            rounds += 1
            await driver.write(partial(self._write, self.run))
        if output is None:
            return
        try:
            self.run.keep_output(parse_answer(output, self.run.answer))
        except ResponseInvalid as error:
            self.run.messages.append(correction_request(error))
            await self._ask(driver, prompt, Options(schemas, may_call=False, output=output))
            try:
                self.run.keep_output(parse_answer(output, self.run.answer))
            except ResponseInvalid as second:
                if self._finish_reason is not None:
                    second.add_note(f"The answer is not complete (finish_reason: {self._finish_reason}).")
                raise

    async def _ask(self, driver: Driver, prompt: list[Message], options: Options) -> None:
        """Ask the model, and append its reply to the messages of the run."""
        messages = self.run.messages if self.members is None else self.members.with_answers(self.run.messages)
        messages = [*prompt, *messages]
        self._finish_reason = None
        if driver.is_streaming or self.spec.save_partial:
            reply = await self._stream(driver, messages, options)
        else:
            reply = await driver.ask(self.spec.model, messages, options)
        self.tokens.add(reply)
        self._finish_reason = reply.finish_reason
        self._answering_model = reply.model or self._answering_model
        self.run.messages.append(reply.message)
        self._received, self._received_calls = [], []

    async def _stream(self, driver: Driver, messages: Sequence[Message], options: Options) -> Reply:
        async with aclosing(driver.pieces(self.spec.model, messages, options)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece
                if isinstance(piece, ToolCall):
                    self._received_calls.append(piece)
                    await driver.emit(ToolCallStarted(piece, self.speaker))
                    continue
                self._received.append(piece)
                await driver.emit(TextDelta(piece, self.speaker))
                if self.spec.save_partial and perf_counter() - self._saved > self._save_after:
                    await driver.write(self._save_partial)
        raise RuntimeError(f"The model {self.spec.model.id} gave an answer in pieces without a Reply at the end.")

    async def _call_tools(self, driver: Driver, calls: list[ToolCall]) -> None:
        """Call the requested tools, in groups of calls that may run concurrently, and append their results."""
        tools = self.spec.tools
        if self._recorded_state is None:
            self._recorded_state = self._storable_state()
        for group in _concurrent_groups(calls, tools):
            tool = tools.get(group[0].name)
            results = [unknown_tool(group[0], tools)] if tool is None else await self._results(driver, tool, group)
            results = [self._without_secrets(result) for result in results]
            for call, result in zip(group, results, strict=True):
                self.run.messages.append(Message(role="tool", content=result.text, tool_call_id=call.id))
            self._record_state_changes()
            for call, result in zip(group, results, strict=True):  # last: the consumer may leave at any event
                await driver.emit(ToolCallFinished(call, result.text, result.failed, self.speaker))

    async def _results(self, driver: Driver, tool: Tool, calls: Sequence[ToolCall]) -> list[Result]:
        context = RunContext(self.store.session_id, self.run.run_id, self.store.user_id, self._state)
        if self.members is not None and self.members.handles(tool):
            return await self.members.results(driver, tool, calls, context)
        return await driver.call_tools([(self.spec.tools[call.name], call) for call in calls], context)

    def _without_secrets(self, result: Result) -> Result:
        """Return the result of a tool. The text of an error is returned without the secrets of the model."""
        return replace(result, text=redacted(self.spec.model, result.text)) if result.failed else result

    def _record_state_changes(self) -> None:
        """Record the state changes of tools in the last message. A run resumed after a crash applies them again."""
        state = self._storable_state()
        if state is None:
            return
        if self._recorded_state is not None:
            self.run.messages[-1].state_changes = state_changes(self._recorded_state, state)
        self._recorded_state = state

    def _storable_state(self) -> State | None:
        """Return a copy of the state as JSON values, or None if it cannot be stored, which fails the run at its end."""
        try:
            state: State = to_json_value(self._state, "session_state")
        except UnstorableValue:
            return None
        return state

    # Storing

    def _write(self, run: Run) -> None:
        self.store.write(run if self.members is None else self.members.as_stored(run))

    def _save_partial(self) -> None:
        began = perf_counter()
        text = "".join(self._received).rstrip("\n")
        messages = [*self.run.messages, Message(role="assistant", content=text)]
        self._write(self.run.model_copy(update={"messages": messages}))
        self._saved = perf_counter()
        self._save_after = max(_SAVE_EVERY, _SAVE_SHARE * (self._saved - began))

    def _finish(self) -> None:
        try:
            self._end(self.run, "completed")
        except Exception as error:
            error.run = self.run  # type: ignore[attr-defined]
            error.add_note("The model had answered. The answer could not be stored; it is in this error's `run`.")
            raise

    def _store_failure(self, error: BaseException) -> None:
        """Store the run as failed or cancelled. If that fails too, add a note to `error`, which the caller raises."""
        if not self.store.has_begun:
            return
        if self._received or self._received_calls:
            text = "".join(self._received) or None
            self.run.messages.append(Message(role="assistant", content=text, tool_calls=self._received_calls or None))
        run = self.run.model_copy()  # the error of `_finish` keeps the answered run
        failed = isinstance(error, Exception)  # otherwise KeyboardInterrupt, asyncio.CancelledError, ConsumerGone
        if failed:
            run.error = error_text(error)
        try:
            self._end(run, "error" if failed else "cancelled", with_state=not isinstance(error, StateConflict))
        except Exception as second:  # noqa: BLE001 - the first error is the one to raise
            error.add_note(f"The run could not be stored as failed: {error_text(second)}")

    def _end(self, run: Run, status: RunStatus, *, with_state: bool = True) -> None:
        requested = self.spec.model.id
        run.model = self._answering_model or requested
        run.requested_model = None if run.model == requested else requested
        run.answered_by = answered_by(self.spec.model)
        run.finish_reason = self._finish_reason
        run.metrics = self.tokens.metrics(perf_counter() - self._started)
        run.status = status
        self.store.end(run, instructions=self.spec.instructions, with_state=with_state)


def _concurrent_groups(calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> list[list[ToolCall]]:
    """Split the calls of a reply into groups of consecutive calls that may run concurrently, in the same order."""
    groups: list[list[ToolCall]] = []
    for call in calls:
        previous = tools.get(groups[-1][-1].name) if groups else None
        if previous is not None and previous.may_run_with(tools.get(call.name)):
            groups[-1].append(call)
        else:
            groups.append([call])
    return groups


def error_text(error: BaseException) -> str:
    """Return an error with its notes as text that can be stored. Lone surrogates in file names are escaped."""
    text = " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
    return text.encode(errors="backslashreplace").decode()

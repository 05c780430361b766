"""One run of an agent: the question is stored, the model and its tools take turns, the answer is stored."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from localstore.agents.events import Event, RunFinished, RunStarted, TextDelta, ToolCallFinished, ToolCallStarted
from localstore.agents.models.model import Options, Reply
from localstore.agents.prompts.prompt import system_message
from localstore.agents.prompts.structured_output import parsed, repair
from localstore.agents.run_spec import RunSpec
from localstore.agents.runs.driver import Ask, Blocking, CallTools, Close, Effect, Next, Open, Steps
from localstore.agents.runs.run_store import RunStart, RunStore
from localstore.agents.runs.summary_update import SummaryUpdate
from localstore.agents.session_state import State, state_changes
from localstore.agents.tools.tool import Result, RunContext, unknown
from localstore.errors import ResponseInvalid, StateConflict, UnstorableValue
from localstore.format.values import to_json_value
from localstore.models.session import Message, Metrics, Run, ToolCall

_SAVE_EVERY = 0.2
"""Seconds between two writes of a partial answer."""
_SAVE_SHARE = 10
"""A write of a partial answer may take one part in so many of the time."""


@dataclass(slots=True)
class AgentRun:
    """A run on its way. `steps` is the run; whoever drives it does what it yields."""

    spec: RunSpec
    run: Run
    store: RunStore
    afterwards: SummaryUpdate | None = None
    streams: bool = False
    speaker: str | None = None
    """Who runs, where it is a member of a team or a step of a workflow."""

    _live: State = field(default_factory=dict)
    _started: float = 0.0
    _tokens: dict[str, int] = field(default_factory=dict)
    _arrived: list[str] = field(default_factory=list)
    _arrived_calls: list[ToolCall] = field(default_factory=list)
    _saved: float = 0.0
    _wait: float = 0.0

    def steps(self) -> Steps:
        try:
            start = yield Blocking(lambda: self.store.begin(self.run, self.spec.runs_needed, self.spec.history))
            yield RunStarted(self.store.session_id, self.run.run_id, self.speaker)
            self._live = start.state
            self._started = self._saved = perf_counter()
            self._wait = _SAVE_EVERY
            yield from self._answer(self._prompt(start))
            yield Blocking(self._finish)
        except BaseException as error:
            yield Blocking(partial(self._store_failure, error))  # and no event: whoever listened may be gone
            raise
        yield RunFinished(self.run, self.speaker)
        if self.afterwards is not None:
            yield from self.afterwards.steps()

    def _prompt(self, start: RunStart) -> list[Message]:
        """Return what the model is given before the question."""
        spec = self.spec
        summary = start.summary if spec.summaries is not None else None
        return [*system_message(spec.instructions, start.state, summary), *spec.examples, *start.history]

    def _answer(self, prompt: list[Message]) -> Generator[Effect | Event, Any, None]:
        spec, output = self.spec, self.spec.response_model
        schemas = tuple(tool.schema for tool in spec.tools.values())
        rounds = 0
        while True:
            may_call = rounds < spec.max_tool_rounds
            yield from self._ask(prompt, Options(schemas, may_call, output))
            calls = self.run.messages[-1].tool_calls
            if not calls:
                break
            if not may_call:
                raise RuntimeError(
                    f"The model asked for tools more than {spec.max_tool_rounds} times and was told to answer. Give "
                    "it more: max_tool_rounds=..., or ask for less at once."
                )
            yield from self._call_tools(calls)
            if self.run.messages[-1].role == "assistant":  # one who was called has answered
                break
            rounds += 1
            yield Blocking(lambda: self._write(self.run))
        if output is None:
            return
        try:
            self.run.keep_output(parsed(output, self.run.answer))
        except ResponseInvalid as error:
            self.run.messages.append(repair(error))
            yield from self._ask(prompt, Options(schemas, may_call=False, output=output))
            self.run.keep_output(parsed(output, self.run.answer))

    def _ask(self, prompt: list[Message], options: Options) -> Generator[Effect | Event, Any, None]:
        """One answer of the model, added to the run's messages."""
        messages = self._conversation(prompt)
        if self.streams or self.spec.save_partial:
            reply = yield from self._stream(messages, options)
        else:
            reply = yield Ask(self.spec.model, messages, options)
        for name in ("input_tokens", "output_tokens"):
            if (used := getattr(reply, name)) is not None:
                self._tokens[name] = self._tokens.get(name, 0) + used
        self.run.messages.append(reply.message)
        self._arrived, self._arrived_calls = [], []

    def _conversation(self, prompt: list[Message]) -> list[Message]:
        """What the model is given."""
        return [*prompt, *self.run.messages]

    def _stream(self, messages: Sequence[Message], options: Options) -> Generator[Effect | Event, Any, Reply]:
        pieces = yield Open(self.spec.model, messages, options)
        try:
            while (piece := (yield Next(pieces))) is not None:
                if isinstance(piece, Reply):
                    return piece
                if isinstance(piece, ToolCall):
                    self._arrived_calls.append(piece)
                    yield ToolCallStarted(piece, self.speaker)
                    continue
                self._arrived.append(piece)
                yield TextDelta(piece, self.speaker)
                if self.spec.save_partial and perf_counter() - self._saved > self._wait:
                    yield Blocking(self._save_partial)
        finally:
            yield Close(pieces)
        raise RuntimeError(f"The model {self.spec.model.id} gave an answer in pieces without a Reply at the end.")

    def _call_tools(self, calls: list[ToolCall]) -> Generator[Effect | Event, Any, None]:
        """Call what the model asked for; what may go on at once, where it stands side by side, together."""
        tools = self.spec.tools
        if not self.streams and not self.spec.save_partial:
            for call in calls:
                yield ToolCallStarted(call, self.speaker)
        at = 0
        while at < len(calls):
            tool = tools.get(calls[at].name)
            end = at + 1
            while tool is not None and tool.may_go_together(tools.get(calls[end].name) if end < len(calls) else None):
                end += 1
            group, before = calls[at:end], self._stored_state()
            results = [unknown(group[0], tools)] if tool is None else (yield from self._results(group))
            for call, result in zip(group, results, strict=True):
                self.run.messages.append(Message(role="tool", content=result.text, tool_call_id=call.id))
                yield ToolCallFinished(call, result.text, result.failed, self.speaker)
            # With the round, so that a run that is killed goes on with what its tools changed.
            after = self._stored_state()
            if before is not None and after is not None:
                self.run.messages[-1].state_changes = state_changes(before, after)
            at = end

    def _stored_state(self) -> State | None:
        """The state as it would be stored; None when it cannot be, which is told at the end."""
        try:
            state: State = to_json_value(self._live, "session_state")
        except UnstorableValue:
            return None
        return state

    def _results(self, calls: Sequence[ToolCall]) -> Generator[Effect | Event, Any, list[Result]]:
        context = RunContext(self.store.session_id, self.run.run_id, self.store.user_id, self._live)
        tools = self.spec.tools
        results: list[Result] = yield CallTools([(tools[call.name], call) for call in calls], context)
        return results

    # Storing

    def _write(self, run: Run) -> None:
        self.store.write(run)

    def _save_partial(self) -> None:
        began = perf_counter()
        text = "".join(self._arrived).rstrip("\n")
        messages = [*self.run.messages, Message(role="assistant", content=text)]
        self._write(self.run.model_copy(update={"messages": messages}))
        self._saved = perf_counter()
        self._wait = max(_SAVE_EVERY, _SAVE_SHARE * (self._saved - began))

    def _finish(self) -> None:
        try:
            self._store(self.run, "completed")
        except Exception as error:
            # The answer is there, and whoever asked shall not lose it.
            error.run = self.run  # type: ignore[attr-defined]
            error.add_note("The model had answered. The answer could not be stored; it is in this error's `run`.")
            raise

    def _store_failure(self, error: BaseException) -> None:
        """Store how the run ended. Never raises instead of `error`, which is about to be raised again."""
        if not self.store.has_begun:
            return
        if self._arrived or self._arrived_calls:
            text = "".join(self._arrived) or None
            self.run.messages.append(Message(role="assistant", content=text, tool_calls=self._arrived_calls or None))
        run = self.run.model_copy()  # the one of `_finish` stays as it is
        failed = isinstance(error, Exception)  # else KeyboardInterrupt, asyncio.CancelledError, Left
        if failed:
            # A file name in the text may hold what is not Unicode.
            said = " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
            run.error = said.encode(errors="backslashreplace").decode()
        try:
            self._store(run, "error" if failed else "cancelled", with_state=not isinstance(error, StateConflict))
        except Exception as second:  # noqa: BLE001 - whatever it is, the first error is the one to raise
            error.add_note(f"The run could not be stored as failed: {type(second).__name__}: {second}")

    def _store(self, run: Run, status: str, *, with_state: bool = True) -> None:
        run.model = self.spec.model.id
        run.metrics = Metrics(duration_seconds=round(perf_counter() - self._started, 3), **self._tokens)
        run.status = status
        self.store.end(run, instructions=self.spec.instructions, with_state=with_state)

"""An agent that remembers: it asks a model, and a storage keeps every run of the conversation."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from localstore.agents.memory import AgentStorage, Memory
from localstore.agents.models import Model, Reply
from localstore.agents.state import SharedState
from localstore.sessions import Message, Metrics, Run, Session

_P = ParamSpec("_P")
_T = TypeVar("_T")

Question = str | Message | Sequence[Message]

_FURTHER_BACK = 32
"""How many runs more are read, once, when some of the newest ones failed or were never finished."""


@dataclass(slots=True)
class _Call:
    """A run on its way: what is asked, and what its session holds."""

    session_id: str
    user_id: str | None
    run: Run
    question_stored: bool = False
    state: dict[str, Any] = field(default_factory=dict)
    instructions: str | None = None
    started: float = 0.0


class Agent:
    """Answers questions with a model and stores each run in a session.

    The question is stored as an unfinished run before the model is called; its answer, or how it failed, finishes
    that run. With `add_history_to_messages` the model is given the messages of the last `num_history_runs` completed
    runs. The cost of a run does not depend on the length of the session. Without `storage` the runs are kept in
    memory.

    `session_state` follows the session: at the start of a run it takes over what is stored there, except for the
    top-level keys that were changed on `agent.session_state` since; it is stored with the run when it changed. The
    state that the agent is made with holds where the session has none.

    A session that was deleted after the agent has seen it does not come back: `run` raises SessionNotFound.
    """

    def __init__(
        self,
        *,
        model: Model,
        name: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        storage: AgentStorage | None = None,
        session_state: dict[str, Any] | None = None,
        instructions: str | Sequence[str] | None = None,
        add_history_to_messages: bool = False,
        num_history_runs: int = 3,
    ) -> None:
        if not hasattr(model, "respond"):
            raise TypeError(f"model must be a model such as OpenAIChat(id={str(model)!r}), not {_kind(model)}")
        if storage is not None and not hasattr(storage, "append"):
            raise TypeError(f"storage must be a storage such as JsonStorage({str(storage)!r}), not {_kind(storage)}")
        if session_state is not None and not isinstance(session_state, dict):
            raise TypeError(f"session_state must be a dict, not {_kind(session_state)}")
        self.model = model
        self.name = name
        self.agent_id = agent_id or _slug(name)
        self.session_id = session_id or str(uuid4())
        self.user_id = user_id
        self.storage: AgentStorage = Memory() if storage is None else storage
        self.instructions = instructions
        self.add_history_to_messages = add_history_to_messages
        self.num_history_runs = num_history_runs
        self._state = SharedState(session_state)
        self._seen: str | None = None
        """The id of the session that this agent has read or created."""

    @property
    def session_state(self) -> dict[str, Any]:
        """The state of the session; change it in place or assign a new one."""
        return self._state.live

    @session_state.setter
    def session_state(self, value: dict[str, Any]) -> None:
        self._state.live = value

    def run(self, message: Question) -> Run:
        """Ask the model and return the stored run.

        What the model raises is raised again after the run was stored with status `error`, or `cancelled` for
        KeyboardInterrupt. Errors of the storage: OwnerMismatch, SessionNotFound, DocumentBroken, UnstorableValue,
        LockTimeout, OSError; those that are known before the model is called are raised before.
        """
        call = self._new_call(message)
        try:
            messages = self._begin(call)
            reply = self.model.respond(messages)
        except BaseException as error:
            self._store_failure(call, error)
            raise
        return self._finish(call, reply)

    async def arun(self, message: Question) -> Run:
        """Do what `run` does without blocking the event loop. A cancelled task leaves a run `cancelled`."""
        call = self._new_call(message)
        try:
            messages = await _in_thread(self._begin, call)
            reply = await self.model.arespond(messages)
        except BaseException as error:
            await _in_thread(self._store_failure, call, error)
            raise
        return await _in_thread(self._finish, call, reply)

    def print_response(self, message: Question, *, markdown: bool = False, show_message: bool = True) -> None:
        """Run, and print the question (with `show_message`) and the answer: panels on a terminal, else plain text.

        `markdown` renders the answer as Markdown on a terminal. Raises what `run` raises.
        """
        from localstore.agents.terminal import print_response

        question = "\n".join(item.text for item in _messages(message)) if show_message else None
        print_response(question, lambda: self.run(message).answer, markdown=markdown)

    def get_messages_for_session(self, session_id: str | None = None) -> list[Message]:
        """All messages of this session or of another one of this user, oldest first; none when it does not exist."""
        session = self.storage.read(session_id or self.session_id, user_id=self.user_id)
        return [] if session is None else session.messages()

    def _new_call(self, message: Question) -> _Call:
        run = Run(messages=_messages(message), status="unfinished")
        return _Call(self.session_id, self.user_id, run)

    def _begin(self, call: _Call) -> list[Message]:
        """Store the question; returns the messages for the model."""
        self._state.as_stored()  # raises now what would otherwise be raised when the answer is to be stored
        session = self._read(call, self.num_history_runs if self.add_history_to_messages else 0)
        history = self._history(call, session) if session is not None else []
        self._append(call)
        call.question_stored = True
        if session is not None:
            call.state, call.instructions = session.session_state, session.instructions
        self._state.adopt(call.session_id, call.state)
        instructions = self._instructions()
        system = [Message(role="system", content=instructions)] if instructions else []
        call.started = perf_counter()
        return [*system, *history, *call.run.messages]

    def _finish(self, call: _Call, reply: Reply) -> Run:
        call.run.messages.append(reply.message)
        tokens = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
        return self._store(call, status="completed", **tokens)

    def _store_failure(self, call: _Call, error: BaseException) -> None:
        """Store how the run ended. Never raises instead of `error`, which is about to be raised again."""
        if not call.question_stored:
            return
        failed = isinstance(error, Exception)  # else KeyboardInterrupt, asyncio.CancelledError
        if failed:
            # A file name in the text may hold what is not Unicode.
            said = " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
            call.run.error = said.encode(errors="backslashreplace").decode()
        try:
            self._store(call, status="error" if failed else "cancelled")
        except Exception as second:  # noqa: BLE001 - whatever it is, the first error is the one to raise
            error.add_note(f"The run could not be stored as failed: {type(second).__name__}: {second}")

    def _store(self, call: _Call, *, status: str, **tokens: int | None) -> Run:
        run = call.run
        run.model = self.model.id
        run.metrics = Metrics(duration_seconds=round(perf_counter() - call.started, 3), **tokens)
        run.status = status
        instructions = self._instructions()
        if instructions and instructions != call.instructions:
            run.instructions = instructions
        state = self._state.as_stored()
        if state != call.state:
            run.session_state = state
        self._append(call)
        self._state.held = state
        return run

    def _read(self, call: _Call, last_runs: int) -> Session | None:
        session = self.storage.read(call.session_id, user_id=call.user_id, last_runs=last_runs)
        if session is not None:
            self._seen = call.session_id
        return session

    def _append(self, call: _Call) -> None:
        self.storage.append(
            call.session_id,
            call.run,
            user_id=call.user_id,
            entity_id=self.agent_id,
            kind="agent",
            create=self._seen != call.session_id,
        )
        self._seen = call.session_id

    def _history(self, call: _Call, session: Session) -> list[Message]:
        wanted = self.num_history_runs
        completed = _completed(session)
        if len(completed) < wanted == len(session.runs):
            completed = _completed(self._read(call, wanted + _FURTHER_BACK) or session)
        return [message for run in completed[-wanted:] for message in run.messages]

    def _instructions(self) -> str | None:
        if self.instructions is None or isinstance(self.instructions, str):
            return self.instructions or None
        return "\n".join(self.instructions) or None


def _messages(message: Question) -> list[Message]:
    if isinstance(message, str):
        return [Message(role="user", content=message)]
    messages = [message] if isinstance(message, Message) else list(message or ())
    if not all(isinstance(item, Message) for item in messages):
        raise TypeError("The question must be a text, a Message, or a list of Messages.")
    if not messages:
        raise ValueError("There is no message to answer. Pass a text or at least one Message.")
    return messages


def _kind(value: object) -> str:
    return type(value).__name__


def _completed(session: Session) -> list[Run]:
    return [run for run in session.runs if run.status == "completed"]


def _slug(name: str | None) -> str | None:
    return re.sub(r"\W+", "-", (name or "").casefold()).strip("-") or None


async def _in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call the function in a thread. When the task is cancelled meanwhile, wait for it: no write is left alone."""
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError as error:
        await asyncio.wait([call])
        if not call.cancelled() and (failure := call.exception()) is not None:
            error.add_note(f"Meanwhile this failed: {type(failure).__name__}: {failure}")
        raise

"""Asks the questions of a stored session again, each with the stored history before it and without new answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from localstore.agents.agent import Agent
from localstore.agents.models.model import Model
from localstore.agents.prompts.prompt import messages_of_runs, with_state
from localstore.agents.prompts.question import whole_rounds
from localstore.agents.runs import driver
from localstore.agents.runs.agent_run import AgentRun
from localstore.agents.runs.run_store import SessionRunStore
from localstore.models.session import ContentPart, Message, Run, Session, Update

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage


@dataclass(frozen=True, slots=True)
class StoredQuestion:
    """A question from a completed run, with everything that a model needs to answer it again.

    `number` is the number of the run in the session, counted from 1. `asked` contains the run's messages before its
    answer: the question, and the rounds of tool calls with their results. `missing` contains the paths of attached
    files that no longer exist; in `asked`, a line of text replaces each of them.
    """

    number: int
    run: Run
    instructions: str | None
    asked: list[Message]
    missing: tuple[str, ...]
    _completed: list[Run] = field(repr=False)
    _window: slice

    @property
    def history(self) -> list[Message]:
        """The stored messages of the runs before this one, oldest first."""
        return messages_of_runs(self._completed[self._window])

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools that the run called, without duplicates, in the order of their first calls."""
        return tuple(dict.fromkeys(call.name for message in self.asked for call in message.tool_calls or ()))


def stored_questions(session: Session, *, history: int | None = None) -> list[StoredQuestion]:
    """Return the questions of a session's completed runs, oldest first.

    Documents do not record how much history a run was given. Each question gets the messages of the completed runs
    before it, so that all models receive the same input. Its instructions are those of its run. In them, `{key}` is
    replaced by the value from before the run; if the session did not have the key yet, by the value that the run
    stored. Summaries are left out, because the history contains the same information.

    Args:
        session: The session, read with its whole history.
        history: The maximum number of completed runs before each question. None means all.
    """
    questions: list[StoredQuestion] = []
    completed: list[Run] = []
    instructions: str | None = None
    state: dict[str, Any] = {}
    number = 0
    for entry in session.history:
        if not isinstance(entry, (Run, Update)):
            continue
        before = {**(entry.session_state or {}), **state}
        state = state if entry.session_state is None else entry.session_state
        instructions = instructions if entry.instructions is None else entry.instructions
        if not isinstance(entry, Run):
            continue
        number += 1
        if entry.status != "completed":
            continue
        if any(message.role == "user" and message.content for message in entry.messages):
            asked, missing = _without_missing_files(whole_rounds(entry.messages))
            text = with_state(instructions, before) if instructions else None
            window = slice(0 if history is None else max(0, len(completed) - history), len(completed))
            questions.append(StoredQuestion(number, entry, text, asked, missing, completed, window))
        completed.append(entry)
    return questions


def _without_missing_files(messages: Sequence[Message]) -> tuple[list[Message], tuple[str, ...]]:
    """Return the messages with each missing file replaced by a line of text, and the paths of the missing files."""
    missing: list[str] = []

    def replaced(part: ContentPart) -> ContentPart:
        if part.path is None or part.url is not None or Path(part.path).is_file():
            return part
        missing.append(part.path)
        return ContentPart(type="text", text=f"[The file {part.path} no longer exists.]")

    asked = []
    for message in messages:
        if message.role == "user" and isinstance(message.content, list):
            message = message.model_copy(update={"content": [replaced(part) for part in message.content]})
        asked.append(message)
    return asked, tuple(missing)


@dataclass(frozen=True, slots=True)
class Repeated:
    """A stored question, and the new run in which it was asked again. The run is completed or has an `error`."""

    question: StoredQuestion
    run: Run

    @property
    def old(self) -> str:
        """The stored answer."""
        return self.question.run.answer

    @property
    def new(self) -> str | None:
        """The new answer, or None if the run failed."""
        return self.run.answer if self.run.status == "completed" else None


class Replay:
    """Asks the questions of a session again, and stores the answers in a new session of the same owner.

    The new session is created when the first question is asked. Its name contains the name of the old session, and its
    metadata contain the old session's id as `replay_of`. Each new run has the id of the old run as its `replay_of`. The
    new session belongs to no agent. If `storage` is None, nothing is stored.

    The model gets no tools, because functions are not stored. It answers from the stored results of tool calls.
    """

    def __init__(self, session: Session, model: Model, storage: SessionStorage | None = None) -> None:
        self.session_id = str(uuid4())
        self._session = session
        self._storage = storage
        self._has_begun = False
        # If the model requests a tool anyway, it gets one error message and then has to answer.
        self._agent = Agent(
            model=model,
            session_id=self.session_id,
            user_id=session.user_id,
            storage=storage,
            max_tool_rounds=1,
            add_history_to_messages=False,  # each question gets the history of the old session
        )

    @property
    def is_kept(self) -> bool:
        """Whether the new session has been created in the storage."""
        return self._has_begun and self._storage is not None

    def ask(self, question: StoredQuestion) -> Repeated:
        """Ask one question again, and store the new run. If the model fails, the run has status `error`.

        Raises errors of the storage, and KeyboardInterrupt after the run has been stored as cancelled.
        """
        if not self._has_begun:
            self._begin()
            self._has_begun = True
        run = Run(messages=list(question.asked), replay_of=question.run.run_id, status="unfinished")
        self._agent.instructions = question.instructions
        self._agent.examples = question.history
        store = SessionRunStore(self._agent, self.session_id, self._session.user_id)
        try:
            driver.run(AgentRun(self._agent.run_spec(), run, store).execute)
        except Exception:
            stored = self._stored(run.run_id)
            if stored is None or stored.status != "error":
                raise  # not an error of the model
            return Repeated(question, stored)
        return Repeated(question, run)

    def _begin(self) -> None:
        session = self._session
        if self._storage is not None:
            self._storage.upsert(
                Session(
                    session_id=self.session_id,
                    user_id=session.user_id,
                    name=f"Replay of {session.name or session.session_id} with {self._agent.model.id}",
                    metadata={"replay_of": session.session_id},
                )
            )
            self._agent.read(self.session_id, session.user_id, 0)  # remembers it: a deleted session is not recreated

    def _stored(self, run_id: str) -> Run | None:
        session = self._agent.storage.read(self.session_id, user_id=self._session.user_id, last_runs=1)
        return next((run for run in session.runs if run.run_id == run_id), None) if session is not None else None

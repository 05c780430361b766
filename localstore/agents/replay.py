"""The questions of a stored session, asked again: each with what its model knew then, never with new answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from localstore.agents.agent import Agent
from localstore.agents.models.model import Model
from localstore.agents.prompts.prompt import flat, with_state
from localstore.agents.prompts.question import whole_rounds
from localstore.agents.runs import driver
from localstore.agents.runs.agent_run import AgentRun
from localstore.agents.runs.run_store import SessionRunStore
from localstore.models.session import ContentPart, Message, Run, Session, Update

if TYPE_CHECKING:
    from localstore.storage.storage import Storage


@dataclass(frozen=True, slots=True)
class StoredQuestion:
    """A question that was answered once, and what a model is given to answer it again.

    `number` counts the runs of the session, from 1. `asked` are the messages of the run up to its answer: the
    question, and the rounds of tool calls with what the tools gave then. `missing` names the files of the question
    that are not there any more; the model is told so in their place.
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
        """The stored messages of the runs before it, oldest first."""
        return flat(self._completed[self._window])

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools that were called, each once, in order."""
        return tuple(dict.fromkeys(call.name for message in self.asked for call in message.tool_calls or ()))


def stored_questions(session: Session, *, history: int | None = None) -> list[StoredQuestion]:
    """The questions of a session that was read whole: those of completed runs, as their messages hold them.

    How much history a run was given is not stored. Each question gets the messages of the last `history` completed
    runs before it (of all, when None), as they are stored: so any two models are asked the same. It gets the
    instructions that held in its run, in which `{key}` is what the state said before the run. A key that the state did
    not have then is what the run itself stored: so an agent stores the state that it was made with. Summaries are left
    out, since the history says the same.
    """
    found: list[StoredQuestion] = []
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
            said = with_state(instructions, before) if instructions else None
            window = slice(0 if history is None else max(0, len(completed) - history), len(completed))
            found.append(StoredQuestion(number, entry, said, asked, missing, completed, window))
        completed.append(entry)
    return found


def _without_missing_files(messages: Sequence[Message]) -> tuple[list[Message], tuple[str, ...]]:
    """The messages with a line of text in the place of each file that is gone, and the files that are."""
    missing: list[str] = []

    def kept(part: ContentPart) -> ContentPart:
        if part.path is None or part.url is not None or Path(part.path).is_file():
            return part
        missing.append(part.path)
        return ContentPart(type="text", text=f"[The file {part.path} no longer exists.]")

    asked = []
    for message in messages:
        if message.role == "user" and isinstance(message.content, list):
            message = message.model_copy(update={"content": [kept(part) for part in message.content]})
        asked.append(message)
    return asked, tuple(missing)


@dataclass(frozen=True, slots=True)
class Repeated:
    """A question, and the run in which it was asked again: completed, or with its `error`."""

    question: StoredQuestion
    run: Run

    @property
    def old(self) -> str:
        """The stored answer."""
        return self.question.run.answer

    @property
    def new(self) -> str | None:
        """The new answer; None when there is none."""
        return self.run.answer if self.run.status == "completed" else None


class Replay:
    """Asks questions of a session again, and keeps the answers in a fresh session of the same owner.

    That session is made when the first question is asked. It is named after the one that it repeats, which
    its metadata name as `replay_of`; each run names the run that it repeats in the same way. It is no session of the
    agent that was asked first, and does not appear among its sessions. Without `storage` nothing is kept.

    The model is given no tools, which are functions and not stored: it answers from what the tools gave then.
    """

    def __init__(self, session: Session, model: Model, storage: Storage | None = None) -> None:
        self.session_id = str(uuid4())
        self._session = session
        self._storage = storage
        self._has_begun = False
        # A model that asks for a tool all the same is told once that there is none.
        self._agent = Agent(
            model=model, session_id=self.session_id, user_id=session.user_id, storage=storage, max_tool_rounds=1
        )

    @property
    def is_kept(self) -> bool:
        """Whether there is a session by now that keeps the answers."""
        return self._has_begun and self._storage is not None

    def ask(self, question: StoredQuestion) -> Repeated:
        """Ask one question. What the model raises stands in the run that is stored and returned.

        Raises what a storage raises that cannot store; KeyboardInterrupt, after the run was stored as cancelled.
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
                raise  # it is not the model that failed
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
            self._agent.read(self.session_id, session.user_id, 0)  # if it is deleted now, it does not come back

    def _stored(self, run_id: str) -> Run | None:
        session = self._agent.storage.read(self.session_id, user_id=self._session.user_id, last_runs=1)
        return next((run for run in session.runs if run.run_id == run_id), None) if session is not None else None

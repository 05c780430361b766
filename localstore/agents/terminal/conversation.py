"""A person's conversation with an agent: asks questions, shows the answers, and switches between sessions."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from localstore.agents.events import Event, RunFinished, RunStarted
from localstore.agents.prompts.question import question_of
from localstore.agents.terminal.answer import open_answer
from localstore.agents.terminal.error_text import error_line, incomplete_line
from localstore.agents.terminal.keyboard import Keyboard, QuietInput
from localstore.agents.terminal.screen import Screen, one_line, visible

if TYPE_CHECKING:
    from localstore.agents.models.model import Model
    from localstore.agents.prompts.question import Question
    from localstore.models.filter import Filter
    from localstore.models.schema import Kind
    from localstore.models.session import Run, Session
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import AgentStorage, SessionStorage
    from localstore.storage.run_removal import Undone

Editor = Callable[[str], str]
"""Lets a person edit a text, and returns the result. Raises an error that says what went wrong."""

_HISTORY_QUESTIONS = 50
"""How many runs of a session supply the questions that arrow-up brings back."""
_OUTCOMES = {"error": "failed", "cancelled": "was stopped"}


class ChatPartner(Protocol):
    """The part of an agent or a team that a chat uses."""

    kind: Kind
    session_id: str
    user_id: str | None
    storage: AgentStorage
    model: Model
    show_tool_calls: bool

    @property
    def session_state(self) -> dict[str, Any]: ...

    def stream(self, message: Question, /) -> Generator[Event]: ...

    def stream_resumed(self) -> Generator[Event]: ...

    def read(self, session_id: str, user_id: str | None, last_runs: int | None, /) -> Session | None: ...

    def sessions(self, what: str, /) -> SessionStorage: ...

    def new_session(self) -> str: ...

    def load_session(self, session_id: str, /) -> Session: ...

    def rename_session(self, name: str, /) -> None: ...

    def fork(self, run_id: str | None = None, /) -> str: ...

    def remove_run(self, run_id: str | None = None, /) -> Undone | None: ...


class Conversation:
    """Passes questions to an agent and shows its answers on the screen.

    `listed` holds the session ids of the last listing, in its order. The chat ends when `is_over` is set. `editor` is
    None if there is none.
    `on_session` is called each time the conversation enters a session, before a question is asked in it. It receives
    the session, or None if the session does not exist yet.
    """

    def __init__(
        self,
        agent: ChatPartner,
        *,
        markdown: bool,
        on_session: Callable[[Session | None], None] | None = None,
        editor: Editor | None = None,
    ) -> None:
        self.agent = agent
        self.editor = editor
        self.screen = Screen()
        self.keyboard = Keyboard(self.screen)
        self.listed: list[str] = []
        self.is_over = False
        self._markdown = markdown
        self._on_session = on_session
        self._unstored_question: Question | None = None
        """The last question, while no run for it has been stored; otherwise None."""
        self._hint = "Type /help for commands, bye to leave." if self.keyboard.is_terminal else ""

    # Asking

    def ask(self, question: Question) -> bool:
        """Ask a question and show the answer. Return False if the run failed or was stopped with Ctrl-C.

        Raises KeyboardInterrupt for Ctrl-C if standard input is not a terminal.
        """
        self._unstored_question = question
        return self._show(self.agent.stream(question))

    def retry(self) -> bool:
        """Ask the last question again. Return what `ask` returns, or True if nothing has been asked yet.

        A run that was not completed is resumed. A completed one is removed first; without a storage, it stays and the
        question is asked in a new run.
        """
        if self._unstored_question is not None:
            return self.ask(self._unstored_question)
        session = self.read_session(last_runs=1)
        if session is None or not session.runs:
            self.screen.note("Nothing has been asked yet.")
            return True
        last = session.runs[-1]
        self.screen.note(f"> {one_line(last.question)}")
        if last.status != "completed":
            return self._show(self.agent.stream_resumed())
        if self.has_storage:
            self.remove_last_run()
        return self.ask(question_of(last.messages))

    def _show(self, events: Generator[Event]) -> bool:
        """Show the events of one run and close them. Return False if the run failed or was stopped with Ctrl-C."""
        failure: Exception | None = None
        run: Run | None = None
        answer = open_answer(
            self.screen,
            markdown=self._markdown,
            panel=False,
            tool_calls=self.agent.show_tool_calls,
            members=self.keyboard.is_terminal,
        )
        try:
            with closing(events), QuietInput() as quiet, answer:
                while True:
                    try:
                        event = next(events)
                    except StopIteration:
                        break
                    except Exception as error:  # noqa: BLE001 - the chat continues after any error
                        failure = error
                        break
                    if isinstance(event, RunStarted):
                        self._unstored_question = None
                    elif isinstance(event, RunFinished) and event.speaker is None:
                        run = event.run
                    quiet.handle(event)
                    answer.handle(event)
        except KeyboardInterrupt:
            if not self.keyboard.is_terminal:
                raise
            self.screen.note("Stopped. Type /retry to ask again.")
            return False
        if self.screen.console is not None:
            self.screen.write("\n")
        if failure is not None:
            self.screen.show_error(f"{error_line(failure)} Type /retry to ask again.")
        elif run is not None and not run.answer.strip():
            self.screen.note("The answer is empty.")
        if failure is None and run is not None and (line := incomplete_line(run)) is not None:
            self.screen.note(line)
        if run is not None and run.state_conflicts:
            self.screen.note(f"Another run also changed these keys of the state: {', '.join(run.state_conflicts)}.")
        return failure is None

    # Sessions

    @property
    def has_storage(self) -> bool:
        """Whether the agent stores its sessions. An agent without a storage has a single session, in memory."""
        return hasattr(self.agent.storage, "list_sessions")

    def store(self, what: str) -> SessionStorage:
        """Return the storage of the agent. Raises ValueError, which says that `what` needs one, if there is none."""
        return self.agent.sessions(what)

    def list_sessions(self, limit: int | None = None, *, where: Filter | None = None) -> list[SessionInfo]:
        """Return the sessions of this user and of the agent's kind, newest activity first; at most `limit` of them.

        With `where`, return those that match this filter too. If the agent has no user, the sessions of all users are
        returned. Raises ValueError if there is no storage.
        """
        agent = self.agent
        return self.store("/sessions").list_sessions(user_id=agent.user_id, kind=agent.kind, limit=limit, where=where)

    def read_session(self, *, last_runs: int | None) -> Session | None:
        """Return the current session with its last runs (all if `last_runs` is None), or None if it does not exist."""
        return self.agent.read(self.agent.session_id, self.agent.user_id, last_runs)

    def remove_last_run(self) -> tuple[Run, str] | None:
        """Remove the last run from the current session, and restore the agent's state from before that run.

        Return the run and the name of the rescue file that keeps it, or None if the session has no run. After an
        error, the next call repeats the removal of the same run. May raise ValueError if there is no storage, and
        SessionNotFound.
        """
        undone = self.agent.remove_run()
        return None if undone is None else (undone.run, undone.name)

    def enter_session(self) -> None:
        """Show the current session's id and name, and its last question and answer.

        Call this after each change of session. It also calls `on_session` and adds the session's questions to the
        keyboard's history. If the session cannot be read, only the error is shown.
        """
        note = self.screen.note
        self._unstored_question = None
        try:
            session = self.read_session(last_runs=_HISTORY_QUESTIONS if self.keyboard.is_terminal else 1)
        except Exception as error:  # noqa: BLE001
            self.screen.show_error(error_line(error))
            return
        if self._on_session is not None:
            self._on_session(session)
        hint, self._hint = self._hint, ""
        if session is None:
            note(f"New session {one_line(self.agent.session_id)}. {hint}".rstrip())
            return
        name = f" ({one_line(session.name)})" if session.name else ""
        note(f"Continuing session {one_line(session.session_id)}{name}. {hint}".rstrip())
        if not session.runs:
            return
        last = session.runs[-1]
        note(f"> {self._excerpt(last.question)}")
        if last.status == "completed":
            note(self._excerpt(last.answer))
        else:
            note(f"This run {_OUTCOMES.get(last.status, 'was not finished')}. Type /retry to ask again.")
        self.keyboard.add_history(visible(run.question) for run in session.runs)

    def _excerpt(self, text: str) -> str:
        return one_line(text, max(20, min(self.screen.width - 2, 120)))

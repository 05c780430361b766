"""`Agent.cli_app`: questions and answers at the terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING

from localstore.agents.events import Event, RunFinished, RunStarted
from localstore.agents.prompts.question import only_asked
from localstore.agents.terminal.answer import answer_on
from localstore.agents.terminal.keyboard import Keyboard
from localstore.agents.terminal.problems import problem
from localstore.agents.terminal.screen import Screen, short

if TYPE_CHECKING:
    from localstore.agents.agent import Agent
    from localstore.agents.prompts.question import Question
    from localstore.models.session import Run, Session

_FAREWELLS = ("bye", "exit", "quit")
_REMEMBERED = 50
"""So many of the session's questions are there on arrow-up."""
_OUTCOMES = {"error": "failed", "cancelled": "was stopped"}


class Chat:
    """The talk of one person with an agent.

    `follow` is called with each session that the talk goes on in (None for one that does not exist yet), before
    anything is asked in it.
    """

    def __init__(self, agent: Agent, *, markdown: bool, follow: Callable[[Session | None], None] | None = None) -> None:
        self.agent = agent
        self.screen = Screen()
        self.keyboard = Keyboard(self.screen)
        self.listed: list[str] = []
        """The ids of the sessions that were listed last, by their numbers."""
        self._markdown = markdown
        self._follow = follow
        self._unstored: Question | None = None
        """A question of which the session knows nothing."""
        self._is_over = False
        self._interrupted = False
        self._help = "/help lists the commands, bye ends." if self.keyboard.is_person else ""

    def run(self) -> bool:
        """Talk until the person leaves. Returns whether each question, at last, was answered.

        Raises KeyboardInterrupt when nobody is at the terminal, and OSError when nobody reads the answers.
        """
        answered = True
        with self.keyboard:
            self.greet()
            while not self._is_over:
                try:
                    line = self.keyboard.read()
                    if line is None:
                        break
                    self._interrupted = False
                    answered = self._take(line) and answered
                except KeyboardInterrupt:
                    if not self.keyboard.is_person:
                        raise
                    self._say_interrupted()
                except UnicodeDecodeError as error:
                    self.screen.complain(f"This is not {error.encoding}, and was not asked.")
            if self.keyboard.is_person and not self._is_over:
                self.screen.say("")  # Ctrl-D leaves the cursor behind the prompt
        return answered

    def leave(self) -> None:
        """End the talk."""
        self._is_over = True

    def _take(self, line: str) -> bool:
        from localstore.agents.terminal.commands import obey

        if line.startswith("/"):
            return obey(self, line)
        line = line.strip()
        if line.casefold() in _FAREWELLS:
            self.leave()
        elif line:
            return self.ask(line)
        return True

    def _say_interrupted(self) -> None:
        self.screen.say("\nTo leave, type bye or press Ctrl-D." if self._interrupted else "")
        self._interrupted = True

    # Asking

    def ask(self, question: Question) -> bool:
        """Ask, and show the answer. Returns whether there is one."""
        self._unstored = question
        return self._show(self.agent.stream(question))

    def retry(self) -> bool:
        """Ask the last question again, in place of its answer when it has one."""
        if self._unstored is not None:
            return self.ask(self._unstored)
        session = self.agent.read(self.agent.session_id, self.agent.user_id, 1)
        if session is None or not session.runs:
            self.screen.say("Nothing was asked yet.")
            return True
        last = session.runs[-1]
        self.screen.say(f"> {short(last.question)}")
        if last.status != "completed":
            return self._show(self.agent.stream_resumed())
        if self.has_storage:
            self.take_out()
        return self.ask(only_asked(last.messages))

    def _show(self, events: Generator[Event]) -> bool:
        failed: Exception | None = None
        run: Run | None = None
        shown = answer_on(
            self.screen,
            markdown=self._markdown,
            panel=False,
            tool_calls=self.agent.show_tool_calls,
            members=self.keyboard.is_person,
        )
        try:
            with closing(events), shown:
                while True:
                    try:
                        event = next(events)
                    except StopIteration:
                        break
                    except Exception as error:  # noqa: BLE001 - whatever it is, the talk goes on
                        failed = error
                        break
                    if isinstance(event, RunStarted):
                        self._unstored = None
                    elif isinstance(event, RunFinished) and event.speaker is None:
                        run = event.run
                    shown.take(event)
        except KeyboardInterrupt:
            if not self.keyboard.is_person:
                raise
            self.screen.say("Stopped. /retry asks again.")
            return False
        if self.screen.console is not None:
            self.screen.write("\n")
        if failed is not None:
            self.screen.complain(f"{problem(failed)} /retry asks again.")
        elif run is not None and not run.answer.strip():
            self.screen.say("The answer is empty.")
        if run is not None and run.state_conflicts:
            self.screen.say(f"Another run changed this of the state as well: {', '.join(run.state_conflicts)}.")
        return failed is None

    # Sessions

    @property
    def has_storage(self) -> bool:
        """Whether the sessions are kept; else there is one, in memory."""
        return hasattr(self.agent.storage, "list_sessions")

    def take_out(self) -> tuple[Run, str] | None:
        """Take the last run out of the session; it, and the name of the rescue file that keeps it."""
        from localstore.storage.branching import undo

        agent = self.agent
        undone = undo(agent.storage, agent.session_id, user_id=agent.user_id)  # type: ignore[arg-type]
        agent.load_session(agent.session_id)  # for its state, which is again what it was
        return None if undone is None else (undone.run, undone.name)

    def greet(self) -> None:
        """Say which session it is, and what was said last."""
        agent, say = self.agent, self.screen.say
        self._unstored = None
        try:
            session = agent.read(agent.session_id, agent.user_id, _REMEMBERED if self.keyboard.is_person else 1)
        except Exception as error:  # noqa: BLE001
            self.screen.complain(problem(error))
            return
        if self._follow is not None:
            self._follow(session)
        ends, self._help = self._help, ""
        if session is None:
            say(f"A new session: {short(agent.session_id)}. {ends}".rstrip())
            return
        name = f" ({short(session.name)})" if session.name else ""
        say(f"Going on in {short(session.session_id)}{name}. {ends}".rstrip())
        if not session.runs:
            return
        last = session.runs[-1]
        say(f"> {self._brief(last.question)}")
        if last.status == "completed":
            say(self._brief(last.answer))
        else:
            say(f"This {_OUTCOMES.get(last.status, 'was not finished')}. /retry asks again.")
        self.keyboard.remember(line for run in session.runs for line in run.question.splitlines())

    def _brief(self, text: str) -> str:
        return short(text, max(20, min(self.screen.width - 2, 120)))

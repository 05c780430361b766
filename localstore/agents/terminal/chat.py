"""The interactive chat of `Agent.cli_app` and `localstore chat`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from localstore.agents.terminal.commands import run_command
from localstore.agents.terminal.conversation import ChatPartner, Conversation, Editor

if TYPE_CHECKING:
    from localstore.models.session import Session

_FAREWELLS = ("bye", "exit", "quit")


class Chat:
    """Reads questions and commands from standard input until the person leaves or the input ends.

    `on_session` is called each time the chat enters a session, before a question is asked in it. It receives the
    session, or None if the session does not exist yet. `editor` lets the person edit a message, for `/edit`.
    """

    def __init__(
        self,
        agent: ChatPartner,
        *,
        markdown: bool,
        on_session: Callable[[Session | None], None] | None = None,
        editor: Editor | None = None,
    ) -> None:
        self._conversation = Conversation(agent, markdown=markdown, on_session=on_session, editor=editor)
        self._interrupted = False

    def run(self) -> bool:
        """Run the chat until the person leaves or the input ends. Return True if every question was answered.

        Errors of the model and of the storage are shown, and the chat continues. May raise KeyboardInterrupt for Ctrl-C
        if standard input is not a terminal, and OSError if the output is closed.
        """
        conversation = self._conversation
        keyboard, screen = conversation.keyboard, conversation.screen
        all_answered = True
        with keyboard:
            conversation.enter_session()
            while not conversation.is_over:
                try:
                    line = keyboard.read()
                    if line is None:
                        break
                    self._interrupted = False
                    all_answered = self._handle(line) and all_answered
                except KeyboardInterrupt:
                    if not keyboard.is_terminal:
                        raise
                    screen.note("\nTo leave, type bye or press Ctrl-D." if self._interrupted else "")
                    self._interrupted = True
                except UnicodeDecodeError as error:
                    screen.show_error(f"This is not {error.encoding}. The line was ignored.")
            if keyboard.is_terminal and not conversation.is_over:
                screen.note("")  # Ctrl-D leaves the cursor after the prompt
        return all_answered

    def _handle(self, line: str) -> bool:
        """Run `line` as a command, or ask it as a question. Return False only if a question was not answered.

        A text of several lines is always a question: a pasted one may begin with a slash.
        """
        if line.startswith("/") and "\n" not in line.strip():
            return run_command(self._conversation, line)
        line = line.strip()
        if line.casefold() in _FAREWELLS:
            self._conversation.is_over = True
        elif line:
            return self._conversation.ask(line)
        return True

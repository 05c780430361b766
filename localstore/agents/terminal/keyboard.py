"""Reads the lines of a chat from a terminal or a pipe, and handles Ctrl-C."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterable
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, TextIO

from localstore.agents.events import Event, TextDelta, ToolCallFinished, ToolCallStarted
from localstore.agents.terminal.screen import Screen

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

_PROMPT, _CONTINUATION_PROMPT = "> ", ". "
_MARK_PASTES, _DO_NOT_MARK_PASTES = "\x1b[?2004h", "\x1b[?2004l"
_IGNORE_SECONDS = 0.5
"""How long a second Ctrl-C is ignored after the first, so that the stopped run can be stored."""
_RETRY_SECONDS = 0.005
"""The delay before a Ctrl-C that came in the middle of a write is tried again."""
_MAX_DELAY_SECONDS = 1.0
"""How long a write may delay Ctrl-C. A longer write is assumed to be waiting for another process's lock."""


class Echo:
    """The terminal's echo of typed characters, which would write into an answer while it is drawn.

    What is typed meanwhile is not lost: the next prompt gets it. Has no effect unless standard input and output are a
    terminal and this process is in its foreground. It has no effect on Windows, which echoes only at a prompt.
    """

    marks_pastes = False
    """Whether the terminal is asked to mark what is pasted while the echo is hidden.

    The next prompt can then tell a pasted text from lines that were typed. Only readline understands the marks.
    """

    def __init__(self) -> None:
        self._settings: list[Any] | None = None
        """The settings of the terminal to restore; None while the echo is not hidden."""

    @property
    def is_hidden(self) -> bool:
        return self._settings is not None

    def hide(self) -> None:
        """Stop the echo. Does nothing if it is hidden already."""
        if self.is_hidden or termios is None or not _is_terminal(sys.stdin) or not _is_terminal(sys.stdout):
            return
        with contextlib.suppress(OSError, ValueError, termios.error):
            terminal = sys.stdin.fileno()
            if os.tcgetpgrp(terminal) != os.getpgrp():
                return  # a process in the background would be stopped
            settings = termios.tcgetattr(terminal)
            hidden = [*settings]
            hidden[3] &= ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSANOW, hidden)
            self._settings = settings
            self._mark_pastes(True)

    def show(self) -> None:
        """Restore the echo. Does nothing if it is not hidden."""
        settings, self._settings = self._settings, None
        if settings is not None and termios is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError, termios.error):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, settings)
                self._mark_pastes(False)

    def _mark_pastes(self, on: bool) -> None:
        if self.marks_pastes:
            sys.stdout.write(_MARK_PASTES if on else _DO_NOT_MARK_PASTES)
            sys.stdout.flush()


ECHO = Echo()
"""The echo of the terminal that this process was started on."""


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


class QuietInput:
    """A context manager that hides typed characters during a run. Pass each event of the run to its `handle`.

    While tools run, characters are echoed, because a tool may ask for input. The text of a team's member, which runs in
    a tool call, hides them again.
    """

    def __init__(self) -> None:
        self._was_hidden = self._is_active = False
        self._open_calls = 0

    def __enter__(self) -> QuietInput:
        self._was_hidden = ECHO.is_hidden
        ECHO.hide()
        self._is_active = ECHO.is_hidden
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._was_hidden:
            ECHO.hide()
        else:
            ECHO.show()

    def handle(self, event: Event) -> None:
        """Show the echo when a tool starts, and hide it when all tools have finished."""
        if not self._is_active:
            return
        if isinstance(event, ToolCallStarted):
            self._open_calls += 1
            ECHO.show()
        elif isinstance(event, ToolCallFinished):
            self._open_calls -= 1
            if self._open_calls <= 0:
                ECHO.hide()
        elif isinstance(event, TextDelta):
            ECHO.hide()


class Keyboard:
    """Reads questions and commands from standard input. Use it as a context manager, which also handles Ctrl-C.

    `is_terminal` is true if standard input is a terminal. If Python has `readline`, the person can then edit the line
    and bring back earlier lines with arrow-up, and with GNU readline, a pasted text is one line, with its line breaks.
    A line that ends in a backslash continues on the next one. For input from a pipe, no prompt is written.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty()
        self._can_edit = self.is_terminal and sys.stdout is not None and sys.stdout.isatty()
        self._readline = _import_readline() if self._can_edit else None
        self._earlier: list[str] = []
        self._at_prompt = False
        self._stopped_at = 0.0
        self._delayed_since = 0.0
        self._retry: threading.Timer | None = None
        self._handler: Any = None

    def __enter__(self) -> Keyboard:
        if self._readline is not None:
            history = self._readline
            self._earlier = [history.get_history_item(at + 1) for at in range(history.get_current_history_length())]
            history.clear_history()
            history.set_auto_history(False)
            if self._screen.console is not None and "libedit" not in (history.__doc__ or ""):
                history.parse_and_bind("set enable-bracketed-paste on")  # Python turns it off
                ECHO.marks_pastes = True
        on_main_thread = threading.current_thread() is threading.main_thread()
        if self.is_terminal and on_main_thread and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ECHO.show()
        if ECHO.marks_pastes and self._readline is not None:
            self._readline.parse_and_bind("set enable-bracketed-paste off")
            ECHO.marks_pastes = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry.join()
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        if self._readline is not None:
            self._readline.clear_history()
            self._readline.set_auto_history(True)
            self.add_history(self._earlier)

    def add_history(self, texts: Iterable[str | None]) -> None:
        """Add texts to the history that arrow-up goes through, each with all its lines. Empty ones are skipped."""
        if self._readline is not None:
            for text in texts:
                if text:
                    self._readline.add_history(text)

    def read(self) -> str | None:
        """Return the next question or command without its line break, or None at the end of the input.

        Raises KeyboardInterrupt for Ctrl-C, UnicodeDecodeError for a line that cannot be decoded.
        """
        lines: list[str] = []
        try:
            while True:
                line = self._line(_CONTINUATION_PROMPT if lines else _PROMPT)
                if line is None:
                    return "\n".join(lines) if lines and not self.is_terminal else None
                lines.append(line.removesuffix("\\"))
                if not line.endswith("\\"):
                    return "\n".join(lines)
        finally:
            self._remember("\n".join(lines))  # also what Ctrl-C has ended

    def read_block(self, end: str) -> str:
        """Return the next lines up to one that is `end`, or to the end of the input. Backslashes have no meaning here.

        Raises KeyboardInterrupt for Ctrl-C, and, after the last line, UnicodeDecodeError if one could not be decoded.
        """
        lines: list[str] = []
        undecoded: UnicodeDecodeError | None = None
        try:
            while True:
                try:
                    line = self._line(_CONTINUATION_PROMPT)
                except UnicodeDecodeError as error:
                    undecoded = error
                    continue
                if line is None or line.strip() == end:
                    break
                lines.append(line)
        finally:
            self._remember("\n".join(lines))
        if undecoded is not None:
            raise undecoded
        return "\n".join(lines)

    def _line(self, prompt: str) -> str | None:
        self._at_prompt = True
        try:
            ECHO.show()
            if self._can_edit:
                return input(prompt)
            if self.is_terminal:
                self._screen.write_prompt(prompt)
            line = "" if sys.stdin is None else sys.stdin.readline()
            if line and not self.is_terminal:
                self._screen.echo(f"{prompt}{line.rstrip()}")
            return line.removesuffix("\n").removesuffix("\r") if line else None
        except EOFError:
            return None
        finally:
            self._at_prompt = False
            if self._can_edit:
                ECHO.hide()

    def _remember(self, text: str) -> None:
        """Add a question or command, with all its lines, to the history, unless it is already the last one there."""
        history = self._readline
        if history is not None and text != history.get_history_item(history.get_current_history_length()):
            self.add_history([text])

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt for Ctrl-C; ignore it shortly after another one; retry it later during a write."""
        now = monotonic()
        if not self._at_prompt and now - self._stopped_at <= _IGNORE_SECONDS:
            return
        if _is_storing(frame):
            self._delayed_since = self._delayed_since or now
            if now - self._delayed_since < _MAX_DELAY_SECONDS:
                self._retry = threading.Timer(_RETRY_SECONDS, _interrupt_main)
                self._retry.start()
                return
        self._delayed_since = 0.0
        self._stopped_at = now
        raise KeyboardInterrupt


_STORING_LAYERS = ("localstore.format.", "localstore.disk.", "localstore.index.", "localstore.engine.")
"""The modules that write documents. While their code runs, a document may be half written."""


def _is_storing(frame: FrameType | None) -> bool:
    """Return whether code that writes documents is running in `frame`. An interrupt there could leave a lock behind."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_STORING_LAYERS):
            return True
        frame = frame.f_back
    return False


def _interrupt_main() -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # this also ends a wait for the network
    else:
        _thread.interrupt_main()


def _import_readline() -> Any:
    with contextlib.suppress(ImportError):  # Windows has none
        import readline

        return readline
    return None

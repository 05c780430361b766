"""Reads the lines of a chat from a terminal or a pipe, and handles Ctrl-C."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterable
from time import monotonic
from types import FrameType, TracebackType
from typing import Any

from localstore.agents.terminal.screen import Screen

_PROMPT, _CONTINUATION_PROMPT = "> ", ". "
_IGNORE_SECONDS = 0.5
"""How long a second Ctrl-C is ignored after the first, so that the stopped run can be stored."""
_RETRY_SECONDS = 0.005
"""The delay before a Ctrl-C that came in the middle of a write is tried again."""
_MAX_DELAY_SECONDS = 1.0
"""How long a write may delay Ctrl-C. A longer write is assumed to be waiting for another process's lock."""


class Keyboard:
    """Reads questions and commands from standard input. Use it as a context manager, which also handles Ctrl-C.

    `is_terminal` is true if standard input is a terminal. If Python has `readline`, the person can then edit the line
    and bring back earlier lines with arrow-up. A line that ends in a backslash continues on the next one. For input
    from a pipe, no prompt is written.
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
        on_main_thread = threading.current_thread() is threading.main_thread()
        if self.is_terminal and on_main_thread and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry.join()
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        if self._readline is not None:
            self._readline.clear_history()
            self._readline.set_auto_history(True)
            self.add_history(self._earlier)

    def add_history(self, lines: Iterable[str | None]) -> None:
        """Add lines to the history that arrow-up goes through. Empty lines and None are skipped."""
        if self._readline is not None:
            for line in lines:
                if line:
                    self._readline.add_history(line)

    def read(self) -> str | None:
        """Return the next question or command without its line break, or None at the end of the input.

        Raises KeyboardInterrupt for Ctrl-C, UnicodeDecodeError for a line that cannot be decoded.
        """
        lines: list[str] = []
        while True:
            line = self._line(_CONTINUATION_PROMPT if lines else _PROMPT)
            if line is None:
                return "\n".join(lines) if lines and not self.is_terminal else None
            if not line.endswith("\\"):
                return "\n".join([*lines, line])
            lines.append(line[:-1])

    def _line(self, prompt: str) -> str | None:
        self._at_prompt = True
        try:
            if self._can_edit:
                line = input(prompt)
                self._add_line_to_history(line)
                return line
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

    def _add_line_to_history(self, line: str) -> None:
        history = self._readline
        if history is not None and line != history.get_history_item(history.get_current_history_length()):
            self.add_history([line])

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

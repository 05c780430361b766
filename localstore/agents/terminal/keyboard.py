"""What a person types, or a pipe says: questions of one or several lines, and Ctrl-C."""

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

_PROMPT, _GOES_ON = "> ", ". "
_DEAF = 0.5
"""Seconds after one Ctrl-C in which another one does not count: what it stopped is being stored."""


_SOON = 0.005
"""Seconds after which a Ctrl-C that came in the middle of a write counts."""
_PATIENCE = 1.0
"""A write may put it off for so many seconds; a longer one waits for somebody else's lock."""


class Keyboard:
    """Reads from the standard input while it is entered. `is_person`: somebody types at a terminal.

    A person has line editing, and the earlier lines on arrow-up, where Python has `readline`. A line that ends in a
    backslash goes on in the next one. Without a person there are no prompts.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.is_person = sys.stdin is not None and sys.stdin.isatty()
        self._edits = self.is_person and sys.stdout is not None and sys.stdout.isatty()
        self._readline = _readline() if self._edits else None
        self._earlier: list[str] = []
        self._at_prompt = False
        self._stopped = 0.0
        self._asked = 0.0
        self._again: threading.Timer | None = None
        self._handler: Any = None

    def __enter__(self) -> Keyboard:
        if self._readline is not None:
            history = self._readline
            self._earlier = [history.get_history_item(at + 1) for at in range(history.get_current_history_length())]
            history.clear_history()
            history.set_auto_history(False)
        on_main_thread = threading.current_thread() is threading.main_thread()
        if self.is_person and on_main_thread and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again.join()
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        if self._readline is not None:
            self._readline.clear_history()
            self._readline.set_auto_history(True)
            self.remember(self._earlier)

    def remember(self, lines: Iterable[str | None]) -> None:
        """Add lines to those that arrow-up brings back."""
        if self._readline is not None:
            for line in lines:
                if line:
                    self._readline.add_history(line)

    def read(self) -> str | None:
        """The next question or command; None at the end. Raises KeyboardInterrupt, UnicodeDecodeError."""
        lines: list[str] = []
        while True:
            line = self._line(_GOES_ON if lines else _PROMPT)
            if line is None:
                return "\n".join(lines) if lines and not self.is_person else None
            if not line.endswith("\\"):
                return "\n".join([*lines, line])
            lines.append(line[:-1])

    def _line(self, prompt: str) -> str | None:
        self._at_prompt = True
        try:
            if self._edits:
                line = input(prompt)
                self._remember_once(line)
                return line
            if self.is_person:
                self._screen.ask_aside(prompt)
            line = "" if sys.stdin is None else sys.stdin.readline()
            if line and not self.is_person:
                self._screen.echo(f"{prompt}{line.rstrip()}")
            return line.removesuffix("\n").removesuffix("\r") if line else None
        except EOFError:
            return None
        finally:
            self._at_prompt = False

    def _remember_once(self, line: str) -> None:
        history = self._readline
        if history is not None and line != history.get_history_item(history.get_current_history_length()):
            self.remember([line])

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        now = monotonic()
        if not self._at_prompt and now - self._stopped <= _DEAF:
            return
        if _is_storing(frame):
            self._asked = self._asked or now
            if now - self._asked < _PATIENCE:
                self._again = threading.Timer(_SOON, _interrupt_main)
                self._again.start()
                return
        self._asked = 0.0
        self._stopped = now
        raise KeyboardInterrupt


_STORING = ("localstore.format.", "localstore.disk.", "localstore.index.", "localstore.engine.")
"""The layers in which a document may be half written."""


def _is_storing(frame: FrameType | None) -> bool:
    """Whether a document may be half written: an interruption just there could leave its lock behind."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_STORING):
            return True
        frame = frame.f_back
    return False


def _interrupt_main() -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # which also ends a wait for the network
    else:
        _thread.interrupt_main()


def _readline() -> Any:
    with contextlib.suppress(ImportError):  # Windows has none
        import readline

        return readline
    return None

"""Reads single keys from the terminal, on POSIX and on Windows."""

from __future__ import annotations

import codecs
import os
import re
import sys
import time
from types import TracebackType
from typing import Final, Literal, get_args

Key = Literal["up", "down", "page up", "page down", "home", "end", "enter", "escape", "backspace", "word", "clear"]
"""The keys that are not characters. `word` and `clear` delete the last word, and everything that was typed."""
KEYS: Final[tuple[Key, ...]] = get_args(Key)

_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]|O.|[^\[O])", re.DOTALL)
_ESCAPE = "\x1b"
_NAMED: dict[str, Key] = {
    **dict.fromkeys(("\r", "\n"), "enter"),
    **dict.fromkeys(("\x03", "\x04", "\x07", _ESCAPE, ""), "escape"),  # Ctrl-C, Ctrl-D, Ctrl-G, the end of the input
    **dict.fromkeys(("\x7f", "\x08"), "backspace"),
    **dict.fromkeys(("\x1b[A", "\x1bOA", "\x10"), "up"),
    **dict.fromkeys(("\x1b[B", "\x1bOB", "\x0e"), "down"),
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~"), "home"),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~"), "end"),
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x15": "clear",
    "\x17": "word",
}
_AFTER_ESCAPE = 0.05
"""How many seconds the rest of a key may take after its first character, which is that of the Escape key."""


def next_key(typed: str) -> tuple[str | None, str]:
    """Return the first key in what was typed, and the rest.

    It is one of `KEYS` or a character; None for a key that has no meaning here.
    """
    found = _SEQUENCE.match(typed)
    text = found[0] if found else typed[:1]
    if (name := _NAMED.get(text)) is not None:
        return name, typed[len(text) :]
    return text if text.isprintable() else None, typed[len(text) :]


if sys.platform == "win32":
    import msvcrt

    _SPECIAL: dict[str, Key] = {
        "H": "up",
        "P": "down",
        "I": "page up",
        "Q": "page down",
        "G": "home",
        "O": "end",
    }

    class RawKeyboard:
        """The keys of the console, one at a time."""

        def __enter__(self) -> RawKeyboard:
            os.system("")  # noqa: S605, S607 (it makes the console understand escape sequences)
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            pass

        def read(self, timeout: float) -> str | None:
            """Return the next key, or None if none comes within `timeout` seconds or it has no meaning."""
            deadline = time.monotonic() + timeout
            while not msvcrt.kbhit():
                if time.monotonic() >= deadline:
                    return None
                time.sleep(0.01)
            typed = msvcrt.getwch()
            if typed in ("\x00", "\xe0"):
                return _SPECIAL.get(msvcrt.getwch())
            return next_key(typed)[0]

else:
    import select
    import termios
    import tty

    class RawKeyboard:
        """The keys of the terminal at standard input, one at a time. They are not shown, and Ctrl-C is a key."""

        def __init__(self) -> None:
            self._input = sys.stdin.fileno()
            self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
            self._typed = ""

        def __enter__(self) -> RawKeyboard:
            self._before = termios.tcgetattr(self._input)
            tty.setraw(self._input, termios.TCSADRAIN)  # what was typed already counts
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

        def read(self, timeout: float) -> str | None:
            """Return the next key, or None if none comes within `timeout` seconds or it has no meaning."""
            if not self._typed and not self._more(timeout):
                return None
            while self._typed.startswith(_ESCAPE) and _SEQUENCE.match(self._typed) is None:
                if not self._more(_AFTER_ESCAPE):
                    break
            key, self._typed = next_key(self._typed)
            return key

        def _more(self, timeout: float) -> bool:
            """Take what is typed within `timeout` seconds. Return whether there is anything, or the input has ended."""
            if not select.select([self._input], [], [], timeout)[0]:
                return False
            data = os.read(self._input, 1024)
            self._typed += self._decoder.decode(data, final=not data)
            return bool(self._typed) or not data

"""Run a command in a pseudo-terminal of a given width, as a person sees it.

Starting the program `localstore` takes longer than most commands, so a process that has loaded it forks for each one.
At the level `long`, and for a test that asks for it, the real program is started.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import selectors
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from tests.effort import IS_LONG
from tests.terminal import drawn, plain

from .conftest import ENTRY_POINT, clean_environment
from .forked_command import PYTHON, ForkedCommand

ROWS = 24
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """The exit code of a command and its output on the terminal."""

    def __init__(self, raw: str, code: int) -> None:
        self.raw = raw
        self.code = code
        self.text = _STYLE.sub("", raw).replace("\r\n", "\n")
        self.lines = self.text.splitlines()


def on_terminal(
    *args: str | Path,
    cwd: Path,
    columns: int = 100,
    env: Mapping[str, str] = {},
    typed: bytes = b"",
    is_real: bool = IS_LONG,
) -> Screen:
    """Run the command with a terminal as its input, output and error output. `typed` is its input."""
    process, ours = _start([ENTRY_POINT, *args], cwd, columns, env, is_real)
    os.write(ours, typed)
    chunks = []
    while chunk := _read(ours):
        chunks.append(chunk)
    os.close(ours)
    return Screen(b"".join(chunks).decode(), process.wait(60))


def _start(
    command: Sequence[str | Path], cwd: Path, columns: int, env: Mapping[str, str], is_real: bool
) -> tuple[subprocess.Popen[bytes] | ForkedCommand, int]:
    """Start the command. Return the process and the test's side of its terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    environment = clean_environment(**{"TERM": "xterm-256color", "PAGER": "cat", **PYTHON, **env})
    process: subprocess.Popen[bytes] | ForkedCommand
    if command[0] == ENTRY_POINT and not is_real:
        process = ForkedCommand([str(arg) for arg in command[1:]], cwd, environment, theirs)
    else:
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=_lead
        )
    os.close(theirs)
    return process, ours


def _lead() -> None:
    """Make the terminal the process's own, so that Ctrl-C on it reaches the process."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class ChatSession:
    """A command that runs on a terminal while a test types and waits for output.

    `raw` is all output so far; `lines` are the lines that a person sees, including those that scrolled away.
    """

    def __init__(
        self,
        *command: str | Path,
        cwd: Path,
        columns: int = 100,
        env: Mapping[str, str] = {},
        patience: float = 60,
        is_real: bool = IS_LONG,
    ) -> None:
        self.columns = columns
        self._process, self._ours = _start(command, cwd, columns, env, is_real)
        self._patience = patience
        self._raw = b""
        self._seen = 0

    def __enter__(self) -> ChatSession:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._ours)

    @property
    def raw(self) -> str:
        return self._raw.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        return drawn(self.raw, self.columns, ROWS)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def type(self, text: str) -> None:
        """Type, without waiting."""
        os.write(self._ours, text.encode())

    def enter(self, text: str, wanted: str) -> None:
        """Type a line, then wait for this output and the next prompt."""
        self.type(f"{text}\r")
        self.wait_for(wanted)
        self.wait_for_prompt()

    def wait_for(self, wanted: str) -> None:
        """Wait for this text after the text of the last wait. Colours and cursor movements are ignored."""
        self._wait(lambda: self._found(wanted), wanted)

    def interrupt(self, wanted: str) -> None:
        """Press Ctrl-C, then wait for this output and the next prompt.

        It is pressed once more if nothing happens, as a person would do: Python does not wake up for a signal that
        comes just before it begins to wait for the terminal or the network.
        """
        for _ in range(10):
            self.type("\x03")
            again = monotonic() + 2
            while not (is_there := self._found(wanted)) and self._more(again):
                pass
            if is_there:
                break
        else:
            raise AssertionError(f"{wanted!r} did not come. The terminal shows:\n{self.text}")
        self.wait_for_prompt()

    def wait_for_prompt(self) -> None:
        """Wait until the last line is a prompt."""
        self._wait(self._at_prompt, "a prompt")

    def _at_prompt(self) -> bool:
        text = plain(self.raw)
        is_there = f"\n{text}".endswith("\n> ") and len(text) > self._seen
        if is_there:
            self._seen = len(text)
        return is_there

    def _found(self, wanted: str) -> bool:
        at = plain(self.raw).find(wanted, self._seen)
        if at >= 0:
            self._seen = at + len(wanted)
        return at >= 0

    def ended(self) -> int:
        """Wait until the command ends, and return its exit code."""
        self._wait(lambda: False, "the end")
        return self._process.wait(self._patience)

    def kill(self) -> None:
        """Kill the process as kill -9 does."""
        self._process.send_signal(signal.SIGKILL)
        self.ended()

    def _wait(self, is_there: Callable[[], bool], wanted: str) -> None:
        deadline = monotonic() + self._patience
        while not is_there():
            before = len(self._raw)
            assert self._more(deadline), f"{wanted!r} did not come. The terminal shows:\n{self.text}"
            if len(self._raw) == before:
                assert wanted == "the end", f"the end came, and not {wanted!r}. The terminal shows:\n{self.text}"
                return

    def _more(self, deadline: float) -> bool:
        """Read the next output, if any. Return False if nothing came in time."""
        with selectors.DefaultSelector() as selector:  # select() takes no descriptor from 1024 on
            selector.register(self._ours, selectors.EVENT_READ)
            ready = selector.select(max(0, deadline - monotonic()))
        if ready:
            self._raw += _read(self._ours)
        return bool(ready)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        if error.errno == errno.EIO:  # Linux: the other side closed its last descriptor
            return b""
        raise

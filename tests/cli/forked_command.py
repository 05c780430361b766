"""Commands of processes that a server forks, which has loaded the command line: see `command_server.py`."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.effort import IS_LONG

from .conftest import ENTRY_POINT, clean_environment

_SERVER = Path(__file__).with_name("command_server.py")
PYTHON = {"PYTHONUTF8": "1"}
"""The settings of Python in the server."""


def run_forked(
    args: Sequence[str], cwd: Path, env: Mapping[str, str], said: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command with `said` as its input, and return its output and error output, as `subprocess.run` does.

    At the level `long` the real program is started."""
    if IS_LONG:
        command = [str(ENTRY_POINT), *args]
        return subprocess.run(command, cwd=cwd, env=env, input=said, capture_output=True, encoding="utf-8", timeout=120)
    (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err) = os.pipe(), os.pipe(), os.pipe()
    process = ForkedCommand(args, cwd, {**env, **PYTHON}, theirs_in, theirs_out, theirs_err)
    for descriptor in (theirs_in, theirs_out, theirs_err):
        os.close(descriptor)
    with suppress(BrokenPipeError), open(ours_in, "w", encoding="utf-8") as stream:
        stream.write(said)
    with ThreadPoolExecutor(2) as readers:
        out, err = readers.map(_read_all, (ours_out, ours_err))
    return subprocess.CompletedProcess([*args], process.wait(60), out, err)


def _read_all(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as stream:
        return stream.read()


class ForkedCommand:
    """A command, as far as `subprocess.Popen` is used for it."""

    def __init__(self, args: Sequence[str], cwd: Path, env: Mapping[str, str], *streams: int) -> None:
        """Start the command on a terminal, or with three streams."""
        self._answers, answers = os.pipe()
        message = json.dumps({"args": args, "cwd": str(cwd), "env": dict(env)}).encode()
        socket.send_fds(_server(), [message], [answers, *streams])
        os.close(answers)
        self._pid = int.from_bytes(self._answer(), "big")
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code if the command has ended."""
        return self._code if self._code is not None else self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code."""
        code = self._code if self._code is not None else self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired([ENTRY_POINT], timeout or 0)
        return code

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self._pid, number)

    def _wait(self, timeout: float | None) -> int | None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            if selector.select(timeout):
                self._code = int.from_bytes(self._answer(), "big", signed=True)
                os.close(self._answers)
        return self._code

    def _answer(self) -> bytes:
        answer = os.read(self._answers, 4)
        assert len(answer) == 4, "the server of commands has failed"
        return answer


@cache
def _server() -> socket.socket:
    """Start the server, which ends when this process does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command: list[str | Path] = [sys.executable, _SERVER, str(theirs.fileno()), ENTRY_POINT]
        environment = clean_environment(**PYTHON)
        server = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        server.wait(60)

    atexit.register(end)
    return ours

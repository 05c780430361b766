"""Attacks a process from outside: its system calls are made to fail, to wait, or to be its last ones, by `strace`.

This finds what the faults of `faults.py` cannot: whatever does not go through localstore's own file module.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

CALLS = (
    "openat", "pwrite64", "write", "fdatasync", "fsync", "rename", "renameat2", "ftruncate", "unlink", "flock",
    "newfstatat", "fstat", "pread64", "mkdir", "link", "close",
)  # fmt: skip
"""The system calls by which a store is read and written."""
_CALL = re.compile(r"(?:\d+ +)?(?:\d+\.\d+ +)?(\w+)\(")
_HOME = Path(__file__).parents[2]
_DEADLINE = 60.0


def _strace() -> str:
    """Return the path of strace. Without it, skip the test; in CI, which promises these attacks, fail it."""
    path = shutil.which("strace")
    if path is not None:
        return path
    why = "strace is needed to attack a process from outside. Install it, for example with: apt-get install strace"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


class Victim:
    """A process of `tests.crash.victim` that is asked to do things, and attacked meanwhile. The next one follows it."""

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victim"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_HOME
        )
        self._pid = 0
        assert self.answer() is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._parent.stdin.close()
        self._parent.wait(_DEADLINE)
        self._parent.stdout.close()

    def send(self, **request: Any) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(request).encode() + b"\n")
        self._parent.stdin.flush()

    def answer(self) -> dict[str, Any] | None:
        """Return the answer to the last request, or None if the process died."""
        assert self._parent.stdout is not None
        line = self._parent.stdout.readline()
        if not line:
            self._parent.wait()
            return None
        answer: dict[str, Any] = json.loads(line)
        if "victim" in answer:
            self._pid = answer["victim"]
            return None
        return answer

    def ask(self, **request: Any) -> dict[str, Any] | None:
        self.send(**request)
        return self.answer()

    @contextmanager
    def traced(self, *options: str) -> Iterator[None]:
        """Attach strace with these options while the block runs."""
        tracer = subprocess.Popen(
            [_strace(), "-f", "-qq", *options, "-p", str(self._pid)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        try:
            _wait_for(lambda: self._status("TracerPid") != "0" or tracer.poll() is not None)
            assert tracer.poll() is None, tracer.communicate()[1].decode()
            yield
        finally:
            tracer.terminate()
            tracer.communicate()
            _wait_for(lambda: self._status("TracerPid") == "0")

    @contextmanager
    def attacked(self, call: str, number: int, how: str) -> Iterator[None]:
        """Inject `how` (`error=EIO`, `signal=KILL`, `delay_enter=...`) at the n-th call of this name."""
        with self.traced("-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:{how}:when={number}"):
            yield

    def calls(self, log: Path, **request: Any) -> Counter[str]:
        """Return how often a request makes each of CALLS."""
        with self.traced("-o", str(log), "-e", f"trace={','.join(CALLS)}"):
            answer = self.ask(**request)
        assert answer is not None
        found = Counter(match[1] for line in log.read_text().splitlines() if (match := _CALL.match(line)))
        found["write"] -= 1  # the answer
        return Counter({call: count for call, count in found.items() if call in CALLS and count > 0})

    def wait_until_delayed(self) -> bool:
        """Wait until a delay holds the process up. Return False if it has answered, so that the call never came."""
        assert self._parent.stdout is not None
        steady = 0
        deadline = time.monotonic() + _DEADLINE
        while steady < 8:
            assert time.monotonic() < deadline, "neither delayed nor done"
            if _has_input(self._parent.stdout.fileno()):
                return False
            steady = steady + 1 if self._status("State").startswith("t") else 0
            time.sleep(0.001)
        return True

    def _status(self, key: str) -> str:
        try:
            text = Path(f"/proc/{self._pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return "0"
        return next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(f"{key}:")), "0")


def _has_input(fd: int) -> bool:
    ready = select.poll()  # `select` knows no descriptor above 1023
    ready.register(fd, select.POLLIN)
    return bool(ready.poll(0))


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "strace neither attached nor detached"
        time.sleep(0.001)

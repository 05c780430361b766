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
from typing import Any, NamedTuple, Self

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
        self._pid = self._tracer = 0
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        """The calls of each operation on a store with this suffix."""
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
        """Attach strace with these options while the block runs. At its end, a call that is delayed goes on."""
        tracer = subprocess.Popen(
            [_strace(), "-f", "-qq", *options, "-p", str(self._pid)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        self._tracer = tracer.pid
        try:
            _wait_for(lambda: _status(self._pid).tracer != 0 or tracer.poll() is not None)
            assert tracer.poll() is None, tracer.communicate()[1].decode()
            yield
        finally:
            tracer.terminate()
            tracer.communicate()
            _wait_for(lambda: _status(self._pid).tracer == 0)

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
        """Wait until a delay holds the process up. Return False if it has answered, so that the call never came.

        The process also stops for each call that strace only looks at, but then strace is awake: it is delayed if it
        is in one stop, and strace asleep, from one look to the next.
        """
        assert self._parent.stdout is not None
        deadline = time.monotonic() + _DEADLINE
        before = None
        while not _has_input(self._parent.stdout.fileno()):
            assert time.monotonic() < deadline, "neither delayed nor done"
            now = _status(self._pid), _status(self._tracer)
            if now == before and [one.state for one in now] == ["t", "S"]:
                return True
            before = now
            time.sleep(0.001)
        return False


class _Status(NamedTuple):
    """What the system says about a process."""

    state: str = ""
    tracer: int = 0
    waits: int = 0
    """How often it has stopped or gone to sleep."""


def _status(pid: int) -> _Status:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return _Status()
    found = dict(line.split(":", 1) for line in text.splitlines())
    return _Status(found["State"].strip()[:1], int(found["TracerPid"]), int(found["voluntary_ctxt_switches"]))


def _has_input(fd: int) -> bool:
    ready = select.poll()  # `select` knows no descriptor above 1023
    ready.register(fd, select.POLLIN)
    return bool(ready.poll(0))


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "strace neither attached nor detached"
        time.sleep(0.001)

"""Shows long output in the person's pager."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from . import output

_WITH_HEADER = 600
"""The version of `less` from which on lines can stay at the top."""
_OPTIONS = "FRX"
"""The options of `less` if the person has set none: end if all fits on one screen (F), show colours (R), and leave
the text on the screen (X)."""


@contextlib.contextmanager
def paged(*, wanted: bool, header: int = 0) -> Iterator[Any]:
    """Yield the rich console to print to: of the pager if one is `wanted` and there is one, otherwise of the terminal.

    The pager is that of the environment variable PAGER, otherwise `less`. There is none if PAGER is empty or `cat`, and
    if the output goes to a pipe that is treated as a terminal. If the person leaves the pager, the rest of the block is
    skipped.

    The first `header` lines stay at the top while the person scrolls, in a `less` that can do that.
    """
    process = _started(header) if wanted else None
    if process is None:
        yield output.console()
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pager
    try:
        yield output.console(process.stdin)
    except BrokenPipeError:
        pass
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # type: ignore[union-attr]
        process.wait()
        signal.signal(signal.SIGINT, before)


def _started(header: int) -> subprocess.Popen[str] | None:
    """Start the pager. Return None if there is none, with a note if PAGER names one that cannot be started."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    named = os.environ.get("PAGER")
    if os.environ.get("TERM", "dumb") == "dumb" or (named is None and shutil.which("less") is None):
        return None
    try:
        words = ["less"] if named is None else shlex.split(named, posix=os.name == "posix")
        if not words or words == ["cat"]:
            return None
        if header and _keeps_header(words[0]):
            words = [*words, f"--header={header}"]
        output.deliver()
        return subprocess.Popen(  # noqa: S603 (the user's own pager)
            words,
            stdin=subprocess.PIPE,
            env={"LESS": _OPTIONS, **os.environ},
            encoding=sys.stdout.encoding,
            errors="backslashreplace",
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        output.note(f"PAGER is '{named}', which cannot be started: {reason}. Correct it, or use --no-pager.")
        return None


def _keeps_header(program: str) -> bool:
    """Return whether the pager is a `less` with the option `--header`. Raises OSError if it cannot be started."""
    if os.path.basename(program) != "less" or "LESS" in os.environ:
        return False
    done = subprocess.run([program, "--version"], capture_output=True, check=False)  # noqa: S603 (the user's own pager)
    version = re.match(rb"less ([0-9]+)", done.stdout)
    return version is not None and int(version[1]) >= _WITH_HEADER

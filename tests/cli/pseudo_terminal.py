"""Runs a command as a person sees it: in a pseudo-terminal of a given width."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

from .conftest import ENTRY_POINT, clean_environment

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """What came to the terminal."""

    def __init__(self, raw: str, code: int) -> None:
        self.raw = raw
        self.code = code
        self.text = _STYLE.sub("", raw).replace("\r\n", "\n")
        self.lines = self.text.splitlines()


def on_terminal(
    *args: str | Path, cwd: Path, columns: int = 100, env: Mapping[str, str] = {}, typed: bytes = b""
) -> Screen:
    """Run the command with a terminal as its input, output and error output, on which a person has `typed` ahead."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = clean_environment(TERM="xterm-256color", PYTHONUTF8="1", **env)
    process = subprocess.Popen(
        [ENTRY_POINT, *args],
        cwd=cwd,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, typed)
    chunks = []
    while chunk := _read(ours):
        chunks.append(chunk)
    os.close(ours)
    return Screen(b"".join(chunks).decode(), process.wait(60))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        if error.errno == errno.EIO:  # Linux: the other side closed its last descriptor
            return b""
        raise

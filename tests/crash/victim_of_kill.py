"""A process that kills itself at the n-th write to a document or lock file, as `kill -9` does."""

import os
import signal

from localstore import Message, Run
from localstore.disk import filesystem
from tests.crash.writer import STORAGES


class KilledSystem(filesystem.System):
    """Kills the process before, or in the middle of, the write with this number; counted from 1.

    A write is cut at the end of a page, because the system copies a page as a whole.
    """

    def __init__(self, number: int) -> None:
        self._left = number

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self._left -= 1
        if self._left == 0:
            half = (offset + len(data) // 2) // filesystem.PAGE * filesystem.PAGE
            if half > offset:
                super().write(fd, memoryview(data)[: half - offset], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        pass


def append(root: str, suffix: str, number: int, size: int) -> None:
    """Append a run with an answer of so many words, and be killed at the write with this number."""
    storage = STORAGES[suffix](root)
    filesystem.system = KilledSystem(number)
    messages = [Message(role="user", content="q"), Message(role="assistant", content="long " * size)]
    storage.append("s", Run(run_id="killed", messages=messages))

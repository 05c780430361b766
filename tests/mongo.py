"""A server that speaks the protocol of MongoDB, started once in each process that needs it.

It is SecantusDB, which stores like MongoDB and runs in a process and an environment of its own, and is not imported.
`LOCALSTORE_TEST_MONGO` is the URL of another server to use, such as a real mongod with a replica set.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.environments import interpreter_or_skip

_OTHER = os.environ.get("LOCALSTORE_TEST_MONGO")
_PATIENCE = 60.0


class MongoServer:
    """A server with a folder of its own, on a free port of this machine."""

    def __init__(self, *, durable: bool = False, prepare: Callable[[], None] | None = None) -> None:
        """Make the folder and start the server. Without `durable`, it waits for no disk.

        `prepare` is called in the process of the server before it starts.
        """
        python = interpreter_or_skip("secantusdb", ["SecantusDB==0.7.0b3"])
        self._program = str(python.parent / "secantusd-py")
        self.folder = Path(tempfile.mkdtemp(prefix="localstore-mongo-"))
        self.options = ["--sync-on-commit"] if durable else []
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.prepare = prepare
        self.start()
        atexit.register(self.remove)

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            command = [self._program, "--host", "127.0.0.1", "--port", str(self.port), "--storage-path"]
            self.process = subprocess.Popen(
                [*command, str(self.folder / "data"), *self.options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=self.prepare,
            )
        end = time.monotonic() + _PATIENCE
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """Kill the server as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        """Stop the server and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def mongo_url() -> str:
    """Return the URL of a server for this process."""
    return _OTHER or MongoServer().url

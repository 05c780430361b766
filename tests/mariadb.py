"""A MariaDB server for tests, started once in each process that needs it, where the program `mariadbd` is installed.

`LOCALSTORE_TEST_MARIADB` is the URL of another server to use: `mysql+pymysql://user:password@host/database`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest

_OTHER = os.environ.get("LOCALSTORE_TEST_MARIADB")
_PATIENCE = 60.0


class MariaDbServer:
    """A server with a folder of its own, which only listens on a socket in it. It waits for no disk."""

    def __init__(self) -> None:
        """Make the folder, start the server, and wait until it takes connections."""
        self.folder = Path(tempfile.mkdtemp(prefix="localstore-maria-", dir="/tmp"))  # paths of sockets are short
        data, socket = self.folder / "data", self.folder / "socket"
        user = ["--user=root"] if os.getuid() == 0 else []
        subprocess.run(
            [_program("mariadb-install-db"), "--no-defaults", *user, "--auth-root-authentication-method=normal",
             "--skip-test-db", f"--datadir={data}"],
            check=True, capture_output=True,
        )  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("mariadbd"), "--no-defaults", *user, f"--datadir={data}", f"--socket={socket}",
                 "--skip-networking", "--innodb-flush-log-at-trx-commit=0",
                 "--max-allowed-packet=256M"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        atexit.register(self.remove)
        self._client = [_program("mariadb"), "--no-defaults", "-u", "root", f"--socket={socket}", "-e"]
        end = time.monotonic() + _PATIENCE
        while subprocess.run([*self._client, "SELECT 1"], capture_output=True, check=False).returncode:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)  # between two questions, until the server answers
        subprocess.run([*self._client, "CREATE DATABASE localstore"], check=True)

    @property
    def url(self) -> str:
        return f"mysql+pymysql://root@localhost/localstore?unix_socket={self.folder / 'socket'}"

    def remove(self) -> None:
        """Stop the server and remove its folder."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _program(name: str) -> str:
    """Return the path of a program. Where it is not installed, the test is skipped, but fails in CI."""
    if (found := shutil.which(name)) is not None:
        return found
    reason = f"The test needs {name}. Install mariadb-server, or set LOCALSTORE_TEST_MARIADB to a URL."
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def mariadb_url() -> str:
    """Return the URL of a server for this process."""
    return _OTHER or MariaDbServer().url

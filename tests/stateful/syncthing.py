"""Two machines whose folders a real Syncthing keeps in step: two configurations on the loopback interface."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import pytest

_KEY = "localstore-tests"
_DEADLINE = 300.0
_FOLDER = "store"
_PATIENCE = 0.1
_CONFIG = """\
<configuration version="36">
  <folder id="store" path="{folder}" rescanIntervalS="0" fsWatcherEnabled="false">
    {members}
    <markerName>.stfolder</markerName>
    <maxConflicts>-1</maxConflicts>
    <minDiskFree unit="%">0</minDiskFree>
  </folder>
  {devices}
  <gui enabled="true" tls="false"><address>127.0.0.1:{gui}</address><apikey>{key}</apikey></gui>
  <options>
    <listenAddress>tcp://127.0.0.1:{port}</listenAddress>
    <globalAnnounceEnabled>false</globalAnnounceEnabled>
    <localAnnounceEnabled>false</localAnnounceEnabled>
    <relaysEnabled>false</relaysEnabled>
    <natEnabled>false</natEnabled>
    <startBrowser>false</startBrowser>
    <crashReportingEnabled>false</crashReportingEnabled>
    <autoUpgradeIntervalH>0</autoUpgradeIntervalH>
    <reconnectionIntervalS>1</reconnectionIntervalS>
    <urAccepted>-1</urAccepted>
    <stunServer></stunServer>
    <setLowPriority>false</setLowPriority>
    <minHomeDiskFree unit="%">0</minHomeDiskFree>
  </options>
</configuration>
"""


def _program() -> str:
    """Return the path of syncthing. Without it, skip the test; in CI, fail it."""
    path = shutil.which("syncthing")
    if path is not None:
        return path
    why = "syncthing is needed. Install it, for example with: apt-get install syncthing"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Machine:
    """One of the two: its folder, and the Syncthing that has it."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.port, self._gui = _free_ports(2)
        subprocess.run([_program(), f"-generate={home}"], check=True, capture_output=True)
        found = re.search(r'<device id="([A-Z0-9-]+)"', (home / "config.xml").read_text())
        assert found
        self.id = found[1]
        self.peer: Machine | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, machines: Sequence[Machine]) -> None:
        (self.peer,) = [machine for machine in machines if machine is not self]
        self.folder.mkdir(exist_ok=True)
        (self.folder / ".stfolder").mkdir()
        text = _CONFIG.format(
            folder=self.folder,
            members="".join(f'<device id="{machine.id}"/>' for machine in machines),
            devices="".join(
                f'<device id="{machine.id}"><address>tcp://127.0.0.1:{machine.port}</address></device>'
                for machine in machines
            ),
            gui=self._gui,
            port=self.port,
            key=_KEY,
        )
        (self.home / "config.xml").write_text(text)
        with (self.home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [_program(), f"-home={self.home}", "-no-browser", "-no-restart", "-logflags=3"],
                stdout=log,
                stderr=log,
                env={**os.environ, "STNOUPGRADE": "1"},
            )
        wait_for(self._answers, "Syncthing does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "log").read_text()
        with contextlib.suppress(OSError):
            self.ask("GET", "system/ping")
            return True
        return False

    def ask(self, method: str, what: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self._gui, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, f"/rest/{what}", headers={"X-API-Key": _KEY})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            return json.loads(body or b"null")

    def scan(self) -> None:
        """Let Syncthing look at every file. It returns when that is done."""
        self.ask("POST", f"db/scan?folder={_FOLDER}")

    def pause(self) -> None:
        assert self.peer is not None
        self.ask("POST", f"system/pause?device={self.peer.id}")

    def resume(self) -> None:
        assert self.peer is not None
        self.ask("POST", f"system/resume?device={self.peer.id}")

    def is_done(self) -> bool:
        """Return whether nothing is left to get from the other one, or to give to it."""
        assert self.peer is not None
        status = self.ask("GET", f"db/status?folder={_FOLDER}")
        connection = self.ask("GET", "system/connections")["connections"].get(self.peer.id, {})
        theirs = self.ask("GET", f"db/completion?folder={_FOLDER}&device={self.peer.id}")
        return bool(
            connection.get("connected")
            and status["state"] == "idle"
            and status["needTotalItems"] == 0
            and theirs["completion"] == 100
        )


class Pair:
    """Two machines, connected or apart. Files travel only when `together` is called."""

    def __init__(self, folder: Path, *, ignored: str | None) -> None:
        folder.mkdir()
        self._is_kept_out = ignored is None
        self.machines = [Machine(folder / f"home-{name}", folder / name) for name in ("laptop", "desktop")]
        for machine in self.machines:
            machine.folder.mkdir()
            if ignored is not None:
                (machine.folder / ".stignore").write_text(ignored)

    def __enter__(self) -> Self:
        try:
            for machine in self.machines:
                machine.start(self.machines)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines:
            machine.stop()

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Keep the machines from talking to each other, then let them agree."""
        for machine in self.machines:
            machine.pause()
        yield
        for machine in self.machines:
            machine.resume()
        self.together()

    def together(self) -> None:
        """Wait until both have seen what changed, and have the same files."""

        def agree() -> bool:
            for machine in self.machines:
                machine.scan()
            first, second = (_tree(machine.folder) for machine in self.machines)
            if first != second:
                return False
            # Indexes that travel while they are open may never settle.
            return not self._is_kept_out or all(machine.is_done() for machine in self.machines)

        wait_for(agree, "the folders do not become equal")


def _tree(folder: Path) -> dict[str, bytes]:
    """The files that travel."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith((".localstore", ".st"))
    }


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(_PATIENCE)

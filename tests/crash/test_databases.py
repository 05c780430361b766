"""Servers and clients are killed while they write: every acknowledged run is stored, once and in order."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from localstore import Filter, Message, Run, StoreUnavailable
from localstore.databases.backend import Backend
from localstore.databases.session_change import new_session
from localstore.databases.sql import SqlStorage
from tests.crash.cutting_proxy import CuttingProxy
from tests.effort import ci_only, rounds
from tests.postgres import PostgresServer, postgres_url

_log = logging.getLogger(__name__)
WRITERS = 3
_PATIENCE = 60.0
_EVERYTHING = Filter()


class Writers:
    """Processes that append runs, and what was acknowledged to them."""

    def __init__(self, folder: Path, url: str, schema: str = "") -> None:
        self._folder = folder
        self._url = url
        self._schema = schema
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for number in range(WRITERS):
            self.start(f"writer{number}")

    def ledger(self, name: str) -> Path:
        return self._folder / f"{name}.ledger"

    def start(self, name: str) -> None:
        words = [sys.executable, "-m", "tests.crash.database_writer", self._url, self._schema, name]
        self._processes[name] = subprocess.Popen([*words, str(self.ledger(name))])

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        assert process.poll() is None, "a writer ended by itself"
        process.kill()
        process.wait()

    def kill_all(self) -> None:
        for name in [*self._processes]:
            self.kill(name)

    def acknowledged(self) -> list[tuple[str, str]]:
        """Return the session and the id of each acknowledged run; those of one writer in their order."""
        lines: list[str] = []
        for path in sorted(self._folder.glob("*.ledger")):
            text = path.read_text()
            lines += text[: text.rfind("\n") + 1].splitlines()
        return [(session_id, run_id) for session_id, run_id in (line.split() for line in lines)]

    def wait_for_more(self, more: int) -> None:
        """Wait until so many more runs were acknowledged."""
        goal, end = len(self.acknowledged()) + more, time.monotonic() + _PATIENCE
        while len(self.acknowledged()) < goal:
            assert time.monotonic() < end, "the writers do not go on"
            time.sleep(0.005)


def assert_all_there(storage: SqlStorage, acknowledged: list[tuple[str, str]]) -> None:
    stored = {}
    for session_id in storage:
        session = storage.read(session_id)
        assert session is not None
        stored[session_id] = [run.run_id for run in session.runs]
        assert len(set(stored[session_id])) == len(stored[session_id]), "a run is stored twice"
    for session_id in {session_id for session_id, _ in acknowledged}:
        for writer in {run_id.partition("-")[0] for _, run_id in acknowledged}:
            own = [run_id for one, run_id in acknowledged if one == session_id and run_id.startswith(f"{writer}-")]
            found = [run_id for run_id in stored[session_id] if run_id.startswith(f"{writer}-")]
            assert found[: len(own)] == own, "a run is missing, or not in its place"
            assert len(found) <= len(own) + 1, "more is stored than was written"
    assert_sound(storage._backend)


def assert_sound(backend: Backend) -> None:
    """What the rows say is what the entries have."""
    for session_id in [row["session_id"] for _, row in backend.page(_EVERYTHING, None, None, newest_first=True)]:
        stored = backend.read(session_id)
        assert stored is not None
        counted = new_session(stored.header, stored.entries).row
        for name in ("entries", "runs", "updated_at", "overview", "unfinished_offsets"):
            assert stored.row.get(name) == counted.get(name), name
        assert stored.row["fingerprint"][0] == counted["fingerprint"][0]


def _kill_writers(storage: Callable[[], SqlStorage], writers: Writers, times: int) -> None:
    try:
        for number in range(times):
            writers.wait_for_more(5)
            name = f"writer{number % WRITERS}"
            writers.kill(name)
            writers.start(name)
        writers.wait_for_more(5)
    finally:
        writers.kill_all()
    acknowledged = writers.acknowledged()
    assert_all_there(storage(), acknowledged)
    _log.info("%s clients killed, %s runs acknowledged", times, len(acknowledged))


@ci_only
def test_killed_clients_lose_nothing_in_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    _kill_writers(lambda: SqlStorage(url), Writers(tmp_path, url), rounds(2, 8, 100))


@ci_only
def test_killed_clients_lose_nothing_in_postgres(tmp_path: Path) -> None:
    url = postgres_url()
    writers = Writers(tmp_path, url, "killed")
    _kill_writers(lambda: SqlStorage(url, schema="killed"), writers, rounds(2, 6, 100))


@ci_only
@pytest.mark.timeout(1200)
def test_a_killed_server_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """PostgreSQL is killed in the middle of appends, starts again, and the clients go on by themselves."""
    server = PostgresServer(durable=True)
    writers = Writers(tmp_path, server.url)
    times = rounds(1, 3, 20)
    try:
        for _ in range(times):
            writers.wait_for_more(30)
            server.kill()
            server.start()
        writers.wait_for_more(30)
    finally:
        writers.kill_all()
    storage = SqlStorage(server.url)
    acknowledged = writers.acknowledged()
    assert_all_there(storage, acknowledged)
    storage.close()
    server.remove()
    _log.info("%s servers killed, %s runs acknowledged", times, len(acknowledged))


@ci_only
def test_a_network_that_cuts_connections_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """A connection is cut in the middle of a question or an answer, also between a commit and its acknowledgement."""
    server = PostgresServer()
    folder = server.folder / "proxy"
    folder.mkdir()
    proxy = CuttingProxy(folder / ".s.PGSQL.5432", server.folder / ".s.PGSQL.5432", seed=1)
    storage = None
    acknowledged: list[tuple[str, str]] = []
    try:
        while storage is None:
            with suppress(StoreUnavailable):
                storage = SqlStorage(server.url.replace(str(server.folder), str(folder)))
        for number in range(rounds(10, 60, 2000)):
            run = Run(run_id=f"writer-{number}", messages=[Message(role="user", content=str(number))])
            while True:
                with suppress(StoreUnavailable):
                    storage.append("s1", run)
                    break
            acknowledged.append(("s1", run.run_id))
        proxy.is_cutting = False
        assert_all_there(storage, acknowledged)
        assert proxy.cuts > rounds(1, 4, 100)
        _log.info("%s connections cut, %s runs acknowledged", proxy.cuts, len(acknowledged))
    finally:
        if storage is not None:
            storage.close()
        proxy.close()
        server.remove()

"""A MongoDB server is killed in the middle of appends, and so are its clients: every acknowledged run is there once."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from localstore import LocalstoreError
from localstore.databases.mongo import MongoDbStorage
from tests.contract.runs import answered, read
from tests.effort import ci_only, rounds
from tests.mongo import MongoServer

_log = logging.getLogger(__name__)
WRITERS = 4
PATIENCE = 60.0
ROOT = Path(__file__).parents[2]


class Writer(threading.Thread):
    """Appends runs to a session of its own and to one of all, each until it is acknowledged."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(daemon=True)
        self.name = name
        self.storage = MongoDbStorage(db_url=url, db_name="kills", lock_timeout=5)
        self.acknowledged = 0
        self.repeated = 0
        self.ends = threading.Event()

    def run(self) -> None:
        while not self.ends.is_set():
            for session_id in (self.name, "all"):
                self._append(session_id, answered(f"{self.name}-{self.acknowledged}"))
            self.acknowledged += 1
        self.storage.close()

    def _append(self, session_id: str, run: object) -> None:
        while True:
            try:
                return self.storage.append(session_id, run)  # type: ignore[arg-type]
            except LocalstoreError:
                self.repeated += 1


def wait_for_more(writers: list[Writer], more: int) -> None:
    """Wait until each writer has this many more runs acknowledged."""
    wanted = [writer.acknowledged + more for writer in writers]
    end = time.monotonic() + PATIENCE
    while any(writer.acknowledged < number for writer, number in zip(writers, wanted, strict=True)):
        assert time.monotonic() < end, [writer.acknowledged for writer in writers]
        time.sleep(0.01)


@ci_only
def test_a_killed_server_loses_and_doubles_no_run() -> None:
    server = MongoServer(durable=True)
    try:
        writers = [Writer(server.url, f"w{number}") for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for number in range(rounds(1, 2, 20)):
            wait_for_more(writers, 1 + number % 2)
            server.kill()
            server.start()
        wait_for_more(writers, 1)
        for writer in writers:
            writer.ends.set()
        for writer in writers:
            writer.join(PATIENCE)
            assert not writer.is_alive()
        with MongoDbStorage(db_url=server.url, db_name="kills") as storage:
            everybody = [run.run_id for run in read(storage, "all").runs]
            assert max(Counter(everybody).values()) == 1
            for writer in writers:
                expected = [f"{writer.name}-{number}" for number in range(writer.acknowledged)]
                assert [run.run_id for run in read(storage, writer.name).runs] == expected
                assert [one for one in everybody if one.startswith(f"{writer.name}-")] == expected
        _log.info("%s runs, %s repeated", len(everybody), sum(writer.repeated for writer in writers))
    finally:
        server.remove()


CLIENT = """
import sys
from localstore.databases.mongo import MongoDbStorage
from tests.contract.runs import answered
with MongoDbStorage(db_url=sys.argv[1], db_name="clients", lock_timeout=90) as storage:
    number = 0
    while True:
        storage.append("all", answered(f"{sys.argv[2]}-{number}"))
        print(number, flush=True)
        number += 1
"""


@ci_only
def test_a_killed_client_leaves_every_acknowledged_run_once() -> None:
    """One that is killed between a write and the commit keeps its session for a minute, as the server decides."""
    server = MongoServer()
    try:
        acknowledged: dict[str, int] = {}
        for number in range(rounds(1, 1, 20)):
            names = [f"c{number}x", f"c{number}y"]
            clients = [
                subprocess.Popen(
                    [sys.executable, "-c", CLIENT, server.url, name], cwd=ROOT, stdout=subprocess.PIPE, text=True
                )
                for name in names
            ]
            for client in clients:
                assert client.stdout is not None
                for _ in range(2 + number % 3):
                    assert client.stdout.readline()
            for name, client in zip(names, clients, strict=True):
                client.send_signal(signal.SIGKILL)
                printed = client.communicate()[0].split()
                acknowledged[name] = 2 + number % 3 + len(printed)
        with MongoDbStorage(db_url=server.url, db_name="clients") as storage:
            stored = [run.run_id for run in read(storage, "all").runs]
        assert max(Counter(stored).values()) == 1
        for name, count in acknowledged.items():
            own = [one for one in stored if one.startswith(f"{name}-")]
            assert own == [f"{name}-{at}" for at in range(len(own))]
            assert count <= len(own) <= count + 1
    finally:
        server.remove()

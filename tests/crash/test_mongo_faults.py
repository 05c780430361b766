"""The network to a MongoDB server breaks, it is full or refuses to write, and clients create a session at once."""

from __future__ import annotations

import logging
import resource
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from localstore import Message, Run, StoreUnavailable
from localstore.databases.mongo import MongoDbStorage
from tests.contract.runs import answered, read, run_ids
from tests.contract.storages import name_of
from tests.crash.cutting_proxy import CuttingProxy
from tests.effort import ci_only, rounds
from tests.mongo import MongoServer, mongo_url

_log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
pytestmark = ci_only


@pytest.mark.parametrize("kind", ["cuts", "drops and delays"])
def test_a_network_that_breaks_loses_and_doubles_nothing(kind: str) -> None:
    """A connection breaks in the middle of a question or an answer, also between a commit and its acknowledgement."""
    server = MongoServer()
    breaks = kind != "cuts"
    proxy = CuttingProxy(("127.0.0.1", 0), ("127.0.0.1", server.port), seed=1, drops=breaks, delays=breaks)
    url = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true&heartbeatFrequencyMS=500&socketTimeoutMS=1000"
    storage = None
    acknowledged: list[str] = []
    try:
        while storage is None:
            with suppress(StoreUnavailable):
                storage = MongoDbStorage(db_url=url, lock_timeout=70)
        for number in range(rounds(2, 25, 1000)):
            run = Run(run_id=f"r{number}", messages=[Message(role="user", content=str(number))])
            while True:
                with suppress(StoreUnavailable):
                    storage.append("s1", run)
                    break
            acknowledged.append(run.run_id)
        proxy.is_cutting = False
        assert run_ids(storage, "s1") == acknowledged
        assert [*storage.check()] == []
        assert proxy.cuts > rounds(0, 3, 100)
        _log.info("%s cut, %s dropped, %s runs", proxy.cuts, proxy.dropped, len(acknowledged))
    finally:
        if storage is not None:
            storage.close()
        proxy.close()
        server.remove()


def test_a_server_that_does_not_answer_is_an_error_in_a_bounded_time() -> None:
    """It was waited for without an end."""
    server = MongoServer()
    proxy = CuttingProxy(("127.0.0.1", 0), ("127.0.0.1", server.port), seed=1)
    proxy.is_cutting = False
    url = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
    with ExitStack() as opened:
        storage = opened.enter_context(MongoDbStorage(db_url=url))
        impatient = opened.enter_context(_impatient(f"{url}&socketTimeoutMS=200"))
        storage.append("s", answered("r1"))
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="repeat the call: no run is stored twice"):
                impatient.append("s", answered("r2"))
        finally:
            server.process.send_signal(signal.SIGCONT)
        storage.append("s", answered("r2"))
        assert run_ids(storage, "s") == ["r1", "r2"]
    proxy.close()
    server.remove()


def _impatient(url: str) -> MongoDbStorage:
    """A storage that waits less for an answer than a busy machine may take, once it has been opened."""
    while True:
        with suppress(StoreUnavailable):
            return MongoDbStorage(db_url=url, lock_timeout=1)


def _bounded() -> None:
    """Let no file grow beyond 4 MB: a write to one fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))


def test_a_full_server_is_one_error_and_the_store_is_sound_once_there_is_room() -> None:
    """SecantusDB acknowledges the commit that finds the disk full, and loses it: one run may be missing."""
    server = MongoServer(durable=True, prepare=_bounded)
    acknowledged: list[str] = []
    try:
        with MongoDbStorage(db_url=server.url, lock_timeout=1) as storage, suppress(StoreUnavailable):
            for number in range(200):
                storage.append("s", answered(f"r{number}", question="x" * 500_000))
                acknowledged.append(f"r{number}")
        assert 0 < len(acknowledged) < 200
        server.kill()
        server.prepare = None
        server.start()
        with MongoDbStorage(db_url=server.url) as storage:
            stored = run_ids(storage, "s")
            assert stored == [f"r{number}" for number in range(len(stored))]
            assert len(acknowledged) - 1 <= len(stored) <= len(acknowledged) + 1
            storage.append("s", answered("after"))
            assert [*storage.check()] == []
        _log.info("full after %s runs", len(acknowledged))
    finally:
        server.remove()


def test_a_user_who_may_only_read_reads_and_gets_one_error() -> None:
    server = MongoServer(durable=True)
    try:
        with MongoDbStorage(db_url=server.url, db_name="db") as storage:
            storage.append("s", answered("r1"))
        with MongoClient[dict[str, Any]](server.url) as client:
            options: dict[str, Any] = {"pwd": "s3cret", "roles": [{"role": "read", "db": "db"}]}
            client["admin"].command("createUser", "reader", **options)
        server.kill()
        server.options.append("--auth")
        server.start()
        url = server.url.replace("//", "//reader:s3cret@") + "/db?authSource=admin"
        with MongoDbStorage(db_url=url) as storage:
            assert run_ids(storage, "s") == ["r1"]
            with pytest.raises(StoreUnavailable, match="role readWrite") as caught:
                storage.append("s", answered("r2"))
            assert "s3cret" not in str(caught.value)
            assert "\n" not in str(caught.value)
            assert run_ids(storage, "s") == ["r1"]
        with pytest.raises(StoreUnavailable, match=r"authentication failed.*password in the URL"):
            MongoDbStorage(db_url=url.replace("s3cret", "wrong"))
    finally:
        server.remove()


CLIENT = """
import sys
from localstore.databases.mongo import MongoDbStorage
from tests.contract.runs import answered
with MongoDbStorage(db_url=sys.argv[1], db_name=sys.argv[2], lock_timeout=60) as storage:
    print(flush=True)
    for line in sys.stdin:
        storage.append(line.strip(), answered(sys.argv[3]))
        print(flush=True)
"""


def test_processes_that_create_a_session_at_once_each_have_their_run_in_it(tmp_path: Path) -> None:
    url, database = mongo_url(), name_of(tmp_path)
    names = ["a", "b"]
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, url, database, name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    sessions = [f"s{number}" for number in range(rounds(3, 8, 300))]
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline()
    for session_id in sessions:
        for client in clients:
            assert client.stdin is not None
            client.stdin.write(f"{session_id}\n")
            client.stdin.flush()
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline()
    for client in clients:
        client.communicate()
        assert client.returncode == 0
    with MongoDbStorage(db_url=url, db_name=database) as storage:
        assert sorted(storage) == sorted(sessions)
        for session_id in sessions:
            assert sorted(run_ids(storage, session_id)) == names
        assert [*storage.check()] == []


def test_threads_that_create_a_session_with_the_same_run_store_it_once(tmp_path: Path) -> None:
    """As a client that repeats a call whose answer it did not get."""
    with MongoDbStorage(db_url=mongo_url(), db_name=name_of(tmp_path), lock_timeout=60) as storage:
        start = threading.Barrier(4)

        def work() -> None:
            for number in range(rounds(1, 3, 50)):
                start.wait()
                storage.append(f"s{number}", answered("r1"))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for session_id in storage:
            assert Counter(run.run_id for run in read(storage, session_id).runs) == {"r1": 1}

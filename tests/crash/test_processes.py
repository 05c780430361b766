"""Many processes and threads on one store, and processes that fork in the middle of a write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import JsonStorage, LockTimeout, Message, Run, YamlStorage
from localstore.disk import filesystem
from tests import oracle
from tests.crash.faults import installed
from tests.crash.writer import STORAGES
from tests.effort import ci_only, rounds

Storage = JsonStorage | YamlStorage
pytestmark = ci_only
_HOME = Path(__file__).parents[2]
each_format = pytest.mark.parametrize("suffix", sorted(STORAGES))


def _run(run_id: str) -> Run:
    return Run(run_id=run_id, messages=[Message(role="user", content=run_id)])


def _start(root: Path, suffix: str, count: int, threads: int, runs: int) -> subprocess.Popen[bytes]:
    """Start processes that all begin to append when each of them is ready. Return their parent."""
    command = [sys.executable, "-m", "tests.crash.appender", str(root), suffix, *map(str, (count, threads, runs))]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=_HOME)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdin.write(b"go\n")
    process.stdin.flush()
    return process


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


@each_format
def test_eight_processes_of_eight_threads_append_to_one_session(suffix: str, tmp_path: Path) -> None:
    """The session does not exist when they begin: the first ones create it at the same moment."""
    _finish(_start(tmp_path, suffix, count=8, threads=8, runs=5))
    found = oracle.sessions(tmp_path)
    assert list(found) == ["shared"]
    ids = found["shared"].run_ids
    assert len(ids) == len(set(ids)) == 8 * 8 * 5
    for process in range(8):
        for thread in range(8):
            own = [one for one in ids if one.startswith(f"p{process}-{thread}-")]
            assert own == [f"p{process}-{thread}-{number}" for number in range(5)]
    assert oracle.manifest(tmp_path)["shared"]["runs"] == 8 * 8 * 5
    assert [info.runs for info in STORAGES[suffix](tmp_path).list_sessions(user_id="alice")] == [8 * 8 * 5]
    oracle.assert_own_layout(found["shared"])
    oracle.assert_sound(tmp_path)
    oracle.assert_private(tmp_path)


@each_format
def test_a_session_created_by_eight_processes_at_once_is_one_document(suffix: str, tmp_path: Path) -> None:
    for attempt in range(rounds(1, 2, 20)):
        root = tmp_path / str(attempt)
        _finish(_start(root, suffix, count=8, threads=1, runs=1))
        assert len(oracle.document_paths(root)) == 1
        assert sorted(oracle.sessions(root)["shared"].run_ids) == [f"p{number}-0-0" for number in range(8)]


@each_format
def test_listing_while_others_create_and_delete_never_fails_nor_misses_what_stays(suffix: str, tmp_path: Path) -> None:
    writer, reader = STORAGES[suffix](tmp_path, durability="relaxed"), STORAGES[suffix](tmp_path)
    for number in range(5):
        writer.append(f"stays{number}", _run("r"))
    stays = {f"stays{number}" for number in range(5)}
    done = threading.Event()
    failed: list[BaseException] = []

    def churn(name: str) -> None:
        try:
            for number in range(60):
                writer.append(f"{name}{number}", _run("r"))
                assert writer.delete_session(f"{name}{number}")
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            done.set()

    workers = [threading.Thread(target=churn, args=(name,)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    process = _start(tmp_path, suffix, count=2, threads=2, runs=20)
    listings = 0
    while listings < 3 or any(worker.is_alive() for worker in workers) or process.poll() is None:
        infos = reader.list_sessions()
        ids = [info.session_id for info in infos]
        assert stays <= set(ids)
        assert len(ids) == len(set(ids))
        assert [info.problem for info in infos if info.session_id in stays] == [None] * 5
        assert {session.session_id for session in reader.get_all_sessions()} >= stays
        listings += 1
    for worker in workers:
        worker.join()
    _finish(process)
    assert failed == []
    assert set(reader.get_all_session_ids()) == stays | {"shared"} == oracle.sessions(tmp_path).keys()
    oracle.assert_sound(tmp_path)


class _Paused(filesystem.System):
    """Stops in the middle of the first operation that `is_it` names, until somebody lets it go on."""

    def __init__(self, is_it: Callable[[str], bool]) -> None:
        self._is_it = is_it
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        if not self.reached.is_set() and self._is_it(os.readlink(f"/proc/self/fd/{fd}")):
            self.reached.set()
            assert self.go_on.wait(60)
        return super().write(fd, data, offset)


def _in_child(work: Callable[[], None]) -> int:
    """The exit code of a forked child that does `work`: 0 when it did, 1 when it failed; minus a signal's number when
    it hung."""
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 (a child must never go on as the test)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


needs_fork = pytest.mark.skipif(not Path("/proc/self/fd").exists() or not hasattr(os, "fork"), reason="needs fork")
_in_threads = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@needs_fork
@_in_threads
@each_format
@pytest.mark.parametrize("inside", ["the document", "the manifest"])
def test_a_child_forked_while_another_thread_writes_neither_hangs_nor_takes_its_lock(
    suffix: str, inside: str, tmp_path: Path
) -> None:
    """The thread does not exist in the child, and what it held there would be held for ever."""
    storage = STORAGES[suffix](tmp_path, lock_timeout=1)
    storage.append("s", _run("before"))
    storage.append("other", _run("before"))
    name = suffix if inside == "the document" else "manifest.jsonl"
    system = _Paused(lambda path: path.endswith(name))
    thread = threading.Thread(target=storage.append, args=("s", _run("parent")))

    def child_reads_and_is_kept_out() -> None:
        filesystem.system = filesystem.System()
        session = storage.read("other")
        assert session is not None
        assert len(storage.list_sessions()) == 2
        impatient = STORAGES[suffix](tmp_path, lock_timeout=0.05)
        try:
            impatient.append("s", _run("child"))
        except LockTimeout:
            return
        raise AssertionError("the child got the lock that the parent holds")

    with installed(system):
        thread.start()
        assert system.reached.wait(60)
        code = _in_child(child_reads_and_is_kept_out)
        system.go_on.set()
        thread.join()
    assert code == 0
    assert _in_child(lambda: storage.append("s", _run("child"))) == 0
    storage.append("s", _run("after"))
    assert oracle.sessions(tmp_path)["s"].run_ids == ["before", "parent", "child", "after"]
    oracle.assert_sound(tmp_path)


@needs_fork
@_in_threads
@each_format
def test_parent_and_children_go_on_writing_with_the_same_storage(suffix: str, tmp_path: Path) -> None:
    storage = STORAGES[suffix](tmp_path, lock_timeout=60)
    storage.append("s", _run("before"))
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            try:
                for turn in range(10):
                    storage.append("s", _run(f"c{number}-{turn}"))
                os._exit(0)
            except BaseException:  # noqa: BLE001 (a child must never go on as the test)
                os._exit(1)
        children.append(child)
    for turn in range(10):
        storage.append("s", _run(f"p-{turn}"))
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    ids = oracle.sessions(tmp_path)["s"].run_ids
    assert len(ids) == len(set(ids)) == 51
    for name in ("p", "c0", "c1", "c2", "c3"):
        assert [one for one in ids if one.startswith(f"{name}-")] == [f"{name}-{turn}" for turn in range(10)]
    session = storage.read("s")
    assert session is not None
    assert [run.run_id for run in session.runs] == ids

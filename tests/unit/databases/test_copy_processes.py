"""Copies to PostgreSQL that several processes share."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from localstore import JsonStorage, Message, Run
from localstore.databases.sql import PostgresStorage
from localstore.errors import StoreUnavailable
from localstore.maintenance import copying
from tests.effort import ci_only
from tests.postgres import PASSWORD, PostgresServer, postgres_url

pytestmark = ci_only
_SESSIONS = 30


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JsonStorage:
    monkeypatch.setattr(copying, "_WORTH_PROCESSES", 0)
    monkeypatch.setattr(copying, "_BATCH", 3)
    storage = JsonStorage(tmp_path / "folder")
    with storage.bulk():
        for number in range(_SESSIONS):
            storage.append(f"s{number}", Run(messages=[Message(role="user", content=f"Question {number}?")]))
    return storage


@pytest.fixture
def target() -> Iterator[PostgresStorage]:
    with PostgresStorage(db_url=postgres_url(), schema="copied") as storage:
        storage.drop()
        yield storage


def test_after_a_process_is_killed_the_next_copy_does_the_rest(folder: JsonStorage, target: PostgresStorage) -> None:
    def kill(_: int, __: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(ChildProcessError, match="A worker process"):
        folder.copy_to(target, jobs=2, progress=kill)
    done = folder.copy_to(target, jobs=2)
    assert (len(done.added) + done.unchanged, done.skipped) == (_SESSIONS, [])
    assert sorted(target) == sorted(folder)
    assert not [*target.check()]


def test_no_program_sees_the_password_of_a_url(folder: JsonStorage, target: PostgresStorage) -> None:
    """The arguments and the environment of every process can be read by others."""
    seen: list[bytes] = []

    def look(_: int, __: int) -> None:
        for child in multiprocessing.active_children():
            seen.extend(Path(f"/proc/{child.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))

    folder.copy_to(target, jobs=2, progress=look)
    assert any(b"spawn_main" in one for one in seen)
    assert not any(PASSWORD.encode() in one for one in seen)


def test_an_error_in_another_process_names_the_database_once(folder: JsonStorage, tmp_path: Path) -> None:
    """Such as that the server was stopped: the error is one, without a password, and no process stays."""
    server = PostgresServer(durable=True)  # otherwise, the crash may lose the tables
    target = PostgresStorage(db_url=server.url)

    def stop(done: int, _: int) -> None:
        if done == 3:  # the first batch
            server.kill()

    with pytest.raises(StoreUnavailable) as caught:
        folder.copy_to(target, jobs=2, progress=stop)
    assert PASSWORD not in str(caught.value)
    assert not multiprocessing.active_children()
    server.start()
    assert not folder.copy_to(target).skipped
    assert sorted(target) == sorted(folder)


def test_copies_of_a_session_are_named_whichever_process_reads_it(folder: JsonStorage, target: PostgresStorage) -> None:
    """Once each, and here: nobody sees the warnings of other processes."""
    for number in range(_SESSIONS):
        path = folder.path(f"s{number}")
        path.with_name(f"{path.stem} (conflicted copy 2026-01-02).json").write_bytes(path.read_bytes())
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        JsonStorage(folder.root).copy_to(target, jobs=2)
    named = sorted(str(one.message).partition(" has ")[0] for one in given)
    assert named == sorted(f"Session 's{number}'" for number in range(_SESSIONS))

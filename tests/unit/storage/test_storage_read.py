"""Reading: the last runs at the cost of these, never a byte changed, other versions refused."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from localstore import NewerFormat, Session, Update
from tests.unit.raw import Storage, answered, edit, question
from tests.unit.watched_disk import WatchedDisk


@pytest.mark.parametrize("last_runs", [0, 1, 2, 3, 7, 99, None])
@pytest.mark.parametrize("trusted", [True, False])
def test_the_last_runs_are_read_with_what_follows_them(storage: Storage, last_runs: int | None, trusted: bool) -> None:
    storage.append("s1", answered("r0", instructions="old", session_state={"n": -1}))
    for number in range(1, 7):
        storage.append("s1", answered(f"r{number}"))
        storage.update("s1", session_state={"n": number})
    if not trusted:
        os.utime(storage.path("s1"))
    session = storage.read("s1", last_runs=last_runs)
    assert session is not None
    count = 7 if last_runs is None else min(last_runs, 7)
    assert [run.run_id for run in session.runs] == [f"r{number}" for number in range(7 - count, 7)]
    assert (session.session_state, session.instructions) == ({"n": 6}, "old")
    updates = [entry for entry in session.history if isinstance(entry, Update)]
    assert len(updates) == min(count, 6)


@pytest.mark.parametrize("last_runs", [-1, 1.0, "1", True])
def test_the_number_of_last_runs_is_a_whole_number(storage: Storage, last_runs: Any) -> None:
    with pytest.raises(ValueError, match="last_runs must be"):
        storage.read("s1", last_runs=last_runs)


def test_reading_the_last_runs_costs_these_runs(storage: Storage, disk: WatchedDisk) -> None:
    entries = [
        answered(f"r{number}", "x" * 500, session_state={"n": 0} if not number else None) for number in range(800)
    ]
    storage.upsert(Session(session_id="s1", history=list(entries)))
    path = storage.path("s1")
    disk.forget()
    session = type(storage)(storage.root).read("s1", last_runs=3)
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r797", "r798", "r799"]
    assert session.session_state == {"n": 0}
    assert disk.size("read", path.name) < 60_000 < path.stat().st_size / 5
    assert not disk.of("open", name=".lock"), "reading takes no lock"


def test_reading_changes_no_byte(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = path.read_bytes()
    for last_runs in (None, 1):
        assert type(storage)(storage.root).read("s1", last_runs=last_runs) is not None
    storage.list_sessions()
    assert path.read_bytes() == before


@pytest.mark.parametrize("fresh", [True, False], ids=["another process", "the same process"])
def test_a_newer_document_is_refused_and_stays_byte_for_byte(storage: Storage, fresh: bool) -> None:
    storage.append("s1", answered("r1"), user_id="alice")
    path = storage.path("s1")
    if path.suffix == ".json":
        edit(path, '"schema_version": 1', '"schema_version": 2')
    else:
        edit(path, "schema_version: 1", "schema_version: 2")
    before = path.read_bytes()
    opened = type(storage)(storage.root) if fresh else storage
    session = Session(session_id="s1")
    calls: list[Callable[[], object]] = [
        lambda: opened.read("s1"),
        lambda: opened.read("s1", last_runs=1),
        lambda: opened.append("s1", question("r2")),
        lambda: opened.update("s1", name="n"),
        lambda: opened.upsert(session),
    ]
    for call in calls:
        with pytest.raises(NewerFormat, match="Update localstore") as caught:
            call()
        assert caught.value.path == str(path)
    assert path.read_bytes() == before
    (info,) = opened.list_sessions()
    assert "schema version 2" in (info.problem or "")
    assert opened.path("s1") == path

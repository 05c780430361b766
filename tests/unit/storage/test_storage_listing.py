"""Listing: the newest activity first, filtered and limited, with all that a row says."""

import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from localstore import Update
from localstore.index import row_queries, session_index
from localstore.index.document_row import Torn
from localstore.index.row import IndexRow
from localstore.models.session_info import SortKey
from tests.effort import ci_only, rounds
from tests.unit.raw import Storage, answered, question


@pytest.fixture
def full(storage: Storage) -> Storage:
    """Five sessions of two users, stored in an order that is not that of their times."""
    for name, minute, user_id, kind, entity_id in (
        ("c", 3, "alice", "agent", "geographer"),
        ("a", 1, "alice", "agent", "geographer"),
        ("e", 5, "bob", "team", "geographer"),
        ("b", 2, "bob", "agent", "chef"),
        ("d", 4, None, None, None),
    ):
        run = answered(f"run-{name}", created_at=datetime(2026, 11, 22, 7, minute, tzinfo=UTC))
        storage.append(name, run, user_id=user_id, kind=kind, entity_id=entity_id)
    return storage


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "edcba"),
        ({"user_id": "alice"}, "ca"),
        ({"user_id": "bob"}, "eb"),
        ({"user_id": "nobody"}, ""),
        ({"user_id": ""}, ""),
        ({"entity_id": "geographer"}, "eca"),
        ({"kind": "team"}, "e"),
        ({"kind": "workflow"}, ""),
        ({"user_id": "bob", "entity_id": "geographer"}, "e"),
        ({"user_id": "bob", "kind": "agent"}, "b"),
        ({"entity_id": "geographer", "kind": "agent"}, "ca"),
        ({"user_id": "alice", "entity_id": "geographer", "kind": "agent", "limit": 1}, "c"),
        ({"limit": 0}, ""),
        ({"limit": 2}, "ed"),
        ({"limit": 99}, "edcba"),
        ({"kind": "agent", "limit": 2}, "dc"),
    ],
)
def test_the_newest_activity_comes_first(full: Storage, filters: dict[str, Any], expected: str) -> None:
    assert "".join(info.session_id for info in full.list_sessions(**filters)) == expected
    filters = {**filters}
    limit = filters.pop("limit", None)
    ids = full.get_all_session_ids(**filters)
    sessions = full.get_all_sessions(**filters)
    assert [session.session_id for session in sessions] == ids
    assert [session.session_id for session in full.get_recent_sessions(**filters, limit=limit)] == ids[:limit]
    assert [session.session_id for session in full.get_recent_sessions(**filters)] == ids[:2]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("updated", "edcba"), ("created", "edcba"), ("runs", "aedcb"), ("size", "a"), ("name", "dae")],
)
def test_a_listing_is_sorted(full: Storage, sort: SortKey, expected: str) -> None:
    """Those that are equal stay in the order of their activity. The index knows one order alone, and cursors too."""
    for number in range(3):
        full.append("a", answered(f"more-{number}", created_at=datetime(2020, 1, 1, tzinfo=UTC)))
    full.update("d", name="A title")
    full.update("a", name="b title")
    ids = [info.session_id for info in full.list_sessions(sort=sort)]
    assert "".join(ids).startswith(expected)
    assert [info.session_id for info in full.list_sessions(sort=sort, limit=2)] == ids[:2]
    assert [info.session_id for info in full.list_sessions(sort=sort, newest_first=False)] == ids[::-1]
    if sort != "updated":
        with pytest.raises(ValueError, match="after needs"):
            full.list_sessions(sort=sort, after=full.list_sessions(limit=1)[0].cursor)
    with pytest.raises(ValueError, match="sort must be one of updated, created"):
        full.list_sessions(sort="updates")  # type: ignore[arg-type]


def test_new_activity_moves_a_session_to_the_front(full: Storage) -> None:
    full.append("a", answered("next"))
    assert full.get_all_session_ids()[0] == "a"
    full.update("b", session_state={"x": 1})
    assert full.get_all_session_ids()[:2] == ["b", "a"]
    assert type(full)(full.root).get_all_session_ids() == full.get_all_session_ids()


def test_a_row_says_all_that_the_manifest_knows(full: Storage) -> None:
    full.update("e", name="Trip", tags=["x", "y"])
    full.append("e", question("r2", status="unfinished"))
    info = full.list_sessions(kind="team")[0]
    path = full.path("e")
    session = full.read("e")
    assert session is not None
    assert (info.session_id, info.kind, info.entity_id, info.user_id) == ("e", "team", "geographer", "bob")
    assert (info.name, info.tags, info.runs, info.schema_version) == ("Trip", ("x", "y"), 2, 1)
    assert info.created_at == datetime(2026, 11, 22, 7, 5, tzinfo=UTC)
    assert info.updated_at == session.runs[-1].created_at
    assert (info.size, info.path, info.problem) == (path.stat().st_size, path, None)
    assert (info.title, info.status) == ("Trip", "unfinished")
    assert info == full.list_sessions(kind="team")[0]
    assert pickle.loads(pickle.dumps(info)) == info  # noqa: S301
    assert info.as_dict()["tags"] == ["x", "y"]
    assert "problem" not in info.as_dict()
    with pytest.raises(AttributeError):
        info.runs = 3  # type: ignore[misc]


def test_what_has_no_value_is_none_in_a_row_and_absent_in_its_mapping(full: Storage) -> None:
    info = next(info for info in full.list_sessions() if info.session_id == "d")
    assert (info.user_id, info.entity_id, info.name, info.tags, info.kind) == (None, None, None, (), "agent")
    assert not {"user_id", "entity_id", "name", "tags", "problem"} & info.as_dict().keys()


def test_runs_are_counted_and_other_entries_are_not(full: Storage) -> None:
    for number in range(3):
        full.update("a", session_state={"n": number})
    session = full.read("a")
    assert session is not None
    session.history.append(Update(session_data={"x": 1}))
    full.upsert(session)
    assert next(info.runs for info in full.list_sessions() if info.session_id == "a") == 1


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True])
def test_a_limit_is_a_whole_number(full: Storage, limit: Any) -> None:
    with pytest.raises(ValueError, match="limit must be None or a whole number"):
        full.list_sessions(limit=limit)


def test_a_kind_is_one_of_three(full: Storage) -> None:
    with pytest.raises(ValueError, match="kind must be one of agent, team, workflow"):
        full.list_sessions(kind="agents")


def test_two_storages_see_each_others_sessions(full: Storage) -> None:
    other = type(full)(full.root)
    assert other.get_all_session_ids() == full.get_all_session_ids()
    other.append("new", answered("r1"))
    assert full.get_all_session_ids()[0] == "new"
    full.delete_session("new")
    assert "new" not in other.get_all_session_ids()
    full.drop()
    assert other.list_sessions() == []
    other.append("after", answered("r1"))
    assert full.get_all_session_ids() == ["after"]


def _write_in_between(full: Storage, monkeypatch: pytest.MonkeyPatch, write: Callable[[str], None]) -> None:
    """While `full` lists, call `write` with the id of each row just before that is held against its file."""
    reader = full._engine.index._reader
    compared = reader._compared

    def compared_after_a_write(row: IndexRow) -> IndexRow | Torn | None:
        write(row["session_id"])
        return compared(row)

    monkeypatch.setattr(reader, "_compared", compared_after_a_write)


def test_rows_are_in_order_when_others_write_to_all_of_them_all_the_time(
    full: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look found every session changed, and the last one was returned as it was: in the order of the times
    before, which is that of no moment at all."""
    other, minutes = type(full)(full.root), iter(range(60))

    def append(session_id: str) -> None:
        run = answered(f"late-{session_id}-{(minute := next(minutes))}")
        run.created_at = f"2026-11-22T08:{minute:02d}:00.000Z"
        other.append(session_id, run)

    _write_in_between(full, monkeypatch, append)
    times = [info.as_dict()["updated_at"] for info in full.list_sessions()]
    assert times == sorted(times, reverse=True)
    assert len(times) == 5


def test_a_row_whose_new_line_came_in_during_the_listing_is_in_its_place(
    full: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking in one changed document brought the lines of others along, and a session with new activity stayed at
    its old place at the end."""
    other, pending = type(full)(full.root), ["a"]

    def rename_the_first_and_append_to_the_last(session_id: str) -> None:
        if session_id == "e" and pending:
            other.append(pending.pop(), answered("late"))
            other.update("e", name="renamed")

    _write_in_between(full, monkeypatch, rename_the_first_and_append_to_the_last)
    assert [info.session_id for info in full.list_sessions()] == ["a", "e", "d", "c", "b"]


@pytest.mark.parametrize("line_is_older", [False, True], ids=["no line", "a line with the offset"])
def test_sessions_are_ordered_by_the_instant_and_not_by_its_text(storage: Storage, line_is_older: bool) -> None:
    """A run of 23:30+14:00 was listed as newer than one of 11:00Z on the same day, which happened later."""
    for session_id, moment in (("early", "2026-11-25T23:30:00+14:00"), ("late", "2026-11-25T11:00:00.000Z")):
        storage.append(session_id, answered("r1", created_at="2026-11-25T08:00:00.000Z"))
        path = storage.path(session_id)
        path.write_text(path.read_text().replace("2026-11-25T08:00:00.000Z", moment))
    document = storage.path("early").read_bytes()
    storage.list_sessions()
    manifest = storage.root / ".localstore/manifest.jsonl"
    assert "+14:00" not in manifest.read_text()
    if line_is_older:  # as it was written before times were brought to UTC
        manifest.write_text(manifest.read_text().replace("2026-11-25T09:30:00.000Z", "2026-11-25T23:30:00+14:00"))
    else:
        manifest.unlink()
    for opened in (storage, type(storage)(storage.root)):
        listed = opened.list_sessions()
        assert [info.session_id for info in listed] == ["late", "early"]
        assert [info.updated_at for info in listed] == [
            datetime(2026, 11, 25, *time, tzinfo=UTC) for time in ((11, 0), (9, 30))
        ]
        assert [info.session_id for info in opened.list_sessions(limit=1)] == ["late"]
    assert storage.path("early").read_bytes() == document


def test_a_session_that_is_being_written_is_not_called_broken(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing read a document between the two writes of an append, and reported a sound session as broken."""
    storage.append("a", answered("r1"))
    path = storage.path("a")
    whole = path.read_bytes()
    listing = type(storage)(storage.root)
    listing.list_sessions()
    half = whole[:-3] + b"\n\tnot yet"  # no crash leaves this, so only a second look can explain it
    path.write_bytes(half)
    writer = storage._engine.locks.session("a", 1.0)
    found = []

    def list_meanwhile() -> None:
        found.extend(listing.list_sessions())

    with writer:
        thread = threading.Thread(target=list_meanwhile)
        thread.start()
        time.sleep(0.3)
        path.write_bytes(whole)
    thread.join()
    assert [(info.session_id, info.problem) for info in found] == [("a", None)]


def test_a_broken_session_is_listed_with_its_problem(storage: Storage) -> None:
    """The second look must not hide a document that is really broken, or lose its place in the order."""
    storage.append("a", answered("r1"))
    storage.append("b", answered("r2"))
    path = storage.path("a")
    path.write_bytes(path.read_bytes()[:-3] + b"\n\tbroken")
    found = type(storage)(storage.root).list_sessions()
    assert [(info.session_id, info.problem is not None) for info in found] == [("b", False), ("a", True)]
    with storage._engine.locks.session("a", 1.0):  # a writer that takes too long
        busy = type(storage)(storage.root, lock_timeout=0.1).list_sessions()
    assert [info.session_id for info in busy if info.problem] == ["a"]


@ci_only
def test_no_session_is_called_broken_beside_writing_processes(storage: Storage) -> None:
    """Beside writers, about one listing in a thousand called a sound session broken."""
    for name in "ab":
        storage.append(name, answered("first"))
    code = (
        "import sys, itertools, localstore\n"
        "from localstore import Message, Run\n"
        "storage = getattr(localstore, sys.argv[1])(sys.argv[2], durability='relaxed')\n"
        "for number in itertools.count():\n"
        "    for name in 'ab':\n"
        "        storage.append(name, Run(messages=[Message(role='user', content='x' * (number % 5000))]))\n"
        "    if number % 50 == 49:\n"
        "        storage.delete_session(name)\n"
    )
    command = [sys.executable, "-c", code, type(storage).__name__, str(storage.root)]
    writers = [subprocess.Popen(command) for _ in range(2)]
    try:
        end = time.monotonic() + rounds(0, 3, 60)
        while time.monotonic() < end:
            problems = [info.problem for info in type(storage)(storage.root).list_sessions() if info.problem]
            assert problems == []
        assert [writer.poll() for writer in writers] == [None, None]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


def test_a_page_reads_its_own_rows_alone(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 100 sessions on, a page also read all rows behind it: iteration over a large store took quadratic time."""
    for number in range(4):
        storage.append(f"s{number}", answered("r"))
    storage.list_sessions()  # compares all documents once
    read: list[int | None] = []
    page = row_queries.page

    def watched(*args: Any, **more: Any) -> Any:
        read.append(more["limit"])
        return page(*args, **more)

    monkeypatch.setattr(row_queries, "page", watched)
    monkeypatch.setattr(session_index, "_FIRST_PAGE", 2)
    assert len(storage.list_sessions(limit=2)) == 2
    assert len(storage.list_sessions(limit=3)) == 3
    assert storage.list_sessions(limit=0) == []
    assert read == [2, 3]

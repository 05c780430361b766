"""Collections that agno made in MongoDB become collections of a store."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import WriteError

from localstore import NewerFormat, OlderFormat, Run, StoreNotFound, StoreUnavailable
from localstore.databases.mongo import MongoDbStorage, upgrade_of
from localstore.databases.mongo_upgrade import MongoUpgrade
from localstore.errors import BackupNotFound, Conflict
from localstore.maintenance.upgrade import Change
from tests.contract.storages import name_of
from tests.effort import ci_only, long_only
from tests.environments import interpreter_or_skip
from tests.mongo import mongo_url
from tests.unit.databases.test_sql_upgrade import change_sessions, contents, first_rows, imported, later_tables
from tests.unit.maintenance.importing.test_agno import database as sqlite_file

pytestmark = ci_only


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    """A database of the server, by the driver alone."""
    with MongoClient[dict[str, Any]](mongo_url()) as client:
        yield client[name_of(tmp_path)]


def first(database: Any, count: int = 3) -> list[dict[str, Any]]:
    """Store sessions as agno 1.x does, and return them."""
    rows = [{**row, "_version": 1} for row in first_rows(count)]
    database["agent_sessions"].create_index("session_id", unique=True)
    database["agent_sessions"].insert_many(rows)
    return rows


def later(database: Any) -> None:
    for name, rows in later_tables().items():
        database[name].insert_many(rows)


def upgrade(database: Any, name: str = "agent_sessions") -> MongoUpgrade:
    return upgrade_of(mongo_url(), name, database.name)


def opened(database: Any, name: str = "agent_sessions", *, upgrades: bool = False) -> MongoDbStorage:
    return MongoDbStorage(name, mongo_url(), database.name, auto_upgrade_schema=upgrades)


def test_a_collection_of_agno_1_becomes_a_store_with_the_sessions_that_an_import_makes(
    database: Any, tmp_path: Path
) -> None:
    old = first(database, 60)
    expected = imported(sqlite_file(tmp_path / "agents.db", agent_sessions=first_rows(60)), tmp_path / "imported")
    with opened(database, upgrades=True) as storage:
        assert contents(storage) == expected
        assert [*storage.check()] == []
        storage.append("s001", Run(run_id="new"))
        assert storage.upgrade_schema().documents == 0
    assert [*database["agent_sessions_agno"].find().sort("session_id")] == old
    with opened(database) as storage:
        assert len(storage.read("s001").runs) == 2  # type: ignore[union-attr]


def test_runs_of_agno_3_come_from_their_collection_or_else_from_the_session_and_never_from_both(
    database: Any, tmp_path: Path
) -> None:
    later(database)
    expected = imported(sqlite_file(tmp_path / "agno.db", **later_tables()), tmp_path / "imported")
    with opened(database, "agno_sessions", upgrades=True) as storage:
        assert contents(storage) == expected
        assert [one.run_id for one in storage.read("s1").runs] == ["r1", "r2"]  # type: ignore[union-attr]
        assert [one.run_id for one in storage.read("s2").runs] == ["r2"]  # type: ignore[union-attr]
    names = database.list_collection_names()
    assert {"agno_sessions_agno", "agno_runs_agno"} <= {*names}
    assert "agno_runs" not in names


def test_a_collection_of_agno_is_named_and_left_alone_without_the_option(database: Any) -> None:
    old = first(database)
    with pytest.raises(OlderFormat, match=r"collection of agno.*localstore upgrade --store URL"):
        opened(database)
    assert upgrade(database).plan().as_dict() == {
        "store": f"{mongo_url()}/{database.name}, collection agent_sessions",
        "versions": {"0": 3},
        "steps": [{"version": 1, "title": "Sessions of agno 1.x become localstore documents", "documents": 3}],
        "documents": 3,
    }
    changes = [*upgrade(database).preview()]
    assert [one.path for one in changes if isinstance(one, Change)] == ["s000.json", "s001.json", "s002.json"]
    assert database.list_collection_names() == ["agent_sessions"]
    assert [*database["agent_sessions"].find()] == old


def test_a_session_that_cannot_be_read_is_named_each_time_and_stays_in_the_collection_of_agno(database: Any) -> None:
    first(database)
    database["agent_sessions"].update_one({"session_id": "s001"}, {"$set": {"memory": "{"}})
    lost = database["agent_sessions"].insert_one({"user_id": "alice", "memory": {}}).inserted_id
    done = upgrade(database).upgrade()
    store = f"{mongo_url()}/{database.name}, collection agent_sessions"
    names = [f"{store}, session 's001'", f"{store}, the row {lost!r} without a session_id"]
    assert (done.documents, done.backup) == (2, "agent_sessions_agno")
    assert [one.path for one in done.problems] == names
    with opened(database) as storage:
        assert [one.path for one in storage.upgrade_schema().problems] == names
        database["agent_sessions_agno"].update_one({"session_id": "s001"}, {"$set": {"memory": {}}})
        database["agent_sessions_agno"].delete_one({"_id": lost})
        assert storage.upgrade_schema().documents == 1
        assert sorted(storage.get_all_session_ids()) == ["s000", "s001", "s002"]
        assert storage.upgrade_schema().backup is None


def test_values_that_json_lacks_become_text(database: Any) -> None:
    (row,) = first_rows(1)
    time = datetime(2026, 1, 2, tzinfo=UTC)
    row["session_data"] = {"session_state": {"time": time, "bytes": b"\0", "number": 2**40, "none": None}}
    database["agent_sessions"].insert_one(row)
    with opened(database, upgrades=True) as storage:
        state = storage.read("s000").session_state  # type: ignore[union-attr]
        assert state == {"time": "2026-01-02T00:00:00.000Z", "bytes": "AA==", "number": 2**40, "none": None}


def test_ids_of_several_types_are_all_found(database: Any) -> None:
    """A comparison of ids finds those of the same type alone."""
    rows = [{**row, "_id": key} for row, key in zip(first_rows(5), (1, "a", 2.5, True, None), strict=True)]
    database["agent_sessions"].insert_many(rows)
    first_of_all = upgrade(database)
    assert first_of_all.upgrade().documents == 5
    assert len(opened(database)) == 5


def test_an_undo_brings_the_collections_of_agno_back_and_they_can_be_upgraded_again(database: Any) -> None:
    later(database)
    before = [*database["agno_sessions"].find()], [*database["agno_runs"].find()]
    with pytest.raises(BackupNotFound, match="was not upgraded"):
        upgrade(database, "agno_sessions").undo()
    for _ in range(2):
        upgrade(database, "agno_sessions").upgrade()
        assert upgrade(database, "agno_sessions").undo().restored == 2
        assert {*database.list_collection_names()} == {"agno_sessions", "agno_runs"}
        assert ([*database["agno_sessions"].find()], [*database["agno_runs"].find()]) == before


@pytest.mark.parametrize("version", ["1", "3"])
def test_an_undo_keeps_what_was_added_since_and_the_next_upgrade_brings_it_back(database: Any, version: str) -> None:
    name, session_id = ("agent_sessions", "s001") if version == "1" else ("agno_sessions", "s1")
    first(database) if version == "1" else later(database)
    with opened(database, name, upgrades=True) as storage:
        expected = change_sessions(storage, session_id)
    assert upgrade(database, name).undo().changed == 2
    found = database[name].find_one({"session_id": session_id})
    assert found["session_data"] == {"session_state": {"towns": 2}, "session_name": "Two towns"}
    with opened(database, name, upgrades=True) as storage:
        assert contents(storage) == expected
    assert upgrade(database, name).undo().changed == 0


def test_an_undo_that_would_empty_the_trash_is_refused(database: Any) -> None:
    first(database)
    with opened(database, upgrades=True) as storage:
        storage.trash("s001")
        with pytest.raises(Conflict, match=r"An undo would lose that.*localstore copy"):
            upgrade(database).undo()
        storage.append("s002", Run(run_id="new"))


class Stopped(Exception):
    """Raised in the middle of an undo."""


@pytest.mark.parametrize("at", ["list_collection_names", "command", "rename", "drop"])
def test_an_undo_that_was_interrupted_is_continued(database: Any, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymongo.collection import Collection
    from pymongo.database import Database

    later(database)
    with opened(database, "agno_sessions", upgrades=True) as storage:
        expected = change_sessions(storage, "s1")

    def stop(*_: Any, **__: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Collection if at in ("rename", "drop") else Database, at, stop)
        undoing = upgrade(database, "agno_sessions")
        undoing._runs["agno_sessions_agno"] = ["agno_runs_agno"]
        with pytest.raises(Stopped):
            undoing.undo()
    with pytest.raises(OlderFormat, match=r"undo .* was interrupted. Continue it with 'localstore upgrade --undo"):
        opened(database, "agno_sessions")
    assert upgrade(database, "agno_sessions").undo().changed == 2
    assert {*database.list_collection_names()} == {"agno_sessions", "agno_runs"}
    with opened(database, "agno_sessions", upgrades=True) as storage:
        assert contents(storage) == expected


def test_programs_that_go_on_with_what_they_had_open_get_errors(database: Any) -> None:
    first(database)
    with opened(database, upgrades=True) as storage:
        with pytest.raises(WriteError):  # what agno does
            database["agent_sessions"].update_one({"session_id": "s9"}, {"$set": {"memory": {}}}, upsert=True)
        upgrade(database).undo()
        with pytest.raises(StoreUnavailable, match=r"is not that of a store any more.*Open the store again"):
            storage.append("s9", Run(run_id="late"))
    assert [one["session_id"] for one in database["agent_sessions"].find()] == ["s000", "s001", "s002"]


def test_what_agno_stored_while_an_upgrade_began_is_upgraded(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from localstore.databases import mongo_upgrade

    first(database)
    (late,) = first_rows(1)
    late |= {"session_id": "late"}
    rename = mongo_upgrade._rename

    def store_then(*args: Any) -> None:
        rename(*args)
        database["agent_sessions"].insert_one(late)

    monkeypatch.setattr(mongo_upgrade, "_rename", store_then)
    with opened(database, upgrades=True) as storage:
        assert sorted(storage) == ["late", "s000", "s001", "s002"]


def test_a_missing_store_another_program_and_a_newer_layout_are_one_error_each(database: Any) -> None:
    with pytest.raises(StoreNotFound, match="There is no store"):
        upgrade(database).upgrade()
    assert database.list_collection_names() == []
    database["agent_sessions"].insert_one({"what": "ever"})
    with pytest.raises(StoreUnavailable, match="another program"):
        upgrade(database).upgrade()
    opened(database, "mine").close()
    database["mine_info"].update_one({"_id": "layout"}, {"$set": {"value": "99"}})
    with pytest.raises(NewerFormat, match="layout 99"):
        upgrade(database, "mine").upgrade()
    database["other"].insert_many(first_rows(1))
    database["other_entries"].insert_one({"what": "ever"})
    with pytest.raises(Conflict, match="other_entries is in the way"):
        upgrade(database, "other").upgrade()


KILLED = """
import os, signal, sys
from localstore.databases import upgrading
from localstore.databases.mongo import upgrade_of

upgrade, steps = upgrade_of(sys.argv[1], db_name=sys.argv[2]), []
write = upgrade._client.write

def until(work):
    if len(steps) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    steps.append(work)
    return write(work)

upgrade._client.write = until
upgrading.AT_ONCE = 2
upgrade.upgrade()
"""


@pytest.mark.parametrize("transactions", [0, 2])
def test_an_upgrade_that_is_killed_is_continued(transactions: int, database: Any, tmp_path: Path) -> None:
    first(database, 7)
    expected = imported(sqlite_file(tmp_path / "agents.db", agent_sessions=first_rows(7)), tmp_path / "imported")
    command = [sys.executable, "-c", KILLED, mongo_url(), database.name, str(transactions)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(OlderFormat, match=r"being upgraded, or its upgrade was interrupted.*localstore upgrade"):
        opened(database)
    assert upgrade(database).plan().versions.get(0) == 7 - 2 * transactions
    assert upgrade(database).upgrade().documents == 7 - 2 * transactions
    with opened(database) as storage:
        assert contents(storage) == expected


def test_several_upgrades_at_once_convert_each_session_once(database: Any) -> None:
    first(database, 110)
    start, done = threading.Barrier(3), []

    def work() -> None:
        start.wait()
        done.append(upgrade(database).upgrade().documents)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    assert sum(done) == len(opened(database)) == 110


WRITES = """
import sys
from agno.storage.mongodb import MongoDbStorage
from agno.storage.session.agent import AgentSession

storage = MongoDbStorage("agent_sessions", db_url=sys.argv[1], db_name=sys.argv[2])
storage.create()
message = {"role": "user", "content": "Where is Linz?", "created_at": 1795334480}
run = {"run_id": "r1", "messages": [message], "created_at": 1795334480}
for number in range(3):
    storage.upsert(AgentSession(f"s{number}", "alice", memory={"runs": [run]}, agent_id="travel"))
"""
READS = """
import sys
from agno.storage.mongodb import MongoDbStorage

storage = MongoDbStorage("agent_sessions", db_url=sys.argv[1], db_name=sys.argv[2])
for session in storage.get_all_sessions():
    print(session.session_id, *(run["run_id"] for run in session.memory["runs"]))
"""


@long_only
def test_what_agno_1_wrote_is_upgraded_and_agno_reads_what_an_undo_leaves(database: Any) -> None:
    python = interpreter_or_skip("agno-1.8.4-mongo", ["agno==1.8.4", "pymongo", "openai", "sqlalchemy"])
    arguments = [mongo_url(), database.name]
    subprocess.run([python, "-c", WRITES, *arguments], check=True)
    with opened(database, upgrades=True) as storage:
        assert [one.user_id for one in storage.list_sessions()] == ["alice"] * 3
        storage.append("s1", Run(run_id="new"))
    upgrade(database).undo()
    found = subprocess.run([python, "-c", READS, *arguments], check=True, capture_output=True, text=True)
    assert sorted(found.stdout.splitlines()) == ["s0 r1", "s1 r1 new", "s2 r1"]

"""Tables that agno made in SQLite and PostgreSQL become tables of a store."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text

from localstore import (
    JsonStorage,
    Message,
    NewerFormat,
    OlderFormat,
    Run,
    SessionStorage,
    StoreNotFound,
    StoreUnavailable,
)
from localstore.databases.sql import SqlStorage, upgrade_of
from localstore.databases.sql_connections import parsed_url
from localstore.errors import BackupNotFound, Conflict
from localstore.maintenance.upgrade import Change
from tests.contract.storages import name_of
from tests.effort import ci_only
from tests.postgres import postgres_url
from tests.unit.maintenance.importing.test_agno import database, run, session

FILES = Path(__file__).parents[2] / "format" / "agno-1"
SECOND = 1795334480


def first_rows(count: int = 3) -> list[dict[str, Any]]:
    """Return rows of agno 1.x: sessions with a run each."""
    message = {"role": "user", "content": "Where is Linz?", "created_at": SECOND}
    return [
        {
            "session_id": f"s{number:03}",
            "user_id": "alice",
            "memory": {"runs": [{"run_id": f"r{number}", "messages": [message], "created_at": SECOND}]},
            "session_data": {"session_state": {"n": number}},
            "extra_data": None,
            "created_at": SECOND,
            "updated_at": SECOND,
            "agent_id": "travel",
            "agent_data": {"name": "Travel"},
        }
        for number in range(count)
    ]


def contents(storage: SessionStorage) -> dict[str, Any]:
    """Return all sessions, as they are stored."""
    found = {name: storage.read(name) for name in sorted(storage.get_all_session_ids())}
    return {name: session.model_dump(mode="json") for name, session in found.items() if session is not None}


def imported(path: Path, to: Path) -> dict[str, Any]:
    """Return the sessions that an import of a database makes."""
    storage = JsonStorage(to)
    storage.import_from("agno", path)
    return contents(storage)


def query(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def tables(path: Path) -> set[str]:
    return {name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def first(folder: Path, count: int = 3) -> tuple[str, Path]:
    """Make a database of agno 1.x, and return its URL and its path."""
    path = database(folder / "agents.db", agent_sessions=first_rows(count))
    return f"sqlite:///{path}", path


def test_a_table_of_agno_1_becomes_a_store_with_the_sessions_that_an_import_makes(tmp_path: Path) -> None:
    url, path = first(tmp_path, 60)
    expected = imported(path, tmp_path / "imported")
    old = query(path, "SELECT * FROM agent_sessions ORDER BY session_id")
    with SqlStorage(url, auto_upgrade_schema=True) as storage:
        assert len(expected) == 60
        assert contents(storage) == expected
        assert [*storage.check()] == []
        storage.append("s001", Run(run_id="new"))
        assert storage.upgrade_schema().documents == 0
    assert query(path, "SELECT * FROM agent_sessions_agno ORDER BY session_id") == old
    with SqlStorage(url) as storage:
        assert len(storage.read("s001").runs) == 2  # type: ignore[union-attr]


def later_tables() -> dict[str, list[dict[str, Any]]]:
    """Return the tables of agno 3.x: s1 has an old copy of its run in its row, and the runs of s2 are there alone."""
    one, two = run(1), run(2)
    later = run(2, one)
    runs = [
        {"run_id": data["run_id"], "session_id": "s1", "run_index": number, "run_data": data, "run_type": "agent"}
        | {"created_at": SECOND + number}
        for number, data in enumerate((one, later))
    ]
    return {
        "agno_sessions": [session(runs=[one]), session(session_id="s2", runs=[{**two, "session_id": "s2"}])],
        "agno_runs": runs,
    }


def test_runs_of_agno_3_come_from_their_table_or_else_from_the_session_and_never_from_both(tmp_path: Path) -> None:
    path = database(tmp_path / "agno.db", **later_tables())
    expected = imported(path, tmp_path / "imported")
    with SqlStorage(f"sqlite:///{path}", "agno_sessions", auto_upgrade_schema=True) as storage:
        assert contents(storage) == expected
        assert [one.run_id for one in storage.read("s1").runs] == ["r1", "r2"]  # type: ignore[union-attr]
        assert [one.run_id for one in storage.read("s2").runs] == ["r2"]  # type: ignore[union-attr]
    assert {"agno_sessions_agno", "agno_runs_agno"} <= tables(path)
    assert "agno_runs" not in tables(path)


def test_a_table_of_agno_is_named_and_left_alone_without_the_option(tmp_path: Path) -> None:
    url, path = first(tmp_path)
    before = path.read_bytes()
    with pytest.raises(OlderFormat, match=r"table of agno.*localstore upgrade --store URL"):
        SqlStorage(url)
    assert upgrade_of(url).plan().as_dict() == {
        "store": f"{url}, table agent_sessions",
        "versions": {"0": 3},
        "steps": [{"version": 1, "title": "Sessions of agno 1.x become localstore documents", "documents": 3}],
        "documents": 3,
    }
    changes = [*upgrade_of(url).preview()]
    assert [one.path for one in changes if isinstance(one, Change)] == ["s000.json", "s001.json", "s002.json"]
    assert tables(path) == {"agent_sessions"}
    assert path.read_bytes()[100:] == before[100:]  # the header says that the journal is a write-ahead log


def test_a_session_that_cannot_be_read_is_named_each_time_and_stays_in_the_table_of_agno(tmp_path: Path) -> None:
    url, path = first(tmp_path)
    query(path, "UPDATE agent_sessions SET memory = '{' WHERE session_id = 's001'")
    done = upgrade_of(url).upgrade()
    assert (done.documents, done.backup) == (2, "agent_sessions_agno")
    assert [one.path for one in done.problems] == [f"{url}, table agent_sessions, session 's001'"]
    with SqlStorage(url) as storage:
        assert [one.path for one in storage.upgrade_schema().problems] == [one.path for one in done.problems]
        query(path, "UPDATE agent_sessions_agno SET memory = '{}' WHERE session_id = 's001'")
        assert storage.upgrade_schema().documents == 1
        assert sorted(storage.get_all_session_ids()) == ["s000", "s001", "s002"]
        assert storage.upgrade_schema().backup is None


def test_an_undo_brings_the_table_of_agno_back_and_it_can_be_upgraded_again(tmp_path: Path) -> None:
    path = database(tmp_path / "agno.db", **later_tables())
    upgrade = upgrade_of(f"sqlite:///{path}", "agno_sessions")
    with pytest.raises(BackupNotFound, match="was not upgraded"):
        upgrade.undo()
    before = query(path, "SELECT * FROM agno_sessions")
    for _ in range(2):
        upgrade.upgrade()
        assert upgrade.undo().restored == 2
        assert tables(path) - {"sqlite_sequence"} == {"agno_sessions", "agno_runs"}
        assert query(path, "SELECT * FROM agno_sessions") == before


def change_sessions(storage: SessionStorage, session_id: str) -> dict[str, Any]:
    """Change a session, add one, and return all sessions."""
    storage.append(session_id, Run(run_id="new", messages=[Message(role="user", content="Where is Graz?")]))
    storage.rate(session_id, "new", "good")
    storage.update(session_id, name="Two towns", add_tags=["trip"], session_state={"towns": 2})
    storage.append("added", Run(run_id="only"), user_id="bob", entity_id="travel", kind="agent")
    return contents(storage)


def test_an_undo_keeps_what_was_added_since_and_the_next_upgrade_brings_it_back(tmp_path: Path) -> None:
    url, path = first(tmp_path)
    with SqlStorage(url, auto_upgrade_schema=True) as storage:
        expected = change_sessions(storage, "s001")
    done = upgrade_of(url).undo()
    assert (done.restored, done.changed) == (2, 2)
    assert tables(path) - {"sqlite_sequence"} == {"agent_sessions"}
    (memory, name) = query(path, "SELECT memory, session_data FROM agent_sessions WHERE session_id = 's001'")[0]
    assert [run["run_id"] for run in json.loads(memory)["runs"]] == ["r1", "new"]
    assert json.loads(name) == {"session_state": {"towns": 2}, "session_name": "Two towns"}
    with SqlStorage(url, auto_upgrade_schema=True) as storage:
        assert contents(storage) == expected
    done = upgrade_of(url).undo()
    assert (done.restored, done.changed) == (4, 0)


def test_an_undo_keeps_what_was_added_to_sessions_of_agno_3(tmp_path: Path) -> None:
    path = database(tmp_path / "agno.db", **later_tables())
    url = f"sqlite:///{path}"
    with SqlStorage(url, "agno_sessions", auto_upgrade_schema=True) as storage:
        expected = change_sessions(storage, "s1")
    done = upgrade_of(url, "agno_sessions").undo()
    assert (done.restored, done.changed) == (1, 2)
    runs = query(path, "SELECT run_id, run_index FROM agno_runs WHERE session_id = 's1' ORDER BY run_index")
    assert runs == [("r1", 0), ("r2", 1), ("new", 2)]
    with SqlStorage(url, "agno_sessions", auto_upgrade_schema=True) as storage:
        assert contents(storage) == expected


def test_an_undo_keeps_the_milliseconds_of_a_session_beside_a_column_of_whole_seconds(tmp_path: Path) -> None:
    """PostgreSQL rounded them, up or down, and then a session was no longer what it had been."""
    url, path = first(tmp_path)
    query(path, "ALTER TABLE agent_sessions DROP COLUMN created_at")
    query(path, "ALTER TABLE agent_sessions ADD COLUMN created_at BIGINT")
    with SqlStorage(url, auto_upgrade_schema=True) as storage:
        expected = change_sessions(storage, "s001")
    upgrade_of(url).undo()
    assert query(path, "SELECT typeof(created_at) FROM agent_sessions WHERE session_id = 'added'") == [("integer",)]
    with SqlStorage(url, auto_upgrade_schema=True) as storage:
        assert contents(storage) == expected


def test_an_undo_that_would_empty_the_trash_is_refused(tmp_path: Path) -> None:
    url, _ = first(tmp_path)
    with SqlStorage(url, auto_upgrade_schema=True) as storage:
        storage.trash("s001")
        before = contents(storage)
        with pytest.raises(Conflict, match=r"An undo would lose that.*localstore copy"):
            upgrade_of(url).undo()
        assert contents(storage) == before


def test_rows_without_an_id_are_named_each_time(tmp_path: Path) -> None:
    """They were left out without a word."""
    url, path = first(tmp_path)
    query(path, "UPDATE agent_sessions SET session_id = NULL WHERE session_id = 's001'")
    for documents in (2, 0):
        done = upgrade_of(url).upgrade()
        assert done.documents == documents
        problem = "has 1 row without a session_id"
        assert [str(one) for one in done.problems] == [
            f"{url}, table agent_sessions, table agent_sessions_agno: {problem}"
        ]
    with SqlStorage(url) as storage:
        (finding,) = storage.check()
    assert finding.path.endswith("table agent_sessions, agent_sessions_agno")
    assert finding.problem == "has 1 row without the id of a session"


def test_a_missing_store_another_program_and_a_newer_layout_are_one_error_each(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    with pytest.raises(StoreNotFound, match="There is no store"):
        upgrade_of(url).upgrade()
    assert not (tmp_path / "other.db").exists()
    database(tmp_path / "other.db", agent_sessions=[{"what": "ever"}])
    with pytest.raises(StoreUnavailable, match="another program"):
        upgrade_of(url).upgrade()
    SqlStorage(url, "mine").close()
    query(tmp_path / "other.db", "UPDATE mine_info SET value = '99' WHERE name = 'layout'")
    with pytest.raises(NewerFormat, match="layout 99"):
        upgrade_of(url, "mine").upgrade()
    database(tmp_path / "agents.db", agent_sessions=first_rows(1), agent_sessions_entries=[{"what": "ever"}])
    with pytest.raises(Conflict, match="agent_sessions_entries is in the way"):
        upgrade_of(f"sqlite:///{tmp_path}/agents.db").upgrade()
    assert tables(tmp_path / "agents.db") == {"agent_sessions", "agent_sessions_entries"}


KILLED = """
import os, signal, sys
from localstore.databases import upgrading
from localstore.databases.sql import upgrade_of

upgrade, steps = upgrade_of(sys.argv[1]), []
write = upgrade._connections.write

def until(work):
    if len(steps) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    steps.append(work)
    return write(work)

upgrade._connections.write = until
upgrading.AT_ONCE = 2
upgrade.upgrade()
"""


@pytest.mark.parametrize("transactions", [1, 3])
def test_an_upgrade_that_is_killed_is_continued(transactions: int, tmp_path: Path) -> None:
    url, path = first(tmp_path, 7)
    expected = imported(path, tmp_path / "imported")
    done = subprocess.run([sys.executable, "-c", KILLED, url, str(transactions)], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(OlderFormat, match=r"being upgraded, or its upgrade was interrupted.*localstore upgrade"):
        SqlStorage(url)
    assert upgrade_of(url).plan().versions.get(0) == 7 - 2 * (transactions - 1)
    assert upgrade_of(url).upgrade().documents == 7 - 2 * (transactions - 1)
    with SqlStorage(url) as storage:
        assert contents(storage) == expected


def upgrade_at_once(url: str, table: str = "agent_sessions", schema: str | None = None) -> int:
    """Upgrade a table in several threads at once, and return how many sessions they upgraded together."""
    start, done = threading.Barrier(4), []

    def work() -> None:
        start.wait()
        done.append(upgrade_of(url, table, schema).upgrade().documents)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
    with SqlStorage(url, table, schema) as storage:
        assert len(storage) == sum(done)
    return sum(done)


def test_several_upgrades_at_once_convert_each_session_once(tmp_path: Path) -> None:
    url, _ = first(tmp_path, 110)
    assert upgrade_at_once(url) == 110


@pytest.mark.parametrize("path", sorted(FILES.glob("*.json")), ids=lambda path: path.name)
def test_real_sessions_of_agno_1_become_those_of_an_import(path: Path, tmp_path: Path) -> None:
    rows = [json.loads(path.read_text())]
    file = database(tmp_path / "agents.db", agent_sessions=rows)
    expected = imported(file, tmp_path / "imported")
    with SqlStorage(f"sqlite:///{file}", auto_upgrade_schema=True) as storage:
        assert contents(storage) == expected
        assert len(expected) == 1


@ci_only
@pytest.mark.parametrize("version", ["1", "3"])
def test_tables_in_postgresql_become_a_store(version: str, tmp_path: Path) -> None:
    schema = name_of(tmp_path)
    made = {"agent_sessions": first_rows(120)} if version == "1" else later_tables()
    name = next(iter(made))
    path = database(tmp_path / "agents.db", **made)
    expected = imported(path, tmp_path / "imported")
    engine = create_engine(parsed_url(postgres_url()), poolclass=NullPool)  # a test that fails leaves no connection
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        for table, rows in made.items():
            names = list(dict.fromkeys(name for row in rows for name in row))
            kinds = {key: _kind([row.get(key) for row in rows]) for key in names}
            key = "session_id" if "session" in table else "run_id"
            columns = ", ".join(f"{one} {kind}" for one, kind in kinds.items())
            connection.execute(text(f"CREATE TABLE {schema}.{table} ({columns}, PRIMARY KEY ({key}))"))
            marks = ", ".join(f"CAST(:{one} AS {kind})" for one, kind in kinds.items())
            for row in rows:
                values = {one: _value(row.get(one)) for one in names}
                connection.execute(text(f"INSERT INTO {schema}.{table} ({', '.join(names)}) VALUES ({marks})"), values)  # noqa: S608
    address = postgres_url()
    assert upgrade_of(address, name, schema).plan().documents == len(made[name])
    assert upgrade_at_once(address, name, schema) == len(made[name])
    with SqlStorage(address, name, schema) as storage:
        assert contents(storage) == expected
        assert [*storage.check()] == []
    assert upgrade_of(address, name, schema).undo().restored == len(made[name])
    with SqlStorage(address, name, schema, auto_upgrade_schema=True) as storage:
        assert contents(storage) == expected
        expected = change_sessions(storage, "s001" if version == "1" else "s1")
    assert upgrade_of(address, name, schema).undo().changed == 2
    with SqlStorage(address, name, schema, auto_upgrade_schema=True) as storage:
        assert contents(storage) == expected


def _kind(values: list[Any]) -> str:
    if any(isinstance(value, (dict, list)) for value in values):
        return "JSONB"
    return "BIGINT" if any(isinstance(value, int) for value in values) else "VARCHAR"


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (dict, list)) else value

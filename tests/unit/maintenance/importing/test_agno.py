"""Sessions of agno 1.x, 2.x and 3.x become sessions of a store."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, Session
from localstore.format.agno_db.history import restore_messages
from localstore.format.agno_db.runs import to_run
from localstore.format.versions import upgraded
from tests.unit.maintenance.importing.conftest import Import
from tests.unit.raw import parse

FILES = Path(__file__).parents[3] / "format" / "agno-1"
SECOND = 1795334480


def read(store: JsonStorage, session_id: str) -> Session:
    session = store.read(session_id)
    assert session is not None
    return session


def database(path: Path, **tables: list[dict[str, Any]]) -> Path:
    """Write a database with these rows; mappings and lists are stored as JSON, as agno does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for table, rows in tables.items():
            names = list(dict.fromkeys(name for row in rows for name in row))
            columns = ", ".join(f'"{name}"' for name in names)
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
            for row in rows:
                values = [json.dumps(value) if isinstance(value, (dict, list)) else value for value in row.values()]
                marks = ", ".join("?" * len(row))
                keys = ", ".join(f'"{name}"' for name in row)
                connection.execute(f"INSERT INTO {table} ({keys}) VALUES ({marks})", values)  # noqa: S608
    return path


def run(number: int, *history: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a run as agno 3.x stores it."""
    question = {"id": f"q{number}", "role": "user", "content": f"question {number}", "created_at": SECOND + number}
    answer = {"id": f"a{number}", "role": "assistant", "content": f"answer {number}", "created_at": SECOND + number}
    messages = [{**message, "from_history": False, "stop_after_tool_call": False} for message in (question, answer)]
    copies = [{**message, "from_history": True} for other in history for message in other["messages"][-2:]]
    system = {"role": "system", "content": "Be brief.", "from_history": False, "stop_after_tool_call": False}
    return {
        "run_id": f"r{number}",
        "agent_id": "ag",
        "session_id": "s1",
        "status": "COMPLETED",
        "content": f"answer {number}",
        "content_type": "str",
        "messages": [system, *copies, *messages],
        "created_at": SECOND + number,
        **more,
    }


def session(**more: Any) -> dict[str, Any]:
    """Return the row of a session of agno 3.x."""
    return {
        "session_id": "s1",
        "session_type": "agent",
        "agent_id": "ag",
        "team_id": None,
        "user_id": "alice",
        "session_data": {"session_name": "Trip", "session_state": {"n": 1}},
        "metadata": {"m": 1},
        "created_at": SECOND,
        "updated_at": SECOND + 100,
        **more,
    }


def run_row(value: dict[str, Any], index: int, **more: Any) -> dict[str, Any]:
    """Return the row of a run of agno 3.x."""
    row = {"run_id": value["run_id"], "session_id": "s1", "run_type": "agent", "run_index": index}
    return {**row, "created_at": value["created_at"], "run_data": value, **more}


def runs_of(store: JsonStorage) -> list[dict[str, Any]]:
    """Return the runs of the session as agno would read them."""
    entries = parse(store.path("s1"))["history"]
    return [to_run(entry, "s1") for entry in restore_messages(entries, {}, whole=True)]


def test_a_database_of_agno_1(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    files = sorted(FILES.glob("*.json"))
    raw = [value for path in files if "session_data" in (value := json.loads(path.read_text()))]
    assert len(raw) > 1
    tables = {f"sessions_{number}": [row] for number, row in enumerate(raw)}
    result = import_twice("agno", database(tmp_path / "agno.db", **tables))
    assert set(result.added) == {row["session_id"] for row in raw}
    for row in raw:
        assert parse(store.path(row["session_id"]))["history"] == upgraded(row, 0)["history"]


def test_a_folder_of_agno_1_with_a_file_that_is_none(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    (tmp_path / "old").mkdir()
    for name in ("team", "workflow-v2"):
        shutil.copy(FILES / f"{name}.json", tmp_path / "old")
    (tmp_path / "old" / "torn.json").write_text('{\n  "session_id": "x",\n')
    (tmp_path / "old" / "notes.txt").write_text("notes")
    result = import_twice("agno", tmp_path / "old")
    assert len(result.added) == 2
    assert [Path(part.path).name for part in result.skipped] == ["torn.json"]


def test_runs_of_agno_3_come_back_as_they_were(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    """Copied messages and the system prompt are stored once, and agno gets each run back unchanged."""
    first = run(1)
    second = run(2, first, session_state={"n": 1})
    rows = [run_row(second, 5), run_row(first, 0)]
    path = database(tmp_path / "agno.db", chosen_sessions=[session()], chosen_runs=rows)
    assert import_twice("agno", path).added == ("s1",)
    stored = read(store, "s1")
    assert (stored.name, stored.user_id, stored.agent_id, stored.metadata) == ("Trip", "alice", "ag", {"m": 1})
    assert (stored.session_state, stored.instructions) == ({"n": 1}, "Be brief.")
    assert [len(one.messages) for one in stored.runs] == [2, 2]
    assert runs_of(store) == [first, second]
    assert (stored.runs[1].model_extra or {})["agno_run_index"] == 5


def test_runs_in_a_table_of_their_own_count_and_the_copy_in_the_session_does_not(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    """An upgrade of agno's database leaves the old runs in the sessions: an import had old runs, or each twice."""
    row = session(runs=[run(1), run(9)])
    path = database(tmp_path / "agno.db", agno_sessions=[row], agno_runs=[run_row(run(1), 0)])
    import_twice("agno", path)
    assert [one.run_id for one in read(store, "s1").runs] == ["r1"]


def test_runs_in_the_session_of_agno_2(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    runs = [run(1), run(2, run(1), status="RUNNING", content=None, messages=run(2)["messages"][:2])]
    path = database(tmp_path / "agno.db", agno_sessions=[session(runs=runs)])
    import_twice("agno", path)
    assert [one.status for one in read(store, "s1").runs] == ["completed", "unfinished"]
    (tmp_path / "agno.db").unlink()
    runs[1] = run(2)
    row = session(runs=[*runs, run(3)], session_data={"session_state": {"n": 2}}, updated_at=SECOND + 200)
    result = import_twice("agno", database(tmp_path / "agno.db", agno_sessions=[row]))
    assert (result.extended, result.runs) == (("s1",), 2)
    stored = read(store, "s1")
    assert [(one.status, one.answer) for one in stored.runs] == [("completed", f"answer {n}") for n in (1, 2, 3)]
    assert "agno_status" not in (stored.runs[1].model_extra or {})
    assert (stored.name, stored.session_state) == ("Trip", {"n": 2})


def test_a_folder_of_a_json_database(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    (tmp_path / "agno_sessions.json").write_text(json.dumps([session()]))
    (tmp_path / "agno_runs.json").write_text(json.dumps([run_row(run(1), 0), run_row(run(2, run(1)), 1)]))
    import_twice("agno", tmp_path)
    assert [one.run_id for one in read(store, "s1").runs] == ["r1", "r2"]


@pytest.mark.parametrize(
    "change",
    [
        {"session_type": "robot"},
        {"session_id": None},
        {"session_data": '{"session_state": '},
        {"session_data": "[1]"},
        {"metadata": "[1]", "summary": "[1]"},
        {"user_id": 7},
        {"agent_id": b"\xff"},
        {"created_at": "yesterday", "updated_at": 10**18},
        {"runs": [7, None, {"run_id": 5}, {"messages": 3, "created_at": "x"}, {"run_id": "r", "status": ["x"]}]},
    ],
)
def test_a_row_with_wrong_values_does_not_end_the_import(
    tmp_path: Path, store: JsonStorage, import_twice: Import, change: dict[str, Any]
) -> None:
    rows = [session(runs=[run(1)]) | change, session(session_id="s2", runs=[run(1)])]
    result = import_twice("agno", database(tmp_path / "agno.db", agno_sessions=rows))
    assert "s2" in result.added
    assert len(result.added) == 2 or result.skipped


def test_a_database_of_another_program_is_named(tmp_path: Path, store: JsonStorage) -> None:
    path = database(tmp_path / "other.db", things=[{"id": 1}])
    assert [part.problem for part in store.import_from("agno", path).skipped] == ["it has no table of agno's sessions"]

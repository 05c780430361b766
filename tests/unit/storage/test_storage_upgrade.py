"""Older documents: read through the steps in memory, refused or upgraded by a write, and the whole store at once."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localstore import Agent, FunctionModel, JsonStorage, NewerFormat, OlderFormat
from tests.unit.conftest import StorageClass
from tests.unit.raw import Storage, answered, parse, question


def old_session(session_id: str = "old", runs: int = 2) -> dict[str, Any]:
    """A session as agno 1.x wrote it; its runs carry copies of the history."""
    messages: list[dict[str, Any]] = []
    written = []
    for number in range(runs):
        own = [
            {"role": "user", "content": f"question {number}", "created_at": 1795331430 + number, "from_history": False},
            {"role": "assistant", "content": f"answer {number}", "created_at": 1795331431 + number},
        ]
        run = {"run_id": f"o{number}", "content": f"answer {number}", "status": "RUNNING", "created_at": 1795331428}
        written.append({**run, "messages": [*({**one, "from_history": True} for one in messages), *own]})
        messages += own
    return {
        "session_id": session_id,
        "user_id": "alice",
        "agent_id": "geographer",
        "agent_data": {"name": "Geographer"},
        "memory": {"runs": written, "summaries": {}, "memories": {}},
        "session_data": {"session_state": {"visited": ["Vienna"]}, "session_name": "Trip"},
        "extra_data": None,
        "created_at": 1795331429,
        "updated_at": 1795331440,
    }


@pytest.fixture
def path(storage: Storage) -> Path:
    """A document of version 0 in a store, beside one of today."""
    storage.append("new", answered("r1"), user_id="alice")
    path = storage.path("new").with_name("old.json")
    path.write_text(json.dumps(old_session(), indent=4))
    return path


def test_an_older_document_is_listed_and_read_and_stays_as_it_is(storage: Storage, path: Path) -> None:
    before = path.read_bytes()
    (info,) = storage.list_sessions(entity_id="geographer")
    assert (info.session_id, info.runs, info.schema_version, info.name) == ("old", 2, 0, "Trip")
    for _ in range(2):
        session = storage.read("old", user_id="alice", last_runs=1)
        assert session is not None
        assert [message.content for message in session.messages()] == ["question 1", "answer 1"]
        assert (session.session_state, session.runs[0].status) == ({"visited": ["Vienna"]}, "completed")
    assert storage.read("old", user_id="bob") is None
    assert path.read_bytes() == before
    assert storage.get_all_session_ids() == ["new", "old"]


def test_reading_an_older_document_again_adds_no_line_to_the_manifest(storage: Storage, path: Path) -> None:
    storage.read("old")
    before = (storage.root / ".localstore/manifest.jsonl").read_bytes()
    storage.read("old")
    assert path.exists()
    assert (storage.root / ".localstore/manifest.jsonl").read_bytes() == before


def changes(storage: Storage) -> list[Callable[[], object]]:
    session = storage.read("old")
    assert session is not None
    session.name = "mine"
    return [
        lambda: storage.append("old", question("r9")),
        lambda: storage.update("old", session_state={"x": 1}),
        lambda: storage.update("old", name="n"),
        lambda: storage.upsert(session),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_write_to_an_older_document_is_refused_with_the_command_to_run(
    storage: Storage, path: Path, number: int
) -> None:
    before = path.read_bytes()
    with pytest.raises(OlderFormat, match="localstore upgrade ") as caught:
        changes(storage)[number]()
    assert (caught.value.path, caught.value.session_id) == (str(path), "old")
    assert path.read_bytes() == before
    storage.append("new", answered("r2"))


def test_an_agent_is_refused_before_the_model_is_called(storage: Storage, path: Path) -> None:
    asked = []
    model = FunctionModel(lambda messages: asked.append(messages) or "no")  # type: ignore[func-returns-value]
    agent = Agent(model=model, session_id="old", user_id="alice", storage=storage)
    with pytest.raises(OlderFormat):
        agent.run("Where am I?")
    assert asked == []
    assert path.exists()


@pytest.mark.parametrize("number", range(4))
def test_with_auto_upgrade_a_write_upgrades_what_it_touches_and_keeps_the_old_self(
    storage: Storage, path: Path, number: int
) -> None:
    other = path.with_name("other.json")
    other.write_text(json.dumps(old_session("other")))
    before = path.read_bytes(), other.read_bytes()
    opened = type(storage)(storage.root, auto_upgrade_schema=True)
    changes(opened)[number]()
    document = parse(path)
    assert (document["schema_version"], document["session_id"]) == (1, "old")
    assert [entry["run_id"] for entry in document["history"] if entry["type"] == "run"][:2] == ["o0", "o1"]
    (backup,) = (storage.root / ".localstore" / "backups").iterdir()
    kept = backup / "files" / "sessions" / path.parent.name / "old.json"
    assert (kept.read_bytes(), other.read_bytes()) == before
    opened.append("old", answered("r10"))
    opened.append("other", answered("r10"))
    assert len(list((storage.root / ".localstore" / "backups").iterdir())) == 1


def test_the_option_survives_pickling(storage: Storage, path: Path) -> None:
    opened = pickle.loads(pickle.dumps(type(storage)(storage.root, auto_upgrade_schema=True)))  # noqa: S301
    opened.append("old", answered("r9"))
    assert parse(path)["schema_version"] == 1


def test_upgrade_schema_upgrades_all_and_names_what_it_cannot(storage: Storage, path: Path) -> None:
    bad = path.with_name("bad.json")
    session = old_session("bad")
    session["memory"]["runs"] = "none"
    bad.write_text(json.dumps(session, indent=4))
    newer = path.with_name("newer.json")
    newer.write_text(json.dumps({"schema_version": 7, "session_id": "newer", "history": []}))
    broken = path.with_name("broken.json")
    broken.write_bytes(b"{")
    left = {one: one.read_bytes() for one in (bad, newer, broken, storage.path("new"))}
    done = storage.upgrade_schema()
    assert done.documents == 1
    assert {problem.path for problem in done.problems} == {str(bad), str(newer), str(broken)}
    assert done.backup is not None
    assert parse(path)["schema_version"] == 1
    assert {one: one.read_bytes() for one in left} == left
    storage.append("old", answered("r9"))
    again = storage.upgrade_schema()
    assert (again.documents, len(again.problems)) == (0, 3)
    assert len(list((storage.root / ".localstore" / "backups").iterdir())) == 1


def test_upgrade_schema_of_a_store_of_today_does_nothing(storage: Storage) -> None:
    storage.append("new", answered("r1"))
    done = storage.upgrade_schema()
    assert (done.documents, done.problems, done.backup) == (0, [], None)
    assert not (storage.root / ".localstore" / "backups").exists()


def test_a_folder_of_agno_is_refused_with_the_command_or_converted(tmp_path: Path, storage_class: StorageClass) -> None:
    (tmp_path / "old.json").write_text(json.dumps(old_session(), indent=4))
    with pytest.raises(OlderFormat, match=f"localstore upgrade {tmp_path}"):
        storage_class(tmp_path)
    storage = storage_class(tmp_path, auto_upgrade_schema=True)
    assert not (tmp_path / "old.json").exists()
    session = storage.read("old")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["o0", "o1"]
    storage.append("old", answered("r9"))
    assert JsonStorage(tmp_path).get_all_session_ids() == ["old"]


def test_what_cannot_be_converted_when_a_storage_is_opened_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(old_session(), indent=4))
    (tmp_path / "other.json").write_text('{"colour": "blue"}')
    with pytest.warns(UserWarning, match=r"other\.json: is not a session of agno"):
        storage = JsonStorage(tmp_path, auto_upgrade_schema=True)
    assert storage.get_all_session_ids() == ["old"]
    assert (tmp_path / "other.json").read_text() == '{"colour": "blue"}'


@pytest.mark.parametrize("call", ["delete", "drop"])
def test_a_newer_document_is_not_deleted(storage: Storage, path: Path, call: str) -> None:
    newer = path.with_name("newer.json")
    newer.write_text(json.dumps({"schema_version": 7, "session_id": "newer", "history": []}))
    with pytest.raises(NewerFormat, match="reads versions up to 1"):
        storage.delete_session("newer") if call == "delete" else storage.drop()
    assert newer.exists()
    assert path.exists()
    assert storage.path("new").exists()


def test_an_older_document_can_be_deleted(storage: Storage, path: Path) -> None:
    assert storage.delete_session("old", user_id="alice")
    assert not path.exists()

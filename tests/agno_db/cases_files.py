"""What `LocalDb` does with the files of a folder: documents that people edit and break, and files of memories."""

import copy
import json
import os
import pickle
from pathlib import Path

from agno.db.schemas import UserMemory

from localstore.errors import DocumentBroken
from localstore.integrations.agno_db import LocalDb
from tests.agno_db.parts import AGENT, RUNS_APART, Twin, agent, document, raises, run, session, store
from tests.scripted_server import scripted_server, text


def case_a_read_error_is_never_taken_for_no_session(folder: Path) -> None:
    db = LocalDb(folder)
    it = store(db, session(), run("r1"))
    path = document(folder)
    path.write_text(path.read_text().replace('"history"', '"history'))
    broken = path.read_bytes()
    raises(DocumentBroken, lambda: db.get_session("s1", AGENT))
    raises(DocumentBroken, lambda: db.get_sessions(AGENT))
    it.upsert_run(run("r2"))
    raises(DocumentBroken, lambda: db.upsert_run(it.runs[1], "s1") if RUNS_APART else db.upsert_session(it))
    raises(DocumentBroken, lambda: db.rename_session("s1", AGENT, "x"))
    assert path.read_bytes() == broken
    kept = [json.loads(one.read_text()) for one in (folder / ".localstore" / "rescue").iterdir()]
    assert [one["entry"]["run_id"] for one in kept] == ["r2"]


def case_only_what_is_new_is_added(folder: Path) -> None:
    db = LocalDb(folder)
    it = store(db, session(session_data={"session_state": {"n": 1}}), *[run(f"r{number}") for number in range(50)])
    before = document(folder).read_bytes()
    store(db, db.get_session("s1", AGENT), run("r50"))
    store(db, it, run("r51"))
    after = document(folder).read_bytes()
    assert after.startswith(before[:-14])
    assert len(after) - len(before) < 2 * 1000


def case_sessions_in_yaml(folder: Path) -> None:
    db = Twin(folder, format="yaml")
    text = "no\n  two lines\n- y: 1\n"
    it = store(db, session(session_data={"session_state": {"n": text}}), run("r1", text))
    store(db, it, run("r2", text))
    assert len(db.same("s1", AGENT).runs) == 2
    assert document(folder / "store").suffix == ".yaml"


def case_a_database_opens_again_from_what_it_says(folder: Path) -> None:
    db = LocalDb(folder, format="yaml", durability="relaxed")
    again = LocalDb.from_dict(db.to_dict())
    assert again.id == db.id == LocalDb(folder).id
    assert again.to_dict() == db.to_dict()


def case_a_person_edits_the_document(folder: Path) -> None:
    db = LocalDb(folder)
    it = store(db, session(session_data={"session_state": {"n": 1}}), run("r1"), run("r2"))
    path = document(folder)
    content = json.loads(path.read_text())
    content["note"] = "mine"
    content["history"] = [entry for entry in content["history"] if entry.get("run_id") != "r1"]
    path.write_text(json.dumps(content))
    store(db, it, run("r3"))
    assert [one.run_id for one in db.get_session("s1", AGENT).runs] == ["r2", "r3"]
    assert json.loads(path.read_text())["note"] == "mine"


def case_keys_of_agno_that_a_person_changed_name_the_file(folder: Path) -> None:
    """A value of another form in a key like `agno_history` raised a TypeError that named no file."""
    db = LocalDb(folder)
    store(db, session(metadata={}), run("r1"))
    path = document(folder)
    content = json.loads(path.read_text())
    for key in ("agno_absent", "agno_history", "agno_system", "agno_run", "agno_run_index"):
        first, *others = content["history"]
        path.write_text(json.dumps({**content, "history": [{**first, key: True}, *others]}))
        if key != "agno_run_index":  # True is a number
            assert path.name in str(raises(DocumentBroken, lambda: db.get_session("s1", AGENT)))
    path.write_text(json.dumps({"agno_empty": [1], **{k: v for k, v in content.items() if k != "agno_empty"}}))
    db.upsert_session(db.get_session("s1", AGENT))


def case_another_class_is_refused_by_name(folder: Path) -> None:
    """`upsert_session` raised StopIteration for an object that is no session."""
    db = LocalDb(folder)
    error = raises(TypeError, lambda: db.upsert_session(run("r1")))
    assert "RunOutput" in str(error)
    assert list((folder / "sessions").iterdir()) == []


def case_a_database_is_pickled_and_copied(folder: Path) -> None:
    """A `LocalDb` could not be sent to another process."""
    db = LocalDb(folder, format="yaml", lock_timeout=3.0, id="mine")
    it = store(db, session(), run("r1"))
    again = pickle.loads(pickle.dumps(db))  # noqa: S301 - our own bytes
    assert again.to_dict() == db.to_dict()
    assert copy.deepcopy(db) is db
    copied = copy.deepcopy(it)
    store(again, copied, run("r2"))
    pickled = pickle.loads(pickle.dumps(it))  # noqa: S301 - our own bytes
    store(copy.copy(db), pickled, run("r3"))
    assert [one.run_id for one in db.get_session("s1", AGENT).runs] == ["r1", "r2", "r3"]


def case_ids_stay_inside(folder: Path) -> None:
    db = LocalDb(folder / "store")
    ids = ["../x", "/etc/passwd", "..", "a/b", "CON", "x" * 3000, "\0", "Ä"]
    for one in ids:
        store(db, session(one), run("r1", session_id=one))
        assert [found.run_id for found in db.get_session(one, AGENT).runs] == ["r1"]
    assert {found.session_id for found in db.get_sessions(AGENT)} == set(ids)
    assert os.listdir(folder) == ["store"]
    assert all(db.delete_session(one) for one in ids)


def memory(memory_id: str | None, text: str, user_id: str | None = "alice") -> UserMemory:
    return UserMemory(memory=text, memory_id=memory_id, user_id=user_id)


def filled(folder: Path) -> LocalDb:
    db = LocalDb(folder)
    for one in (
        memory("m1", "Likes trains"),
        memory("m2", "Lives in Linz"),
        memory("m3", "x", "bob"),
        memory("m4", "y", None),
    ):
        db.upsert_user_memory(one)
    return db


def case_memories_are_readable_documents(folder: Path) -> None:
    filled(folder)
    found = {}
    for path in (folder / "sessions").glob("*/agno-db-memories*.json"):
        one = json.loads(path.read_text())
        found[one["session_id"]] = [entry["data"]["memory"] for entry in one["history"]]
    assert found == {
        "agno-db/memories/alice": ["Likes trains", "Lives in Linz"],
        "agno-db/memories/bob": ["x"],
        "agno-db/memories/": ["y"],
    }


def case_memories_of_an_odd_user_stay_inside(folder: Path) -> None:
    db = LocalDb(folder / "store")
    for user in ("../x", "_nobody", "a/b", "Ä"):
        db.upsert_user_memory(memory(None, f"of {user}", user))
        assert [one.memory for one in db.get_user_memories(user)] == [f"of {user}"]
    assert [path.name for path in folder.iterdir()] == ["store"]


def case_memories_of_earlier_releases_are_found_and_changed(folder: Path) -> None:
    """They are in files of their own; see tests/unit/integrations/agno_db/test_side_files.py."""
    LocalDb(folder)
    (folder / "memories").mkdir()
    path = folder / "memories" / "alice.json"
    path.write_text(json.dumps({"user_id": "alice", "memories": [memory("m1", "Likes trains").to_dict()]}))
    (folder / "agno.json").write_text('{"schema_versions": {"agno_sessions": "3.0.0"}}')
    db = LocalDb(folder)
    assert [one.memory for one in db.get_user_memories("alice")] == ["Likes trains"]
    assert db.get_latest_schema_version("agno_sessions") == "3.0.0"
    db.upsert_user_memory(memory("m2", "Lives in Linz"))
    db.delete_user_memory("m1", user_id="alice")
    assert [one.memory for one in LocalDb(folder).get_user_memories()] == ["Lives in Linz"]
    assert not path.exists()


def case_a_broken_file_of_memories_is_never_taken_for_none(folder: Path) -> None:
    mine = filled(folder)
    (folder / "memories").mkdir()
    path = folder / "memories" / "alice.json"
    for content in ("{", "[]", '{"memories": 3}', '{"memories": [3]}', ""):
        path.write_text(content)
        raises(DocumentBroken, lambda: mine.get_user_memories("alice"))
        raises(DocumentBroken, lambda: mine.upsert_user_memory(memory("m9", "x")))
        raises(DocumentBroken, lambda: mine.delete_user_memory("m1", user_id="alice"))
        raises(DocumentBroken, mine.clear_memories)
        assert path.read_text() == content


def case_a_run_and_what_it_changed_are_one_entry_at_the_end(folder: Path) -> None:
    with scripted_server(*[text(f"a{number}") for number in range(4)]) as server:
        for number in range(4):
            agent(LocalDb(folder), server, session_state={"n": 1}, instructions="Be brief.").run(f"q{number}")
            path = document(folder)
            if number == 0:
                inode, before = path.stat().st_ino, b""
            assert path.stat().st_ino == inode
            assert path.read_bytes().startswith(before[:-14])
            before = path.read_bytes()
    assert [entry["type"] for entry in json.loads(before)["history"]] == ["run"] * 4


def case_a_broken_file_of_versions_is_never_taken_for_none(folder: Path) -> None:
    db = LocalDb(folder)
    (folder / "agno.json").write_text("{")
    raises(DocumentBroken, lambda: db.get_latest_schema_version("agno_sessions"))
    raises(DocumentBroken, lambda: db.upsert_schema_version("agno_sessions", "3.0.0"))

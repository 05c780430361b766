"""Methods that only agno 3.x has, for single runs and parts of sessions: they return what agno's JsonDb returns."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from agno.memory import MemoryManager
from agno.models.message import Message
from agno.models.openai import OpenAIChat
from agno.run.base import RunStatus
from agno.run.team import TeamRunOutput

from localstore.errors import OwnerMismatch, SessionNotFound
from tests.agno_db.parts import AGENT, DATABASE, Twin, agent, opened, raises, run, said, session, store, stored, text_of
from tests.scripted_server import scripted_server, text, tool_call


def filled(folder: Path) -> Twin:
    db = Twin(folder)
    store(db, session("s1"), *[run(f"r{number}", created_at=1_700_000_000 + number) for number in range(6)])
    store(
        db,
        session("s2", user_id="bob", created_at=1_700_000_001),
        run("r6", session_id="s2", status=RunStatus.error, content="bad"),
    )
    team = TeamRunOutput(run_id="r7", team_id="t1", session_id="s1", status=RunStatus.completed, content="x")
    member = run("r8", parent_run_id="r7")
    for one in (team, member):
        db.upsert_run(one, session_id="s1", user_id="alice", run_index=6)
    return db


def case_a_run_of_a_database_is_read_alone(folder: Path) -> None:
    """The whole session was read, which only a run with an earlier system message or copies of messages needs."""
    db = filled(folder)
    hi = Message(role="user", content="hi")
    old, new = ([Message(role="system", content=text), hi] for text in ("old", "new"))
    one = session("s3")
    store(db, one, *[run(f"t{number}", session_id="s3", messages=old) for number in range(3)])
    early = db.get_run("t2")
    if DATABASE:
        with patch.object(type(db._reader), "run_rows", side_effect=AssertionError):
            for run_id in ("r3", "r7", "r8", "t0", "t2"):
                assert db.get_run(run_id) == db.twin.get_run(run_id)
    store(db, one, run("t3", session_id="s3", messages=new))
    for run_id in ("t0", "t1", "t2", "t3"):
        assert db.get_run(run_id) == db.twin.get_run(run_id)
    assert db.get_run("t2") == early


def case_runs_are_found_as_in_agnos_own_store(folder: Path) -> None:
    db = filled(folder)
    filters: list[dict[str, Any]] = [
        {},
        {"session_id": "s1"},
        {"session_id": "none"},
        {"user_id": "bob"},
        {"session_id": "s1", "agent_id": "a1"},
        {"team_id": "t1"},
        {"workflow_id": "w1"},
        {"status": RunStatus.error},
        {"session_id": "s1", "limit": 2},
        {"session_id": "s1", "limit": 2, "page": 2},
        {"session_id": "s1", "agent_id": "a1", "sort_by": "run_id", "limit": 3},
        {"session_id": "s1", "agent_id": "a1", "sort_by": "created_at", "sort_order": "asc", "limit": 3},
    ]
    for one in filters:
        mine, theirs = db.get_runs(**one), db.twin.get_runs(**one)
        if "session_id" not in one:
            mine, theirs = (sorted(some, key=lambda it: it.run_id) for some in (mine, theirs))
        assert [it.to_dict() for it in mine] == [it.to_dict() for it in theirs], one
        assert mine == theirs, one
        rows, total = db.get_runs(**one, deserialize=False)
        others, other_total = db.twin.get_runs(**one, deserialize=False)
        assert total == other_total, one
        assert not rows or rows[0].keys() == others[0].keys()
        assert {row["run_type"] for row in rows} == {row["run_type"] for row in others}
    raises(ValueError, lambda: db.get_runs(page=2))


def case_one_run_is_found_and_deleted(folder: Path) -> None:
    db = filled(folder)
    for run_id in ("r3", "r6", "r7", "r8"):
        assert db.get_run(run_id) == db.twin.get_run(run_id)
        assert db.get_run(run_id, deserialize=False)["run_type"] == db.twin.get_run(run_id, False)["run_type"]
    assert db.get_run("none") is None
    assert db.delete_run("none") is False
    assert db.delete_run("r3") is True
    db.delete_runs(["r0", "r1", "r6"])
    assert [it.run_id for it in db.get_runs(session_id="s1")] == ["r2", "r4", "r5", "r7", "r8"]
    assert db.get_session("s2", AGENT).runs == []


def case_a_deleted_run_leaves_what_it_said_of_the_session(folder: Path) -> None:
    db = opened(folder)
    it = session(session_data={"session_state": {"n": 1}})
    store(db, it, run("r1", messages=[Message(role="system", content="S"), Message(role="user", content="q")]))
    store(db, it, run("r2", messages=[Message(role="system", content="S"), Message(role="user", content="p")]))
    db.delete_run("r1")
    assert [*stored(db)["removed"]] == ["r1"]
    store(db, it, run("r3"))
    found = db.get_session("s1", AGENT)
    assert found.session_data["session_state"] == {"n": 1}
    assert [one.run_id for one in found.runs] == ["r2", "r3"]
    assert [message.content for message in found.runs[0].messages] == ["S", "p"]


def case_the_last_runs_are_those_that_agno_takes(folder: Path) -> None:
    db = Twin(folder)
    asked = [Message(role="system", content="S"), Message(role="user", content="q")]
    it = store(db, session(session_data={"session_state": {"n": 1}}), *[run(f"r{n}", messages=asked) for n in range(9)])
    store(db, it, run("p1", status=RunStatus.paused), run("e1", status=RunStatus.error), run("m1", parent_run_id="r1"))
    store(db, it, run("c1", status=RunStatus.cancelled), run("r9", messages=asked))
    for limit in (1, 2, 3, 9, 10, 11, 100):
        mine = db.get_session("s1", AGENT, runs_limit=limit)
        theirs = db.twin.get_session("s1", AGENT, runs_limit=limit)
        assert [one.to_dict() for one in mine.runs] == [one.to_dict() for one in theirs.runs], limit
        assert mine.session_data == theirs.session_data
    assert db.get_session("s1", AGENT, runs_limit=0).runs == []


def case_a_part_of_a_session_stored_again_removes_nothing(folder: Path) -> None:
    db = opened(folder)
    it = store(db, session(), *[run(f"r{number}") for number in range(5)])
    part = db.get_session("s1", AGENT, runs_limit=1)
    part.session_data["session_name"] = "Trip"
    db.upsert_session(part)
    store(db, part, run("r5"))
    assert len(db.get_session("s1", AGENT).runs) == 6
    assert len(it.runs) == 5


def case_sessions_without_their_runs(folder: Path) -> None:
    db = filled(folder)
    records, total = db.get_sessions(AGENT, deserialize=False, include_runs=False)
    assert [(it["session_id"], it["runs"]) for it in records] == [("s1", None), ("s2", None)]
    assert total == 2
    assert [len(it.runs) for it in db.get_sessions(AGENT, include_runs=True)] == [8, 1]


def case_a_run_before_its_session_makes_one(folder: Path) -> None:
    db = opened(folder)
    db.upsert_run(run("r1"), session_id="s1", user_id="alice", run_index=0)
    db.upsert_session(session(metadata={"plan": "free"}))
    found = db.get_session("s1", AGENT, user_id="alice")
    assert (found.agent_id, found.metadata, len(found.runs)) == ("a1", {"plan": "free"}, 1)
    raises(SessionNotFound, lambda: db.upsert_run(run("m1", parent_run_id="r1"), session_id="s2"))
    raises(ValueError, lambda: db.upsert_run({"content": "x"}, session_id="s1"))
    raises(OwnerMismatch, lambda: db.upsert_run(run("r2"), session_id="s1", user_id="bob"))


def case_a_run_as_a_mapping(folder: Path) -> None:
    db = opened(folder)
    it = store(db, session())
    db.upsert_run({**run("r1").to_dict(), "status": "RUNNING"}, session_id=it.session_id, user_id="alice", run_index=0)
    db.upsert_run({**run("r1").to_dict(), "status": "COMPLETED"}, session_id=it.session_id, user_id="alice")
    assert [one.status for one in db.get_session("s1", AGENT).runs] == [RunStatus.completed]
    assert stored(db)["history"][-1]["status"] == "completed"


def case_a_regenerated_run_is_over(folder: Path) -> None:
    """It was shown as unfinished for ever, although its answer had been generated again."""
    if not hasattr(RunStatus, "regenerated"):
        return
    with scripted_server(text("Linz."), text("Graz."), text("Yes.")) as server:
        db = Twin(folder)
        first = agent(db, server).run("Where?")
        agent(db, server).continue_run(run_id=first.run_id, session_id="s1", regenerate=True)
        assert [one.status for one in db.same("s1", AGENT).runs] == [RunStatus.regenerated, RunStatus.completed]
        agent(db, server).run("Sure?")
        assert "Linz." not in said(server.requests[-1])
        db.same("s1", AGENT)
    stored = db.storage.read("s1")
    assert stored is not None
    assert [one.status for one in stored.runs] == ["cancelled", "completed", "completed"]


def case_an_agent_searches_its_past_sessions(folder: Path) -> None:
    script = (text("Vienna."), text("Linz."), tool_call("search_past_sessions", "{}"), text("You liked Vienna."))
    with scripted_server(*script) as server:
        db = opened(folder)
        for number, question in enumerate(("Where in May?", "Where in June?", "Where was I?")):
            options = {"session_id": f"trip-{number}", "user_id": "alice", "search_past_sessions": True}
            agent(db, server, **options).run(question)
        found = next(m["content"] for m in server.requests[3]["messages"] if m["role"] == "tool")
    assert sorted(one["session_id"] for one in json.loads(found)) == ["trip-0", "trip-1"]
    assert "Where in May?" in found


def case_memories_are_made_by_the_agent(folder: Path) -> None:
    add = tool_call("add_memory", '{"memory": "Likes trains", "topics": ["travel"]}')
    with scripted_server(text("Noted.")) as server, scripted_server(add, text("done")) as other:
        db = opened(folder)
        model = OpenAIChat(id="scripted", base_url=other.base_url, api_key="k")
        manager = MemoryManager(model=model, db=db)  # works beside the agent
        agent(db, server, user_id="alice", update_memory_on_run=True, memory_manager=manager).run("I like trains.")
        found = db.get_user_memories("alice")
    assert [(one.memory, one.topics) for one in found] == [("Likes trains", ["travel"])]


def case_a_run_passed_twice_is_stored_again_when_it_was_deleted_between(folder: Path) -> None:
    """`upsert_run` skips a run that its session has just stored, but only while the document holds it unchanged."""
    db = opened(folder)
    it = session()
    one = run("r1")
    it.upsert_run(one)
    db.upsert_session(it)
    db.storage.rate("s1", "r1", "good")
    opened(folder).upsert_run(run("r1", "edited"), session_id="s1", user_id="alice")
    db.upsert_run(one, session_id="s1", user_id="alice", run_index=0)
    assert "edited" not in text_of(db)
    assert opened(folder).delete_run("r1")
    db.upsert_run(one, session_id="s1", user_id="alice", run_index=0)
    assert [found.run_id for found in db.get_session("s1", AGENT).runs] == ["r1"]


def case_a_run_passed_twice_is_converted_once(folder: Path) -> None:
    """agno passes each run with its session and alone: the second call reads no entry and validates nothing."""
    db = opened(folder)
    it = store(db, session(session_data={"session_state": {"n": 1}}), run("r1"))
    one = run("r2")
    it.upsert_run(one)
    db.upsert_session(it)
    before = db.storage.revision("s1")
    with patch("localstore.integrations.agno_db.writer.to_entry", side_effect=AssertionError):
        db.upsert_run(one, session_id="s1", user_id="alice", run_index=1)
        one.messages[-1].content = "changed"
        raises(AssertionError, lambda: db.upsert_run(one, session_id="s1", user_id="alice", run_index=1))
    assert db.storage.revision("s1") == before
    db.upsert_run(one, session_id="s1", user_id="alice", run_index=1)
    assert db.get_session("s1", AGENT).runs[1].messages[-1].content == "changed"


def indexes(db: Any) -> list[tuple[str, int]]:
    return [(row["run_id"], row["run_index"]) for row in db.get_runs(session_id="s1", deserialize=False)[0]]


def case_the_index_of_a_run_is_kept(folder: Path) -> None:
    """`run_index` was the position in the document, whatever the caller had given, and changed when a run before it
    was deleted."""
    db = Twin(folder)
    store(db, session(), run("r0"), run("r1"), run("r2"))
    for run_id, index in (("r3", 7), ("r4", 8), ("r5", 9)):
        db.upsert_run(run(run_id), session_id="s1", user_id="alice", run_index=index)
    assert indexes(db) == [("r0", 0), ("r1", 1), ("r2", 2), ("r3", 7), ("r4", 8), ("r5", 9)]
    for run_id in ("r1", "r4"):
        assert db.delete_run(run_id)
        assert db.twin.delete_run(run_id)
    db.upsert_run(run("r2", "again"), session_id="s1", user_id="alice", run_index=4)
    assert indexes(db) == indexes(db.twin) == [("r0", 0), ("r2", 2), ("r3", 7), ("r5", 9)]
    db.upsert_run(run("r6"), session_id="s1", user_id="alice")
    assert indexes(db)[-1] == ("r6", 10)
    assert "agno_run_index" not in db.get_run("r5").to_dict()


def case_a_session_that_was_made_by_hand_adds_no_run(folder: Path) -> None:
    """Saving an existing session with an unknown run stored that run, which agno ignores."""
    db = opened(folder)
    store(db, session(), run("r1"))
    db.upsert_session(session(runs=[run("r2")], metadata={"plan": "free"}))
    found = db.get_session("s1", AGENT)
    assert [one.run_id for one in found.runs] == ["r1"]
    assert found.metadata == {"plan": "free"}


def case_a_run_as_a_mapping_comes_back_exactly(folder: Path) -> None:
    """A message without `from_history` was given back as agno had passed it, and one with `false` was not."""
    db = opened(folder)
    data = run("r1").to_dict()
    bare = {key: value for key, value in data["messages"][0].items() if key != "from_history"}
    data["messages"].append({**bare, "stop_after_tool_call": True})
    db.upsert_run(data, session_id="s1", user_id="alice", run_index=0)
    assert db.get_run("r1", deserialize=False)["run_data"] == data
    assert "agno_run" not in text_of(db)


def case_a_run_without_an_owner_keeps_its_class(folder: Path) -> None:
    """A run of an agent that has no id came back as the run of a workflow."""
    db = Twin(folder)
    store(db, session(), run("r1"))
    for one in (run("r2", agent_id=None), TeamRunOutput(run_id="r3", content="x"), {"run_id": "r4", "content": "y"}):
        db.upsert_run(one, session_id="s1", user_id="alice")
    for run_id in ("r1", "r2", "r3", "r4"):
        assert type(db.get_run(run_id)) is type(db.twin.get_run(run_id))
    assert [type(one) for one in db.get_runs("s1")] == [type(one) for one in db.twin.get_runs("s1")]
    db.same("s1", AGENT)

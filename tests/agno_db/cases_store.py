"""`LocalDb` is right where agno's file stores are wrong, in every supported release and with its own classes."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

from agno.models.message import Message

from localstore import Message as LocalMessage
from localstore import Run
from localstore.errors import OwnerMismatch, UnstorableValue
from localstore.integrations.agno_db import LocalDb
from tests.agno_db.parts import (
    AGENT,
    RUNS_APART,
    TEAM,
    WORKFLOW,
    Twin,
    opened,
    raises,
    rescued,
    run,
    session,
    store,
    text_of,
)


def case_a_session_comes_back_as_from_agnos_own_store(folder: Path) -> None:
    db = Twin(folder)
    metadata = {"plan": "free", "tags": ["a", {"b": None}]}
    data = {
        "session_name": "Trip",
        "session_state": {"n": 1, "deep": {"x": [1.5, None, ""]}},
        "session_metrics": {"t": 3},
    }
    it = store(db, session(session_data=data, metadata=metadata, agent_data={"name": "a"}), run("r1"), run("r2", "ho"))
    assert [one.run_id for one in db.same("s1", AGENT).runs] == ["r1", "r2"]
    it.session_data["session_state"]["n"] = 2
    store(db, it, run("r3"))
    assert db.same("s1", AGENT).session_data["session_state"]["n"] == 2


def case_empty_and_missing_parts_come_back(folder: Path) -> None:
    parts: list[dict[str, Any]] = [
        {"session_data": None},
        {"session_data": {"session_state": {}}},
        {"metadata": {}},
        {"user_id": None, "agent_id": None},
        {"team_id": "t1", "workflow_id": "w1"},
        {"session_data": {"session_name": ""}},
    ]
    for number, more in enumerate(parts):
        db = Twin(folder / str(number))
        store(db, session(**more), run("r1"))
        db.same("s1", AGENT)


def case_odd_runs_come_back(folder: Path) -> None:
    db = Twin(folder)
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"b":1,  "a": "\\u00e9"}'}},
        {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "no json"}},
        {"id": "c3", "type": "function", "function": {"name": "f", "arguments": "[1]"}},
        {"id": "c4", "type": "function", "function": {"name": "f", "arguments": ""}},
    ]
    store(
        db,
        session(),
        run("r1", content={"a": 1}),
        run("r2", content=None),
        run("r3", messages=None),
        run("r4", messages=[]),
        run("r5", messages=[Message(role="assistant", tool_calls=calls), Message(role="tool", content="x")]),
        run("r6", messages=[Message(role="user", content=[{"type": "text", "text": "hi"}]), Message(role="user")]),
        run("r7", messages=[Message(role="user", content=["hi", 3])]),
        run("r8", messages=[Message(role="system", content="S"), Message(role="system", content="T")]),
        run("r9", messages=[Message(role="system", content="S"), Message(role="user", content="q")]),
        run("r10", metadata={"type": "x", "error": "y", "instructions": 3}),
        run("r11", created_at=0),
        run("r12", parent_run_id="r11", messages=[Message(role="system", content="member")]),
        run("r13 ä\n\"", session_id="another"),
        run("r14", messages=[Message(role="system", content="U")]),
    )  # fmt: skip
    assert len(db.same("s1", AGENT).runs) == 14
    text = text_of(db)
    assert text.count('"instructions": "S"') == 1
    assert "agno_run" not in text


def case_what_cannot_be_stored_leaves_the_old_file_whole(folder: Path) -> None:
    db = opened(folder)
    it = store(db, session(session_data={"session_state": {"n": 1}}), run("r1"))
    before = db.storage.revision("s1")
    it.session_data["session_state"]["bad"] = object()
    error = raises(UnstorableValue, lambda: db.upsert_session(it))
    assert "session_state.bad" in str(error)
    it.session_data["session_state"] = {"n": float("nan")}
    raises(UnstorableValue, lambda: db.upsert_session(it))
    assert db.storage.revision("s1") == before
    it.session_data["session_state"] = {"n": 2}
    store(db, it, run("r2"))
    assert len(db.get_session("s1", AGENT).runs) == 2


def case_a_run_that_cannot_be_stored_leaves_the_old_file_whole(folder: Path) -> None:
    db = opened(folder)
    it = store(db, session(), run("r1"))
    raises(UnstorableValue, lambda: store(db, it, run("r2", metadata={"bad": object()})))
    assert [one.run_id for one in db.get_session("s1", AGENT).runs] == ["r1"]


def case_eight_threads_on_one_session_keep_eight_runs(folder: Path) -> None:
    db = opened(folder)
    store(db, session())
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            store(db, opened(folder).get_session("s1", AGENT), run(f"r{number}"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the case fails with it
            errors.append(error)

    threads = [Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert sorted(one.run_id for one in db.get_session("s1", AGENT).runs) == [f"r{number}" for number in range(8)]


def case_created_at_survives(folder: Path) -> None:
    db = opened(folder)
    store(db, session(), run("r1"))
    store(db, session(created_at=1_800_000_000), run("r2"))
    it = db.get_session("s1", AGENT)
    it.created_at = None
    db.upsert_session(it)
    found = db.get_session("s1", AGENT)
    assert (found.created_at, len(found.runs)) == (1_700_000_000, 2)


def case_another_users_session_is_neither_taken_over_nor_written_to(folder: Path) -> None:
    db = opened(folder)
    store(db, session(), run("r1"))
    before = db.storage.revision("s1")
    raises(OwnerMismatch, lambda: db.upsert_session(session(user_id="bob")))
    raises(OwnerMismatch, lambda: db.upsert_session(session(user_id=None)))
    raises(OwnerMismatch, lambda: db.upsert_run(run("r2"), session_id="s1", user_id="bob"))
    assert db.get_session("s1", AGENT, user_id="bob") is None
    assert db.rename_session("s1", AGENT, "mine", user_id="bob") is None
    assert db.delete_session("s1", user_id="bob") is False
    db.delete_sessions(["s1"], user_id="bob")
    assert db.storage.revision("s1") == before


def case_a_session_of_nobody_can_be_claimed_and_then_stays(folder: Path) -> None:
    db = opened(folder)
    store(db, session(user_id=None), run("r1"))
    store(db, session(), run("r2"))
    assert len(db.get_session("s1", AGENT, user_id="alice").runs) == 2
    raises(OwnerMismatch, lambda: db.upsert_session(session(user_id="bob")))


def case_a_tuple_and_a_datetime_in_the_state_survive(folder: Path) -> None:
    db = opened(folder)
    when = datetime(2026, 11, 22, 7, 1, tzinfo=UTC)
    it = session(session_data={"session_state": {"pair": (1, 2), "when": when}})
    store(db, it, run("r1"))
    assert it.session_data["session_state"]["pair"] == (1, 2)
    state = db.get_session("s1", AGENT).session_data["session_state"]
    assert state == {"pair": [1, 2], "when": "2026-11-22T07:01:00+00:00"}


def case_a_run_after_the_deletion_does_not_bring_old_runs_back(folder: Path) -> None:
    db = opened(folder)
    it = store(db, session(), run("r1"), run("r2"))
    assert opened(folder).delete_session("s1") is True
    assert db.get_session("s1", AGENT) is None
    store(db, it, run("r3"))
    assert [one.run_id for one in db.get_session("s1", AGENT).runs] == ["r3"]
    it = db.get_session("s1", AGENT)
    opened(folder).delete_session("s1")
    store(db, it, run("r4"))
    assert [one.run_id for one in db.get_session("s1", AGENT).runs] == ["r4"]


def case_what_is_stored_again_unchanged_writes_nothing(folder: Path) -> None:
    db = opened(folder)
    it = store(db, session(session_data={"session_state": {"n": 1}}), run("r1"))
    before = db.storage.revision("s1")
    db.upsert_session(it)
    db.upsert_session(db.get_session("s1", AGENT))
    if RUNS_APART:
        db.upsert_run(it.runs[0], session_id="s1", user_id="alice", run_index=0)
    assert db.storage.revision("s1") == before


def case_what_others_changed_meanwhile_stays(folder: Path) -> None:
    db = opened(folder)
    store(db, session(session_data={"session_state": {"n": 1}}), run("r1"))
    mine, theirs = db.get_session("s1", AGENT), db.get_session("s1", AGENT)
    theirs.session_data["session_state"]["n"] = 2
    theirs.metadata = {"plan": "paid"}
    store(db, theirs, run("r2"))
    db.storage.update("s1", name="By hand", tags=["kept"])
    mine.session_data["session_metrics"] = {"input_tokens": 7}
    store(db, mine, run("r3"))
    found = db.get_session("s1", AGENT)
    assert found.session_data["session_state"] == {"n": 2}
    assert found.session_data["session_name"] == "By hand"
    assert found.metadata == {"plan": "paid"}
    assert [one.run_id for one in found.runs] == ["r1", "r2", "r3"]
    assert db.storage.list_sessions()[0].tags == ("kept",)


def case_a_changed_run_takes_the_place_of_the_old_one(folder: Path) -> None:
    db = Twin(folder)
    paused = run(
        "r1", status="PAUSED", messages=[Message(role="system", content="S"), Message(role="user", content="q")]
    )
    it = store(db, session(session_data={"session_state": {"n": 1}}), paused)
    store(db, it, run("r2", messages=[Message(role="system", content="S"), Message(role="user", content="q2")]))
    it.session_data["session_state"] = {"n": 2}
    done = run("r1", messages=[Message(role="system", content="S2"), Message(role="user", content="q")])
    it.runs[0] = done
    if RUNS_APART:
        db.upsert_run(done, session_id="s1", user_id="alice", run_index=0)
    db.upsert_session(it)
    found = db.same("s1", AGENT)
    assert [one.messages[0].content for one in found.runs] == ["S2", "S"]
    assert found.session_data["session_state"] == {"n": 2}


def case_an_old_run_far_back_is_changed_in_its_place(folder: Path) -> None:
    db = Twin(folder)
    it = store(db, session(), *[run(f"r{number}") for number in range(80)])
    it.runs[3] = run("r3", "again")
    if RUNS_APART:
        db.upsert_run(it.runs[3], session_id="s1", user_id="alice", run_index=3)
    db.upsert_session(it)
    assert db.same("s1", AGENT).runs[3].messages[0].content == "again"


def case_rename_session(folder: Path) -> None:
    db = opened(folder)
    it = store(db, session(session_data={"session_state": {"n": 1}}), run("r1"))
    named = db.rename_session("s1", AGENT, "Trip")
    assert named.session_data == {"session_state": {"n": 1}, "session_name": "Trip"}
    assert db.rename_session("s1", AGENT, "Trip 2", deserialize=False)["session_data"]["session_name"] == "Trip 2"
    store(db, it, run("r2"))
    assert db.get_session("s1", AGENT).session_data["session_name"] == "Trip 2"
    assert db.rename_session("none", AGENT, "x") is None
    assert db.storage.list_sessions()[0].name == "Trip 2"
    assert db.rename_session("s1", TEAM, "Trip 3").session_data["session_name"] == "Trip 3"


def case_filters_work_in_every_mode(folder: Path) -> None:
    from agno.session import TeamSession, WorkflowSession

    db = opened(folder)
    makers: dict[Any, Any] = {
        AGENT: lambda **more: session(agent_id="x", **more),
        TEAM: lambda **more: TeamSession(team_id="x", **more),
        WORKFLOW: lambda **more: WorkflowSession(workflow_id="x", **more),
    }
    for kind, make in makers.items():
        for number in range(4):
            data = {"session_name": f"Name {number}"}
            user = "alice" if number % 2 else "bob"
            one = f"{kind.value}-{number}"
            db.upsert_session(make(session_id=one, user_id=user, session_data=data, created_at=1_700_000_000 + number))
    other = session("other", agent_id="y", user_id=None)
    db.upsert_session(other)

    def ids(kind: Any, **more: Any) -> list[str]:
        found = [it.session_id for it in db.get_sessions(kind, **more)]
        records, total = db.get_sessions(kind, **more, deserialize=False)
        assert [it["session_id"] for it in records] == found
        assert total >= len(found)
        return found

    for kind in makers:
        name = kind.value
        assert ids(kind, user_id="alice") == [f"{name}-1", f"{name}-3"]
        assert ids(kind, component_id="x") == [f"{name}-{number}" for number in range(4)]
        assert ids(kind, component_id="z") == []
        assert ids(kind, session_name="name 2") == [f"{name}-2"]
        assert ids(kind, start_timestamp=1_700_000_002) == [f"{name}-2", f"{name}-3"]
        assert ids(kind, component_id="x", end_timestamp=1_700_000_001) == [f"{name}-0", f"{name}-1"]
        assert ids(kind, component_id="x", sort_by="created_at", limit=2) == [f"{name}-3", f"{name}-2"]
        assert ids(kind, component_id="x", sort_by="created_at", limit=2, page=2) == [f"{name}-1", f"{name}-0"]
        assert ids(kind, component_id="x", sort_by="session_id", sort_order="asc", limit=1) == [f"{name}-0"]
        assert ids(kind, user_id="bob", sort_by="user_id") == [f"{name}-0", f"{name}-2"]
        assert ids(kind, component_id="x", sort_by="nothing") == [f"{name}-{number}" for number in range(4)]
        assert db.get_sessions(kind, component_id="x", limit=1, deserialize=False)[1] == 4
        for another in makers:
            assert db.get_session(f"{name}-1", another).session_id == f"{name}-1"
            assert db.get_session(f"{name}-1", another, deserialize=False)["session_type"] == kind.value
    assert len(ids(None)) == 13
    assert len(ids(None, component_id="x")) == 12


def case_what_is_not_stored_here_names_what_to_use(folder: Path) -> None:
    db = opened(folder)
    for name in ("upsert_knowledge_content", "create_eval_run", "rename_eval_run", "delete_eval_runs"):
        error = raises(NotImplementedError, getattr(db, name))
        assert name in str(error)
        assert "SqliteDb" in str(error)


def case_what_is_not_stored_here_is_read_as_nothing(folder: Path) -> None:
    """Reading traces, evaluations and metrics raised NotImplementedError, so that pages of AgentOS answered 500."""
    db = opened(folder)
    assert db.get_metrics() == ([], None)
    assert db.calculate_metrics() == []
    assert db.get_knowledge_content("x") is None
    assert db.get_knowledge_contents(limit=1) == db.get_eval_runs(deserialize=False) == ([], 0)
    assert db.get_eval_runs() == []
    for name in set(vars(LocalDb)) & {"get_trace", "get_traces", "get_trace_stats", "get_spans", "get_learnings"}:
        assert getattr(db, name)(limit=20) in (None, [], ([], 0))


def case_two_agents_on_one_session(folder: Path) -> None:
    db = opened(folder)
    store(db, session(), run("r1"))
    store(db, session(agent_id="a2"), run("r2", agent_id="a2"))
    found = db.get_session("s1", AGENT)
    assert found.agent_id == "a1"
    assert [one.agent_id for one in found.runs] == ["a1", "a2"]


def case_a_stale_paused_run_does_not_replace_the_finished_one(folder: Path) -> None:
    """An agent that had read a paused run stored it again with its next run, over the form that another one had
    finished: its messages were lost, and a person was asked for the same confirmation again."""
    question = Message(role="user", content="Book it.")
    paused = run("r1", status="PAUSED", content=None, messages=[question])
    db = opened(folder)
    store(db, session(), paused)
    stale = db.get_session("s1", AGENT)
    other = opened(folder)
    done = run("r1", content="Booked.", messages=[question, Message(role="assistant", content="Booked.")])
    store(other, other.get_session("s1", AGENT), done)
    store(db, stale, run("r2", "Thanks"))
    assert [one.content for one in db.get_session("s1", AGENT).runs] == ["Booked.", "re: Thanks"]
    assert rescued(db) == []


def case_a_run_that_two_continued_keeps_both_answers(folder: Path) -> None:
    """Two processes continued one paused run: the second one erased the answer of the first."""
    question = Message(role="user", content="Book it.")
    paused = run("r1", status="PAUSED", content=None, messages=[question])
    db = opened(folder)
    store(db, session(), paused)
    sessions = [db.get_session("s1", AGENT) for _ in range(2)]
    for it, answer in zip(sessions, ("Seat 5.", "Seat 7."), strict=True):
        messages = [question, Message(role="assistant", content=answer)]
        store(db, it, run("r1", content=answer, messages=messages))
    assert [one.content for one in db.get_session("s1", AGENT).runs] == ["Seat 7."]
    assert [entry["messages"][-1]["content"] for entry in rescued(db)] == ["Seat 5."]


def case_a_rated_run_is_read_and_keeps_its_rating(folder: Path) -> None:
    """With agno 2.0, a session with a rated run could not be read: TypeError. A run that agno stored again lost its
    rating."""
    db = opened(folder)
    store(db, session(), run("r1"), run("r2", status="PAUSED"), run("r3"))
    for run_id in ("r1", "r2"):
        db.storage.rate("s1", run_id, "good", note="like this")
    found = db.get_session("s1", AGENT)
    assert len(found.runs) == 3
    store(db, found, run("r1", "again"))
    store(db, found, run("r2"))
    assert "like this" not in json.dumps(db.get_session("s1", AGENT, deserialize=False)["runs"], default=str)
    stored = db.storage.read("s1")
    assert stored is not None
    assert [(one.question, one.rating, one.rating_note) for one in stored.runs] == [
        ("again", "good", "like this"), ("hi", "good", "like this"), ("hi", None, None)
    ]  # fmt: skip


def case_runs_that_localstore_wrote_are_history_for_agno(folder: Path) -> None:
    """The runs of localstore's own agents do not name their agent, so agno left them out of the session."""
    db = opened(folder)
    for number in range(3):
        question, answer = LocalMessage(role="user", content="q"), LocalMessage(role="assistant", content=f"a{number}")
        run_of_localstore = Run(messages=[question, answer], status="unfinished" if number == 1 else "completed")
        db.storage.append("s1", run_of_localstore, entity_id="a1")
    found = db.get_session("s1", AGENT)
    assert [(one.agent_id, one.content) for one in found.runs] == [("a1", f"a{number}") for number in range(3)]
    before = text_of(db)
    db.upsert_session(found)
    assert text_of(db) == before
    store(db, found, run("r1"))
    assert [one.content for one in db.get_session("s1", AGENT).runs] == ["a0", "a1", "a2", "re: hi"]


def case_what_agno_leaves_out_on_purpose_is_not_kept(folder: Path) -> None:
    """A run that an agent continues may lose messages: agno is asked not to store them. They are not kept either."""
    db = opened(folder)
    store(db, session(), run("r1", status="PAUSED"))
    store(db, db.get_session("s1", AGENT), run("r1", messages=[], content="Booked."))
    other = opened(folder)
    store(db, db.get_session("s1", AGENT), run("r2", status="PAUSED"))
    store(other, other.get_session("s1", AGENT), run("r2", messages=[], content="Booked."))
    assert rescued(db) == []
    store(db, db.get_session("s1", AGENT), run("r2"))
    store(db, db.get_session("s1", AGENT), run("r2", messages=[], content="Again."))
    assert len(rescued(db)) == 2


def case_sessions_are_listed_in_the_order_of_their_creation(folder: Path) -> None:
    """Sessions that were created in the same second were listed in the order of their last writes."""
    db = opened(folder)
    now = int(time.time())
    ids = ["b", "c", "a", "d"]
    for name in ids:
        db.upsert_session(session(name, created_at=int(time.time())))
        time.sleep(0.002)
    store(db, db.get_session("b", AGENT), run("r1", session_id="b"))
    assert [it.session_id for it in db.get_sessions(AGENT)] == ids
    assert all(now <= it.created_at <= now + 5 for it in db.get_sessions(AGENT))

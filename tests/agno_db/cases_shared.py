"""Agents, teams and workflows of agno share a session: each finds the others' runs, and its state is stored."""

from pathlib import Path
from typing import Any

from agno.db.base import SessionType
from agno.models.message import Message
from agno.run.team import TeamRunOutput
from agno.run.workflow import WorkflowRunOutput
from agno.session import AgentSession, TeamSession, WorkflowSession

from localstore import Agent as LocalAgent
from localstore import FunctionModel, Run
from localstore import Message as LocalMessage
from localstore.errors import KindMismatch
from tests.agno_db.cases_groups import team
from tests.agno_db.parts import AGENT, TEAM, WORKFLOW, agent, opened, raises, run, said, session, store, stored
from tests.scripted_server import scripted_server, text, tool_call


def state_of(found: Any) -> Any:
    return found.session_data["session_state"]


def case_a_team_goes_on_with_the_session_of_an_agent(folder: Path) -> None:
    """The team was asked without the agent's run, its state was lost, and its session was not found."""
    script = (text("Sunny."), tool_call("delegate_task_to_member", '{"member_id": "trains", "task": "When?"}'))
    with scripted_server(*script, text("7:58"), text("At 7:58.")) as server:
        agent(opened(folder), server, user_id="alice").run("How is Linz?", session_state={"city": "Linz"})
        db = opened(folder)
        options = {"session_id": "s1", "user_id": "alice"}
        team(db, server, **options).run("And the train?", session_state={"city": "Wien"})
        assert said(server.requests[1]) == ["How is Linz?", "Sunny.", "And the train?"]
    found = db.get_session("s1", TEAM, user_id="alice")
    assert type(found) is TeamSession
    assert state_of(found)["city"] == "Wien"
    assert (found.runs[0].agent_id, found.runs[-1].content) == ("geographer", "At 7:58.")
    assert type(db.get_session("s1", AGENT)) is type(db.get_session("s1")) is AgentSession
    assert len(db.get_session("s1", AGENT).runs) == len(found.runs)
    header = stored(db)
    assert (header["kind"], header["agent_id"]) == ("agent", "geographer")


def case_an_agent_goes_on_with_the_session_of_a_team(folder: Path) -> None:
    with scripted_server(text("At 7:58."), text("Sunny."), text("Yes.")) as server:
        db = opened(folder)
        team(db, server, session_id="s1").run("When?", session_state={"n": 1})
        agent(opened(folder), server).run("And the weather?", session_state={"n": 2})
        assert said(server.requests[1]) == ["When?", "At 7:58.", "And the weather?"]
        team(db, server, session_id="s1").run("Sure?")
        assert said(server.requests[2])[-3:] == ["And the weather?", "Sunny.", "Sure?"]
    found = db.get_session("s1", AGENT)
    assert state_of(found)["n"] == 2
    assert [type(one).__name__ for one in found.runs] == ["TeamRunOutput", "RunOutput", "TeamRunOutput"]
    assert db.storage.list_sessions()[0].kind == "team"


def case_each_kind_keeps_its_own_data(folder: Path) -> None:
    """A write of one kind removed nothing of another, but the ids and the empty mappings were at stake."""
    db = opened(folder)
    store(db, session(agent_data={"name": "a"}, metadata={}), run("r1"))
    it = db.get_session("s1", TEAM)
    it.team_id, it.team_data, it.session_data = "t1", {"name": "t"}, {"session_state": {"n": 1}}
    messages = [Message(role="user", content="hi")]  # agno 2.2 ignores a team's run without messages
    store(db, it, TeamRunOutput(run_id="r2", team_id="t1", session_id="s1", content="x", messages=messages))
    fresh = WorkflowSession(session_id="s1", user_id="alice", workflow_id="w1", workflow_data={"name": "w"})
    store(db, fresh, WorkflowRunOutput(run_id="r3", workflow_id="w1", session_id="s1", content="y"))
    record = db.get_session("s1", None, deserialize=False)
    assert record["session_type"] == "agent"
    assert [record[f"{kind}_id"] for kind in ("agent", "team", "workflow")] == ["a1", "t1", "w1"]
    assert [record[f"{kind}_data"] for kind in ("agent", "team", "workflow")] == [{"name": n} for n in "atw"]
    assert record["metadata"] == {}
    assert [one["run_id"] for one in record["runs"]] == ["r1", "r2", "r3"]
    assert [one.run_id for one in db.get_session("s1", AGENT).runs][:2] == ["r1", "r2"]
    assert [one.run_id for one in db.get_session("s1", WORKFLOW).runs] == ["r3"]
    assert len(db.get_sessions(AGENT)) == 1
    assert db.get_sessions(SessionType.TEAM) == []


def case_a_waiting_run_of_another_kind_is_not_stored_in_another_form(folder: Path) -> None:
    """A workflow got an agent's paused run as a run of its own, and stored it again in that form."""
    db = opened(folder)
    store(db, session(), run("r1", status="PAUSED", messages=[Message(role="user", content="Book it.")]))
    before = stored(db)["history"]
    it = db.get_session("s1", WORKFLOW)
    store(db, it, WorkflowRunOutput(run_id="w1", workflow_id="w", session_id="s1", content="done"))
    assert [entry for entry in stored(db)["history"] if entry.get("run_id") == "r1"] == [before[-1]]
    assert db.get_session("s1", AGENT).runs[0].agent_id == "a1"


def case_the_agents_of_localstore_still_refuse_another_kind(folder: Path) -> None:
    db = opened(folder)
    with scripted_server(text("At 7:58.")) as server:
        team(db, server, session_id="s1").run("When?")
    other = LocalAgent(model=FunctionModel(lambda messages: "x"), storage=db.storage, session_id="s1")
    raises(KindMismatch, lambda: other.run("hi"))
    db.storage.append("s2", Run(messages=[LocalMessage(role="user", content="hi")], status="completed"), kind="team")
    assert type(db.get_session("s2", AGENT)) is AgentSession

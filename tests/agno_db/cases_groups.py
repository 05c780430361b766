"""agno's own teams and workflows run on a `LocalDb`. After each run it returns what agno's JsonDb returns."""

from pathlib import Path
from typing import Any

from agno.models.openai import OpenAIChat
from agno.team import Team
from agno.workflow import Step, Workflow

from tests.agno_db.parts import TEAM, WORKFLOW, Twin, agent, said, text_of
from tests.scripted_server import ScriptedServer, scripted_server, text, tool_call


def team(db: Any, server: ScriptedServer, **options: Any) -> Team:
    model = OpenAIChat(id="scripted", base_url=server.base_url, api_key="k")
    member = agent(None, server, id="trains", session_id=None, add_history_to_context=False, role="Knows trains")
    options = {"session_id": "t1", "add_history_to_context": True, "telemetry": False} | options
    return Team(name="atlas", members=[member], model=model, db=db, **options)


def case_a_team(folder: Path) -> None:
    for number, options in enumerate(({}, {"store_member_responses": True})):
        task = '{"member_id": "trains", "task": "When?"}'
        script = (tool_call("delegate_task_to_member", task), text("7:58"), text("At 7:58."), text("Yes."))
        with scripted_server(*script) as server:
            db = Twin(folder / str(number))
            for name in options:
                if name not in Team.__dataclass_fields__:
                    options = {}
            team(db, server, **options).run("When does it leave?")
            found = db.same("t1", TEAM)
            assert found.runs[-1].content == "At 7:58." or found.runs[0].content == "At 7:58."
            team(db, server, **options).run("Sure?")
            assert said(server.requests[-1])[-3:] == ["When does it leave?", "At 7:58.", "Sure?"]
            db.same("t1", TEAM)
        assert "agno_run" not in text_of(db, "t1")
        assert db.storage.list_sessions(kind="team")[0].entity_id == found.team_id


def case_a_workflow(folder: Path) -> None:
    with scripted_server(*[text(f"a{number}") for number in range(4)]) as server:
        db = Twin(folder)
        for number in range(2):
            steps = [
                Step(name=name, agent=agent(None, server, id=name, session_id=None, add_history_to_context=False))
                for name in ("draft", "check")
            ]
            Workflow(name="weekly", db=db, steps=steps, session_id="w1", telemetry=False).run(f"q{number}")
            assert len(db.same("w1", WORKFLOW).runs) == number + 1
    session = db.storage.read("w1")
    assert session is not None
    steps_of = [one.steps for one in session.runs]
    assert all(some is not None and [step.name for step in some] == ["draft", "check"] for some in steps_of)
    assert "agno_run" not in text_of(db, "w1")

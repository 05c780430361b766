"""agno's own teams, and both kinds of its workflows, work with our storage."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agno.agent import Agent, RunResponse
from agno.models.openai import OpenAIChat
from agno.team import Team
from agno.workflow import Workflow

from localstore.integrations.agno import JsonStorage
from tests.agno_1.conftest import OFFLINE
from tests.agno_1.sides import HAS_STEPS, TwinStorage, comparable
from tests.scripted_server import ScriptedServer, text, tool_call

Serve = Callable[..., ScriptedServer]


def model(server: ScriptedServer) -> Any:
    return OpenAIChat(id="scripted", base_url=server.base_url, api_key="k")


def make_team(server: ScriptedServer, storage: Any) -> Team:
    members = [
        Agent(model=model(server), name=name, agent_id=name.lower(), monitoring=False, telemetry=False)
        for name in ("Ann", "Bob")
    ]
    return Team(
        members=members,
        model=model(server),
        name="Atlas",
        team_id="atlas",
        session_id="t1",
        storage=storage,
        mode="coordinate",
        add_history_to_messages=True,
        **OFFLINE,
    )


def ask(member: str, task: str) -> Any:
    arguments = f'{{"member_id": "{member}", "task_description": "{task}", "expected_output": "one word"}}'
    return tool_call("transfer_task_to_member", arguments, call_id=f"call_{member}_{task}")


def test_a_team(serve: Serve, folder: Path) -> None:
    server = serve(
        ask("ann", "one"), text("Paris"), text("It is Paris."), ask("bob", "two"), text("Rome"), text("Rome!")
    )
    storage = TwinStorage(folder, "team")
    for question in ("capital of France?", "of Italy?"):
        assert make_team(server, storage).run(question, user_id="alice").content
        assert comparable(storage.read("t1")) == comparable(storage.own.read("t1"))
        assert comparable(JsonStorage(folder, "team").read("t1")) == comparable(storage.own.read("t1"))
    session = storage.store.read("t1")
    assert session is not None
    assert [(run.question, run.answer) for run in session.runs] == [
        ("capital of France?", "It is Paris."),
        ("of Italy?", "Rome!"),
    ]
    assert [run.member_runs[0].answer for run in session.runs if run.member_runs] == ["Paris", "Rome"]
    assert storage.store.path("t1").read_text().count("capital of France?") == 1
    assert JsonStorage(folder, "team").get_all_session_ids("alice", "atlas") == ["t1"]
    assert JsonStorage(folder, "agent").get_all_session_ids() == []


def test_a_first_workflow(serve: Serve, folder: Path) -> None:
    server = serve(text("About trains."), text("About boats."))

    class Report(Workflow):  # type: ignore[misc]
        def run(self, topic: str) -> Iterator[RunResponse]:
            self.session_state["topics"] = [*self.session_state.get("topics", []), topic]
            answer = Agent(model=model(server), **OFFLINE).run(topic).content
            yield RunResponse(run_id=self.run_id, content=answer)

    storage = TwinStorage(folder, "workflow")
    for topic in ("trains", "boats"):
        workflow = Report(workflow_id="report", session_id="w1", storage=storage, **OFFLINE)
        assert [part.content for part in workflow.run(topic=topic)]
        assert comparable(storage.read("w1")) == comparable(storage.own.read("w1"))
        assert comparable(JsonStorage(folder, "workflow").read("w1")) == comparable(storage.own.read("w1"))
    assert workflow.session_state == {"topics": ["trains", "boats"]}
    assert JsonStorage(folder, "workflow").get_all_session_ids(None, "report") == ["w1"]
    if HAS_STEPS:
        assert JsonStorage(folder, "workflow_v2").get_all_session_ids() == []


@pytest.mark.skipif(not HAS_STEPS, reason="this release has no workflows with steps")
def test_a_workflow_with_steps(serve: Serve, folder: Path) -> None:
    from agno.workflow.v2 import Step, StepInput, StepOutput
    from agno.workflow.v2 import Workflow as Pipeline

    server = serve(*(text(answer) for answer in ("A draft.", "Another.", "A third.")))

    def shout(given: StepInput) -> StepOutput:
        return StepOutput(content=str(given.previous_step_content).upper())

    storage = TwinStorage(folder, "workflow_v2")
    for message in ("trains", "boats"):
        writer = Agent(model=model(server), name="Writer", agent_id="writer", **OFFLINE)
        steps = [Step(name="draft", agent=writer), Step(name="shout", executor=shout)]
        pipeline = Pipeline(workflow_id="digest", name="Digest", session_id="p1", storage=storage, steps=steps)
        pipeline.telemetry = pipeline.monitoring = False
        assert pipeline.run(message).content in ("A DRAFT.", "ANOTHER.")
        assert comparable(storage.read("p1")) == comparable(storage.own.read("p1"))
        assert comparable(JsonStorage(folder, "workflow_v2").read("p1")) == comparable(storage.own.read("p1"))
    assert pipeline.run("planes").content == "A THIRD."
    session = storage.store.read("p1")
    assert session is not None
    assert [[step.name for step in run.steps or ()] for run in session.runs] == [["draft", "step 2"]] * 3
    assert JsonStorage(folder, "workflow_v2").get_all_session_ids(entity_id="digest") == ["p1"]
    assert JsonStorage(folder, "workflow").get_all_session_ids() == []

"""Fields of tool calls that agno loses when it reads a session do not change stored runs."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.models.response import ToolExecution
from agno.team import Team

from localstore.integrations.agno import JsonStorage
from tests.agno_1.conftest import OFFLINE
from tests.agno_1.sides import HAS_STEPS
from tests.agno_1.test_promises import run, session
from tests.scripted_server import ScriptedServer, text, tool_call

CLOSING = b"\n    }\n  ]\n}\n"
CALL = ToolExecution(tool_call_id="c1", tool_name="add", tool_args={"a": 1}, result="3").to_dict()


@pytest.fixture
def a_minute_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let agno behave as in a process started a minute later: it sets this time in the tool calls that it reads."""

    def pass_by() -> None:
        at = [field.name for field in fields(ToolExecution)].index("created_at")
        usual = list(ToolExecution.__init__.__defaults__ or ())
        usual[at] += 60
        monkeypatch.setattr(ToolExecution.__init__, "__defaults__", tuple(usual))

    return pass_by


EVENTS: dict[str, Any] = {"store_events": True} if "store_events" in signature(Agent).parameters else {}


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent(model: Any, **options: Any) -> Any:
    return Agent(model=model, name="Ann", agent_id="ann", tools=[add], **EVENTS, **OFFLINE, **options)


def team(model: Any, **options: Any) -> Any:
    member = Agent(model=model, name="Ann", agent_id="ann", tools=[add], **EVENTS, **OFFLINE)
    return Team(members=[member], model=model, team_id="t", mode="coordinate", **EVENTS, **OFFLINE, **options)


def pipeline(model: Any, **options: Any) -> Any:
    from agno.workflow.v2 import Step
    from agno.workflow.v2 import Workflow as Pipeline

    steps = [Step(name="count", agent=Agent(model=model, tools=[add], agent_id="ann", **OFFLINE))]
    made: Any = Pipeline(workflow_id="w", name="Count", steps=steps, **EVENTS, **options)
    made.telemetry = made.monitoring = False
    return made


ASKED = tool_call("transfer_task_to_member", '{"member_id": "ann", "task_description": "x", "expected_output": "y"}')
COUNTED = [tool_call("add", '{"a": 1, "b": 2}', "call_2"), text("3")]


@pytest.mark.parametrize(
    ("mode", "make", "script"),
    [
        ("agent", agent, [*COUNTED, text("again")]),
        ("team", team, [ASKED, *COUNTED, text("It is 3."), text("again")]),
        *([("workflow_v2", pipeline, [*COUNTED, text("again")])] if HAS_STEPS else []),
    ],
)
def test_the_next_process_only_adds_its_run(
    serve: Callable[..., ScriptedServer], folder: Path, a_minute_passes: Any, mode: Any, make: Any, script: Any
) -> None:
    """The first write of each process rewrote the document: each run with a tool call got the time at which agno was
    imported instead of the time of the call."""
    server = serve(*script)
    model = OpenAIChat(id="scripted", base_url=server.base_url, api_key="k")
    make(model, session_id="s1", storage=JsonStorage(folder, mode)).run("1+2?")
    path = JsonStorage(folder, mode).store.path("s1")
    before = path.read_bytes()
    assert before.count(b'"tool_name": "add"') > 1
    a_minute_passes()
    make(model, session_id="s1", storage=JsonStorage(folder, mode)).run("and again?")
    after = path.read_bytes()
    assert after.startswith(before.removesuffix(CLOSING))
    assert len(json.loads(after)["history"]) == 2


def test_a_run_that_was_changed_keeps_what_agno_forgot_of_its_calls(folder: Path, a_minute_passes: Any) -> None:
    """When another process finished a paused run, all its calls got the time at which agno was imported there."""
    calls = [{**CALL, "answered": True}, {**CALL, "tool_call_id": "c2", "result": None, "requires_confirmation": True}]
    JsonStorage(folder).upsert(session(run(1, tools=calls, status="PAUSED")))
    a_minute_passes()
    read = [ToolExecution.from_dict(deepcopy(call)).to_dict() for call in calls]
    assert read[0]["created_at"] != calls[0]["created_at"]
    read[1] |= {"confirmed": True, "result": "4"}
    JsonStorage(folder).upsert(session(run(1, tools=[*read, {**CALL, "tool_call_id": "c3"}])))
    (stored,) = json.loads(JsonStorage(folder).store.path("s1").read_bytes())["history"]
    assert stored["status"] == "completed"
    assert stored["tools"][0] == calls[0]
    assert stored["tools"][1]["created_at"] == calls[1]["created_at"]
    assert (stored["tools"][1]["confirmed"], stored["tools"][1]["result"]) == (True, "4")
    assert stored["tools"][2] == {**CALL, "tool_call_id": "c3"}

"""AgentOS on a `LocalDb` answers each of its pages with the status that it has on agno's own JsonDb."""

import re
from pathlib import Path
from typing import Any

from agno.agent import Agent
from agno.db.json import JsonDb
from agno.models.openai import OpenAIChat
from agno.os import AgentOS
from agno.team import Team
from agno.workflow import Step, Workflow
from fastapi.testclient import TestClient

from localstore.integrations.agno_db import LocalDb
from tests.scripted_server import ScriptedServer, scripted_server, text

IDS = {"session_id": "s1", "agent_id": "geo", "team_id": "atlas", "workflow_id": "weekly", "user_id": "alice"}
NOTHING: dict[str, Any] = {}
SESSION = {"session_id": "s9", "session_name": "Trip", "agent_id": "geo", "user_id": "alice", "session_state": {"n": 1}}
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    *(
        ("POST", f"/{kind}s/{name}/runs", {"data": {"message": "hi", "session_id": session_id, "stream": "false"}})
        for kind, name, session_id in (("agent", "geo", "s1"), ("team", "atlas", "s1"), ("workflow", "weekly", "w1"))
    ),
    ("GET", "/sessions?type=agent", {}),
    ("GET", "/sessions?type=team&limit=1&page=2", {}),
    ("GET", "/sessions?sort_by=created_at&sort_order=asc", {}),
    ("GET", "/sessions/s1/runs?type=agent", {}),
    ("POST", "/sessions?type=agent", {"json": SESSION}),
    ("POST", "/sessions/s9/rename?type=agent", {"json": {"session_name": "New"}}),
    ("PATCH", "/sessions/s9?type=agent", {"json": {"session_name": "Newer", "session_state": {"k": 1}}}),
    ("POST", "/memories", {"json": {"memory": "Likes trains", "user_id": "alice", "topics": ["travel"]}}),
    ("GET", "/memories?user_id=alice&limit=5&page=1", {}),
    ("POST", "/metrics/refresh", {}),
    ("DELETE", "/sessions/s9?type=agent", {}),
    ("DELETE", "/sessions", {"json": {"session_ids": ["w1"], "session_types": ["workflow"]}}),
]


def client(db: Any, server: ScriptedServer) -> TestClient:
    def model() -> OpenAIChat:
        return OpenAIChat(id="scripted", base_url=server.base_url, api_key="k")

    agent = Agent(id="geo", name="geo", model=model(), db=db, telemetry=False)
    member, writer = (Agent(id=name, name=name, model=model(), telemetry=False) for name in ("member", "writer"))
    team = Team(id="atlas", name="atlas", members=[member], model=model(), db=db, telemetry=False)
    workflow = Workflow(id="weekly", name="weekly", db=db, steps=[Step(name="draft", agent=writer)], telemetry=False)
    system = AgentOS(id="os", agents=[agent], teams=[team], workflows=[workflow], telemetry=False)
    return TestClient(system.get_app(), raise_server_exceptions=False)


def statuses(db: Any) -> dict[str, int]:
    """Return the status of each call. Every page of AgentOS that is read with GET is among them."""
    with scripted_server(*[text(f"a{number}") for number in range(3)]) as server:
        it = client(db, server)
        application: Any = it.app
        paths = application.openapi()["paths"]
        pages = [page for page, methods in paths.items() if "get" in methods]
        found = {}
        for method, page, more in [*CALLS[:-2], *(("GET", page, NOTHING) for page in pages), *CALLS[-2:]]:
            url = re.sub(r"\{(\w+)(:\w+)?\}", lambda match: IDS.get(match[1], "none"), page)
            found[f"{method} {page}"] = it.request(method, url, **more).status_code
        return found


def case_the_pages_of_agent_os(folder: Path) -> None:
    """Traces, evaluations and metrics answered 500 or reset the connection."""
    mine, theirs = statuses(LocalDb(folder / "store")), statuses(JsonDb(str(folder / "twin")))
    assert {page: (mine[page], status) for page, status in theirs.items() if mine[page] != status} == {}
    assert len(theirs) > 40
    assert [mine[f"GET /{page}"] for page in ("traces", "trace_session_stats", "eval-runs", "metrics")] == [200] * 4
    session = LocalDb(folder / "store").get_session("s1")
    assert [run.content for run in session.runs] == ["a0", "a1"]

"""Agents, sessions and runs for the cases. Needs agno."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agno.run
from agno.agent import Agent
from agno.db.base import BaseDb, SessionType
from agno.db.json import JsonDb
from agno.models.message import Message
from agno.models.openai import OpenAIChat
from agno.run.agent import RunOutput
from agno.run.base import RunStatus
from agno.session import AgentSession

from localstore import JsonStorage
from localstore.integrations.agno_db import LocalDb
from tests.case_databases import in_database
from tests.scripted_server import ScriptedServer

AGENT, TEAM, WORKFLOW = SessionType.AGENT, SessionType.TEAM, SessionType.WORKFLOW
RUNS_APART = hasattr(BaseDb, "upsert_run")
DATABASE = os.environ.get("AGNO_TEST_DATABASE", "")
"""The URL of the database for the cases, with {} for a name in it; "" if they use folders."""


def place(folder: Path) -> Any:
    """Return what a `LocalDb` of this folder opens: the folder, or a database with a name of its own."""
    return in_database(DATABASE, folder) if DATABASE else folder


def opened(folder: Path, **options: Any) -> LocalDb:
    """Return a new `LocalDb` of this folder."""
    return LocalDb(place(folder), **options)


def stored(db: LocalDb, session_id: str = "s1") -> dict[str, Any]:
    """Return the document of a session."""
    snapshot = db._documents.snapshot(session_id, lambda _: True, None)
    assert snapshot is not None
    return {**snapshot.header, "history": snapshot.entries}


def text_of(db: LocalDb, session_id: str = "s1") -> str:
    """Return the document of a session as text."""
    return json.dumps(stored(db, session_id))


def rescued(db: LocalDb) -> list[dict[str, Any]]:
    """Return the entries of the runs that were set aside."""
    storage: Any = db.storage
    if isinstance(storage, JsonStorage):
        files = (storage.root / ".localstore" / "rescue").glob("*.json")
        return [json.loads(path.read_text())["entry"] for path in files]
    return [json.loads(storage._backend.aside(one.name).text)[0] for one in storage._backend.asides()]


def _visit_2(session_state: Any, city: str) -> str:
    """Note that a city was visited."""
    session_state["visited"] = [*session_state.get("visited", ()), city]
    return f"{city} noted"


def _visit(run_context: Any, city: str) -> str:
    """Note that a city was visited."""
    return _visit_2(run_context.session_state, city)


visit = _visit if hasattr(agno.run, "RunContext") else _visit_2
"""A tool that changes the state of the session. Releases differ in how they pass the state."""
visit.__name__ = "visit"


class Twin(LocalDb):
    """A `LocalDb` that passes each write on to agno's own JsonDb. `same` compares what both return."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(place(folder / "store"), **options)
        self.twin = JsonDb(str(folder / "twin"))

    def upsert_session(self, session: Any, deserialize: bool | None = True) -> Any:
        self.twin.upsert_session(session)
        return super().upsert_session(session, deserialize)

    def upsert_run(self, run: Any, *args: Any, **more: Any) -> None:
        self.twin.upsert_run(run, *args, **more)
        super().upsert_run(run, *args, **more)

    def same(self, session_id: str, session_type: Any) -> Any:
        """Return the session. Fails if agno's own store returns another one, field by field."""
        mine = self.get_session(session_id, session_type)
        theirs = self.twin.get_session(session_id, session_type)
        assert theirs.updated_at == theirs.created_at or abs(mine.updated_at - theirs.updated_at) <= 2
        mine.updated_at = theirs.updated_at
        assert same(theirs, mine)
        as_mapping = super().get_session(session_id, session_type, None, False)
        theirs_as_mapping = self.twin.get_session(session_id, session_type, None, False)
        assert as_mapping.keys() >= theirs_as_mapping.keys()
        differing = {"updated_at"} if RUNS_APART else {"updated_at", "runs"}  # 2.x returns objects, or other keys
        for key in theirs_as_mapping.keys() - differing:
            assert (as_mapping[key] or None) == (theirs_as_mapping[key] or None), key
        return mine


def same(one: Any, other: Any) -> bool:
    """Return whether two sessions are equal. Fails with the name of the first field that differs."""
    first, second = one.to_dict(), other.to_dict()
    assert first.keys() == second.keys()
    for key, value in first.items():
        if key != "runs":
            assert value == second[key], (key, value, second[key])
    runs, others = first["runs"] or [], second["runs"] or []
    assert [run["run_id"] for run in runs] == [run["run_id"] for run in others]
    for run, twin in zip(runs, others, strict=True):
        for key in run.keys() | twin.keys():
            assert run.get(key) == twin.get(key), (key, run.get(key), twin.get(key))
    assert [type(run) for run in one.runs or []] == [type(run) for run in other.runs or []]
    return bool(one == other)


def agent(db: Any, server: ScriptedServer | None = None, **options: Any) -> Agent:
    """Return an agent as in the examples, whose model is the scripted server."""
    url = server.base_url if server else "http://127.0.0.1:9/v1"
    model = OpenAIChat(id="scripted", base_url=url, api_key="k")
    defaults = {"session_id": "s1", "add_history_to_context": True, "num_history_runs": 3, "telemetry": False}
    return Agent(name="geographer", model=model, db=db, **defaults | options)


def said(request: dict[str, Any]) -> list[str]:
    """Return the questions and answers of a request."""
    return [m["content"] for m in request["messages"] if m["role"] in ("user", "assistant") and m.get("content")]


def run(run_id: str, text: str = "hi", **more: Any) -> RunOutput:
    """Return a completed run with a question and an answer."""
    messages = [Message(role="user", content=text), Message(role="assistant", content=f"re: {text}")]
    fields: dict[str, Any] = {"agent_id": "a1", "session_id": "s1", "content": f"re: {text}", "messages": messages}
    fields["status"] = RunStatus.completed
    return RunOutput(run_id=run_id, **fields | more)


def session(session_id: str = "s1", **more: Any) -> AgentSession:
    """Return a new session of an agent."""
    fields: dict[str, Any] = {"agent_id": "a1", "user_id": "alice", "session_data": {}, "created_at": 1_700_000_000}
    return AgentSession(session_id=session_id, **fields | more)


def store(db: LocalDb, it: Any, *runs: Any) -> Any:
    """Store a session with new runs as an agent of this release does."""
    for one in runs:
        it.upsert_run(one)
    db.upsert_session(it)
    if RUNS_APART:
        for one in runs:
            db.upsert_run(one, session_id=it.session_id, user_id=it.user_id, run_index=it.runs.index(one))
    return it


def document(folder: Path, session_id: str = "s1") -> Path:
    """Return the path of the document of a session."""
    return JsonStorage(folder, create=False).path(session_id)


def raises(kind: type[BaseException], call: Callable[[], Any]) -> BaseException:
    """Return the error that a call raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")

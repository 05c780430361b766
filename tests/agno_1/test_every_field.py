"""Sessions that agno 1.8.4 wrote come back field by field."""

import json
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from agno.agent.metrics import SessionMetrics
from agno.storage import session as sessions
from agno.storage.json import JsonStorage as OwnStorage
from agno.storage.session import AgentSession, TeamSession, WorkflowSession

from localstore.integrations.agno import JsonStorage
from tests.agno_1.sides import HAS_STEPS, TwinStorage, comparable

FROZEN = Path(__file__).parents[1] / "format" / "agno-1"
CLASSES: dict[str, tuple[Any, type[Any]]] = {
    "endings": ("agent", AgentSession),
    "empty": ("agent", AgentSession),
    "paused": ("agent", AgentSession),
    "stop-after-tool-call": ("agent", AgentSession),
    "summaries-memories-images": ("agent", AgentSession),
    "team": ("team", TeamSession),
    "workflow-v1": ("workflow", WorkflowSession),
}
if HAS_STEPS:
    CLASSES["workflow-v2"] = ("workflow_v2", sessions.WorkflowSessionV2)


def frozen(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the session and its runs, each id once.

    Steps in lists, which agno does not read, are left out. Zeros that agno writes are added where they lack.
    """
    raw: dict[str, Any] = json.loads((FROZEN / f"{name}.json").read_bytes())
    place = raw if "runs" in raw else raw["memory"]
    runs = list({run["run_id"]: run for run in place.pop("runs", None) or () if run.get("run_id")}.values())
    for run in runs:
        if "step_responses" in run:
            run["step_responses"] = [step for step in run["step_responses"] if isinstance(step, dict)]
    metrics = (raw.get("session_data") or {}).get("session_metrics")
    if metrics:
        raw["session_data"]["session_metrics"] = asdict(SessionMetrics(**metrics))
    return raw, runs


def session(name: str, raw: dict[str, Any], runs: list[dict[str, Any]]) -> Any:
    mode, make = CLASSES[name]
    raw, runs = deepcopy((raw, runs))
    with_runs = {"runs": runs} if mode == "workflow_v2" else {"memory": {**raw["memory"], "runs": runs}}
    return make.from_dict({**raw, **with_runs})


@pytest.mark.parametrize("name", CLASSES)
def test_it_comes_back(folder: Path, name: str) -> None:
    mode, _ = CLASSES[name]
    raw, runs = frozen(name)
    storage = TwinStorage(folder, mode)
    assert storage.upsert(session(name, raw, runs))
    expected = comparable(storage.own.read(raw["session_id"]))
    assert comparable(storage.read(raw["session_id"])) == expected
    assert comparable(JsonStorage(folder, mode).read(raw["session_id"])) == expected


@pytest.mark.parametrize("name", CLASSES)
def test_run_by_run_it_is_the_same_and_what_agno_gives_back_is_known(folder: Path, name: str) -> None:
    mode, _ = CLASSES[name]
    raw, runs = frozen(name)
    own = OwnStorage(folder.with_name("own"), mode)
    for count in range(len(runs) + 1):
        JsonStorage(folder, mode).upsert(session(name, raw, runs[:count]))
    own.upsert(session(name, raw, runs))
    storage = JsonStorage(folder, mode)
    session_read = storage.read(raw["session_id"])
    assert comparable(session_read) == comparable(own.read(raw["session_id"]))
    if mode == "workflow_v2":  # agno reads an empty list for a null in it, and that is stored
        storage.upsert(session_read)  # type: ignore[arg-type]
        storage = JsonStorage(folder, mode)
        session_read = storage.read(raw["session_id"])
    before = storage.store.path(raw["session_id"]).read_bytes()
    storage.upsert(session_read)  # type: ignore[arg-type]
    assert storage.store.path(raw["session_id"]).read_bytes() == before

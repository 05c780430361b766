"""Convert agno's session and run objects to mappings, and back."""

import copy
import dataclasses
from functools import cache
from typing import Any

from agno.db.base import BaseDb
from agno.run.agent import RunOutput
from agno.run.team import TeamRunOutput
from agno.run.workflow import WorkflowRunOutput
from agno.session import AgentSession, TeamSession, WorkflowSession

from localstore.format.agno_db.runs import RunKind, kind_of
from localstore.format.agno_db.sessions import to_fields
from localstore.integrations.agno_db.stored_session import StoredSession

RUNS_ARE_SEPARATE = hasattr(BaseDb, "upsert_run")
"""Whether agno stores each run with `upsert_run` (3.x) instead of with its session (2.x)."""
_SESSIONS: dict[RunKind, Any] = {"agent": AgentSession, "team": TeamSession, "workflow": WorkflowSession}
_RUNS: dict[RunKind, Any] = {"agent": RunOutput, "team": TeamRunOutput, "workflow": WorkflowRunOutput}
_COLUMNS = [
    *("session_id", "session_type", "agent_id", "team_id", "workflow_id", "user_id", "session_data"),
    *("agent_data", "team_data", "workflow_data", "metadata", "summary", "created_at", "updated_at"),
]
"""The columns of agno's table of sessions."""
_KEYS = {kind: [*_COLUMNS, *(f.name for f in dataclasses.fields(cls))] for kind, cls in _SESSIONS.items()}


def session_kind(session: Any) -> RunKind:
    """Return the kind of a session object. Raises TypeError if it is not one of agno's sessions."""
    for kind, cls in _SESSIONS.items():
        if isinstance(session, cls):
            return kind
    raise TypeError(
        f"LocalDb stores an AgentSession, a TeamSession or a WorkflowSession, not {type(session).__name__!r}. "
        "Nothing was written."
    )


def empty_record(kind: RunKind) -> dict[str, Any]:
    """Return the mapping of a session of this kind, without its runs, in which all values are None."""
    record = dict.fromkeys(_KEYS[kind])
    del record["runs"]
    return record


def session_record(session: Any) -> dict[str, Any]:
    """Return the mapping that agno's `to_dict` makes of a session, without its runs. Does not change `session`."""
    without_runs = copy.copy(session)
    without_runs.runs = None  # there may be thousands
    record: dict[str, Any] = without_runs.to_dict()
    record.pop("runs", None)
    return record


def session_object(record: dict[str, Any], runs: list[dict[str, Any]], kind: RunKind) -> Any:
    """Return the session object for a mapping and its runs, as a session of this kind.

    It has the runs that agno's class for the kind can hold. Its stored form is recorded in `_localstore`.
    """
    if kind == "workflow":
        runs = [run for run in runs if kind_of(run) == "workflow"]
    runs = [_known_fields(run, kind_of(run)) for run in runs]
    session = _SESSIONS[kind].from_dict({**record, "runs": runs or _no_runs(kind)})
    stored = StoredSession(to_fields(session_record(session)))
    stored.record_runs(session.runs or ())
    session.__dict__["_localstore"] = stored
    return session


def run_object(row: dict[str, Any]) -> Any:
    """Return the run object for a row of agno's table of runs."""
    kind: RunKind = row["run_type"]
    return _RUNS[kind].from_dict(_known_fields(row["run_data"], kind))


def run_kind(run: Any) -> RunKind:
    """Return the kind of a run, which is an object of agno or a mapping."""
    return next((kind for kind, cls in _RUNS.items() if isinstance(run, cls)), None) or kind_of(run)


def run_record(run: Any) -> dict[str, Any]:
    """Return the mapping of a run, which is an object of agno or a mapping."""
    record: dict[str, Any] = run if isinstance(run, dict) else run.to_dict()
    return record


@cache
def _no_runs(kind: RunKind) -> list[Any] | None:
    """Return the value that this release of agno accepts for a session without runs.

    Some releases fail for an empty list, and some for None.
    """
    try:
        _SESSIONS[kind].from_dict({"session_id": "s", "runs": [] if RUNS_ARE_SEPARATE else None})
    except (IndexError, TypeError):
        return None if RUNS_ARE_SEPARATE else []
    return [] if RUNS_ARE_SEPARATE else None


def _known_fields(run: dict[str, Any], kind: RunKind) -> dict[str, Any]:
    """Return a run without the keys that this release of agno refuses: a person may have added some."""
    if not _refuses_unknown_keys(kind):
        return run
    names = {field.name for field in dataclasses.fields(_RUNS[kind])}
    return {key: value for key, value in run.items() if key in names}


@cache
def _refuses_unknown_keys(kind: RunKind) -> bool:
    try:
        _RUNS[kind].from_dict({"run_id": "r", "not_a_field": 1})
    except TypeError:
        return True
    return False

"""A run of agno 2.x and 3.x as an entry of the history, and back. Both directions work on plain values.

The way back is tried before anything is stored: a run that would not come back as it was is kept as agno gave it, in
the key `agno_run` of its entry.
"""

from typing import Any

from pydantic import ValidationError

from localstore.format.values import json_equal
from localstore.integrations.agno_db.messages import Odd, data_of, message_of, seconds_of, time_of, without_defaults
from localstore.models.session import Run, now

_STATUS = {"COMPLETED": "completed", "ERROR": "error", "CANCELLED": "cancelled", "REGENERATED": "cancelled"}
"""A run whose answer was asked for once more is over, and no part of the history."""
_TAKEN = ("type", "instructions", "session_summary", "session_data", "member_runs", "steps", "error", "tool_call_id")
"""Keys that mean something else in an entry: agno's own ones get `agno_` put before them."""
_OWN = ("agno_absent", "agno_status", "agno_run", "agno_system", "agno_history")
_FIRST = (
    *(
        "type",
        "run_id",
        "agent_id",
        "team_id",
        "workflow_id",
        "created_at",
        "input",
        "messages",
        "member_runs",
        "steps",
    ),
    *("instructions", "session_state", "session_summary", "session_data", "model", "metrics"),
)
_LAST = ("error", "status")


def in_order(entry: dict[str, Any]) -> dict[str, Any]:
    """The keys of a run in the order of the format."""
    first = {key: entry[key] for key in _FIRST if key in entry}
    last = {key: entry[key] for key in _LAST if key in entry}
    return {**first, **{key: value for key, value in entry.items() if key not in last}, **last}


def entry_of(data: dict[str, Any], session_id: str) -> dict[str, Any]:
    """The entry for a run. Its messages are all that agno gave, the history's and the system's too."""
    try:
        entry = _entry(data, session_id)
        Run.model_validate(entry)
        if json_equal(run_of(entry, session_id), _normal(data)):
            return entry
    except (Odd, KeyError, ValidationError):
        pass
    created_at = data.get("created_at")
    return {
        "type": "run",
        "run_id": str(data["run_id"]),
        "created_at": time_of(created_at) if type(created_at) is int else now(),
        "agno_run": data,
        "status": _STATUS.get(str(data.get("status")), "unfinished"),
    }


def run_of(entry: dict[str, Any], session_id: str) -> dict[str, Any]:
    """The run as agno writes it; messages as `entry` holds them."""
    if "agno_run" in entry:
        return dict(entry["agno_run"])
    absent = entry.get("agno_absent", ())
    status = entry.get("agno_status") or str(entry.get("status", "completed")).upper()
    own = entry.get("messages", [])
    data: dict[str, Any] = {
        "run_id": entry["run_id"],
        "session_id": session_id,
        "status": status,
        "content_type": "str",
    }
    for key, value in entry.items():
        if key in _TAKEN or key in _OWN or key in ("messages", "status"):
            continue
        data[key.removeprefix("agno_")] = value
    data["created_at"] = seconds_of(entry.get("created_at"))
    if "messages" in entry:
        data["messages"] = [data_of(message) for message in own]
    if "member_runs" in entry:
        data[_members(entry)] = [run_of(member, session_id) for member in entry["member_runs"]]
    if "steps" in entry:
        data["step_results"] = [_result(step) for step in entry["steps"]]
    if isinstance(metrics := entry.get("metrics"), dict):
        data["metrics"] = {"duration" if key == "duration_seconds" else key: metrics[key] for key in metrics}
    if "error" in entry:
        data["content"] = entry["error"]
    elif "content" not in data and (answer := _answer(own)) is not None:
        data["content"] = answer
    if "input" not in data and (question := _question(own)) is not None:
        data["input"] = {"input_content": question}
    return {key: value for key, value in data.items() if key not in absent}


def _entry(data: Any, session_id: str) -> dict[str, Any]:
    if not isinstance(data, dict) or any(key.startswith("agno_") for key in data):
        raise Odd
    rest = dict(data)
    messages = rest.pop("messages", None)
    entry: dict[str, Any] = {"type": "run", "run_id": rest.pop("run_id"), "created_at": time_of(rest.pop("created_at"))}
    if messages is not None:
        entry["messages"] = [message_of(message) for message in _list(messages)]
    own = entry.get("messages", [])
    status = rest.pop("status", None)
    entry["status"] = _STATUS.get(status, "unfinished") if isinstance(status, str) else "completed"
    if isinstance(status, str) and status != entry["status"].upper():
        entry["agno_status"] = status
    for name in ("member_responses", "step_executor_runs"):
        if name in rest and name == _members(data):
            entry["member_runs"] = [_entry(member, session_id) for member in _list(rest.pop(name))]
    if "step_results" in rest:
        entry["steps"] = [_step(result, entry["created_at"]) for result in _list(rest.pop("step_results"))]
    if isinstance(rest.get("metrics"), dict):
        metrics = rest.pop("metrics")
        entry["metrics"] = {"duration_seconds" if key == "duration" else key: metrics[key] for key in metrics}
    if isinstance(rest.get("session_state"), dict):
        rest["agno_session_state"] = rest.pop("session_state")  # the session's own may be another one
    if status == "ERROR" and isinstance(rest.get("content"), str):
        entry["error"] = rest.pop("content")
    elif "content" in rest and rest["content"] == _answer(own):
        del rest["content"]
    if rest.get("input") == {"input_content": _question(own)}:
        del rest["input"]
    if rest.get("session_id") == session_id:
        del rest["session_id"]
    if rest.get("content_type") == "str":
        del rest["content_type"]
    entry |= {f"agno_{key}" if key in _TAKEN else key: value for key, value in rest.items()}
    absent = sorted(run_of(entry, session_id).keys() - data.keys())
    return in_order({**entry, "agno_absent": absent} if absent else entry)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Odd
    return value


def _members(run: dict[str, Any]) -> str:
    """Where agno has the runs of the members: of a team's run, or of a workflow's."""
    return "member_responses" if "team_id" in run else "step_executor_runs"


def _step(result: Any, created_at: str) -> dict[str, Any]:
    """A step's result; it names no time of its own, so that the run's stands there."""
    if not isinstance(result, dict) or not isinstance(result.get("step_name"), str):
        raise Odd
    taken = {"name", "created_at", "input", "output", "messages", "status"} & result.keys()
    if taken or not isinstance(result.get("error", ""), (str, type(None))):
        raise Odd
    step = {"name": result["step_name"], "created_at": created_at}
    if "content" in result:
        step["output"] = result["content"]
    if isinstance(metrics := result.get("metrics"), dict):
        step["metrics"] = {"duration_seconds" if key == "duration" else key: metrics[key] for key in metrics}
    return {**{k: v for k, v in result.items() if k not in ("step_name", "content")}, **step}


def _result(step: dict[str, Any]) -> dict[str, Any]:
    names = {"name": "step_name", "output": "content"}
    result = {names.get(key, key): value for key, value in step.items() if key != "created_at"}
    if isinstance(metrics := step.get("metrics"), dict):
        result["metrics"] = {"duration" if key == "duration_seconds" else key: metrics[key] for key in metrics}
    return result


def _answer(messages: list[dict[str, Any]]) -> Any:
    for message in reversed(messages):
        if message.get("role") == "assistant":
            return message.get("content") if isinstance(message.get("content"), str) else None
    return None


def _question(messages: list[dict[str, Any]]) -> Any:
    for message in messages:
        if message.get("role") == "user" and not message.get("from_history"):
            return message.get("content") if isinstance(message.get("content"), str) else None
    return None


def _normal(data: dict[str, Any]) -> dict[str, Any]:
    """The run without what says nothing in its messages, and those of its members."""
    result = dict(data)
    if isinstance(data.get("messages"), list):
        result["messages"] = [without_defaults(message) for message in data["messages"]]
    name = _members(data)
    if isinstance(data.get(name), list):
        result[name] = [_normal(member) for member in data[name]]
    return result

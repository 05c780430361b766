"""Convert runs of agno 2.x and 3.x to entries of the history, and back. Both directions work on plain values.

Each entry is converted back as a check before it is stored. If the result differs from agno's run, the entry holds the
run exactly as agno passed it, in the key `agno_run`.
"""

from collections.abc import Iterable
from typing import Any, Literal, get_args

from pydantic import ValidationError

from localstore.format.agno_db.messages import (
    NotRepresentable,
    from_message,
    to_message,
    to_seconds,
    to_time,
)
from localstore.format.in_place import is_prefix_of
from localstore.format.values import json_equal
from localstore.models.session import Run
from localstore.models.times import now

RunKind = Literal["agent", "team", "workflow"]
_STATUS = {"COMPLETED": "completed", "ERROR": "error", "CANCELLED": "cancelled", "REGENERATED": "cancelled"}
"""agno's status and the status in the format. Like a cancelled run, a regenerated run has ended and agno does not use
it as history."""
_RESERVED = ("type", "instructions", "session_summary", "session_data", "member_runs", "steps", "error", "tool_call_id")
"""Keys with a different meaning in an entry. If agno uses one of them, it is stored with the prefix `agno_`."""
_AGNO_KEYS = (
    *("agno_absent", "agno_status", "agno_run", "agno_run_index", "agno_run_type", "agno_system", "agno_history"),
    *("rating", "rating_note"),
)
_FIRST = (
    *("type", "run_id", "agent_id", "team_id", "workflow_id", "created_at", "input", "messages"),
    *("member_runs", "steps"),
    *("instructions", "session_state", "session_summary", "session_data", "model", "metrics"),
)
_LAST = ("error", "status")
_AGNO_METRICS = {"duration_seconds": "duration", "cached_tokens": "cache_read_tokens"}
"""agno's names of metrics. agno raises TypeError for a metric that it does not know."""


def kind_of(run: dict[str, Any], stored: RunKind | None = None) -> RunKind:
    """Return whether a run in agno's form is the run of an agent, a team or a workflow.

    `stored` is the kind that its entry names, for a run that does not say it.
    """
    if stored is not None and stored in get_args(RunKind):
        return stored
    if run.get("agent_id") or run.get("agent_name"):
        return "agent"
    return "team" if run.get("team_id") or run.get("team_name") else "workflow"


def names_owner(run: dict[str, Any]) -> bool:
    """Return whether a run or an entry says which agent, team or workflow it belongs to."""
    return any(run.get(name) for name in ("agent_id", "agent_name", "team_id", "team_name", "workflow_id"))


def run_indexes(entries: Iterable[dict[str, Any]]) -> list[int]:
    """Return the `run_index` of each run among `entries`, which start with the first entry of the document.

    It is `agno_run_index`, or one more than the highest one before it.
    """
    indexes: list[int] = []
    following = 0
    for entry in entries:
        if entry.get("type") == "run":
            indexes.append(entry.get("agno_run_index", following))
            following = max(following, indexes[-1] + 1)
    return indexes


def in_order(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the entry with its keys in the order of the format."""
    first = {key: entry[key] for key in _FIRST if key in entry}
    last = {key: entry[key] for key in _LAST if key in entry}
    return {**first, **{key: value for key, value in entry.items() if key not in last}, **last}


def to_entry(data: dict[str, Any], session_id: str, kind: RunKind | None = None) -> dict[str, Any]:
    """Return the entry for a run of the session `session_id`. Does not change `data`.

    `kind` is the kind of the run, for a run that does not say it. The entry holds all messages, including the system
    message and the copied history.
    """
    run_type = {} if names_owner(data) else {"agno_run_type": kind or kind_of(data)}
    try:
        entry = _convert(data, session_id)
        Run.model_validate(entry)
        if json_equal(to_run(entry, session_id), data):
            return in_order(entry | run_type)
    except (NotRepresentable, KeyError, ValidationError):
        pass
    created_at = data.get("created_at")
    return {
        "type": "run",
        "run_id": str(data["run_id"]),
        "created_at": to_time(created_at) if type(created_at) is int else now(),
        "agno_run": data,
        **run_type,
        "status": _STATUS.get(str(data.get("status")), "unfinished"),
    }


def to_run(entry: dict[str, Any], session_id: str) -> dict[str, Any]:
    """Return the run of an entry in agno's form, with the messages that the entry holds. Does not change `entry`."""
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
        if key in _RESERVED or key in _AGNO_KEYS or key in ("messages", "status"):
            continue
        data[key.removeprefix("agno_")] = value
    data["created_at"] = to_seconds(entry.get("created_at"))
    if "messages" in entry:
        data["messages"] = [from_message(message) for message in own]
    if "member_runs" in entry:
        data[_members(entry)] = [to_run(member, session_id) for member in entry["member_runs"]]
    if "steps" in entry:
        data["step_results"] = [_from_step(step) for step in entry["steps"]]
    if isinstance(metrics := entry.get("metrics"), dict):
        data["metrics"] = {_AGNO_METRICS.get(key, key): metrics[key] for key in metrics}
    if "error" in entry:
        data["content"] = entry["error"]
    elif "content" not in data and (answer := _answer(own)) is not None:
        data["content"] = answer
    if "input" not in data and (question := _question(own)) is not None:
        data["input"] = {"input_content": question}
    return {key: value for key, value in data.items() if key not in absent}


def _convert(data: Any, session_id: str) -> dict[str, Any]:
    """Return the entry for a run. Raises NotRepresentable or KeyError if the format has no field for a value."""
    if not isinstance(data, dict) or any(key.startswith("agno_") or key in _AGNO_KEYS for key in data):
        raise NotRepresentable
    rest = dict(data)
    messages = rest.pop("messages", None)
    entry: dict[str, Any] = {"type": "run", "run_id": rest.pop("run_id"), "created_at": to_time(rest.pop("created_at"))}
    if messages is not None:
        entry["messages"] = [to_message(message) for message in _list(messages)]
    own = entry.get("messages", [])
    status = rest.pop("status", None)
    entry["status"] = _STATUS.get(status, "unfinished") if isinstance(status, str) else "completed"
    if isinstance(status, str) and status != entry["status"].upper():
        entry["agno_status"] = status
    for name in ("member_responses", "step_executor_runs"):
        if name in rest and name == _members(data):
            entry["member_runs"] = [_convert(member, session_id) for member in _list(rest.pop(name))]
    if "step_results" in rest:
        entry["steps"] = [_to_step(result, entry["created_at"]) for result in _list(rest.pop("step_results"))]
    if isinstance(rest.get("metrics"), dict):
        metrics = rest.pop("metrics")
        entry["metrics"] = {"duration_seconds" if key == "duration" else key: metrics[key] for key in metrics}
    if isinstance(rest.get("session_state"), dict):
        rest["agno_session_state"] = rest.pop("session_state")  # it may differ from the session's
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
    entry |= {f"agno_{key}" if key in _RESERVED else key: value for key, value in rest.items()}
    absent = sorted(to_run(entry, session_id).keys() - data.keys())
    return in_order({**entry, "agno_absent": absent} if absent else entry)


def _list(value: Any) -> list[Any]:
    """Return `value` unchanged. Raises NotRepresentable if it is not a list."""
    if not isinstance(value, list):
        raise NotRepresentable
    return value


def _members(run: dict[str, Any]) -> str:
    """Return the key under which agno stores member runs; it differs between runs of teams and of workflows."""
    return "member_responses" if "team_id" in run else "step_executor_runs"


def _to_step(result: Any, created_at: str) -> dict[str, Any]:
    """Convert agno's result of a step to a step of a document.

    agno's result has no time, so the step gets `created_at`, the time of its run. Raises NotRepresentable.
    """
    if not isinstance(result, dict) or not isinstance(result.get("step_name"), str):
        raise NotRepresentable
    conflicting = {"name", "created_at", "input", "output", "messages", "status"} & result.keys()
    if conflicting or not isinstance(result.get("error", ""), (str, type(None))):
        raise NotRepresentable
    step = {"name": result["step_name"], "created_at": created_at}
    if "content" in result:
        step["output"] = result["content"]
    if isinstance(metrics := result.get("metrics"), dict):
        step["metrics"] = {"duration_seconds" if key == "duration" else key: metrics[key] for key in metrics}
    return {**{k: v for k, v in result.items() if k not in ("step_name", "content")}, **step}


def _from_step(step: dict[str, Any]) -> dict[str, Any]:
    """Convert a step of a document to agno's result of a step."""
    names = {"name": "step_name", "output": "content"}
    result = {names.get(key, key): value for key, value in step.items() if key != "created_at"}
    if isinstance(metrics := step.get("metrics"), dict):
        result["metrics"] = {_AGNO_METRICS.get(key, key): metrics[key] for key in metrics}
    return result


def contains_run(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Return whether an entry has all own messages and steps of another entry of the same run.

    Member runs count only if the new entry has some, because agno removes them from a team's run on request.
    """
    new_lists, old_lists = _own_lists(new), _own_lists(old)
    if not new_lists["member_runs"]:
        del old_lists["member_runs"]
    return is_prefix_of(old_lists, new_lists)


def _own_lists(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the messages, member runs and steps of an entry in agno's form, without what agno repeats in each run."""
    run = to_run(entry, "")
    messages = [
        message
        for message in run.get("messages") or ()
        if not isinstance(message, dict) or (message.get("role") != "system" and not message.get("from_history"))
    ]
    if not messages and run.get("content") is not None:
        messages = [{"content": run["content"]}]
    return {"messages": messages, "member_runs": run.get(_members(run)) or [], "steps": run.get("step_results") or []}


def _answer(messages: list[dict[str, Any]]) -> Any:
    """Return the text of the model's last message, or None if there is no such message or its content is not text."""
    for message in reversed(messages):
        if message.get("role") == "assistant":
            return message.get("content") if isinstance(message.get("content"), str) else None
    return None


def _question(messages: list[dict[str, Any]]) -> Any:
    """Return the text of the user's first message in this run, not counting copies; None if there is none."""
    for message in messages:
        if message.get("role") == "user" and not message.get("from_history"):
            return message.get("content") if isinstance(message.get("content"), str) else None
    return None

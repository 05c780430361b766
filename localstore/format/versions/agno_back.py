"""Convert runs and steps back to the form that the classes of agno 1.8 read."""

from math import floor
from typing import Any

from localstore.format.versions.agno_conversation import OTHER_STATUS, last_answer
from localstore.format.versions.agno_messages import as_lists, message_down, metrics_down
from localstore.format.versions.agno_runs import EXECUTOR, LAST, RUN_ORDER, workflow_metrics
from localstore.format.versions.document_shape import fits
from localstore.format.versions.step import Document
from localstore.format.versions.values import is_empty, seconds_of

_ANY_RUN = frozenset(
    {
        *("content", "content_type", "metrics", "run_id", "session_id", "images", "videos", "audio", "response_audio"),
        *("extra_data", "created_at", "events", "status"),
    }
)
_MODEL_RUN = _ANY_RUN | {
    *("thinking", "reasoning_content", "messages", "model", "model_provider", "team_session_id", "tools"),
    *("formatted_tool_calls", "citations"),
}
AGENT_RUN = _MODEL_RUN | {"agent_id", "agent_name", "workflow_id"}
TEAM_RUN = _MODEL_RUN | {"team_id", "team_name", "member_responses"}
WORKFLOW_RUN = _ANY_RUN | {"workflow_id", "workflow_name", "step_responses", "workflow_metrics"}
"""The fields of agno's classes for runs. These classes reject all other fields."""
_STATUS = {"completed": "COMPLETED", "cancelled": "CANCELLED", "error": "ERROR"}
_STEP_CONVERTED = {
    "name",
    "created_at",
    "input",
    "output",
    "messages",
    "steps",
    "metrics",
    "error",
    "status",
    "response",
}
_VERSION_1_KEYS = {*RUN_ORDER, *LAST, "role", "content", "name", "tool_calls", "output"}
_VERSION_1_METRICS = ("input_tokens", "output_tokens", "duration_seconds")
_STEP_READ = {"parallel_step_outputs", "step_name", "content", "success"}
"""Keys with a different meaning in a step of agno. They are omitted."""


def run_down(run: Document, session_id: str, fields: frozenset[str]) -> Document:
    """Return a run in agno's form, without copies of earlier messages. Does not change `run`.

    `session_id` is used if the run has none. The result has only keys that are in `fields`.
    """
    seconds = seconds_of(run["created_at"])
    messages = [message_down(message, seconds) for message in run.get("messages") or []]
    answer = last_answer(messages)
    metrics = metrics_down(run.get("metrics") or {})
    if (
        metrics
        and answer is not None
        and "metrics" not in answer
        and not any("metrics" in message for message in messages)
    ):
        answer["metrics"] = metrics
    if instructions := run.get("instructions"):
        system = {"content": instructions, "from_history": False, "stop_after_tool_call": False, "role": "system"}
        messages.insert(0, {**system, "created_at": floor(seconds or 0)})
    raw: Document = {"content": _content(run, answer), "content_type": "str"}
    for key, value in run.items():
        if key in fields and value is not None:
            raw[key] = value
    raw["session_id"] = run.get("session_id") or session_id
    raw["created_at"] = seconds or 0
    raw["status"] = _status(run)
    raw["messages"] = messages
    raw["metrics"] = as_lists(metrics)
    raw["member_responses"] = [
        run_down(member, session_id, AGENT_RUN if member.get("agent_id") else TEAM_RUN)
        for member in run.get("member_runs") or ()
    ]
    raw["step_responses"] = steps = [step_down(step, session_id) for step in run.get("steps") or ()]
    if steps and "workflow_metrics" not in raw and (sums := workflow_metrics(steps)) is not None:
        raw["workflow_metrics"] = sums
    return {key: raw[key] for key in raw if key in fields and (raw[key] or key == "tools" or not is_empty(raw[key]))}


def _content(run: Document, answer: Document | None) -> Any:
    """Return the content for agno's run: the error, else the run's content, else that of the model's last answer."""
    if run.get("status") == "error" and run.get("error"):
        return run["error"]
    if "content" in run:
        return run["content"]
    return answer.get("content") if answer is not None else None


def _status(run: Document) -> str:
    other = run.get(OTHER_STATUS)
    status = _STATUS.get(str(run.get("status")))
    return status or (other if isinstance(other, str) else "RUNNING")


def bare(record: Document) -> Document:
    """Return a copy of a run, step or message without the keys that version 1 does not define."""
    kept = {key: value for key, value in record.items() if key in _VERSION_1_KEYS}
    for key in ("messages", "member_runs", "steps"):
        if isinstance(kept.get(key), list):
            kept[key] = [bare(inner) for inner in kept[key]]
    metrics = kept.pop("metrics", {})
    if fits("metrics", metrics):
        kept["metrics"] = {key: value for key, value in metrics.items() if key in _VERSION_1_METRICS}
    return kept


def step_down(step: Document, session_id: str) -> Document:
    """Return a step in the form that agno's `StepOutput` reads; `StepOutput` ignores unknown keys.

    `session_id` is the id of the session. Does not change `step`.
    """
    raw = {key: value for key, value in step.items() if key not in _STEP_CONVERTED and key not in _STEP_READ}
    named = {"step_name": step["name"], **{key: raw.pop(key) for key in EXECUTOR if key in raw}}
    if isinstance(side := raw.get("parallel_steps"), dict):
        named["parallel_steps"] = _measured_down(side)
        del raw["parallel_steps"]
    metrics = as_lists(metrics_down(step.get("metrics") or {}))
    if (response := _response_down(step, session_id)) is not None:
        raw["response"] = response
    raw |= {
        "step_name": step["name"],
        "created_at": seconds_of(step["created_at"]),
        "content": step.get("output"),
        "success": step.get("status") != "error",
        "error": step.get("error"),
        "stop": step.get("stop", False),
        "metrics": {**named, "metrics": metrics} if metrics or len(named) > 1 else None,
    }
    if step.get("input") is not None:
        raw["input"] = step["input"]
    inner = step.get("steps")
    if isinstance(inner, list) and all(fits("step", one) for one in inner):
        raw["steps"] = [step_down(one, session_id) for one in inner]
    return raw


def _measured_down(steps: Document) -> Document:
    """Return the metrics of parallel steps, by name, in agno's form. Does not change `steps`."""
    measured: Document = {}
    for name, step in steps.items():
        measured[name] = step
        if isinstance(step, dict):
            metrics = step.get("metrics")
            measured[name] = {
                **step,
                "metrics": as_lists(metrics_down(metrics)) if isinstance(metrics, dict) else None,
            }
            if isinstance(step.get("parallel_steps"), dict):
                measured[name]["parallel_steps"] = _measured_down(step["parallel_steps"])
    return measured


def _response_down(step: Document, session_id: str) -> Document | None:
    """Return the run of the agent or team that executed the step, in agno's form.

    Return None if the step has neither a response nor messages, or if they are not a valid run.
    """
    response = step.get("response", {})
    if not isinstance(response, dict) or not (response or step.get("messages")):
        return None
    of_step: Document = {key: step[key] for key in ("created_at", "messages", "metrics", "status") if key in step}
    whole: Document = {"type": "run", "run_id": "", "status": "completed", **of_step, **response}
    if not fits("run", whole):
        return None
    if "content" not in whole and last_answer(whole.get("messages") or []) is None:
        whole["content"] = step.get("output")
    is_team = whole.get("team_id") or whole.get("team_name")
    return run_down(whole, session_id, TEAM_RUN if is_team else AGENT_RUN)

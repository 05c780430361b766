"""Convert runs and steps of agno 1.x to the format. Each run keeps only its own messages."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localstore.format.versions.agno_conversation import (
    Conversation,
    answer_content,
    instructions_of,
    last_answer,
    message_key,
    own_messages,
    start_time,
    status_fields,
)
from localstore.format.versions.agno_messages import message_up, metrics_up
from localstore.format.versions.step import CannotUpgrade, Document, Place
from localstore.format.versions.values import identity, is_empty, items, mapping, text, to_time

RUN_ORDER = (
    *("type", "run_id", "agent_id", "team_id", "workflow_id", "tool_call_id", "created_at", "input", "messages"),
    *("member_runs", "steps", "instructions", "session_state", "session_summary", "session_data", "model", "metrics"),
)
"""The first keys of a run, in this order."""
LAST = ("error", "status")
_STEP_ORDER = ("name", "created_at", "input", "output", "messages", "steps", "metrics")
_STEP_METRICS = ("step_name", "executor_type", "executor_name")
EXECUTOR = ("executor_type", "executor_name")


def ordered(run: Document) -> Document:
    """Return a copy of the run with its keys in the order of the format."""
    first = {key: run[key] for key in RUN_ORDER if key in run}
    last = {key: run[key] for key in LAST if key in run}
    return {**first, **{key: value for key, value in run.items() if key not in first and key not in last}, **last}


def unused_key(key: str, used: Any) -> str:
    """Return `key` with as many `agno_` prefixes as necessary for it not to be in `used`."""
    while key in used:
        key = f"agno_{key}"
    return key


def run_up(raw: Any, where: Place, conversation: Conversation, position: str) -> Document:
    """Return a run of the session as an entry of the history. Does not change `raw`.

    Args:
        raw: The run in agno's form.
        where: The path to the run, for errors.
        conversation: The state after the earlier runs. It is updated with this run.
        position: A text that is unique in the session. A run without an id, or with a repeated one, gets an id derived
            from it.

    Raises CannotUpgrade if the run is invalid.
    """
    run = _run_up(raw, where, conversation, position, None)
    if run.get("instructions") == conversation.instructions:
        run.pop("instructions", None)
    else:
        conversation.instructions = run.get("instructions", conversation.instructions)
    if run["run_id"] in conversation.run_ids:
        run["run_id"] = _generated_id(conversation, position)
    conversation.run_ids.add(run["run_id"])
    shared = {key for key, value in conversation.shared.items() if identity(run.get(key)) == identity(value)}
    return ordered({key: value for key, value in run.items() if key not in shared})


def _generated_id(conversation: Conversation, position: str) -> str:
    """Return an id that no run converted so far has. It depends only on the session's id, `position` and those runs."""
    number = 0
    while True:
        name = f"localstore:{conversation.session_id}:{position}" + (f":{number}" if number else "")
        made = str(uuid5(NAMESPACE_URL, name))
        if made not in conversation.run_ids:
            return made
        number += 1


def _run_up(raw: Any, where: Place, conversation: Conversation, position: str, since: str | None) -> Document:
    """Return a run, or a run inside it. `since` is the start time to use if neither it nor its messages have one."""
    rest, where, moved = _unwrapped_run(mapping(raw, where, "a run"), where)
    place = moved.get("messages", (*where, "messages"))
    messages = own_messages(rest.pop("messages", None), place, conversation)
    answer = answer_content(messages)
    created_at = start_time(rest.pop("created_at", None), messages, where, since)
    run: Document = {"type": "run", "created_at": created_at}
    run_id = text(rest.pop("run_id", None), (*where, "run_id"))
    run["run_id"] = run_id or _generated_id(conversation, position)
    for key in ("agent_id", "team_id", "workflow_id", "model"):
        if (value := text(rest.pop(key, None), (*where, key))) is not None:
            run[key] = value
    if (run_input := rest.pop("input", None)) is not None:
        run["input"] = run_input

    content = rest.pop("content", None)
    run |= status_fields(rest.pop("status", None), content, messages, where)
    if (
        "error" not in run
        and not is_empty(content)
        and content != ""
        and (answer is None or identity(content) != identity(answer))
    ):
        run["content"] = content

    instructions = instructions_of(messages)
    if instructions is not None:
        run["instructions"] = instructions
        del messages[0]
    run["messages"] = [message_up(message, place, created_at) for message, place in messages]
    run["metrics"] = metrics_up(rest.pop("metrics", None), (*where, "metrics"))
    _drop_repeated_metrics(run)

    place = moved.get("member_responses", (*where, "member_responses"))
    run["member_runs"] = [
        _run_up(member, (*place, index), conversation, f"{position}.{index}", created_at)
        for index, member in enumerate(items(rest.pop("member_responses", None), place, "a list of runs"))
    ]
    _set_tool_call_ids(run)
    place = (*where, "step_responses")
    steps = items(rest.pop("step_responses", None), place, "a list of steps")
    if rest.get("workflow_metrics") is not None and identity(rest["workflow_metrics"]) == identity(
        workflow_metrics(steps)
    ):
        del rest["workflow_metrics"]
    run["steps"] = _steps_up(steps, place, conversation, f"{position}.s", created_at)
    for key in [key for key, value in run.items() if is_empty(value)]:
        del run[key]

    if rest.get("content_type") == "str":
        del rest["content_type"]
    if rest.get("session_id") == conversation.session_id:
        del rest["session_id"]
    for key, value in rest.items():
        if not is_empty(value):
            run[unused_key(key, {*RUN_ORDER, *LAST, *run})] = value
    return run


def _drop_repeated_metrics(run: Document) -> None:
    """Remove the metrics of the model's last answer from `run`, in place, if they equal those of the run and no other
    message has metrics. `run_down` restores them."""
    measured = [message for message in run["messages"] if "metrics" in message]
    answer = last_answer(run["messages"])
    if measured == [answer] and answer is not None and identity(answer["metrics"]) == identity(run["metrics"]):
        del answer["metrics"]


def _set_tool_call_ids(run: Document) -> None:
    """Set `tool_call_id` of each member run in `run`, in place, to the leader's tool call that started it.

    Member runs and tool calls of the same member are matched in order.
    """
    calls = [call for message in run["messages"] for call in message.get("tool_calls") or []]
    for member in run["member_runs"]:
        name = member.get("agent_id") or member.get("team_id")
        for call in calls:
            arguments = call["arguments"]
            if isinstance(arguments, dict) and name and arguments.get("member_id") == name and "id" in call:
                member["tool_call_id"] = call["id"]
                calls.remove(call)
                break
    run["member_runs"] = [ordered(member) for member in run["member_runs"]]


def _unwrapped_run(raw: Document, where: Place) -> tuple[Document, Place, dict[str, Place]]:
    """Return a copy of a run, taken out of the wrapper that older memories of agno put around it, and its path.

    Keys of the wrapper are added to the run. The third value maps those that were moved and are used in errors
    (`messages`, `member_responses`) to their original paths. Without a wrapper, it is empty.
    """
    response = raw.get("response")
    if not isinstance(response, dict) or "run_id" in raw:
        return dict(raw), where, {}
    run = dict(response)
    rest = {key: value for key, value in raw.items() if key != "response" and not is_empty(value)}
    moved: dict[str, Place] = {}
    inside = items(run.get("messages"), (*where, "response", "messages"), "a list of messages")
    if not inside and isinstance(rest.get("messages"), list):
        run["messages"] = inside = rest.pop("messages")
        moved["messages"] = (*where, "messages")
    if not inside and isinstance(rest.get("message"), dict):
        run["messages"] = inside = [rest.pop("message")]
        moved["messages"] = where
    inside_keys = {message_key(message) for message in inside}
    if "message" in rest and message_key(rest["message"]) in inside_keys:
        del rest["message"]
    messages = rest.get("messages")
    if isinstance(messages, list) and all(message_key(message) in inside_keys for message in messages):
        del rest["messages"]
    if "input" in rest and run.get("input") is None:
        run["input"] = rest.pop("input")
    members = rest.get("member_responses")
    if members is not None and is_empty(run.get("member_responses")):
        run["member_responses"] = rest.pop("member_responses")
        moved["member_responses"] = (*where, "member_responses")
    for key, value in rest.items():
        run[unused_key(f"agno_{key}", run)] = value
    return run, (*where, "response"), moved


# Steps of workflows


def workflow_metrics(steps: list[Any]) -> Document | None:
    """Return the metrics that agno writes for a workflow's run: the number of steps, and their metrics by step name.

    `steps` are in agno's form; steps without metrics are skipped. Return None if no step has metrics, if metrics do not
    name their step and executor, or if two steps have the same name.
    """
    measured = [step["metrics"] for step in steps if isinstance(step, dict) and step.get("metrics") is not None]
    by_name = {
        metrics["step_name"]: metrics
        for metrics in measured
        if isinstance(metrics, dict) and all(isinstance(metrics.get(key), str) for key in _STEP_METRICS)
    }
    return {"total_steps": len(steps), "steps": by_name} if by_name and len(by_name) == len(measured) else None


def _steps_up(raw: list[Any], where: Place, conversation: Conversation, position: str, since: str) -> list[Document]:
    steps: list[Document] = []
    for index, step in enumerate(raw):
        place, number = (*where, index), f"{position}{index}"
        if isinstance(step, list):  # the steps of a group
            steps += _steps_up(step, place, conversation, f"{number}.", since)
        else:
            steps.append(_step_up(step, place, conversation, number, since, f"step {len(steps) + 1}"))
    return steps


def _step_up(
    raw: Any, where: Place, conversation: Conversation, position: str, since: str, default_name: str
) -> Document:
    rest = dict(mapping(raw, where, "a step"))
    step: Document = {}
    measured = dict(mapping(rest.pop("metrics", None), (*where, "metrics"), "a mapping of metrics"))
    if measured.keys() & {"step_name", *EXECUTOR}:
        metrics = metrics_up(measured.pop("metrics", None), (*where, "metrics", "metrics"))
    else:
        metrics, measured = metrics_up(measured, (*where, "metrics")), {}
    for key in _STEP_METRICS:
        if rest.get(key) is None and measured.get(key) is not None:
            rest[key] = measured.pop(key)
        elif identity(rest.get(key)) == identity(measured.get(key)):
            measured.pop(key, None)
    name = text(rest.pop("step_name", None), (*where, "step_name"))
    step["name"] = name or default_name
    noted = to_time(rest.pop("created_at", None), (*where, "created_at"))
    response = _response_up(rest.pop("response", None), (*where, "response"), conversation, position, noted or since)
    step["created_at"] = noted or response.get("created_at", since)
    if (step_input := rest.pop("input", None)) is not None:
        step["input"] = step_input
    if not is_empty(content := rest.pop("content", None)):
        step["output"] = content
    step["messages"] = response.pop("messages", None)
    step["metrics"] = metrics
    step |= _step_status(rest, where)

    inner = items(rest.pop("steps", None), (*where, "steps"), "a list of steps")
    step["steps"] = _steps_up(inner, (*where, "steps"), conversation, f"{position}.", step["created_at"])
    place = (*where, "parallel_step_outputs")
    parallel = mapping(rest.pop("parallel_step_outputs", None), place, "a mapping of steps")
    for index, (key, value) in enumerate(parallel.items()):
        number = f"{position}.p{index}"
        step["steps"].append(_step_up(value, (*place, key), conversation, number, step["created_at"], key))

    step["response"] = _rest_of_response(response, step)
    for key in [key for key, value in step.items() if is_empty(value)]:
        del step[key]
    if rest.get("stop") is False:
        del rest["stop"]
    if (side := measured.pop("parallel_steps", None)) is not None:
        rest[unused_key("parallel_steps", rest)] = _measured_up(side, (*where, "metrics", "parallel_steps"))
    used = {*_STEP_ORDER, *LAST, "response"}
    for key, value in [*rest.items(), *measured.items()]:
        if not is_empty(value):
            step[unused_key(key, {*used, *step})] = value
    first = {key: step[key] for key in _STEP_ORDER if key in step}
    last = {key: step[key] for key in LAST if key in step}
    return {**first, **{key: value for key, value in step.items() if key not in (*_STEP_ORDER, *LAST)}, **last}


def _measured_up(raw: Any, where: Place) -> Document:
    """Return the metrics of parallel steps, by name, in the form of the format. Does not change `raw`."""
    steps: Document = {}
    for name, value in mapping(raw, where, "a mapping of metrics").items():
        rest = dict(mapping(value, (*where, name), "a mapping of metrics"))
        metrics = metrics_up(rest.pop("metrics", None), (*where, name, "metrics"))
        inner = rest.pop("parallel_steps", None)
        steps[name] = rest
        if metrics:
            rest["metrics"] = metrics
        if inner is not None:
            rest["parallel_steps"] = _measured_up(inner, (*where, name, "parallel_steps"))
    return steps


def _step_status(rest: Document, where: Place) -> Document:
    """Remove `success` and `error` from `rest`, in place, and return the corresponding fields of the format."""
    success = rest.pop("success", None)
    if success is not None and not isinstance(success, bool):
        raise CannotUpgrade("expected true or false", (*where, "success"))
    result: Document = {"status": "error" if success is False else "completed"}
    if error := text(rest.pop("error", None), (*where, "error")):
        result["error"] = error
    return result


def _response_up(raw: Any, where: Place, conversation: Conversation, position: str, since: str) -> Document:
    """Convert the run of the agent or team that executed the step. Return {} if there is none."""
    return {} if is_empty(raw) else _run_up(raw, where, conversation, position, since)


def _rest_of_response(response: Document, step: Document) -> Document:
    """Return the fields of `response`, the run that executed the step, that `step` itself does not have."""
    of_step = {"type": "run", "created_at": step["created_at"], "metrics": step["metrics"], "status": step["status"]}
    rest = {key: value for key, value in response.items() if identity(of_step.get(key)) != identity(value)}
    if identity(rest.get("content")) == identity(step.get("output")):
        rest.pop("content", None)
    return ordered(rest)

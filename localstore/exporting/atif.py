"""Export sessions as trajectories in ATIF: one JSON object per line, which any ATIF tool reads.

A message is a step, with the results of its tool calls. What ATIF has no field for is in `extra.localstore`, so an
import of the export gives the session back. A run of a member is a subagent's trajectory. Entries that are no runs are
in the `extra` of the whole trajectory; what was said in those of other frameworks is in steps, too.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from localstore.exporting.characters import json_text
from localstore.format.atif_steps import OWN, VERSION, Message, Step, to_result, to_step
from localstore.format.item_messages import item_messages
from localstore.format.values import to_json_value
from localstore.models.session import Session
from localstore.models.times import parse_time

Entry = dict[str, Any]
_OF_ENTRIES: Step = {"extra": {OWN: {"in_entries": True}}}
"""What a step has whose message comes from an entry that is in the `extra` of the trajectory."""
_METRICS = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens", "cached_tokens": "cached_tokens"}


def atif_lines(sessions: Iterable[Session]) -> Iterator[str]:
    """Yield one line for each session: its trajectory as a JSON object.

    >>> [line[:34] for line in atif_lines([Session(session_id="s1")])]
    ['{"schema_version": "ATIF-v1.8", "s']
    """
    for session in sessions:
        header = to_json_value(session)
        entries = [to_json_value(entry) for entry in session.history]
        name = session.entity_id or OWN
        trajectory = _trajectory(session.session_id, name, entries)
        own = {"header": header, **trajectory.pop("extra", {})}
        yield f"{json_text({**trajectory, 'extra': {OWN: own}})}\n"


def _trajectory(session_id: str, name: str, entries: list[Entry]) -> dict[str, Any]:
    """Return the trajectory of a history. Its `extra` has what belongs into that of localstore."""
    steps: list[Step] = []
    others: list[Entry] = []
    asked: dict[str, Step] = {}
    subagents: dict[str, dict[str, Any]] = {}
    for at, entry in enumerate(entries):
        if entry["type"] != "run":
            others.append({"at": at, "entry": entry})
            steps += _item_steps(entry, asked)
            continue
        asked.clear()
        members = {}
        for member in entry.get("member_runs", ()):
            trajectory_id = _free_id(member["run_id"], subagents)
            agent = member.get("agent_id") or member.get("team_id") or member.get("workflow_id") or OWN
            subagents[trajectory_id] = _trajectory(session_id, agent, [member]) | {"trajectory_id": trajectory_id}
            members[trajectory_id] = member
        steps += _run_steps(entry, members)
    steps = steps or [{"source": "system", "message": "", **_OF_ENTRIES}]  # a trajectory has at least one
    models = [entry["model"] for entry in entries if entry["type"] == "run" and "model" in entry]
    result: dict[str, Any] = {
        "schema_version": VERSION,
        "session_id": session_id,
        "agent": {"name": name, "version": "unknown"} | ({"model_name": models[-1]} if models else {}),
        "steps": [{"step_id": number, **step} for number, step in enumerate(steps, 1)],
    }
    if subagents:
        result["subagent_trajectories"] = list(subagents.values())
    if others:
        result["extra"] = {"entries": others}
    return result


def _item_steps(entry: Entry, asked: dict[str, Step]) -> list[Step]:
    """Return the steps for what was said in an entry of another framework; [] if nothing was.

    `asked` has the earlier steps by the ids of their tool calls. They get the results that are in the entry.
    """
    steps: list[Step] = []
    for message in item_messages(entry):
        if message["role"] == "tool":
            step = asked.get(message.get("tool_call_id", ""))
            if step is None:
                steps.append({"source": "agent", "message": "", "llm_call_count": 0})
            result = to_result(message, is_answer=step is not None)
            result.pop("extra", None)  # the entry has it all
            (step or steps[-1]).setdefault("observation", {"results": []})["results"].append(result)
        else:
            steps.append(to_step(message))
            asked |= {call["tool_call_id"]: steps[-1] for call in steps[-1].get("tool_calls", ())}
    created_at = entry.get("created_at")
    began = {"timestamp": created_at} if isinstance(created_at, str) and parse_time(created_at) is not None else {}
    for one in steps:
        one.update(began | _OF_ENTRIES)
    return steps


def _free_id(run_id: str, used: dict[str, Any]) -> str:
    """Return an id for the trajectory of a member's run, which differs from those in use."""
    number, result = 1, run_id
    while result in used:
        number += 1
        result = f"{run_id}:{number}"
    return result


def _run_steps(run: Entry, members: dict[str, Entry]) -> list[Step]:
    """Return the steps of a run, of which `members` are the member runs by the ids of their trajectories.

    The first step has the run itself, with the number of its messages and the ids of the members' trajectories.
    """
    messages: list[Message] = run.get("messages") or []
    steps: list[Step] = []
    calls: set[str] = set()
    for message in messages:
        if message["role"] != "tool":
            steps.append(to_step(message))
            calls = {call["tool_call_id"] for call in steps[-1].get("tool_calls", ())}
            continue
        is_answer = message.get("tool_call_id") in calls
        result = to_result(message, is_answer=is_answer)
        if not is_answer:
            steps.append({"source": "agent", "message": "", "llm_call_count": 0})
            calls = set()
        delegated = [
            key for key, member in members.items() if member.get("tool_call_id") == message.get("tool_call_id")
        ]
        if delegated and "tool_call_id" in message:
            result["subagent_trajectory_ref"] = [{"trajectory_id": key} for key in delegated]
        steps[-1].setdefault("observation", {"results": []})["results"].append(result)
    steps = steps or [{"source": "system", "message": ""}]
    own = {**run, "messages": len(messages)} if "messages" in run else dict(run)
    if "member_runs" in run:
        own["member_runs"] = list(members)
    extra = steps[0].get("extra", {}).get(OWN, {})
    steps[0]["extra"] = {OWN: {"run": own, **extra}}
    if parse_time(run["created_at"]) is not None:
        steps[0] = {"source": steps[0]["source"], "timestamp": run["created_at"], **steps[0]}
    agent_steps = [step for step in steps if step["source"] == "agent" and "llm_call_count" not in step]
    if agent_steps:
        if "model" in run:
            for step in agent_steps:
                step["model_name"] = run["model"]
        if metrics := _metrics(run.get("metrics") or {}):
            agent_steps[-1]["metrics"] = metrics
    return steps


def _metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    known = {name: metrics[key] for key, name in _METRICS.items() if metrics.get(key) is not None}
    extra = {key: value for key, value in metrics.items() if key not in _METRICS}
    return {**known, **({"extra": extra} if extra else {})}

"""Trajectories in ATIF (Agent Trajectory Interchange Format), one or several in a file.

A trajectory that localstore exported becomes the session that it was. Of any other, the steps become messages, and a
subagent's trajectory becomes a member run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import NAMESPACE_URL, uuid5

from localstore.errors import UnstorableValue
from localstore.format.atif_steps import from_result, own_values, to_message
from localstore.format.values import MAX_DEPTH, to_json_value
from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import NO_TIME, count, items, mapping, text, time
from localstore.maintenance.importing.runs import IMPORTED, Turn, group, in_order
from localstore.maintenance.importing.source import Entry, Items, Skipped, SourceSession, new_header
from localstore.models.schema import SCHEMA_VERSION

Step = dict[str, Any]
_OF_TRAJECTORY = ("schema_version", "session_id", "steps", "subagent_trajectories", "trajectory_id")
_OF_STEP = ("step_id", "timestamp", "source", "message", "reasoning_content", "tool_calls", "observation", "model_name")


_OF_RESULT = ("source_call_id", "content")


_DEPTH = 2 * MAX_DEPTH
"""How deep a trajectory may be nested: more than the entries that are in it."""


class _Damaged(Exception):
    """Raised if the values of localstore in a trajectory do not fit its steps: a program has changed them."""


def read(path: Path) -> Items:
    """Yield the sessions in a file of one or several trajectories, or in the JSON files of a folder."""
    files = [path] if path.is_file() else sorted([*path.glob("*.json"), *path.glob("*.jsonl")])
    if not files:
        yield Skipped(str(path), "there is no trajectory (*.json or *.jsonl) in it")
    for file in files:
        try:
            for item in json_text.elements(file, depth=_DEPTH):
                if isinstance(item, Skipped):
                    yield item
                else:
                    yield from _session(file, *item)
        except OSError as error:
            yield Skipped(str(file), f"it cannot be read ({error.strerror})")


def _session(path: Path, number: int, trajectory: dict[str, Any]) -> Items:
    session_id = text(trajectory.get("trajectory_id")) or text(trajectory.get("session_id"))
    if not isinstance(trajectory.get("steps"), list) or not str(trajectory.get("schema_version")).startswith("ATIF-"):
        yield Skipped(str(path), "it is not an ATIF trajectory", number, session_id)
        return
    header = own_values(trajectory).get("header")
    if isinstance(header, dict) and header.get("schema_version") == SCHEMA_VERSION and text(header.get("session_id")):
        try:
            yield SourceSession(header, [_storable(entry) for entry in _own_entries(trajectory)], str(path))
            return
        except _Damaged:
            session_id = text(header.get("session_id"))
    if session_id is None:
        session_id = str(uuid5(NAMESPACE_URL, f"localstore:{path.name}:{number}"))
    entries = [_storable(entry) for entry in _entries(session_id, trajectory)]
    if not entries:
        yield Skipped(str(path), "it has no messages", number, session_id)
        return
    agent = mapping(trajectory.get("agent"))
    metadata = {key: value for key, value in trajectory.items() if key not in _OF_TRAJECTORY}
    header = new_header("atif", session_id, entries[0]["created_at"], metadata=metadata)
    if name := text(agent.get("name")):
        header["agent_id"] = name
    yield SourceSession(header, entries, str(path))


# Trajectories of localstore


def _own_entries(trajectory: dict[str, Any]) -> list[Entry]:
    """Return the entries of a session that localstore exported. Raises _Damaged."""
    entries = [*_own_runs(trajectory)]
    for one in map(mapping, items(own_values(trajectory).get("entries"))):
        at, entry = one.get("at"), mapping(one.get("entry"))
        if not isinstance(at, int) or not 0 <= at <= len(entries) or not isinstance(entry.get("type"), str):
            raise _Damaged
        entries.insert(at, entry)
    return entries


def _own_runs(trajectory: dict[str, Any]) -> Iterator[Entry]:
    """Yield the entries of a session that localstore exported, of which the steps have all. Raises _Damaged.

    Those are the runs; earlier releases gave each other entry a step, too.
    """
    subagents = map(mapping, items(trajectory.get("subagent_trajectories")))
    members = {key: subagent for subagent in subagents if (key := text(subagent.get("trajectory_id")))}
    run: Entry | None = None
    messages: list[dict[str, Any]] = []
    for step in items(trajectory.get("steps")):
        if not isinstance(step, dict):
            raise _Damaged
        own = own_values(step)
        if "run" in own or "entry" in own or "in_entries" in own:
            if run is not None:
                yield _own_run(run, messages, members)
            run, messages = None, []
        if isinstance(own.get("entry"), dict) and isinstance(own["entry"].get("type"), str):
            yield own["entry"]
            continue
        if "in_entries" in own:
            continue
        if isinstance(own.get("run"), dict):
            run = own["run"]
        if run is None:
            raise _Damaged
        if run.get("messages"):
            messages += _own_messages(step)
    if run is not None:
        yield _own_run(run, messages, members)


def _storable(entry: Entry) -> Entry:
    """Return an entry in a form that a document can hold."""
    try:
        return cast(Entry, to_json_value(entry))
    except UnstorableValue:
        return cast(Entry, json_text.storable(entry))


def _own_run(run: Entry, messages: list[dict[str, Any]], members: dict[str, dict[str, Any]]) -> Entry:
    """Return a run with its messages and its member runs in their places. Raises _Damaged."""
    if run.get("type") != "run" or not text(run.get("run_id")) or len(messages) != run.get("messages", 0):
        raise _Damaged
    result = dict(run)
    if "messages" in run:
        result["messages"] = messages
    if "member_runs" in run:
        result["member_runs"] = []
        for key in items(run["member_runs"]):
            if not isinstance(key, str) or key not in members:
                raise _Damaged
            result["member_runs"] += _own_entries(members[key])
    return result


def _own_messages(step: Step) -> list[dict[str, Any]]:
    """Return the messages of a step that localstore exported."""
    return [_own_message(value, message) for value, message in _messages(step)]


def _own_message(value: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    whole = own_values(value).get("message")
    return whole if isinstance(whole, dict) else message


def _messages(step: Step) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the message of a step and those of the results in its observation, each with what it was made of."""
    results = list(map(mapping, items(mapping(step.get("observation")).get("results"))))
    messages = [(result, from_result(result)) for result in results]
    is_result_only = step.get("llm_call_count") == 0 and step.get("message") == "" and not step.get("tool_calls")
    return messages if is_result_only and messages else [(step, to_message(step)), *messages]


# Trajectories of other programs


def _entries(session_id: str, trajectory: dict[str, Any]) -> list[Entry]:
    """Return the runs of a trajectory of another program."""
    members = _member_runs(session_id, trajectory)
    entries = group(session_id, _turns(trajectory), is_over=True)
    owners = {
        call.get("id"): entry
        for entry in entries
        for message in entry.get("messages", ())
        for call in message.get("tool_calls", ())
    }
    for member in members if entries else ():
        owner = owners.get(member.get("tool_call_id"), entries[-1])
        known = {"created_at": owner["created_at"]} if member["created_at"] == NO_TIME else {}
        owner.setdefault("member_runs", []).append(member | known)
    return [in_order(entry) for entry in entries]


def _member_runs(session_id: str, trajectory: dict[str, Any]) -> list[Entry]:
    """Return the trajectories of the subagents as member runs."""
    calls = {
        reference.get("trajectory_id"): text(result.get("source_call_id"))
        for step in map(mapping, items(trajectory.get("steps")))
        for result in map(mapping, items(mapping(step.get("observation")).get("results")))
        for reference in map(mapping, items(result.get("subagent_trajectory_ref")))
        if text(reference.get("trajectory_id"))
    }
    members = []
    for number, sub in enumerate(map(mapping, items(trajectory.get("subagent_trajectories")))):
        key = text(sub.get("trajectory_id")) or str(uuid5(NAMESPACE_URL, f"localstore:{session_id}:member:{number}"))
        turns = list(_turns(sub))
        for turn in turns[1:]:
            turn.is_question = False
        for run in group(key, turns, is_over=True):
            name = text(mapping(sub.get("agent")).get("name")) or key
            asked = {"tool_call_id": calls[key]} if calls.get(key) else {}
            inner = _member_runs(key, sub)
            members.append(
                in_order({**run, "run_id": key, "agent_id": name, **asked, **({"member_runs": inner} if inner else {})})
            )
    return members


def _turns(trajectory: dict[str, Any]) -> Iterator[Turn]:
    """Yield the messages of the steps of a trajectory."""
    default = text(mapping(trajectory.get("agent")).get("model_name"))
    for step in items(trajectory.get("steps")):
        if not isinstance(step, dict):
            continue
        moment = time(step.get("timestamp"))
        kept = {key: value for key, value in step.items() if key not in _OF_STEP and value is not None}
        for number, (value, message) in enumerate(_messages(step)):
            turn = Turn(message, moment, message["role"] == "user")
            rest = {} if value is step else {k: v for k, v in value.items() if k not in _OF_RESULT and v is not None}
            rest |= kept if number == 0 else {}
            if rest:
                message[IMPORTED] = rest
            if message["role"] == "assistant":
                turn.run = {"model": text(step.get("model_name")) or default}
                metrics = mapping(step.get("metrics"))
                turn.metrics = {
                    "input_tokens": count(metrics.get("prompt_tokens")),
                    "output_tokens": count(metrics.get("completion_tokens")),
                    "cached_tokens": count(metrics.get("cached_tokens")),
                    "reasoning_tokens": count(mapping(metrics.get("extra")).get("reasoning_tokens")),
                }
            yield turn

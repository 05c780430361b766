"""Convert version 0, the sessions that `JsonStorage` and `YamlStorage` of agno 1.x wrote, to version 1 and back."""

from collections.abc import Mapping
from typing import Any

from localstore.format.versions.agno_back import AGENT_RUN, TEAM_RUN, WORKFLOW_RUN, bare, run_down
from localstore.format.versions.agno_conversation import Conversation
from localstore.format.versions.agno_remainder import KEY, is_remainder, remainder, restored
from localstore.format.versions.agno_runs import run_up, unused_key
from localstore.format.versions.document_shape import checked
from localstore.format.versions.step import CannotUpgrade, Document
from localstore.format.versions.values import copied, identity, is_empty, items, mapping, seconds_of, text, to_time
from localstore.models.schema import HEADER_ORDER, KINDS, SESSION_KEYS

MODE = "agno_mode"
"""The header key that marks sessions of agno's first workflows. Later workflows have a different form."""
FIRST_WORKFLOWS = "workflow"
IDS = ("agent_id", "team_id", "workflow_id")
_CONVERTED = {"session_id", "user_id", *IDS, "session_data", "created_at", "updated_at", "schema_version"}
_RESERVED = {*HEADER_ORDER, *SESSION_KEYS, "$schema", "history", "updated_at", MODE}
_TYPICAL_KEYS = ("memory", "runs", "session_data", "extra_data")


def looks_like(document: Mapping[str, Any]) -> bool:
    """Return whether a mapping has the shape of a session that agno 1.x wrote."""
    return (
        isinstance(document.get("session_id"), str)
        and "history" not in document
        and any(key in document for key in _TYPICAL_KEYS)
        and any(f"{kind}_id" in document or f"{kind}_data" in document for kind in KINDS)
    )


def up(document: Document) -> Document:
    """Return a session of agno 1.x as a document of version 1. Does not change `document`.

    Raises CannotUpgrade if it is not a valid session.
    """
    raw = copied(mapping(document, ()))
    parts = raw.pop(KEY) if is_remainder(raw.get(KEY)) else None
    result = _converted(raw)
    return checked(result if parts is None else _in_order(restored(result, parts)))


def down(document: Document) -> Document:
    """Return a document of version 1 as a session that agno 1.8 can read and continue. Does not change `document`.

    Raises CannotUpgrade if it is not a valid document.
    """
    own = checked(copied(document))
    raw = _raw(own)
    try:
        base = _converted(copied(raw))
    except CannotUpgrade:  # a key that somebody added has a different meaning in agno
        raw = _raw(_bare(own))
        base = _converted(copied(raw))
    parts = remainder(base, _in_order(own))
    return raw if parts is None else {**raw, KEY: parts}


def _in_order(document: Document) -> Document:
    """Return a copy of the document with its keys in the order of the format, and without `$schema`."""
    first = {key: document[key] for key in HEADER_ORDER if key in document}
    others = {key: value for key, value in document.items() if key not in first and key not in ("history", "$schema")}
    return {**first, **others, "history": document["history"]}


# Up


def _converted(raw: Document) -> Document:
    """Return the document for a session of agno. Changes `raw`."""
    session_id = text(raw.get("session_id"), ("session_id",))
    if not session_id:
        raise CannotUpgrade("expected the id of the session", ("session_id",))
    kind = _kind(raw)
    memory = dict(mapping(raw.pop("memory", None), ("memory",)))
    session_data = dict(mapping(raw.pop("session_data", None), ("session_data",)))
    has_steps = kind == "workflow" and ("runs" in raw or "workflow_name" in raw)

    conversation = Conversation(session_id, shared_fields(raw, kind))
    place = ("runs",) if has_steps else ("memory", "runs")
    runs = items((raw if has_steps else memory).pop("runs", None), place, "a list of runs")
    members = _members(runs)
    history = [
        run_up(run, (*place, index), conversation, str(index))
        for index, run in enumerate(runs)
        if not members or identity(run) not in members
    ]
    summary = take_summary(memory, session_id, raw.get("user_id"))
    _drop_repeated_messages(memory, conversation)
    _refer_to_members(memory, members)
    memory = {key: value for key, value in memory.items() if not is_empty(value)}
    run_times = [run["created_at"] for run in history]
    is_first = kind == "workflow" and not has_steps
    header, state = session_up(
        {**raw, "session_data": session_data, "memory": memory}, kind, run_times, is_first=is_first
    )
    written = to_time(raw.get("updated_at"), ("updated_at",)) or to_time(raw.get("created_at"), ("created_at",))
    if not is_empty(summary):
        state["session_summary"] = summary
    if state:
        state = {key: state[key] for key in SESSION_KEYS if key in state}
        time = written or max(run_times, default=header["created_at"])
        history.append({"type": "update", "created_at": time, **state})
    return _in_order({**header, "history": history})


def session_up(raw: Document, kind: str, run_times: list[str], *, is_first: bool) -> tuple[Document, Document]:
    """Return the header and the state of a session, without its runs and its summary. Does not change `raw`.

    Args:
        raw: The session in agno's form.
        kind: The kind of the session.
        run_times: The start times of its runs. The creation time is the earliest of these and the one that agno stored.
        is_first: Whether the session belongs to one of agno's first workflows.

    Raises CannotUpgrade if a value is invalid.
    """
    session_data = dict(mapping(raw.get("session_data"), ("session_data",)))
    header: Document = {"schema_version": 1, "session_id": raw["session_id"], "kind": kind}
    header |= {key: value for key in IDS if (value := text(raw.get(key), (key,))) is not None}
    header["user_id"] = text(raw.get("user_id"), ("user_id",))
    header["name"] = text(session_data.pop("session_name", None), ("session_data", "session_name"))
    has_metadata = isinstance(raw.get("extra_data"), dict)
    if has_metadata:
        header["metadata"] = raw["extra_data"]
    created_at = to_time(raw.get("created_at"), ("created_at",))
    header["created_at"] = min([*run_times, *([created_at] if created_at else [])], default="1970-01-01T00:00:00.000Z")
    if is_first:
        header[MODE] = FIRST_WORKFLOWS
    for key, value in raw.items():
        if key not in _CONVERTED and not (has_metadata and key == "extra_data"):
            header[unused_key(key, {*_RESERVED, *header})] = value
    state = {
        "session_state": mapping(session_data.pop("session_state", None), ("session_data", "session_state")),
        "session_data": session_data,
    }
    kept = {key: value for key, value in header.items() if not is_empty(value)}
    return kept, {key: value for key, value in state.items() if not is_empty(value)}


def _kind(raw: Document) -> str:
    """Return the kind of a session of agno, which its keys determine. Raises CannotUpgrade."""
    for keys in ({key for key, value in raw.items() if value is not None}, raw.keys()):
        for kind in KINDS:
            if f"{kind}_data" in keys or f"{kind}_id" in keys:
                return kind
    raise CannotUpgrade("expected the id or the data of an agent, a team or a workflow")


def shared_fields(raw: Document, kind: str) -> Document:
    """Return the fields that agno repeats in each run of a session: the id and name of its agent, team or workflow.

    `raw` is a session of agno or the header of a document. The result contains only values that are text.
    """
    data = raw.get(f"{kind}_data")
    name = raw.get("workflow_name") or (data.get("name") if isinstance(data, dict) else None)
    shared = {f"{kind}_id": raw.get(f"{kind}_id"), f"{kind}_name": name}
    return {key: value for key, value in shared.items() if isinstance(value, str)}


def _members(runs: list[Any]) -> set[str]:
    """Return the `identity` of each member run in `runs`, at any depth.

    If members share the memory of their team, agno repeats their runs among those of the session.
    """
    identities: set[str] = set()
    pending = list(runs)
    while pending:
        run = pending.pop()
        members = run.get("member_responses") if isinstance(run, dict) else None
        if isinstance(members, list):
            pending += members
            identities |= {identity(member) for member in members if member}
    return identities


def take_summary(memory: Document, session_id: str, user_id: Any) -> Any:
    """Remove the summary of this session from `memory`, in place, and return it. Return None if there is none.

    Raises CannotUpgrade if `summaries` is not a mapping.
    """
    by_user = mapping(memory.get("summaries"), ("memory", "summaries"))
    user = user_id if isinstance(user_id, str) else "default"
    of_user = by_user.get(user)
    if isinstance(of_user, dict) and not is_empty(of_user.get(session_id)):
        others = {key: value for key, value in of_user.items() if key != session_id}
        memory["summaries"] = {key: value for key, value in {**by_user, user: others}.items() if value}
        return of_user[session_id]
    return memory.pop("summary", None)


def _drop_repeated_messages(memory: Document, conversation: Conversation) -> None:
    """Remove the messages that older forms of `memory` repeat, in place, if the runs contain all of them."""
    messages = memory.get("messages")
    if isinstance(messages, list) and conversation.has_seen(messages):
        del memory["messages"]


def _refer_to_members(memory: Document, members: set[str]) -> None:
    """Replace the member runs in the interactions of a team with their ids. Changes `memory` in place.

    `members` are the identities of the member runs that the session's runs contain; other runs are kept.
    """
    for interaction in _interactions(memory):
        response = interaction.get("response")
        if isinstance(response, dict) and isinstance(response.get("run_id"), str) and identity(response) in members:
            interaction["response"] = {"run_id": response["run_id"]}


def _interactions(memory: Document) -> list[Document]:
    """Return the interactions in `memory`: requests to members of a team, with their responses. They are not copies."""
    contexts = memory.get("team_context")
    interactions = []
    for context in contexts.values() if isinstance(contexts, dict) else ():
        of_context = context.get("member_interactions") if isinstance(context, dict) else None
        interactions += of_context if isinstance(of_context, list) else []
    return [interaction for interaction in interactions if isinstance(interaction, dict)]


# Down


def _bare(document: Document) -> Document:
    """Return a copy of the document without the keys that version 1 does not define."""
    header = {key: value for key, value in document.items() if key in HEADER_ORDER}
    return {**header, "history": [bare(entry) if entry["type"] == "run" else entry for entry in document["history"]]}


def _raw(document: Document) -> Document:
    """Return the document as a session of agno, without the remainder."""
    newest = {
        key: next((entry[key] for entry in reversed(document["history"]) if entry.get(key) is not None), None)
        for key in SESSION_KEYS
    }
    fields, shared = run_fields(document), shared_fields(document, document["kind"])
    runs = [
        session_run_down(entry, document, shared, fields) for entry in document["history"] if entry["type"] == "run"
    ]
    times = [document["created_at"], *(entry.get("created_at") for entry in document["history"])]
    memories = [entry["memory"] for entry in document["history"] if isinstance(entry.get("memory"), dict)]
    return session_down({**document, "memory": memories[-1]} if memories else document, newest, runs, times)


def is_pipeline(document: Document) -> bool:
    """Return whether the session belongs to one of agno's later workflows, which have steps."""
    return document["kind"] == "workflow" and document.get(MODE) != FIRST_WORKFLOWS


def run_fields(document: Document) -> frozenset[str]:
    """Return the names of the fields that agno's class for the runs of this session accepts."""
    return TEAM_RUN if document["kind"] == "team" else WORKFLOW_RUN if is_pipeline(document) else AGENT_RUN


def session_run_down(run: Document, header: Document, shared: Document, fields: frozenset[str]) -> Document:
    """Return a run of the session in agno's form. Does not change its arguments.

    Args:
        run: The entry that holds the run.
        header: The header of the document.
        shared: The result of `shared_fields`.
        fields: The result of `run_fields`. The run of an agent or team that has its own id uses the fields for those.
    """
    if header["kind"] != "workflow" and (run.get("agent_id") or run.get("team_id")):
        return run_down(run, header["session_id"], AGENT_RUN if run.get("agent_id") else TEAM_RUN)
    return run_down({**shared, **run}, header["session_id"], fields)


def session_down(document: Document, newest: Document, runs: list[Document], times: list[Any]) -> Document:
    """Return a session in agno's form. Does not change its arguments.

    Args:
        document: The header of the document, with agno's memory in `memory`.
        newest: The newest state of the session.
        runs: The runs in agno's form.
        times: The times of the session and its entries, in order. The last valid one becomes `updated_at`.
    """
    kind = document["kind"]
    session_id, user_id = document["session_id"], document.get("user_id")
    session_data = dict(newest.get("session_data") or {})
    if newest.get("session_state") is not None:
        session_data["session_state"] = newest["session_state"]
    if document.get("name") is not None:
        session_data["session_name"] = document["name"]

    created_at = seconds_of(document["created_at"])
    seconds = (seconds_of(time) for time in reversed(times))
    others = {
        key: value
        for key, value in document.items()
        if key not in _RESERVED and key not in _CONVERTED and key not in ("memory", "runs", "extra_data", KEY)
    }
    raw: Document = {
        "session_id": session_id,
        "user_id": user_id,
        **{key: document[key] for key in IDS if document.get(key) is not None},
        f"{kind}_id": document.get(f"{kind}_id"),
        **others,
        "session_data": session_data,
        "extra_data": document.get("metadata", document.get("extra_data")),
        "created_at": created_at,
        "updated_at": next((time for time in seconds if time is not None), created_at),
    }
    raw.setdefault(f"{kind}_data", None)
    if is_pipeline(document):
        return {**raw, "workflow_name": document.get("workflow_name"), "runs": runs}
    summary = newest.get("session_summary")
    return {**raw, "memory": _memory(document.get("memory"), summary, session_id, user_id, runs)}


def _all_members(run: Document) -> list[Document]:
    """Return the member runs of a run, and their member runs, at any depth."""
    members: list[Document] = run.get("member_responses") or []
    return [*members, *(inner for member in members for inner in _all_members(member))]


def _memory(kept: Any, summary: Any, session_id: str, user_id: str | None, runs: list[Document]) -> Document:
    """Return the memory of a session with `runs`, `summary` and the parts of `kept` that agno 1.8 accepts.

    Replaces the ids of member runs in interactions with the runs themselves. Does not change `kept`.
    """
    kept = kept if isinstance(kept, dict) else {}
    memory: Document = {key: copied(kept.get(key)) for key in ("summaries", "memories", "team_context")}
    memory = {key: value if isinstance(value, dict) else {} for key, value in memory.items()}
    if not memory["team_context"]:
        del memory["team_context"]
    by_id = {member["run_id"]: member for run in runs for member in _all_members(run)}
    for interaction in _interactions(memory):
        response = interaction.get("response")
        run_id = response.get("run_id") if isinstance(response, dict) and len(response) == 1 else None
        if isinstance(run_id, str) and run_id in by_id:
            interaction["response"] = copied(by_id[run_id])
    if summary is not None:
        user = user_id or "default"
        of_user = memory["summaries"].get(user)
        record = summary if isinstance(summary, dict) else {"summary": summary}
        of_user = {**(of_user if isinstance(of_user, dict) else {}), session_id: record}
        memory["summaries"] = {**memory["summaries"], user: of_user}
    return {**memory, "runs": runs}

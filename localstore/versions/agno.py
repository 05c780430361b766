"""Version 0: sessions as `JsonStorage` and `YamlStorage` of agno 1.x wrote them, for agents, teams and workflows."""

from collections.abc import Mapping
from typing import Any

from localstore.schema import HEADER_ORDER, KINDS, STATEFUL
from localstore.versions.agno_back import AGENT_RUN, TEAM_RUN, WORKFLOW_RUN, bare, run_down
from localstore.versions.agno_conversation import Conversation
from localstore.versions.agno_remainder import KEY, is_remainder, remainder, restored
from localstore.versions.agno_runs import free_name, run_up
from localstore.versions.document_shape import checked
from localstore.versions.step import CannotUpgrade, Document
from localstore.versions.values import copied, identity, is_empty, items, mapping, moment, seconds_of, text

_MODE = "agno_mode"
"""Header key of the sessions of agno's first workflows, which agno keeps in another form than its later ones."""
_IDS = ("agent_id", "team_id", "workflow_id")
_TAKEN = {"session_id", "user_id", *_IDS, "session_data", "created_at", "updated_at", "schema_version"}
_RESERVED = {*HEADER_ORDER, *STATEFUL, "$schema", "history", "updated_at", _MODE}
_TOLD_BY_ALL = ("memory", "runs", "session_data", "extra_data")


def looks_like(document: Mapping[str, Any]) -> bool:
    """Whether it has the shape of a session of agno 1.x."""
    return (
        isinstance(document.get("session_id"), str)
        and "history" not in document
        and any(key in document for key in _TOLD_BY_ALL)
        and any(f"{kind}_id" in document or f"{kind}_data" in document for kind in KINDS)
    )


def up(document: Document) -> Document:
    """The session as a document of version 1. Raises CannotUpgrade."""
    raw = copied(mapping(document, ()))
    parts = raw.pop(KEY) if is_remainder(raw.get(KEY)) else None
    result = _converted(raw)
    return checked(result if parts is None else _in_order(restored(result, parts)))


def down(document: Document) -> Document:
    """The session as agno 1.8 reads it and continues it. Raises CannotUpgrade for what is no document of version 1."""
    own = checked(copied(document))
    raw = _raw(own)
    try:
        base = _converted(copied(raw))
    except CannotUpgrade:  # a key of somebody's own means something else to agno
        raw = _raw(_bare(own))
        base = _converted(copied(raw))
    parts = remainder(base, _in_order(own))
    return raw if parts is None else {**raw, KEY: parts}


def _in_order(document: Document) -> Document:
    first = {key: document[key] for key in HEADER_ORDER if key in document}
    others = {key: value for key, value in document.items() if key not in first and key not in ("history", "$schema")}
    return {**first, **others, "history": document["history"]}


# Up


def _converted(raw: Document) -> Document:
    session_id = text(raw.get("session_id"), ("session_id",))
    if not session_id:
        raise CannotUpgrade("expected the id of the session", ("session_id",))
    kind = _kind(raw)
    ids = {key: value for key in _IDS if (value := text(raw.get(key), (key,))) is not None}
    memory = dict(mapping(raw.pop("memory", None), ("memory",)))
    session_data = dict(mapping(raw.pop("session_data", None), ("session_data",)))
    is_pipeline = kind == "workflow" and ("runs" in raw or "workflow_name" in raw)

    conversation = Conversation(session_id, _known(raw, kind))
    place = ("runs",) if is_pipeline else ("memory", "runs")
    runs = items((raw if is_pipeline else memory).pop("runs", None), place, "a list of runs")
    members = _members(runs)
    history = [
        run_up(run, (*place, index), conversation, str(index))
        for index, run in enumerate(runs)
        if not members or identity(run) not in members
    ]
    summary = _summary(memory, session_id, raw.get("user_id"))
    _forget_messages(memory, conversation)
    _refer_to_members(memory, members)
    memory = {key: value for key, value in memory.items() if not is_empty(value)}

    header: Document = {"schema_version": 1, "session_id": session_id, "kind": kind, **ids}
    header["user_id"] = text(raw.get("user_id"), ("user_id",))
    header["name"] = text(session_data.pop("session_name", None), ("session_data", "session_name"))
    extra = raw.get("extra_data")
    if isinstance(extra, dict):
        header["metadata"] = raw.pop("extra_data")
    created_at = moment(raw.get("created_at"), ("created_at",))
    begun = [run["created_at"] for run in history]
    header["created_at"] = min([*begun, *([created_at] if created_at else [])], default="1970-01-01T00:00:00.000Z")
    if kind == "workflow" and not is_pipeline:
        header[_MODE] = "workflow"
    for key, value in [*raw.items(), ("memory", memory)]:
        if key not in _TAKEN:
            header[free_name(key, {*_RESERVED, *header})] = value
    header = {key: value for key, value in header.items() if not is_empty(value)}

    written = moment(raw.get("updated_at"), ("updated_at",)) or created_at
    update = {
        "type": "update",
        "created_at": written or max(begun, default=header["created_at"]),
        "session_state": mapping(session_data.pop("session_state", None), ("session_data", "session_state")),
        "session_summary": summary,
        "session_data": session_data,
    }
    update = {key: value for key, value in update.items() if not is_empty(value)}
    return _in_order({**header, "history": [*history, update] if len(update) > 2 else history})


def _kind(raw: Document) -> str:
    for told in ({key for key, value in raw.items() if value is not None}, raw.keys()):
        for kind in KINDS:
            if f"{kind}_data" in told or f"{kind}_id" in told:
                return kind
    raise CannotUpgrade("expected the id or the data of an agent, a team or a workflow")


def _known(raw: Document, kind: str) -> Document:
    """What each run of the session says of its agent, team or workflow, and the session says as well."""
    data = raw.get(f"{kind}_data")
    name = raw.get("workflow_name") or (data.get("name") if isinstance(data, dict) else None)
    known = {f"{kind}_id": raw.get(f"{kind}_id"), f"{kind}_name": name}
    return {key: value for key, value in known.items() if isinstance(value, str)}


def _members(runs: list[Any]) -> set[str]:
    """The runs of a team's members. With one memory for all, agno keeps them among the team's runs once more."""
    found: set[str] = set()
    waiting = list(runs)
    while waiting:
        run = waiting.pop()
        members = run.get("member_responses") if isinstance(run, dict) else None
        if isinstance(members, list):
            waiting += members
            found |= {identity(member) for member in members if member}
    return found


def _summary(memory: Document, session_id: str, user_id: Any) -> Any:
    """Takes the summary of this session out of the memory."""
    by_user = mapping(memory.get("summaries"), ("memory", "summaries"))
    user = user_id if isinstance(user_id, str) else "default"
    of_user = by_user.get(user)
    if isinstance(of_user, dict) and not is_empty(of_user.get(session_id)):
        others = {key: value for key, value in of_user.items() if key != session_id}
        memory["summaries"] = {key: value for key, value in {**by_user, user: others}.items() if value}
        return of_user[session_id]
    return memory.pop("summary", None)


def _forget_messages(memory: Document, conversation: Conversation) -> None:
    """Older memories list all messages once more; what the runs say is left out."""
    messages = memory.get("messages")
    if isinstance(messages, list) and conversation.has_seen(messages):
        del memory["messages"]


def _refer_to_members(memory: Document, members: set[str]) -> None:
    """What the members of a team told each other are their runs once more: their ids are left."""
    for interaction in _interactions(memory):
        response = interaction.get("response")
        if isinstance(response, dict) and isinstance(response.get("run_id"), str) and identity(response) in members:
            interaction["response"] = {"run_id": response["run_id"]}


def _interactions(memory: Document) -> list[Document]:
    contexts = memory.get("team_context")
    found = []
    for context in contexts.values() if isinstance(contexts, dict) else ():
        told = context.get("member_interactions") if isinstance(context, dict) else None
        found += told if isinstance(told, list) else []
    return [interaction for interaction in found if isinstance(interaction, dict)]


# Down


def _bare(document: Document) -> Document:
    """The document without the keys that version 1 does not know."""
    header = {key: value for key, value in document.items() if key in HEADER_ORDER}
    return {**header, "history": [bare(entry) if entry["type"] == "run" else entry for entry in document["history"]]}


def _raw(document: Document) -> Document:
    kind = document["kind"]
    session_id, user_id = document["session_id"], document.get("user_id")
    is_pipeline = kind == "workflow" and document.get(_MODE) != "workflow"
    newest = {
        key: next((entry[key] for entry in reversed(document["history"]) if entry.get(key) is not None), None)
        for key in STATEFUL
    }
    session_data = dict(newest["session_data"] or {})
    if newest["session_state"] is not None:
        session_data["session_state"] = newest["session_state"]
    if document.get("name") is not None:
        session_data["session_name"] = document["name"]

    usual = TEAM_RUN if kind == "team" else WORKFLOW_RUN if is_pipeline else AGENT_RUN
    known = _known(document, kind)
    runs = []
    for entry in document["history"]:
        if entry["type"] == "run":
            other = kind != "workflow" and (entry.get("agent_id") or entry.get("team_id"))
            fields = (AGENT_RUN if entry.get("agent_id") else TEAM_RUN) if other else usual
            runs.append(run_down(entry if other else {**known, **entry}, session_id, fields))

    seconds = [seconds_of(record.get("created_at")) for record in (document, *document["history"])]
    others = {
        key: value
        for key, value in document.items()
        if key not in _RESERVED and key not in _TAKEN and key not in ("memory", "runs", "extra_data", KEY)
    }
    raw: Document = {
        "session_id": session_id,
        "user_id": user_id,
        **{key: document[key] for key in _IDS if document.get(key) is not None},
        f"{kind}_id": document.get(f"{kind}_id"),
        **others,
        "session_data": session_data,
        "extra_data": document.get("metadata", document.get("extra_data")),
        "created_at": seconds_of(document["created_at"]),
        "updated_at": next(
            (time for time in reversed(seconds) if time is not None), seconds_of(document["created_at"])
        ),
    }
    raw.setdefault(f"{kind}_data", None)
    if is_pipeline:
        return {**raw, "workflow_name": document.get("workflow_name"), "runs": runs}
    return {**raw, "memory": _memory(document.get("memory"), newest["session_summary"], session_id, user_id, runs)}


def _all_members(run: Document) -> list[Document]:
    members: list[Document] = run.get("member_responses") or []
    return [*members, *(inner for member in members for inner in _all_members(member))]


def _memory(kept: Any, summary: Any, session_id: str, user_id: str | None, runs: list[Document]) -> Document:
    """The memory, without what agno's present one does not take."""
    told = kept if isinstance(kept, dict) else {}
    memory: Document = {key: copied(told.get(key)) for key in ("summaries", "memories", "team_context")}
    memory = {key: value if isinstance(value, dict) else {} for key, value in memory.items()}
    if not memory["team_context"]:
        del memory["team_context"]
    by_id = {member["run_id"]: member for run in runs for member in _all_members(run)}
    for interaction in _interactions(memory):
        response = interaction.get("response")
        run_id = response.get("run_id") if isinstance(response, dict) and len(response) == 1 else None
        if isinstance(run_id, str) and run_id in by_id:
            interaction["response"] = by_id[run_id]
    if summary is not None:
        user = user_id or "default"
        of_user = memory["summaries"].get(user)
        said = summary if isinstance(summary, dict) else {"summary": summary}
        of_user = {**(of_user if isinstance(of_user, dict) else {}), session_id: said}
        memory["summaries"] = {**memory["summaries"], user: of_user}
    return {**memory, "runs": runs}

"""What a session of agno says beside its runs, and what of it is new."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from localstore.engine.engine import Snapshot
from localstore.errors import UnstorableValue
from localstore.format.values import json_equal, to_json_value
from localstore.format.versions import CannotUpgrade, Document
from localstore.format.versions.agno import is_pipeline, session_down, session_up, take_summary
from localstore.format.versions.values import is_empty
from localstore.integrations.agno.session_cache import MEMORY, Handed, Known, hand, interactions_of, state_of
from localstore.models.schema import SESSION_KEYS
from localstore.models.times import now

KEPT = (*SESSION_KEYS, MEMORY)
"""The keys of an entry that hold from there on for the session."""
LEFT = (
    "is of a form that agno left (AgentMemory, TeamMemory, WorkflowMemory). Nothing was written. "
    "Use agno.memory.v2.memory.Memory."
)
_CONTEXT = "team_context"
_CLEARED = ("session_state", "session_data")
"""What agno takes away by leaving it out."""
_FIXED = ("schema_version", "session_id", "kind", "user_id", "created_at")


@dataclass
class Parts:
    """A session as agno gives it, without its runs, in plain values."""

    header: Document
    state: Document
    interactions: list[Any] = field(default_factory=list)


@dataclass
class View:
    """What a document says of a session beside its header."""

    handed: list[Handed]
    current: Document
    interactions: list[Any]
    updated_at: str | None

    @classmethod
    def of(cls, snapshot: Snapshot, bare: list[Document]) -> "View":
        """`bare` are its runs in agno's form."""
        header, entries = snapshot.header, snapshot.entries
        updated_at = entries[-1].get("created_at") if entries else None
        handed = [hand(run, entry) for run, entry in zip(bare, (e for e in entries if e["type"] == "run"), strict=True)]
        return cls(handed, state_of(header, entries), list(interactions_of(entries)), updated_at)


def parts_of(raw: Document, kind: str, *, is_first: bool) -> Parts:
    """Raises UnstorableValue."""
    told: Document = {key: to_json_value(value, key) for key, value in raw.items()}
    memory = dict(told.pop(MEMORY, None) or {})
    data = told.get(f"{kind}_data")
    if isinstance(data, dict) and f"{kind}_id" in data:
        told[f"{kind}_data"] = {key: value for key, value in data.items() if key != f"{kind}_id"}
    if "create_user_memories" in memory:
        raise UnstorableValue(f"memory {LEFT}", where="memory")
    interactions: list[Any] = []
    try:
        summary = take_summary(memory, raw["session_id"], raw.get("user_id"))
        contexts = memory.pop(_CONTEXT, None) or {}
        context = contexts.get(raw["session_id"]) if isinstance(contexts, dict) else None
        if isinstance(context, dict):
            interactions = [_by_id(told) for told in context.get("member_interactions") or ()]
            if context.get("text") is not None:
                memory[_CONTEXT] = {raw["session_id"]: {"member_interactions": [], "text": context["text"]}}
        header, state = session_up(told, kind, [now()], is_first=is_first)
    except CannotUpgrade as error:
        raise UnstorableValue(f"A session of agno cannot be stored: {error}. Nothing was written.") from None
    if not is_empty(summary):
        state["session_summary"] = summary
    if memory := {key: value for key, value in memory.items() if not is_empty(value)}:
        state[MEMORY] = memory
    return Parts(header, {key: state[key] for key in KEPT if key in state}, interactions)


def _by_id(interaction: Any) -> Any:
    """What a member was told, and the id of its run in the place of the run."""
    response = interaction.get("response") if isinstance(interaction, dict) else None
    run_id = response.get("run_id") if isinstance(response, dict) else None
    return {**interaction, "response": {"run_id": run_id}} if run_id else interaction


def changed_header(known: Known, stored: Document, told: Document) -> Document:
    """What agno changed since it gave or was given it; it takes nothing away.

    The session stays with the agent, team or workflow that began it: agno makes up an id in every process for one
    that was given none.
    """
    entity = f"{stored['kind']}_id"
    fixed = _FIXED if stored.get(entity) is None else (*_FIXED, entity)
    changed = {
        key: value
        for key, value in told.items()
        if key not in fixed and not json_equal(value, known.given.get(key)) and not json_equal(value, stored.get(key))
    }
    return {**stored, **changed}


def changed_state(known: Known, told: Document) -> Document:
    wanted = dict(told)
    for key in _CLEARED:
        if not wanted.get(key) and known.given.get(key):
            wanted[key] = {}
    return {
        key: value
        for key, value in wanted.items()
        if not json_equal(value, known.given.get(key)) and not json_equal(value, known.current.get(key))
    }


def given_of(header: Document, current: Document) -> Document:
    return {**{key: value for key, value in header.items() if key not in _FIXED}, **current}


def session_of(header: Document, view: View, runs: list[Document]) -> Document:
    """The session in agno's form. It shares nothing with the header and the view."""
    header, current = orjson.loads(orjson.dumps([header, view.current]))
    memory = current.get(MEMORY) or {}
    if view.interactions:
        contexts = memory.get(_CONTEXT) or {}
        context = contexts.get(header["session_id"]) or {"text": None}
        told = [*(context.get("member_interactions") or ()), *(dict(told) for told in view.interactions)]
        memory[_CONTEXT] = {**contexts, header["session_id"]: {**context, "member_interactions": told}}
    raw = session_down({**header, MEMORY: memory}, current, runs, [header["created_at"], view.updated_at])
    for key in ("created_at", "updated_at"):
        raw[key] = int(raw[key] or 0)
    kind = header["kind"]
    if not is_pipeline(header) and raw.get(f"{kind}_data") and header.get(f"{kind}_id"):
        raw[f"{kind}_data"] = {f"{kind}_id": header[f"{kind}_id"], **raw[f"{kind}_data"]}
    return raw

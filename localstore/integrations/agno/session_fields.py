"""Convert sessions of agno 1.x without their runs, and find the fields that agno changed."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from localstore.engine.snapshot import Snapshot
from localstore.errors import UnstorableValue
from localstore.format.values import json_equal, to_json_value
from localstore.format.versions import CannotUpgrade, Document
from localstore.format.versions.agno import is_pipeline, session_down, session_up, take_summary
from localstore.format.versions.values import is_empty
from localstore.integrations.agno.session_cache import (
    MEMORY,
    CachedSession,
    ReadyRun,
    interactions_of,
    make_ready,
    state_of,
)
from localstore.models.schema import SESSION_KEYS
from localstore.models.times import now

STATE_KEYS = (*SESSION_KEYS, MEMORY)
"""The keys of an entry that hold the state of the session."""
OLD_MEMORY = (
    "is of a class that agno replaced (AgentMemory, TeamMemory, WorkflowMemory). Nothing was written. "
    "Use agno.memory.v2.memory.Memory."
)
_CONTEXT = "team_context"
_CLEARED = ("session_state", "session_data")
"""The state keys that agno clears by omitting them."""
_FIXED = ("schema_version", "session_id", "kind", "user_id", "created_at")
"""Header keys that never change."""


@dataclass
class SessionFields:
    """The fields of a session that agno passed, without its runs: the header and state of its document."""

    header: Document
    state: Document
    interactions: list[Any] = field(default_factory=list)
    """What the members of a team were asked and answered."""
    emptied: tuple[str, ...] = ()
    """Header keys for which agno passed an empty mapping."""


@dataclass
class SessionContent:
    """The content of a document except its header, in the form needed to build agno's session."""

    runs: list[ReadyRun]
    state: Document
    interactions: list[Any]
    updated_at: str | None

    @classmethod
    def of(cls, snapshot: Snapshot, bare: list[Document]) -> "SessionContent":
        """Return the content of a document. `bare` must hold its runs in agno's form, in the same order."""
        header, entries = snapshot.header, snapshot.entries
        updated_at = entries[-1].get("created_at") if entries else None
        run_entries = (entry for entry in entries if entry["type"] == "run")
        runs = [make_ready(run, entry) for run, entry in zip(bare, run_entries, strict=True)]
        return cls(runs, state_of(header, entries), list(interactions_of(entries)), updated_at)


def to_fields(session: Document, kind: str, *, is_first: bool) -> SessionFields:
    """Convert a session of agno, without its runs, to fields of a document. Does not change `session`.

    `is_first` is true if the session belongs to one of agno's first workflows.

    Raises UnstorableValue if a document cannot hold a value, or if the memory is of a class that agno replaced.
    """
    raw: Document = {key: to_json_value(value, key) for key, value in session.items()}
    memory = dict(raw.pop(MEMORY, None) or {})
    data = raw.get(f"{kind}_data")
    if isinstance(data, dict) and f"{kind}_id" in data:
        raw[f"{kind}_data"] = {key: value for key, value in data.items() if key != f"{kind}_id"}
    if "create_user_memories" in memory:
        raise UnstorableValue(f"memory {OLD_MEMORY}", where="memory")
    interactions: list[Any] = []
    try:
        summary = take_summary(memory, session["session_id"], session.get("user_id"))
        contexts = memory.pop(_CONTEXT, None) or {}
        context = contexts.get(session["session_id"]) if isinstance(contexts, dict) else None
        if isinstance(context, dict):
            interactions = [_with_run_id(item) for item in context.get("member_interactions") or ()]
            if context.get("text") is not None:
                memory[_CONTEXT] = {session["session_id"]: {"member_interactions": [], "text": context["text"]}}
        header, state = session_up(raw, kind, [now()], is_first=is_first)
    except CannotUpgrade as error:
        raise UnstorableValue(f"A session of agno cannot be stored: {error}. Nothing was written.") from None
    if not is_empty(summary):
        state["session_summary"] = summary
    if memory := {key: value for key, value in memory.items() if not is_empty(value)}:
        state[MEMORY] = memory
    emptied = [key for field_name, key in _header_keys(kind).items() if session.get(field_name) == {}]
    return SessionFields(header, {key: state[key] for key in STATE_KEYS if key in state}, interactions, tuple(emptied))


def _header_keys(kind: str) -> dict[str, str]:
    """Return the header keys of agno's fields that hold a mapping, by the name of the field."""
    return {"extra_data": "metadata", f"{kind}_data": f"{kind}_data"}


def _with_run_id(interaction: Any) -> Any:
    """Return a copy of the interaction with the member's run replaced by its id.

    Return the interaction itself if it contains no run with an id.
    """
    response = interaction.get("response") if isinstance(interaction, dict) else None
    run_id = response.get("run_id") if isinstance(response, dict) else None
    return {**interaction, "response": {"run_id": run_id}} if run_id else interaction


def changed_header(cached: CachedSession, stored: Document, fields: SessionFields) -> Document:
    """Return a copy of the `stored` header with the values that agno changed in those that it passed in `fields`.

    A value for which agno passes an empty mapping is removed. So is one that agno read or wrote before and no longer
    passes, if agno's sessions have a field for it. All other keys stay.

    The session keeps the agent, team or workflow that began it: if one has no id, agno generates a different id for it
    in every process.
    """
    passed = fields.header
    owner = f"{stored['kind']}_id"
    fixed = _FIXED if stored.get(owner) is None else (*_FIXED, owner)
    changed = {
        key: value
        for key, value in passed.items()
        if key not in fixed
        and not json_equal(value, cached.baseline.get(key))
        and not json_equal(value, stored.get(key))
    }
    cleared = [
        key
        for key in ("name", "team_session_id", *_header_keys(stored["kind"]).values())
        if not passed.get(key) and (key in fields.emptied or not is_empty(cached.baseline.get(key)))
    ]
    return {key: value for key, value in {**stored, **changed}.items() if key not in cleared}


def changed_state(cached: CachedSession, passed: Document) -> Document:
    """Return the values of the `passed` state that agno changed since its last read or write.

    Values that agno cleared are returned as `{}`. The result is empty if nothing changed.
    """
    state = dict(passed)
    for key in _CLEARED:
        if not state.get(key) and cached.baseline.get(key):
            state[key] = {}
    return {
        key: value
        for key, value in state.items()
        if not json_equal(value, cached.baseline.get(key)) and not json_equal(value, cached.state.get(key))
    }


def baseline_of(header: Document, state: Document) -> Document:
    """Return the values to compare agno's next session with: the header keys that may change, and the state."""
    return {**{key: value for key, value in header.items() if key not in _FIXED}, **state}


def to_session(header: Document, content: SessionContent, runs: list[Document]) -> Document:
    """Return the session in agno's form, with `runs` as its runs. It shares no values with `header` and `content`."""
    header, state = orjson.loads(orjson.dumps([header, content.state]))
    memory = state.get(MEMORY) or {}
    if content.interactions:
        contexts = memory.get(_CONTEXT) or {}
        context = contexts.get(header["session_id"]) or {"text": None}
        interactions = [*(context.get("member_interactions") or ()), *(dict(item) for item in content.interactions)]
        memory[_CONTEXT] = {**contexts, header["session_id"]: {**context, "member_interactions": interactions}}
    session = session_down({**header, MEMORY: memory}, state, runs, [header["created_at"], content.updated_at])
    if MEMORY in session:
        session[MEMORY] = {**memory, **session[MEMORY]}  # what agno's own memory does not have
    for key in ("created_at", "updated_at"):
        session[key] = int(session[key] or 0)
    kind = header["kind"]
    if not is_pipeline(header) and session.get(f"{kind}_data") and header.get(f"{kind}_id"):
        session[f"{kind}_data"] = {f"{kind}_id": header[f"{kind}_id"], **session[f"{kind}_data"]}
    return session

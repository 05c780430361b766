"""Convert sessions of agno 2.x and 3.x to the header and the state of a document, and back."""

from dataclasses import dataclass
from typing import Any

from localstore.format.agno_db.messages import to_seconds
from localstore.format.values import json_equal, to_json_value
from localstore.models.schema import SESSION_KEYS

_STORED_ELSEWHERE = ("runs", "session_id", "created_at", "updated_at", "session_type")
_RESERVED = ("$schema", "schema_version", "kind", "name", "tags", "history", "removed", "type")
_UNKNOWN_TO_AGNO = (*_RESERVED[:-1], "agno_empty", *SESSION_KEYS)


@dataclass(slots=True)
class SessionFields:
    """The fields of a session, separated into those of the document's header and the state, which entries hold."""

    header: dict[str, Any]
    state: dict[str, Any]


def to_fields(data: dict[str, Any]) -> SessionFields:
    """Convert a session that agno's `to_dict` returned. Does not change `data`, and ignores its runs.

    Raises UnstorableValue for a value that a document cannot hold.
    """
    fields = {
        key: to_json_value(value, key)
        for key, value in data.items()
        if key not in _STORED_ELSEWHERE and value is not None
    }
    session_data = fields.pop("session_data", None)
    summary = fields.pop("summary", None)
    header: dict[str, Any] = {f"agno_{key}" if key in _RESERVED else key: fields[key] for key in fields}
    empty: dict[str, Any] = {key: {} for key, value in header.items() if value == {}}
    header = {key: value for key, value in header.items() if key not in empty}
    if session_data is None and "session_data" in data:
        empty["session_data"] = None
    state: dict[str, Any] = {}
    if isinstance(session_data, dict):
        name = session_data.get("session_name")
        if isinstance(name, str) and name:
            header["name"] = session_data.pop("session_name")
        if isinstance(session_data.get("session_state"), dict):
            state["session_state"] = session_data.pop("session_state")
        if session_data:
            state["session_data"] = session_data
    if summary is not None:
        state["session_summary"] = summary
    if empty:
        header["agno_empty"] = empty
    return SessionFields(header, state)


def _empty_fields(header: dict[str, Any]) -> dict[str, Any]:
    """Return the value of `agno_empty` in the header of a document, or an empty mapping if it is not a mapping."""
    empty = header.get("agno_empty")
    return empty if isinstance(empty, dict) else {}


def to_record(header: dict[str, Any], current: dict[str, Any], updated_at: int) -> dict[str, Any]:
    """Return a session as agno's mapping, without its runs and without fields that have no value.

    Args:
        header: The header of the document.
        current: The newest state of the session.
        updated_at: When the document was last changed, in seconds since 1970.
    """
    record = {key.removeprefix("agno_"): value for key, value in header.items() if key not in _UNKNOWN_TO_AGNO}
    empty = _empty_fields(header)
    session_data = dict(current.get("session_data") or {})
    if current.get("session_state") is not None:
        session_data["session_state"] = current["session_state"]
    if header.get("name"):
        session_data["session_name"] = header["name"]
    record |= {key: value for key, value in empty.items() if record.get(key) is None}
    if session_data or "session_data" not in empty:
        record["session_data"] = session_data
    record["summary"] = current.get("session_summary") or None
    record["created_at"] = to_seconds(header["created_at"])
    record["updated_at"] = updated_at
    record["session_type"] = header["kind"]
    return record


def changed_header(
    session: SessionFields, base: SessionFields | None, stored: dict[str, Any], kind: str
) -> dict[str, Any]:
    """Return a copy of the `stored` header with the changes that agno made to the session since `base` was read.

    If `base` is None, all values of the session are set. `kind` is the kind of the session that agno stores; it may
    differ from that of the document, if an agent and a team share the session. The user of a session and the ids of
    these two kinds never change once they are set.
    """
    fixed = {"user_id", f"{stored['kind']}_id", f"{kind}_id"}
    new = {key: value for key, value in session.header.items() if key not in fixed or stored.get(key) is None}
    old = None if base is None else base.header
    result = _with_changes(stored, new, old, fixed)
    old_empty = None if old is None else old.get("agno_empty", {})
    empty = _with_changes(_empty_fields(stored), session.header.get("agno_empty", {}), old_empty, set())
    return {key: value for key, value in (result | {"agno_empty": empty}).items() if key != "agno_empty" or value}


def _with_changes(
    stored: dict[str, Any], new: dict[str, Any], base: dict[str, Any] | None, kept: set[str]
) -> dict[str, Any]:
    """Return `stored` with the keys that differ between `base` and `new`. Keys in `kept` are set but never removed.

    If `base` is None, all keys of `new` are set.
    """
    result = dict(stored)
    for key in {**new, **(base or {})}:
        if base is not None and (key in new) == (key in base) and json_equal(new.get(key), base.get(key)):
            continue
        if key in new:
            result[key] = new[key]
        elif key not in kept:
            result.pop(key, None)
    return result


def changed_state(session: SessionFields, base: SessionFields | None, current: dict[str, Any]) -> dict[str, Any]:
    """Return the state values that agno changed since `base` was read and that differ from the `current` state.

    If `base` is None, all values of the session count as changed. A value that agno removed is returned as "" (summary)
    or `{}`. The result is empty if nothing has to be stored.
    """
    changed = {}
    for key in ("session_state", "session_summary", "session_data"):
        new = session.state.get(key)
        old = base.state.get(key) if base else None
        if (
            (base and json_equal(new, old))
            or json_equal(new, current.get(key))
            or (new is None and not current.get(key))
        ):
            continue
        if new is not None:
            changed[key] = new
        elif base is not None:
            changed[key] = "" if key == "session_summary" else {}
    return changed

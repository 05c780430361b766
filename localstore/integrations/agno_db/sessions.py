"""A session of agno 2.x and 3.x as the header and the state of a document, and back."""

from dataclasses import dataclass
from typing import Any

from localstore.format.values import json_equal, to_json_value
from localstore.integrations.agno_db.messages import seconds_of
from localstore.models.schema import SESSION_KEYS

_NOT_OURS = ("runs", "session_id", "created_at", "updated_at", "session_type")
_NOT_AGNOS = ("$schema", "schema_version", "kind", "name", "tags", "history", "agno_empty", *SESSION_KEYS)
_RESERVED = ("$schema", "schema_version", "kind", "name", "tags", "history", "type")


@dataclass(slots=True)
class Parts:
    """A session as a document has it: keys of the header, and what holds for the session from an entry on."""

    header: dict[str, Any]
    state: dict[str, Any]


def parts_of(data: dict[str, Any]) -> Parts:
    """The parts for a session as agno's `to_dict` gives it. Raises UnstorableValue."""
    fields = {
        key: to_json_value(value, key) for key, value in data.items() if key not in _NOT_OURS and value is not None
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
    return Parts(header, state)


def record_of(header: dict[str, Any], current: dict[str, Any], updated_at: int, names: list[str]) -> dict[str, Any]:
    """The session as agno's stores hold it, without its runs; `names` are the fields that it always has."""
    record = dict.fromkeys(names)
    record |= {key.removeprefix("agno_"): value for key, value in header.items() if key not in _NOT_AGNOS}
    empty = header.get("agno_empty") or {}
    session_data = dict(current.get("session_data") or {})
    if current.get("session_state") is not None:
        session_data["session_state"] = current["session_state"]
    if header.get("name"):
        session_data["session_name"] = header["name"]
    record |= {key: value for key, value in empty.items() if record.get(key) is None}
    if session_data or "session_data" not in empty:
        record["session_data"] = session_data
    if "summary" in names:
        record["summary"] = current.get("session_summary") or None
    record["created_at"] = seconds_of(header["created_at"])
    record["updated_at"] = updated_at
    record["session_type"] = header["kind"]
    return record


def changed_header(mine: Parts, base: Parts | None, there: dict[str, Any]) -> dict[str, Any]:
    """The header of the document with what was changed here since the session was read. Who the session belongs to,
    and which agent, team or workflow it is of, is said once and stays."""
    result = dict(there)
    fixed = {"user_id", f"{there['kind']}_id"}
    for key in {**mine.header, **(base.header if base else {})}:
        new = mine.header.get(key)
        if (key in fixed and result.get(key) is not None) or (base and json_equal(new, base.header.get(key))):
            continue
        if new is None:
            result.pop(key, None)
        else:
            result[key] = new
    return result


def changed_state(mine: Parts, base: Parts | None, current: dict[str, Any]) -> dict[str, Any]:
    """What has to be said anew: what was changed here since it was read, and is not what the document says."""
    changed = {}
    for key in ("session_state", "session_summary", "session_data"):
        new = mine.state.get(key)
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

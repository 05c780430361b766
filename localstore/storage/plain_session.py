"""Sessions as plain values, for what only prints them. It does without the models, which take long to import."""

from dataclasses import dataclass, replace
from typing import Any

from localstore.engine.snapshot import Part, Snapshot
from localstore.format.versions.document_shape import fits
from localstore.models.schema import SESSION_KEYS, SHAPES, FieldType, RecordName
from localstore.storage.contract import SessionStorage
from localstore.storage.storage import Storage

_LAST = ("error", "status")
"""The keys of a run that come after unknown ones."""


@dataclass(frozen=True, slots=True)
class PlainSession:
    """A session as JSON values, in the form in which its model would be written."""

    header: dict[str, Any]
    history: list[dict[str, Any]]
    current: dict[str, Any]
    """The newest state, summary, data and instructions by key, without empty values."""


def read_plain(
    storage: SessionStorage, session_id: str, *, last_runs: int | None = None, most_runs: int | None = None
) -> PlainSession | None:
    """Read a session as plain values. The result, None and the errors are those of `storage.read`.

    With `most_runs`, the history ends before the next run after so many.

    >>> read_plain(storage, "trip", last_runs=0).header["kind"]
    'agent'
    """
    if isinstance(storage, Storage):
        snapshot = storage._engine.snapshot(session_id, lambda _: True, Part(last_runs, most=most_runs))
    else:
        session = storage.read(session_id, last_runs=last_runs)
        snapshot = None if session is None else session._base
        if snapshot is not None:
            snapshot = replace(snapshot, entries=Part(most=most_runs).among(snapshot.entries))
    return None if snapshot is None else plain_session(snapshot)


def plain_session(snapshot: Snapshot) -> PlainSession:
    """Return a snapshot as plain values. Raises DocumentBroken, which says where, if a value has the wrong type."""
    values = {**snapshot.header, **snapshot.current}
    if fits("header", {**values, "history": snapshot.entries}):
        header = _in_order("header", {key: value for key, value in values.items() if key not in SESSION_KEYS})
        history = [_in_order(_record_of(entry), entry) for entry in snapshot.entries]
        current = {key: values.get(key) for key in SESSION_KEYS}
    else:
        from localstore.models.validation import as_mappings
        from localstore.storage.checked_values import session_of

        session = session_of(snapshot)
        header, history, current = as_mappings(session), as_mappings(session.history), as_mappings(session.current())
    return PlainSession(header, history, {key: value for key, value in current.items() if value not in (None, "", {})})


def plain_entry(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return an entry in the form in which its model would be written, or None if it is not a valid one."""
    if isinstance(entry.get("type"), str) and fits(_record_of(entry), entry):
        return _in_order(_record_of(entry), entry)
    from pydantic import ValidationError

    from localstore.models.session import entry_adapter
    from localstore.models.validation import as_mappings

    try:
        written: dict[str, Any] = as_mappings(entry_adapter().validate_python(entry))
    except ValidationError:
        return None
    return written


def plain_question(run: dict[str, Any]) -> str:
    """Return the text of the first message of role `user` of a run; without one, the input if it is text; otherwise "".

    >>> plain_question({"type": "run", "messages": [{"role": "user", "content": "Which train?"}]})
    'Which train?'
    """
    for message in run.get("messages", ()):
        if message["role"] == "user":
            content = message.get("content") or ""
            return (
                content if isinstance(content, str) else "\n".join(part["text"] for part in content if "text" in part)
            )
    given = run.get("input")
    return given if isinstance(given, str) else ""


def _record_of(entry: dict[str, Any]) -> RecordName:
    return "run" if entry["type"] == "run" else "update" if entry["type"] == "update" else "entry"


def _in_order(name: RecordName, record: dict[str, Any]) -> dict[str, Any]:
    """Return a valid record with the known keys in the order of the format, without those that have no value."""
    fields = SHAPES[name].fields
    result = {key: _value(kind, value) for key, kind in fields.items() if (value := record.get(key)) is not None}
    if name == "tool_call":
        result.setdefault("arguments", {})
    unnamed = ("messages",) if name == "run" else ("tags", "metadata") if name == "header" else ()
    for key in unnamed:
        if not result.get(key):
            result.pop(key, None)
    others = {key: value for key, value in record.items() if key not in fields}
    last = {key: result.pop(key) for key in _LAST if key in result} if name == "run" and others else {}
    return result | others | last


def _value(kind: FieldType, value: Any) -> Any:
    if isinstance(value, list):
        item = kind.rpartition("list of ")[2]
        return [_in_order(_RECORDS[item], child) for child in value] if item in _RECORDS else value
    return _in_order(_RECORDS[kind], value) if kind in _RECORDS else value


_RECORDS: dict[str, RecordName] = {name: name for name in SHAPES}

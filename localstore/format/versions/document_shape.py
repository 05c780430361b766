"""What a document of version 1 is made of: the last look at what a step gives."""

from collections.abc import Callable
from typing import Any

from localstore.format.versions.step import CannotUpgrade, Document, Place
from localstore.format.versions.values import MAX_DEPTH, copied, is_number
from localstore.models.schema import KINDS

_Check = Callable[[Any, Place], None]


def checked(document: Document) -> Document:
    """The document. Raises CannotUpgrade when it is no valid one of version 1."""
    copied(document, (), MAX_DEPTH)
    _document(document, ())
    return document


def fits(check: _Check, value: Any) -> bool:
    """Whether the check passes."""
    try:
        check(value, ())
    except CannotUpgrade:
        return False
    return True


def _is(what: str, is_it: Callable[[Any], bool]) -> _Check:
    def check(value: Any, where: Place) -> None:
        if not is_it(value):
            raise CannotUpgrade(f"expected {what}", where)

    return check


def _record(fields: dict[str, _Check], *required: str) -> _Check:
    """A mapping with these fields, null or absent where not required, and any others."""

    def check(value: Any, where: Place) -> None:
        _mapping(value, where)
        for name in required:
            if value.get(name) is None:
                raise CannotUpgrade(f"expected a mapping with {name}", where)
        for name, field in value.items():
            if field is not None and name in fields:
                fields[name](field, (*where, name))

    return check


def _list_of(check_item: _Check) -> _Check:
    def check(value: Any, where: Place) -> None:
        if not isinstance(value, list):
            raise CannotUpgrade("expected a list", where)
        for index, item in enumerate(value):
            check_item(item, (*where, index))

    return check


def _content(value: Any, where: Place) -> None:
    if not isinstance(value, str):
        _list_of(content_part)(value, where)


def _member_runs(value: Any, where: Place) -> None:
    _list_of(run)(value, where)


def _entry(value: Any, where: Place) -> None:
    _mapping(value, where)
    {"run": run, "update": _update}.get(str(value.get("type")), _other)(value, where)


_mapping = _is("a mapping", lambda value: isinstance(value, dict))
_text = _is("text", lambda value: isinstance(value, str))
_integer = _is("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
_stateful: dict[str, _Check] = {"instructions": _text, "session_state": _mapping, "session_data": _mapping}
content_part = _record({"type": _text, "text": _text, "url": _text, "path": _text, "mime_type": _text}, "type")
_arguments = _is("a mapping or text", lambda value: isinstance(value, (dict, str)))
_tool_call = _record({"id": _text, "name": _text, "arguments": _arguments}, "name")
_message = _record(
    {
        "role": _text,
        "content": _content,
        "name": _text,
        "tool_calls": _list_of(_tool_call),
        "tool_call_id": _text,
        "state_changes": _mapping,
    },
    "role",
)
metrics = _record({"input_tokens": _integer, "output_tokens": _integer, "duration_seconds": _is("a number", is_number)})
step = _record(
    {
        "name": _text,
        "within": _list_of(_text),
        "created_at": _text,
        "messages": _list_of(_message),
        "member_runs": _member_runs,
        "session_state": _mapping,
        "question": _text,
        "metrics": metrics,
        "error": _text,
        "status": _text,
    },
    "name",
    "created_at",
)
run = _record(
    {
        "type": _is("run", lambda value: value == "run"),
        "run_id": _text,
        "agent_id": _text,
        "team_id": _text,
        "workflow_id": _text,
        "tool_call_id": _text,
        "replay_of": _text,
        "created_at": _text,
        "plan": _list_of(_text),
        "messages": _list_of(_message),
        "member_runs": _member_runs,
        "steps": _list_of(step),
        **_stateful,
        "state_conflicts": _list_of(_text),
        "model": _text,
        "metrics": metrics,
        "rating": _text,
        "rating_note": _text,
        "error": _text,
        "status": _text,
    },
    "type",
    "run_id",
    "created_at",
    "status",
)
_update = _record({"created_at": _text, **_stateful}, "created_at")
_other = _record({"type": _text, "created_at": _text}, "type")
_document = _record(
    {
        "schema_version": _is("1", lambda value: value == 1 and not isinstance(value, bool)),
        "session_id": _is("text that is not empty", lambda value: isinstance(value, str) and value != ""),
        "kind": _is(" or ".join(KINDS), lambda value: isinstance(value, str) and value in KINDS),
        "agent_id": _text,
        "team_id": _text,
        "workflow_id": _text,
        "user_id": _text,
        "name": _text,
        "tags": _list_of(_text),
        "metadata": _mapping,
        "forked_from": _record({"session_id": _text, "run_id": _text}, "session_id"),
        "created_at": _text,
        **_stateful,
        "history": _list_of(_entry),
    },
    "schema_version",
    "session_id",
    "kind",
    "created_at",
    "history",
)

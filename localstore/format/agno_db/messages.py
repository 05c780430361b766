"""Convert messages of agno 2.x and 3.x to messages of a document, and back. Both directions work on plain values.

A value is stored in the field that the format has for it; every other key keeps its name. agno writes `from_history:
false` and `stop_after_tool_call: false` into every message. A document omits them; `agno_absent` names those that a
message does not have.
"""

import json
from datetime import UTC, datetime
from typing import Any

from localstore.errors import UnstorableValue
from localstore.format.values import to_json_value

_DEFAULTS: dict[str, Any] = {"from_history": False, "stop_after_tool_call": False}
_CALL_KEYS = {"id", "type", "function"}


class NotRepresentable(Exception):
    """Raised if the format has no field for a value. The caller then stores the value as agno passed it."""


def to_time(seconds: Any) -> str:
    """Return whole seconds since 1970 as a time in the format: UTC with milliseconds.

    Raises NotRepresentable if `seconds` is not an int or is out of range.
    """
    if type(seconds) is not int:
        raise NotRepresentable
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        raise NotRepresentable from None


def to_seconds(time: Any) -> Any:
    """Return a time of the format as whole seconds since 1970, truncated. Return any other value unchanged."""
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except (TypeError, ValueError, OverflowError):
        return time


def to_message(data: Any) -> dict[str, Any]:
    """Return a message of agno in the form of a document. Does not change `data`.

    Raises NotRepresentable if the format has no field for a value.
    """
    if not isinstance(data, dict) or not isinstance(data.get("role"), str) or "agno_absent" in data:
        raise NotRepresentable
    rest = {key: value for key, value in data.items() if key not in _DEFAULTS or value is not False}
    message: dict[str, Any] = {"role": rest.pop("role")}
    if "content" in rest:
        message["content"] = _content(rest.pop("content"))
    for name in ("name", "tool_call_id"):
        if name in rest and not isinstance(rest[name], str):
            raise NotRepresentable
    if "tool_calls" in rest:
        if not isinstance(rest["tool_calls"], list):
            raise NotRepresentable
        message["tool_calls"] = [_to_call(call) for call in rest.pop("tool_calls")]
    if "created_at" in rest:
        rest["created_at"] = to_time(rest["created_at"])
    absent = [key for key in _DEFAULTS if key not in data]
    return message | rest | ({"agno_absent": absent} if absent else {})


def from_message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message of a document in agno's form. Does not change `message`."""
    data = _DEFAULTS | message
    for key in data.pop("agno_absent", ()):
        if key not in message:
            del data[key]
    content = data.get("content")
    if isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "data"}:
        data["content"] = content[0]["data"]
    if isinstance(data.get("tool_calls"), list):
        data["tool_calls"] = [_from_call(call) for call in data["tool_calls"]]
    if "created_at" in data:
        data["created_at"] = to_seconds(data["created_at"])
    return data


def _content(content: Any) -> Any:
    """Return content in the form of a document: text, None, or a list of parts. Anything else becomes a `data` part."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list) and content and all(_is_part(part) for part in content):
        return content
    return [{"type": "data", "data": content}]


def _is_part(part: Any) -> bool:
    texts = ("text", "url", "path", "mime_type")
    return (
        isinstance(part, dict)
        and isinstance(part.get("type"), str)
        and part["type"] != "data"
        and all(isinstance(part.get(name, ""), str) for name in texts)
    )


def _to_call(call: Any) -> dict[str, Any]:
    """Convert `{id, type, function: {name, arguments}}` to `{id, name, arguments}`.

    The exact text of the arguments is kept in `agno_arguments` if it cannot be derived from the parsed ones. Raises
    NotRepresentable for any other shape.
    """
    function = call.get("function") if isinstance(call, dict) else None
    if (
        not isinstance(function, dict)
        or function.keys() != {"name", "arguments"}
        or not isinstance(function["name"], str)
        or not isinstance(function["arguments"], str)
        or not isinstance(call.get("id", ""), str)
        or call.get("type") != "function"
        or {"name", "arguments", "agno_arguments"} & call.keys()
    ):
        raise NotRepresentable
    text = function["arguments"]
    arguments = _parse_object(text)
    result: dict[str, Any] = {"id": call["id"]} if "id" in call else {}
    result |= {"name": function["name"], "arguments": text if arguments is None else arguments}
    if arguments is not None and json.dumps(arguments) != text:
        result["agno_arguments"] = text
    return result | {key: value for key, value in call.items() if key not in _CALL_KEYS}


def _parse_object(text: str) -> dict[str, Any] | None:
    """Parse `text` as a JSON object. Return None if it is not one, or if a document cannot hold it."""
    try:
        value = to_json_value(json.loads(text))
    except (ValueError, RecursionError, UnstorableValue):
        return None
    return value if isinstance(value, dict) else None


def _from_call(call: dict[str, Any]) -> dict[str, Any]:
    """Convert a tool call of a document to agno's form."""
    arguments = call.get("arguments", {})
    text = call.get("agno_arguments", arguments if isinstance(arguments, str) else json.dumps(arguments))
    if not isinstance(arguments, str) and _parse_object(text) != arguments:
        text = json.dumps(arguments)  # somebody edited the arguments in the document
    fields = {"id", "name", "arguments", "agno_arguments"}
    head = {"id": call["id"]} if "id" in call else {}
    function = {"name": call.get("name"), "arguments": text}
    return {**head, "function": function, "type": "function"} | {k: v for k, v in call.items() if k not in fields}

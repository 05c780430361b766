"""A message of agno 2.x and 3.x as a message of a document, and back. Both directions work on plain values.

What has a field in the format goes there; every other key keeps its name. `from_history: false` and
`stop_after_tool_call: false` say nothing and are left out.
"""

import json
from datetime import UTC, datetime
from typing import Any

from localstore.errors import UnstorableValue
from localstore.format.values import to_json_value

_SAYS_NOTHING = {"from_history": False, "stop_after_tool_call": False}
_CALL = {"id", "type", "function"}


class Odd(Exception):
    """A value that this form has no place for: whoever asked keeps it as agno gave it."""


def time_of(seconds: Any) -> str:
    """agno's whole seconds as a time of the format. Raises Odd."""
    if type(seconds) is not int:
        raise Odd
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        raise Odd from None


def seconds_of(time: Any) -> Any:
    """A time of the format as agno's whole seconds; what is no time stays as it is."""
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except (TypeError, ValueError, OverflowError):
        return time


def without_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """A message of agno without what says nothing: agno reads the same."""
    return {key: value for key, value in data.items() if key not in _SAYS_NOTHING or value is not False}


def message_of(data: Any) -> dict[str, Any]:
    """The document's form of a message. Raises Odd."""
    if not isinstance(data, dict) or not isinstance(data.get("role"), str):
        raise Odd
    rest = without_defaults(data)
    message: dict[str, Any] = {"role": rest.pop("role")}
    if "content" in rest:
        message["content"] = _content(rest.pop("content"))
    for name in ("name", "tool_call_id"):
        if name in rest and not isinstance(rest[name], str):
            raise Odd
    if "tool_calls" in rest:
        if not isinstance(rest["tool_calls"], list):
            raise Odd
        message["tool_calls"] = [_call(call) for call in rest.pop("tool_calls")]
    if "created_at" in rest:
        rest["created_at"] = time_of(rest["created_at"])
    return message | rest


def data_of(message: dict[str, Any]) -> dict[str, Any]:
    """The message as agno writes it."""
    data = dict(message)
    content = data.get("content")
    if isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "data"}:
        data["content"] = content[0]["data"]
    if isinstance(data.get("tool_calls"), list):
        data["tool_calls"] = [_agno_call(call) for call in data["tool_calls"]]
    if "created_at" in data:
        data["created_at"] = seconds_of(data["created_at"])
    return data


def _content(content: Any) -> Any:
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


def _call(call: Any) -> dict[str, Any]:
    """`{id, type, function: {name, arguments}}` as `{id, name, arguments}`."""
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
        raise Odd
    text = function["arguments"]
    arguments = _object(text)
    result: dict[str, Any] = {"id": call["id"]} if "id" in call else {}
    result |= {"name": function["name"], "arguments": text if arguments is None else arguments}
    if arguments is not None and json.dumps(arguments) != text:
        result["agno_arguments"] = text
    return result | {key: value for key, value in call.items() if key not in _CALL}


def _object(text: str) -> dict[str, Any] | None:
    """The object that the model wrote, None when it is none or no document can hold it."""
    try:
        value = to_json_value(json.loads(text))
    except (ValueError, RecursionError, UnstorableValue):
        return None
    return value if isinstance(value, dict) else None


def _agno_call(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call.get("arguments", {})
    text = call.get("agno_arguments", arguments if isinstance(arguments, str) else json.dumps(arguments))
    if not isinstance(arguments, str) and _object(text) != arguments:
        text = json.dumps(arguments)  # a person changed them
    known = {"id", "name", "arguments", "agno_arguments"}
    head = {"id": call["id"]} if "id" in call else {}
    function = {"name": call.get("name"), "arguments": text}
    return {**head, "function": function, "type": "function"} | {k: v for k, v in call.items() if k not in known}

"""Messages as steps of ATIF (Agent Trajectory Interchange Format, version 1.8), and back.

ATIF has no fields for some parts of a message. A step or a result from which the same message cannot be made again
contains the whole message, in `extra.localstore.message`.
"""

from typing import Any, Literal

import orjson

VERSION = "ATIF-v1.8"
OWN = "localstore"
"""The key in `extra` for what ATIF has no field for."""
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_AUDIO = (
    *("audio/wav", "audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/flac", "audio/webm"),
    "audio/aiff",
)
_MEDIA_TYPES = {"image": _IMAGES, "audio": _AUDIO}
_SOURCES: dict[str, Literal["user", "agent", "system"]] = {"user": "user", "assistant": "agent"}
_ROLES = {"user": "user", "agent": "assistant"}

Message = dict[str, Any]
Step = dict[str, Any]


def to_step(message: Message) -> Step:
    """Return the step for a message that is not the result of a tool.

    >>> to_step({"role": "user", "content": "hi"})
    {'source': 'user', 'message': 'hi'}
    """
    step: Step = {
        "source": _SOURCES.get(message["role"], "system"),
        "message": _to_content(message.get("content")) or "",
    }
    if step["source"] == "agent":
        if isinstance(message.get("reasoning"), str):
            step["reasoning_content"] = message["reasoning"]
        calls = message.get("tool_calls") or []
        if calls:
            step["tool_calls"] = [_to_call(call, number) for number, call in enumerate(calls)]
    return _with_message(step, to_message(step), message)


def to_message(step: Step) -> Message:
    """Return the message of a step, without the results in its observation.

    >>> to_message({"source": "agent", "message": "Hello!"})
    {'role': 'assistant', 'content': 'Hello!'}
    """
    message: Message = {"role": _ROLES.get(str(step.get("source")), "system")}
    if (content := _from_content(step.get("message"))) not in (None, ""):
        message["content"] = content
    if isinstance(calls := step.get("tool_calls"), list) and calls:
        message["tool_calls"] = [_from_call(call) for call in calls if isinstance(call, dict)]
    if isinstance(step.get("reasoning_content"), str):
        message["reasoning"] = step["reasoning_content"]
    return message


def to_result(message: Message, *, is_answer: bool = True) -> dict[str, Any]:
    """Return the result in an observation for a message of role `tool`.

    If it does not answer a call of its step, `is_answer` is false: ATIF allows it no id of a call then.

    >>> to_result({"role": "tool", "content": "7:58", "tool_call_id": "c1"})
    {'source_call_id': 'c1', 'content': '7:58'}
    """
    result: dict[str, Any] = {}
    if is_answer and message.get("tool_call_id") is not None:
        result["source_call_id"] = message["tool_call_id"]
    result["content"] = _to_content(message.get("content")) or ""
    return _with_message(result, from_result(result), message)


def from_result(result: dict[str, Any]) -> Message:
    """Return the message of role `tool` for a result in an observation.

    >>> from_result({"source_call_id": "c1", "content": "7:58"})
    {'role': 'tool', 'content': '7:58', 'tool_call_id': 'c1'}
    """
    message: Message = {"role": "tool"}
    if (content := _from_content(result.get("content"))) not in (None, ""):
        message["content"] = content
    if isinstance(result.get("source_call_id"), str):
        message["tool_call_id"] = result["source_call_id"]
    return message


def own_values(value: dict[str, Any]) -> dict[str, Any]:
    """Return what a trajectory, a step or a result holds in `extra.localstore`."""
    extra = value.get("extra")
    own = extra.get(OWN) if isinstance(extra, dict) else None
    return own if isinstance(own, dict) else {}


def _with_message(value: dict[str, Any], back: Message, message: Message) -> dict[str, Any]:
    """Return `value`. If `back`, the message made from it, differs from `message`, it contains the whole message."""
    if orjson.dumps(back) == orjson.dumps(message):
        return value
    return {**value, "extra": {OWN: {"message": message}}}


def _to_content(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    parts = []
    for part in content:
        kind = part["type"]
        address = part.get("url") or part.get("path")
        if kind == "text" and isinstance(part.get("text"), str):
            parts.append({"type": "text", "text": part["text"]})
        elif part.get("mime_type") in _MEDIA_TYPES.get(kind, ()) and isinstance(address, str):
            parts.append({"type": kind, "source": {"media_type": part["mime_type"], "path": address}})
        else:
            parts.append({"type": "text", "text": f"[{kind}]"})
    return parts


def _from_content(content: Any) -> Any:
    if not isinstance(content, list):
        return content if isinstance(content, str) or content is None else [{"type": "data", "data": content}]
    parts = []
    for part in content:
        source = part.get("source") if isinstance(part, dict) else None
        if isinstance(part, dict) and part.keys() == {"type", "text"} and isinstance(part["text"], str):
            parts.append(part)
        elif isinstance(source, dict) and part.keys() == {"type", "source"} and isinstance(source.get("path"), str):
            address = "url" if ":" in source["path"] else "path"
            known = {"type": str(part["type"]), address: source["path"]}
            if isinstance(source.get("media_type"), str):
                known["mime_type"] = source["media_type"]
            rest = {key: value for key, value in source.items() if key not in ("path", "media_type")}
            parts.append(known | rest if "type" not in rest else {"type": "data", "data": part})
        else:
            parts.append({"type": "data", "data": part})
    return parts


def _to_call(call: dict[str, Any], number: int) -> dict[str, Any]:
    values = call["arguments"]
    return {
        "tool_call_id": call.get("id") or f"call_{number + 1}",
        "function_name": call["name"],
        "arguments": values if isinstance(values, dict) else {"arguments": values},
    }


def _from_call(call: dict[str, Any]) -> dict[str, Any]:
    used = ("tool_call_id", "function_name", "arguments")
    values = call.get("arguments")
    result = {"id": call["tool_call_id"]} if isinstance(call.get("tool_call_id"), str) else {}
    result["name"] = call["function_name"] if isinstance(call.get("function_name"), str) else "tool"
    result["arguments"] = values if isinstance(values, (dict, str)) else {} if values is None else {"arguments": values}
    rest = {key: value for key, value in call.items() if key not in used and value is not None}
    return {**result, **({"imported": rest} if rest else {})}

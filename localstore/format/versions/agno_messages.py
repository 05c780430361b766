"""Convert messages and metrics of agno 1.x to the format, and back."""

import json
from math import floor
from typing import Any

from localstore.format.versions.document_shape import fits
from localstore.format.versions.step import CannotUpgrade, Document, Place
from localstore.format.versions.values import is_empty, is_number, items, mapping, object_in, seconds_of, text, to_time

FROM_HISTORY = "from_history"
_DEFAULTS = {FROM_HISTORY: False, "stop_after_tool_call": False, "add_to_agent_memory": True}
_CONVERTED = {"role", "content", "name", "tool_calls", "tool_call_id", "metrics", "created_at", *_DEFAULTS}
_ARGUMENTS_DEPTH = 150
"""Tool call arguments with more nested levels are kept as text."""


def message_up(raw: Document, where: Place, run_created_at: str) -> Document:
    """Return a message of agno in the form of the format. Does not change `raw`.

    Its time is omitted if it is `run_created_at`, the time of its run, without the milliseconds. Raises CannotUpgrade,
    with a path below `where`, if the message is invalid.
    """
    role = text(raw.get("role"), (*where, "role"))
    if role is None:
        raise CannotUpgrade("expected a message with a role", where)
    message: Document = {"role": role}
    if (content := raw.get("content")) is not None:
        message["content"] = _content_up(content, (*where, "content"))
    if (name := text(raw.get("name"), (*where, "name"))) is not None:
        message["name"] = name
    place = (*where, "tool_calls")
    if calls := items(raw.get("tool_calls"), place, "a list of tool calls"):
        message["tool_calls"] = [_tool_call_up(call, (*place, index)) for index, call in enumerate(calls)]
    if (call_id := text(raw.get("tool_call_id"), (*where, "tool_call_id"))) is not None:
        message["tool_call_id"] = call_id
    for key, value in raw.items():
        if key not in _CONVERTED and not is_empty(value):
            message[key] = value
    for key, default in _DEFAULTS.items():
        if raw.get(key) is not None and raw[key] is not default:
            message[key] = raw[key]
    if metrics := metrics_up(raw.get("metrics"), (*where, "metrics")):
        message["metrics"] = metrics
    created_at = to_time(raw.get("created_at"), (*where, "created_at"))
    if created_at is not None and created_at != _whole_second(run_created_at):
        message["created_at"] = created_at
    return message


def message_down(message: Document, run_time: float | None) -> Document:
    """Return a message in agno's form. Does not change `message`.

    `run_time` is the time of its run in seconds since 1970. It is used if the message has no time.
    """
    raw = dict(message)
    calls, metrics = raw.pop("tool_calls", None), raw.pop("metrics", None)
    raw.setdefault(FROM_HISTORY, False)
    raw.setdefault("stop_after_tool_call", False)
    if calls:
        raw["tool_calls"] = [_tool_call_down(call) for call in calls]
    if isinstance(metrics, dict):
        raw["metrics"] = metrics_down(metrics)
    raw["created_at"] = floor((seconds_of(raw["created_at"]) if "created_at" in raw else run_time) or 0)
    return raw


def _whole_second(time: str) -> str:
    """Return a time of the format with its milliseconds set to 0."""
    return f"{time[: len('2026-11-22T07:01:20')]}.000Z"


def _content_up(content: Any, where: Place) -> Any:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise CannotUpgrade("expected text or a list of content parts", where)
    return [_part_up(part) for part in content]


def _part_up(part: Any) -> Document:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if fits("content_part", part):
        kept: Document = part
        return kept
    return {"type": "data", "data": part}  # a part in the provider's own form


def _tool_call_up(raw: Any, where: Place) -> Document:
    rest = dict(mapping(raw, where, "a tool call"))
    function = rest.pop("function", None)
    place = where
    if function is None:  # some providers do not nest the function
        function = rest
    else:
        place = (*where, "function")
        function = dict(mapping(function, place, "a function"))
    name = text(function.pop("name", None), (*place, "name"))
    if name is None:
        raise CannotUpgrade("expected a tool call with the name of its function", where)
    arguments = function.pop("arguments", None)
    if isinstance(arguments, str):
        parsed = object_in(arguments, _ARGUMENTS_DEPTH)
        arguments = arguments if parsed is None else parsed
    elif arguments is None:
        arguments = {}
    elif not isinstance(arguments, dict):
        raise CannotUpgrade("expected arguments that are text or a mapping", (*place, "arguments"))
    call: Document = {}
    if (call_id := text(rest.pop("id", None), (*where, "id"))) is not None:
        call["id"] = call_id
    call |= {"name": name, "arguments": arguments}
    if rest.get("type") == "function":
        del rest["type"]
    call |= {key: value for key, value in rest.items() if not is_empty(value)}
    if function is not rest and (more := {key: value for key, value in function.items() if not is_empty(value)}):
        call["function"] = more
    return call


def _tool_call_down(call: Document) -> Document:
    raw = {key: value for key, value in call.items() if key not in ("name", "arguments", "function")}
    arguments = call.get("arguments")
    written = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    function = {"name": call["name"], "arguments": written}
    if isinstance(more := call.get("function"), dict):
        function = {**more, **function}
    return {"type": "function", **raw, "function": function}


# agno 1.x stores the metrics of a run as lists with one number per model call, and those of a message as numbers.

_SECONDS, _TIME = "duration_seconds", "time"
"""The keys of the duration, in the format and in agno."""
_NUMBERS = ("input_tokens", "output_tokens", _TIME, _SECONDS)
_WHOLE = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")


def metrics_up(raw: Any, where: Place) -> Document:
    """Return metrics of agno in the form of the format; {} for None. Does not change `raw`.

    Lists become sums, and zeros and empty values are omitted. Token counts come first. Raises CannotUpgrade if a token
    count is not a whole number or a duration is not a number.
    """
    agno_metrics = mapping(raw, where, "a mapping of metrics")
    metrics: Document = {}
    for key in sorted(agno_metrics, key=lambda key: _NUMBERS.index(key) if key in _NUMBERS else len(_NUMBERS)):
        value = _sum(agno_metrics[key])
        if is_empty(value) or (is_number(value) and value == 0):
            continue
        if key in (*_NUMBERS, *_WHOLE) and not is_number(value):
            raise CannotUpgrade("expected a number or a list of numbers", (*where, key))
        if key in _WHOLE and not isinstance(value, int):
            if not value.is_integer():
                raise CannotUpgrade("expected whole numbers", (*where, key))
            value = int(value)
        metrics[_SECONDS if key == _TIME and _SECONDS not in agno_metrics else key] = value
    return metrics


def metrics_down(metrics: Document) -> Document:
    """Return a copy of `metrics` with the names that agno uses."""
    if _SECONDS not in metrics or _TIME in metrics:
        return dict(metrics)
    return {_TIME if key == _SECONDS else key: value for key, value in metrics.items()}


def as_lists(metrics: Document) -> Document:
    """Return a copy of `metrics` with each single value in a list, the form in which agno stores run metrics."""
    return {key: value if isinstance(value, list) else [value] for key, value in metrics.items()}


def _sum(value: Any) -> Any:
    """Return the sum of a list of numbers, or of a list of mappings by key. Return any other value unchanged."""
    if not isinstance(value, list):
        return value
    numbers = [item for item in value if item is not None]
    if all(is_number(item) for item in numbers):
        return sum(numbers)
    if not all(isinstance(item, dict) for item in numbers):
        return value
    if len(numbers) == 1:
        return numbers[0]
    sums: dict[str, Any] = {}
    for item in numbers:
        for key, number in item.items():
            if number is None:
                continue
            if not is_number(number):
                return value
            sums[key] = sums.get(key, 0) + number
    return sums

"""Ignore and restore the fields of tool calls that agno 1.8 loses when it reads a run.

Such a loss is not a change to the run. agno replaces the time of the call with the time when agno was imported, drops
`answered`, and turns null into empty values.
"""

from collections.abc import Callable
from typing import Any

from localstore.format.values import json_equal
from localstore.format.versions import Document
from localstore.format.versions.values import is_empty

_LOST = ("created_at", "answered")
_CONTAINERS = (
    *("tools", "tool", "events"),
    *("member_responses", "step_responses", "response"),
    *("member_runs", "steps"),
)
"""The keys of runs, entries, events, member runs and steps below which tool calls are found."""


def without_lost_fields(run: Document) -> Document:
    """Return a copy of `run` without the fields that agno loses. It is equal before and after agno reads the run."""
    stripped: Document = _map_calls(run, _strip)
    return stripped


def with_lost_fields(entry: Document, stored: Document) -> Document:
    """Return a copy of `entry` with the fields of its tool calls that agno lost, taken from the `stored` entry.

    Changes neither argument. The result may share values with both.
    """
    stored_calls: dict[str, Document] = {}

    def collect(call: Document) -> Document:
        return stored_calls.setdefault(str(call["tool_call_id"]), call)

    def restore(call: Document) -> Document:
        old = stored_calls.get(str(call["tool_call_id"]))
        if old is None:
            return call
        if json_equal(_strip(old), _strip(call)):
            return old
        lost = {key: old[key] for key in _LOST if key in old and (key == "created_at" or call.get(key) is None)}
        return {**call, **lost}

    _map_calls(stored, collect)
    restored: Document = _map_calls(entry, restore) if stored_calls else entry
    return restored


def _map_calls(value: Any, change: Callable[[Document], Document]) -> Any:
    """Return a copy of a run, or of a part of one, with each tool call replaced by the result of `change`."""
    if isinstance(value, list):
        return [_map_calls(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    if "tool_call_id" in value and "tool_name" in value:
        return change(value)
    inner = {key: _map_calls(value[key], change) for key in _CONTAINERS if value.get(key)}
    return {**value, **inner} if inner else value


def _strip(call: Document) -> Document:
    """Return a copy of a tool call without empty values and without the fields that agno loses."""
    return {key: value for key, value in call.items() if key not in _LOST and not is_empty(value)}

"""What agno 1.8 forgets of a tool call when it reads a run, which does not mean that the run was changed.

For the time of the call agno takes the one at which it was imported itself, whether it was answered is gone, and what
was null comes back empty.
"""

from collections.abc import Callable
from typing import Any

from localstore.format.values import json_equal
from localstore.format.versions import Document
from localstore.format.versions.values import is_empty

_FORGOTTEN = ("created_at", "answered")
_HOLDING = (
    *("tools", "tool", "events"),
    *("member_responses", "step_responses", "response"),
    *("member_runs", "steps"),
)
"""Where tool calls stand in a run of agno and in the entry that is made of it, its events, members and steps."""


def without_forgotten(run: Document) -> Document:
    """The run as agno remembers it: equal before agno read it and after."""
    found: Document = _with_calls(run, _remembered)
    return found


def with_forgotten(entry: Document, before: Document) -> Document:
    """The entry of a run, with what was stored before of its tool calls, and agno forgot."""
    stored: dict[str, Document] = {}

    def note(call: Document) -> Document:
        return stored.setdefault(str(call["tool_call_id"]), call)

    def restore(call: Document) -> Document:
        old = stored.get(str(call["tool_call_id"]))
        if old is None:
            return call
        if json_equal(_remembered(old), _remembered(call)):
            return old
        known = {key: old[key] for key in _FORGOTTEN if key in old and (key == "created_at" or call.get(key) is None)}
        return {**call, **known}

    _with_calls(before, note)
    found: Document = _with_calls(entry, restore) if stored else entry
    return found


def _with_calls(value: Any, change: Callable[[Document], Document]) -> Any:
    """A run, or what it holds, with each of its tool calls changed."""
    if isinstance(value, list):
        return [_with_calls(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    if "tool_call_id" in value and "tool_name" in value:
        return change(value)
    inner = {key: _with_calls(value[key], change) for key in _HOLDING if value.get(key)}
    return {**value, **inner} if inner else value


def _remembered(call: Document) -> Document:
    return {key: value for key, value in call.items() if key not in _FORGOTTEN and not is_empty(value)}

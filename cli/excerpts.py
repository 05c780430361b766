"""Formats the messages of a session alone, or the tool calls alone, for a person who wants to read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from localstore.format.item_messages import item_messages

from .pieces import Piece
from .transcript import STATUS_COLOURS, STEP, WHO, Transcript, compact

_PROMPTS = ("system", "developer")
"""The roles of messages that are instructions, and not part of the conversation."""


class Excerpts:
    """Formats the messages of runs, their tool calls, or both in the order in which they came."""

    def __init__(self, transcript: Transcript, *, messages: bool, tools: bool) -> None:
        self._transcript = transcript
        self._messages = messages
        self._tools = tools

    def entry(self, entry: dict[str, Any], number: int | None = None) -> Iterator[Piece]:
        """Yield what is shown of a run or an item: nothing of another entry, or if there is nothing to show."""
        if messages := item_messages(entry):
            yield from self._texts(messages, 0, contents=self._messages)
            return
        if entry["type"] != "run":
            return
        indent = 0 if self._messages else STEP
        said = _conversation(entry) if self._messages else entry.get("messages", ())
        pieces = list(self._texts(said, indent, contents=self._messages))
        if self._tools:
            pieces += self._calls_inside(entry, indent)
        if pieces and not self._messages:
            yield Piece(f"run {number}", style="bold")
        yield from pieces
        status = compact(entry.get("status", "completed"))
        if self._messages and status != "completed":
            reason = f": {entry['error']}" if entry.get("error") else ""
            yield Piece(f"{status}{reason}", style=STATUS_COLOURS.get(status, "bold"))

    def _calls_inside(self, record: dict[str, Any], indent: int) -> Iterator[Piece]:
        """Yield the tool calls in the runs of members and in the steps of a run or a step, each below its heading."""
        inside = [(_member(run), run) for run in record.get("member_runs", ())]
        inside += [(_step(step), step) for step in record.get("steps", ())]
        for heading, inner in inside:
            pieces = list(self._texts(inner.get("messages", ()), indent + STEP, contents=False))
            pieces += self._calls_inside(inner, indent + STEP)
            if pieces:
                yield Piece(heading, indent, "bold")
                yield from pieces

    def _texts(self, messages: Iterable[dict[str, Any]], indent: int, *, contents: bool) -> Iterator[Piece]:
        calls: dict[str, str] = {}
        for message in messages:
            wanted = {"role", "name", "tool_call_id"}
            wanted |= {"tool_calls"} if self._tools else set()
            is_result = message["role"] == "tool"
            if self._tools if is_result else contents and message["role"] not in _PROMPTS:
                wanted |= {"content"}
            shown = {key: value for key, value in message.items() if key in wanted}
            if shown.get("content") or shown.get("tool_calls") or (is_result and self._tools):
                yield from self._transcript.message(shown, indent, calls)


def _conversation(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a run, with its input as the question and its output as the answer if it has no other."""
    messages = list(run.get("messages", ()))
    if "input" in run and all(message["role"] != "user" for message in messages):
        messages.insert(0, {"role": "user", "content": _text(run["input"])})
    if "output" in run and not any(message["role"] == "assistant" and message.get("content") for message in messages):
        messages.append({"role": "assistant", "content": _text(run["output"])})
    return messages


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _member(run: dict[str, Any]) -> str:
    return " ".join(["member", *(compact(run[name]) for name in WHO if name in run)])


def _step(step: dict[str, Any]) -> str:
    return "step " + " / ".join(map(compact, [*step.get("within", ()), step["name"]]))

"""Read the items of OpenAI's Responses API, which Codex CLI and the OpenAI Agents SDK store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localstore.maintenance.importing.fields import items, mapping, text
from localstore.maintenance.importing.parts import arguments, openai_part, simplified
from localstore.maintenance.importing.runs import IMPORTED, Turn

_CALLS = {"function_call": "arguments", "custom_tool_call": "input", "local_shell_call": "action"}
"""The items that are tool calls, with the key of the arguments."""
_RESULTS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output")
_USED = ("type", "role", "content", "name", "call_id", "arguments", "input", "action", "output", "summary")


@dataclass(slots=True)
class ItemReader:
    """Makes turns of items. Call `turn` with the items of one conversation, in order."""

    is_of_program: Callable[[str], bool]
    """Whether a message of the user, given by its text, was written by the program."""
    answers: int = 0
    """The number of messages and results so far that end an answer of the model."""

    def turn(self, item: dict[str, Any]) -> Turn:
        """Return the turn of an item. The items of one answer have the same `answer_id`."""
        kind = item.get("type") if isinstance(item.get("type"), (str, type(None))) else ""
        rest = {key: value for key, value in item.items() if key not in _USED and value is not None}
        if kind in (None, "message") and isinstance(item.get("role"), str) and item["role"]:
            return self._message(item, rest)
        if kind in _CALLS:
            known = isinstance(item.get("call_id"), str)
            call = {"name": text(item.get("name")) or kind, "arguments": arguments(item.get(_CALLS[kind]))}
            message = {"role": "assistant", "tool_calls": [{"id": item["call_id"], **call} if known else call]}
            return Turn(message | _imported(rest), answer_id=self._answer_id)
        if kind in _RESULTS:
            self.answers += 1
            message = {"role": "tool", **_content(item.get("output")), **_imported(rest)}
            if call_id := text(item.get("call_id")):
                message["tool_call_id"] = call_id
            return Turn(message)
        if kind == "reasoning":
            summary = [text(mapping(part).get("text")) for part in items(item.get("summary"))]
            thought = "\n\n".join(part for part in summary if part)
            message = {"role": "assistant", **({"reasoning": thought} if thought else {})}
            return Turn(message | _imported({"content": [{"type": kind, **rest}]}), answer_id=self._answer_id)
        return Turn(other=item)

    @property
    def _answer_id(self) -> str:
        return f"answer {self.answers}"

    def _message(self, item: dict[str, Any], rest: dict[str, Any]) -> Turn:
        content = _content(item.get("content"))
        message = {"role": item["role"], **content, **_imported(rest)}
        if item["role"] == "assistant":
            return Turn(message, answer_id=self._answer_id)
        self.answers += 1
        said = content.get("content", "")
        beginning = said if isinstance(said, str) else next((part["text"] for part in said if "text" in part), "")
        if item["role"] == "user" and self.is_of_program(beginning):
            message["role"] = "developer"
        return Turn(message, is_question=message["role"] == "user")


def _content(value: Any) -> dict[str, Any]:
    """Return the content of a message as its key, or nothing if there is none."""
    parts = [openai_part(part) for part in (value if isinstance(value, list) else [value]) if part is not None]
    content = simplified(parts)
    return {} if content is None else {"content": content}


def _imported(rest: dict[str, Any]) -> dict[str, Any]:
    return {IMPORTED: rest} if rest else {}

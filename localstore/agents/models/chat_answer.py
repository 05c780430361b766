"""Reads an answer of the Chat Completions API. The answer is plain JSON from any server, so its form is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from localstore.agents.models.model import Reply
from localstore.format.values import to_json_value
from localstore.models.session import Message, ToolCall

_COMPLETE = frozenset(("stop", "tool_calls", "function_call", "end_turn", "stop_sequence", "eos", "eos_token", ""))
"""The values of `finish_reason` of an answer that is complete."""
_LARGEST_COUNT = 2**63 - 1


class InvalidAnswer(ValueError):
    """Raised if a value does not have the form of the API. The message says where, such as `choices is null`."""


class ReportedError(Exception):
    """Raised if the server reports an error in place of an answer. The message is the server's; `body` is its error."""

    def __init__(self, error: Any) -> None:
        text = error.get("message") if isinstance(error, dict) else error
        super().__init__(without_surrogates(text) if isinstance(text, str) else json.dumps(error))
        self.body = error


def parse_json(data: bytes, what: str = "the answer") -> Any:
    """Return the JSON value in `data`. Raises InvalidAnswer if it is not JSON; `what` names it."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidAnswer(f"{what} is not JSON") from None


def reply(completion: Any) -> Reply:
    """Return the first answer in a completion, a JSON value. Raises InvalidAnswer or ReportedError if it has none."""
    body = as_object(completion, "the answer")
    raise_reported_error(body)
    choices = as_list(body.get("choices"), "choices")
    if not choices:
        raise InvalidAnswer("there are no choices")
    choice = as_object(choices[0], "choices[0]")
    message = as_object(choice.get("message"), "choices[0].message")
    text = content_text(message.get("content"), "content")
    if text is None:
        text = content_text(message.get("refusal"), "refusal")
    calls = [_tool_call(call) for call in as_list(message.get("tool_calls"), "tool_calls")]
    return make_reply(text, calls, usage=body.get("usage"), model=body.get("model"), finish=choice.get("finish_reason"))


def make_reply(text: str | None, calls: Sequence[ToolCall], *, usage: Any, model: Any, finish: Any) -> Reply:
    """Return a Reply with this text and these tool calls, and with what the server says about the answer.

    Args:
        text: The text of the answer, or None.
        calls: The tool calls of the answer.
        usage: The token counts, as in the API. A count that is not a whole number is ignored.
        model: The name of the model that answered. Ignored unless it is text.
        finish: The `finish_reason`, which the Reply has only if the answer is not complete.
    """
    content = None if text is None else without_surrogates(text)
    counts = usage if isinstance(usage, dict) else {}
    return Reply(
        Message(role="assistant", content=content, tool_calls=list(calls) or None),
        input_tokens=_count(counts, "prompt_tokens"),
        output_tokens=_count(counts, "completion_tokens"),
        cached_tokens=_count(counts.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(counts.get("completion_tokens_details"), "reasoning_tokens"),
        model=without_surrogates(model) if isinstance(model, str) and model else None,
        finish_reason=without_surrogates(finish) if isinstance(finish, str) and finish not in _COMPLETE else None,
    )


def raise_reported_error(body: Mapping[str, Any]) -> None:
    """Raise ReportedError if the answer is an error of the server."""
    if body.get("error"):
        raise ReportedError(body["error"])


def as_object(value: Any, what: str) -> dict[str, Any]:
    """Return a JSON object unchanged. Raises InvalidAnswer for any other value; `what` names it."""
    if not isinstance(value, dict):
        raise InvalidAnswer(f"{what} is {_kind(value)}, not an object")
    return value


def as_list(value: Any, what: str) -> list[Any]:
    """Return a JSON array unchanged, or an empty list for null. Raises InvalidAnswer for any other value."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidAnswer(f"{what} is {_kind(value)}, not a list")
    return value


def as_text(value: Any, what: str) -> str | None:
    """Return text or None unchanged. Raises InvalidAnswer for any other value."""
    if value is not None and not isinstance(value, str):
        raise InvalidAnswer(f"{what} is {_kind(value)}, not text")
    return value


def content_text(value: Any, what: str) -> str | None:
    """Return the text of a message's content, or None if it has none. Some servers send a list of parts."""
    if not isinstance(value, list):
        return as_text(value, what)
    parts = [as_object(part, f"{what}[{at}]") for at, part in enumerate(value)]
    texts = [as_text(part.get("text"), f"the text in {what}") for part in parts if part.get("type") == "text"]
    return "".join(text for text in texts if text is not None)


def _tool_call(value: Any) -> ToolCall:
    call = as_object(value, "a tool call")
    if call.get("type") == "custom":
        custom = as_object(call.get("custom"), "a tool call's custom")
        return make_call(
            call.get("id"), custom.get("name"), without_surrogates(as_text(custom.get("input"), "input") or "")
        )
    function = as_object(call.get("function"), "a tool call's function")
    arguments = function.get("arguments")
    return make_call(call.get("id"), function.get("name"), "{}" if arguments is None else arguments)


def make_call(call_id: Any, name: Any, arguments: Any) -> ToolCall:
    """Return a tool call. `arguments` is JSON text, as in the API, or an object, which some servers send.

    Raises InvalidAnswer if there is no name or a value has another type.
    """
    name = as_text(name, "the name of a tool call")
    if not name:
        raise InvalidAnswer("a tool call has no name")
    if isinstance(arguments, dict):
        arguments = json.dumps(arguments)
    call_id = as_text(call_id, "the id of a tool call")
    return ToolCall(
        id=None if call_id is None else without_surrogates(call_id),
        name=without_surrogates(name),
        arguments=_parse_arguments(as_text(arguments, "the arguments of a tool call") or ""),
    )


def _parse_arguments(text: str) -> dict[str, Any] | str:
    """Return the arguments of a tool call as a dict, or as text if they are not a JSON object that can be stored."""
    text = without_surrogates(text)
    try:
        value = to_json_value(json.loads(text))
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def without_surrogates(text: str) -> str:
    """Return `text` with each lone surrogate replaced by U+FFFD, and each surrogate pair by its character.

    A server may cut an answer in the middle of a surrogate pair.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(counts: Any, name: str) -> int | None:
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if type(value) is int and 0 <= value <= _LARGEST_COUNT else None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")

"""The order in which a conversation is told: every tool call with its answer."""

from collections.abc import Iterator
from typing import NamedTuple

from localstore.exporting.characters import json_text
from localstore.models.session import Message, Run, ToolCall


class Turn(NamedTuple):
    """A message, and each call of a tool in it with the message that answers it, None when there is none."""

    message: Message
    calls: list[tuple[ToolCall, Message | None]]


def turns(messages: list[Message]) -> Iterator[Turn]:
    """All messages in their order, but those of tools that answer a call that was made before: they stand with it."""
    told: set[int] = set()
    for at, message in enumerate(messages):
        if at in told:
            continue
        calls: list[tuple[ToolCall, Message | None]] = []
        for call in message.tool_calls or ():
            found = _answer(messages, at + 1, call, told)
            if found is not None:
                told.add(found)
            calls.append((call, None if found is None else messages[found]))
        yield Turn(message, calls)


def _answer(messages: list[Message], first: int, call: ToolCall, told: set[int]) -> int | None:
    if call.id is None:
        return None
    for at in range(first, len(messages)):
        other = messages[at]
        if other.role == "tool" and other.tool_call_id == call.id and at not in told:
            return at
    return None


def spoken(run: Run) -> tuple[list[Message], list[Message]]:
    """The messages of a run before its steps, and those behind them: the answer, when it has steps.

    The input is the first when no message says it, and what an agent framework noted as the result, or the output of a
    workflow, is the last when there is no answer.
    """
    messages = list(run.messages)
    if run.input is not None and all(message.role != "user" for message in messages):
        messages.insert(0, Message(role="user", content=_text(run.input)))
    result = (run.model_extra or {}).get("content")
    if result is None and run.steps:
        result = run.output
    if result is not None and not run.answer:
        messages.append(Message(role="assistant", content=_text(result)))
    at = len(messages) - bool(run.steps and messages and messages[-1].role == "assistant")
    return messages[:at], messages[at:]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json_text(value, indent=2)

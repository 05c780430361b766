"""Put the messages of a run in reading order: each tool call together with its answer."""

from collections.abc import Iterator
from typing import NamedTuple

from localstore.exporting.characters import json_text
from localstore.models.session import Entry, Message, Run, ToolCall


class Turn(NamedTuple):
    """A message, and a list of its tool calls, each with the message that answers it, or None."""

    message: Message
    calls: list[tuple[ToolCall, Message | None]]


def turns(messages: list[Message]) -> Iterator[Turn]:
    """Yield each message in order as a turn, except those that answer a tool call: the turn of the call has them.

    A tool message that answers no call is yielded as a separate turn.
    """
    used: set[int] = set()
    for at, message in enumerate(messages):
        if at in used:
            continue
        calls: list[tuple[ToolCall, Message | None]] = []
        for call in message.tool_calls or ():
            answer = _find_answer(messages, at + 1, call, used)
            if answer is not None:
                used.add(answer)
            calls.append((call, None if answer is None else messages[answer]))
        yield Turn(message, calls)


def _find_answer(messages: list[Message], first: int, call: ToolCall, used: set[int]) -> int | None:
    """Return the index of the message that answers `call`, from `first` on and not in `used`; None if there is none."""
    if call.id is None:
        return None
    for at in range(first, len(messages)):
        other = messages[at]
        if other.role == "tool" and other.tool_call_id == call.id and at not in used:
            return at
    return None


def messages_around_steps(run: Run) -> tuple[list[Message], list[Message]]:
    """Return the messages to show before the steps of a run, and those to show after them.

    If the run has steps and its last message is from the assistant, that message comes after them; otherwise all
    messages come before. If there is no user message, the input of the run is added at the start. If there is no
    answer, the result that an agent framework stored or the output of a workflow is added at the end. The run does not
    change.
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


def message_of_item(entry: Entry) -> Message | None:
    """Return the chat message that an entry of another framework holds, or None if it holds none."""
    data = (entry.model_extra or {}).get("data")
    if entry.type != "item" or not isinstance(data, dict) or not isinstance(data.get("role"), str):
        return None
    content = data.get("content")
    if isinstance(content, list):
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        content = "\n".join(texts)
    return Message.model_validate({"role": data["role"], "content": content}) if isinstance(content, str) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json_text(value, indent=2)

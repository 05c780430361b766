"""Put the messages of a run in reading order: each tool call together with its answer."""

from collections.abc import Iterator
from typing import NamedTuple

from localstore.exporting.characters import json_text
from localstore.format.item_messages import item_messages
from localstore.models.session import Entry, Message, Run, Session, ToolCall, Update


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


def messages_of_item(entry: Entry) -> list[Message]:
    """Return the chat messages that an entry of another framework holds; [] if it holds none."""
    return [Message.model_validate(message) for message in item_messages(entry.__document__())]


def with_items_as_runs(session: Session) -> Session:
    """Return a copy of the session in which the chat messages of other frameworks are runs; itself if it has none.

    A message of the user that does not follow another one begins a run. The copy is only for reading.
    """
    history: list[Run | Update | Entry] = []
    current: Run | None = None
    is_changed = False
    for entry in session.history:
        messages = messages_of_item(entry) if isinstance(entry, Entry) else []
        if not messages:
            history.append(entry)
            current = None if isinstance(entry, Run) else current
            continue
        is_changed = True
        if current is None or (messages[0].role == "user" and current.messages[-1].role not in ("user", "system")):
            current = Run(run_id=str((entry.model_extra or {}).get("item_id", "")))
            if entry.created_at is not None:
                current.created_at = entry.created_at
            history.append(current)
        current.messages += messages
    if not is_changed:
        return session
    copy = session.model_copy()
    copy.history = history
    copy._base = None
    return copy


def _text(value: object) -> str:
    return value if isinstance(value, str) else json_text(value, indent=2)

"""Determine the own messages of a run of agno 1.x, its start time and its status."""

from dataclasses import dataclass, field
from typing import Any

from localstore.format.versions.agno_messages import FROM_HISTORY, message_up
from localstore.format.versions.step import Document, Place
from localstore.format.versions.values import identity, items, mapping, text, to_time

Placed = tuple[Document, Place]
"""A message of agno, and the path to it in the session."""
OTHER_STATUS = "agno_status"
"""The key for agno's status, used if the format has no equivalent."""
_STATUS = {"COMPLETED": "completed", "CANCELLED": "cancelled", "ERROR": "error"}
_NOT_OVER = ("RUNNING", "PENDING", None)
ANSWERING = ("assistant", "model", "CHATBOT")
"""The roles that different providers use for messages of the model."""


@dataclass
class Conversation:
    """The state of converting a session whose runs are converted one after the other, oldest first."""

    session_id: str
    shared: Document
    """The header fields that agno repeats in each run of the session."""
    seen: set[str] = field(default_factory=set)
    """The `message_key` of each message converted so far."""
    run_ids: set[str] = field(default_factory=set)
    """The ids of the runs converted so far."""
    instructions: str | None = None
    """The instructions in effect after the runs converted so far."""

    def has_seen(self, messages: list[Any]) -> bool:
        """Return whether the runs converted so far contain all these messages."""
        return all(message_key(message) in self.seen for message in messages)


def own_messages(raw: Any, where: Place, conversation: Conversation) -> list[Placed]:
    """Return the messages of a run except the copies of earlier messages that agno inserted.

    `raw` is the list of messages of the run, and `where` its path. Adds the messages to `conversation.seen`. Raises
    CannotUpgrade if `raw` is not a list of mappings.
    """
    own = []
    keys = set()
    for index, value in enumerate(items(raw, where, "a list of messages")):
        place = (*where, index)
        message = mapping(value, place, "a message")
        key = message_key(message)
        if message.get(FROM_HISTORY) is not True or key not in conversation.seen:
            own.append((message, place))
            keys.add(key)
    conversation.seen |= keys
    return own


def start_time(created_at: Any, messages: list[Placed], where: Place, since: str | None) -> str:
    """Return the start time of a run, as a time in the format: the time of its first own message.

    The time of a system message is used only if no other own message has a time, because it may be that of an earlier
    run. `created_at`, the time that agno stored with the run, may be wrong for the same reason. It is returned if it is
    in the same second, since it is more precise, or if no own message has a time. If both are missing, return `since`,
    or the start of 1970 if that is None. Raises CannotUpgrade for an invalid time.
    """
    noted = to_time(created_at, (*where, "created_at"))
    timed = [placed for placed in messages if placed[0].get("created_at") is not None]
    own = [placed for placed in timed if placed[0].get(FROM_HISTORY) is not True]
    without_system = [placed for placed in own if placed[0].get("role") != "system"]
    for message, place in without_system or own:
        first = to_time(message["created_at"], (*place, "created_at")) or ""
        return noted if noted is not None and noted[:19] == first[:19] else first
    return noted or since or "1970-01-01T00:00:00.000Z"


def answer_content(messages: list[Placed]) -> Any:
    """Return the content of the model's last message, or None if there is no such message."""
    message = last_answer([message for message, _ in messages])
    return None if message is None else message.get("content")


def last_answer(messages: list[Document]) -> Document | None:
    """Return the model's last message, or None if there is none."""
    return next((message for message in reversed(messages) if message.get("role") in ANSWERING), None)


def status_fields(status: Any, content: Any, messages: list[Placed], where: Place) -> Document:
    """Return the fields `status` and, if there is one, `error` of a run.

    agno 1.x writes RUNNING for completed runs, so `is_answered` determines whether such a run is completed or
    unfinished. agno's own status is added under `OTHER_STATUS` if the format has no equivalent. Raises CannotUpgrade if
    `status` is neither text nor None.
    """
    status = text(status, (*where, "status"))
    if status in _STATUS:
        result: Document = {"status": _STATUS[status]}
        if status == "ERROR" and isinstance(content, str) and content and content != answer_content(messages):
            result["error"] = content
        return result
    answered = status != "PAUSED" and is_answered([message for message, _ in messages], content)
    result = {"status": "completed" if answered else "unfinished"}
    return result if status in _NOT_OVER else {OTHER_STATUS: status, **result}


def is_answered(messages: list[Document], content: Any) -> bool:
    """Return whether the last message is an answer of the model, or of a tool that ends the run.

    Without messages, return whether `content` is not None.
    """
    if not messages:
        return content is not None
    last = messages[-1]
    if last.get("role") in ANSWERING:
        return not last.get("tool_calls")  # an answer may be empty
    return last.get("role") == "tool" and last.get("stop_after_tool_call") is True


def instructions_of(messages: list[Placed]) -> str | None:
    """Return the text of the system message if it is the first message and has no other data; otherwise None."""
    if not messages or messages[0][0].get("role") != "system":
        return None
    message, place = messages[0]
    content = message.get("content")
    if not isinstance(content, str) or not content or message.get(FROM_HISTORY) is True:
        return None
    created_at = to_time(message.get("created_at"), (*place, "created_at"))
    only_text = message_up(message, place, created_at or "").keys() == {"role", "content"}
    return content if only_text else None


def message_key(message: Any) -> str:
    """Return a text that is equal for a message and for a copy of it in a later run."""
    if not isinstance(message, dict):
        return identity(message)
    return identity({key: value for key, value in message.items() if key != FROM_HISTORY and value is not None})

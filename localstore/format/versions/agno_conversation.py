"""Find out from the messages of a run of agno 1.x which are its own, when it began and how it ended."""

from dataclasses import dataclass, field
from typing import Any

from localstore.format.versions.agno_messages import FROM_HISTORY, message_up
from localstore.format.versions.step import Document, Place
from localstore.format.versions.values import identity, items, mapping, text, to_time

Placed = tuple[Document, Place]
"""A message of agno, and its place."""
OTHER_STATUS = "agno_status"
"""The key for agno's status, if the format has no equal one."""
_STATUS = {"COMPLETED": "completed", "CANCELLED": "cancelled", "ERROR": "error"}
_NOT_OVER = ("RUNNING", "PENDING", None)
ANSWERING = ("assistant", "model", "CHATBOT")
"""The role of the model, as different providers name it."""


@dataclass
class Conversation:
    """The session so far, while its runs are converted, oldest first."""

    session_id: str
    shared: Document
    """Fields of the header that each run of the session repeats."""
    seen: set[str] = field(default_factory=set)
    """The keys of the messages so far (`message_key`)."""
    run_ids: set[str] = field(default_factory=set)
    instructions: str | None = None

    def has_seen(self, messages: list[Any]) -> bool:
        """Whether the runs so far contain all these messages."""
        return all(message_key(message) in self.seen for message in messages)


def own_messages(raw: Any, where: Place, conversation: Conversation) -> list[Placed]:
    """Return the messages of a run without the copies of earlier ones that agno inserted, and remember them."""
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
    """Return when a run began: the time of its first own message.

    `created_at` of the run may be the time of an earlier run, and so may the time of its system message. `since` is the
    time to return if there is no other.
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
    """Return the content of the last message of the model, or None."""
    message = last_answer([message for message, _ in messages])
    return None if message is None else message.get("content")


def last_answer(messages: list[Document]) -> Document | None:
    """Return the last message of the model, or None."""
    return next((message for message in reversed(messages) if message.get("role") in ANSWERING), None)


def status_fields(status: Any, content: Any, messages: list[Placed], where: Place) -> Document:
    """Return the status of a run, and its error. agno 1.x writes RUNNING for completed runs: the messages decide."""
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
    """Whether the last message is an answer of the model, or of a tool that ends the run.

    Without messages: whether there is content.
    """
    if not messages:
        return content is not None
    last = messages[-1]
    if last.get("role") in ANSWERING:
        return not last.get("tool_calls")  # an answer may be empty
    return last.get("role") == "tool" and last.get("stop_after_tool_call") is True


def instructions_of(messages: list[Placed]) -> str | None:
    """Return the text of the system message, if it is the first one and has no other fields; else None."""
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
    """Return a key that is equal for a message and its copy in a later run."""
    if not isinstance(message, dict):
        return identity(message)
    return identity({key: value for key, value in message.items() if key != FROM_HISTORY and value is not None})

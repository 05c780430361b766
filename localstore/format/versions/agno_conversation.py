"""What the messages of a run of agno 1.x tell: which are its own, when it began and how it ended."""

from dataclasses import dataclass, field
from typing import Any

from localstore.format.versions.agno_messages import FROM_HISTORY, message_up
from localstore.format.versions.step import Document, Place
from localstore.format.versions.values import identity, items, mapping, moment, text

Placed = tuple[Document, Place]
"""A message of agno's and where it stands."""
OTHER_STATUS = "agno_status"
"""What agno calls the status, where that says more than ours."""
_STATUS = {"COMPLETED": "completed", "CANCELLED": "cancelled", "ERROR": "error"}
_OPEN = ("RUNNING", "PENDING", None)
ANSWERING = ("assistant", "model", "CHATBOT")
"""The roles that answer, with different providers."""


@dataclass
class Conversation:
    """What is known of the session while its runs are gone through, oldest first."""

    session_id: str
    known: Document
    """What a run of this session says of itself, which the header says already."""
    seen: set[str] = field(default_factory=set)
    """The messages so far."""
    run_ids: set[str] = field(default_factory=set)
    instructions: str | None = None

    def has_seen(self, messages: list[Any]) -> bool:
        """Whether the runs so far say all these messages."""
        return all(sameness(message) in self.seen for message in messages)


def own_messages(raw: Any, where: Place, conversation: Conversation) -> list[Placed]:
    """The run's messages without the copies of earlier ones that agno put before them."""
    own = []
    met = set()
    for index, value in enumerate(items(raw, where, "a list of messages")):
        place = (*where, index)
        message = mapping(value, place, "a message")
        same = sameness(message)
        if message.get(FROM_HISTORY) is not True or same not in conversation.seen:
            own.append((message, place))
            met.add(same)
    conversation.seen |= met
    return own


def began(told: Any, messages: list[Placed], where: Place, since: str | None) -> str:
    """When the run began: its first message knows. What agno notes for the run may be the time of a run before it.

    The system message may be older as well.
    """
    noted = moment(told, (*where, "created_at"))
    timed = [placed for placed in messages if placed[0].get("created_at") is not None]
    own = [placed for placed in timed if placed[0].get(FROM_HISTORY) is not True]
    asked = [placed for placed in own if placed[0].get("role") != "system"]
    for message, place in asked or own:
        first = moment(message["created_at"], (*place, "created_at")) or ""
        return noted if noted is not None and noted[:19] == first[:19] else first
    return noted or since or "1970-01-01T00:00:00.000Z"


def answer_of(messages: list[Placed]) -> Any:
    message = last_answer([message for message, _ in messages])
    return None if message is None else message.get("content")


def last_answer(messages: list[Document]) -> Document | None:
    """The last message that the model wrote."""
    return next((message for message in reversed(messages) if message.get("role") in ANSWERING), None)


def ended(status: Any, content: Any, messages: list[Placed], where: Place) -> Document:
    """The status, and the error. Runs of agno 1.x say RUNNING when they are long finished: the messages decide."""
    status = text(status, (*where, "status"))
    if status in _STATUS:
        end: Document = {"status": _STATUS[status]}
        if status == "ERROR" and isinstance(content, str) and content and content != answer_of(messages):
            end["error"] = content
        return end
    answered = status != "PAUSED" and is_answered([message for message, _ in messages], content)
    end = {"status": "completed" if answered else "unfinished"}
    return end if status in _OPEN else {OTHER_STATUS: status, **end}


def is_answered(messages: list[Document], content: Any) -> bool:
    """Whether the last message is the model's answer, or one of a tool that ends the run; without messages, whether
    there is content."""
    if not messages:
        return content is not None
    last = messages[-1]
    if last.get("role") in ANSWERING:
        return not last.get("tool_calls")  # models may answer nothing
    return last.get("role") == "tool" and last.get("stop_after_tool_call") is True


def instructions_of(messages: list[Placed]) -> str | None:
    """The text of the run's system message, if it is nothing but text and stands first."""
    if not messages or messages[0][0].get("role") != "system":
        return None
    message, place = messages[0]
    content = message.get("content")
    if not isinstance(content, str) or not content or message.get(FROM_HISTORY) is True:
        return None
    created_at = moment(message.get("created_at"), (*place, "created_at"))
    only_text = message_up(message, place, created_at or "").keys() == {"role", "content"}
    return content if only_text else None


def sameness(message: Any) -> str:
    """Equal for a message and for its copy in a later run."""
    if not isinstance(message, dict):
        return identity(message)
    return identity({key: value for key, value in message.items() if key != FROM_HISTORY and value is not None})

"""The texts of a session that a search finds: those of an entry of the history, and those of the header."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from localstore.format.item_messages import item_messages

TextField = Literal[
    "content", "tool call", "input", "output", "member run", "step", "error", "rating note", "summary", "item", "name",
    "tags",
]  # fmt: skip


_LAST_TEXTS: tuple[tuple[str, TextField], ...] = (
    ("output", "output"),
    ("session_summary", "summary"),
    ("rating_note", "rating note"),
    ("error", "error"),
)
"""The keys of a run with texts that come after its messages, and what these are."""


class FoundText(NamedTuple):
    """A text of a session, and where it is."""

    text: str
    field: TextField
    role: str | None = None
    """The role of the message that has the text, if a message has it."""
    message: int | None = None
    """The position of that message in the messages of its run, from 0 on. None for messages of members and steps."""


def header_texts(header: dict[str, Any]) -> list[FoundText]:
    """Return the texts of a header that are not empty: the name, and the tags in one text."""
    name, tags = _flat(header.get("name")), header.get("tags")
    texts = [FoundText(name, "name")] if name else []
    if tags and isinstance(tags, list) and (listed := ", ".join(map(_flat, tags))):
        texts.append(FoundText(listed, "tags"))
    return texts


def entry_texts(entry: dict[str, Any]) -> list[FoundText]:
    """Return the texts of an entry that are not empty, in the order of the document.

    These are the messages with their tool calls and results, the input and the output, the texts of steps and of the
    runs of members, errors, notes of ratings and summaries, the chat messages in an item, and everything in any other
    entry.
    """
    if entry.get("type") == "run":
        texts = _run_texts(entry)
    elif entry.get("type") == "update":
        texts = iter([FoundText(_flat(entry.get("session_summary")), "summary")])
    elif messages := item_messages(entry):
        texts = (text._replace(message=None) for text in _message_texts(messages))
    else:
        other = {key: value for key, value in entry.items() if key not in ("type", "created_at", "item_id")}
        texts = iter([FoundText(_flat(other), "item")])
    return [text for text in texts if text.text]


def _run_texts(run: dict[str, Any]) -> Iterator[FoundText]:
    if run.get("input") is not None:
        yield FoundText(_flat(run["input"]), "input")
    yield from _message_texts(run.get("messages"))
    for member in _mappings(run.get("member_runs")):
        for text in _run_texts(member):
            yield FoundText(text.text, "member run", text.role)
    for step in _mappings(run.get("steps")):
        yield FoundText(_flat(step.get("name")), "step")
        for text in _run_texts({**step, "session_summary": None}):
            yield FoundText(text.text, "step", text.role)
    for key, field in _LAST_TEXTS:
        if run.get(key) is not None:
            yield FoundText(_flat(run[key]), field)


def _message_texts(messages: Any) -> Iterator[FoundText]:
    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, dict):
            continue
        role = message.get("role") if isinstance(message.get("role"), str) else None
        content = message.get("content")
        if isinstance(content, list):
            content = [part.get("text") if isinstance(part, dict) else part for part in content]
        yield FoundText(_flat(content), "content", role, number)
        for call in _mappings(message.get("tool_calls")):
            text = f"{_flat(call.get('name'))}\n{_flat(call.get('arguments'))}"
            yield FoundText(text.strip("\n"), "tool call", role, number)


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _flat(value: Any) -> str:
    """Return a JSON value as text without quotes and brackets, one line for each item; "" for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join([f"{key}: {_flat(item)}" for key, item in value.items()])
    if isinstance(value, list):
        return "\n".join([_flat(item) for item in value if item is not None])
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

"""Converts a question to messages, and finds the question in the messages of a run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from localstore.models.session import ContentPart, Message

Question = str | Message | Sequence[Message]
Source = str | os.PathLike[str]
"""The URL or the path of an image or a file."""

_URL = re.compile(r"(?:https?|data):", re.IGNORECASE)


def question_messages(message: Question, images: Sequence[Source] = (), files: Sequence[Source] = ()) -> list[Message]:
    """Return the messages of a question as a new list, with images and files as parts of the last message.

    `message` is not changed. Raises TypeError if `message` is none of the three kinds of question or a list of sources
    is a single text or path, ValueError if there is no message, and OSError (such as FileNotFoundError) for a path that
    cannot be accessed.
    """
    messages: list[Message]
    if isinstance(message, str):
        messages = [Message(role="user", content=message)]
    elif isinstance(message, Message):
        messages = [message]
    elif message is None or (isinstance(message, Iterable) and not isinstance(message, bytes | Mapping)):
        messages = list(message or ())
    else:
        raise TypeError(f"The question must be text, a Message, or a list of Messages, not {type(message).__name__}.")
    for item in messages:
        if not isinstance(item, Message):
            raise TypeError(
                f"The question must be text, a Message, or a list of Messages, not a list with {type(item).__name__}."
            )
    if not messages:
        raise ValueError("There is no message to answer. Pass text or at least one Message.")
    parts = [*_parts("image", images), *_parts("file", files)]
    if parts:
        last = messages[-1]
        content = [ContentPart(type="text", text=last.content)] if isinstance(last.content, str) else last.content or []
        messages[-1] = last.model_copy(update={"content": [*content, *parts]})
    return messages


def _parts(kind: str, sources: Sequence[Source]) -> Iterator[ContentPart]:
    if isinstance(sources, str | bytes | os.PathLike) or not isinstance(sources, Iterable):
        raise TypeError(f"{kind}s must be a list of URLs and paths, not {type(sources).__name__}")
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            raise TypeError(f"{kind}s must be a list of URLs and paths, not a list with {type(source).__name__}")
        path = os.fspath(source)
        if _URL.match(path):
            yield ContentPart(type=kind, url=path)
        else:
            os.stat(path)
            yield ContentPart(type=kind, path=path)


def question_of(messages: Sequence[Message]) -> list[Message]:
    """Return the question of a run: all messages up to the last one of role `user`; without one, all messages."""
    end = max((at for at, message in enumerate(messages) if message.role == "user"), default=len(messages) - 1)
    return list(messages[: end + 1])


def whole_rounds(messages: Sequence[Message]) -> list[Message]:
    """Return the question of a run and the complete rounds of tool calls after it.

    A round in which results are missing is left out, and so is the final answer.
    """
    whole = len(question_of(messages))
    open_calls: set[str | None] = set()
    for at in range(whole, len(messages)):
        message = messages[at]
        if message.role == "tool":
            open_calls.discard(message.tool_call_id)
            if not open_calls:
                whole = at + 1
        else:
            open_calls = {call.id for call in message.tool_calls or ()}
    return list(messages[:whole])

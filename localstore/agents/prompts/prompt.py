"""The parts of a prompt besides the question: the system message, and the messages of earlier runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from localstore.agents.typed_state import TypedState
from localstore.format.values import to_json_value
from localstore.models.session import Message, Run

_STATE_KEY = re.compile(r"\{([A-Za-z_]\w*)\}")

_BYTES_PER_TOKEN = 4
"""A rule of thumb for English text. See https://platform.openai.com/tokenizer."""
_TOKENS_PER_MESSAGE = 4


def with_state(instructions: str, state: dict[str, Any]) -> str:
    """Return `instructions` with each `{key}` replaced by the value of that key in `state`.

    Text is inserted as it is, other values as JSON. A key that is not in `state`, and all other braces, stay as they
    are. Raises UnstorableValue for a value that has no JSON form.
    """
    if isinstance(state, TypedState):
        state = to_json_value(state, "session_state")

    def value(match: re.Match[str]) -> str:
        if match[1] not in state:
            return match[0]
        value = state[match[1]]
        return value if isinstance(value, str) else json.dumps(to_json_value(value), ensure_ascii=False)

    return _STATE_KEY.sub(value, instructions)


def system_message(instructions: str | None, state: dict[str, Any], summary: Any) -> list[Message]:
    """Return a list of one system message with the instructions and the session's summary, or an empty list.

    The list is empty if there are neither instructions nor a summary. Keys of `state` are inserted by `with_state`.
    """
    parts = [with_state(instructions, state)] if instructions else []
    if text := summary_text(summary):
        parts.append(f"Summary of the conversation so far:\n{text}")
    return [Message(role="system", content="\n\n".join(parts))] if parts else []


def summary_text(summary: Any) -> str:
    """Return the text of a session's summary, or "" if there is none.

    A summary of another program is understood if it is text, or a mapping with `text` or `summary`.
    """
    if isinstance(summary, dict):
        summary = summary.get("text") or summary.get("summary")
    return summary if isinstance(summary, str) else ""


def estimated_tokens(messages: Iterable[Message]) -> int:
    """Return an estimate of the number of tokens in `messages`: a quarter of their bytes, plus four for each message.

    Text and tool calls count, images and files do not.
    """
    tokens = 0
    for message in messages:
        calls = "".join(f"{call.name}{call.arguments}" for call in message.tool_calls or ())
        tokens += _TOKENS_PER_MESSAGE + len((message.text + calls).encode()) // _BYTES_PER_TOKEN
    return tokens


def completed_of(runs: Iterable[Run]) -> list[Run]:
    """Return those of `runs` whose status is `completed`, in the same order."""
    return [run for run in runs if run.status == "completed"]


def messages_of_runs(runs: Iterable[Run]) -> list[Message]:
    """Return the messages of all `runs` as one list, in order."""
    return [message for run in runs for message in run.messages]

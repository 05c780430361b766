"""The parts of a prompt besides the question: the system message, and the messages of earlier runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from localstore.format.values import to_json_value
from localstore.models.session import Message, Run

_STATE_KEY = re.compile(r"\{([A-Za-z_]\w*)\}")

_BYTES_PER_TOKEN = 4
"""A rule of thumb for English text: https://platform.openai.com/tokenizer"""
_TOKENS_PER_MESSAGE = 4


def with_state(instructions: str, state: dict[str, Any]) -> str:
    """Return the instructions with `{key}` replaced by the state's value. Other braces are unchanged."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in state:
            return match[0]
        value = state[match[1]]
        return value if isinstance(value, str) else json.dumps(to_json_value(value), ensure_ascii=False)

    return _STATE_KEY.sub(value, instructions)


def system_message(instructions: str | None, state: dict[str, Any], summary: Any) -> list[Message]:
    """Return the system message with instructions and summary, in a list; an empty list if there are neither."""
    parts = [with_state(instructions, state)] if instructions else []
    if text := summary_text(summary):
        parts.append(f"Summary of the conversation so far:\n{text}")
    return [Message(role="system", content="\n\n".join(parts))] if parts else []


def summary_text(summary: Any) -> str:
    """Return the text of a session's summary, also of one that another program wrote; "" if there is none."""
    if isinstance(summary, dict):
        summary = summary.get("text") or summary.get("summary")
    return summary if isinstance(summary, str) else ""


def estimated_tokens(messages: Iterable[Message]) -> int:
    """Return an estimate of the tokens of messages: a quarter of their bytes, and four each. Images do not count."""
    tokens = 0
    for message in messages:
        calls = "".join(f"{call.name}{call.arguments}" for call in message.tool_calls or ())
        tokens += _TOKENS_PER_MESSAGE + len((message.text + calls).encode()) // _BYTES_PER_TOKEN
    return tokens


def completed_of(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that were completed."""
    return [run for run in runs if run.status == "completed"]


def flat(runs: Iterable[Run]) -> list[Message]:
    """Return the messages of runs, in order."""
    return [message for run in runs for message in run.messages]

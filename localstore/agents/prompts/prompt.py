"""The parts of a prompt besides the question: the system message, and the messages of earlier runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from localstore.format.values import to_json_value
from localstore.models.session import Message, Run

_NAMED = re.compile(r"\{([A-Za-z_]\w*)\}")

_BYTES_OF_A_TOKEN = 4
"""As a rule of thumb for English text: https://platform.openai.com/tokenizer"""
_TOKENS_OF_A_MESSAGE = 4


def with_state(instructions: str, state: dict[str, Any]) -> str:
    """Instructions in which `{key}` stands for a key of the session's state; all other braces stay as they are."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in state:
            return found[0]
        value = state[found[1]]
        return value if isinstance(value, str) else json.dumps(to_json_value(value), ensure_ascii=False)

    return _NAMED.sub(value, instructions)


def system_message(instructions: str | None, state: dict[str, Any], summary: Any) -> list[Message]:
    """The system message, or none."""
    parts = [with_state(instructions, state)] if instructions else []
    if text := summary_text(summary):
        parts.append(f"Summary of the conversation so far:\n{text}")
    return [Message(role="system", content="\n\n".join(parts))] if parts else []


def summary_text(summary: Any) -> str:
    """The text of a session's summary, in the form of an agent or in any other."""
    if isinstance(summary, dict):
        summary = summary.get("text") or summary.get("summary")
    return summary if isinstance(summary, str) else ""


def estimated_tokens(messages: Iterable[Message]) -> int:
    """About how many tokens messages take: a quarter of their bytes, and four for each. Images are not counted."""
    said = 0
    for message in messages:
        calls = "".join(f"{call.name}{call.arguments}" for call in message.tool_calls or ())
        said += _TOKENS_OF_A_MESSAGE + len((message.text + calls).encode()) // _BYTES_OF_A_TOKEN
    return said


def completed_of(runs: Iterable[Run]) -> list[Run]:
    """Those of the runs that were completed."""
    return [run for run in runs if run.status == "completed"]


def flat(runs: Iterable[Run]) -> list[Message]:
    """The messages of runs, in order."""
    return [message for run in runs for message in run.messages]

"""Export sessions as JSON lines for fine-tuning OpenAI's chat models: `{"messages": [...]}`, one example per line.

A line starts with the instructions as a system message, if there are any, unless the first run starts with one itself.
If they change within the line, another system message follows. Documents do not record the available tools, so no line
has `tools`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from localstore.exporting.characters import json_text
from localstore.exporting.conversation import with_items_as_runs
from localstore.exporting.labels import ending, is_safe_url
from localstore.models.session import ContentPart, Message, Run, Session

LeftOut = Callable[[Session, Run, str], None]
"""A function that is called with the session, the run, and the reason why the run is left out."""


class _InvalidExample(Exception):
    """Raised if a run is not a valid example. The message gives the reason."""


def openai_lines(sessions: Iterable[Session], left_out: LeftOut, *, per_run: bool = False) -> Iterator[str]:
    """Yield one line for each session with all its completed runs, or for each completed run if `per_run` is true.

    Each line ends with a newline. A completed run that is not a valid example is left out, and `left_out` is called
    with its session, the run, and the reason. Runs that were not completed are left out without a call. A session
    without an example has no line.
    """
    for session in sessions:
        line: list[dict[str, Any]] = []
        written: str | None = None
        for run, instructions in _with_instructions(session):
            if run.status != "completed":
                continue
            try:
                if run.finish_reason is not None:
                    raise _InvalidExample(f"it is {ending(run)} (finish_reason: {run.finish_reason})")
                messages = _example(run.messages)
            except _InvalidExample as error:
                left_out(session, run, str(error))
                continue
            if instructions != written and instructions and messages[0]["role"] not in ("system", "developer"):
                line.append({"role": "system", "content": instructions})
            written = instructions
            line += messages
            if per_run:
                yield _line(line)
                line, written = [], None
        if line:
            yield _line(line)


def _line(messages: list[dict[str, Any]]) -> str:
    return f"{json_text({'messages': messages})}\n"


def _with_instructions(session: Session) -> Iterator[tuple[Run, str | None]]:
    """Yield each run of a session, in order, with the instructions in force during it, or None."""
    current: str | None = None
    for entry in with_items_as_runs(session).history:
        instructions = getattr(entry, "instructions", None)
        if isinstance(instructions, str):
            current = instructions
        if isinstance(entry, Run):
            yield entry, current


def _example(messages: list[Message]) -> list[dict[str, Any]]:
    """Return copies of the messages of a run in OpenAI's form. Raises _InvalidExample if that is not possible."""
    if all(message.role != "user" for message in messages):
        raise _InvalidExample("it has no question")
    last = messages[-1]
    if last.role != "assistant" or last.tool_calls or not last.text:
        raise _InvalidExample("its last message is no answer")
    waiting: list[str] = []
    result = []
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                raise _InvalidExample("a message of a tool answers no call")
            waiting.remove(message.tool_call_id)
        elif waiting:
            raise _InvalidExample(f"the tool call {waiting[0]} has no answer")
        result.append(_message(message))
        waiting += [call["id"] for call in result[-1].get("tool_calls", ())]
        if len(set(waiting)) < len(waiting):
            raise _InvalidExample("two tool calls have one id")
    return result


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": _text(message)}
    if message.role == "user" and isinstance(message.content, list):
        return {"role": "user", "content": [_part(part) for part in message.content]}
    if message.role not in ("system", "developer", "user", "assistant"):
        raise _InvalidExample(f"OpenAI knows no role {message.role}")
    result: dict[str, Any] = {"role": message.role, "content": _text(message)}
    if message.tool_calls:
        if not result["content"]:
            del result["content"]
        result["tool_calls"] = [_call(call.id, call.name, call.arguments) for call in message.tool_calls]
    elif message.role == "assistant" and not result["content"]:
        raise _InvalidExample("a message of the assistant is empty")
    return result


def _text(message: Message) -> str:
    if isinstance(message.content, list) and any(part.type != "text" for part in message.content):
        raise _InvalidExample(f"a message of the {message.role} is more than text")
    return message.text


def _part(part: ContentPart) -> dict[str, Any]:
    if part.type == "text":
        return {"type": "text", "text": part.text or ""}
    url = part.url or ""
    if part.type == "image" and ((is_safe_url(url) and not url.startswith("mailto:")) or url.startswith("data:image/")):
        return {"type": "image_url", "image_url": {"url": url}}
    raise _InvalidExample(f"its question has a part of type {part.type} that OpenAI does not take")


def _call(call_id: str | None, name: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
    if not call_id:
        raise _InvalidExample(f"the call of the tool {name} has no id")
    if isinstance(arguments, str):
        raise _InvalidExample(f"the arguments of the tool call {call_id} are no JSON object")
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json_text(arguments)}}

"""Make turns of the lines of a session of Claude Code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localstore.maintenance.importing.claude_file import OF_SESSION, Node, SessionFile
from localstore.maintenance.importing.fields import count, mapping, text, time
from localstore.maintenance.importing.parts import anthropic_part, arguments, simplified
from localstore.maintenance.importing.runs import IMPORTED, Turn

_PROGRAM_TEXT = re.compile(r"<(local-command-stdout|local-command-stderr|bash-stdout|bash-stderr)>")
"""How a user's line begins that holds the output of a command, which the program ran without the model."""
_INTERRUPTED = "[Request interrupted by user"
_OUTPUT_FILE = re.compile(r"tool-results[/\\]([\w.-]+)")
_USED = ("type", "uuid", "parentUuid", "timestamp", "message", "isSidechain")


def turns_of(node: Node, content: SessionFile) -> Iterator[Turn]:
    """Yield the messages of a line, and the lines that follow it."""
    created_at = time(node.line.get("timestamp"))
    if node.line["type"] == "assistant":
        yield _answer(node, created_at, content)
    else:
        yield from _user_turns(node, created_at, content)
    for line in node.following:
        yield Turn(created_at=created_at, other=_rest(line, content, used=("parentUuid", "isSidechain")))


def _rest(line: dict[str, Any], content: SessionFile, used: tuple[str, ...] = _USED) -> dict[str, Any]:
    """Return the keys of a line that have no field in a document, without those that the session has as well."""
    return {
        key: value
        for key, value in line.items()
        if key not in used and value is not None and not (key in OF_SESSION and content.common.get(key) == value)
    }


def _answer(node: Node, created_at: str | None, content: SessionFile) -> Turn:
    """Return a line of the model, which holds a whole answer or a part of one."""
    raw = node.message
    parts, calls, reasoning, kept = [], [], [], []
    blocks = raw["content"] if isinstance(raw["content"], list) else [raw["content"]]
    for block in blocks:
        kind = block.get("type") if isinstance(block, dict) else "text"
        if kind == "tool_use" and isinstance(block.get("name"), str):
            call = {"name": block["name"], "arguments": arguments(block.get("input"))}
            calls.append({"id": block["id"], **call} if isinstance(block.get("id"), str) else call)
        elif kind == "thinking" and isinstance(block.get("thinking"), str):
            if block["thinking"]:
                reasoning.append(block["thinking"])
            kept.append({key: value for key, value in block.items() if key != "thinking"})
        elif kind == "redacted_thinking":
            kept.append(block)
        else:
            parts.append(anthropic_part(block))
    message: dict[str, Any] = {"role": "assistant"}
    if (said := simplified(parts)) is not None:
        message["content"] = said
    if calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning"] = "\n\n".join(reasoning)
    imported = {**_rest(node.line, content), "uuids": [node.id]}
    imported |= {key: raw[key] for key in ("id", "usage") if raw.get(key)}
    imported |= {"content": kept} if kept else {}
    message[IMPORTED] = imported
    run: dict[str, Any] = {}
    if (model := text(raw.get("model"))) and model != "<synthetic>":
        run["model"] = model
    if node.line.get("isApiErrorMessage") is True:
        run["error"] = said if isinstance(said, str) else "The server reported an error."
    elif raw.get("stop_reason") == "max_tokens":
        run["finish_reason"] = "length"
    return Turn(
        message, created_at, id=node.id, answer_id=text(raw.get("id")), run=run, metrics=_usage(raw.get("usage"))
    )


def _usage(value: Any) -> dict[str, Any]:
    usage = mapping(value)
    cached = count(usage.get("cache_read_input_tokens"))
    read = [count(usage.get("input_tokens")), count(usage.get("cache_creation_input_tokens")), cached]
    known = [tokens for tokens in read if tokens is not None]
    return {
        "input_tokens": sum(known) if known else None,
        "cached_tokens": cached,
        "output_tokens": count(usage.get("output_tokens")),
    }


def _user_turns(node: Node, created_at: str | None, content: SessionFile) -> Iterator[Turn]:
    """Yield the messages in a line of the user: results of tools, a question, or what the program added."""
    raw = node.message["content"]
    blocks = raw if isinstance(raw, list) else [raw]
    rest = {"uuid": node.id, **_rest(node.line, content)}
    others = []
    for block in blocks:
        if not isinstance(block, dict) or block.get("type") != "tool_result":
            others.append(block)
            continue
        message: dict[str, Any] = {"role": "tool"}
        result = block.get("content")
        parts = [anthropic_part(part) for part in (result if isinstance(result, list) else [result])]
        said = simplified(parts) if result is not None else None
        if said is not None:
            message["content"] = said
        if call := text(block.get("tool_use_id")):
            message["tool_call_id"] = call
        imported = {**rest, **{k: v for k, v in block.items() if k not in ("type", "content", "tool_use_id")}}
        if isinstance(said, str) and (output := _output(said, content.path)) is not None:
            imported["output"] = output
        message[IMPORTED] = imported
        rest = {"uuid": node.id}
        yield Turn(message, created_at, id=node.id)
    if not others:
        return
    parts = [anthropic_part(block) for block in others]
    said = simplified(parts)
    beginning = next((part["text"] for part in parts if part["type"] == "text"), "")
    is_meta = node.line.get("isMeta") is True or node.line.get("isCompactSummary") is True
    is_interrupted = beginning.startswith(_INTERRUPTED)
    is_output = _PROGRAM_TEXT.match(beginning.lstrip()) is not None
    is_question = not (is_meta or is_interrupted or is_output) and len(others) == len(blocks)
    run: dict[str, Any] = {"status": None} if is_question else {}
    if is_interrupted:
        run = {"status": "cancelled"}
    elif is_output:
        run = {"status": "completed"}
    if node.line.get("isCompactSummary") is True and isinstance(said, str):
        run["session_summary"] = said
    role = "user" if is_question or len(others) < len(blocks) else "system"
    message = {"role": role, **({"content": said} if said is not None else {}), IMPORTED: rest}
    yield Turn(message, created_at, is_question, node.id, run=run)


def _output(said: str, path: Path) -> str | None:
    """Return the whole output of a tool that the program put into a file beside the session, or None."""
    if (match := _OUTPUT_FILE.search(said)) is None:
        return None
    try:
        return (path.parent / path.stem / "tool-results" / match[1]).read_text("utf-8", "replace")
    except OSError:
        return None

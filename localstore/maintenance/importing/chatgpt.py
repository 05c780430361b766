"""Conversations of ChatGPT: `conversations.json` of an export.

Each conversation is a tree: an answer that was made again and a question that was edited are siblings of the first one.
The branch of `current_node` becomes the session, and each other one a fork.
"""

from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import NO_TIME, items, mapping, text, time
from localstore.maintenance.importing.parts import arguments, data_part, media_part, simplified, text_part
from localstore.maintenance.importing.runs import IMPORTED, Turn, group
from localstore.maintenance.importing.source import Entry, Items, Skipped, SourceSession, fork_header, new_header
from localstore.maintenance.importing.tree import branches, fork_id

_OF_CONVERSATION = ("title", "create_time", "mapping", "current_node", "id", "conversation_id")
_OF_MESSAGE = ("author", "create_time", "content")


def read(path: Path) -> Items:
    """Yield the conversations in `conversations.json`, or in the folder of an export."""
    files = [path] if path.is_file() else sorted(path.glob("conversations*.json"))
    if not files:
        yield Skipped(str(path), "there is no conversations.json in it")
    for file in files:
        try:
            for item in json_text.elements(file):
                if isinstance(item, Skipped):
                    yield item
                else:
                    yield from _conversation(file, *item)
        except OSError as error:
            yield Skipped(str(file), f"it cannot be read ({error.strerror})")


def _conversation(path: Path, number: int, raw: dict[str, Any]) -> Items:
    name = f"{raw.get('title')}:{raw.get('create_time')}"
    session_id = text(raw.get("conversation_id")) or text(raw.get("id")) or str(uuid5(NAMESPACE_URL, name))
    nodes = raw.get("mapping")
    if not isinstance(nodes, dict):
        yield Skipped(str(path), "the conversation has no messages", number, session_id)
        return
    parents = {key: text(mapping(node).get("parent")) for key, node in nodes.items()}
    turns = {key: turn for key, node in nodes.items() if (turn := _turn(mapping(node).get("message"))) is not None}
    for key, node in nodes.items():
        if mapping(node).get("message") is not None and not isinstance(
            mapping(mapping(node)["message"]).get("content"), dict
        ):
            yield Skipped(str(path), f"message {key} has no content", number, session_id)
    leaves = sorted((key for key in turns if _is_said(turns[key])), key=lambda key: turns[key].created_at or "")[::-1]
    current = text(raw.get("current_node"))
    if current not in parents:
        current = leaves[0] if leaves else None
    if current is None or not turns:
        return

    def entries_of(target: str, branch: list[str]) -> list[Entry]:
        return group(target, _with_calls([(key, turns[key]) for key in branch if key in turns]))

    created_at = time(raw.get("create_time")) or min(
        (turn.created_at for turn in turns.values() if turn.created_at), default=NO_TIME
    )
    metadata = {key: value for key, value in raw.items() if key not in _OF_CONVERSATION and value not in (None, [], {})}
    header = new_header("chatgpt", session_id, created_at, name=raw.get("title"), metadata=metadata)
    main, *others = branches(current, leaves, parents)
    entries = entries_of(session_id, main.nodes)
    forks = []
    for branch, first in others:
        if first is None:
            continue
        own = next(turns[key] for key in branch[branch.index(first) :] if key in turns)
        fork = fork_id(session_id, first)
        history = entries_of(fork, branch)
        forks.append(SourceSession(fork_header(header, fork, own.created_at, entries, history), history, str(path)))
        yield forks[-1]
    if entries:
        yield SourceSession(header, entries, str(path), forks)


def _is_said(turn: Turn) -> bool:
    """Return whether a turn is a message of the user or of the model, with content."""
    message = turn.message or {}
    return message.get("role") in ("user", "assistant") and len(message) > 2


def _turn(message: Any) -> Turn | None:
    """Return the turn of a message, or None if it says nothing."""
    if not isinstance(message, dict) or not isinstance(message.get("content"), dict):
        return None
    author = mapping(message.get("author"))
    role = text(author.get("role")) or "system"
    details = mapping(message.get("metadata"))
    result: dict[str, Any] = {"role": role}
    content = message["content"]
    kind = content.get("content_type")
    recipient = text(message.get("recipient")) or "all"
    parts = _parts(content)
    said = simplified([part for part in parts if part.get("text") != ""])
    is_call = role == "assistant" and recipient != "all"
    if kind == "thoughts":
        thoughts = [text(mapping(thought).get("content")) for thought in items(content.get("thoughts"))]
        result["reasoning"] = "\n\n".join(thought for thought in thoughts if thought)
    elif is_call and isinstance(said, str):
        call = {"name": recipient, "arguments": arguments(said)}
        result["tool_calls"] = [{"id": message["id"], **call} if isinstance(message.get("id"), str) else call]
    elif said is not None:
        result["content"] = said
    if name := text(author.get("name")):
        result["name"] = name
    is_hidden = details.get("is_visually_hidden_from_conversation") is True or kind == "user_editable_context"
    if is_hidden and role == "user":
        result["role"] = "system"
    if len(result) == 1 and not details:
        return None
    kept = {key: value for key, value in message.items() if key not in _OF_MESSAGE and value not in (None, [], {})}
    others = {key: value for key, value in author.items() if key not in ("role", "name") and value not in (None, {})}
    result[IMPORTED] = kept | ({"author": others} if others else {})
    run: dict[str, Any] = {"model": text(details.get("model_slug"))} if role == "assistant" else {}
    if mapping(details.get("finish_details")).get("type") == "max_tokens":
        run["finish_reason"] = "length"
    run = {key: value for key, value in run.items() if value is not None}
    is_question = result["role"] == "user"
    return Turn(result, time(message.get("create_time")), is_question, text(message.get("id")), run=run)


def _parts(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a message's content."""
    kind = content.get("content_type")
    if kind in ("text", "multimodal_text") and isinstance(content.get("parts"), list):
        return [_part(part) for part in content["parts"]]
    if kind in ("code", "execution_output") and isinstance(content.get("text"), str):
        return [text_part(content["text"])]
    if kind == "thoughts":
        return []
    return [data_part(content)]


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return text_part(part)
    values = mapping(part)
    if values.get("content_type") == "image_asset_pointer" and isinstance(values.get("asset_pointer"), str):
        others = {key: value for key, value in values.items() if value is not None}
        del others["content_type"], others["asset_pointer"]
        if not {"type", "url", "mime_type", "text", "path"} & others.keys():
            return media_part("image", values["asset_pointer"], **others)
    if values.get("content_type") == "audio_transcription" and isinstance(values.get("text"), str):
        return {**text_part(values["text"]), **{k: v for k, v in values.items() if k not in ("text", "type")}}
    return data_part(part)


def _with_calls(branch: list[tuple[str, Turn]]) -> list[Turn]:
    """Return the turns of a branch, in which results name the tool call before them."""
    turns = []
    call_id: Any = None
    for _, turn in branch:
        message = turn.message or {}
        if message.get("tool_calls"):
            call_id = message["tool_calls"][0].get("id")
        elif message.get("role") == "tool" and call_id is not None:
            turn = Turn({**message, "tool_call_id": call_id}, turn.created_at, id=turn.id, run=turn.run)
        turns.append(turn)
    return turns

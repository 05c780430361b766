"""Find the chat messages in the items of other frameworks, to show, search and export them.

A message is recognised by its shape: Chat Completions, items of OpenAI's Responses API, content blocks of Anthropic,
Amazon Bedrock and Google, the parts of Pydantic AI, and what a checkpoint of LangGraph adds to a list of messages. What
is stored stays as the framework gave it.
"""

from collections.abc import Iterator
from typing import Any

import orjson

Message = dict[str, Any]
"""A message in the form of a document."""
_CALLS = {"function_call": "arguments", "custom_tool_call": "input", "local_shell_call": "action"}
"""The items of the Responses API that are tool calls, with the key of the arguments."""
_RESULTS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output")
_LANGCHAIN = ("human", "ai", "system", "tool", "chat")
"""The types of LangChain's messages."""
_ROLES = {"model": "assistant", "human": "user", "ai": "assistant"}
_KINDS = {"request": "user", "response": "assistant"}


def item_messages(entry: dict[str, Any]) -> list[Message]:
    """Return the messages that an entry of type `item` holds; [] if it holds none, or is another entry.

    >>> item_messages({"type": "item", "data": {"role": "user", "content": [{"type": "input_text", "text": "hi"}]}})
    [{'role': 'user', 'content': 'hi'}]
    """
    data = entry.get("data")
    if entry.get("type") != "item" or not isinstance(data, dict):
        return []
    kind = data.get("type")
    if kind in _CALLS and isinstance(kind, str):
        return [_with_calls({"role": "assistant"}, [_call(data, "call_id", data.get("name", kind), _CALLS[kind])])]
    if kind in _RESULTS:
        return [_result(data.get("call_id"), data.get("output"))]
    if kind == "checkpoint":
        return list(_added_messages(data))
    inner = data.get("message")
    message = inner if isinstance(inner, dict) else data
    content = message.get("content", message.get("parts"))
    role = message.get("role", _KINDS.get(_text(message.get("kind"))))
    if isinstance(content, dict) and isinstance(content.get("parts"), list):
        role, content = content.get("role") or role or message.get("author"), content["parts"]
    if not isinstance(role, str) or not role:
        return []
    return list(_split(_ROLES.get(role, role), message, content))


def _added_messages(checkpoint: dict[str, Any]) -> Iterator[Message]:
    """Yield the messages that a checkpoint of LangGraph adds to the lists in its channels."""
    values = checkpoint.get("values")
    for value in _mappings([*values.values()] if isinstance(values, dict) else []):
        added = value.get("added", value)
        items = added.get("json") if isinstance(added, dict) else None
        for item in _mappings(items):
            parts = item.get("value")
            message = parts[2] if isinstance(parts, list) and len(parts) > 2 else item
            role = message.get("role", message.get("type")) if isinstance(message, dict) else None
            if isinstance(role, str) and "content" in message and (role in _LANGCHAIN or "role" in message):
                yield from _split(_ROLES.get(role, role), message, message["content"])


def _split(role: str, message: dict[str, Any], content: Any) -> Iterator[Message]:
    """Yield the results of tools among the blocks of a message, and then the message with the others."""
    if role == "tool":
        yield _result(message.get("tool_call_id"), content)
        return
    blocks = content if isinstance(content, list) else [] if content is None else [content]
    texts: list[Message] = []
    calls = [
        _call(call.get("function", call), "", None, "args" if "args" in call else "arguments") | _id(call.get("id"))
        for call in _mappings(message.get("tool_calls"))
        if isinstance(call.get("function", call), dict)
    ]
    for block in blocks:
        result, call = _result_in(block), _call_in(block)
        if result is not None:
            yield result
        elif call is not None:
            calls.append(call)
        elif isinstance(block, dict) and block.get("part_kind") == "system-prompt":
            yield {"role": "system", "content": _text(block.get("content"))}
        elif (part := _part(block)) is not None:
            texts.append(part)
    said: Message = {"role": role}
    if len(texts) == 1 and texts[0].keys() == {"type", "text"}:
        said["content"] = texts[0]["text"]
    elif texts:
        said["content"] = texts
    if texts or calls or not blocks:
        yield _with_calls(said, calls)


def _result_in(block: Any) -> Message | None:
    if not isinstance(block, dict):
        return None
    if block.get("type") == "tool_result":
        return _result(block.get("tool_use_id"), block.get("content"))
    if isinstance(found := block.get("toolResult"), dict):
        return _result(found.get("toolUseId"), found.get("content"))
    if isinstance(found := block.get("function_response"), dict):
        return _result(found.get("id"), found.get("response"))
    if block.get("part_kind") in ("tool-return", "retry-prompt") and "tool_call_id" in block:
        return _result(block["tool_call_id"], block.get("content"))
    return None


def _call_in(block: Any) -> Message | None:
    if not isinstance(block, dict):
        return None
    if block.get("type") == "tool_use":
        return _call(block, "id", None, "input")
    if isinstance(found := block.get("toolUse"), dict):
        return _call(found, "toolUseId", None, "input")
    if isinstance(found := block.get("function_call"), dict):
        return _call(found, "id", None, "args")
    if block.get("part_kind") == "tool-call":
        return _call(block, "tool_call_id", block.get("tool_name"), "args")
    return None


def _call(found: dict[str, Any], id_key: str, name: Any, arguments_key: str) -> Message:
    """Return a tool call in the form of a document."""
    arguments = found.get(arguments_key)
    if isinstance(arguments, str):
        try:
            parsed = orjson.loads(arguments)
        except ValueError:
            parsed = None
        arguments = parsed if isinstance(parsed, dict) else arguments
    elif not isinstance(arguments, dict):
        arguments = {} if arguments is None else _text(arguments)
    return _id(found.get(id_key)) | {"name": _text(name or found.get("name")) or "tool", "arguments": arguments}


def _id(value: Any) -> dict[str, str]:
    return {"id": value} if isinstance(value, str) else {}


def _with_calls(message: Message, calls: list[Message]) -> Message:
    return {**message, "tool_calls": calls} if calls else message


def _result(call_id: Any, content: Any) -> Message:
    """Return the message with the result of a tool."""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) and "text" in part else part for part in parts]
    message = {"role": "tool", "content": "\n".join(map(_text, texts))}
    return {**message, "tool_call_id": call_id} if isinstance(call_id, str) else message


def _part(block: Any) -> Message | None:
    """Return a part of a content. None for what is no part of the conversation, such as reasoning."""
    if isinstance(block, str):
        return {"type": "text", "text": block}
    if not isinstance(block, dict):
        return {"type": "data", "data": block}
    kind = block.get("part_kind")
    if kind in ("user-prompt", "text"):
        said = block.get("content")
        parts = said if isinstance(said, list) else [said]
        return {"type": "text", "text": "\n".join(_text(part) for part in parts)}
    if block.get("thought") is True or kind == "thinking" or block.get("type") in ("thinking", "redacted_thinking"):
        return None
    if "reasoningContent" in block:
        return None
    if isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    if block.get("type") == "refusal" and isinstance(block.get("refusal"), str):
        return {"type": "text", "text": block["refusal"]}
    url = block.get("image_url")
    url = url.get("url") if isinstance(url, dict) else url
    if isinstance(url, str):
        return {"type": "image", "url": url}
    return {"type": "data", "data": block}


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return orjson.dumps(value).decode()

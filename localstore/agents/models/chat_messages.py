"""Converts messages to requests of the Chat Completions API."""

from __future__ import annotations

import base64
import json
import mimetypes
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localstore.agents.models.model import Options
from localstore.models.session import ContentPart, Message, ToolCall

_INVALID_IN_NAME = re.compile(r"[\s<|\\/>]+")
"""Characters that the API does not accept in a `name`."""


def request_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the `messages` field of a request.

    A file in a message before the last one of role `user` may no longer exist; the model then receives a note with its
    path instead. Raises ValueError for a part that lacks what the API needs, and OSError for any other file that cannot
    be read.
    """
    question = max((at for at, message in enumerate(messages) if message.role == "user"), default=0)
    return [_message(message, is_old=at < question) for at, message in enumerate(messages)]


def request_options(options: Options) -> dict[str, Any]:
    """Return the other fields of a request that `options` calls for, as a dict: tools and a typed answer."""
    fields: dict[str, Any] = {}
    if options.tools:
        fields["tools"] = [{"type": "function", "function": asdict(tool)} for tool in options.tools]
        if not options.may_call:
            fields["tool_choice"] = "none"
    if options.output is not None:
        from openai import pydantic_function_tool

        function = pydantic_function_tool(options.output)["function"]
        schema = {"name": function["name"], "schema": function["parameters"], "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return fields


def _message(message: Message, *, is_old: bool) -> dict[str, Any]:
    content: str | list[dict[str, Any]] = message.text
    if message.role == "user" and isinstance(message.content, list):  # the API accepts only text from other roles
        content = [_old_part(part) if is_old else _part(part) for part in message.content]
    result: dict[str, Any] = {"role": message.role, "content": content}
    if message.role == "tool":
        result["tool_call_id"] = message.tool_call_id or ""
    elif message.name:
        result["name"] = _INVALID_IN_NAME.sub("-", message.name)[:64]
    if message.tool_calls:
        result["tool_calls"] = [_call(call) for call in message.tool_calls]
    return result


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id or "", "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _part(part: ContentPart) -> dict[str, Any]:
    if part.type == "text":
        return {"type": "text", "text": part.text or ""}
    if part.type == "image":
        return {"type": "image_url", "image_url": {"url": part.url or _data_url(part)}}
    if part.type == "audio":
        data = base64.b64encode(_file(part).read_bytes()).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": _file(part).suffix.lstrip(".").lower()}}
    if part.type == "file":
        return {"type": "file", "file": {"filename": _file(part).name, "file_data": _data_url(part)}}
    return part.__document__()  # a part that is already in the form of the API


def _old_part(part: ContentPart) -> dict[str, Any]:
    try:
        return _part(part)
    except OSError:
        return {"type": "text", "text": f"[The file {part.path} no longer exists.]"}


def _data_url(part: ContentPart) -> str:
    file = _file(part)
    mime_type = part.mime_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"data:{mime_type};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _file(part: ContentPart) -> Path:
    if part.path is None:
        other = "url or path" if part.type == "image" else "path"
        raise ValueError(f"The API cannot take a part of type {part.type!r} without a {other}. Give it one.")
    return Path(part.path)

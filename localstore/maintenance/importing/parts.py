"""Make the content of a message of a document from the parts that other programs store."""

from typing import Any

import orjson

from localstore.maintenance.importing.fields import mapping, text

Part = dict[str, Any]


def simplified(parts: list[Part]) -> str | list[Part] | None:
    """Return the content of a message: None without parts, the text alone if there is one part with only text."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        only: str = parts[0]["text"]
        return only
    return parts or None


def data_part(value: Any) -> Part:
    """Return a part that holds a value for which a document has no field."""
    return {"type": "data", "data": value}


def text_part(value: str) -> Part:
    """Return a part with a text."""
    return {"type": "text", "text": value}


def media_part(kind: str, url: str, mime_type: str | None = None, **others: Any) -> Part:
    """Return a part of type `image`, `audio` or `file` with the address of its content."""
    part: Part = {"type": kind, "url": url}
    return part | ({"mime_type": mime_type} if mime_type else {}) | others


def arguments(value: Any) -> dict[str, Any] | str:
    """Return the arguments of a tool call: a mapping, also if the source has it as JSON text; otherwise text.

    >>> arguments('{"city": "Wien"}'), arguments("Wien"), arguments(None)
    ({'city': 'Wien'}, 'Wien', {})
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if value is None or value == "":
        return {}
    if not isinstance(value, str):
        return orjson.dumps(value).decode()
    from localstore.maintenance.importing.json_text import Unreadable, parse

    try:
        parsed = parse(value)
    except Unreadable:
        return value
    return parsed if isinstance(parsed, dict) else value


def anthropic_part(block: Any) -> Part:
    """Return a content block of Anthropic's Messages API as a part. Blocks without a counterpart become data."""
    block = block if isinstance(block, dict) else {"type": "text", "text": block} if isinstance(block, str) else block
    if not isinstance(block, dict):
        return data_part(block)
    source = mapping(block.get("source"))
    mime_type = text(source.get("media_type"))
    match block.get("type"):
        case "text" if isinstance(block.get("text"), str):
            return block
        case "image" | "document" as kind if block.keys() == {"type", "source"}:
            name = "image" if kind == "image" else "file"
            if source.keys() == {"type", "media_type", "data"} and isinstance(source["data"], str) and mime_type:
                if source["type"] == "base64":
                    return media_part(name, f"data:{mime_type};base64,{source['data']}", mime_type)
            elif source.keys() == {"type", "url"} and isinstance(source["url"], str):
                return media_part(name, source["url"])
    return data_part(block)


def openai_part(part: Any) -> Part:
    """Return a content part of OpenAI's Responses or Chat Completions API. Parts without a counterpart become data."""
    if not isinstance(part, dict):
        return text_part(part) if isinstance(part, str) else data_part(part)
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
        rest = {key: value for key, value in part.items() if key not in ("type", "text") and value not in ([], None)}
        return {**text_part(part["text"]), **rest}
    address = part.get("image_url")
    if kind in ("input_image", "image_url"):
        detail = mapping(address)
        url = detail.get("url") if detail else address
        others = {
            k: v for k, v in {**part, **detail}.items() if k not in ("type", "image_url", "url") and v is not None
        }
        if isinstance(url, str) and url and not {"mime_type", "text", "path"} & others.keys():
            return media_part("image", url, None, **others)
    return data_part(part)

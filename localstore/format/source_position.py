"""Finds the position of a value in the text of a document, for error messages."""

from collections.abc import Sequence
from typing import Any

_MAX_BYTES = 32 * 1024 * 1024
"""Larger documents are not searched."""


def line_and_column(raw: bytes, where: Sequence[str | int]) -> tuple[int | None, int | None]:
    """Return the line and column, both from 1, of the value that a path of keys and indexes leads to.

    If there is no such value, return the position of the last value on the path that exists. Returns (None, None) if
    the document cannot be parsed or is larger than 32 MiB. It may be YAML or JSON, which for positions is valid YAML.
    """
    if len(raw) > _MAX_BYTES:
        return None, None
    import yaml

    # Events, because the nodes of yaml.compose take 80 times the size of the text (9 MB: 822 MB, 21 s instead of 5).
    try:
        mark = _find(yaml.CSafeLoader(raw), where)
    except (yaml.YAMLError, UnicodeDecodeError, _EndOfText):
        return None, None
    return mark.line + 1, mark.column + 1


class _EndOfText(Exception):
    """Raised when the text ends before the value."""


def _find(parser: Any, where: Sequence[str | int]) -> Any:
    """Return the mark of the last value on the path that exists."""
    for _ in ("start of the stream", "start of the document"):
        _next_event(parser)
    event, kind = _next_event(parser)
    mark = event.start_mark
    for step in where:
        child = None
        if kind == "MappingStartEvent" and isinstance(step, str):
            child = _find_key(parser, step)
        elif kind == "SequenceStartEvent" and isinstance(step, int):
            child = _find_item(parser, step)
        if child is None:
            break
        mark, event, kind = child
    return mark


def _next_event(parser: Any) -> tuple[Any, str]:
    """Return the next event and the name of its class."""
    event = parser.get_event()
    if event is None:
        raise _EndOfText
    return event, type(event).__name__


def _find_key(parser: Any, name: str) -> tuple[Any, Any, str] | None:
    """Find a key in the mapping that has just begun. Return the key's mark, the event of its value, and its class name.

    Returns None if the mapping does not have the key.
    """
    while True:
        key, kind = _next_event(parser)
        if kind == "MappingEndEvent":
            return None
        _skip(parser, kind)
        event, kind = _next_event(parser)
        if getattr(key, "value", None) == name:
            return key.start_mark, event, kind
        _skip(parser, kind)


def _find_item(parser: Any, index: int) -> tuple[Any, Any, str] | None:
    """Find an item of the sequence that has just begun. Return its mark, its event, and the event's class name.

    Returns None if the sequence is too short.
    """
    while True:
        event, kind = _next_event(parser)
        if kind == "SequenceEndEvent":
            return None
        if index == 0:
            return event.start_mark, event, kind
        index -= 1
        _skip(parser, kind)


def _skip(parser: Any, kind: str) -> None:
    """Skip the events of a value up to its end. `kind` is the class name of its first event, which was read already."""
    depth = int(kind in ("MappingStartEvent", "SequenceStartEvent"))
    while depth > 0:
        _, kind = _next_event(parser)
        depth += kind in ("MappingStartEvent", "SequenceStartEvent")
        depth -= kind in ("MappingEndEvent", "SequenceEndEvent")

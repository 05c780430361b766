"""Where in the text of a document a value stands, for people who are told what is wrong with it."""

from collections.abc import Sequence
from typing import Any

_LARGEST = 32 * 1024 * 1024
"""Bytes of a text that is looked through for a place."""


def line_and_column(raw: bytes, where: Sequence[str | int]) -> tuple[int | None, int | None]:
    """Line and column of the value that these keys and numbers lead to, or of the last one on the way that is there;
    (None, None) where the text cannot be followed. As far as places go, every JSON text is YAML.
    """
    if len(raw) > _LARGEST:
        return None, None
    import yaml

    try:
        mark = _Walk(yaml.CSafeLoader(raw)).to(where)
    except (yaml.YAMLError, UnicodeDecodeError, _NothingThere):
        return None, None
    return mark.line + 1, mark.column + 1


class _NothingThere(Exception):
    """The text ends before there is a value."""


class _Walk:
    """Goes through the events of one document, once."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def _next(self) -> tuple[Any, str]:
        event = self._parser.get_event()
        if event is None:
            raise _NothingThere
        return event, type(event).__name__

    def to(self, where: Sequence[str | int]) -> Any:
        """The mark of the last value on the way that is there."""
        for _ in ("the stream", "the document"):
            self._next()
        event, kind = self._next()
        mark = event.start_mark
        for step in where:
            found = None
            if kind == "MappingStartEvent" and isinstance(step, str):
                found = self._value_of(step)
            elif kind == "SequenceStartEvent" and isinstance(step, int):
                found = self._item(step)
            if found is None:
                break
            mark, event, kind = found
        return mark

    def _value_of(self, wanted: str) -> tuple[Any, Any, str] | None:
        while True:
            key, kind = self._next()
            if kind == "MappingEndEvent":
                return None
            if kind != "ScalarEvent":
                self._skip(kind)
            event, kind = self._next()
            if getattr(key, "value", None) == wanted:
                return key.start_mark, event, kind
            self._skip(kind)

    def _item(self, wanted: int) -> tuple[Any, Any, str] | None:
        while True:
            event, kind = self._next()
            if kind == "SequenceEndEvent":
                return None
            if not wanted:
                return event.start_mark, event, kind
            wanted -= 1
            self._skip(kind)

    def _skip(self, kind: str) -> None:
        depth = int(kind in ("MappingStartEvent", "SequenceStartEvent"))
        while depth > 0:
            _, kind = self._next()
            depth += kind in ("MappingStartEvent", "SequenceStartEvent")
            depth -= kind in ("MappingEndEvent", "SequenceEndEvent")

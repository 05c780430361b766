"""Splits the body of a streamed answer into its events (server-sent events)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from localstore.agents.models.chat_answer import parse_json

_KEPT_BYTES = 1000


class EventStream:
    """Decodes a stream of events whose data are JSON. Pass each piece of the body to `feed`, then call `end`.

    `beginning` holds the first bytes of the body, for error messages. `is_done` is true after the event `[DONE]`.

    >>> events = EventStream()
    >>> list(events.feed(b'data: {"a": 1}\\n\\ndata: [DO')), list(events.feed(b"NE]\\n\\n")), events.is_done
    ([{'a': 1}], [], True)
    """

    def __init__(self) -> None:
        self.beginning = b""
        self.is_done = False
        self._line: list[bytes] = []
        """The pieces of the line that is not complete yet."""
        self._data: list[bytes] = []
        """The data lines of the event that is not complete yet."""

    def feed(self, piece: bytes) -> Iterator[Any]:
        """Yield the value of each event that `piece` completes. Raises InvalidAnswer for data that are not JSON."""
        if len(self.beginning) < _KEPT_BYTES:
            self.beginning += piece[:_KEPT_BYTES]
        if b"\n" not in piece:
            self._line.append(piece)
            return
        lines = b"".join([*self._line, piece]).split(b"\n")
        self._line = [lines.pop()]
        for line in lines:
            for part in line.removesuffix(b"\r").split(b"\r"):  # a single "\r" ends a line, too
                yield from self._add(part)

    def end(self) -> Iterator[Any]:
        """Yield the value of an event at the end of the body that no empty line follows."""
        yield from self.feed(b"\n\n")

    def _add(self, line: bytes) -> Iterator[Any]:
        if self.is_done:
            return
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        if line or not self._data:
            return  # another field, a comment, or nothing
        data, self._data = b"\n".join(self._data).strip(), []
        if data.startswith(b"[DONE]"):
            self.is_done = True
        elif data:
            yield parse_json(data, "an event")

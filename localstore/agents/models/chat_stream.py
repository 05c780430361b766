"""Assembles a streamed answer of the Chat Completions API from its chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localstore.agents.models.chat_answer import (
    as_list,
    as_object,
    as_text,
    content_text,
    make_call,
    make_reply,
    raise_reported_error,
    without_surrogates,
)
from localstore.agents.models.model import Piece
from localstore.models.session import ToolCall


@dataclass(slots=True)
class _PartialCall:
    """A tool call whose parts are still arriving. `arguments` is the JSON text received so far."""

    index: Any
    id: str | None = None
    name: str = ""
    arguments: str = ""

    def tool_call(self) -> ToolCall:
        return make_call(self.id, self.name, self.arguments or "{}")


class StreamedAnswer:
    """Turns the chunks of one answer into pieces. Pass each chunk to `add`, in order, and then call `end`.

    Text is yielded immediately, a tool call once it is complete, and the Reply at the end. `is_complete` is true once
    the server has said why the answer ended.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self._texts: list[str] = []
        self._surrogate = ""
        self._calls: list[ToolCall] = []
        self._current: _PartialCall | None = None
        self._finish: Any = None
        self._usage: Any = None
        self._model: Any = None

    def add(self, chunk: Any) -> Iterator[Piece]:
        """Yield the text in a chunk, and the tool calls that it completes. Exhaust it before the next chunk.

        Raises InvalidAnswer if the chunk does not have the form of the API, and ReportedError if it is an error.
        """
        body = as_object(chunk, "an event")
        raise_reported_error(body)
        self._usage = body.get("usage") or self._usage
        self._model = body.get("model") or self._model
        for choice in as_list(body.get("choices"), "choices")[:1]:
            fields = as_object(choice, "choices[0]")
            if fields.get("delta") is not None:
                yield from self._add_delta(as_object(fields["delta"], "choices[0].delta"))
            if fields.get("finish_reason") is not None:
                self.is_complete, self._finish = True, fields["finish_reason"]

    def _add_delta(self, delta: dict[str, Any]) -> Iterator[Piece]:
        content = content_text(delta.get("content"), "content") or as_text(delta.get("refusal"), "refusal") or ""
        if text := self._surrogate + content:
            # A server may cut a chunk in the middle of a surrogate pair.
            self._surrogate = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
            if text := without_surrogates(text.removesuffix(self._surrogate)):
                self._texts.append(text)
                yield text
        for part in as_list(delta.get("tool_calls"), "tool_calls"):
            yield from self._add_call(as_object(part, "a tool call"))

    def _add_call(self, part: dict[str, Any]) -> Iterator[Piece]:
        index, call_id = part.get("index"), as_text(part.get("id"), "the id of a tool call")
        current = self._current
        # Some servers give all calls of an answer the same index, or none.
        if current is None or index != current.index or (call_id and current.id and call_id != current.id):
            yield from self._end_call()
            current = self._current = _PartialCall(index)
        current.id = current.id or call_id
        if part.get("function") is not None:
            function = as_object(part["function"], "a tool call's function")
            current.name += as_text(function.get("name"), "the name of a tool call") or ""
            current.arguments += as_text(function.get("arguments"), "the arguments of a tool call") or ""

    def _end_call(self) -> Iterator[Piece]:
        if self._current is not None:
            self._calls.append(self._current.tool_call())
            self._current = None
            yield self._calls[-1]

    def end(self) -> Iterator[Piece]:
        """Yield the remaining pieces, the whole Reply last."""
        if self._surrogate:
            self._texts.append(without_surrogates(self._surrogate))
            yield self._texts[-1]
        yield from self._end_call()
        text = "".join(self._texts) or None
        yield make_reply(text, self._calls, usage=self._usage, model=self._model, finish=self._finish)

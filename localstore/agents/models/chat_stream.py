"""Assembles a streamed answer of the Chat Completions API from its chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localstore.agents.models.chat_messages import make_reply, parse_arguments, without_surrogates
from localstore.agents.models.model import Piece
from localstore.models.session import ToolCall

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall


@dataclass(slots=True)
class _PartialCall:
    """A tool call whose parts are still arriving. `arguments` is the JSON text received so far."""

    index: int
    id: str | None = None
    name: str = ""
    arguments: str = ""

    def tool_call(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, arguments=parse_arguments(self.arguments or "{}"))


class StreamedAnswer:
    """Turns the chunks of one answer into pieces. Pass each chunk to `add`, in order, and then call `end`.

    Text is yielded immediately, a tool call once it is complete, and the Reply at the end.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._surrogate = ""
        self._calls: list[ToolCall] = []
        self._current: _PartialCall | None = None
        self._is_complete = False
        self._usage: CompletionUsage | None = None

    def add(self, chunk: ChatCompletionChunk) -> Iterator[Piece]:
        """Yield the text in a chunk, and the tool calls that it completes. Exhaust it before the next chunk."""
        self._usage = chunk.usage or self._usage
        for choice in (chunk.choices or ())[:1]:
            delta = choice.delta
            if delta is not None:
                if text := self._surrogate + (delta.content or delta.refusal or ""):
                    # A server may cut a chunk in the middle of a surrogate pair.
                    self._surrogate = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
                    if text := without_surrogates(text.removesuffix(self._surrogate)):
                        self._texts.append(text)
                        yield text
                for part in delta.tool_calls or ():
                    yield from self._add_call(part)
            self._is_complete = self._is_complete or choice.finish_reason is not None

    def _add_call(self, part: ChoiceDeltaToolCall) -> Iterator[Piece]:
        if self._current is None or part.index != self._current.index:
            yield from self._end_call()
            self._current = _PartialCall(part.index)
        self._current.id = self._current.id or part.id
        if part.function is not None:
            self._current.name += part.function.name or ""
            self._current.arguments += part.function.arguments or ""

    def _end_call(self) -> Iterator[Piece]:
        if self._current is not None:
            self._calls.append(self._current.tool_call())
            self._current = None
            yield self._calls[-1]

    def end(self) -> Iterator[Piece]:
        """Yield the remaining pieces, the whole Reply last. Raises OpenAIError if the server cut off the answer."""
        if not self._is_complete:
            from openai import OpenAIError

            raise OpenAIError("The server cut off its answer without a finish_reason. Ask again.")
        if self._surrogate:
            self._texts.append(without_surrogates(self._surrogate))
            yield self._texts[-1]
        yield from self._end_call()
        yield make_reply("".join(self._texts) or None, self._calls, self._usage)

"""A streamed answer of the Chat Completions API, put together from its chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localstore.agents.models.chat_messages import arguments, made_reply, unicode
from localstore.agents.models.model import Piece
from localstore.models.session import ToolCall

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall


@dataclass(slots=True)
class _Call:
    """A tool call of which parts have arrived."""

    index: int
    id: str | None = None
    name: str = ""
    arguments: str = ""

    def whole(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, arguments=arguments(unicode(self.arguments or "{}")))


class Arriving:
    """Takes the chunks of one answer, in order, and gives what is new: text at once, a tool call when it is whole."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._half = ""
        self._calls: list[ToolCall] = []
        self._current: _Call | None = None
        self._is_over = False
        self._usage: CompletionUsage | None = None

    def take(self, chunk: ChatCompletionChunk) -> Iterator[Piece]:
        """What a chunk brings."""
        self._usage = chunk.usage or self._usage
        for choice in (chunk.choices or ())[:1]:
            delta = choice.delta
            if delta is not None:
                if text := self._half + (delta.content or delta.refusal or ""):
                    # A server may cut between the halves of a surrogate pair.
                    self._half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
                    if text := unicode(text.removesuffix(self._half)):
                        self._texts.append(text)
                        yield text
                for part in delta.tool_calls or ():
                    yield from self._take_call(part)
            self._is_over = self._is_over or choice.finish_reason is not None

    def _take_call(self, part: ChoiceDeltaToolCall) -> Iterator[Piece]:
        if self._current is None or part.index != self._current.index:
            yield from self._whole_call()
            self._current = _Call(part.index)
        self._current.id = self._current.id or part.id
        if part.function is not None:
            self._current.name += part.function.name or ""
            self._current.arguments += part.function.arguments or ""

    def _whole_call(self) -> Iterator[Piece]:
        if self._current is not None:
            self._calls.append(self._current.whole())
            self._current = None
            yield self._calls[-1]

    def end(self) -> Iterator[Piece]:
        """What is left when no more chunks come, and the whole reply. Raises OpenAIError for an answer cut off."""
        if not self._is_over:
            from openai import OpenAIError

            raise OpenAIError("The server ended its answer in the middle, without a reason (finish_reason). Ask again.")
        if self._half:
            self._texts.append(unicode(self._half))
            yield self._texts[-1]
        yield from self._whole_call()
        yield made_reply("".join(self._texts) or None, self._calls, self._usage)

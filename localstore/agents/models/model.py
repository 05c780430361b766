"""The protocol of a model, and a model that calls a Python function."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from localstore.agents.threads import run_in_thread
from localstore.format.values import to_json_value
from localstore.models.session import Message, ToolCall

if TYPE_CHECKING:
    from pydantic import BaseModel

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer, and how many tokens it used, if the model counts them."""

    message: Message
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """The description of a tool for a model. `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a request to a model.

    Args:
        tools: The tools that the model knows.
        may_call: Whether the model may call them.
        output: Ask for an answer that is data of this class.
    """

    tools: tuple[ToolSchema, ...] = ()
    may_call: bool = True
    output: type[BaseModel] | None = None


PLAIN = Options()
"""No tools, and an answer in words."""

Piece = str | ToolCall | Reply
"""A piece of a streamed answer: text as it arrives, tool calls once they are complete, the whole Reply at the end."""


class Model(Protocol):
    """Answers a conversation. A run stores `id` as its `model`. The agent does not catch a model's errors.

    A model may also have `stream` and `astream`, with the arguments of `respond`, which yield the answer in pieces.
    Without them the whole answer is one piece.
    """

    id: str

    def respond(self, messages: Sequence[Message], options: Options = ..., /) -> Reply:
        """Return the answer to the last of the messages. They are oldest first, and may begin with role `system`."""
        ...

    async def arespond(self, messages: Sequence[Message], options: Options = ..., /) -> Reply:
        """Do what `respond` does without blocking the event loop."""
        ...


def stream(model: Model, messages: Sequence[Message], options: Options) -> Generator[Piece]:
    """Yield the answer of any model in pieces."""
    if hasattr(model, "stream"):
        yield from model.stream(messages, options)
    else:
        yield from _pieces(model.respond(messages, options))


async def astream(model: Model, messages: Sequence[Message], options: Options) -> AsyncGenerator[Piece]:
    """Do what `stream` does without blocking the event loop."""
    if hasattr(model, "astream"):
        pieces = model.astream(messages, options)
        try:
            async for piece in pieces:
                yield piece
        finally:
            if hasattr(pieces, "aclose"):  # a generator; otherwise the event loop would close it some time later
                await pieces.aclose()
    else:
        for piece in _pieces(await model.arespond(messages, options)):
            yield piece


def _pieces(reply: Reply) -> Iterator[Piece]:
    if reply.message.text:
        yield reply.message.text
    yield from reply.message.tool_calls or ()
    yield reply


Answer = str | Message | Iterator[str]
AnswerFunction = Callable[[list[Message]], Answer | Awaitable[Answer]]


class FunctionModel:
    """A model that calls a Python function, for tests and for models without a client here.

    The function receives the messages and returns the answer: text, a Message, or an iterator of texts (it may be a
    generator), which are streamed as they arrive. It may be async. `arespond` and `astream` call a plain function in a
    thread, so that it may block.

    >>> model = FunctionModel(lambda messages: f"You said {messages[-1].text}.")
    >>> model.respond([Message(role="user", content="hi")]).message.text
    'You said hi.'
    """

    def __init__(self, function: AnswerFunction, id: str = "function") -> None:  # noqa: A002 - what models call it
        self.id = id
        self._function = function

    def respond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:  # noqa: ARG002
        """Call the function; an async function runs in its own event loop.

        Raises RuntimeError for an async function if an event loop is running, TypeError for an answer of another type,
        UnstorableValue for an answer that cannot be stored.
        """
        answer = self._function(list(messages))
        return _reply(wait_for(answer, _HINT) if inspect.isawaitable(answer) else answer)

    async def arespond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:  # noqa: ARG002
        """Await the function. Raises TypeError and UnstorableValue as `respond` does."""
        if inspect.iscoroutinefunction(self._function):
            return _reply(await self._function(list(messages)))
        answer = await run_in_thread(self._function, list(messages), abandon=True)
        if inspect.isawaitable(answer):
            return _reply(await answer)
        return await run_in_thread(_reply, answer, abandon=True)

    def stream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Iterator[Piece]:  # noqa: ARG002
        """Yield the answer in the pieces that the function yields. Raises what `respond` raises."""
        answer = self._function(list(messages))
        if inspect.isawaitable(answer):
            answer = wait_for(answer, _HINT)
        if isinstance(answer, Iterator):
            return _stream_texts(answer)
        return _pieces(_reply(answer))

    async def astream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> AsyncIterator[Piece]:  # noqa: ARG002
        """Do what `stream` does without blocking the event loop."""
        answer: Any = self._function(list(messages)) if inspect.iscoroutinefunction(self._function) else None
        if answer is None:
            answer = await run_in_thread(self._function, list(messages), abandon=True)
        if inspect.isawaitable(answer):
            answer = await answer
        pieces = _stream_texts(answer) if isinstance(answer, Iterator) else _pieces(_reply(answer))
        while (piece := await run_in_thread(next, pieces, None, abandon=True)) is not None:
            yield piece


_HINT = "The model's function is async and an event loop is running. Use `await agent.arun(...)`."


def wait_for(awaitable: Awaitable[_T], hint: str) -> _T:
    """Run an awaitable in its own event loop. Raises RuntimeError with the hint if an event loop is running."""

    async def wait() -> _T:
        return await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    if isinstance(awaitable, Coroutine):
        awaitable.close()
    raise RuntimeError(hint)


def _stream_texts(answer: Iterator[str]) -> Iterator[Piece]:
    texts = []
    for text in _check_texts(answer):
        texts.append(text)
        yield text
    yield _reply("".join(texts))


def _reply(answer: Any) -> Reply:
    if isinstance(answer, Iterator):
        answer = "".join(_check_texts(answer))
    if isinstance(answer, str):
        answer = Message(role="assistant", content=answer)
    if not isinstance(answer, Message):
        raise TypeError(f"The model's function returned {type(answer).__name__}. Return text or a Message.")
    to_json_value(answer, "answer")  # raises here, so that the run is stored as failed
    return Reply(answer)


def _check_texts(texts: Iterator[Any]) -> Iterator[str]:
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"The model's function yielded {type(text).__name__}. Yield text.")
        yield text

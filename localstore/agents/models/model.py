"""What an agent asks of a model, and the model that is a Python function."""

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
    """A model's answer, and the tokens it took where the model counts them."""

    message: Message
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """A tool as a model is told of it. `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """What may be asked for beside an answer in words: `tools` that the model may call, unless `may_call` is False,
    and an answer that is data, of the class `output`."""

    tools: tuple[ToolSchema, ...] = ()
    may_call: bool = True
    output: type[BaseModel] | None = None


PLAIN = Options()
"""An answer in words."""

Piece = str | ToolCall | Reply
"""What a stream gives: text as it arrives, tool calls once they are whole, and the whole reply last."""


class Model(Protocol):
    """Answers a conversation. `id` is what a run stores as its `model`. Errors pass through the agent.

    A model may also have `stream` and `astream`, with the arguments of `respond`, which give the answer in pieces; of
    one that has not, the answer comes in one piece.
    """

    id: str

    def respond(self, messages: Sequence[Message], options: Options = ..., /) -> Reply:
        """The answer to the last of these messages, which are oldest first and may begin with role `system`."""
        ...

    async def arespond(self, messages: Sequence[Message], options: Options = ..., /) -> Reply:
        """The same without blocking the event loop."""
        ...


def stream(model: Model, messages: Sequence[Message], options: Options) -> Generator[Piece]:
    """The answer of any model in pieces."""
    if hasattr(model, "stream"):
        yield from model.stream(messages, options)
    else:
        yield from _pieces(model.respond(messages, options))


async def astream(model: Model, messages: Sequence[Message], options: Options) -> AsyncGenerator[Piece]:
    """The answer of any model in pieces, without blocking the event loop."""
    if hasattr(model, "astream"):
        async for piece in model.astream(messages, options):
            yield piece
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
    """A model that is a Python function: it is given the messages and returns the answer, as text, as a Message, or
    as texts one after the other (it may be a generator), which are streamed as they come.

    The function may be async. `arespond` and `astream` call a plain function in a thread, so that it may block.
    """

    def __init__(self, function: AnswerFunction, id: str = "function") -> None:  # noqa: A002 - what models call it
        self.id = id
        self._function = function

    def respond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:  # noqa: ARG002
        """Call the function; an async one runs in an event loop of its own.

        Raises RuntimeError for an async one inside a running event loop, TypeError for an answer of another type,
        UnstorableValue for one that no document can hold.
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
        """The answer in the pieces in which the function gives it. Raises what `respond` raises."""
        answer = self._function(list(messages))
        if inspect.isawaitable(answer):
            answer = wait_for(answer, _HINT)
        if isinstance(answer, Iterator):
            return _texts(answer)
        return _pieces(_reply(answer))

    async def astream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> AsyncIterator[Piece]:  # noqa: ARG002
        """The same without blocking the event loop."""
        answer: Any = self._function(list(messages)) if inspect.iscoroutinefunction(self._function) else None
        if answer is None:
            answer = await run_in_thread(self._function, list(messages), abandon=True)
        if inspect.isawaitable(answer):
            answer = await answer
        pieces = _texts(answer) if isinstance(answer, Iterator) else _pieces(_reply(answer))
        while (piece := await run_in_thread(next, pieces, None, abandon=True)) is not None:
            yield piece


_HINT = "The model's function is async and an event loop is running. Use `await agent.arun(...)`."


def wait_for(awaitable: Awaitable[_T], hint: str) -> _T:
    """Run something async in an event loop of its own. Raises RuntimeError, with the hint, inside a running one."""

    async def wait() -> _T:
        return await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    if isinstance(awaitable, Coroutine):
        awaitable.close()
    raise RuntimeError(hint)


def _texts(answer: Iterator[str]) -> Iterator[Piece]:
    arrived = []
    for text in _checked(answer):
        arrived.append(text)
        yield text
    yield _reply("".join(arrived))


def _reply(answer: Any) -> Reply:
    if isinstance(answer, Iterator):
        answer = "".join(_checked(answer))
    if isinstance(answer, str):
        answer = Message(role="assistant", content=answer)
    if not isinstance(answer, Message):
        raise TypeError(f"The model's function returned {type(answer).__name__}. Return text or a Message.")
    to_json_value(answer, "answer")  # one that no document can hold is the model's failure, and is stored as such
    return Reply(answer)


def _checked(texts: Iterator[Any]) -> Iterator[str]:
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"The model's function gave {type(text).__name__} among its texts. Give text.")
        yield text

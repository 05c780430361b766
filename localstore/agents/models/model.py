"""The protocol that every model implements, and a model that calls a Python function."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from localstore.format.values import to_json_value
from localstore.models.session import Message, ToolCall
from localstore.storage.threads import run_in_thread

if TYPE_CHECKING:
    from pydantic import BaseModel

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer, and what the model says about it. Each field but `message` may be None, for "not known"."""

    message: Message
    input_tokens: int | None = None
    """The number of tokens that the model read."""
    output_tokens: int | None = None
    """The number of tokens that the model wrote."""
    cached_tokens: int | None = None
    """How many of the input tokens came from the server's cache."""
    reasoning_tokens: int | None = None
    """How many of the output tokens were spent on reasoning that is not part of the answer."""
    model: str | None = None
    """The model that answered, if it is known and may be another one than was asked for."""
    finish_reason: str | None = None
    """Why the answer is not complete: `length` if it was cut off at the token limit. None for a complete answer."""


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """The description of a tool for a model. `parameters` is the JSON schema of an object with all arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a request to a model.

    Args:
        tools: The tools that are described to the model.
        may_call: Whether the model may call the tools in this answer.
        output: Ask for an answer in JSON that is valid for this class. None asks for text.
    """

    tools: tuple[ToolSchema, ...] = ()
    may_call: bool = True
    output: type[BaseModel] | None = None


PLAIN = Options()
"""The default options: no tools, and an answer in text."""

Piece = str | ToolCall | Reply
"""A piece of a streamed answer: text as it arrives, a tool call once it is complete, or the whole Reply at the end."""


class Model(Protocol):
    """A language model that an agent can call. Its `id` is stored as the `model` of each run.

    The name of its class, or its attribute `answered_by` if it has one, is stored as `answered_by`. It is None for a
    model that asks a server with the Chat Completions API: no server knows the id of any other model.

    A model may have `redacted`, which returns a text without the secrets that the model knows. It is applied to errors
    of tools, which may repeat a key.

    Errors of a model end the run and propagate to the caller of the agent. A model may also have `stream` and
    `astream`, which take the arguments of `respond` and yield the answer in pieces. Without them, the text of the
    answer arrives as one piece.
    """

    id: str

    def respond(self, messages: Sequence[Message], options: Options = ..., /) -> Reply:
        """Return the answer to the last message. `messages` are oldest first; the first one may have role `system`."""
        ...

    async def arespond(self, messages: Sequence[Message], options: Options = ..., /) -> Reply:
        """Return what `respond` returns, without blocking the event loop."""
        ...


def redacted(model: Model, text: str) -> str:
    """Return `text` without the secrets that the model knows, such as its API key."""
    return str(model.redacted(text)) if hasattr(model, "redacted") else text


def answered_by(model: Model) -> str | None:
    """Return what to store as `answered_by`: None for a Chat Completions server, `function`, or the name of a class."""
    value: str | None = getattr(model, "answered_by", type(model).__name__)
    return value


def stream(model: Model, messages: Sequence[Message], options: Options) -> Generator[Piece]:
    """Yield the answer of `model` in pieces, the whole Reply last.

    A model without `stream` is called with `respond`.
    """
    if hasattr(model, "stream"):
        yield from model.stream(messages, options)
    else:
        yield from _pieces(model.respond(messages, options))


async def astream(model: Model, messages: Sequence[Message], options: Options) -> AsyncGenerator[Piece]:
    """Yield what `stream` yields, without blocking the event loop."""
    if hasattr(model, "astream"):
        pieces = model.astream(messages, options)
        try:
            async for piece in pieces:
                yield piece
        finally:
            if hasattr(pieces, "aclose"):  # else the event loop would close an async generator at some later time
                await pieces.aclose()
    else:
        for piece in _pieces(await model.arespond(messages, options)):
            yield piece


def _pieces(reply: Reply) -> Iterator[Piece]:
    if reply.message.text:
        yield reply.message.text
    yield from reply.message.tool_calls or ()
    yield reply


Answer = str | Message | Iterator[str] | AsyncIterator[str]
AnswerFunction = Callable[[list[Message]], Answer | Awaitable[Answer]]


class FunctionModel:
    """A model that calls a Python function, for tests and for models that localstore has no client for.

    The function receives the list of messages and returns the answer: text, a Message, or an iterator of texts, which
    are streamed as they arrive. It may be a plain or an async function, a generator or an async generator. `arespond`
    and `astream` call a function that is not async in a thread, so it may block. Options, and the tools in them, are
    ignored.

    >>> model = FunctionModel(lambda messages: f"You said {messages[-1].text}.")
    >>> model.respond([Message(role="user", content="hi")]).message.text
    'You said hi.'
    >>> async def answer(messages):
    ...     yield "It is "
    ...     yield "42."
    >>> [piece for piece in FunctionModel(answer).stream([]) if isinstance(piece, str)]
    ['It is ', '42.']
    """

    answered_by: str | None = "function"
    """Stored with each run. `localstore chat` never asks a server for the id of a function."""

    def __init__(self, function: AnswerFunction, id: str = "function") -> None:  # noqa: A002 - what models call it
        if not callable(function):
            raise TypeError(f"FunctionModel takes a function that returns an answer, not {type(function).__name__}")
        if not isinstance(id, str):
            raise TypeError(f"id must be the model's name as text, not {type(id).__name__}")
        self.id = id
        self._function = function

    def __repr__(self) -> str:
        return f"FunctionModel({getattr(self._function, '__name__', type(self._function).__name__)}, id={self.id!r})"

    def respond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:
        """Call the function and return its answer. Async functions and generators run in a new event loop.

        May raise EventLoopRunning, a RuntimeError, if the function is async and an event loop is running in this
        thread; TypeError if the answer is neither text nor a Message nor an iterator of texts; UnstorableValue if it
        cannot be stored; and any error of the function.
        """
        with closing(self.stream(messages, options)) as pieces:
            for piece in pieces:
                if isinstance(piece, Reply):
                    return piece
        raise AssertionError("a stream ends with a Reply")

    async def arespond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:
        """Return and raise what `respond` does, apart from EventLoopRunning, without blocking the event loop."""
        async with aclosing(self.astream(messages, options)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece
        raise AssertionError("a stream ends with a Reply")

    def stream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Generator[Piece]:  # noqa: ARG002
        """Yield the texts of the function's answer, and then the whole Reply. Raises what `respond` raises."""
        answer = self._function(list(messages))
        if inspect.isawaitable(answer) or isinstance(answer, AsyncIterator):
            yield from _in_new_loop(answer)
        else:
            yield from _pieces_of(answer)

    async def astream(
        self,
        messages: Sequence[Message],
        options: Options = PLAIN,  # noqa: ARG002
        /,
    ) -> AsyncGenerator[Piece]:
        """Yield what `stream` yields, without blocking the event loop."""
        function = self._function
        answer: Any
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            answer = function(list(messages))
        else:
            answer = await run_in_thread(function, list(messages), abandon=True)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, AsyncIterator):
            async with aclosing(_apieces_of(answer)) as apieces:
                async for piece in apieces:
                    yield piece
            return
        pieces = _pieces_of(answer)
        while (next_piece := await run_in_thread(next, pieces, None, abandon=True)) is not None:
            yield next_piece


class EventLoopRunning(RuntimeError):
    """Raised if something async is called in a thread whose event loop is running, so that it cannot be awaited.

    It is a mistake in the program, so it ends the run, and is reported neither to the model nor to a team's leader.
    """


_HINT = "The model's function is async and an event loop is running. Use `await agent.arun(...)`."


def wait_for(awaitable: Awaitable[_T], hint: str) -> _T:
    """Run `awaitable` in a new event loop and return its result.

    Raises EventLoopRunning with the text `hint` if an event loop is running in this thread. The awaitable is then not
    run.
    """

    async def wait() -> _T:
        return await awaitable

    if _has_running_loop():
        if isinstance(awaitable, Coroutine):
            awaitable.close()
        raise EventLoopRunning(hint)
    return asyncio.run(wait())


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_new_loop(answer: Any) -> Generator[Piece]:
    """Yield the pieces of an async answer. Its event loop runs only while the next piece is requested."""
    if _has_running_loop():
        if isinstance(answer, Coroutine):
            answer.close()
        raise EventLoopRunning(_HINT)

    async def next_piece() -> Piece | None:
        return await anext(pieces, None)

    with asyncio.Runner() as runner:
        pieces = _awaited_pieces(answer)
        try:
            while (piece := runner.run(next_piece())) is not None:
                yield piece
        finally:
            runner.run(pieces.aclose())


async def _awaited_pieces(answer: Any) -> AsyncGenerator[Piece]:
    if inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, AsyncIterator):
        async with aclosing(_apieces_of(answer)) as pieces:
            async for piece in pieces:
                yield piece
    else:
        for piece in _pieces_of(answer):
            yield piece


def _pieces_of(answer: Any) -> Iterator[Piece]:
    if not isinstance(answer, Iterator):
        yield from _pieces(_reply(answer))
        return
    texts = []
    for text in answer:
        texts.append(_checked(text))
        yield text
    yield _reply("".join(texts))


async def _apieces_of(answer: AsyncIterator[Any]) -> AsyncGenerator[Piece]:
    texts = []
    try:
        async for text in answer:
            texts.append(_checked(text))
            yield text
    finally:
        if isinstance(answer, AsyncGenerator):
            await answer.aclose()
    yield _reply("".join(texts))


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"The model's function yielded {type(text).__name__}. Yield text.")
    return text


def _reply(answer: Any) -> Reply:
    if isinstance(answer, str):
        answer = Message(role="assistant", content=answer)
    if not isinstance(answer, Message):
        raise TypeError(
            f"The model's function returned {type(answer).__name__}. Return text or a Message, or yield texts."
        )
    to_json_value(answer, "answer")  # raises now, so that the run is stored as failed
    return Reply(answer)

"""What an agent asks of a model, and the model that is a Python function."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from localstore.files.values import plain
from localstore.sessions import Message


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer, and the tokens it took where the model counts them."""

    message: Message
    input_tokens: int | None = None
    output_tokens: int | None = None


class Model(Protocol):
    """Answers a conversation. `id` is what a run stores as its `model`. Errors pass through the agent."""

    id: str

    def respond(self, messages: Sequence[Message]) -> Reply:
        """The answer to the last of these messages, which are oldest first and may begin with role `system`."""
        ...

    async def arespond(self, messages: Sequence[Message]) -> Reply:
        """The same without blocking the event loop."""
        ...


Answer = str | Message
AnswerFunction = Callable[[list[Message]], Answer | Awaitable[Answer]]


class FunctionModel:
    """A model that is a Python function: it is given the messages and returns the answer, as text or as a Message.

    The function may be async. `arespond` calls a plain function in a thread, so that it may block.
    """

    def __init__(self, function: AnswerFunction, id: str = "function") -> None:  # noqa: A002 - what models call it
        self.id = id
        self._function = function

    def respond(self, messages: Sequence[Message]) -> Reply:
        """Call the function; an async one runs in an event loop of its own.

        Raises RuntimeError for an async one inside a running event loop, TypeError for an answer of another type,
        UnstorableValue for one that no document can hold.
        """
        answer = self._function(list(messages))
        return _reply(_wait_for(answer) if inspect.isawaitable(answer) else answer)

    async def arespond(self, messages: Sequence[Message]) -> Reply:
        """Await the function. Raises TypeError and UnstorableValue as `respond` does."""
        if inspect.iscoroutinefunction(self._function):
            return _reply(await self._function(list(messages)))
        answer = await asyncio.to_thread(self._function, list(messages))
        return _reply(await answer if inspect.isawaitable(answer) else answer)


def _wait_for(answer: Awaitable[Answer]) -> Answer:
    async def wait() -> Answer:
        return await answer

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    if isinstance(answer, Coroutine):
        answer.close()
    raise RuntimeError("The model's function is async and an event loop is running. Use `await agent.arun(...)`.")


def _reply(answer: Any) -> Reply:
    if isinstance(answer, str):
        answer = Message(role="assistant", content=answer)
    if not isinstance(answer, Message):
        raise TypeError(f"The model's function returned {type(answer).__name__}. Return text or a Message.")
    plain(answer, "answer")  # one that no document can hold is the model's failure, and is stored as such
    return Reply(answer)

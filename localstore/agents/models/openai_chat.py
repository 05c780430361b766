"""A model behind the Chat Completions API: OpenAI's own server or any compatible one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from json import JSONDecodeError
from threading import Lock
from typing import TYPE_CHECKING, Any

from localstore.agents.models import chat_messages
from localstore.agents.models.chat_stream import StreamedAnswer
from localstore.agents.models.model import PLAIN, Options, Piece, Reply
from localstore.models.session import Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}

_NO_KEY = (
    "There is no API key. Set the environment variable OPENAI_API_KEY, or pass api_key= to OpenAIChat "
    "(api_key='none' for a server that needs none)."
)


class OpenAIChat:
    """A model behind the Chat Completions API.

    One object can be shared by agents, threads and event loops. It connects to the server when it is first used, and
    reuses its connections.

    >>> model = OpenAIChat(id="llama3.2", base_url="http://localhost:11434/v1", api_key="none")  # Ollama

    Args:
        id: The name of the model on the server.
        api_key: The key for the server. Default: the environment variable OPENAI_API_KEY.
        base_url: The address of a compatible server (Ollama, LM Studio, llama.cpp, vLLM). Default: the environment
            variable OPENAI_BASE_URL, else OpenAI's server.
        temperature: The sampling temperature to request. None leaves it to the server.
        max_tokens: The largest number of tokens to generate. None leaves it to the server.
        timeout: Seconds to wait for the server. Default: that of the `openai` package.
        max_retries: How often to repeat a failed request. Default: that of the `openai` package.
        parameters: Further fields of each request, as in `OpenAIChat(stop=["\\n\\n"], seed=1)`.
    """

    def __init__(
        self,
        id: str = "gpt-4o-mini",  # noqa: A002 - the name that users of the API know
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        **parameters: Any,
    ) -> None:
        self.id = id
        self._client_options = _without_none(
            api_key=api_key, base_url=base_url, timeout=timeout, max_retries=max_retries
        )
        self._parameters = _without_none(temperature=temperature, max_tokens=max_tokens) | parameters
        self._client: OpenAI | None = None
        self._connecting = Lock()
        self._async_clients: dict[asyncio.AbstractEventLoop, tuple[AsyncOpenAI, AsyncGenerator[None]]] = {}

    def respond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:
        """Send the messages to the server and return its answer.

        May raise any error of the `openai` package (OpenAIError if there is no API key or the answer is not valid),
        ValueError for a message part that the API cannot accept, and OSError for a file that cannot be read.
        """
        client = self._sync_client()
        with _name_server_in_errors(client):
            return chat_messages.reply(client.chat.completions.create(**self._request(messages, options)))

    async def arespond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:
        """Return what `respond` returns, without blocking the event loop. Raises what `respond` raises."""
        client = await self._async_client()
        with _name_server_in_errors(client):
            return chat_messages.reply(await client.chat.completions.create(**self._request(messages, options)))

    def stream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Iterator[Piece]:
        """Send the messages to the server and yield the answer as it arrives, the whole Reply last.

        Raises what `respond` raises, also in the middle of an answer, and OpenAIError if the answer was cut off.
        """
        client = self._sync_client()
        answer = StreamedAnswer()
        with _name_server_in_errors(client):
            chunks = client.chat.completions.create(**self._request(messages, options), **_STREAMED)
            with chunks:
                for chunk in chunks:
                    yield from answer.add(chunk)
        yield from answer.end()

    async def astream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> AsyncIterator[Piece]:
        """Yield what `stream` yields, without blocking the event loop."""
        client = await self._async_client()
        answer = StreamedAnswer()
        with _name_server_in_errors(client):
            chunks = await client.chat.completions.create(**self._request(messages, options), **_STREAMED)
            async with chunks:
                async for chunk in chunks:
                    for piece in answer.add(chunk):
                        yield piece
        for piece in answer.end():
            yield piece

    def close(self) -> None:
        """Close the connections of `respond` and `stream`. The model can still be used: it then connects again.

        The connections of `arespond` and `astream` close with their event loop.
        """
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _sync_client(self) -> OpenAI:
        with self._connecting:
            if self._client is None:
                from openai import OpenAI

                self._client = self._connect(OpenAI)
            return self._client

    async def _async_client(self) -> AsyncOpenAI:
        """Return the client of the running event loop, connecting it first if necessary. No other loop can use it."""
        running = asyncio.get_running_loop()
        if running not in self._async_clients:
            from openai import AsyncOpenAI

            for loop in list(self._async_clients):
                if loop.is_closed():
                    self._async_clients.pop(loop, None)
            client = self._connect(AsyncOpenAI)
            guard = _close_with_loop(client)
            self._async_clients[running] = client, guard
            await anext(guard)
        return self._async_clients[running][0]

    def _connect(self, kind: Any) -> Any:
        from openai import OpenAIError

        try:
            return kind(**self._client_options)
        except OpenAIError as error:
            if "api_key" in self._client_options:
                raise
            raise OpenAIError(_NO_KEY) from error

    def _request(self, messages: Sequence[Message], options: Options) -> dict[str, Any]:
        request = {"model": self.id, "messages": chat_messages.request_messages(messages)}
        return {**request, **chat_messages.request_options(options), **self._parameters}


@contextmanager
def _name_server_in_errors(client: OpenAI | AsyncOpenAI) -> Iterator[None]:
    """Add the server's address to errors that occur in the block, because those of the `openai` package lack it.

    A connection error gets a note. An answer that cannot be decoded is raised as OpenAIError.
    """
    from openai import APIConnectionError, OpenAIError

    try:
        yield
    except APIConnectionError as error:
        error.add_note(f"The server is {client.base_url}. Is it running? Correct base_url= or OPENAI_BASE_URL.")
        raise
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise OpenAIError(
            f"{client.base_url} did not send a valid Chat Completions answer: {error}. Ask again, or correct "
            "base_url= or OPENAI_BASE_URL."
        ) from error


async def _close_with_loop(client: AsyncOpenAI) -> AsyncGenerator[None]:
    """Close the client when its event loop ends, because the loop then closes all async generators that are open."""
    try:
        yield
    finally:
        await client.close()


def _without_none(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}

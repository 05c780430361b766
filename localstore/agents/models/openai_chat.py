"""Chat Completions through the `openai` package: OpenAI's own server and every one that speaks its language."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from json import JSONDecodeError
from threading import Lock
from typing import TYPE_CHECKING, Any

from localstore.agents.models import chat_messages
from localstore.agents.models.chat_stream import Arriving
from localstore.agents.models.model import PLAIN, Options, Piece, Reply
from localstore.models.session import Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}

_NO_KEY = (
    "There is no API key. Set the environment variable OPENAI_API_KEY, or pass api_key= to OpenAIChat "
    "(api_key='none' for a server that asks for none)."
)


class OpenAIChat:
    """A model behind the Chat Completions API.

    `base_url` points it at any compatible server (Ollama, LM Studio, llama.cpp, vLLM). What is None is left to the
    `openai` package, which takes the key from OPENAI_API_KEY and the server from OPENAI_BASE_URL. `timeout` is in
    seconds. Every further keyword goes into each request: `OpenAIChat(stop=["\\n\\n"], seed=1)`.

    One object may serve several agents, threads and event loops; it connects when first used and then reuses that.
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
        self._options = _given(api_key=api_key, base_url=base_url, timeout=timeout, max_retries=max_retries)
        self._parameters = _given(temperature=temperature, max_tokens=max_tokens) | parameters
        self._client: OpenAI | None = None
        self._connecting = Lock()
        self._async_clients: dict[asyncio.AbstractEventLoop, tuple[AsyncOpenAI, AsyncGenerator[None]]] = {}

    def respond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:
        """Ask the server. Raises the errors of the `openai` package, an OpenAIError when there is no API key."""
        client = self._sync_client()
        with _naming_the_server(client):
            return chat_messages.reply(client.chat.completions.create(**self._request(messages, options)))

    async def arespond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:
        """Ask the server without blocking the event loop. Raises what `respond` raises."""
        client = await self._async_client()
        with _naming_the_server(client):
            return chat_messages.reply(await client.chat.completions.create(**self._request(messages, options)))

    def stream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Iterator[Piece]:
        """Ask the server, and give the answer as it arrives. Raises what `respond` raises, also in the middle, and
        an OpenAIError for an answer that was cut off."""
        client = self._sync_client()
        arriving = Arriving()
        with _naming_the_server(client):
            chunks = client.chat.completions.create(**self._request(messages, options), **_STREAMED)
            with chunks:
                for chunk in chunks:
                    yield from arriving.take(chunk)
        yield from arriving.end()

    async def astream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> AsyncIterator[Piece]:
        """The same without blocking the event loop."""
        client = await self._async_client()
        arriving = Arriving()
        with _naming_the_server(client):
            chunks = await client.chat.completions.create(**self._request(messages, options), **_STREAMED)
            async with chunks:
                async for chunk in chunks:
                    for piece in arriving.take(chunk):
                        yield piece
        for piece in arriving.end():
            yield piece

    def close(self) -> None:
        """Close what `respond` opened; the connections of `arespond` close with their event loop. May be repeated."""
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
        """The client of the running event loop; its connections are of no use in another one."""
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
            return kind(**self._options)
        except OpenAIError as error:
            if "api_key" in self._options:
                raise
            raise OpenAIError(_NO_KEY) from error

    def _request(self, messages: Sequence[Message], options: Options) -> dict[str, Any]:
        asked = {"model": self.id, "messages": chat_messages.request(messages)}
        return {**asked, **chat_messages.wanted(options), **self._parameters}


@contextmanager
def _naming_the_server(client: OpenAI | AsyncOpenAI) -> Iterator[None]:
    """Let an error say which server could not be reached, or sent what is no answer: the package's own does not."""
    from openai import APIConnectionError, OpenAIError

    try:
        yield
    except APIConnectionError as error:
        error.add_note(f"The server is {client.base_url}. Is it running? Correct base_url= or OPENAI_BASE_URL.")
        raise
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise OpenAIError(
            f"{client.base_url} sent what is no answer of a Chat Completions server: {error}. Ask again, or correct "
            "base_url= or OPENAI_BASE_URL."
        ) from error


async def _close_with_loop(client: AsyncOpenAI) -> AsyncGenerator[None]:
    """An event loop that ends closes the async generators that are still open, and this one the client with it."""
    try:
        yield
    finally:
        await client.close()


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}

"""A model behind the Chat Completions API: OpenAI's own server or any compatible one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from localstore.agents.models import chat_answer, chat_messages
from localstore.agents.models.chat_answer import InvalidAnswer, ReportedError, parse_json
from localstore.agents.models.chat_stream import StreamedAnswer
from localstore.agents.models.event_stream import EventStream
from localstore.agents.models.model import PLAIN, Options, Piece, Reply
from localstore.agents.models.redaction import Redactor, header_secrets, public_address, url_secrets
from localstore.agents.models.server_errors import check_address, connection_error, explain, invalid_answer
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
        parameters: Further fields of each request, as in `OpenAIChat(stop=["\\n\\n"], seed=1)`. `model` is the same as
            `id`.
    """

    answered_by: str | None = None

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
        for name in ("messages", "stream", "stream_options"):
            if name in parameters:
                raise TypeError(f"OpenAIChat sets {name} itself. Leave it out.")
        extra_body = parameters.get("extra_body")
        in_body = extra_body.get("model") if isinstance(extra_body, dict) else None
        self.id: str = in_body or parameters.pop("model", None) or id
        self._client_options = _without_none(
            api_key=api_key, base_url=base_url, timeout=timeout, max_retries=max_retries
        )
        self._parameters = _without_none(temperature=temperature, max_tokens=max_tokens) | parameters
        self._client: OpenAI | None = None
        self._connecting = Lock()
        self._async_clients: dict[asyncio.AbstractEventLoop, tuple[AsyncOpenAI, AsyncGenerator[None]]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> OpenAIChat:
        """Return a model with the same settings, which opens connections of its own."""
        return type(self)(self.id, **self._client_options, **deepcopy(self._parameters, memo))

    def __repr__(self) -> str:
        return f"OpenAIChat({self.id!r})"

    def with_id(self, id: str) -> OpenAIChat:  # noqa: A002 - as in __init__
        """Return another model of the same server, with the same settings. It opens connections of its own.

        >>> OpenAIChat("gpt-4o-mini", temperature=0).with_id("gpt-4o")
        OpenAIChat('gpt-4o')
        """
        other = deepcopy(self)
        if isinstance(extra_body := other._parameters.get("extra_body"), dict):
            extra_body.pop("model", None)
        other.id = id
        return other

    def respond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:
        """Send the messages to the server and return its answer.

        May raise any error of the `openai` package: OpenAIError if there is no API key, the address of the server is
        incomplete or the answer is not valid, and its subclasses. Their text names the server. API keys, and user names
        and passwords in the address, are replaced by `***` in them. Also raises ValueError for a message part that the
        API cannot accept, and OSError for a file that cannot be read.
        """
        request = self._request(messages, options)
        with self._clear_errors():
            client = self._sync_client()
            return self._reply(client.chat.completions.with_raw_response.create(**request).http_response)

    async def arespond(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Reply:
        """Return what `respond` returns, without blocking the event loop. Raises what `respond` raises."""
        request = self._request(messages, options)
        with self._clear_errors():
            client = await self._async_client()
            return self._reply((await client.chat.completions.with_raw_response.create(**request)).http_response)

    def stream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> Iterator[Piece]:
        """Send the messages to the server and yield the answer as it arrives, the whole Reply last.

        Raises what `respond` raises, also in the middle of an answer, and OpenAIError if the answer was cut off.
        """
        request = {**self._request(messages, options), **_STREAMED}
        with self._clear_errors():
            client = self._sync_client()
            response = client.chat.completions.with_raw_response.create(**request).http_response
            stream = _Stream(response)
            try:
                for data in response.iter_bytes():
                    yield from stream.feed(data)
                    if stream.is_done:
                        break
                for piece in stream.end():
                    yield self._public(piece) if isinstance(piece, Reply) else piece
            finally:
                response.close()

    async def astream(self, messages: Sequence[Message], options: Options = PLAIN, /) -> AsyncIterator[Piece]:
        """Yield what `stream` yields, without blocking the event loop."""
        request = {**self._request(messages, options), **_STREAMED}
        with self._clear_errors():
            client = await self._async_client()
            response = (await client.chat.completions.with_raw_response.create(**request)).http_response
            stream = _Stream(response)
            try:
                async for data in response.aiter_bytes():
                    for piece in stream.feed(data):
                        yield piece
                    if stream.is_done:
                        break
                for piece in stream.end():
                    yield self._public(piece) if isinstance(piece, Reply) else piece
            finally:
                await response.aclose()

    def redacted(self, text: str) -> str:
        """Return `text` with `***` in place of the model's API key, and of the password in the server's address.

        >>> OpenAIChat(api_key="sk-0123456789").redacted("The key sk-0123456789 has expired.")
        'The key *** has expired.'
        """
        return self._redactor(None).text(text)

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

        if (address := self._client_options.get("base_url")) is not None:
            check_address(str(address))  # the client may accept it, or raise an error of its HTTP library
        try:
            client = kind(**self._client_options)
        except OpenAIError as error:
            if "api_key" in self._client_options:
                raise
            raise OpenAIError(_NO_KEY) from error
        check_address(str(client.base_url))  # it may come from the environment
        return client

    def _request(self, messages: Sequence[Message], options: Options) -> dict[str, Any]:
        request = {"model": self.id, "messages": chat_messages.request_messages(messages)}
        return {**request, **chat_messages.request_options(options), **self._parameters}

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Raise the errors of a request as errors of the `openai` package that name the server, but no secrets."""
        from openai import OpenAIError

        try:
            yield
        except (OpenAIError, TypeError) as error:  # TypeError: the client does not know one of the parameters
            explain(error, self._address())
            self._redactor(error).error(error)
            raise
        except Exception as error:
            clear = connection_error(error)
            clear.__cause__ = error
            explain(clear, self._address())
            self._redactor(error).error(clear)
            raise clear from error

    def _address(self) -> str:
        """Return the address of the server, without user name and password."""
        url = getattr(self._any_client(), "base_url", None) or self._client_options.get("base_url")
        return public_address(str(url or "in OPENAI_BASE_URL"))

    def _any_client(self) -> OpenAI | AsyncOpenAI | None:
        return self._client or next((client for client, _ in list(self._async_clients.values())), None)

    def _redactor(self, error: BaseException | None) -> Redactor:
        """Return a Redactor for the keys and passwords in the model's settings, its client and the failed request."""
        client, options = self._any_client(), self._client_options
        keys = [options.get("api_key"), getattr(client, "api_key", None)]
        urls = [options.get("base_url"), getattr(client, "base_url", None)]
        headers = [self._parameters.get("extra_headers"), getattr(client, "default_headers", None)]
        headers.append(getattr(getattr(error, "request", None), "headers", None))
        return Redactor(
            [
                *(key for key in keys if isinstance(key, str)),
                *(secret for url in urls if url for secret in url_secrets(str(url))),
                *(secret for group in headers if group for secret in header_secrets(group)),
            ]
        )

    def _reply(self, response: Any) -> Reply:
        with _named_server(response, lambda: response.content, streamed=False):
            return self._public(chat_answer.reply(parse_json(response.content)))

    def _public(self, reply: Reply) -> Reply:
        """Return the reply without secrets in what the server says about it. Its message stays as it is."""
        if reply.model in (None, self.id) and reply.finish_reason is None:
            return reply
        redact = self._redactor(None).text
        model, reason = (text if text is None else redact(text) for text in (reply.model, reply.finish_reason))
        return replace(reply, model=model, finish_reason=reason)


class _Stream:
    """Turns the body of a streamed answer into pieces. Pass each part of the body to `feed`, and then call `end`."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._events = EventStream()
        self._answer = StreamedAnswer()
        self._has_answer = False

    @property
    def is_done(self) -> bool:
        """Whether the server has ended its answer. The rest of the body does not matter."""
        return self._events.is_done

    def _beginning(self) -> bytes | None:
        return None if self._has_answer else self._events.beginning

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the pieces that the next part of the body completes. Raises OpenAIError if it is not valid."""
        with _named_server(self._response, self._beginning, streamed=True):
            for event in self._events.feed(data):
                yield from self._answer.add(event)
                self._has_answer = True

    def end(self) -> Iterator[Piece]:
        """Yield the remaining pieces, the whole Reply last. Raises OpenAIError if the answer is missing or cut off."""
        with _named_server(self._response, self._beginning, streamed=True):
            for event in self._events.end():
                yield from self._answer.add(event)
                self._has_answer = True
            if not self._has_answer:
                if (body := self._events.beginning).lstrip().startswith(b"{"):
                    chat_answer.raise_reported_error(chat_answer.as_object(parse_json(body), "the answer"))
                raise InvalidAnswer("there is no event with an answer")
            if not self._answer.is_complete:
                from openai import OpenAIError

                address = _response_address(self._response)
                raise OpenAIError(f"The server cut off its answer without a finish_reason: {address}. Ask again.")
            yield from self._answer.end()


@contextmanager
def _named_server(response: Any, body: Callable[[], bytes | None], *, streamed: bool) -> Iterator[None]:
    """Raise OpenAIError for an invalid answer in the block. `body` is as in `invalid_answer`."""
    try:
        yield
    except InvalidAnswer as error:
        raise invalid_answer(_response_address(response), str(error), body(), streamed=streamed) from None
    except ReportedError as error:
        from openai import APIError

        message = f"{_response_address(response)} reports an error: {error}"
        raise APIError(message, response.request, body=error.body) from None


def _response_address(response: Any) -> str:
    """Return the address that answered, which is another one than asked if there was a redirect."""
    return public_address(str(response.url))


async def _close_with_loop(client: AsyncOpenAI) -> AsyncGenerator[None]:
    """Close the client when its event loop ends, because the loop then closes all async generators that are open."""
    try:
        yield
    finally:
        await client.close()


def _without_none(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}

"""Servers that answer with anything but an answer: each time one clear error, and a run that is stored as failed."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import openai
import pytest

from localstore import Agent, JsonStorage, OpenAIChat
from tests.effort import sampled

HTML = b"<!DOCTYPE html><html><body>Please log in to the hotel network</body></html>"
JSON, SSE, PAGE = "application/json", "text/event-stream", "text/html"


def http(body: bytes, kind: str = JSON, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def completion(**choice: Any) -> bytes:
    return http(json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


def events(*data: Any) -> bytes:
    lines = [b"data: " + (one if isinstance(one, bytes) else json.dumps(one).encode()) for one in data]
    return http(b"\n\n".join([*lines, b""]), SSE)


def delta(content: Any, finish: Any = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content, **fields}, "finish_reason": finish}]}


@contextmanager
def raw_server(answer: bytes | Callable[[int], bytes]) -> Iterator[str]:
    """A server that sends the same bytes to each connection, whatever it is asked. Yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        data = answer if isinstance(answer, bytes) else answer(port)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(60)
                    try:
                        received = b""
                        while b"\r\n\r\n" not in received and (piece := connection.recv(65536)):
                            received += piece
                            if not received.startswith((b"POST", b"GET")):
                                break  # TLS
                        connection.sendall(data)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass
                    except OSError:
                        pass

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)


async def collect(agent: Agent) -> list[Any]:
    return [event async for event in agent.astream("hi")]


WAYS: dict[str, Callable[[Agent], Any]] = {
    "run": lambda agent: agent.run("hi"),
    "arun": lambda agent: asyncio.run(agent.arun("hi")),
    "stream": lambda agent: list(agent.stream("hi")),
    "astream": lambda agent: asyncio.run(collect(agent)),
}


def failure(base_url: str, folder: Path, way: str) -> str:
    """Ask in one of the four ways. Return the text of the error, having looked at what was stored."""
    model = OpenAIChat(id="m", base_url=base_url, api_key="none", max_retries=0, timeout=60)
    storage = JsonStorage(folder / way)
    with pytest.raises(openai.OpenAIError) as caught:
        WAYS[way](Agent(model=model, session_id="s", storage=storage))
    model.close()
    [entry] = json.loads(storage.path("s").read_bytes())["history"]
    assert (entry["status"], entry["messages"][0]) == ("error", {"role": "user", "content": "hi"})
    assert str(caught.value) in entry["error"]
    return str(caught.value)


def _ways(number: int) -> list[str]:
    """Return the four ways; at the default level two of them, in turn."""
    names = list(WAYS)
    first = number % 2
    return sampled(names[first:] + names[:first], 2)


EVERYWHERE: dict[str, tuple[bytes | Callable[[int], bytes], str]] = {
    "a captive portal": (http(HTML, PAGE), "a web page: '<!DOCTYPE html>"),
    "a captive portal that says it is JSON": (http(HTML), "a web page: '<!DOCTYPE html>"),
    "an empty body": (http(b""), "an empty answer"),
    "no content": (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "an empty answer"),
    "null": (http(b"null"), ": 'null'"),
    "a list": (http(b"[]"), ": '[]'"),
    "a text": (http(b'"hello"'), ": '\"hello\"'"),
    "a number": (http(b"42"), ": '42'"),
    "plain text": (http(b"It works!", "text/plain"), "text that is not JSON: 'It works!'"),
    "bytes": (http(bytes(range(128, 256))), "text that is not JSON"),
    "deep JSON": (http(b"[" * 100_000), "not JSON"),
    "an error with status 200": (http(b'{"error": {"message": "overloaded"}}'), "reports an error: overloaded"),
    "an error that is text": (http(b'{"error": "overloaded"}'), "reports an error: overloaded"),
    "no choices": (http(b'{"choices": []}'), "JSON of another form"),
    "another API": (http(b'{"response": "hi", "done": true}'), "JSON of another form"),
    "damaged gzip": (http(b"\x1f\x8b" + b"x" * 50, JSON, "200 OK", "Content-Encoding: gzip"), "Its answer is damaged"),
    "half a gzip": (http(gzip.compress(b"x" * 9999)[:30], JSON, "200 OK", "Content-Encoding: gzip"), ""),
    "a web page with status 502": (http(HTML, PAGE, "502 Bad Gateway"), "Error code: 502, with a web page: '<!DOCTYPE"),
    "nothing at all": (b"", "Connection error"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "Connection error"),
    "a redirect in a circle": (
        lambda port: http(b"", JSON, "307 Temporary", f"Location: http://127.0.0.1:{port}/v1/chat/completions"),
        "redirects without end",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("what", "way"), [(what, way) for n, what in enumerate(EVERYWHERE) for way in _ways(n)])
def test_an_odd_answer_is_described(what: str, way: str, tmp_path: Path) -> None:
    """These gave AttributeError, JSONDecodeError, or an answer that was "cut off", and nobody knew what had come."""
    answer, part = EVERYWHERE[what]
    gc.collect()  # otherwise the garbage of other tests may be collected too deep in JSON for its finalizers
    with raw_server(answer) as base_url:
        text = failure(base_url, tmp_path, way)
    assert part in text
    assert base_url.removesuffix("/v1") in text
    assert len(text) < 700


WHOLE = {
    "an event stream": (events(delta("hi"), delta("", "stop"), b"[DONE]"), "an event stream: 'data: "),
    "choices that are null": (http(b'{"choices": null}'), "there are no choices"),
    "choices that are an object": (http(b'{"choices": {}}'), "choices is an object"),
    "a choice that is null": (http(b'{"choices": [null]}'), "choices[0] is null"),
    "no message": (completion(finish_reason="stop"), "choices[0].message is null"),
    "a message that is text": (completion(message="hi"), "choices[0].message is text"),
    "content that is a number": (completion(message={"content": 5}), "content is a number"),
    "content of numbers": (completion(message={"content": [5]}), "content[0] is a number"),
    "a tool call that is null": (completion(message={"tool_calls": [None]}), "a tool call is null"),
    "a tool call without a name": (
        completion(message={"tool_calls": [{"id": "1", "function": {"arguments": "{}"}}]}),
        "a tool call has no name",
    ),
    "tool calls that are text": (completion(message={"tool_calls": "look"}), "tool_calls is text"),
}


@pytest.mark.parametrize("way", ["run", "arun"])
@pytest.mark.parametrize("what", WHOLE)
def test_an_answer_of_another_form_is_described(what: str, way: str, tmp_path: Path) -> None:
    """These gave AttributeError or TypeError from inside the package."""
    answer, part = WHOLE[what]
    with raw_server(answer) as base_url:
        assert part in failure(base_url, tmp_path, way)


STREAMED = {
    "JSON": (completion(message={"content": "hi"}, finish_reason="stop"), "The server may not be able to stream"),
    "no end": (events(delta("hi")), "cut off its answer"),
    "only an end": (events(b"[DONE]"), "there is no event with an answer"),
    "no JSON in an event": (events(b"oops"), "an event is not JSON"),
    "no JSON in the second event": (events(delta("hi"), b'{"choices": ['), "an event is not JSON"),
    "null in an event": (events(b"null"), "an event is null"),
    "a list in an event": (events(b"[]"), "an event is a list"),
    "choices that are text": (events({"choices": "hi"}), "choices is text"),
    "a choice that is null": (events({"choices": [None]}), "choices[0] is null"),
    "a delta that is text": (events({"choices": [{"delta": "hi"}]}), "choices[0].delta is text"),
    "content that is a number": (events(delta(5)), "content is a number"),
    "a tool call without a name": (events(delta(None, "stop", tool_calls=[{"index": 0}])), "a tool call has no name"),
    "a tool call that is text": (events(delta(None, tool_calls=["look"])), "a tool call is text"),
    "an error after some text": (events(delta("hi"), {"error": {"message": "no"}}), "reports an error: no"),
}


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("what", STREAMED)
def test_an_odd_stream_is_described(what: str, way: str, tmp_path: Path) -> None:
    """These gave AttributeError, JSONDecodeError or an answer that was "cut off"."""
    answer, part = STREAMED[what]
    with raw_server(answer) as base_url:
        assert part in failure(base_url, tmp_path, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("base_url", "part"),
    [
        ("127.0.0.1:9/v1", "'127.0.0.1:9/v1' is not the address of a server. Write a complete URL"),
        ("localhost:11434/v1", "'localhost:11434/v1' is not the address of a server"),
        ("http://127.0.0.1:99999/v1", "is not the address of a server"),
        ("http://127.0.0.1:9/v1", "The server is http://127.0.0.1:9/v1/. Is it running?"),
    ],
)
def test_a_wrong_address_is_named(base_url: str, part: str, way: str, tmp_path: Path) -> None:
    """An address without `http://` said "Connection error." The advice was in a note, which `str` does not show."""
    assert part in failure(base_url, tmp_path, way)


@pytest.mark.parametrize("way", WAYS)
def test_tls_to_a_server_without_it(way: str, tmp_path: Path) -> None:
    """The error says that http:// may be right."""
    with raw_server(http(b"{}")) as base_url:
        text = failure(base_url.replace("http:", "https:"), tmp_path, way)
    assert "write http:// instead of https://" in text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [JSON, "text/plain", "text/html"])
def test_a_good_answer_is_read_whatever_its_type_is_said_to_be(kind: str, way: str, tmp_path: Path) -> None:
    """Content in parts, token counts of another form, and unknown fields do no harm."""
    content = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "yes"}]
    fields = {"usage": {"prompt_tokens": "3", "completion_tokens": 2}, "model": None, "odd": 1}
    whole = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}], **fields}
    lines = b": ping\n\nevent: x\n\nnonsense\r\n\r\ndata: " + json.dumps({**delta(content), **fields}).encode()
    lines += b"\r\n\r\ndata: {}\n\ndata: " + json.dumps(delta(None, "stop")).encode()
    with raw_server(http(json.dumps(whole).encode() if "run" in way else lines, kind)) as base_url:
        model = OpenAIChat(id="m", base_url=base_url, api_key="none", max_retries=0)
        storage = JsonStorage(tmp_path)
        WAYS[way](Agent(model=model, session_id="s", storage=storage))
        model.close()
    session = storage.read("s")
    assert session is not None
    assert (session.runs[0].answer, session.runs[0].status, session.runs[0].model) == ("yes", "completed", "m")
    metrics = session.runs[0].metrics
    assert metrics is not None
    assert (metrics.input_tokens, metrics.output_tokens) == (None, 2)

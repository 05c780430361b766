"""A Chat Completions server on loopback that answers from a script, for tests with the real `openai` client.

Embeddings, where a test asks for them, are computed, not scripted. A request with `stream` gets its answer in pieces.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the server sends to one request. A `cut` one promises the whole body and sends half of it.

    `events`, where there are some, are sent as a stream, one by one: mappings, or bytes as they are; what can be called
    is called in between, and may wait. A cut stream ends without its end.
    """

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    events: tuple[dict[str, Any] | bytes | Callable[[], Any], ...] = ()


_SAME_MODEL = "scripted"
"""Stands for the model that the request names, as most servers repeat it."""


def text(
    content: str | None,
    *,
    input_tokens: int = 7,
    output_tokens: int = 3,
    model: str = _SAME_MODEL,
    finish_reason: str | None = None,
    details: dict[str, Any] | None = None,
    **message: Any,
) -> Reply:
    """An answer; `details` are further token counts, further keywords go into its message."""
    usage = {
        **(details or {}),
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    answer = {"role": "assistant", "content": content, **message}
    finish_reason = finish_reason or ("tool_calls" if "tool_calls" in message else "stop")
    choice = {"index": 0, "message": answer, "finish_reason": finish_reason}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return Reply(200, {**body, "usage": usage})


def tool_call(name: str, arguments: str, call_id: str = "call_1") -> Reply:
    """An answer that is one tool call; `arguments` is the text that the model wrote."""
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return text(None, tool_calls=[call])


def stream(*events: str | dict[str, Any] | bytes | Callable[[], Any], cut: bool = False) -> Reply:
    """A streamed answer; a text is an event that brings this text. Unless it is cut, it ends as it should."""
    said = [chunk({"content": event}) if isinstance(event, str) else event for event in events]
    end: list[dict[str, Any] | bytes] = [] if cut else [chunk({}, finish_reason="stop"), b"data: [DONE]\n\n"]
    return Reply(200, {}, cut=cut, events=(*said, *end))


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    """One event of a streamed answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": _SAME_MODEL, "choices": [choice]}


def error(status: int, message: str, **headers: str) -> Reply:
    """An error in the API's form; in header names `_` stands for `-`."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"error": {"message": message, "type": "error", "code": None}}, fields)


CUT = Reply(200, {"cut": "x" * 1000}, cut=True)


class ScriptedServer(ThreadingHTTPServer):
    """Sends the replies in order; `requests` holds the bodies and `keys` the API keys that came in.

    `embed`, when it is set, gives the vectors of texts at /v1/embeddings.
    """

    daemon_threads = False
    embed: Callable[[str], list[float]] | None = None

    def __init__(self, script: tuple[Reply, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self._script = iter(script)
        self._lock = Lock()
        self._open: set[socket.socket] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def next_reply(self, request: dict[str, Any], key: str) -> Reply:
        with self._lock:
            self.requests.append(request)
            self.keys.append(key)
            return next(self._script, error(400, "the script is over"))

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep open, so that their threads end."""
        for connection in tuple(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # already gone


_TYPES = {False: "application/json", True: "text/event-stream"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        if self.path == "/v1/embeddings" and self.server.embed is not None:
            reply = _embedded(request["input"], self.server.embed)
        elif self.path != "/v1/chat/completions":
            reply = error(404, f"no such path: {self.path}")
        else:
            reply = self.server.next_reply(request, key)
        model = request.get("model")
        if reply.events:
            self._send_events(reply, model)
            return
        streamed = bool(request.get("stream")) and reply.status == 200 and not reply.cut
        plain = _with_model(reply.body, model)
        body = _stream(plain) if streamed else json.dumps(plain).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": _TYPES[streamed], **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if reply.cut else body)
        self.close_connection = reply.cut

    def _send_events(self, reply: Reply, model: Any) -> None:
        self.send_response(200)
        self.send_header("Content-Type", _TYPES[True])
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for event in reply.events:
                if callable(event):
                    event()
                    continue
                data = (
                    event if isinstance(event, bytes) else f"data: {json.dumps(_with_model(event, model))}\n\n".encode()
                )
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            if not reply.cut:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # whoever asked is gone
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """Stay silent."""


def _with_model(body: dict[str, Any], model: Any) -> dict[str, Any]:
    return {**body, "model": model} if body.get("model") == _SAME_MODEL else body


def _embedded(given: str | list[str], embed: Callable[[str], list[float]]) -> Reply:
    texts = [given] if isinstance(given, str) else given
    data = [{"object": "embedding", "index": index, "embedding": embed(text)} for index, text in enumerate(texts)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return Reply(200, {"object": "list", "model": "scripted", "data": data, "usage": usage})


def _stream(body: dict[str, Any]) -> bytes:
    """The same answer in events: the text word by word, a tool call in two halves, why it ended, the usage."""
    choice = body["choices"][0]
    message = choice["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in re.findall(r"\S+\s*", message["content"] or "")]
    for index, call in enumerate(message.get("tool_calls", ())):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        half = len(arguments) // 2
        begun = {**call, "index": index, "function": {"name": name, "arguments": arguments[:half]}}
        deltas += [{"tool_calls": [begun]}]
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]}]
    common = {key: body[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    events = [{**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events += [{**common, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}]
    events += [{**common, "choices": [], "usage": body["usage"]}]
    return b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events) + b"data: [DONE]\n\n"


@contextmanager
def scripted_server(*script: Reply) -> Iterator[ScriptedServer]:
    """A running server; it is gone, with its threads and connections, when the block ends."""
    with ScriptedServer(script) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            server.hang_up()
            thread.join()

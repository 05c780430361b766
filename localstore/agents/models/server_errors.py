"""Makes errors that say what a server sent, which server it was, and what to check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from localstore.agents.models.chat_answer import InvalidAnswer, parse_json
from localstore.agents.models.redaction import public_address

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAIError

CHECK_ADDRESS = "Check base_url= or OPENAI_BASE_URL."
_EXCERPT = 120
"""How many characters of an odd answer an error shows."""


def check_address(url: str) -> None:
    """Raise OpenAIError unless `url` is a complete http or https URL."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    except ValueError:
        pass
    from openai import OpenAIError

    raise OpenAIError(
        f"{public_address(url)!r} is not the address of a server. Write a complete URL, such as "
        "http://localhost:11434/v1, in base_url= or OPENAI_BASE_URL."
    )


def invalid_answer(address: str, problem: str, body: bytes | None, *, streamed: bool) -> OpenAIError:
    """Return an error that describes an odd answer.

    Args:
        address: The address of the server.
        problem: Why the answer is not valid.
        body: The beginning of the answer, or None if it began as a valid one.
        streamed: Whether a stream was asked for.
    """
    from openai import OpenAIError

    failed = f"{address} did not send a valid Chat Completions answer"
    if body is None:
        return OpenAIError(f"{failed}: {problem}. Ask again, or correct base_url= or OPENAI_BASE_URL.")
    what, hint = _description(body, problem, streamed=streamed)
    return OpenAIError(f"{failed}, but {what}{_excerpt(body)}. {hint}{CHECK_ADDRESS}")


def _description(body: bytes, problem: str, *, streamed: bool) -> tuple[str, str]:
    """Return what a body is, and a hint that ends in a space, or ""."""
    start = body.lstrip()[:20].lower()
    if not start:
        return "an empty answer", ""
    if start.startswith(b"<"):
        return "a web page", "A network that asks you to log in answers like this, and so does a wrong address. "
    if start.startswith((b"data:", b"event:", b":")):
        hint = "" if streamed else "The server streams, although no stream was asked for. "
        return f"events ({problem})" if streamed else "an event stream", hint
    try:
        parse_json(body)
    except InvalidAnswer:
        return "text that is not JSON", ""
    return f"JSON of another form ({problem})", "The server may not be able to stream. " if streamed else ""


def _excerpt(body: bytes) -> str:
    text = " ".join(body[: 10 * _EXCERPT].decode(errors="replace").split())
    if not text:
        return ""
    return f": {text[:_EXCERPT]!r}{' ...' if len(text) > _EXCERPT else ''}"


def explain(error: Exception, address: str) -> None:
    """Add the server's address, the reason and advice to the text of an error of the `openai` package, in place."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    if isinstance(error, APITimeoutError):
        set_text(error, f"Request timed out. The server is {address}. Ask again, or wait longer with timeout=.")
    elif isinstance(error, APIConnectionError):
        reason = _reason(error)
        advice = _connection_advice(reason, address)
        set_text(error, f"Connection error. The server is {address}. {advice}" + (f" ({reason})" if reason else ""))
    elif isinstance(error, APIStatusError):
        set_text(error, _status_text(error, address))


def _reason(error: BaseException) -> str:
    """Return the text of the innermost cause that has one, or ""."""
    text, cause = "", error.__cause__
    while cause is not None:
        text = " ".join(str(cause).split()) or text
        cause = cause.__cause__ or cause.__context__
    return text.rstrip(".")


def _connection_advice(reason: str, address: str) -> str:
    if "SSL" in reason and address.startswith("https:"):
        return f"If it does not use TLS, write http:// instead of https://. {CHECK_ADDRESS}"
    if "redirect" in reason:
        return f"It redirects without end. {CHECK_ADDRESS}"
    if "decompress" in reason or "decod" in reason:
        return f"Its answer is damaged. {CHECK_ADDRESS}"
    return "Is it running? Correct base_url= or OPENAI_BASE_URL."


def _status_text(error: APIStatusError, address: str) -> str:
    message, body = str(error), error.body
    if isinstance(body, str) and body.strip():
        what = "a web page" if body.lstrip().startswith("<") else "text"
        message = f"Error code: {error.status_code}, with {what}{_excerpt(body.encode(errors='replace'))}"
    return f"{message.rstrip('.')}. The server is {address}." + (
        f" {CHECK_ADDRESS}" if error.status_code == 404 else ""
    )


def set_text(error: Any, text: str) -> None:
    error.args = (text, *error.args[1:])
    error.message = text


def connection_error(error: Exception) -> OpenAIError:
    """Return the error of the `openai` package for an error of its HTTP client, which it raises in a stream."""
    from openai import APIConnectionError, APITimeoutError

    request: Any
    try:
        request = getattr(error, "request", None)
    except RuntimeError:  # the HTTP client raises it if it does not know the request
        request = None
    return APITimeoutError(request) if "Timeout" in type(error).__name__ else APIConnectionError(request=request)

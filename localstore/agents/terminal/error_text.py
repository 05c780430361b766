"""Describes any error in one line for the person at a chat, with advice where the cause is known."""

from __future__ import annotations

from typing import Any

from localstore.agents.terminal.screen import visible
from localstore.errors import LocalstoreError
from localstore.models.session import Run

_ADVICE = {
    401: "Correct the API key (OPENAI_API_KEY).",
    403: "Check what this API key is allowed to use.",
    404: "Check the name of the model and the server's address.",
    429: "Wait a moment, or check your quota.",
}


def error_line(error: BaseException) -> str:
    """Return a line that describes `error` for a person, followed by the error's notes.

    An error with a `run` attribute comes from storing an answer: the line then says so, and the notes are left out.
    """
    text = _message(error)
    if hasattr(error, "run"):
        return f"The answer could not be stored. {text}"
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    return " ".join([text, *notes])


def incomplete_line(run: Run) -> str | None:
    """Return a line that says why the answer of a run is not complete, or None if it is complete."""
    if run.finish_reason is None:
        return None
    advice = " It reached the limit of tokens. Raise max_tokens to get more." if run.finish_reason == "length" else ""
    return f"The answer is not complete (finish_reason: {visible(run.finish_reason)}).{advice}"


def _message(error: BaseException) -> str:
    if isinstance(error, LocalstoreError):
        return str(error)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        advice = _ADVICE.get(status, "Try again later." if status >= 500 else "Correct it and ask again.")
        return f"The server answered {status}: {_sentence(_server_message(error))} {advice}"
    if _is_from_openai(error):
        return _sentence(str(error))
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}."
    return f"{type(error).__name__}: {_sentence(str(error))}" if str(error) else f"{type(error).__name__}."


def _is_from_openai(error: BaseException) -> bool:
    """Return whether `error` comes from the openai package, whose messages need no error class before them."""
    return any(kind.__module__.partition(".")[0] == "openai" for kind in type(error).__mro__)


def _server_message(error: BaseException) -> str:
    """Return the message in the JSON that the server sent with an error, or the text of the error if it sent none."""
    body: Any = getattr(error, "body", None)
    message = body.get("message") or body.get("error") if isinstance(body, dict) else None
    return message if isinstance(message, str) and message.strip() else str(error)


def _sentence(text: str) -> str:
    """Return `text` on one line, with a full stop added unless it ends in `.`, `!` or `?`."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."

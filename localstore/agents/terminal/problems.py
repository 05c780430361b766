"""What went wrong in one line, with what to do: for errors of a model's server, of the storage, and all others."""

from __future__ import annotations

from typing import Any

from localstore.errors import LocalstoreError

_ADVICE = {
    401: "Correct the API key (OPENAI_API_KEY).",
    403: "Check what this API key may use.",
    404: "Check the name of the model, and the server's address.",
    429: "Wait a little, or check the quota.",
}


def problem(error: BaseException) -> str:
    """The error as one line for a person."""
    text = _said(error)
    if hasattr(error, "run"):
        return f"The answer could not be stored. {text}"
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    return " ".join([text, *notes])


def _said(error: BaseException) -> str:
    if isinstance(error, LocalstoreError):
        return str(error)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        advice = _ADVICE.get(status, "Try again later." if status >= 500 else "Correct it and ask again.")
        return f"The server answered {status}: {_ended(_words(error))} {advice}"
    if _is_of_client(error):
        return _ended(str(error))
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}."
    return f"{type(error).__name__}: {_ended(str(error))}" if str(error) else f"{type(error).__name__}."


def _is_of_client(error: BaseException) -> bool:
    """Whether the openai package, whose messages are for people, or our use of it raised this."""
    return any(kind.__module__.partition(".")[0] == "openai" for kind in type(error).__mro__)


def _words(error: BaseException) -> str:
    """The server's own words in an error of the openai package."""
    body: Any = getattr(error, "body", None)
    if isinstance(body, dict):
        body = body.get("message") or body.get("error") or body
    return body if isinstance(body, str) and body.strip() else str(error)


def _ended(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."

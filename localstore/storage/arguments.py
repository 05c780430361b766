"""Check the arguments of a storage before anything is opened."""

from typing import Any

from localstore.format.values import to_json_value
from localstore.models.schema import KINDS


class Unset:
    """The default of an argument that may also be None."""

    def __repr__(self) -> str:
        return "unset"


UNSET = Unset()


def check_id(session_id: str) -> None:
    """Check a session id. Raises TypeError, ValueError, UnstorableValue."""
    if not isinstance(session_id, str):
        raise TypeError(f"session_id must be text, not {type(session_id).__name__}")
    if not session_id:
        raise ValueError("session_id must not be empty")
    if not session_id.isascii():
        to_json_value(session_id, "session_id")


def check_text(name: str, value: str | None) -> None:
    """Check that an argument is text or None. Raises TypeError."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be text or None, not {type(value).__name__}. Use str(...).")


def check_kind(kind: str | None) -> None:
    """Check that an argument is a kind of session or None. Raises ValueError."""
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")


def check_update(state: dict[str, Any], header: dict[str, Any]) -> None:
    """Check the types of the arguments of `update`. Raises TypeError."""
    for values, name, kind, words in (
        (state, "session_state", dict, "a dict"),
        (state, "session_data", dict, "a dict"),
        (state, "instructions", str, "text"),
        (header, "name", str, "text"),
        (header, "tags", list, "a list of texts"),
        (header, "metadata", dict, "a dict"),
    ):
        if not isinstance(values.get(name), (kind, type(None))):
            raise TypeError(f"{name} must be {words}, not {type(values[name]).__name__}")
    if not all(isinstance(tag, str) for tag in header.get("tags") or ()):
        raise TypeError("tags must be a list of texts")

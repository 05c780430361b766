"""Beginnings of session ids that are shown instead of the whole id."""

from collections.abc import Iterable
from typing import Protocol

from localstore.models.excerpt import whole_end


class Names(Protocol):
    """Knows the ids and the names of all sessions."""

    def neighbours(self, session_ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the id before and the one after each of these ids, where there are such."""
        ...

    def has_name(self, text: str) -> bool:
        """Return whether a session has exactly this name."""
        ...


def short_ids(names: Names, session_ids: Iterable[str], least: int) -> dict[str, str]:
    """Return the beginning of each id, of at least `least` characters, that no other session's id has.

    It is not the name of a session either, and does not end within a character of several code points.
    """
    found = {}
    for session_id, others in names.neighbours(session_ids).items():
        shared = max((_shared(session_id, other) for other in others), default=0)
        length = max(least, shared + 1)
        while length < len(session_id) and (
            whole_end(session_id, length) < length or names.has_name(session_id[:length])
        ):
            length += 1
        found[session_id] = session_id[:length]
    return found


def _shared(one: str, other: str) -> int:
    """Return how many characters at the beginning of two texts are the same."""
    for number, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return number
    return min(len(one), len(other))

"""Finds the sessions that a person names by an id, a name, or the beginning of either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localstore.format.control_characters import escaped

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo


@dataclass(frozen=True, slots=True)
class NamedSessions:
    """The sessions that a text names, in the order in which they were given.

    `how` says how they match, for the error that several do: they "have the id", "have the name", or "have an id that
    begins with" or "a name that begins with" the text.
    """

    how: str
    sessions: list[SessionInfo]


def exactly_named(rows: Sequence[SessionInfo], text: str) -> NamedSessions | None:
    """Return the sessions with this id, otherwise with this name; None if there are none.

    The id may also be written as listings print it, with escapes for control characters.
    """
    for how, matches in (
        ("have the id", [row for row in rows if row.session_id == text]),
        ("have the name", [row for row in rows if row.name == text]),
        ("have the id", [row for row in rows if escaped(row.session_id) == text]),
    ):
        if matches:
            return NamedSessions(how, matches)
    return None


def beginning_with(rows: Sequence[SessionInfo], text: str) -> NamedSessions | None:
    """Return the sessions whose id begins with this text, otherwise those whose name does; None if there are none."""
    for how, matches in (
        ("have an id that begins with", [row for row in rows if escaped(row.session_id).startswith(text)]),
        ("have a name that begins with", [row for row in rows if row.name and row.name.startswith(text)]),
    ):
        if matches:
            return NamedSessions(how, matches)
    return None


def similar_to(rows: Sequence[SessionInfo], text: str) -> list[SessionInfo]:
    """Return the sessions with this text anywhere in their id or name, in upper or lower case."""
    folded = text.casefold()
    return [row for row in rows if folded in row.session_id.casefold() or folded in (row.name or "").casefold()]

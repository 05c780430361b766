"""Which rows to ask the index for, and what it remembers about the month folders."""

import re
from typing import Any, Literal, NamedTuple

from localstore.index.overview import Overview
from localstore.index.row import IndexRow
from localstore.models.filter import ARCHIVED, Filter

_PLAIN = re.compile(r"[ !#-.0-\[\]-~]+")
"""Matches text in ASCII that no writer of JSON escapes."""
Place = tuple[str, str]
"""A place in the order of activity: (time of the last activity, session_id)."""
ExceptionKind = Literal["unreadable", "broken", "duplicate", "ignored"]
"""Files in which no session can be read, those whose header alone can be read, documents of sessions that have another
document, and files that look like documents but are not read."""


class Selection(NamedTuple):
    """Which rows to return. None selects all. A row without an overview is selected whatever its runs are."""

    user_id: str | None = None
    entity_id: str | None = None
    kind: str | None = None
    status: str | None = None
    """The status of the last run."""
    since: str | None = None
    """The earliest time of the last activity."""
    until: str | None = None
    """The time before which the last activity was."""
    tags: tuple[str, ...] = ()
    """The session has all of these tags."""
    model: str | None = None
    """A model that answered in one of the runs."""
    rating: str | None = None
    """A rating of one of the runs."""
    is_named: bool = False
    """Whether the session must have a name."""
    without_tag: str | None = None
    """A tag that the session does not have."""
    part_of: tuple[str, ...] = ()
    """The session is a sub-session of one of these."""
    is_part: bool | None = None
    """Whether the session is a sub-session."""

    def text(self) -> bytes | None:
        """Return bytes that occur in the line of each row that fits, or None if no such bytes are known.

        They are the selected user or entity, if JSON needs no escapes for it.
        """
        selected = self.user_id or self.entity_id
        return None if selected is None or not _PLAIN.fullmatch(selected) else f'"{selected}"'.encode()

    def fits(self, row: IndexRow) -> bool:
        """Return whether everything but the time of a row is as selected."""
        return (
            self.user_id in (None, row.get("user_id"))
            and self.entity_id in (None, row.get("entity_id"))
            and self.kind in (None, row["kind"])
            and (not self.tags or set(self.tags) <= set(row.get("tags", ())))
            and (not self.is_named or "name" in row)
            and (self.without_tag is None or self.without_tag not in row.get("tags", ()))
            and (not self.part_of or row.get("part_of") in self.part_of)
            and (self.is_part is None or self.is_part == ("part_of" in row))
            and ("overview" not in row or self._fits_runs(row["overview"]))
        )

    def _fits_runs(self, overview: Overview) -> bool:
        return (
            self.status in (None, overview.get("status"))
            and (self.model is None or any(self.model in models for models in overview["usage"].values()))
            and (self.rating is None or self.rating in overview.get("ratings", ()))
        )

    def covers(self, active_at: str) -> bool:
        """Return whether the time of the last activity is one of those to select."""
        return (self.since is None or active_at >= self.since) and (self.until is None or active_at < self.until)


EVERYTHING = Selection()


def selection_of(where: Filter) -> Selection:
    """Return what the index can select of a filter. The caller compares the rest, such as the name, with each row."""
    return Selection(
        where.user,
        where.entity,
        where.kind,
        where.status,
        where.since_text,
        where.until_text,
        tags=(*(where.tag or ()), *((ARCHIVED,) if where.archived else ())),
        model=where.model,
        rating=where.rating,
        is_named=bool(where.name),
        without_tag=ARCHIVED if where.archived is False else None,
        part_of=(*(where.part_of or ()),),
        is_part=where.sub_sessions,
    )


class Found(NamedTuple):
    """What scans found in the month folders."""

    folders: dict[str, int]
    """The modification time of each folder when it was listed, in ns."""
    exceptions: dict[str, tuple[ExceptionKind, Any]]
    """Files that are not the document of a session: path to kind and details, a JSON value."""


NOTHING_FOUND = Found({}, {})

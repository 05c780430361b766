"""The information that a listing returns about each session."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from localstore.models.excerpt import session_repr
from localstore.models.times import parse_time, time_text


@dataclass(frozen=True, slots=True, repr=False)
class SessionInfo:
    """One session in a listing: its header fields, and facts about its document. Listing sessions reads no document.

    >>> row = {"session_id": "s1", "kind": "agent", "created_at": "2026-11-22T07:01:20.123Z", "runs": 2, "version": 1,
    ...     "updated_at": "2026-11-22T07:05:00.000Z", "fingerprint": (812, 0, 0, 0)}
    >>> session_info(row, "/store/sessions/2026-11/s1.json").size
    812
    """

    session_id: str
    kind: str
    """`agent`, `team` or `workflow`."""
    entity_id: str | None
    """The id of the agent, the team or the workflow."""
    user_id: str | None
    name: str | None
    tags: tuple[str, ...]
    created_at: datetime | None
    """When the session began, in UTC; None if the document has text that is not a time."""
    updated_at: datetime | None
    """When the newest entry of the history was made, in UTC; None if the document has text that is not a time."""
    runs: int
    """The number of runs."""
    size: int
    """The size of the document in bytes."""
    schema_version: int
    """The version of the document format."""
    path: Path
    """The absolute path of the document."""
    problem: str | None = None
    """Why the document cannot be read; None if it can. With a problem, the other fields are the last known values."""

    def __repr__(self) -> str:
        return session_repr("SessionInfo", self.session_id, self.runs, self.user_id)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict of JSON values, without those that are None and without empty tags.

        Times are text in the form used in documents.
        """
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: _json_value(value) for name, value in values.items() if value not in (None, ())}


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def session_info(row: Mapping[str, Any], path: str) -> SessionInfo:
    """Return the listing entry for the document at `path`, made from its row in the manifest."""
    return SessionInfo(
        session_id=row["session_id"],
        kind=row["kind"],
        entity_id=row.get("entity_id"),
        user_id=row.get("user_id"),
        name=row.get("name"),
        tags=tuple(row.get("tags", ())),
        created_at=parse_time(row["created_at"]),
        updated_at=parse_time(row["updated_at"]),
        runs=row["runs"],
        size=row["fingerprint"][0] if row["fingerprint"] else 0,
        schema_version=row["version"],
        path=Path(path),
        problem=row.get("problem"),
    )

"""The row that a listing returns for a session."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What the manifest knows of a session; making one opens no document.

    `updated_at` is the time of the newest entry of the history. `runs` counts runs, `size` is in bytes. `path` is
    absolute. `problem` is None, or says why the document cannot be read at the moment (the other fields then hold
    what was known before). Times are UTC, ISO 8601, milliseconds.
    """

    session_id: str
    kind: str
    entity_id: str | None
    user_id: str | None
    name: str | None
    tags: tuple[str, ...]
    created_at: str
    updated_at: str
    runs: int
    size: int
    schema_version: int
    path: str
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, fields without a value left out."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: list(value) if name == "tags" else value for name, value in values.items() if value not in (None, ())
        }


def session_info(row: Mapping[str, Any], path: str) -> SessionInfo:
    """What a row of the manifest says of the document at `path`."""
    return SessionInfo(
        session_id=row["session_id"],
        kind=row["kind"],
        entity_id=row.get("entity_id"),
        user_id=row.get("user_id"),
        name=row.get("name"),
        tags=tuple(row.get("tags", ())),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        runs=row["runs"],
        size=row["fingerprint"][0] if row["fingerprint"] else 0,
        schema_version=row["version"],
        path=path,
        problem=row.get("problem"),
    )

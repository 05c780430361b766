"""What stands before the history of a new session, and of one that is changed."""

from typing import Any

from localstore.format.document import in_order
from localstore.format.values import to_json_value
from localstore.models.schema import SCHEMA_VERSION


def new_header(
    session_id: str, kind: str, entity_id: str | None, user_id: str | None, created_at: str
) -> dict[str, Any]:
    """The header of a session that is made. Raises UnstorableValue."""
    header = {
        "schema_version": SCHEMA_VERSION,
        "session_id": session_id,
        "kind": kind,
        f"{kind}_id": entity_id,
        "user_id": user_id,
        "created_at": created_at,
    }
    kept: dict[str, Any] = to_json_value({key: value for key, value in header.items() if value is not None})
    return kept


def header_with(header: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The header with other values; None and empty ones are left out."""
    merged = {**header, **values}
    return in_order({key: value for key, value in merged.items() if key not in values or value})

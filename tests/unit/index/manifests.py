"""Rows and questions that the tests of the manifest use."""

from typing import Any

from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow
from localstore.index.selection import Selection


def row(session_id: str, updated_at: str = "2026-11-22T07:01:20.123Z", **more: Any) -> IndexRow:
    made: IndexRow = {
        "session_id": session_id,
        "path": f"sessions/2026-11/{session_id}.json",
        "kind": "agent",
        "created_at": updated_at,
        "updated_at": updated_at,
        "version": 1,
        "entries": 1,
        "runs": 1,
        "fingerprint": [1, 2, 3, 4],
    }
    return {**made, **more}  # type: ignore[typeddict-item]


def ordered(manifest: Manifest, user_id: str | None = None, entity_id: str | None = None) -> list[str]:
    """The sessions of a user and an entity, oldest activity first."""
    rows, _ = manifest.in_order(Selection(user_id, entity_id), None, None, newest_first=False)
    return [row["session_id"] for _, row in rows]


def known(manifest: Manifest) -> list[str]:
    manifest.refresh(thorough=True)
    return ordered(manifest)

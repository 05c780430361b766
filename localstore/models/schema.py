"""What schema version 1 is made of, for everything that reads or writes it. Imports nothing."""

SCHEMA_VERSION = 1
"""The version of the document format that this release writes."""

KINDS = ("agent", "team", "workflow")
"""Whose session it may be."""

HEADER_ORDER = (
    "schema_version",
    "session_id",
    "kind",
    "agent_id",
    "team_id",
    "workflow_id",
    "user_id",
    "name",
    "tags",
    "metadata",
    "forked_from",
    "created_at",
)
"""The keys of a header in the order in which they are written."""

SESSION_KEYS = ("instructions", "session_state", "session_summary", "session_data")
"""Keys of an entry that hold from there on for the session; the newest one counts."""

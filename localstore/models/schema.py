"""The fields of a document in schema version 1. Imports neither pydantic nor other modules of localstore."""

from typing import Literal, NamedTuple, get_args

SCHEMA_VERSION = 1
"""The version of the document format that this release writes."""

Kind = Literal["agent", "team", "workflow"]
"""The kinds of session."""
RunStatus = Literal["unfinished", "completed", "error", "cancelled"]
StepStatus = Literal["completed", "error", "cancelled", "waiting", "confirmed", "rejected"]
Role = Literal["user", "assistant", "tool", "system", "developer"]
Rating = Literal["good", "bad"]

KINDS: tuple[Kind, ...] = get_args(Kind)
RATINGS: tuple[Rating, ...] = get_args(Rating)

SESSION_KEYS = ("instructions", "session_state", "session_summary", "session_data")
"""Keys of an entry whose values apply to the whole session from that entry on. The newest value of each applies."""

RecordName = Literal[
    "header", "origin", "entry", "run", "update", "message", "content_part", "tool_call", "metrics", "step"
]
FieldType = Literal[
    "any",
    "text",
    "text, not empty",
    "time",
    "integer",
    "number",
    "mapping",
    "times by id",
    "text or mapping",
    "text or list of content_part",
    "list of text",
    "list of message",
    "list of tool_call",
    "list of run",
    "list of step",
    "list of entry",
    "metrics",
    "origin",
    "schema version",
    "kind",
    "rating",
    "type run",
    "type update",
]


class Shape(NamedTuple):
    """The fields of one kind of mapping in a document. Other keys are allowed and kept; null counts as absent."""

    fields: dict[str, FieldType]
    """The type of each key's value, in the order in which the keys are written."""
    required: tuple[str, ...] = ()
    """Keys without which a reader rejects the mapping."""
    defaulted: tuple[str, ...] = ()
    """Further keys that a writer always writes. A reader uses a default if one of them is absent."""


_SESSION_FIELDS: dict[str, FieldType] = {
    "instructions": "text",
    "session_state": "mapping",
    "session_summary": "any",
    "session_data": "mapping",
}

SHAPES: dict[RecordName, Shape] = {
    "header": Shape(
        {
            "schema_version": "schema version",
            "session_id": "text, not empty",
            "kind": "kind",
            "agent_id": "text",
            "team_id": "text",
            "workflow_id": "text",
            "user_id": "text",
            "name": "text",
            "tags": "list of text",
            "metadata": "mapping",
            "forked_from": "origin",
            "part_of": "text",
            "removed": "times by id",
            "created_at": "time",
            "history": "list of entry",
        },
        required=("schema_version", "session_id", "kind", "created_at"),
        defaulted=("history",),
    ),
    "origin": Shape({"session_id": "text", "run_id": "text"}, required=("session_id",)),
    "entry": Shape({"type": "text", "created_at": "time"}, required=("type",)),
    "run": Shape(
        {
            "type": "type run",
            "run_id": "text",
            "agent_id": "text",
            "team_id": "text",
            "workflow_id": "text",
            "tool_call_id": "text",
            "replay_of": "text",
            "created_at": "time",
            "plan": "list of text",
            "input": "any",
            "messages": "list of message",
            "member_runs": "list of run",
            "steps": "list of step",
            "output": "any",
            **_SESSION_FIELDS,
            "state_conflicts": "list of text",
            "model": "text",
            "requested_model": "text",
            "answered_by": "text",
            "finish_reason": "text",
            "metrics": "metrics",
            "rating": "rating",
            "rating_note": "text",
            "error": "text",
            "status": "text",
        },
        required=("type", "run_id", "created_at"),
        defaulted=("status",),
    ),
    "update": Shape({"type": "type update", "created_at": "time", **_SESSION_FIELDS}, required=("type", "created_at")),
    "message": Shape(
        {
            "role": "text",
            "content": "text or list of content_part",
            "name": "text",
            "tool_calls": "list of tool_call",
            "tool_call_id": "text",
            "state_changes": "mapping",
        },
        required=("role",),
    ),
    "content_part": Shape(
        {"type": "text", "text": "text", "url": "text", "path": "text", "mime_type": "text"}, required=("type",)
    ),
    "tool_call": Shape(
        {"id": "text", "name": "text", "arguments": "text or mapping"}, required=("name",), defaulted=("arguments",)
    ),
    "metrics": Shape(
        {
            "input_tokens": "integer",
            "cached_tokens": "integer",
            "output_tokens": "integer",
            "reasoning_tokens": "integer",
            "duration_seconds": "number",
        }
    ),
    "step": Shape(
        {
            "name": "text",
            "within": "list of text",
            "created_at": "time",
            "input": "any",
            "output": "any",
            "messages": "list of message",
            "member_runs": "list of run",
            "session_state": "mapping",
            "question": "text",
            "finish_reason": "text",
            "metrics": "metrics",
            "error": "text",
            "status": "text",
        },
        required=("name",),
        defaulted=("created_at",),
    ),
}
"""The shape of each kind of mapping. A test compares the models, the JSON Schema and FORMAT.md with this table."""

HEADER_ORDER = tuple(key for key in SHAPES["header"].fields if key != "history")
"""The keys of a header in the order in which they are written."""

"""Checks whether a run has already been validated, and describes validation errors."""

from typing import Any

from pydantic import ValidationError

from localstore.models.record import Record
from localstore.models.session import ContentPart, Message, Run, ToolCall


def is_validated(entry: Any) -> bool:
    """Return whether `entry` is a Run made only of validated records, so that it need not be validated again.

    This has to be checked because lists that were changed in place may contain any objects. Returns False for a run
    with member runs or steps, and for any other entry.
    """
    if type(entry) is not Run:
        return False
    fields = entry.__dict__
    if not (type(fields["run_id"]) is type(fields["created_at"]) is type(fields["status"]) is str):
        return False
    for message in entry.messages:
        if type(message) is not Message:
            return False
        if message.tool_calls is not None and any(type(call) is not ToolCall for call in message.tool_calls):
            return False
        if type(message.content) is list and any(type(part) is not ContentPart for part in message.content):
            return False
    return entry.member_runs is None and entry.steps is None


def as_mappings(value: Any) -> Any:
    """Return `value` with the records in it as mappings, so that validation checks all of them.

    Text that comes from a document stays a `DocumentText`, which validation accepts.
    """
    if isinstance(value, Record):
        value = value.__document__()
    if isinstance(value, dict):
        return {key: as_mappings(child) for key, child in value.items()}
    return [as_mappings(child) for child in value] if isinstance(value, list) else value


def first_problem(error: ValidationError, where: str = "") -> str:
    """Return the first problem in `error` with its position: `messages[0].role: Field required`.

    The position is prefixed with `where`, the position of the validated object.
    """
    problem = error.errors(include_url=False, include_context=False)[0]
    for step in problem["loc"]:
        if step not in ("run", "update", "entry") or not where.endswith("]"):
            where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else str(step)
    return f"{where}: {problem['msg']}" if where else problem["msg"]

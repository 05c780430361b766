"""What validation says of a record: whether it is valid already, and what is wrong with it."""

from typing import Any

from pydantic import ValidationError

from localstore.models.session import ContentPart, Message, Run, ToolCall


def is_validated(entry: Any) -> bool:
    """Whether a run is made of validated records only. Lists that were changed in place may hold anything.

    False for a run with member runs or steps, and for any other entry: those have to be validated again.
    """
    if type(entry) is not Run or not all(type(text) is str for text in (entry.run_id, entry.created_at, entry.status)):
        return False
    for message in entry.messages:
        if type(message) is not Message:
            return False
        if message.tool_calls is not None and any(type(call) is not ToolCall for call in message.tool_calls):
            return False
        if type(message.content) is list and any(type(part) is not ContentPart for part in message.content):
            return False
    return entry.member_runs is None and entry.steps is None


def first_problem(error: ValidationError, where: str = "") -> str:
    """Return the first problem and its position, below `where`: `messages[0].role: Field required`."""
    problem = error.errors(include_url=False, include_context=False)[0]
    for step in problem["loc"]:
        if step not in ("run", "update", "entry") or not where.endswith("]"):
            where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else str(step)
    return f"{where}: {problem['msg']}" if where else problem["msg"]

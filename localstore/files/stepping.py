"""A step more of an unfinished run, where the run has to be read for it."""

from typing import Any

from localstore.errors import Conflict, RunNotFound
from localstore.files.document import Misfit
from localstore.files.draft import Draft, Recent
from localstore.files.run_entry import substance
from localstore.files.values import same
from localstore.schema import STATEFUL

_BEHIND = ("output", *STATEFUL, "state_conflicts", "model", "metrics", "rating", "rating_note", "error", "status")
"""The keys of a run that stand behind its steps."""


def with_step(draft: Draft, run_id: str, number: int, step: dict[str, Any]) -> dict[str, Any] | None:
    """The run with this step as its `number`-th one; None when it has it. Raises RunNotFound, Conflict."""
    entry = _found(draft, run_id)
    steps = entry.get("steps") or []
    if number < len(steps) and same(substance(steps[number]), substance(step)):
        return None
    if entry.get("status") != "unfinished":
        raise _conflict(draft, run_id, f"is {entry.get('status', 'finished')}, and takes no more steps")
    if number < len(steps):
        raise _conflict(draft, run_id, f"has another step at {number}: somebody else goes on with it")
    if number > len(steps):
        raise _conflict(draft, run_id, f"has {len(steps)} steps, and none before {number}")
    grown = [*steps, step]
    if "steps" in entry:
        return {**entry, "steps": grown}
    behind = {key: value for key, value in entry.items() if key in _BEHIND}
    return {**{key: value for key, value in entry.items() if key not in _BEHIND}, "steps": grown, **behind}


def _found(draft: Draft, run_id: str) -> dict[str, Any]:
    offset = draft.row.get("waiting", {}).get(run_id)
    if offset is not None:
        entry = draft.entry(Recent(offset, unfinished=True))
        if entry.get("run_id") != run_id:
            raise Misfit
        return entry
    found = [entry for entry in draft.whole().entries if entry["type"] == "run" and entry["run_id"] == run_id]
    if found:
        return found[-1]
    raise RunNotFound(
        f"Session {draft.row['session_id']!r} has no run {run_id!r}. Nothing was written. Append the run first, "
        'with status="unfinished".',
        path=draft.file.path,
        session_id=draft.row["session_id"],
        run_id=run_id,
    )


def _conflict(draft: Draft, run_id: str, what: str) -> Conflict:
    return Conflict(
        f"Run {run_id!r} of session {draft.row['session_id']!r} {what}. Nothing was written. Read the session again.",
        path=draft.file.path,
        session_id=draft.row["session_id"],
    )

"""Add a step to an unfinished run that must be read first."""

from typing import Any

from localstore.engine.open_document import Recent
from localstore.engine.transaction import Transaction
from localstore.errors import RunNotFound
from localstore.format.document import LayoutMismatch
from localstore.format.run_entry import comparable_fields, refuse_step
from localstore.format.values import json_equal
from localstore.models.schema import SHAPES

_RUN_KEYS = tuple(SHAPES["run"].fields)
_KEYS_AFTER_STEPS = _RUN_KEYS[_RUN_KEYS.index("steps") + 1 :]
"""The keys of a run that come after its steps."""


def with_step(transaction: Transaction, run_id: str, number: int, step: dict[str, Any]) -> dict[str, Any] | None:
    """Return a copy of the stored run with `step` added as step `number`, counted from 0.

    Return None if the run already has this step at that position. Raises RunNotFound if the session has no such run.
    Raises Conflict if the run is finished, has another step at that position, or has fewer than `number` steps.
    """
    return with_step_in(
        _stored_run(transaction, run_id), number, step, transaction.row["session_id"], transaction.file.path
    )


def with_step_in(
    entry: dict[str, Any], number: int, step: dict[str, Any], session_id: str, path: str | None = None
) -> dict[str, Any] | None:
    """Return the same as `with_step` for a stored run that was read. `session_id` and `path` are for errors."""
    steps = entry.get("steps") or []
    if number < len(steps) and json_equal(comparable_fields(steps[number]), comparable_fields(step)):
        return None
    refuse_step(entry["run_id"], session_id, entry.get("status", "finished"), len(steps), number, path)
    grown = [*steps, step]
    if "steps" in entry:
        return {**entry, "steps": grown}
    later = {key: value for key, value in entry.items() if key in _KEYS_AFTER_STEPS}
    return {**{key: value for key, value in entry.items() if key not in _KEYS_AFTER_STEPS}, "steps": grown, **later}


def _stored_run(transaction: Transaction, run_id: str) -> dict[str, Any]:
    """Return the newest stored run with this id. Raises RunNotFound if there is none."""
    offset = transaction.row.get("unfinished_offsets", {}).get(run_id)
    if offset is not None:
        entry = transaction.entry(Recent(offset, unfinished=True))
        if entry.get("run_id") != run_id:
            raise LayoutMismatch
        return entry
    runs = [entry for entry in transaction.whole().entries if entry["type"] == "run" and entry["run_id"] == run_id]
    if runs:
        return runs[-1]
    raise RunNotFound(
        f"Session {transaction.row['session_id']!r} has no run {run_id!r}. Nothing was written. Append the run first, "
        'with status="unfinished".',
        path=transaction.file.path,
        session_id=transaction.row["session_id"],
        run_id=run_id,
    )

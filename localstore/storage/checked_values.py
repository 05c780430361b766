"""Turn documents into sessions, and runs and steps of the caller into plain JSON values: checked in both directions."""

from typing import Any, cast

from pydantic import ValidationError

from localstore.engine.snapshot import Snapshot
from localstore.errors import DocumentBroken
from localstore.format.values import to_json_value
from localstore.models.fields import SET_BY_PROGRAM
from localstore.models.session import Run, Session, Step
from localstore.models.validation import as_mappings, first_problem, is_validated


def session_of(snapshot: Snapshot) -> Session:
    """Return a snapshot as a Session that remembers the snapshot as its base for `upsert`.

    Raises DocumentBroken, which says where, if a value has the wrong type.
    """
    try:
        session = Session.model_validate({**snapshot.header, "history": snapshot.entries, **snapshot.current})
    except ValidationError as error:
        raise wrong_type(error, snapshot) from None
    session._base = snapshot
    return session


def wrong_type(error: ValidationError, snapshot: Snapshot, where: str = "") -> DocumentBroken:
    """Return the error to raise for a value of the wrong type in a document, at the position `where` or below."""
    return DocumentBroken(
        f"{snapshot.path}: {first_problem(error, where)}. Nothing was changed. Fix the file in an editor.",
        path=snapshot.path,
        session_id=snapshot.header["session_id"],
    )


def run_of(value: Any) -> dict[str, Any]:
    """Return a run as plain JSON values; `value` does not change.

    Raises UnstorableValue if a value in it cannot be stored, and TypeError if it is not a valid run.
    """
    entry = to_json_value(value)
    if is_validated(value):
        return cast(dict[str, Any], entry)
    if not isinstance(entry, dict) or entry.get("type") != "run":
        raise TypeError(f"append takes a Run, not {type(value).__name__}")
    try:
        return cast(dict[str, Any], to_json_value(Run.model_validate(as_mappings(value), context=SET_BY_PROGRAM)))
    except ValidationError as error:
        raise TypeError(
            f"append takes a valid Run. In this one, {first_problem(error)}. Nothing was written."
        ) from None


def step_of(value: Any) -> dict[str, Any]:
    """Return a step as plain JSON values; `value` does not change.

    Raises UnstorableValue if a value in it cannot be stored, and TypeError if it is not a valid step.
    """
    to_json_value(value, "step")
    if not isinstance(value, Step):
        raise TypeError(f"add_step takes a Step, not {type(value).__name__}")
    try:
        return cast(dict[str, Any], to_json_value(Step.model_validate(as_mappings(value), context=SET_BY_PROGRAM)))
    except ValidationError as error:
        raise TypeError(
            f"add_step takes a valid Step. In this one, {first_problem(error)}. Nothing was written."
        ) from None

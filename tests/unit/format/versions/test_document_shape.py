"""The check of an upgraded document is as strict as the models, and names the place."""

from typing import Any

import pytest

from localstore.format.versions import CannotUpgrade
from localstore.format.versions.document_shape import checked

TIME = "2026-11-22T07:01:20.123Z"
RUN = {"type": "run", "run_id": "r1", "created_at": TIME, "status": "completed"}


def document(*history: Any, **more: Any) -> dict[str, Any]:
    header = {"schema_version": 1, "session_id": "s1", "kind": "agent", "created_at": TIME}
    return {**header, **more, "history": list(history)}


def test_a_valid_document_passes() -> None:
    note = {"type": "note", "anything": [None]}
    whole = document(RUN, {"type": "update", "created_at": TIME}, note, tags=["a"], user_id=None)
    assert checked(whole) is whole


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (document(schema_version=2), ("schema_version",)),
        (document(schema_version=True), ("schema_version",)),
        (document(session_id=""), ("session_id",)),
        (document(kind="robot"), ("kind",)),
        (document(kind=None), ()),
        (document(tags=["a", 1]), ("tags", 1)),
        (document(metadata=[]), ("metadata",)),
        (document(5), ("history", 0)),
        (document({}), ("history", 0)),
        (document({**RUN, "run_id": None}), ("history", 0)),
        (document({**RUN, "messages": [{}]}), ("history", 0, "messages", 0)),
        (
            document({**RUN, "messages": [{"role": "user", "content": [5]}]}),
            ("history", 0, "messages", 0, "content", 0),
        ),
        (document({**RUN, "metrics": {"input_tokens": 1.5}}), ("history", 0, "metrics", "input_tokens")),
        (document({**RUN, "member_runs": [RUN, {**RUN, "type": "x"}]}), ("history", 0, "member_runs", 1, "type")),
        (document({**RUN, "steps": [{"name": "a"}]}), ("history", 0, "steps", 0)),
        (document({**RUN, "session_state": []}), ("history", 0, "session_state")),
        (document({"type": "update"}), ("history", 0)),
    ],
)
def test_an_invalid_value_is_named_with_its_place(wrong: Any, where: tuple[str | int, ...]) -> None:
    with pytest.raises(CannotUpgrade) as caught:
        checked(wrong)
    assert caught.value.where == where

"""From documents to sessions, and from runs of the caller to JSON values."""

from typing import Any

import pytest

from localstore import DocumentBroken
from localstore.engine.snapshot import Snapshot
from localstore.storage.checked_values import run_of, session_of, step_of

TIME = "2026-11-22T07:01:20.123Z"


def run(run_id: str, text: str = "hi", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"type": "run", "run_id": run_id, "created_at": TIME, "messages": messages, "status": "completed", **more}


def update(**state: Any) -> dict[str, Any]:
    return {"type": "update", "created_at": TIME, **state}


def snapshot(entries: list[dict[str, Any]], current: dict[str, Any] | None = None, **header: Any) -> Snapshot:
    common = {"schema_version": 1, "session_id": "s1", "kind": "agent", "created_at": TIME}
    return Snapshot("/a/s1.json", {**common, **header}, entries, current or {}, [1, 2, 3, 4])


def test_a_snapshot_becomes_a_session_that_remembers_it() -> None:
    seen = snapshot([run("r1"), update(session_state={"a": 1})], {"session_state": {"a": 1}}, name="n", x=None)
    session = session_of(seen)
    assert (session.name, session.session_state, len(session.history)) == ("n", {"a": 1}, 2)
    assert session.model_extra == {"x": None}
    assert session._base is seen


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        (run("r1", model=5), r"history\[0\]\.model"),
        (run("r1", messages=[{"role": "user", "content": 7}]), r"history\[0\]\.messages\[0\]\.content"),
        (run("r1", metrics={"input_tokens": "many"}), r"history\[0\]\.metrics\.input_tokens"),
        (update(instructions=[]), r"history\[0\]\.instructions"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_place(entry: dict[str, Any], where: str) -> None:
    with pytest.raises(DocumentBroken, match=where) as caught:
        session_of(snapshot([entry]))
    assert (caught.value.path, caught.value.session_id) == ("/a/s1.json", "s1")


@pytest.mark.parametrize("convert", [run_of, step_of])
@pytest.mark.parametrize("value", [None, "text", {"type": "update"}, []])
def test_another_value_than_a_run_or_a_step_is_refused(convert: Any, value: object) -> None:
    with pytest.raises(TypeError, match=f"takes a .*not {type(value).__name__}"):
        convert(value)

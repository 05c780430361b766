"""The merge by itself: what was read, what it became here, what is in the store; and what has to be done."""

from typing import Any

import pytest

from localstore import Conflict, Session
from localstore.engine.snapshot import Snapshot
from localstore.storage.checked_values import session_of
from localstore.storage.upsert import LocalSession, merge

TIME = "2026-11-22T07:01:20.123Z"


def run(run_id: str, text: str = "hi", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"type": "run", "run_id": run_id, "created_at": TIME, "messages": messages, "status": "completed", **more}


def update(**state: Any) -> dict[str, Any]:
    return {"type": "update", "created_at": TIME, **state}


def snapshot(entries: list[dict[str, Any]], current: dict[str, Any] | None = None, **header: Any) -> Snapshot:
    common = {"schema_version": 1, "session_id": "s1", "kind": "agent", "created_at": TIME}
    return Snapshot("/a/s1.json", {**common, **header}, entries, current or {}, [1, 2, 3, 4])


def test_an_unchanged_session_has_nothing_to_do() -> None:
    seen = snapshot([run("r1"), {"type": "note"}, update(session_state={})], name="n", tags=[])
    for theirs in (seen, snapshot([*seen.entries, run("r2")], {"session_state": {"b": 2}}, name="theirs")):
        plan = merge(LocalSession.of(session_of(seen)), seen, theirs)
        assert (plan.replaced, plan.added) == ({}, [])
        assert plan.header["name"] == theirs.header["name"]


def test_nulls_and_the_order_of_keys_are_no_change() -> None:
    seen = snapshot([{"run_id": "r1", "type": "run", "status": "completed", "created_at": TIME, "model": None}])
    plan = merge(LocalSession.of(session_of(seen)), seen, seen)
    assert (plan.replaced, plan.added) == ({}, [])


def test_what_changed_is_replaced_removed_or_added_by_its_place_in_the_store() -> None:
    seen = snapshot([run("r2"), run("r3")])
    theirs = snapshot([run("r0"), run("r1"), run("r2"), run("r3"), run("theirs")])
    session = session_of(seen)
    session.runs[1].messages[0].content = "changed"
    del session.history[0]
    session.history.append(session_of(snapshot([run("mine")])).history[0])
    plan = merge(LocalSession.of(session), seen, theirs)
    assert plan.replaced == {2: None, 3: run("r3", "changed")}
    assert plan.added == [run("mine")]


def test_an_unfinished_run_in_the_store_is_finished_by_a_new_one() -> None:
    theirs = snapshot([run("r1", status="unfinished")])
    session = Session(session_id="s1", history=[run("r1", "hi")])  # type: ignore[list-item]
    assert merge(LocalSession.of(session), None, theirs).replaced == {0: run("r1", "hi")}


def test_a_run_removed_there_and_changed_here_is_a_conflict() -> None:
    seen = snapshot([run("r1"), run("r2")])
    session = session_of(seen)
    session.runs[0].messages[0].content = "changed"
    with pytest.raises(Conflict, match="run r1 was changed"):
        merge(LocalSession.of(session), seen, snapshot([run("r2")]))
    session = session_of(seen)
    del session.history[0]
    assert merge(LocalSession.of(session), seen, snapshot([run("r2")])).replaced == {}


def test_fields_that_tell_what_a_session_is_are_never_changed() -> None:
    seen = snapshot([])
    session = session_of(seen)
    session.created_at = "1999-01-01T00:00:00.000Z"
    session.schema_version = 0
    assert merge(LocalSession.of(session), seen, seen).header == seen.header


def test_an_unknown_field_may_be_set_and_removed() -> None:
    seen = snapshot([], x=1, y=2)
    session = Session.model_validate({**seen.header, "z": 3, "y": None})
    session._base = seen
    assert session.model_extra is not None
    del session.model_extra["x"]
    plan = merge(LocalSession.of(session), seen, seen)
    assert {key: plan.header.get(key) for key in "xyz"} == {"x": None, "y": None, "z": 3}


def test_a_session_that_was_not_read_changes_only_what_it_names() -> None:
    theirs = snapshot([], {"session_state": {"a": 1}}, name="theirs", tags=["t"], user_id="u")
    plan = merge(LocalSession.of(Session(session_id="s1", name="mine")), None, theirs)
    assert plan.header == {**theirs.header, "name": "mine"}
    assert plan.added == []


def test_state_changed_on_both_sides_is_a_conflict_and_on_one_side_an_update() -> None:
    seen = snapshot([run("r1")], {"session_state": {"a": 1}})
    session = session_of(seen)
    session.session_state = {"a": 2}
    added = merge(LocalSession.of(session), seen, seen).added
    assert [(entry["type"], entry["session_state"]) for entry in added] == [("update", {"a": 2})]
    with pytest.raises(Conflict, match="session_state was changed"):
        merge(LocalSession.of(session), seen, snapshot([run("r1")], {"session_state": {"a": 3}}))
    assert merge(LocalSession.of(session), seen, snapshot([run("r1")], {"session_state": {"a": 2}})).added == []

"""Agents, teams and workflows without a storage: their sessions are in memory, and behave as those in a store do."""

from __future__ import annotations

from pathlib import Path

import pytest

from localstore import (
    Agent,
    Conflict,
    FunctionModel,
    JsonStorage,
    Run,
    RunNotFound,
    SessionNotFound,
    StepContext,
    Team,
    UnstorableValue,
    Workflow,
)
from localstore.agents.memory_storage import MemoryStorage
from localstore.models.session import Step

STORAGES = ["memory", "json"]


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryStorage | JsonStorage:
    """Both kinds of storage: what a test says of one holds for the other."""
    return MemoryStorage() if request.param == "memory" else JsonStorage(tmp_path)


def twice(value: int) -> int:
    return 2 * value


def test_a_team_without_a_storage_loads_its_own_session() -> None:
    """In memory, every session was one of an agent, so a team raised KindMismatch on its own session.

    The session could not be loaded again after `new_session`.
    """
    member = Agent(model=FunctionModel(lambda _: "hi"), name="Anna")
    team = Team(
        members=[member],
        model=FunctionModel(lambda _: "hello"),
        session_state={"n": 1},
    )
    team.run("hi")
    first = team.session_id
    team.new_session()
    session = team.load_session(first)
    assert (session.kind, team.session_id, team.session_state) == ("team", first, {"n": 1})


def test_a_workflow_without_a_storage_loads_its_own_session() -> None:
    """It used to raise KindMismatch, as a team did."""
    workflow = Workflow(steps=[twice], name="Twice", session_state={"n": 1})
    workflow.run(2)
    session = workflow.load_session(workflow.session_id)
    assert (session.kind, session.workflow_id, session.session_state) == ("workflow", "twice", {"n": 1})


def test_a_failed_run_of_a_workflow_is_continued(storage: MemoryStorage | JsonStorage) -> None:
    """Without a storage, `resume` and the same `run_id` raised ValueError: the completed steps could not be used.

    With a storage, the continued run lost the state that the workflow was created with.
    """
    done: list[str] = []
    fails = True

    def first(value: int, context: StepContext) -> int:
        done.append("first")
        context.session_state["first"] = value
        return value + 1

    def second(value: int, context: StepContext) -> int:
        done.append("second")
        context.session_state["second"] = value
        if fails:
            raise OSError("no network")
        return value * 10

    workflow = Workflow(
        steps=[first, second],
        session_id="s",
        storage=storage,
        session_state={"initial": True},
    )
    for run_id in (None, "r2"):
        done.clear()
        fails = True
        with pytest.raises(OSError, match="no network"):
            workflow.run(1, run_id=run_id)
        workflow.session_state["owner"] = "changed meanwhile"
        fails = False
        run = workflow.resume() if run_id is None else workflow.run(1, run_id=run_id)
        assert run is not None
        assert (run.status, run.output, run.error) == ("completed", 20, None)
        assert done == ["first", "second", "second"]
        expected = {"initial": True, "first": 1, "second": 2, "owner": "changed meanwhile"}
        assert workflow.session_state == expected
        stored = workflow.load_session("s")
        assert stored.session_state == expected
    session = storage.read("s")
    assert session is not None
    assert [(entry.status, len(entry.steps or ())) for entry in session.runs] == [("completed", 3)] * 2


def test_a_step_is_added_only_where_it_belongs(storage: MemoryStorage | JsonStorage) -> None:
    """In memory, a missing session or run raised a bare KeyError.

    A step with a wrong number, or of a finished run, was stored without an error.
    """
    storage.append("s", Run(run_id="r1", status="unfinished"), kind="workflow")
    step = Step(name="one", output=1, status="completed")
    with pytest.raises(SessionNotFound, match="'other'"):
        storage.add_step("other", "r1", step, number=0)
    with pytest.raises(RunNotFound, match="'r2'") as not_found:
        storage.add_step("s", "r2", step, number=0)
    assert (not_found.value.session_id, not_found.value.run_id) == ("s", "r2")
    with pytest.raises(Conflict, match="has 0 steps, so step 1 \\(counted from 0\\) would leave a gap"):
        storage.add_step("s", "r1", step, number=1)
    storage.add_step("s", "r1", step, number=0)
    storage.add_step("s", "r1", step, number=0)  # the same one again
    with pytest.raises(Conflict, match="already has a different step 0"):
        storage.add_step("s", "r1", step.model_copy(update={"output": 2}), number=0)
    session = storage.read("s")
    assert session is not None
    assert [one.output for one in session.runs[0].steps or ()] == [1]
    storage.append("s", session.runs[0].model_copy(update={"status": "completed"}))
    with pytest.raises(Conflict, match="is completed, so no step can be added"):
        storage.add_step("s", "r1", step, number=1)


def test_nothing_is_shared_with_the_caller() -> None:
    """What is changed in a run after it was stored, or in a session that was read, changes nothing that is stored."""
    storage = MemoryStorage()
    run = Run(run_id="r1", session_state={"list": [1]})
    storage.append("s", run)
    assert run.session_state is not None
    run.session_state["list"].append(2)
    session = storage.read("s")
    assert session is not None
    session.session_state["list"].append(3)
    session.history.clear()
    again = storage.read("s")
    assert again is not None
    assert (again.session_state, len(again.runs)) == ({"list": [1]}, 1)


def test_a_run_that_cannot_be_stored_begins_no_session() -> None:
    storage = MemoryStorage()
    with pytest.raises(UnstorableValue):
        storage.append("s", Run(session_state={"file": object()}))
    assert storage.read("s") is None
    with pytest.raises(SessionNotFound):
        storage.update("s", session_summary={"text": "nothing"})

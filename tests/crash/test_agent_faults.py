"""Every operation of the file layer fails once in a run of an agent, a team and a workflow.

What was acknowledged stays, the answer is in the document or in the error, and `resume` goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localstore import (
    Agent,
    FunctionModel,
    JsonStorage,
    LocalstoreError,
    Message,
    Run,
    RunContext,
    Team,
    ToolCall,
    Workflow,
    YamlStorage,
)
from tests import oracle
from tests.crash.faults import ROTATIONS, Fault, FaultySystem, UnsyncedSystem, installed, turn
from tests.effort import ci_only, rounds

pytestmark = ci_only

Storage = JsonStorage | YamlStorage


def count(context: RunContext) -> int:
    """Count."""
    context.session_state["count"] = context.session_state.get("count", 0) + 1
    return int(context.session_state["count"])


class Asked:
    """A model that asks for a tool first and then answers in pieces, and how often it was asked."""

    def __init__(self, tool: str = "count", **arguments: str) -> None:
        self.times = 0
        self.call = ToolCall(id="c", name=tool, arguments=arguments)
        self.model = FunctionModel(self.answer)

    def answer(self, messages: list[Message]) -> Message | Iterator[str]:
        self.times += 1
        if messages[-1].role != "tool":
            return Message(role="assistant", tool_calls=[self.call])
        return iter(["It ", "is ", "done."])


def agent(storage: Storage) -> tuple[Any, Asked]:
    asked = Asked()
    return Agent(model=asked.model, tools=[count], session_id="s", storage=storage), asked


def team(storage: Storage) -> tuple[Any, Asked]:
    asked = Asked("delegate_task", member="Ann", task="x")
    ann = Agent(model=Asked().model, tools=[count], name="Ann")
    return Team(members=[ann], model=asked.model, session_id="s", storage=storage), asked


def workflow(storage: Storage) -> tuple[Any, Asked]:
    asked = Asked()
    ann = Agent(model=asked.model, tools=[count], name="Ann")

    def more(text: str) -> str:
        return text

    return Workflow(steps=[ann, more], session_id="s", storage=storage), asked


@pytest.mark.parametrize("faults", ROTATIONS, ids="/".join)
@pytest.mark.parametrize("make", [agent, team, workflow])
@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
def test_a_run_survives_any_single_failure(
    kind: type[Storage], make: Callable[[Storage], tuple[Any, Asked]], faults: tuple[Fault, ...], tmp_path: Path
) -> None:
    """As in `test_faults.py`, the formats share the places of failures with errors, but at the level `long`."""
    offset, step = int(kind is YamlStorage), rounds(4, 2, 1) if "EIO" in faults else 1
    fail_at = 1 + offset % step
    with installed(UnsyncedSystem()):
        while _try(kind, make, turn(faults, fail_at + offset), fail_at, tmp_path / str(fail_at)):
            fail_at += step
    least = 3 if faults == ("synced not",) else 5  # the question, the round and the answer are synced
    assert least < fail_at < 300


def _try(
    kind: type[Storage], make: Callable[[Storage], tuple[Any, Asked]], fault: Fault, fail_at: int, root: Path
) -> bool:
    """One run with one failure; False when it did not get that far."""
    storage = kind(root, lock_timeout=1)
    one, asked = make(storage)
    first = one.run("first")
    times = asked.times
    system = FaultySystem(fault, fail_at)
    done: Run | None = None
    failure: BaseException | None = None
    with installed(system):
        try:
            done = one.run("second")
        except (OSError, LocalstoreError, KeyboardInterrupt) as error:
            failure = error
    if not system.happened:
        assert failure is None
        return False
    where = f"{fault} at {system.trace[fail_at - 1]}: {failure!r}"
    stored = _stored(storage, where)
    assert stored[0]["run_id"] == first.run_id, where
    assert stored[0]["status"] == "completed", where
    if done is not None:
        assert [run["status"] for run in stored] == ["completed", "completed"], where
    elif len(stored) == 1:
        assert asked.times == times, f"{where}: the model was asked, and the question is not stored"
    elif (left := getattr(failure, "run", None)) is not None and left.answer:
        assert left.answer == "It is done.", where
    again = one.resume()
    if again is None and len(stored) == 1:
        again = one.run("second")
    assert again is None or again.status == "completed", where
    after = _stored(storage, where)
    assert after[-1]["status"] == "completed", where
    assert len({run["run_id"] for run in after}) == len(after), where
    session = storage.read("s")
    assert session is not None
    completed = [run for run in session.runs if run.status == "completed"]
    assert len(completed) == 2, where
    assert session.session_state["count"] >= 2, where
    oracle.assert_locks_free(root)
    return True


def _stored(storage: Storage, where: str) -> list[dict[str, Any]]:
    """The runs as another parser reads them; a document that is torn is mended by the next write."""
    session = storage.read("s")
    assert session is not None, where
    try:
        history = oracle.parse(storage.path("s")).history
    except ValueError:
        return [{"run_id": run.run_id, "status": run.status} for run in session.runs]
    assert [run["run_id"] for run in history if run["type"] == "run"] == [run.run_id for run in session.runs], where
    return [run for run in history if run["type"] == "run"]

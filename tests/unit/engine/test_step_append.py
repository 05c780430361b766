"""Steps of a workflow's run, added one by one: at the cost of the step, and never over somebody else's."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore import (
    Conflict,
    JsonStorage,
    Message,
    OwnerMismatch,
    Run,
    RunNotFound,
    SessionNotFound,
    Step,
    UnstorableValue,
    YamlStorage,
)
from localstore.models.fields import DocumentText
from tests import oracle
from tests.effort import rounds
from tests.spreading import top_folder
from tests.unit.raw import Storage, answered
from tests.unit.watched_disk import WatchedDisk

MOMENT = "2026-11-22T07:01:20.123Z"


def begun(storage: Storage, run_id: str = "r1", **fields: Any) -> Run:
    """A run that is stored and goes on."""
    run = Run(run_id=run_id, created_at=MOMENT, input="go", status="unfinished", **fields)
    storage.append("s", run, kind="workflow", user_id="alice")
    return run


def step(number: int, **fields: Any) -> Step:
    return Step(name=f"step {number}", created_at=MOMENT, output=number, status="completed", **fields)


def names(storage: Storage, run_id: str = "r1") -> list[str]:
    """The steps of the run, as another parser reads them in a document in our layout."""
    document = oracle.parse(storage.path("s"))
    oracle.assert_own_layout(document)
    (entry,) = [one for one in document.history if one.get("run_id") == run_id]
    return [one["name"] for one in entry.get("steps", [])]


def test_steps_are_added_at_the_end_of_the_file(storage: Storage) -> None:
    """Nothing else of it changes, and whoever reads sees each at once."""
    begun(storage)
    file = storage.path("s").stat().st_ino
    before = b""
    for number in range(6):
        storage.add_step("s", "r1", step(number), number=number, user_id="alice")
        assert names(storage) == [f"step {one}" for one in range(number + 1)]
        raw = storage.path("s").read_bytes()
        assert raw.startswith(before)
        before = raw[: raw.index(f"step {number}".encode())]
    assert storage.path("s").stat().st_ino == file
    session = type(storage)(storage.root).read("s", last_runs=1)
    assert session is not None
    assert session.runs[0].steps == [step(number) for number in range(6)]


def test_a_step_costs_the_step(storage: Storage, disk: WatchedDisk) -> None:
    """The run is not read again. In YAML one of a hundred steps or so ends where a border between two sectors stands
    in the way of a line's beginning, and the document is written anew."""
    begun(storage)
    costs = []
    for number in range(40):
        disk.forget()
        storage.add_step("s", "r1", step(number, input="x" * 20_000), number=number)
        costs.append([sum(call.size for call in disk.calls if call.operation == one) for one in ("read", "write")])
    cheap = [read < 1_000 and written < 22_000 for read, written in costs]
    assert cheap.count(False) <= (1 if storage.path("s").suffix == ".json" else 3)


def test_the_run_is_finished_with_all_of_them(storage: Storage) -> None:
    run = begun(storage)
    for number in range(3):
        storage.add_step("s", "r1", step(number), number=number)
    run.steps = [step(number) for number in range(3)]
    run.output, run.status = "done", "completed"
    storage.append("s", run)
    session = storage.read("s")
    assert session is not None
    assert session.runs == [run]


def test_a_step_that_is_there_is_a_repetition(storage: Storage) -> None:
    """When it was done and what it cost may differ: whoever tries again may have made it again."""
    begun(storage)
    for number in range(3):
        storage.add_step("s", "r1", step(number), number=number)
    raw = storage.path("s").read_bytes()
    for number in range(3):
        storage.add_step(
            "s", "r1", step(number).model_copy(update={"created_at": "2026-11-23T00:00:00.000Z"}), number=number
        )
    assert storage.path("s").read_bytes() == raw
    storage.add_step("s", "r1", step(3), number=3)
    assert len(names(storage)) == 4


def test_nobodys_step_is_written_over(storage: Storage) -> None:
    """Two go on with one run: the second one is told, and nothing is written."""
    begun(storage)
    other = type(storage)(storage.root)
    storage.add_step("s", "r1", step(0), number=0)
    other.add_step("s", "r1", step(1), number=1)
    raw = storage.path("s").read_bytes()
    with pytest.raises(Conflict, match="already has a different step 1, perhaps of another process"):
        storage.add_step("s", "r1", Step(name="mine"), number=1)
    with pytest.raises(Conflict, match="has 2 steps, so step 3 \\(counted from 0\\) would leave a gap"):
        storage.add_step("s", "r1", step(3), number=3)
    assert storage.path("s").read_bytes() == raw
    storage.add_step("s", "r1", step(2), number=2)
    assert names(storage) == ["step 0", "step 1", "step 2"]


def test_a_finished_run_takes_no_more(storage: Storage) -> None:
    run = begun(storage)
    storage.add_step("s", "r1", step(0), number=0)
    run.steps, run.status = [step(0)], "error"
    storage.append("s", run)
    with pytest.raises(Conflict, match="is error, so no step can be added"):
        storage.add_step("s", "r1", step(1), number=1)
    storage.add_step("s", "r1", step(0), number=0)
    assert names(storage) == ["step 0"]


def test_other_entries_may_follow_the_run(storage: Storage) -> None:
    """Then the document is written anew."""
    begun(storage)
    storage.add_step("s", "r1", step(0), number=0)
    storage.append("s", answered("r2"))
    storage.add_step("s", "r1", step(1), number=1)
    storage.update("s", session_state={"x": 1})
    storage.add_step("s", "r1", step(2), number=2)
    assert names(storage) == ["step 0", "step 1", "step 2"]
    session = storage.read("s")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1", "r2"]


def test_each_of_several_runs_gets_its_own_steps(storage: Storage) -> None:
    """Regression: a step of a run that another unfinished one follows was added to that one."""
    for run_id in ("r1", "r2", "r3"):
        begun(storage, run_id)
    for number in range(4):
        for run_id in ("r1", "r3", "r2"):
            storage.add_step("s", run_id, Step(name=f"{run_id} {number}"), number=number)
    for number in (4, 5, 6):
        storage.add_step("s", "r1", Step(name=f"r1 {number}"), number=number)
    assert names(storage, "r1") == [f"r1 {number}" for number in range(7)]
    for run_id in ("r2", "r3"):
        assert names(storage, run_id) == [f"{run_id} {number}" for number in range(4)]


def test_what_a_person_typed_meanwhile_stays(storage: Storage) -> None:
    begun(storage)
    for number in range(2):
        storage.add_step("s", "r1", step(number), number=number)
    path = storage.path("s")
    path.write_bytes(path.read_bytes().replace(b"step 0", b"step zero"))
    storage.add_step("s", "r1", step(2), number=2)
    assert names(storage) == ["step zero", "step 1", "step 2"]


def test_a_run_with_more_behind_its_steps_is_no_trap(storage: Storage) -> None:
    begun(storage, steps=[step(0)], output="so far")
    for number in (1, 2, 3):
        storage.add_step("s", "r1", step(number), number=number)
    assert names(storage) == ["step 0", "step 1", "step 2", "step 3"]
    session = storage.read("s")
    assert session is not None
    assert session.runs[0].output == "so far"


def test_wrong_input_is_told(storage: Storage) -> None:
    with pytest.raises(SessionNotFound):
        storage.add_step("s", "r1", step(0), number=0)
    begun(storage)
    with pytest.raises(RunNotFound, match="has no run 'r2'"):
        storage.add_step("s", "r2", step(0), number=0)
    with pytest.raises(OwnerMismatch):
        storage.add_step("s", "r1", step(0), number=0, user_id="bob")
    with pytest.raises(UnstorableValue, match=r"step\.output\.x is a builtins\.object"):
        storage.add_step("s", "r1", Step(name="x", output={"x": object()}), number=0)
    for wrong in ({"name": "x"}, answered("r1"), "x"):
        with pytest.raises(TypeError, match="add_step takes a Step, not"):
            storage.add_step("s", "r1", wrong, number=0)  # type: ignore[arg-type]
    broken = step(0)
    broken.messages = []
    broken.messages.append("hello")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"In this one, messages\[0\]"):
        storage.add_step("s", "r1", broken, number=0)
    for number in (-1, True, 1.0):
        with pytest.raises(ValueError, match="number must be a whole number from 0 on"):
            storage.add_step("s", "r1", step(0), number=number)  # type: ignore[arg-type]
    assert names(storage) == []


_words = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from(
        [
            "...",
            "---",
            "\n...\n",
            "- type: run",
            "# no",
            "x: y",
            "no",
            "\n    }\n  ]\n}\n",
            '"steps": [',
            "  steps:\n",
            "\n        }",
        ]
    ),
)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)
_messages = st.lists(st.builds(Message, role=st.sampled_from(["user", "assistant"]), content=_words), max_size=3)
_steps = st.builds(
    Step,
    name=_words,
    within=st.none() | st.lists(_words, max_size=2),
    created_at=st.just(MOMENT),
    input=_values,
    output=_values,
    messages=st.none() | _messages,
    session_state=st.none() | st.dictionaries(_words, _values, max_size=2),
    status=st.sampled_from([None, "completed", DocumentText("unfinished")]),
)


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
@settings(deadline=None, max_examples=rounds(12, 60, 600))
@given(steps=st.lists(_steps, min_size=1, max_size=5), plan=st.none() | st.lists(_words, max_size=2))
def test_the_bytes_are_those_of_the_whole_run(kind: type[Storage], steps: list[Step], plan: list[str] | None) -> None:
    """Added one by one or appended at once: the document is the same, byte for byte, whatever stands in the steps."""
    with tempfile.TemporaryDirectory(dir=top_folder()) as folder:
        one_by_one = kind(Path(folder, "a"), durability="relaxed")
        at_once = kind(Path(folder, "b"), durability="relaxed")
        for storage in (one_by_one, at_once):
            begun(storage, plan=plan)
        for number, added in enumerate(steps):
            one_by_one.add_step("s", "r1", added, number=number)
        whole = Run(run_id="r1", created_at=MOMENT, input="go", plan=plan, steps=steps, status="unfinished")
        at_once.append("s", whole)
        raw = [storage.path("s").read_bytes() for storage in (one_by_one, at_once)]
        assert raw[0].partition(b"history")[2] == raw[1].partition(b"history")[2]
        oracle.assert_own_layout(oracle.parse(one_by_one.path("s")))

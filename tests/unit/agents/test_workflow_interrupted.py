"""A workflow of any shape that is killed anywhere and resumed does the same as one that was never interrupted."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore import (
    Condition,
    JsonStorage,
    Loop,
    Parallel,
    Run,
    Session,
    StepContext,
    Task,
    Workflow,
    YamlStorage,
)
from tests.effort import rounds
from tests.spreading import top_folder

Shape = Any
"""`task`, or a list of a word and shapes: the steps of a parallel, of a condition, or of a loop."""

_shapes: st.SearchStrategy[Shape] = st.recursive(
    st.just("task"),
    lambda inner: st.tuples(
        st.sampled_from(["parallel", "yes", "no", "loop"]), st.lists(inner, min_size=1, max_size=3)
    ).map(lambda pair: [pair[0], *pair[1]]),
    max_leaves=8,
)


class Killed(BaseException):
    """Stands for the end of the process."""


class Dying:
    """The storage of a process that is killed at the n-th step, while it runs or while it is stored."""

    def __init__(self, storage: JsonStorage | YamlStorage, left: int, *, stored: bool) -> None:
        self._storage = storage
        self._left = left
        self._stored = stored
        self.is_dead = False

    def add_step(self, *args: Any, **options: Any) -> None:
        if self.is_dead:
            raise Killed
        if self._left == 0:
            self.is_dead = True
            if self._stored:
                self._storage.add_step(*args, **options)
            raise Killed
        self._left -= 1
        self._storage.add_step(*args, **options)

    def append(self, session_id: str, run: Run, **options: Any) -> None:
        if self.is_dead:
            raise Killed
        self._storage.append(session_id, run, **options)

    def read(self, *args: Any, **options: Any) -> Session | None:
        return self._storage.read(*args, **options)


class Built:
    """A workflow of a shape, and how often each of its steps was run."""

    def __init__(self, shapes: list[Shape], storage: Any) -> None:
        self.calls: Counter[str] = Counter()
        self._names = 0
        steps = [self._part(shape) for shape in shapes]
        self.flow = Workflow(steps=steps, session_id="s", storage=storage, session_state={"begun": 1})

    def _part(self, shape: Shape) -> Any:
        self._names += 1
        name = f"n{self._names}"
        if shape == "task":
            return self._task(name)
        word, *inner = shape
        steps = [self._part(one) for one in inner]
        match word:
            case "parallel":
                return Parallel(*steps, name=name)
            case "loop":
                return Loop(steps, until=lambda given: _sum(given) % 2 == 0, max_rounds=3, name=name)
            case _:
                return Condition(lambda: word == "yes", then=steps, otherwise=[self._task(f"{name}b")], name=name)

    def _task(self, name: str) -> Task:
        def work(given: Any, context: StepContext) -> dict[str, Any]:
            self.calls[name] += 1
            state = context.session_state
            state[name] = state.get(name, 0) + 1
            return {"by": name, "sum": _sum([given, state[name]])}

        return Task(work, name=name)


def _sum(value: Any) -> int:
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def _told(run: Run) -> set[tuple[str, ...]]:
    return {(*(step.within or ()), step.name) for step in run.steps or ()}


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
@settings(deadline=None, max_examples=rounds(20, 100, 1000))
@given(
    shapes=st.lists(_shapes, min_size=1, max_size=3),
    deaths=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=3),
)
def test_an_interrupted_workflow_gives_the_same_result_as_an_uninterrupted_one(
    kind: type[JsonStorage | YamlStorage], shapes: list[Shape], deaths: list[tuple[int, bool]]
) -> None:
    """It has the same output, state and steps, and no stored step is run again."""
    with tempfile.TemporaryDirectory(dir=top_folder()) as folder:
        calm = Built(shapes, kind(Path(folder, "calm"), durability="relaxed"))
        expected = calm.flow.run("in", run_id="r")
        storage = kind(Path(folder, "killed"), durability="relaxed")
        for number, (left, stored) in enumerate(deaths):
            dying = Built(shapes, Dying(storage, left, stored=stored))
            before = _stored(storage)
            try:
                if number:
                    dying.flow.resume()
                else:
                    dying.flow.run("in", run_id="r")
            except Killed:
                pass
            again = [name for name, calls in calm.calls.items() if dying.calls[name] > calls - before[name]]
            assert not again
        before = _stored(storage)
        last = Built(shapes, storage)
        run = last.flow.run("in", run_id="r")
        assert {name: last.calls[name] for name in calm.calls} == {
            name: calls - before[name] for name, calls in calm.calls.items()
        }
        assert (run.status, run.output) == ("completed", expected.output)
        assert _told(run) == _told(expected)
        found = storage.read("s")
        assert found is not None
        assert found.runs == [run]
        assert found.session_state == calm.flow.session_state == last.flow.session_state


def _stored(storage: JsonStorage | YamlStorage) -> Counter[str]:
    """How often each step is in the document as completed."""
    session = storage.read("s")
    steps = session.runs[0].steps or [] if session is not None else []
    return Counter(step.name for step in steps if step.status == "completed")

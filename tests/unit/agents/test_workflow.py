"""Workflows: what each step receives, what is stored, and how an interrupted run is resumed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from pydantic import BaseModel

from localstore import (
    Agent,
    Condition,
    Conflict,
    FunctionModel,
    JsonStorage,
    Loop,
    Message,
    Parallel,
    Run,
    RunContext,
    Session,
    SessionNotFound,
    StateConflict,
    Step,
    StepContext,
    Task,
    Team,
    ToolCall,
    UnstorableValue,
    Workflow,
    WorkflowChanged,
    YamlStorage,
)
from localstore.agents.events import Event, RunFinished, RunWaiting, StepFinished, StepStarted, TextDelta
from localstore.agents.models.model import Reply
from tests import oracle
from tests.effort import ci_only

Store = JsonStorage | YamlStorage


@pytest.fixture(params=[JsonStorage, YamlStorage])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    made: Store = request.param(tmp_path / "store")
    return made


def read(storage: Store, session_id: str = "s") -> Session:
    """The session; its document is checked to have our layout, and is read by another parser."""
    oracle.assert_own_layout(oracle.parse(storage.path(session_id)))
    session = storage.read(session_id)
    assert session is not None
    return session


def adds(letter: str) -> Task:
    """A step that adds a letter to its input."""
    return Task(lambda text: text + letter, name=letter)


def log(run: Run) -> list[tuple[str, str | None]]:
    """The stored steps, in order: their places, and how they ended."""
    return [("/".join([*(step.within or []), step.name]), step.status) for step in run.steps or []]


class Failing:
    """A step that fails `times` times, and counts its calls."""

    def __init__(self, times: int = 1, error: type[BaseException] = ValueError, name: str = "flaky") -> None:
        self.left = times
        self.error = error
        self.calls = 0
        self.__name__ = name

    def __call__(self, text: str) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error("not now")
        return f"{text}!"


# What steps are given


def test_each_step_receives_the_output_of_the_previous_one(storage: Store) -> None:
    async def b(text: str) -> dict[str, str]:
        return {"text": f"{text}b"}

    def c(given: dict[str, str]) -> str:
        return given["text"] + "c"

    def nothing() -> str:
        return "d"

    flow = Workflow(steps=[adds("a"), b, c, nothing], name="The Flow", session_id="s", user_id="alice", storage=storage)
    run = flow.run("")
    assert run.output == "d"
    session = read(storage)
    assert (session.kind, session.workflow_id, session.user_id) == ("workflow", "the-flow", "alice")
    assert session.runs == [run]
    assert (run.input, run.plan, run.status) == ("", ["a", "b", "c", "nothing"], "completed")
    assert [(step.input, step.output) for step in run.steps or []] == [
        ("", "a"),
        ("a", {"text": "ab"}),
        ({"text": "ab"}, "abc"),
        ("abc", "d"),
    ]
    assert all(step.metrics is not None and step.metrics.duration_seconds is not None for step in run.steps or [])
    assert asyncio.run(flow.arun("x")).output == "d"
    assert len(read(storage).runs) == 2


class Report(BaseModel):
    title: str
    on: date


class Train(BaseModel):
    time: str


@dataclass
class Part:
    number: int


def test_inputs_are_converted_to_the_annotated_type(storage: Store) -> None:
    """Made from the stored value, so that a step receives the same after a resume."""
    seen: list[Any] = []

    def write(topic: str) -> Report:
        return Report(title=topic, on=date(2026, 11, 22))

    def split(report: Report) -> tuple[Part, ...]:
        seen.append(report)
        return (Part(1), Part(2))

    def count(parts: tuple[Part, ...]) -> int:
        seen.append(parts)
        return sum(part.number for part in parts)

    run = Workflow(steps=[write, split, count], session_id="s", storage=storage).run("Trains")
    assert seen == [Report(title="Trains", on=date(2026, 11, 22)), (Part(1), Part(2))]
    assert run.output == 3
    assert (run.steps or [])[0].output == {"title": "Trains", "on": "2026-11-22"}
    assert read(storage).runs == [run]


def test_the_error_for_an_invalid_input_names_the_step() -> None:
    def count(number: int) -> int:
        return number

    with pytest.raises(TypeError, match="The input of the step 'count' does not fit: Input should be a valid int"):
        Workflow(steps=[adds("a"), count]).run("x")


def test_the_error_for_an_unstorable_output_names_the_step(storage: Store) -> None:
    flow = Workflow(steps=[Task(lambda: {"x": object()}, name="odd")], session_id="s", storage=storage)
    with pytest.raises(UnstorableValue, match=r"The output of 'odd'\.x is a builtins\.object"):
        flow.run()
    (run,) = read(storage).runs
    assert (run.status, log(run)) == ("error", [("odd", "error")])


def test_the_context_has_the_state_ids_and_outputs(storage: Store) -> None:
    def first(context: StepContext) -> int:
        assert (context.session_id, context.user_id, context.input) == ("s", "alice", {"topic": "x"})
        context.session_state["seen"] = [context.run_id]
        return 1

    def second(number: int, context: StepContext) -> int:
        assert context.outputs == {"first": number}
        context.session_state["seen"].append("second")
        return number + 1

    flow = Workflow(
        steps=[first, second], session_id="s", user_id="alice", storage=storage, session_state={"begun": True}
    )
    run = flow.run({"topic": "x"})
    state = {"begun": True, "seen": [run.run_id, "second"]}
    assert read(storage).session_state == flow.session_state == state
    assert [step.session_state for step in run.steps or []] == [{"begun": True, "seen": [run.run_id]}, state]


def test_without_storage_runs_are_kept_in_memory() -> None:
    flow = Workflow(steps=[adds("a"), Failing()], session_id="s")
    with pytest.raises(ValueError, match="not now"):
        flow.run("x", run_id="r")
    run = flow.resume()
    assert run is not None
    assert (run.run_id, run.status) == ("r", "completed")
    assert [(step.name, step.status) for step in run.steps or ()][-2:] == [("flaky", "error"), ("flaky", "completed")]


# Agents and teams


def test_an_agents_input_is_its_question_and_its_output_the_answer(storage: Store) -> None:
    """Their messages are stored in the step; with history, each is given those of the same step in earlier runs."""
    given: list[list[str]] = []

    def answer(messages: list[Message]) -> str:
        given.append([message.text for message in messages])
        return f"answer {len(given)}"

    agent = Agent(model=FunctionModel(answer), name="Ann", add_history_to_messages=True, instructions="Be {mood}.")
    steps: list[Any] = [Task(lambda text: {"ask": text}, name="prepare"), agent, Task(agent, name="again")]
    flow = Workflow(steps=steps, session_id="s", storage=storage, session_state={"mood": "kind"})
    run = flow.run("hello")
    assert run.output == "answer 2"
    step = (run.steps or [])[1]
    assert (step.name, step.output) == ("Ann", "answer 1")
    assert [message.text for message in step.messages or []] == ['{"ask": "hello"}', "answer 1"]
    flow.run("there")
    assert given[2:] == [
        ["Be kind.", '{"ask": "hello"}', "answer 1", '{"ask": "there"}'],
        ["Be kind.", "answer 1", "answer 2", "answer 3"],
    ]


def test_a_step_gets_no_history_by_default(storage: Store) -> None:
    """A step works on its input alone, also if its agent has a storage of its own."""
    counting = FunctionModel(lambda messages: str(len(messages)))
    flow = Workflow(steps=[Agent(model=counting, name="Ann", storage=storage)], session_id="s", storage=storage)
    assert [flow.run("x").output, flow.run("x").output] == ["1", "1"]


def test_the_metrics_of_a_run_include_all_steps(storage: Store) -> None:
    """Including the steps before it was interrupted."""

    class Counted(FunctionModel):
        def respond(self, messages: Any, options: Any = None, /) -> Reply:
            return Reply(Message(role="assistant", content="yes"), input_tokens=3, output_tokens=2)

    agent = Agent(model=Counted(lambda _: "yes"), name="Ann")
    flow = Workflow(steps=[agent, Task(agent, name="Ben", confirm=True)], session_id="s", storage=storage)
    flow.run("x")
    run = flow.resume(confirm=True)
    assert run is not None
    assert run.metrics is not None
    assert (run.metrics.input_tokens, run.metrics.output_tokens) == (6, 4)


def test_agents_change_the_state_and_teams_keep_their_members(storage: Store) -> None:
    def note(context: RunContext) -> str:
        context.session_state["noted"] = context.run_id
        return "noted"

    def answer(messages: list[Message]) -> Message | str:
        if messages[-1].role == "tool":
            return "done"
        return Message(role="assistant", tool_calls=[ToolCall(id="n", name="note")])

    def lead(messages: list[Message]) -> Message | str:
        if messages[-1].role == "tool":
            return messages[-1].text
        call = ToolCall(id="c", name="delegate_task", arguments={"member": "Ann", "task": "x"})
        return Message(role="assistant", tool_calls=[call])

    ann = Agent(model=FunctionModel(answer), name="Ann", tools=[note])
    team = Team(members=[ann], model=FunctionModel(lead), name="Team")
    run = Workflow(steps=[team], session_id="s", storage=storage).run("go")
    (step,) = run.steps or []
    assert step.output == "done"
    assert [one.agent_id for one in step.member_runs or []] == ["ann"]
    assert read(storage).session_state.keys() == {"noted"}


def test_structured_output_of_an_agent_is_passed_on_as_data() -> None:
    agent = Agent(model=FunctionModel(lambda _: '{"time": "7:58"}'), name="Ann", response_model=Train)

    def when(train: Train) -> str:
        return train.time

    assert Workflow(steps=[agent, when]).run("Which train?").output == "7:58"


# Ways to go on


def test_branches_run_concurrently_and_their_changes_are_merged(storage: Store) -> None:
    both = Barrier(2)

    def branch(name: str) -> Task:
        def work(text: str, context: StepContext) -> str:
            both.wait(60)
            context.session_state[name] = text
            context.session_state["last"] = name
            return f"{text}{name}"

        return Task(work, name=name)

    gather = Parallel(branch("a"), branch("b"), name="gather")
    flow = Workflow(steps=[gather, Task(lambda given: given, name="end")], session_id="s", storage=storage)
    run = flow.run("x")
    assert run.output == {"a": "xa", "b": "xb"}
    assert read(storage).session_state == {"a": "x", "b": "x", "last": "b"}
    assert sorted(log(run)) == [("end", "completed"), ("gather/a", "completed"), ("gather/b", "completed")]
    assert asyncio.run(flow.arun("y")).output == {"a": "ya", "b": "yb"}


def test_the_other_branches_end_if_one_fails(storage: Store) -> None:
    """Only that step is run again."""
    flaky, calm = Failing(), Failing(0, name="calm")
    flow = Workflow(steps=[Parallel(flaky, calm), adds("z")], session_id="s", storage=storage)
    with pytest.raises(ValueError, match="not now"):
        flow.run("x", run_id="r")
    assert sorted(log(read(storage).runs[0])) == [("parallel/calm", "completed"), ("parallel/flaky", "error")]
    end = Task(lambda given: sorted(given.values()), name="z")
    flow = Workflow(steps=[Parallel(flaky, calm), end], session_id="s", storage=storage)
    run = flow.run("x", run_id="r")
    assert run.output == ["x!", "x!"]
    assert (flaky.calls, calm.calls) == (2, 1)


def test_a_condition_goes_the_same_way_after_a_resume(storage: Store) -> None:
    answers = [True, False]
    flaky = Failing()

    def is_long(text: str, context: StepContext) -> bool:
        assert context.input == text
        return answers.pop(0)

    def flow() -> Workflow:
        decide = Condition(is_long, then=[flaky], otherwise=[adds("short")])
        return Workflow(steps=[decide], session_id="s", storage=storage)

    with pytest.raises(ValueError, match="not now"):
        flow().run("x")
    run = flow().resume()
    assert run is not None
    assert run.output == "x!"
    assert answers == [False]
    assert log(run) == [("is_long", "completed"), ("is_long/flaky", "error"), ("is_long/flaky", "completed")]
    assert flow().run("y").output == "yshort"


def test_a_condition_without_steps_to_run_returns_its_input() -> None:
    decide = Condition(lambda text: text == "x", then=[adds("a")], name="is x")
    assert [Workflow(steps=[decide]).run(text).output for text in "xy"] == ["xa", "y"]


def test_a_loop_ends_when_until_returns_true(storage: Store) -> None:
    asked: list[str] = []

    def enough(text: str) -> bool:
        asked.append(text)
        return len(text) >= 3

    loop = Loop([adds("a")], until=enough, name="draft")
    run = Workflow(steps=[loop, adds("z")], session_id="s", storage=storage).run("")
    assert run.output == "aaaz"
    assert asked == ["a", "aa", "aaa"]
    assert log(run) == [(place, "completed") for place in ("draft[1]/a", "draft[2]/a", "draft[3]/a", "draft", "z")]
    assert Workflow(steps=[Loop([adds("a")], max_rounds=4)]).run("").output == "aaaa"


def test_a_loop_continues_in_the_interrupted_round(storage: Store) -> None:
    asked: list[str] = []
    flaky = Failing(0)

    def enough(text: str) -> bool:
        asked.append(text)
        return text.count("!") == 3

    def flow() -> Workflow:
        return Workflow(steps=[Loop([adds("a"), flaky], until=enough), adds("z")], session_id="s", storage=storage)

    flaky.left = 0

    def fail_in_the_second_round(text: str) -> str:
        if flaky.calls == 1:
            flaky.left = 1
        return Failing.__call__(flaky, text)

    flaky_task = Task(fail_in_the_second_round, name="flaky")
    loop = Loop([adds("a"), flaky_task], until=enough)
    with pytest.raises(ValueError, match="not now"):
        Workflow(steps=[loop, adds("z")], session_id="s", storage=storage).run("")
    run = flow().resume()
    assert run is not None
    assert run.output == "a!a!a!z"
    assert asked == ["a!", "a!a!", "a!a!a!"]
    assert flaky.calls == 4


def test_an_error_of_until_is_stored_as_the_loops_error(storage: Store) -> None:
    loop = Loop([adds("a")], until=lambda text: text.nothing, name="draft")
    with pytest.raises(AttributeError) as raised:
        Workflow(steps=[loop], session_id="s", storage=storage).run("")
    assert raised.value.__notes__ == ["This was raised in draft."]
    run = read(storage).runs[0]
    assert log(run) == [("draft[1]/a", "completed"), ("draft", "error")]


# Interrupted


@pytest.mark.parametrize("how", ["resume", "the same call", "aresume"])
def test_a_failed_run_continues_after_its_last_completed_step(storage: Store, how: str) -> None:
    flaky, first = Failing(2), Failing(0, name="first")

    def flow() -> Workflow:
        return Workflow(steps=[first, flaky, adds("z")], session_id="s", storage=storage)

    with pytest.raises(ValueError, match="not now") as raised:
        flow().run("x", run_id="r")
    assert raised.value.__notes__ == ["This was raised in flaky."]
    stored = read(storage).runs[0]
    assert raised.value.run == stored  # type: ignore[attr-defined]
    assert (stored.status, stored.error) == ("error", "ValueError: not now This was raised in flaky.")
    with pytest.raises(ValueError, match="not now"):
        flow().resume()
    match how:
        case "resume":
            run = flow().resume()
        case "aresume":
            run = asyncio.run(flow().aresume())
        case _:
            run = flow().run("x", run_id="r")
    assert run is not None
    assert (run.run_id, run.output, run.error) == ("r", "x!!z", None)
    assert (first.calls, flaky.calls) == (1, 3)
    assert read(storage).runs == [run]
    assert flow().resume() is None
    assert flow().run("x", run_id="r") == run
    assert (first.calls, flaky.calls) == (1, 3)


def test_another_input_with_the_same_run_id_is_refused(storage: Store) -> None:
    flow = Workflow(steps=[Task(lambda given: given, name="a")], session_id="s", storage=storage)
    flow.run({"x": 1}, run_id="r")
    with pytest.raises(Conflict, match="was begun with another input"):
        flow.run({"x": 1.0}, run_id="r")


def test_ctrl_c_leaves_a_cancelled_run_that_can_be_resumed(storage: Store) -> None:
    interrupted = Failing(1, KeyboardInterrupt)
    flow = Workflow(steps=[adds("a"), interrupted], session_id="s", storage=storage)
    with pytest.raises(KeyboardInterrupt):
        flow.run("x")
    run = read(storage).runs[0]
    assert (run.status, log(run)) == ("cancelled", [("a", "completed"), ("flaky", "cancelled")])
    resumed = flow.resume()
    assert resumed is not None
    assert resumed.output == "xa!"


def test_a_cancelled_task_leaves_a_cancelled_run(storage: Store) -> None:
    async def cancel() -> None:
        started = asyncio.Event()

        async def wait_long(text: str) -> None:
            started.set()
            await asyncio.sleep(60)

        flow = Workflow(steps=[Parallel(wait_long, adds("b"))], session_id="s", storage=storage)
        task = asyncio.create_task(flow.arun("x"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert read(storage).runs[0].status == "cancelled"


def test_closing_the_stream_cancels_the_run(storage: Store) -> None:
    flow = Workflow(steps=[adds("a"), adds("b")], session_id="s", storage=storage)
    for event in (events := flow.stream("x")):
        if isinstance(event, StepFinished):
            break
    events.close()
    run = read(storage).runs[0]
    assert (run.status, log(run)) == ("cancelled", [("a", "completed")])


def test_a_failed_step_does_not_change_the_state(storage: Store) -> None:
    """So a step that is run again begins with the same state as before."""
    fail = [True]

    def change(context: StepContext) -> int:
        context.session_state["n"] = context.session_state.get("n", 0) + 1
        if fail.pop() if fail else False:
            raise ValueError("not now")
        return int(context.session_state["n"])

    flow = Workflow(steps=[Task(change, name="one"), Task(change, name="two")], session_id="s", storage=storage)
    with pytest.raises(ValueError, match="not now"):
        flow.run()
    run = flow.resume()
    assert run is not None
    assert run.output == 2
    assert read(storage).session_state == {"n": 2}


def test_changes_by_others_in_the_meantime_are_kept(storage: Store) -> None:
    """The run's changes are applied to the state at the time it is resumed, key by key."""
    flaky = Failing()

    def note(text: str, context: StepContext) -> str:
        context.session_state["mine"] = text
        return text

    steps: list[Any] = [note, flaky]
    storage.append("s", Run(session_state={"theirs": 1, "both": 1}), kind="workflow")
    with pytest.raises(ValueError, match="not now"):
        Workflow(steps=steps, session_id="s", storage=storage).run("x")
    storage.update("s", session_state={"theirs": 2, "both": 1})
    assert Workflow(steps=steps, session_id="s", storage=storage).resume() is not None
    assert read(storage).session_state == {"theirs": 2, "both": 1, "mine": "x"}


def test_a_strict_workflow_fails_on_a_conflict_of_states(storage: Store) -> None:
    def note(text: str, context: StepContext) -> str:
        context.session_state["key"] = text
        storage.update("s", session_state={"key": "theirs"})
        return text

    flow = Workflow(steps=[note], session_id="s", storage=storage, strict_state=True)
    with pytest.raises(StateConflict):
        flow.run("mine")
    session = read(storage)
    assert (session.runs[0].status, session.session_state) == ("error", {"key": "theirs"})


def test_a_run_that_another_process_continues_is_not_overwritten(storage: Store) -> None:
    """Two processes resume the same run: the work of the later one is dropped, the run belongs to the other."""
    waiting = Failing()
    flow = Workflow(steps=[adds("a"), waiting, adds("z")], session_id="s", storage=storage)
    with pytest.raises(ValueError, match="not now"):
        flow.run("x")

    def meanwhile(text: str) -> str:
        other = Workflow(steps=[adds("a"), Failing(0), adds("z")], session_id="s", storage=storage)
        assert other.resume() is not None
        return "mine"

    late = Workflow(steps=[adds("a"), Task(meanwhile, name="flaky"), adds("z")], session_id="s", storage=storage)
    with pytest.raises(Conflict):
        late.resume()
    (run,) = read(storage).runs
    assert (run.status, run.output) == ("completed", "xa!z")


def test_concurrent_runs_of_one_session_keep_their_own_steps(storage: Store) -> None:
    flow = Workflow(steps=[adds(letter) for letter in "abcdef"], session_id="s", storage=storage)
    with ThreadPoolExecutor(5) as threads:
        runs = list(threads.map(flow.run, "12345"))
    assert [run.output for run in runs] == [f"{number}abcdef" for number in "12345"]
    stored = {run.run_id: run for run in read(storage).runs}
    assert [stored[run.run_id] for run in runs] == runs


def test_an_agent_step_needs_an_input() -> None:
    agent = Agent(model=FunctionModel(lambda _: "yes"), name="Ann")
    with pytest.raises(TypeError, match="The step 'Ann' is an agent, but its input is None"):
        Workflow(steps=[agent]).run()


def test_changed_steps_are_named(storage: Store) -> None:
    def flow(*steps: Any) -> Workflow:
        return Workflow(steps=list(steps), session_id="s", storage=storage)

    with pytest.raises(ValueError, match="not now"):
        flow(adds("a"), Failing(), Loop([adds("b")])).run("x")
    for steps, problem in (
        ((adds("b"), Failing(), Loop([adds("b")])), "step 1 is 'b' now, and it was 'a' then"),
        ((adds("a"), Failing(), Loop([adds("c")])), r"step 3 is 'loop\(c\)' now, and it was 'loop\(b\)' then"),
        ((adds("a"), Failing()), r"step 3 is gone now, and it was 'loop\(b\)' then"),
        ((adds("a"), Failing(), Loop([adds("b")]), adds("d")), "step 4 is 'd' now, and there was none then"),
    ):
        with pytest.raises(WorkflowChanged, match=problem):
            flow(*steps).resume()
    assert read(storage).runs[0].status == "error"


# Retries and confirmations


def test_a_failed_step_is_retried_and_every_attempt_is_stored(storage: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("localstore.agents.runs.driver.time.sleep", waited.append)
    flow = Workflow(steps=[Task(Failing(3), retries=3, backoff=0.5)], session_id="s", storage=storage)
    run = flow.run("x")
    assert run.output == "x!"
    assert log(run) == [("flaky", "error")] * 3 + [("flaky", "completed")]
    assert waited == [0.5, 1.0, 2.0]


def test_a_run_that_waits_for_its_confirmation_is_stored(storage: Store) -> None:
    first = Failing(0, name="first")

    def flow() -> Workflow:
        steps: list[Any] = [first, Task(lambda text: f"{text}b", name="b", confirm="Send it?"), adds("c")]
        return Workflow(steps=steps, session_id="s", storage=storage)

    run = flow().run("x", run_id="r")
    assert (run.status, run.output) == ("unfinished", None)
    assert run.waiting is not None
    assert (run.waiting.name, run.waiting.question, run.waiting.input) == ("b", "Send it?", "x!")
    assert read(storage).runs == [run]
    for again in (flow().resume(), flow().run("x", run_id="r")):
        assert again == run
    run = flow().resume(confirm=True)  # type: ignore[assignment]
    assert (run.status, run.output, run.waiting) == ("completed", "x!bc", None)
    assert log(run) == [
        ("first", "completed"),
        ("b", "waiting"),
        ("b", "confirmed"),
        ("b", "completed"),
        ("c", "completed"),
    ]
    assert first.calls == 1


PROGRAM = """
import sys
from localstore import JsonStorage, Task, Workflow

def a(text: str) -> str:
    return text + "a"

flow = Workflow(steps=[a, Task(a, name="b", confirm=True)], session_id="s", storage=JsonStorage(sys.argv[1]))
run = flow.run("x") if sys.argv[2] == "ask" else flow.resume(confirm=sys.argv[2] == "yes")
print(run.status, run.output, run.waiting and run.waiting.question)
"""


@ci_only
@pytest.mark.parametrize(("answer", "told"), [("yes", "completed xaa None"), ("no", "cancelled None None")])
def test_another_process_answers_the_confirmation(tmp_path: Path, answer: str, told: str) -> None:
    def start(word: str) -> str:
        command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path / "store"), word]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert start("ask") == "unfinished None Go on with 'b'?"
    assert start(answer) == told


def test_a_run_that_is_not_confirmed_is_cancelled(storage: Store) -> None:
    flow = Workflow(steps=[Task(lambda text: text, name="a", confirm=True)], session_id="s", storage=storage)
    waiting = flow.run("x").waiting
    assert waiting is not None
    assert waiting.question == "Go on with 'a'?"
    run = flow.resume(confirm=False)
    assert run is not None
    assert (run.status, log(run)) == ("cancelled", [("a", "waiting"), ("a", "rejected")])
    with pytest.raises(ValueError, match="Nothing in session 's' waits for a confirmation"):
        flow.resume(confirm=True)


def test_a_confirmed_step_that_failed_needs_no_second_confirmation(storage: Store) -> None:
    flaky = Failing()
    flow = Workflow(steps=[Task(flaky, confirm=True)], session_id="s", storage=storage)
    flow.run("x")
    with pytest.raises(ValueError, match="not now"):
        flow.resume(confirm=True)
    run = flow.resume()
    assert run is not None
    assert run.output == "x!"


def test_two_branches_wait_one_after_the_other(storage: Store) -> None:
    """Branches that need no confirmation are run in the meantime."""
    calm = Failing(0, name="calm")
    ask = [Task(Failing(0, name=name), confirm=True) for name in ("a", "b")]
    flow = Workflow(steps=[Parallel(*ask, calm)], session_id="s", storage=storage)
    run = flow.run("x")
    assert calm.calls == 1
    names = []
    while run.waiting is not None:
        names.append(run.waiting.name)
        run = flow.resume(confirm=True)  # type: ignore[assignment]
    assert sorted(names) == ["a", "b"]
    assert run.output == {"a": "x!", "b": "x!", "calm": "x!"}


# What is heard


def test_events_say_what_happens(storage: Store) -> None:
    agent = Agent(model=FunctionModel(lambda _: iter(["Good ", "day."])), name="Ann")
    end = Task(lambda given: given, name="end", confirm=True)
    flow = Workflow(steps=[adds("a"), Parallel(agent), end], session_id="s", storage=storage)

    def told(events: list[Event]) -> list[tuple[str, Any]]:
        return [
            (type(event).__name__, event.text if isinstance(event, TextDelta) else event.speaker) for event in events
        ]

    assert told(list(flow.stream("x"))) == [
        ("RunStarted", None),
        ("StepStarted", "a"),
        ("StepFinished", "a"),
        ("StepStarted", "parallel/Ann"),
        ("RunStarted", "parallel/Ann"),
        ("TextDelta", "Good "),
        ("TextDelta", "day."),
        ("RunFinished", "parallel/Ann"),
        ("StepFinished", "parallel/Ann"),
        ("RunWaiting", None),
    ]

    async def collect() -> list[Event]:
        return [event async for event in flow.astream("y")]

    events = asyncio.run(collect())
    assert isinstance(events[-1], RunWaiting)
    assert [type(event) for event in events].count(StepStarted) == 2
    resumed = list(flow.stream_resumed(confirm=True))
    assert isinstance(resumed[-1], RunFinished)


def test_print_response_shows_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent(model=FunctionModel(lambda messages: messages[-1].text.upper()), name="Ann")
    flow = Workflow(steps=[adds("a"), agent, Task(lambda text: {"said": text}, name="end", confirm="All well?")])
    flow.print_response("hello ")
    assert capsys.readouterr().out == (
        "> hello \na:\nhello a\n\nAnn:\nHELLO A\n\nend:\nAll well? (resume(confirm=True) goes on.)\n\n"
    )


# What it is made of


def takes_two(a: int, b: int) -> int:
    return a + b


def test_wrong_steps_are_refused_when_the_workflow_is_created() -> None:
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: Workflow(steps=[]), ValueError, "There are no steps in the workflow"),
        (lambda: Workflow(steps=adds("a")), TypeError, "must be a list"),  # type: ignore[arg-type]
        (lambda: Workflow(steps=["a"]), TypeError, "A step must be a function, an Agent or a Team, not str"),  # type: ignore[list-item]
        (lambda: Workflow(steps=[lambda text: text]), ValueError, "A step has no name"),
        (lambda: Workflow(steps=[adds("a"), adds("a")]), ValueError, "Two steps of the workflow are named 'a'"),
        (lambda: Workflow(steps=[takes_two]), TypeError, "the step 'takes_two' takes more than one input"),
        (lambda: Parallel(), ValueError, "There are no steps in the parallel 'parallel'"),
        (lambda: Loop([adds("a")], max_rounds=0), ValueError, "max_rounds must be a whole number from 1 on"),
        (lambda: Loop([adds("a")], until=3), TypeError, "until of the loop 'loop' must be a function"),  # type: ignore[arg-type]
        (lambda: Condition("x", then=[adds("a")], name="c"), TypeError, "The test of the condition 'c'"),  # type: ignore[arg-type]
        (lambda: Task(takes_two, name="x", retries=-1), ValueError, "retries must be"),
        (lambda: Task(Failing(), backoff=-1), ValueError, "backoff must be a number of seconds"),
        (lambda: Workflow(steps=[adds("a")], storage="tmp"), TypeError, "storage must be a storage"),  # type: ignore[arg-type]
    ]
    for make, error, problem in cases:
        with pytest.raises(error, match=problem):
            make()


def test_a_deleted_session_is_not_created_again(storage: Store) -> None:
    flow = Workflow(steps=[adds("a")], session_id="s", storage=storage)
    flow.run("x")
    storage.delete_session("s")
    with pytest.raises(SessionNotFound):
        flow.run("y")


def test_an_edited_output_of_a_step_is_used(storage: Store) -> None:
    """A person may edit the output of a step; the next step receives that."""
    flaky = Failing()
    flow = Workflow(steps=[adds("a"), flaky], session_id="s", storage=storage)
    with pytest.raises(ValueError, match="not now"):
        flow.run("x")
    path = storage.path("s")
    path.write_bytes(
        path.read_bytes().replace(b"output: xa", b"output: mended").replace(b'"output": "xa"', b'"output": "mended"')
    )
    run = flow.resume()
    assert run is not None
    assert run.output == "mended!"
    assert Step.model_validate((run.steps or [])[0].model_dump()).output == "mended"

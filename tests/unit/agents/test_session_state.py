"""Session state: in instructions, in concurrent runs, conflicts, and several sessions of one agent."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore import Agent, FunctionModel, JsonStorage, Message, Run, StateConflict, ToolCall, YamlStorage
from localstore.agents.runs import agent_run
from localstore.agents.tools.tool import RunContext
from localstore.engine.merge import merge_mappings
from localstore.format.values import to_json_value


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    return JsonStorage(tmp_path)


def stored_state(storage: JsonStorage, session_id: str = "s") -> Any:
    history = json.loads(storage.path(session_id).read_bytes())["history"]
    return next(entry["session_state"] for entry in reversed(history) if "session_state" in entry)


def echo_system(messages: list[Message]) -> str:
    return messages[0].text


def test_instructions_contain_values_of_the_state(storage: JsonStorage) -> None:
    """Texts as they are, other values as JSON; other braces stay as they are. The template is stored."""
    agent = Agent(
        model=FunctionModel(echo_system),
        session_id="s",
        storage=storage,
        instructions='{name} saw {visited}. {unknown} {"json": 1} {{name}}',
        session_state={"name": "Ann", "visited": ["Köln"]},
    )
    assert agent.run("?").answer == 'Ann saw ["Köln"]. {unknown} {"json": 1} {Ann}'
    agent.session_state["visited"] = []
    assert agent.run("?").answer.startswith("Ann saw [].")
    history = json.loads(storage.path("s").read_bytes())["history"]
    assert [entry.get("instructions") for entry in history] == [agent.instructions, None]


def changing(change: Callable[[dict[str, Any]], None], meanwhile: Callable[[], object] = lambda: None) -> Any:
    """A model and a tool that changes the run's state while something else happens."""

    def tool(context: RunContext) -> None:
        meanwhile()
        change(context.session_state)

    def answer(messages: list[Message]) -> Message | str:
        if messages[-1].role == "tool":
            return "done"
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="tool", arguments={})])

    return {"model": FunctionModel(answer), "tools": [tool]}


@pytest.mark.parametrize("layout", [JsonStorage, YamlStorage])
def test_changes_of_concurrent_runs_are_merged_by_key(tmp_path: Path, layout: type[JsonStorage]) -> None:
    """Two independent runs, each of which changes and removes keys of its own."""
    storage = layout(tmp_path)
    storage.append("s", Run(session_state={"a": 1, "b": 1, "c": 1}))
    inner = Agent(**changing(lambda state: state.update(b=2, d=2)), session_id="s", storage=storage)

    def outer_change(state: dict[str, Any]) -> None:
        state["a"] = 3
        del state["c"]

    outer = Agent(**changing(outer_change, lambda: inner.run("?")), session_id="s", storage=storage)
    run = outer.run("?")
    assert run.state_conflicts is None
    assert storage.read("s").session_state == {"a": 3, "b": 2, "d": 2}  # type: ignore[union-attr]
    assert outer.session_state == {"a": 3, "b": 2, "d": 2}


def test_the_later_change_of_a_key_wins_and_its_run_names_the_conflict(storage: JsonStorage) -> None:
    storage.append("s", Run(session_state={"n": 0, "same": 0}))
    inner = Agent(**changing(lambda state: state.update(n=1, same=9)), session_id="s", storage=storage)
    agent = Agent(
        **changing(lambda state: state.update(n=2, same=9), lambda: inner.run("?")), session_id="s", storage=storage
    )
    assert agent.run("?").state_conflicts == ["n"]
    _, run, _, update = json.loads(storage.path("s").read_bytes())["history"]
    assert (run["status"], run["state_conflicts"]) == ("completed", ["n"])
    assert (update["type"], update["session_state"]) == ("update", {"n": 2, "same": 9})  # it stands behind the other
    assert agent.session_state == {"n": 2, "same": 9}


@pytest.mark.parametrize("in_memory", [False, True])
def test_with_strict_state_a_conflict_fails_the_run(storage: JsonStorage, in_memory: bool) -> None:
    """The answer is in the error, and the value of the other run is kept."""
    options: dict[str, Any] = {} if in_memory else {"storage": storage}
    agent = Agent(**changing(lambda state: state.update(n=2)), session_id="s", strict_state=True, **options)
    other = Agent(**changing(lambda state: state.update(n=1)), session_id="s", storage=agent.storage)
    agent.tools["tool"].function = _both(agent.tools["tool"].function, lambda: other.run("?"))
    with pytest.raises(StateConflict, match="'n'") as caught:
        agent.run("?")
    assert caught.value.keys == ("n",)
    session = agent.storage.read("s")
    assert session is not None
    assert session.session_state == {"n": 1}
    assert [(run.status, run.answer) for run in session.runs] == [("error", "done"), ("completed", "done")]


def _both(function: Callable[..., Any], before: Callable[[], object]) -> Callable[..., Any]:
    def do(context: RunContext) -> Any:
        before()
        return function(context)

    return do


def test_many_threads_use_one_agent_for_one_session(storage: JsonStorage) -> None:
    """Each run adds a key of its own; all are there, on disk and in the agent."""

    def mark(key: str, context: RunContext) -> None:
        context.session_state[key] = True

    def answer(messages: list[Message]) -> Message | str:
        if messages[-1].role == "tool":
            return "done"
        call = ToolCall(id="1", name="mark", arguments={"key": messages[-1].text})
        return Message(role="assistant", tool_calls=[call])

    agent = Agent(model=FunctionModel(answer), tools=[mark], session_id="s", storage=storage)
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(agent.run, [f"k{number}" for number in range(40)]))
    assert {run.status for run in runs} == {"completed"}
    assert stored_state(storage) == {f"k{number}": True for number in range(40)}
    agent.run("k0")
    assert agent.session_state == {f"k{number}": True for number in range(40)}


def test_one_agent_serves_several_sessions_at_once_without_a_leak(storage: JsonStorage) -> None:
    """Concurrent sessions of several users: each has its own state, history and owner."""

    def note(context: RunContext) -> None:
        context.session_state.setdefault("seen", []).append(f"{context.user_id} {context.session_id}")

    async def answer(messages: list[Message]) -> Message | str:
        await asyncio.sleep(0)
        if messages[-1].role == "tool":
            return " ".join(message.text for message in messages if message.role == "user")
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="note", arguments={})])

    agent = Agent(
        model=FunctionModel(answer),
        tools=[note],
        session_id="own",
        storage=storage,
        session_state={"made": 1},
        add_history_to_messages=True,
    )

    async def all_at_once() -> list[Run]:
        rounds = [(user, number) for number in range(3) for user in "abcdef"]
        answers: list[Run] = []
        for number in range(3):
            asked = [
                agent.arun(f"{user}{n}", session_id=f"s-{user}", user_id=user) for user, n in rounds if n == number
            ]
            answers += await asyncio.gather(*asked)
        return answers

    answers = {run.question: run.answer for run in asyncio.run(all_at_once())}
    for user in "abcdef":
        assert answers[f"{user}2"] == f"{user}0 {user}1 {user}2"
        session = storage.read(f"s-{user}", user_id=user)
        assert session is not None
        assert session.session_state == {"made": 1, "seen": [f"{user} s-{user}"] * 3}
    assert agent.session_state == {"made": 1}
    assert storage.read("own") is None


def test_changes_of_the_caller_during_a_run_are_stored_with_it(storage: JsonStorage) -> None:
    """Also if a tool changes other keys; if both change the same key, the value of the tool counts."""
    agent = Agent(
        **changing(
            lambda state: state.update(tool=1, both="tool"),
            lambda: agent.session_state.update(owner=1, both="owner"),
        ),
        session_id="s",
        storage=storage,
    )
    agent.run("?")
    assert stored_state(storage) == agent.session_state == {"tool": 1, "owner": 1, "both": "tool"}


def test_a_tools_change_that_cannot_be_stored_fails_the_run(storage: JsonStorage) -> None:
    """The error says where the value is; the run is stored without it, and the next one works."""
    agent = Agent(**changing(lambda state: state.update(bad=object())), session_id="s", storage=storage)
    with pytest.raises(ValueError, match=r"session_state\.bad"):
        agent.run("?")
    entry = json.loads(storage.path("s").read_bytes())["history"][-1]
    assert entry["status"] == "error"
    assert "session_state" not in entry
    assert agent.session_state == {}
    assert Agent(model=FunctionModel(echo_system), session_id="s", storage=storage).run("next").answer == "next"


COUNTING = """
import sys
from localstore import Agent, FunctionModel, JsonStorage, Message, RunContext, ToolCall

def mark(context: RunContext) -> None:
    for number in range(5):
        context.session_state[f"{sys.argv[2]}{number}"] = number

def answer(messages):
    if messages[-1].role == "tool":
        return "done"
    return Message(role="assistant", tool_calls=[ToolCall(id="1", name="mark", arguments={})])

agent = Agent(model=FunctionModel(answer), tools=[mark], session_id="s", storage=JsonStorage(sys.argv[1]))
for _ in range(10):
    agent.run(sys.argv[2])
"""


def test_processes_on_one_session_keep_their_runs_and_their_keys(storage: JsonStorage) -> None:
    """Three concurrent processes with ten runs each."""
    commands = [[sys.executable, "-W", "error", "-c", COUNTING, str(storage.root), name] for name in "xyz"]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0, 0, 0]
    history = json.loads(storage.path("s").read_bytes())["history"]
    runs = [entry for entry in history if entry["type"] == "run"]
    asked = [entry["messages"][0]["content"] for entry in runs]
    assert {name: asked.count(name) for name in "xyz"} == {"x": 10, "y": 10, "z": 10}
    assert {entry["status"] for entry in runs} == {"completed"}
    assert stored_state(storage) == {f"{name}{number}": number for name in "xyz" for number in range(5)}


states = st.dictionaries(st.sampled_from("abc"), st.sampled_from([0, False, 1, True, 1.0, None, "x", [1]]))


@given(states, states, states)
def test_a_merge_keeps_both_sides(base: Any, mine: Any, theirs: Any) -> None:
    """Checked key by key: my value if I changed it, otherwise theirs; a conflict if both changed it differently."""

    def text(state: dict[str, Any], key: str) -> str | None:
        return json.dumps(state[key]) if key in state else None

    state, conflicts = merge_mappings(mine, theirs, base, "ours")
    for key in "abc":
        before, here, there = (text(one, key) for one in (base, mine, theirs))
        assert text(state, key) == (here if here != before else there)
        assert (key in conflicts) == (len({before, here, there}) == 3)


def test_changes_of_tools_are_stored_with_the_round(storage: JsonStorage) -> None:
    """A run that was killed after a round of tools and resumed used to lose the changes of the tools."""

    def visit(city: str, context: RunContext) -> str:
        """Visit a city."""
        context.session_state.setdefault("visited", []).append(city)
        context.session_state.pop("plan", None)
        return "visited"

    class Killed(BaseException):
        pass

    def die(messages: list[Message]) -> Message:
        if messages[-1].role == "tool":
            raise Killed
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="visit", arguments={"city": "Linz"})])

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(storage, name)

        def append(self, session_id: str, run: Run, **options: Any) -> None:
            if run.status == "unfinished":
                storage.append(session_id, run, **options)

    storage.append("s", Run(session_state={"plan": "x", "visited": ["Wien"]}))
    dying = Agent(model=FunctionModel(die), tools=[visit], session_id="s", storage=Dying())
    with pytest.raises(Killed):
        dying.run("Go!")
    stored = storage.read("s")
    assert stored is not None
    assert stored.runs[1].messages[2].state_changes == {"plan": None, "visited": ["Wien", "Linz"]}
    assert stored.session_state == {"plan": "x", "visited": ["Wien"]}
    agent = Agent(model=FunctionModel(lambda messages: "done"), tools=[visit], session_id="s", storage=storage)
    agent.resume()
    done = storage.read("s")
    assert done is not None
    assert (done.session_state, done.runs[1].status) == ({"visited": ["Wien", "Linz"]}, "completed")


def test_a_round_of_tools_copies_the_state_once(storage: JsonStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to be copied before and after each round, which doubled what a large state costs."""
    copies = 0

    def counted(value: Any, what: str = "value") -> Any:
        nonlocal copies
        copies += what == "session_state"
        return to_json_value(value, what)

    def count(context: RunContext) -> str:
        """Count."""
        context.session_state["n"] += 1
        return "counted"

    def answer(messages: list[Message]) -> Message:
        if len(messages) > 10:
            return Message(role="assistant", content="done")
        return Message(role="assistant", tool_calls=[ToolCall(id=str(len(messages)), name="count", arguments={})])

    monkeypatch.setattr(agent_run, "to_json_value", counted)
    agent = Agent(
        model=FunctionModel(answer), tools=[count], session_id="s", storage=storage, session_state={"n": 0, "big": "x"}
    )
    run = agent.run("Go!")
    changes = [message.state_changes for message in run.messages if message.role == "tool"]
    assert changes == [{"n": number} for number in range(1, 6)]
    assert copies == 1 + len(changes)

"""What a model is given of the past: history within limits, summaries, and tools to look things up."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from localstore import Agent, FunctionModel, JsonStorage, Message, Run, ToolCall
from localstore.agents.prompts.prompt import estimated_tokens
from localstore.agents.tools.history_tools import read_chat_history, search_previous_sessions
from localstore.agents.tools.tool import RunContext


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    return JsonStorage(tmp_path)


def said(question: str, answer: str = "", **fields: Any) -> Run:
    messages = [Message(role="user", content=question), Message(role="assistant", content=answer or f"re {question}")]
    return Run(messages=messages, **fields)


def transcript(messages: list[Message]) -> str:
    return " ".join(f"{message.role[0]}:{message.text}" for message in messages)


echo = FunctionModel(transcript)


def test_history_stays_within_the_tokens(storage: JsonStorage) -> None:
    """The newest whole runs that fit; none when not even the last one does."""
    for number in range(4):
        storage.append("s", said(f"q{number}", "x" * 400))
    tokens = estimated_tokens(said("q0", "x" * 400).messages)
    assert tokens == 2 * 4 + 100
    for limit, kept in (
        (2 * tokens, ["q2", "q3"]),
        (2 * tokens - 1, ["q3"]),
        (tokens - 1, []),
        (10_000, ["q1", "q2", "q3"]),
    ):
        agent = Agent(
            model=echo, session_id="s", storage=storage, add_history_to_messages=True, max_history_tokens=limit
        )
        answer = agent.run("now").answer
        assert [word[2:] for word in answer.split() if word.startswith("u:q")] == kept
        agent.undo()


def test_examples_stand_between_instructions_and_history(storage: JsonStorage) -> None:
    storage.append("s", said("before"))
    agent = Agent(
        model=echo,
        session_id="s",
        storage=storage,
        instructions="Be brief.",
        examples=said("2+2", "4").messages,
        add_history_to_messages=True,
    )
    run = agent.run("now")
    assert run.answer == "s:Be brief. u:2+2 a:4 u:before a:re before u:now"
    assert [message.text for message in run.messages[:1]] == ["now"]


def context(session_id: str, user_id: str | None = "alice") -> RunContext:
    return RunContext(session_id, "now", user_id, {})


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments)


def test_a_model_reads_older_messages_on_demand(storage: JsonStorage) -> None:
    for number in range(30):
        storage.append("s", said(f"q{number}"), user_id="alice")
    storage.append("s", Run(run_id="now", messages=[Message(role="user", content="?")], status="unfinished"))
    tool = read_chat_history(storage)
    first = json.loads(tool.call(call("read_chat_history"), context("s")).text)
    assert [one["question"] for one in first] == [f"q{number}" for number in range(20, 30)]
    assert first[0]["answer"] == "re q20"
    older = json.loads(tool.call(call("read_chat_history", runs=3, skip=10), context("s")).text)
    assert [one["question"] for one in older] == ["q17", "q18", "q19"]
    assert json.loads(tool.call(call("read_chat_history", runs=99, skip=28), context("s")).text)[0]["question"] == "q0"
    assert tool.call(call("read_chat_history", skip=100), context("s")).text == "[]"
    assert tool.call(call("read_chat_history"), context("s", "mallory")).text == "[]"


class Counting:
    """A storage that writes down how many runs are read of which session."""

    def __init__(self, storage: JsonStorage) -> None:
        self.read_runs: list[tuple[str, int | None]] = []
        self._storage = storage

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Any:
        self.read_runs.append((session_id, last_runs))
        return self._storage.read(session_id, user_id=user_id, last_runs=last_runs)

    def list_sessions(self, *args: Any, **options: Any) -> Any:
        return self._storage.list_sessions(*args, **options)


def test_a_model_searches_the_users_other_sessions(storage: JsonStorage) -> None:
    """Of just this user, newest first, by words in any case; the session at hand is not among them. Only tails are
    read."""
    for number, (user, question) in enumerate(
        [
            ("alice", "Wien by train"),
            ("bob", "Wien by car"),
            (None, "Wien on foot"),
            ("alice", "Graz"),
            ("alice", "now"),
        ]
    ):
        storage.append(f"s{number}", said(question), user_id=user)
    storage.update("s0", name="Trip")
    counting = Counting(storage)
    tool = search_previous_sessions(counting)
    found = json.loads(tool.call(call("search_previous_sessions", words="TRAIN wien"), context("s4")).text)
    assert [(one["session_id"], one["name"], one["runs"][0]["question"]) for one in found] == [
        ("s0", "Trip", "Wien by train")
    ]
    assert {last for _, last in counting.read_runs} == {20}
    assert {session_id for session_id, _ in counting.read_runs} == {"s0", "s3"}
    everything = json.loads(tool.call(call("search_previous_sessions"), context("s4")).text)
    assert [one["session_id"] for one in everything] == ["s3", "s0"]
    nobodys = json.loads(tool.call(call("search_previous_sessions"), context("s4", None)).text)
    assert [one["session_id"] for one in nobodys] == ["s2"]


def test_an_agent_offers_these_tools_when_asked_to(storage: JsonStorage) -> None:
    agent = Agent(model=echo, storage=storage, read_chat_history=True, search_previous_sessions_history=True)
    assert list(agent.tools) == ["read_chat_history", "search_previous_sessions"]
    assert list(agent.tools["read_chat_history"].schema.parameters["properties"]) == ["runs", "skip"]
    for option in ("read_chat_history", "search_previous_sessions_history"):
        with pytest.raises(ValueError, match=f"{option} needs a storage"):
            Agent(model=echo, **{option: True})  # type: ignore[arg-type]


def summarising(messages: list[Message]) -> str:
    """Answers as `echo` does, and summarises to the questions that it is given."""
    if not messages[-1].text.startswith("Summarise"):
        return "x"
    lines = messages[-1].text.splitlines()
    before = [lines[at + 1] for at, line in enumerate(lines) if line.startswith("Summary of what came before")]
    return "+".join([*before, *(line[6:] for line in lines if line.startswith("user: "))])


def with_summaries(storage: JsonStorage | None, model: FunctionModel, **options: Any) -> Agent:
    return Agent(
        model=model,
        session_id="s",
        storage=storage,
        add_history_to_messages=True,
        num_history_runs=2,
        enable_session_summaries=True,
        **options,
    )


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_summary_stands_for_what_fell_out_of_the_history(storage: JsonStorage, in_memory: bool) -> None:
    """It is made after every second run here; a run is in the summary or in the history, never in both or in none."""
    asked: list[list[Message]] = []

    def answer(messages: list[Message]) -> str:
        asked.append(messages)
        return summarising(messages)

    agent = with_summaries(None if in_memory else storage, FunctionModel(answer))
    for number in range(9):
        agent.run(f"q{number}")
        given = asked[-1] if not asked[-1][-1].text.startswith("Summarise") else asked[-2]
        system = given[0].text.split("\n")[-1].split("+") if given[0].role == "system" else []
        known = [*system, *(message.text for message in given if message.role == "user")]
        assert known == [f"q{n}" for n in range(number + 1)]
    session = agent.storage.read("s")
    assert session is not None
    assert session.session_summary["text"] == "q0+q1+q2+q3+q4+q5"
    assert len([messages for messages in asked if messages[-1].text.startswith("Summarise")]) == 3


def test_a_summary_that_fails_does_not_fail_the_run(storage: JsonStorage) -> None:
    """It is told as a warning, and made up for at the next run."""
    fails = True

    def answer(messages: list[Message]) -> str:
        if fails and messages[-1].text.startswith("Summarise"):
            raise ConnectionError("no network")
        return summarising(messages)

    agent = with_summaries(storage, FunctionModel(answer))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runs = [agent.run(f"q{number}") for number in range(4)]
    assert [run.status for run in runs] == ["completed"] * 4
    assert "no network" in str(told[0].message)
    fails = False
    agent.run("q4")
    assert storage.read("s").session_summary["text"] == "q0+q1+q2"  # type: ignore[union-attr]


def test_a_long_session_gets_its_first_summary_from_its_last_runs(storage: JsonStorage) -> None:
    """Turned on late, it does not read the whole session."""
    for number in range(100):
        storage.append("s", said(f"q{number}"))
    with_summaries(storage, FunctionModel(summarising)).run("now")
    assert storage.read("s").session_summary["text"] == "q95+q96+q97+q98"  # type: ignore[union-attr]

"""What the model gets from earlier runs: history within limits, examples, and summaries."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from localstore import Agent, FunctionModel, JsonStorage, Message, Run
from localstore.agents.prompts.prompt import estimated_tokens


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    return JsonStorage(tmp_path)


def exchange(question: str, answer: str = "", **fields: Any) -> Run:
    messages = [Message(role="user", content=question), Message(role="assistant", content=answer or f"re {question}")]
    return Run(messages=messages, **fields)


def transcript(messages: list[Message]) -> str:
    return " ".join(f"{message.role[0]}:{message.text}" for message in messages)


echo = FunctionModel(transcript)


def test_history_has_the_newest_whole_runs_within_the_token_limit(storage: JsonStorage) -> None:
    """If the last run alone is over the limit, there is no history."""
    for number in range(4):
        storage.append("s", exchange(f"q{number}", "x" * 400))
    tokens = estimated_tokens(exchange("q0", "x" * 400).messages)
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


def test_examples_come_between_the_instructions_and_the_history(storage: JsonStorage) -> None:
    storage.append("s", exchange("before"))
    agent = Agent(
        model=echo,
        session_id="s",
        storage=storage,
        instructions="Be brief.",
        examples=exchange("2+2", "4").messages,
        add_history_to_messages=True,
    )
    run = agent.run("now")
    assert run.answer == "s:Be brief. u:2+2 a:4 u:before a:re before u:now"
    assert [message.text for message in run.messages[:1]] == ["now"]


def summarising(messages: list[Message]) -> str:
    """Answer "x", or if asked for a summary, with the questions joined by "+"."""
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
def test_a_summary_covers_the_runs_that_are_no_longer_in_the_history(storage: JsonStorage, in_memory: bool) -> None:
    """Here it is made after every second run. Each run is either in the summary or in the history, never in both."""
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
    """The failure is a warning. The next run makes the summary."""
    fails = True

    def answer(messages: list[Message]) -> str:
        if fails and messages[-1].text.startswith("Summarise"):
            raise ConnectionError("no network")
        return summarising(messages)

    agent = with_summaries(storage, FunctionModel(answer))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = [agent.run(f"q{number}") for number in range(4)]
    assert [run.status for run in runs] == ["completed"] * 4
    assert "no network" in str(caught[0].message)
    fails = False
    agent.run("q4")
    assert storage.read("s").session_summary["text"] == "q0+q1+q2"  # type: ignore[union-attr]


def test_a_long_session_gets_its_first_summary_from_its_last_runs(storage: JsonStorage) -> None:
    """If summaries are turned on late, the whole session is not read."""
    for number in range(100):
        storage.append("s", exchange(f"q{number}"))
    with_summaries(storage, FunctionModel(summarising)).run("now")
    assert storage.read("s").session_summary["text"] == "q95+q96+q97+q98"  # type: ignore[union-attr]

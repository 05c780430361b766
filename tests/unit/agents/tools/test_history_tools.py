"""The tools with which a model reads older runs, and searches the user's other sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localstore import Agent, FunctionModel, JsonStorage, Message, Run, ToolCall
from localstore.agents.tools.history_tools import read_chat_history, search_previous_sessions
from localstore.agents.tools.tool import RunContext


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    return JsonStorage(tmp_path)


def exchange(question: str) -> Run:
    answer = Message(role="assistant", content=f"re {question}")
    return Run(messages=[Message(role="user", content=question), answer])


def context(session_id: str, user_id: str | None = "alice") -> RunContext:
    return RunContext(session_id, "now", user_id, {})


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments)


def test_a_model_reads_older_runs_of_its_session(storage: JsonStorage) -> None:
    for number in range(30):
        storage.append("s", exchange(f"q{number}"), user_id="alice")
    storage.append("s", Run(run_id="now", messages=[Message(role="user", content="?")], status="unfinished"))
    tool = read_chat_history(storage)
    first = json.loads(tool.call(call("read_chat_history"), context("s")).text)
    assert [item["question"] for item in first] == [f"q{number}" for number in range(20, 30)]
    assert first[0]["answer"] == "re q20"
    older = json.loads(tool.call(call("read_chat_history", runs=3, skip=10), context("s")).text)
    assert [item["question"] for item in older] == ["q17", "q18", "q19"]
    assert json.loads(tool.call(call("read_chat_history", runs=99, skip=28), context("s")).text)[0]["question"] == "q0"
    assert tool.call(call("read_chat_history", skip=100), context("s")).text == "[]"
    assert tool.call(call("read_chat_history"), context("s", "mallory")).text == "[]"


class RecordingStorage:
    """A storage that records which sessions are read, and how many runs of each."""

    def __init__(self, storage: JsonStorage) -> None:
        self.read_runs: list[tuple[str, int | None]] = []
        self._storage = storage

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Any:
        self.read_runs.append((session_id, last_runs))
        return self._storage.read(session_id, user_id=user_id, last_runs=last_runs)

    def list_sessions(self, *args: Any, **options: Any) -> Any:
        return self._storage.list_sessions(*args, **options)

    def search(self, *args: Any, **options: Any) -> Any:
        return self._storage.search(*args, **options)


def test_a_model_searches_the_users_other_sessions(storage: JsonStorage) -> None:
    """It finds sessions of this user only, newest first, by words in any case, but not the current session.

    Only sessions that have the words are read, and of them only the last runs.
    """
    for number, (user, question) in enumerate(
        [
            ("alice", "Wien by train"),
            ("bob", "Wien by car"),
            (None, "Wien on foot"),
            ("alice", "Graz"),
            ("alice", "now"),
        ]
    ):
        storage.append(f"s{number}", exchange(question), user_id=user)
    storage.update("s0", name="Trip")
    recording = RecordingStorage(storage)
    tool = search_previous_sessions(recording)
    sessions = json.loads(tool.call(call("search_previous_sessions", words="TRAIN wien"), context("s4")).text)
    assert [(item["session_id"], item["name"], item["runs"][0]["question"]) for item in sessions] == [
        ("s0", "Trip", "Wien by train")
    ]
    assert {last for _, last in recording.read_runs} == {20}
    assert {session_id for session_id, _ in recording.read_runs} == {"s0"}
    everything = json.loads(tool.call(call("search_previous_sessions"), context("s4")).text)
    assert [item["session_id"] for item in everything] == ["s3", "s0"]
    nobodys = json.loads(tool.call(call("search_previous_sessions"), context("s4", None)).text)
    assert [item["session_id"] for item in nobodys] == ["s2"]


def test_a_model_finds_runs_far_back_and_words_by_their_beginning(storage: JsonStorage) -> None:
    """Only the last 20 runs of a session were searched: what was said earlier was not found."""
    for number in range(60):
        storage.append("old", exchange(f"Salzburger {number}" if number in (3, 40) else f"q{number}"), user_id="alice")
    storage.append("other", exchange("Salzburg"), user_id="bob")
    for _ in range(60):
        storage.append("now", exchange("salzburg"), user_id="alice")
    tool = search_previous_sessions(storage)
    (found,) = json.loads(tool.call(call("search_previous_sessions", words="SALZBURG"), context("now")).text)
    assert [run["question"] for run in found["runs"]] == ["Salzburger 3", "Salzburger 40"]
    assert tool.call(call("search_previous_sessions", words="salzburg vienna"), context("now")).text == "[]"
    assert tool.call(call("search_previous_sessions", words="salzburg", sessions=0), context("now")).text == "[]"
    assert tool.call(call("search_previous_sessions", words="salzburg"), context("now", None)).text == "[]"


def test_an_agent_has_these_tools_if_they_are_turned_on(storage: JsonStorage) -> None:
    agent = Agent(
        model=FunctionModel(lambda messages: "hi"),
        storage=storage,
        read_chat_history=True,
        search_previous_sessions_history=True,
    )
    assert list(agent.tools) == ["read_chat_history", "search_previous_sessions"]
    assert list(agent.tools["read_chat_history"].schema.parameters["properties"]) == ["runs", "skip"]
    for option in ("read_chat_history", "search_previous_sessions_history"):
        with pytest.raises(ValueError, match=f"{option} needs a storage"):
            Agent(model=FunctionModel(lambda messages: "hi"), **{option: True})  # type: ignore[arg-type]

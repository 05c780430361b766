"""The agent: what it stores, what it gives the model, what it costs, and what is stored when something fails."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import openai
import pytest

from localstore import (
    Agent,
    FunctionModel,
    JsonStorage,
    Message,
    OpenAIChat,
    OwnerMismatch,
    Parallel,
    Run,
    RunContext,
    Session,
    SessionNotFound,
    Task,
    Team,
    ToolCall,
    UnstorableValue,
    Workflow,
    YamlStorage,
)
from localstore.agents.steps import agents_in
from localstore.format.values import to_json_value
from localstore.models.schema import Kind
from localstore.storage.contract import AgentStorage
from tests.scripted_server import error, scripted_server, text

Asking = Callable[[Agent, str], Run]


def ask(agent: Agent, question: str) -> Run:
    return agent.run(question)


def ask_async(agent: Agent, question: str) -> Run:
    return asyncio.run(agent.arun(question))


both_ways = pytest.mark.parametrize("asking", [ask, ask_async])


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    return JsonStorage(tmp_path)


def transcript(messages: list[Message]) -> str:
    """The messages for the model in short form: `u:hello a:hi u:...`."""
    return " ".join(f"{message.role[0]}:{message.text}" for message in messages)


def fail_the_test(messages: list[Message]) -> str:
    raise AssertionError("the model was called")


echo = FunctionModel(transcript, id="echo")
never = FunctionModel(fail_the_test)


def document(storage: JsonStorage, session_id: str) -> Any:
    """The session's document, read by the standard library's parser."""
    return json.loads(storage.path(session_id).read_bytes())


class Watched:
    """A storage that records its calls."""

    def __init__(self, storage: AgentStorage) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._storage = storage

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None:
        self.calls.append(("read", last_runs))
        return self._storage.read(session_id, user_id=user_id, last_runs=last_runs)

    def append(
        self,
        session_id: str,
        run: Run,
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: Kind | None = None,
        create: bool = True,
        **state: Any,
    ) -> None:
        self.calls.append(("append", (run.status, create)))
        self._storage.append(session_id, run, user_id=user_id, entity_id=entity_id, kind=kind, create=create, **state)

    def update(self, session_id: str, *, user_id: str | None = None, session_summary: Any = None) -> None:
        self._storage.update(session_id, user_id=user_id, session_summary=session_summary)


@both_ways
def test_a_run_is_stored_with_all_that_belongs_to_it(storage: JsonStorage, asking: Asking) -> None:
    """Question, answer, model, metrics; header with agent and user; instructions apart from the messages."""
    agent = Agent(
        model=echo,
        name="The Geographer",
        session_id="s",
        user_id="alice",
        storage=storage,
        session_state={"seen": []},
        instructions=["Be brief.", "Be kind."],
    )
    run = asking(agent, "hello")
    assert run.answer == "s:Be brief.\nBe kind. u:hello"
    stored = document(storage, "s")
    assert (stored["kind"], stored["agent_id"], stored["user_id"]) == ("agent", "the-geographer", "alice")
    [entry] = stored["history"]
    assert entry["run_id"] == run.run_id
    assert entry["messages"] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": run.answer},
    ]
    assert entry["instructions"] == "Be brief.\nBe kind."
    assert entry["session_state"] == {"seen": []}
    assert (entry["model"], entry["status"]) == ("echo", "completed")
    assert entry["metrics"].keys() == {"duration_seconds"}
    assert entry["metrics"]["duration_seconds"] == round(entry["metrics"]["duration_seconds"], 3)


def test_an_agent_has_a_session_from_the_start() -> None:
    """Two agents never share a session by accident; ids that are passed are used."""
    first, second = Agent(model=echo), Agent(model=echo)
    assert first.session_id != second.session_id
    assert first.agent_id is None
    assert Agent(model=echo, name="Ä & B").agent_id == "ä-b"
    named = Agent(model=echo, name="A", agent_id="other", session_id="s")
    assert (named.agent_id, named.session_id) == ("other", "s")


@both_ways
def test_the_question_is_on_disk_before_the_model_is_called(storage: JsonStorage, asking: Asking) -> None:
    """A process that dies during the answer leaves an unfinished run with its question."""
    seen: list[Any] = []

    def look(messages: list[Message]) -> str:
        seen.append(document(storage, "s")["history"])
        return "done"

    run = asking(Agent(model=FunctionModel(look), session_id="s", storage=storage), "hello")
    [[entry]] = seen
    assert entry == {
        "type": "run",
        "run_id": run.run_id,
        "created_at": to_json_value(run)["created_at"],
        "messages": [{"role": "user", "content": "hello"}],
        "status": "unfinished",
    }
    assert [entry["status"] for entry in document(storage, "s")["history"]] == ["completed"]


def test_the_model_is_given_the_last_runs(storage: JsonStorage) -> None:
    """History comes before the question, oldest run first, and has as many runs as num_history_runs says."""
    agent = Agent(
        model=FunctionModel(lambda messages: messages[-1].text.upper()),
        session_id="s",
        storage=storage,
        add_history_to_messages=True,
        num_history_runs=2,
    )
    for question in ("a", "b", "c"):
        agent.run(question)
    agent.model = echo
    assert agent.run("d").answer == "u:b a:B u:c a:C u:d"
    agent.num_history_runs = 0
    assert agent.run("e").answer == "u:e"
    agent.add_history_to_messages, agent.num_history_runs = False, 3
    assert agent.run("f").answer == "u:f"


def test_an_agent_with_a_storage_remembers(storage: JsonStorage) -> None:
    """An agent with a storage and a session forgot: without `add_history_to_messages=True`, no history was sent.

    The second answer of the quickstart was "I do not know your name", although the name was in the document.
    """
    agent = Agent(model=echo, session_id="s", storage=storage)
    for number in range(4):
        storage.append("s", Run(messages=[Message(role="user", content=str(number))]))
    assert agent.run("now").answer == "u:1 u:2 u:3 u:now"
    agent.num_history_runs = 1
    assert agent.run("n").answer == "u:now a:u:1 u:2 u:3 u:now u:n"
    assert Agent(model=echo, session_id="s", storage=storage, add_history_to_messages=False).run("n").answer == "u:n"
    in_memory = Agent(model=echo)
    in_memory.run("hello")
    assert in_memory.run("hello").answer == "u:hello"


def test_history_is_never_stored_twice(storage: JsonStorage) -> None:
    """A run stores its own messages only, however much history the model was given."""
    agent = Agent(model=echo, session_id="s", storage=storage, add_history_to_messages=True, instructions="Be brief.")
    for number in range(5):
        agent.run(f"q{number}")
    history = document(storage, "s")["history"]
    assert [[message["role"] for message in entry["messages"]] for entry in history] == [["user", "assistant"]] * 5
    assert [entry["messages"][0]["content"] for entry in history] == [f"q{number}" for number in range(5)]
    assert ["instructions" in entry for entry in history] == [True, False, False, False, False]
    assert [message.text for message in agent.get_messages_for_session()[::2]] == [f"q{number}" for number in range(5)]


def test_only_completed_runs_are_history(storage: JsonStorage) -> None:
    """Failed and unfinished runs do not count as history."""
    agent = Agent(model=echo, session_id="s", storage=storage)
    agent.run("kept")
    for status in ("error", "unfinished", "cancelled"):
        storage.append("s", Run(messages=[Message(role="user", content=status)], status=status))
    agent.add_history_to_messages = True
    assert agent.run("now").answer == "u:kept a:u:kept u:now"


def test_a_run_reads_only_the_tail(storage: JsonStorage) -> None:
    """The cost of a run does not depend on the length of the session: an agent never reads all of it."""
    for number in range(50):
        storage.append("s", Run(messages=[Message(role="user", content=str(number))]))
    watched = Watched(storage)
    agent = Agent(model=echo, session_id="s", storage=watched, add_history_to_messages=False)
    agent.run("without history")
    agent.add_history_to_messages = True
    agent.run("with history")
    storage.append("s", Run(status="error"))
    agent.run("with a failed run among the last")
    assert [what for call, what in watched.calls if call == "read"] == [0, 3, 3, 35]
    assert watched.calls[1:3] == [("append", ("unfinished", False)), ("append", ("completed", False))]


@both_ways
def test_a_failing_model_leaves_a_run_with_its_error(storage: JsonStorage, asking: Asking) -> None:
    """The question and the error are stored, the model's exception is raised, and the agent can be used again."""

    def fail(messages: list[Message]) -> str:
        raise ConnectionError("no network: \udcff")

    agent = Agent(model=FunctionModel(fail), session_id="s", storage=storage, add_history_to_messages=True)
    with pytest.raises(ConnectionError, match="no network"):
        asking(agent, "hello")
    [entry] = document(storage, "s")["history"]
    assert entry["messages"] == [{"role": "user", "content": "hello"}]
    assert entry["error"] == "ConnectionError: no network: \\udcff"
    assert (entry["status"], entry["model"]) == ("error", "function")
    agent.model = echo
    assert asking(agent, "again").answer == "u:again"


def test_a_refusing_server_leaves_a_run_with_its_error(storage: JsonStorage) -> None:
    """The same with the real client: status and message of the server are in the document."""
    with scripted_server(error(401, "wrong key"), text("Paris")) as server:
        model = OpenAIChat(api_key="none", base_url=server.base_url, max_retries=0)
        agent = Agent(model=model, session_id="s", storage=storage)
        with pytest.raises(openai.AuthenticationError):
            agent.run("hello")
        agent.run("What is the capital of France?")
        model.close()
    failed, answered = document(storage, "s")["history"]
    assert failed["error"].startswith("AuthenticationError: Error code: 401")
    assert answered["messages"][1] == {"role": "assistant", "content": "Paris"}
    assert answered["metrics"]["input_tokens"] == 7
    assert answered["metrics"]["output_tokens"] == 3
    assert answered["model"] == "gpt-4o-mini"


def test_an_interrupted_run_is_cancelled(storage: JsonStorage) -> None:
    """Ctrl-C during the answer keeps the question."""

    def interrupt(messages: list[Message]) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Agent(model=FunctionModel(interrupt), session_id="s", storage=storage).run("hello")
    [entry] = document(storage, "s")["history"]
    assert (entry["status"], entry["messages"]) == ("cancelled", [{"role": "user", "content": "hello"}])
    assert "error" not in entry


def test_a_cancelled_task_leaves_a_cancelled_run(storage: JsonStorage) -> None:
    """A cancellation during the answer is raised after the run was stored."""

    async def cancel_during_the_answer() -> None:
        asked = asyncio.Event()

        async def wait(messages: list[Message]) -> str:
            asked.set()
            await asyncio.Event().wait()
            return "never"

        task = asyncio.create_task(
            Agent(model=FunctionModel(wait), session_id="s", storage=storage).arun("hello"),
        )
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_during_the_answer())
    [entry] = document(storage, "s")["history"]
    assert (entry["status"], entry["messages"]) == ("cancelled", [{"role": "user", "content": "hello"}])


def test_a_task_cancelled_while_the_question_is_stored_leaves_a_cancelled_run(storage: JsonStorage) -> None:
    """The running write is waited for: the document says how the run ended, and the model is not called."""
    storing, go_on = Event(), Event()

    class Slow(Watched):
        def append(self, session_id: str, run: Run, **options: Any) -> None:
            if run.status == "unfinished":
                storing.set()
                go_on.wait()
            super().append(session_id, run, **options)

    async def cancel_during_the_write() -> None:
        agent = Agent(model=never, session_id="s", storage=Slow(storage))
        task = asyncio.create_task(agent.arun("hello"))
        await asyncio.to_thread(storing.wait)
        task.cancel()
        asyncio.get_running_loop().call_soon(go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_during_the_write())
    [entry] = document(storage, "s")["history"]
    assert entry["status"] == "cancelled"


@both_ways
def test_an_error_that_cannot_be_stored_does_not_hide_the_first(storage: JsonStorage, asking: Asking) -> None:
    """If the storage fails after the model failed, the model's exception is raised, with a note about the storage."""

    class Full(Watched):
        def append(self, session_id: str, run: Run, **options: Any) -> None:
            if run.status == "error":
                raise OSError(28, "No space left on device")
            super().append(session_id, run, **options)

    def fail(messages: list[Message]) -> str:
        raise ConnectionError("no network")

    with pytest.raises(ConnectionError) as caught:
        asking(Agent(model=FunctionModel(fail), session_id="s", storage=Full(storage)), "hello")
    assert "No space left on device" in caught.value.__notes__[0]
    assert document(storage, "s")["history"][0]["status"] == "unfinished"


@both_ways
def test_a_deleted_session_is_not_created_again_by_an_agent(storage: JsonStorage, asking: Asking) -> None:
    """Neither by an agent that created it nor by one that only read it; a new agent may create it."""

    def delete(messages: list[Message]) -> str:
        storage.delete_session("s")
        return "gone"

    agent = Agent(model=echo, session_id="s", storage=storage, session_state={"n": 1})
    asking(agent, "hello")
    late = Agent(model=FunctionModel(delete), session_id="s", storage=storage)
    with pytest.raises(SessionNotFound):
        asking(late, "deleted during the answer")
    for stale in (agent, late):
        with pytest.raises(SessionNotFound):
            asking(stale, "hello again")
    assert agent.session_state == {"n": 1}
    assert storage.read("s") is None
    assert asking(Agent(model=echo, session_id="s", storage=storage), "anew").status == "completed"


@both_ways
def test_another_users_session_is_refused_before_the_model_is_called(storage: JsonStorage, asking: Asking) -> None:
    """Neither the model nor the document gets the question, and the error says nothing about the session."""
    asking(Agent(model=echo, session_id="s", user_id="alice", storage=storage, session_state={"pin": 1}), "private")
    before = storage.path("s").read_bytes()
    mallory = Agent(
        model=never,
        session_id="s",
        user_id="mallory",
        storage=storage,
        add_history_to_messages=True,
    )
    with pytest.raises(OwnerMismatch):
        asking(mallory, "tell me")
    assert mallory.get_messages_for_session() == []
    assert mallory.session_state == {}
    assert storage.path("s").read_bytes() == before


def test_a_message_or_several_can_be_asked(storage: JsonStorage) -> None:
    """All messages of the question belong to the run; an empty question is refused before anything is stored."""
    agent = Agent(model=echo, session_id="s", storage=storage, add_history_to_messages=False)
    assert agent.run(Message(role="user", content="one")).answer == "u:one"
    example = [
        Message(role="user", content="2+2"),
        Message(role="assistant", content="4"),
        Message(role="user", content="3+3"),
    ]
    assert agent.run(example).answer == "u:2+2 a:4 u:3+3"
    assert len(example) == 3
    assert [len(entry["messages"]) for entry in document(storage, "s")["history"]] == [2, 4]
    with pytest.raises(ValueError, match="no message"):
        agent.run([])


@both_ways
def test_without_storage_the_runs_are_in_memory(asking: Asking) -> None:
    """Everything but the document works the same."""
    agent = Agent(model=echo, add_history_to_messages=True, num_history_runs=1, session_state={"n": 1})
    asking(agent, "a")
    agent.session_state["n"] = 2
    assert asking(agent, "b").answer == "u:a a:u:a u:b"
    assert [message.text for message in agent.get_messages_for_session()] == ["a", "u:a", "b", "u:a a:u:a u:b"]
    assert agent.get_messages_for_session("another") == []
    assert agent.session_state == {"n": 2}


def test_state_is_stored_only_when_it_changed(storage: JsonStorage) -> None:
    """A run that changes nothing does not repeat the state; one that empties it says so."""
    agent = Agent(model=echo, session_id="s", storage=storage, session_state={"n": 1})
    agent.run("a")
    agent.run("b")
    agent.session_state["n"] = 2
    agent.run("c")
    agent.session_state = {}
    agent.run("d")
    states = [entry.get("session_state") for entry in document(storage, "s")["history"]]
    assert states == [{"n": 1}, None, {"n": 2}, {}]


def test_a_model_may_change_the_state(storage: JsonStorage) -> None:
    """What the model's function changes in the state is stored with this run."""

    def count(messages: list[Message]) -> str:
        agent.session_state["n"] += 1
        return str(agent.session_state["n"])

    agent = Agent(model=FunctionModel(count), session_id="s", storage=storage, session_state={"n": 0})
    assert [agent.run("+").answer for _ in range(2)] == ["1", "2"]
    assert document(storage, "s")["history"][-1]["session_state"] == {"n": 2}


def test_stored_state_is_adopted_and_changes_win_by_key(storage: JsonStorage) -> None:
    """Each agent takes over what the other stored, keeps what it changed itself, and drops what was removed."""
    one, two = (
        Agent(model=echo, session_id="s", storage=storage, session_state={"city": "Wien", "days": 1, "list": []})
        for _ in range(2)
    )
    one.session_state["city"] = "Paris"
    one.run("a")
    held = two.session_state
    two.session_state["days"] = 2
    two.run("b")
    assert two.session_state is held
    assert two.session_state == {"city": "Paris", "days": 2, "list": []}
    del one.session_state["list"]
    one.run("c")
    assert one.session_state == {"city": "Paris", "days": 2}
    two.run("d")
    assert two.session_state == one.session_state
    assert storage.read("s").session_state == one.session_state  # type: ignore[union-attr]


def test_values_of_a_new_agent_do_not_overwrite_the_session(storage: JsonStorage) -> None:
    """The agent's state is an initial one: values of an existing session are kept, missing ones are added."""
    defaults: dict[str, Any] = {"cart": [], "currency": "EUR"}
    first = Agent(model=echo, session_id="s", storage=storage, session_state=defaults)
    first.session_state["cart"].append("map")
    first.run("a")
    assert defaults == {"cart": [], "currency": "EUR"}
    second = Agent(model=echo, session_id="s", storage=storage, session_state={**defaults, "new": True})
    second.run("b")
    assert second.session_state == {"cart": ["map"], "currency": "EUR", "new": True}


def test_a_failed_write_loses_no_change_of_the_state(storage: JsonStorage) -> None:
    """A change that could not be stored is stored with the next run."""

    class Locked(Watched):
        fail = True

        def append(self, session_id: str, run: Run, **options: Any) -> None:
            if self.fail:
                raise TimeoutError("locked")
            super().append(session_id, run, **options)

    storage.append("s", Run(session_state={"n": 1, "m": 1}))
    locked = Locked(storage)
    agent = Agent(model=echo, session_id="s", storage=locked, session_state={"default": True})
    agent.session_state["n"] = 2
    with pytest.raises(TimeoutError):
        agent.run("a")
    locked.fail = False
    agent.run("b")
    assert document(storage, "s")["history"][-1]["session_state"] == {"default": True, "n": 2, "m": 1}


def test_state_does_not_leak_into_another_session(storage: JsonStorage) -> None:
    """An agent that switches to another session takes its initial state and the changes since along."""
    agent = Agent(model=echo, session_id="one", storage=storage, session_state={"n": 0})
    agent.session_state.update(n=1, city="of one")
    agent.run("a")
    agent.session_id = "two"
    agent.session_state["carried"] = True
    agent.run("b")
    assert agent.session_state == {"n": 0, "carried": True}


def test_objects_in_the_state_keep_their_type(storage: JsonStorage) -> None:
    """A value that is stored as text is not taken for a change, and is not replaced by its text."""
    when = datetime(2026, 11, 22, tzinfo=UTC)
    agent = Agent(model=echo, session_id="s", storage=storage, session_state={"when": when})
    with pytest.warns(UserWarning, match="is a datetime and comes back as a str"):
        agent.run("a")
    agent.run("b")
    assert agent.session_state["when"] is not None
    assert isinstance(agent.session_state["when"], datetime)
    assert ["session_state" in entry for entry in document(storage, "s")["history"]] == [True, False]


@both_ways
def test_a_state_that_cannot_be_stored_is_refused_before_the_model_is_called(
    storage: JsonStorage, asking: Asking
) -> None:
    """The model is not called if its answer could not be stored; the error says where the value is."""
    agent = Agent(model=never, session_id="s", storage=storage)
    agent.session_state["cart"] = [object()]
    with pytest.raises(UnstorableValue, match=r"session_state\.cart\[0\]"):
        asking(agent, "a")
    assert storage.read("s") is None


def test_several_agents_share_an_event_loop(storage: JsonStorage) -> None:
    """Twenty concurrent runs on one session: each question has its own answer, and none is lost."""

    async def together() -> list[Run]:
        agents = [Agent(model=echo, session_id="s", storage=storage) for _ in range(4)]
        return await asyncio.gather(*(agents[number % 4].arun(f"q{number}") for number in range(20)))

    answers = {run.question: run.answer for run in asyncio.run(together())}  # after the history, if there was any yet
    assert {question: answer.split()[-1] for question, answer in answers.items()} == {
        f"q{number}": f"u:q{number}" for number in range(20)
    }
    history = document(storage, "s")["history"]
    assert {tuple(message["content"] for message in entry["messages"]) for entry in history} == set(answers.items())


SCRIPT = """
import sys
from localstore import Agent, FunctionModel, JsonStorage, YamlStorage

def remember(messages):
    return f"{len(messages) - 1} before, the first: {messages[0].text}"

storage = {"json": JsonStorage, "yaml": YamlStorage}[sys.argv[1]](sys.argv[2])
agent = Agent(model=FunctionModel(remember), session_id="s", storage=storage, add_history_to_messages=True)
agent.session_state["processes"] = agent.session_state.get("processes", 0)
for question in sys.argv[3:]:
    print(agent.run(question).answer)
"""


@pytest.mark.parametrize("layout", ["json", "yaml"])
def test_another_process_continues_the_session(tmp_path: Path, layout: str) -> None:
    """The model of a second process gets the question and the answer of the first one."""

    def process(*questions: str) -> list[str]:
        command = [sys.executable, "-W", "error", "-c", SCRIPT, layout, str(tmp_path), *questions]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    assert process("one", "two") == ["0 before, the first: one", "2 before, the first: one"]
    assert process("three") == ["4 before, the first: one"]
    storage = YamlStorage(tmp_path) if layout == "yaml" else JsonStorage(tmp_path)
    session = storage.read("s")
    assert session is not None
    assert [run.question for run in session.runs] == ["one", "two", "three"]


WAITING = """
import asyncio, sys
from localstore import Agent, FunctionModel, JsonStorage

def wait(messages):
    print("asked", flush=True)
    sys.stdin.read()

async def wait_async(messages):
    print("asked", flush=True)
    await asyncio.Event().wait()

def agent(function):
    return Agent(model=FunctionModel(function), session_id="s", storage=JsonStorage(sys.argv[2]))

if sys.argv[1] == "run":
    agent(wait).run("hello")
else:
    asyncio.run(agent(wait_async).arun("hello"))
"""


@pytest.mark.parametrize("way", ["run", "arun"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "cancelled"), (signal.SIGKILL, "unfinished")])
def test_a_process_stopped_during_the_answer_keeps_the_question(
    tmp_path: Path, way: str, number: signal.Signals, status: str
) -> None:
    """Ctrl-C leaves a cancelled run; kill -9 an unfinished one; both can be read and continued."""
    command = [sys.executable, "-c", WAITING, way, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(number)
        process.wait()
    storage = JsonStorage(tmp_path)
    [entry] = document(storage, "s")["history"]
    assert (entry["status"], entry["messages"]) == (status, [{"role": "user", "content": "hello"}])
    assert Agent(model=echo, session_id="s", storage=storage).run("again").status == "completed"
    assert [run.status for run in storage.read("s").runs] == [status, "completed"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": "gpt-4"}, "OpenAIChat(id='gpt-4')"),
        ({"model": echo, "storage": "tmp"}, "JsonStorage('tmp')"),
        ({"model": echo, "session_state": [1]}, "session_state must be a dict, not list"),
    ],
)
def test_a_wrong_argument_says_what_to_pass(arguments: dict[str, Any], said: str) -> None:
    """A string instead of a model or a storage used to fail later, with an AttributeError."""
    with pytest.raises(TypeError, match=re.escape(said)):
        Agent(**arguments)


@pytest.mark.parametrize("question", [None, [], [1], ["text"]])
def test_an_invalid_question_is_refused(question: Any, storage: JsonStorage) -> None:
    """Nothing is stored for it."""
    with pytest.raises((TypeError, ValueError), match=r"question must be|no message"):
        Agent(model=echo, storage=storage).run(question)
    assert storage.list_sessions() == []


def test_a_server_that_cannot_be_reached_is_named_in_the_error_and_in_the_run(storage: JsonStorage) -> None:
    """'Connection error.' left people guessing which address was wrong. Notes do not appear in `str(error)`."""
    model = OpenAIChat(api_key="none", base_url="http://127.0.0.1:9/v1", max_retries=0)
    with pytest.raises(openai.APIConnectionError) as caught:
        Agent(model=model, session_id="s", storage=storage).run("hi")
    model.close()
    assert "The server is http://127.0.0.1:9/v1/. Is it running?" in str(caught.value)
    assert "http://127.0.0.1:9/v1/" in document(storage, "s")["history"][0]["error"]


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        (5, "not int"),
        (b"hello", "not bytes"),
        ({"role": "user"}, "not dict"),
        ([5], "not a list with int"),
        ([{"role": "user"}], "not a list with dict"),
        (Message, "not ModelMetaclass"),
    ],
)
def test_a_question_of_another_type_is_refused_by_what_is_expected(question: Any, problem: str) -> None:
    """`agent.run(5)` said "'int' object is not iterable"."""
    agent = Agent(model=FunctionModel(lambda messages: ""))
    with pytest.raises(TypeError, match=f"must be text, a Message, or a list of Messages, {problem}"):
        agent.run(question)
    assert agent.get_messages_for_session() == []


@pytest.mark.parametrize("sources", [5, "cat.png", b"cat.png", [5], Path("cat.png")])
def test_images_must_be_a_list_of_urls_and_paths(sources: Any) -> None:
    agent = Agent(model=FunctionModel(lambda messages: ""))
    with pytest.raises(TypeError, match="images must be a list of URLs and paths, not "):
        agent.run("?", images=sources)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"storage": "tmp/sessions"}, r"storage must be a storage such as JsonStorage\('tmp/sessions'\), not str"),
        ({"storage": JsonStorage}, r"storage must be an instance of JsonStorage, not the class: JsonStorage\(...\)"),
        ({"model": "gpt-4o-mini"}, r"model must be a model such as OpenAIChat\(id='gpt-4o-mini'\), not str"),
        ({"model": OpenAIChat}, "model must be an instance of OpenAIChat, not the class"),
        ({"model": len}, r"model must be a model such as FunctionModel\(function\)"),
        ({"instructions": 5}, "instructions must be text or a list of texts"),
        ({"examples": "hello"}, "examples must be a list of Messages"),
        ({"session_state": []}, "session_state must be a dict, not list"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_agent_is_created(options: dict[str, Any], problem: str) -> None:
    """A class in place of an instance passed, and failed with the first question, in the middle of a run."""
    with pytest.raises(TypeError, match=problem):
        Agent(**{"model": FunctionModel(lambda messages: ""), **options})


def test_a_state_that_is_no_dict_is_refused_where_it_is_assigned() -> None:
    agent = Agent(model=FunctionModel(lambda messages: ""))
    state: Any = ["tea"]
    with pytest.raises(TypeError, match="session_state must be a dict, not list"):
        agent.session_state = state


def test_a_deep_copy_of_an_agent_is_independent(storage: JsonStorage) -> None:
    """`copy.deepcopy(agent)` failed: "cannot pickle '_thread.RLock' object"."""

    def visit(context: RunContext) -> None:
        context.session_state["cities"].append("Linz")

    call = Message(role="assistant", tool_calls=[ToolCall(id="1", name="visit", arguments={})])
    model = FunctionModel(lambda messages: "Fine." if messages[-1].role == "tool" else call)
    agent = Agent(
        model=model,
        session_id="s",
        storage=storage,
        tools=[visit],
        session_state={"cities": []},
        examples=[Message(role="user", content="hello")],
    )
    duplicate = copy.deepcopy(agent)
    assert (duplicate.model, duplicate.storage, duplicate.tools) == (model, storage, agent.tools)
    duplicate.new_session("t")
    duplicate.examples.clear()
    duplicate.run("?")
    assert (agent.session_id, agent.session_state, len(agent.examples)) == ("s", {"cities": []}, 1)
    assert duplicate.session_state == {"cities": ["Linz"]}
    agent.run("?")
    assert agent.session_state == {"cities": ["Linz"]}
    assert [info.session_id for info in storage.list_sessions()] == ["s", "t"]


def test_a_deep_copy_has_its_own_sessions_in_memory() -> None:
    agent = Agent(model=FunctionModel(lambda messages: "Fine."))
    agent.run("one")
    duplicate = copy.deepcopy(agent)
    duplicate.run("two")
    assert len(agent.get_messages_for_session()) == 2
    assert len(duplicate.get_messages_for_session()) == 4


def test_a_deep_copy_of_a_team_and_of_a_workflow_has_its_own_members() -> None:
    answers = iter(["from the copy", "from the original"])
    anna = Agent(model=FunctionModel(lambda messages: next(answers)), name="Anna", instructions="one")
    team = Team(members=[anna], mode="collaborate", model=FunctionModel(lambda messages: messages[-1].text))
    workflow = Workflow(
        steps=[Task(team, name="team"), Parallel(Task(lambda text: text, name="same"), Task(anna, name="again"))]
    )
    duplicate = copy.deepcopy(team)
    duplicate.members["Anna"].instructions = "two"
    assert anna.instructions == "one"
    assert "from the copy" in duplicate.run("?").answer
    assert "from the original" in team.run("?").answer
    agents = [*agents_in(copy.deepcopy(workflow).steps)]
    assert [agent.name for agent in agents] == [None, "Anna"]
    assert anna not in agents


def test_a_new_session_with_a_wrong_id_changes_nothing() -> None:
    agent = Agent(model=FunctionModel(lambda messages: ""), session_id="s", session_state={"a": 1})
    agent.session_state["a"] = 2
    wrong: Any = 5
    with pytest.raises(TypeError, match="session_id must be text"):
        agent.new_session(wrong)
    assert (agent.session_id, agent.session_state) == ("s", {"a": 2})

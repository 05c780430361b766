"""agno's own Agent works with our storage: the requests it sends, and the sessions it reads."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.tools import tool

from localstore.integrations.agno import JsonStorage, YamlStorage
from tests.agno_1.conftest import OFFLINE
from tests.agno_1.sides import TwinStorage, comparable
from tests.scripted_server import ScriptedServer, text, tool_call

Serve = Callable[..., ScriptedServer]
ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "agno" / "assistant.py"
CACHED = {"cache_session": True} if hasattr(Agent, "cache_session") else {}
"""Options with which later releases do not read the session again in each run."""


def make(server: ScriptedServer, storage: Any, **options: Any) -> Agent:
    model = OpenAIChat(id="scripted", base_url=server.base_url, api_key="k")
    return Agent(model=model, storage=storage, **{"session_id": "s1", "agent_id": "geographer", **OFFLINE, **options})


def asked(server: ScriptedServer, number: int = -1) -> list[str]:
    """Return the texts of a request without the system message."""
    return [message["content"] for message in server.requests[number]["messages"] if message["role"] != "system"]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def remember(agent: Agent, place: str) -> str:
    """Remember a place."""
    assert agent.session_state is not None
    agent.session_state.setdefault("places", []).append(place)
    return "noted"


@tool(requires_confirmation=True)  # type: ignore[untyped-decorator]
def remove(name: str) -> str:
    """Remove a file."""
    return f"removed {name}"


def test_the_sample_run_twice_as_two_processes_continues(serve: Serve, tmp_path: Path) -> None:
    server = serve(*(text(answer) for answer in ("Paris.", "Vienna.", "You asked for capitals.", "Rome.")))
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(SAMPLE)],
            cwd=tmp_path,
            env={
                "OPENAI_BASE_URL": server.base_url,
                "OPENAI_API_KEY": "k",
                "PYTHONPATH": str(ROOT),
                "AGNO_TELEMETRY": "false",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
    first, second, third, fourth = (asked(server, number) for number in range(4))
    assert second == [*first, "Paris.", second[-1]]
    assert third == [*second, "Vienna.", third[-1]]
    assert fourth == [*third, "You asked for capitals.", fourth[-1]]
    (document,) = (tmp_path / "tmp").rglob("sessions/*/fixed_id_for_demo.json")
    assert [len(run["messages"]) for run in json.loads(document.read_bytes())["history"]] == [2, 2, 2, 2]


@pytest.mark.parametrize("storage_class", [JsonStorage, YamlStorage])
def test_history_goes_to_the_model_and_not_into_the_document_again(
    serve: Serve, folder: Path, storage_class: type[Any]
) -> None:
    server = serve(*(text(f"answer {number}") for number in range(5)))
    for number in range(5):
        agent = make(server, storage_class(folder), add_history_to_messages=True, num_history_runs=2)
        agent.run(f"question {number}")
    assert asked(server) == [*(f"{what} {n}" for n in (2, 3) for what in ("question", "answer")), "question 4"]
    storage = storage_class(folder)
    assert storage.store.path("s1").read_text().count("question 2") == 1
    messages = storage.read("s1").memory["runs"][4]["messages"]
    assert [message["from_history"] for message in messages] == [True] * 4 + [False] * 2


def test_what_agno_reads_is_what_its_own_storage_gives(serve: Serve, folder: Path) -> None:
    script = [text("Paris."), tool_call("add", '{"a":1,"b":2}'), text("3"), tool_call("remember", '{"place": "Rome"}')]
    server = serve(*script, text("noted"), text("bye"))
    storage = TwinStorage(folder)
    for question in ("capital?", "1+2?", "remember Rome", "and?"):
        options = {"instructions": "Be brief.", "session_state": {"n": 1}, "extra_data": {"k": [1, None]}}
        make(server, storage, tools=[add, remember], add_history_to_messages=True, **options).run(question, user_id="u")
        assert comparable(storage.read("s1")) == comparable(storage.own.read("s1"))
        assert comparable(JsonStorage(folder).read("s1")) == comparable(storage.own.read("s1"))


def test_streaming(serve: Serve, folder: Path) -> None:
    server = serve(text("Paris is the capital."), tool_call("add", '{"a": 1, "b": 2}'), text("It is 3."))
    storage = TwinStorage(folder)
    for question in ("capital?", "1+2?"):
        agent = make(server, storage, tools=[add], add_history_to_messages=True)
        events = list(agent.run(question, stream=True))
        assert len(events) > 2
        assert comparable(JsonStorage(folder).read("s1")) == comparable(storage.own.read("s1"))
    run = storage.store.read("s1").runs[-1]  # type: ignore[union-attr]
    assert (run.question, run.answer, run.status) == ("1+2?", "It is 3.", "completed")


def test_an_empty_answer_is_an_answer(serve: Serve, folder: Path) -> None:
    """The run of a small model with an empty answer was treated as unfinished, and shown as such for ever."""
    server = serve(text(""), text(None), text("Yes."))
    storage = TwinStorage(folder)
    for question in ("hi", "hello?", "there?"):
        make(server, storage, add_history_to_messages=True).run(question)
        assert comparable(JsonStorage(folder).read("s1")) == comparable(storage.own.read("s1"))
    session = storage.store.read("s1")
    assert session is not None
    assert [run.status for run in session.runs] == ["completed"] * 3
    assert [len(run.messages) for run in session.runs] == [2, 2, 2]


def test_a_tool_changes_the_state_and_the_next_process_has_it(serve: Serve, folder: Path) -> None:
    server = serve(tool_call("remember", '{"place": "Vienna"}'), text("noted"), text("Vienna"))
    make(server, JsonStorage(folder), tools=[remember]).run("remember Vienna")
    agent = make(server, JsonStorage(folder), tools=[remember])
    agent.run("what?")
    assert agent.session_state is not None
    assert agent.session_state["places"] == ["Vienna"]
    assert agent.get_messages_for_session()[-1].content == "Vienna"


def test_the_agent_finds_what_was_said_in_earlier_sessions(serve: Serve, folder: Path) -> None:
    server = serve(text("Linz."), text("Graz."), tool_call("get_previous_session_messages", "{}"), text("Of Graz."))
    for number, question in enumerate(("first?", "second?"), 1):
        make(server, JsonStorage(folder), session_id=f"s{number}").run(question, user_id="alice")
    options = {"search_previous_sessions_history": True, "num_history_sessions": 2}
    make(server, JsonStorage(folder), session_id="s3", **options).run("of what?", user_id="alice")
    found = json.loads(server.requests[-1]["messages"][-1]["content"])
    assert {message["content"] for message in found} == {"first?", "Linz.", "second?", "Graz."}


def test_a_run_that_waits_for_a_confirmation_is_continued_by_another_process(serve: Serve, folder: Path) -> None:
    server = serve(text("Hello."), tool_call("remove", '{"name": "x"}'), text("It is gone."), text("Yes."))
    options: dict[str, Any] = {"tools": [remove], "add_history_to_messages": True}
    make(server, JsonStorage(folder), **options).run("hi")
    paused = make(server, JsonStorage(folder), **options).run("remove x")
    assert paused.is_paused
    (run,) = [run for run in JsonStorage(folder).store.read("s1").runs if run.status == "unfinished"]  # type: ignore[union-attr]
    assert run.question == "remove x"

    storage = JsonStorage(folder)
    agent = make(server, storage, **options)
    for call in paused.tools or ():
        call.confirmed = True
    done = agent.continue_run(run_id=paused.run_id, updated_tools=paused.tools)
    assert done.content == "It is gone."
    assert asked(server)[:3] == ["hi", "Hello.", "remove x"]
    session = JsonStorage(folder).store.read("s1")
    assert session is not None
    assert [run.status for run in session.runs] == ["completed", "completed"]
    assert session.runs[1].run_id == paused.run_id
    assert session.runs[1].answer == "It is gone."
    make(server, JsonStorage(folder), **options).run("really?")
    assert asked(server)[-1] == "really?"
    assert "It is gone." in asked(server)


def test_two_processes_on_one_session_lose_nothing(serve: Serve, folder: Path) -> None:
    server = serve(*(text("yes") for _ in range(12)))
    code = (
        "import sys\n"
        "from agno.agent import Agent\n"
        "from agno.models.openai import OpenAIChat\n"
        "from localstore.integrations.agno import JsonStorage\n"
        "agent = Agent(model=OpenAIChat(id='m', base_url=sys.argv[1], api_key='k'), session_id='s1', telemetry=False,\n"
        "              monitoring=False, storage=JsonStorage(sys.argv[2]), add_history_to_messages=True)\n"
        "for number in range(6):\n"
        "    agent.run(f'{sys.argv[3]} {number}')\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, server.base_url, str(folder), name], cwd=ROOT) for name in "ab"
    ]
    assert [process.wait(120) for process in started] == [0, 0]
    session = JsonStorage(folder).store.read("s1")
    assert session is not None
    questions = [run.question for run in session.runs]
    assert sorted(questions) == sorted(f"{name} {number}" for name in "ab" for number in range(6))
    for name in "ab":
        assert [question for question in questions if question[0] == name] == [f"{name} {n}" for n in range(6)]
    assert len(JsonStorage(folder).read("s1").memory["runs"]) == 12  # type: ignore[union-attr]


def test_renaming_and_deleting(serve: Serve, folder: Path) -> None:
    server = serve(text("a"), text("b"))
    storage = JsonStorage(folder)
    agent = make(server, storage, **CACHED)
    agent.run("one?")
    agent.rename_session("Trip")
    assert storage.store.list_sessions()[0].name == "Trip"
    assert [run["content"] for run in storage.read("s1").memory["runs"]] == ["a"]  # type: ignore[union-attr]
    agent.delete_session("s1")
    assert storage.read("s1") is None
    agent.run("two?")
    session = storage.store.read("s1")
    assert session is not None
    assert [run.question for run in session.runs] == ["two?"]

"""Teams: how the leader asks its members, what each of them is given, and what the session stores."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from localstore import (
    Agent,
    FunctionModel,
    JsonStorage,
    Message,
    OpenAIChat,
    Run,
    RunContext,
    Session,
    Team,
    ToolCall,
    YamlStorage,
)
from localstore.agents.events import RunFinished, RunStarted, TextDelta, ToolCallFinished
from localstore.agents.team import LeaderOptions
from tests import oracle
from tests.scripted_server import scripted_server, text, tool_call

Say = Callable[[list[Message]], Any]


def saying(answer: str | Say, name: str, **options: Any) -> Agent:
    """A member that answers with its name and this text, or the result of the function."""
    said = answer if callable(answer) else lambda _: f"{name}: {answer}"
    return Agent(model=FunctionModel(said, id=f"model of {name}"), name=name, **options)


def echo(messages: list[Message]) -> str:
    """The text of the last message, and the number of messages."""
    return f"{messages[-1].text} ({len(messages)})"


def calls(*wanted: tuple[str, str]) -> Message:
    """The leader's tool calls: members and tasks."""
    return Message(
        role="assistant",
        tool_calls=[
            ToolCall(id=f"c{number}", name="delegate_task", arguments={"member": member, "task": task})
            for number, (member, task) in enumerate(wanted, 1)
        ],
    )


def picks(*members: str) -> Message:
    """The leader's tool calls in mode `route`."""
    found = [
        ToolCall(id=f"p{number}", name="route_to", arguments={"member": member})
        for number, member in enumerate(members)
    ]
    return Message(role="assistant", tool_calls=found)


def script(*answers: Any) -> FunctionModel:
    """A leader with these replies, one after the other."""
    left = list(answers)
    return FunctionModel(lambda _: left.pop(0), id="leader")


def told(run: Run) -> list[str]:
    """The results of the leader's tool calls."""
    return [message.text for message in run.messages if message.role == "tool"]


@pytest.fixture(params=[JsonStorage, YamlStorage])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> JsonStorage | YamlStorage:
    made: JsonStorage | YamlStorage = request.param(tmp_path / "store")
    return made


def read(storage: JsonStorage | YamlStorage, session_id: str = "s") -> Session:
    """The session; its document is checked to have our layout, and is read by another parser."""
    oracle.assert_own_layout(oracle.parse(storage.path(session_id)))
    session = storage.read(session_id)
    assert session is not None
    return session


# Coordinate


def test_the_leader_gives_tasks_and_writes_the_answer(storage: JsonStorage | YamlStorage) -> None:
    leader = script(calls(("Ann", "hotels"), ("Bob", "trains")), calls(("Ann", "prices")), "Take the train.")
    team = Team(
        members=[saying(echo, "Ann"), saying("7:58", "Bob")],
        model=leader,
        name="Travel agents",
        session_id="s",
        user_id="alice",
        storage=storage,
    )
    run = team.run("Plan it.")
    assert run.answer == "Take the train."
    assert told(run) == ["hotels (1)", "Bob: 7:58", "prices (1)"]
    session = read(storage)
    assert (session.kind, session.team_id, session.user_id) == ("team", "travel-agents", "alice")
    (stored,) = session.runs
    assert stored == run
    members = stored.member_runs or []
    assert sorted((one.agent_id, one.tool_call_id, one.question, one.status) for one in members) == [
        ("ann", "c1", "hotels", "completed"),
        ("ann", "c1", "prices", "completed"),
        ("bob", "c2", "trains", "completed"),
    ]
    assert {one.model for one in members} == {"model of Ann", "model of Bob"}


def test_several_tasks_run_concurrently() -> None:
    """Each member waits for the other one."""
    both = Barrier(2)

    def meet(messages: list[Message]) -> str:
        both.wait(60)
        return messages[-1].text

    def team() -> Team:
        leader = script(calls(("Ann", "1"), ("Bob", "2")), "done")
        return Team(members=[saying(meet, "Ann"), saying(meet, "Bob")], model=leader)

    assert told(team().run("?")) == ["1", "2"]
    assert told(asyncio.run(team().arun("?"))) == ["1", "2"]


def test_a_members_failure_is_reported_to_the_leader_and_stored(storage: JsonStorage | YamlStorage) -> None:
    def fail(messages: list[Message]) -> str:
        raise ConnectionError("no network")

    leader = script(calls(("Ann", "1"), ("Bob", "2")), calls(("Ann", "again")), "Without Ann.")
    team = Team(members=[saying(fail, "Ann"), saying("yes", "Bob")], model=leader, session_id="s", storage=storage)
    run = team.run("?")
    failed = "Error: Ann failed: ConnectionError: no network"
    assert told(run) == [failed, "Bob: yes", failed]
    members = read(storage).runs[0].member_runs or []
    assert sorted((one.agent_id, one.status, one.error) for one in members) == [
        ("ann", "error", "ConnectionError: no network"),
        ("ann", "error", "ConnectionError: no network"),
        ("bob", "completed", None),
    ]


def test_an_unknown_member_is_reported_to_the_leader() -> None:
    team = Team(members=[saying("yes", "Ann")], model=script(calls(("Eve", "1")), "Well."))
    (said,) = told(team.run("?"))
    assert said.startswith("Error: invalid arguments: member: ")
    assert "'Ann'" in said


def test_the_leader_has_tools_of_its_own(storage: JsonStorage | YamlStorage) -> None:
    def add(a: int, b: int, context: RunContext) -> int:
        context.session_state["sum"] = a + b
        return a + b

    both = Message(
        role="assistant",
        tool_calls=[
            ToolCall(id="c0", name="add", arguments={"a": 1, "b": 2}),
            *(calls(("Ann", "hi")).tool_calls or []),
        ],
    )
    team = Team(members=[saying(echo, "Ann")], model=script(both, "3"), tools=[add], session_id="s", storage=storage)
    assert told(team.run("?")) == ["3", "hi (1)"]
    assert read(storage).session_state == {"sum": 3}


def test_the_leaders_tool_rounds_are_limited() -> None:
    team = Team(members=[saying("yes", "Ann")], model=script(*[calls(("Ann", "x"))] * 3), max_tool_rounds=2)
    with pytest.raises(RuntimeError, match="more than 2 times"):
        team.run("?")


def test_a_round_never_rewrites_the_document(tmp_path: Path) -> None:
    """The cost of a round does not depend on the length of the session: each write changes the end of the document."""
    storage = JsonStorage(tmp_path)
    leader = script("first", calls(("Ann", "1")), calls(("Ann", "2"), ("Ann", "3")), calls(("Ann", "4")), "done")
    team = Team(members=[saying(echo, "Ann")], model=leader, session_id="s", storage=storage)
    team.run("?")
    before = storage.path("s").stat().st_ino
    run = team.run("?")
    assert len(run.member_runs or []) == 4
    assert storage.path("s").stat().st_ino == before
    assert read(storage).runs[1] == run


def test_the_leaders_metrics_include_the_members() -> None:
    with scripted_server(
        tool_call("delegate_task", '{"member": "Ann", "task": "x"}'),
        text("y", input_tokens=100, output_tokens=50),
        text("z"),
    ) as server:
        model = OpenAIChat("m", base_url=server.base_url, api_key="k")
        run = Team(members=[Agent(model=model, name="Ann")], model=model).run("?")
    assert run.metrics is not None
    assert (run.metrics.input_tokens, run.metrics.output_tokens) == (114, 56)


# Route


def test_route_returns_the_answer_of_the_picked_member(storage: JsonStorage | YamlStorage) -> None:
    """The second question reaches the member with its own first question and answer."""
    team = Team(
        members=[saying("no", "Ann"), saying(echo, "Bob the 2nd")],
        mode="route",
        model=script(picks("Bob the 2nd"), picks("Bob the 2nd")),
        session_id="s",
        storage=storage,
        add_history_to_messages=True,
    )
    run = team.run("Which train?")
    assert run.answer == "Which train? (1)"
    assert [(message.role, message.name) for message in run.messages] == [
        ("user", None),
        ("assistant", None),
        ("tool", None),
        ("assistant", "Bob the 2nd"),
    ]
    assert team.run("And back?").answer == "And back? (3)"
    assert [run.answer for run in read(storage).runs] == ["Which train? (1)", "And back? (3)"]


def test_route_picks_another_member_if_the_first_one_fails() -> None:
    def fail(_: list[Message]) -> str:
        raise ValueError("broken")

    team = Team(
        members=[saying(fail, "Ann"), saying("yes", "Bob"), saying("no", "Eve")],
        mode="route",
        model=script(picks("Ann"), picks("Bob", "Eve")),
    )
    run = team.run("?")
    assert run.answer == "Bob: yes"
    assert told(run) == [
        "Error: Ann failed: ValueError: broken",
        "Bob answers the user.",
        "Error: another member answers already. Pick one.",
    ]


def test_a_leader_may_answer_by_itself() -> None:
    team = Team(members=[saying("no", "Ann")], mode="route", model=script("Good day."))
    run = team.run("Hello")
    assert (run.answer, run.member_runs) == ("Good day.", None)


# Collaborate


def test_every_member_answers_and_the_leader_combines_the_answers(storage: JsonStorage | YamlStorage) -> None:
    given: list[Sequence[Message]] = []

    def merge(messages: list[Message]) -> str:
        given.append(list(messages))
        return "Both."

    def fail(_: list[Message]) -> str:
        raise ValueError("broken")

    team = Team(
        members=[saying(echo, "Ann"), saying("7:58", "Bob"), saying(fail, "Eve")],
        mode="collaborate",
        model=FunctionModel(merge),
        session_id="s",
        storage=storage,
    )
    run = team.run("Which train?")
    assert [message.text for message in run.messages] == ["Which train?", "Both."]
    assert [message.role for message in given[0]] == ["user", "user"]
    said = given[0][-1].text
    assert "## Ann\n\nWhich train? (1)" in said
    assert "## Bob\n\nBob: 7:58" in said
    assert "## Eve\n\n(failed: ValueError: broken)" in said
    stored = read(storage).runs[0]
    assert stored == run
    assert sorted(one.agent_id or "" for one in stored.member_runs or []) == ["ann", "bob", "eve"]


def test_resume_does_not_ask_members_again_whose_runs_are_stored(tmp_path: Path) -> None:
    """With `save_partial` their runs are stored if the process is killed while the leader's model works."""
    asked: list[str] = []

    def note(name: str) -> Say:
        def answer(_: list[Message]) -> str:
            asked.append(name)
            return name

        return answer

    def die(_: list[Message]) -> str:
        raise _Killed

    storage = JsonStorage(tmp_path)
    members = [saying(note("Ann"), "Ann"), saying(note("Bob"), "Bob")]
    team = Team(
        members=members,
        mode="collaborate",
        model=FunctionModel(die),
        session_id="s",
        storage=_Dying(storage),
        save_partial=True,
    )
    with pytest.raises(_Killed):
        team.run("?")
    left = read(storage).runs[0]
    assert (left.status, len(left.member_runs or [])) == ("unfinished", 2)
    team = Team(
        members=members, mode="collaborate", model=script("Merged."), session_id="s", storage=storage, save_partial=True
    )
    run = team.resume()
    assert run is not None
    assert (run.run_id, run.answer) == (left.run_id, "Merged.")
    assert sorted(asked) == ["Ann", "Bob"]
    assert read(storage).runs == [run]


class _Killed(BaseException):
    """Simulates the end of the process."""


class _Dying:
    """A storage that fails for finished runs, as if the process had been killed before."""

    def __init__(self, storage: JsonStorage) -> None:
        self._storage = storage

    def append(self, session_id: str, run: Run, **options: Any) -> None:
        if run.status != "unfinished":
            raise _Killed
        self._storage.append(session_id, run, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def test_a_killed_leader_continues_after_its_last_stored_round(storage: JsonStorage | YamlStorage) -> None:
    def die(_: list[Message]) -> str:
        raise _Killed

    answers: list[Any] = [calls(("Ann", "1")), calls(("Eve the killer", "2"))]
    members = [saying(echo, "Ann"), saying(die, "Eve the killer")]
    team = Team(
        members=members,
        model=FunctionModel(lambda _: answers.pop(0)),
        session_id="s",
        storage=_Dying(storage),  # type: ignore[arg-type]
    )
    with pytest.raises(_Killed):
        team.run("?")
    left = read(storage).runs[0]
    assert (left.status, told(left), left.member_runs) == ("unfinished", ["1 (1)"], None)
    run = Team(members=members, model=script(calls(("Ann", "2")), "ok"), session_id="s", storage=storage).resume()
    assert run is not None
    assert (told(run), run.answer, len(run.member_runs or [])) == (["1 (1)", "2 (1)"], "ok", 1)
    assert read(storage).runs == [run]


# What members know


def test_each_member_has_its_own_history(storage: JsonStorage | YamlStorage) -> None:
    """By its own settings: Ann is given one earlier run, Bob none, and neither gets runs of the other or the leader."""
    given: dict[str, list[str]] = {}

    def note(name: str) -> Say:
        def answer(messages: list[Message]) -> str:
            given[name] = [message.text for message in messages]
            return f"{name} {len(given[name])}"

        return answer

    members = [
        saying(note("Ann"), "Ann", add_history_to_messages=True, num_history_runs=1, instructions="Be Ann."),
        saying(note("Bob"), "Bob", add_history_to_messages=False),
    ]
    rounds = [
        calls(("Ann", "a1"), ("Bob", "b1")),
        "1",
        calls(("Ann", "a2")),
        "2",
        calls(("Ann", "a3"), ("Bob", "b3")),
        "3",
    ]
    team = Team(members=members, model=script(*rounds), session_id="s", storage=storage)
    for _ in range(3):
        team.run("?")
    assert given == {"Ann": ["Be Ann.", "a2", "Ann 4", "a3"], "Bob": ["b3"]}


def test_members_remember_if_the_team_does(storage: JsonStorage | YamlStorage) -> None:
    """In mode `route`, a member that got no history could not answer "And tomorrow?"."""
    given: list[list[str]] = []

    def answer(messages: list[Message]) -> str:
        given.append([message.text for message in messages])
        return "Rain."

    def ask_twice(**options: Any) -> list[str]:
        model = script(picks("Ann"), picks("Ann"))
        team = Team(members=[saying(answer, "Ann")], mode="route", model=model, storage=storage, **options)
        team.run("What is the weather?")
        team.run("And tomorrow?")
        return given[-1]

    assert ask_twice() == ["What is the weather?", "Rain.", "And tomorrow?"]
    assert ask_twice(add_history_to_messages=False) == ["And tomorrow?"]


def test_a_team_may_be_a_member(storage: JsonStorage | YamlStorage) -> None:
    ann = saying(echo, "Ann", add_history_to_messages=True)
    editors = Team(
        members=[ann], name="Editors", model=script(calls(("Ann", "write")), "w", calls(("Ann", "more")), "m")
    )
    team = Team(
        members=[editors],
        model=script(calls(("Editors", "a")), "1", calls(("Editors", "b")), "2"),
        session_id="s",
        storage=storage,
    )
    speakers = [(type(event).__name__, event.speaker) for event in team.stream("?")]
    assert ("TextDelta", "Editors/Ann") in speakers
    assert speakers[-1] == ("RunFinished", None)
    team.run("?")
    first, second = read(storage).runs
    (outer,) = first.member_runs or []
    assert (outer.team_id, outer.agent_id, outer.answer) == ("editors", None, "w")
    (inner,) = outer.member_runs or []
    assert (inner.agent_id, inner.answer) == ("ann", "write (1)")
    ((innermost,),) = [one.member_runs for one in second.member_runs or [] if one.member_runs]
    assert innermost.answer == "more (3)"


def test_members_share_the_state(storage: JsonStorage | YamlStorage) -> None:
    """Both change a key of their own concurrently; the instructions of both name a key of the state."""
    both = Barrier(2)

    def member(name: str) -> Agent:
        def note(context: RunContext) -> str:
            both.wait(60)
            context.session_state[name] = context.session_state["begun"]
            assert context.session_id == "s"
            assert context.user_id == "alice"
            return "noted"

        def answer(messages: list[Message]) -> Message | str:
            if messages[-1].role == "tool":
                return messages[0].text
            return Message(role="assistant", tool_calls=[ToolCall(id="n", name="note")])

        return saying(answer, name, tools=[note], instructions="Begun: {begun}", session_state={"begun": "mine"})

    team = Team(
        members=[member("Ann"), member("Bob")],
        model=script(calls(("Ann", "x"), ("Bob", "x")), "done"),
        session_id="s",
        user_id="alice",
        storage=storage,
        session_state={"begun": "here"},
    )
    assert told(team.run("?")) == ["Begun: here", "Begun: here"]
    assert read(storage).session_state == {"begun": "here", "Ann": "here", "Bob": "here"}
    assert team.session_state == {"begun": "here", "Ann": "here", "Bob": "here"}


def test_a_member_whose_state_cannot_be_stored_fails(storage: JsonStorage | YamlStorage) -> None:
    def spoil(context: RunContext) -> None:
        context.session_state["bad"] = object()

    def answer(messages: list[Message]) -> Message | str:
        return (
            "done"
            if messages[-1].role == "tool"
            else Message(role="assistant", tool_calls=[ToolCall(id="n", name="spoil")])
        )

    team = Team(
        members=[saying(answer, "Ann", tools=[spoil])],
        model=script(calls(("Ann", "x")), "ok"),
        session_id="s",
        storage=storage,
    )
    (said,) = told(team.run("?"))
    assert said.startswith("Error: Ann failed: UnstorableValue: session_state.bad is a builtins.object")
    session = read(storage)
    assert session.session_state == {}
    assert [one.status for one in session.runs[0].member_runs or []] == ["error"]


# Events


def test_events_name_their_speaker() -> None:
    members = [saying("one", "Ann"), saying("two", "Bob")]
    team = Team(members=members, model=script(calls(("Ann", "x"), ("Bob", "y")), "three"))
    events = list(team.stream("?"))
    assert events[0] == RunStarted(team.session_id, events[0].run_id, None)  # type: ignore[union-attr]
    said = {event.speaker: event.text for event in events if isinstance(event, TextDelta)}
    assert said == {"Ann": "Ann: one", "Bob": "Bob: two", None: "three"}
    assert [event.speaker for event in events if isinstance(event, ToolCallFinished)] == [None, None]
    assert {event.speaker for event in events if isinstance(event, RunFinished)} == {"Ann", "Bob", None}


def test_async_events_name_their_speaker() -> None:
    async def collect() -> list[Any]:
        members = [saying("one", "Ann"), saying("two", "Bob")]
        team = Team(members=members, mode="collaborate", model=script("three"))
        return [event async for event in team.astream("?")]

    said = {event.speaker: event.text for event in asyncio.run(collect()) if isinstance(event, TextDelta)}
    assert said == {"Ann": "Ann: one", "Bob": "Bob: two", None: "three"}


def test_a_team_works_with_a_server(storage: JsonStorage | YamlStorage) -> None:
    """The tool's schema names the members; a name with spaces is sent in a form that the server accepts."""
    with scripted_server(
        tool_call("route_to", '{"member": "Bob the 2nd"}'), text("By train."), text("Because.")
    ) as server:
        model = OpenAIChat("m", base_url=server.base_url, api_key="k")
        member = Agent(model=model, name="Bob the 2nd", description="Knows\ntrains.")
        team = Team(
            members=[member], mode="route", model=model, session_id="s", storage=storage, add_history_to_messages=True
        )
        assert team.run("How?").answer == "By train."
        assert team.run("Why?").answer == "Because."
        (tool,) = server.requests[0]["tools"]
        assert tool["function"]["parameters"]["properties"]["member"]["const"] == "Bob the 2nd"
        assert "- Bob the 2nd: Knows trains." in tool["function"]["description"]
        assert server.requests[2]["messages"][3]["name"] == "Bob-the-2nd"


# What ends it early


def test_ctrl_c_leaves_a_cancelled_run_with_the_answers_of_members(storage: JsonStorage | YamlStorage) -> None:
    def interrupt(_: list[Message]) -> str:
        raise KeyboardInterrupt

    members = [saying("one", "Ann"), saying(interrupt, "Bob")]
    team = Team(
        members=members, model=script(calls(("Ann", "1")), calls(("Bob", "2"))), session_id="s", storage=storage
    )
    with pytest.raises(KeyboardInterrupt):
        team.run("?")
    (run,) = read(storage).runs
    assert run.status == "cancelled"
    assert [(one.agent_id, one.status) for one in run.member_runs or []] == [("ann", "completed"), ("bob", "cancelled")]


def test_closing_the_stream_stops_the_members(storage: JsonStorage | YamlStorage) -> None:
    """Members that run in threads stop at their next step, and are not waited for."""
    go_on, over = Event(), Event()

    def slow(_: list[Message]) -> Any:
        try:
            yield "one "
            go_on.wait(60)
            yield "two "
            yield "three"
        finally:
            over.set()

    members = [saying(slow, "Ann"), saying(slow, "Bob")]
    team = Team(members=members, mode="collaborate", model=script("never"), session_id="s", storage=storage)
    events = team.stream("?")
    heard = set()
    for event in events:
        if isinstance(event, TextDelta):
            heard.add(event.speaker)
        if heard == {"Ann", "Bob"}:
            break
    events.close()
    (run,) = read(storage).runs
    assert run.status == "cancelled"
    assert [one.status for one in run.member_runs or []] == ["cancelled", "cancelled"]
    go_on.set()
    assert over.wait(60)


def test_a_cancelled_task_cancels_the_members(storage: JsonStorage | YamlStorage) -> None:
    async def wait_long(_: list[Message]) -> str:
        started.set()
        await asyncio.sleep(60)
        return "never"

    async def cancel() -> None:
        task = asyncio.create_task(team.arun("?"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = asyncio.Event()
    members = [saying(wait_long, "Ann"), saying(wait_long, "Bob")]
    team = Team(members=members, mode="collaborate", model=script("never"), session_id="s", storage=storage)
    asyncio.run(cancel())
    (run,) = read(storage).runs
    assert run.status == "cancelled"
    assert [one.status for one in run.member_runs or []] == ["cancelled", "cancelled"]


def test_resume_asks_a_failed_team_again(storage: JsonStorage | YamlStorage) -> None:
    team = Team(members=[saying("one", "Ann")], model=script(), session_id="s", storage=storage)
    with pytest.raises(IndexError):
        team.run("?")
    team.model = script(calls(("Ann", "x")), "two")
    run = team.resume()
    assert run is not None
    assert run.answer == "two"
    assert [run.status for run in read(storage).runs] == ["error", "completed"]


# What it is made of


def test_wrong_members_are_refused_when_the_team_is_created() -> None:
    model = script()
    ann = saying("x", "Ann")
    for members, problem in (
        ([], "at least one member"),
        ([Agent(model=model)], "Member 1 of the team has no name"),
        ([ann, saying("y", "Ann")], "Two members of the team are named 'Ann'"),
        ([ann, saying("y", "ann")], "Two members of the team are named 'ann'"),
    ):
        with pytest.raises(ValueError, match=problem):
            Team(members=members, model=model)
    for wrong in (ann, ["Ann"], [model]):
        with pytest.raises(TypeError, match="members must be a list of Agents and Teams"):
            Team(members=wrong, model=model)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode must be one of route, coordinate, collaborate, not 'all'"):
        Team(members=[ann], model=model, mode="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Two tools are named 'delegate_task'"):
        Team(members=[ann], model=model, tools=[delegate_task])


def delegate_task() -> None:
    """A tool with the same name as the team's own tool."""


def test_a_team_takes_every_argument_of_an_agent() -> None:
    takes = set(inspect.signature(Agent).parameters) - {"model", "agent_id"}
    assert set(LeaderOptions.__annotations__) == takes


def test_sessions_of_teams_are_forked_undone_and_loaded(storage: JsonStorage | YamlStorage) -> None:
    team = Team(
        members=[saying(echo, "Ann")], model=script("1", calls(("Ann", "x")), "2"), session_id="s", storage=storage
    )
    team.run("?")
    team.run("?")
    forked = team.fork()
    assert (read(storage, forked).kind, len(read(storage, forked).runs)) == ("team", 2)
    undone = team.undo()
    assert undone is not None
    assert undone.answer == "2"
    assert len(read(storage, forked).runs) == 1
    assert team.load_session("s").kind == "team"


def test_an_async_tool_of_a_member_under_a_running_loop_raises_to_the_developer() -> None:
    """The leader was told that its member had failed, and the developer was not."""

    async def look_up() -> str:
        return "never"

    call = Message(role="assistant", tool_calls=[ToolCall(id="1", name="look_up", arguments={})])
    member = Agent(model=FunctionModel(lambda messages: call), name="Anna", tools=[look_up])
    team = Team(members=[member], mode="collaborate", model=FunctionModel(lambda messages: "Anna failed."))

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="The tool look_up is async"):
            team.run("?")

    asyncio.run(ask())

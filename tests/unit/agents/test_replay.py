"""Replaying a session: what the model is given, what is stored, and what happens when it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localstore import Agent, FunctionModel, JsonStorage, Message, Run, Session, SessionNotFound, ToolCall, YamlStorage
from localstore.agents.replay import Repeated, Replay, stored_questions
from localstore.agents.tools.tool import RunContext
from localstore.models.session import ContentPart


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    return JsonStorage(tmp_path / "store")


def add(storage: JsonStorage, question: str, answer: str, **fields: Any) -> Run:
    run = Run(
        messages=[Message(role="user", content=question), Message(role="assistant", content=answer)],
        **fields,
    )
    storage.append("trip", run, user_id="alice", entity_id="guide")
    return run


def read(storage: JsonStorage, session_id: str = "trip") -> Session:
    session = storage.read(session_id)
    assert session is not None
    return session


def heard(given: list[str], answer: Callable[[int], str] = "new {}".format) -> FunctionModel:
    """A model that records its messages in short form: `s:... u:hello a:hi t:result`."""

    def respond(messages: list[Message]) -> str:
        given.append(" ".join(f"{message.role[0]}:{message.text}" for message in messages))
        return answer(len(given))

    return FunctionModel(respond, id="heard")


def asked(storage: JsonStorage, history: int | None = None) -> list[str]:
    """The messages for the model when the session `trip` is replayed."""
    given: list[str] = []
    session = read(storage)
    replay = Replay(session, heard(given))
    for question in stored_questions(session, history=history):
        replay.ask(question)
    return given


@pytest.fixture
def three(storage: JsonStorage) -> JsonStorage:
    for number in (1, 2, 3):
        add(storage, f"q{number}", f"old{number}")
    return storage


def test_each_question_gets_the_stored_history_and_never_a_new_answer(three: JsonStorage) -> None:
    assert asked(three) == ["u:q1", "u:q1 a:old1 u:q2", "u:q1 a:old1 u:q2 a:old2 u:q3"]


@pytest.mark.parametrize(("history", "last"), [(0, "u:q3"), (1, "u:q2 a:old2 u:q3"), (9, None)])
def test_history_limits_the_runs_that_the_model_is_given(three: JsonStorage, history: int, last: str | None) -> None:
    assert asked(three, history)[2] == (last or asked(three)[2])


@pytest.mark.parametrize("status", ["error", "cancelled", "unfinished"])
def test_runs_that_were_not_completed_are_neither_asked_nor_history(storage: JsonStorage, status: str) -> None:
    add(storage, "q1", "old1")
    add(storage, "broken", "half", status=status)
    add(storage, "q3", "old3")
    assert asked(storage) == ["u:q1", "u:q1 a:old1 u:q3"]
    assert [question.number for question in stored_questions(read(storage))] == [1, 3]


def test_a_run_without_a_question_is_history_only(storage: JsonStorage) -> None:
    storage.append("trip", Run(messages=[Message(role="assistant", content="Welcome!")]))
    storage.append("trip", Run(input="text for a workflow", output="done"))
    storage.append("trip", Run(messages=[Message(role="user", content="q"), Message(role="assistant", content="a")]))
    assert asked(storage) == ["a:Welcome! u:q"]


def test_a_question_gets_the_instructions_and_the_state_of_its_time(storage: JsonStorage) -> None:
    """Including those of an update between two runs; the changes of a run to the state apply from the next run on."""
    add(storage, "q1", "a", instructions="In {city}, {n}, {else}.", session_state={"city": "Graz", "n": 1})
    add(storage, "q2", "a", session_state={"city": "Linz", "n": 2})
    add(storage, "q3", "a")
    storage.update("trip", instructions="Now {city}", session_state={"city": "Wien"})
    add(storage, "q4", "a")
    add(storage, "q5", "a", instructions="Be brief.")
    assert asked(storage, 0) == [
        "s:In Graz, 1, {else}. u:q1",  # an agent stores the state that it was made with beside its first answer
        "s:In Graz, 1, {else}. u:q2",
        "s:In Linz, 2, {else}. u:q3",
        "s:Now Wien u:q4",
        "s:Be brief. u:q5",
    ]


def test_a_replayed_agent_sends_the_same_requests(storage: JsonStorage) -> None:
    """Instructions, the state that a tool changed, history and tool rounds: the same requests again."""
    given: list[str] = []

    def visit(city: str, context: RunContext) -> str:
        context.session_state["city"] = city
        return f"in {city}"

    def respond(messages: list[Message]) -> str | Message:
        given.append(" ".join(f"{message.role[0]}:{message.text}" for message in messages))
        if messages[-1].text == "go":
            return Message(role="assistant", tool_calls=[ToolCall(id="c", name="visit", arguments={"city": "Linz"})])
        return f"answer {len(given)}"

    agent = Agent(
        model=FunctionModel(respond),
        session_id="trip",
        storage=storage,
        session_state={"city": "Graz"},
        instructions="In {city}.",
        tools=[visit],
        add_history_to_messages=True,
        num_history_runs=2,
    )
    for question in ("hello", "go", "and", "now"):
        agent.run(question)
    to_the_answer = [text for text in given if not text.endswith("u:go")]
    assert asked(storage, 2) == to_the_answer
    assert [text[:10] for text in given] == ["s:In Graz.", "s:In Graz.", "s:In Graz.", "s:In Linz.", "s:In Linz."]


def with_tools(storage: JsonStorage) -> Run:
    calls = [ToolCall(id="c1", name="weather", arguments={"city": "Wien"}), ToolCall(id="c2", name="clock")]
    messages = [
        Message(role="user", content="Wien?"),
        Message(role="assistant", content="Let me see.", tool_calls=calls),
        Message(role="tool", tool_call_id="c1", content="rain"),
        Message(role="tool", tool_call_id="c2", content="noon"),
        Message(role="assistant", content="Rain at noon."),
    ]
    run = Run(messages=messages)
    storage.append("trip", run)
    return run


def test_a_question_with_tools_is_answered_from_their_stored_results(storage: JsonStorage) -> None:
    run = with_tools(storage)
    assert asked(storage) == ["u:Wien? a:Let me see. t:rain t:noon"]
    (question,) = stored_questions(read(storage))
    assert question.tools == ("weather", "clock")
    assert question.asked == run.messages[:-1]


def test_a_model_that_asks_for_a_tool_again_gets_an_error_as_its_result(storage: JsonStorage) -> None:
    """Once; if the model asks again, the run fails, and its text before the tool calls is not an answer."""
    with_tools(storage)
    session = read(storage)
    call = Message(role="assistant", tool_calls=[ToolCall(id="x", name="weather")])
    replies = iter([call, Message(role="assistant", content="Rain.")])
    replay = Replay(session, FunctionModel(lambda messages: next(replies)))
    (question,) = stored_questions(session)
    repeated = replay.ask(question)
    assert repeated.new == "Rain."
    assert repeated.run.messages[-2].text == "Error: there is no tool 'weather'. There are: none."
    insisting = Replay(session, FunctionModel(lambda messages: call)).ask(question)
    assert (insisting.new, insisting.run.status) == (None, "error")


def test_files_are_sent_if_they_are_still_there(storage: JsonStorage, tmp_path: Path) -> None:
    """A line of text replaces a missing file."""
    there, gone = tmp_path / "there.png", tmp_path / "gone.png"
    there.write_bytes(b"png")
    parts = [
        ContentPart(type="text", text="What is it?"),
        *(ContentPart(type="image", path=str(path)) for path in (there, gone)),
        ContentPart(type="image", url="https://example.org/x.png"),
    ]
    run = Run(messages=[Message(role="user", content=parts), Message(role="assistant", content="A cat.")])
    storage.append("trip", run)
    (question,) = stored_questions(read(storage))
    assert question.missing == (str(gone),)
    content = question.asked[0].content
    assert content == [
        parts[0],
        parts[1],
        ContentPart(type="text", text=f"[The file {gone} no longer exists.]"),
        parts[3],
    ]


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
def test_the_answers_are_stored_in_a_new_session_of_the_same_owner(
    tmp_path: Path, kind: type[JsonStorage] | type[YamlStorage]
) -> None:
    """The session names the one that it repeats, and so does each run; the old document does not change."""
    storage: Any = kind(tmp_path / "store")
    first = add(storage, "q1", "old1", instructions="Be kind.")
    second = add(storage, "q2", "old2", instructions="Be brief.")
    storage.update("trip", name="Trip to Vienna")
    before = storage.path("trip").read_bytes()
    session = read(storage)
    replay = Replay(session, heard([]), storage)
    assert (replay.is_kept, storage.get_all_session_ids()) == (False, ["trip"])
    repeated = [replay.ask(question) for question in stored_questions(session)]
    assert [(one.old, one.new) for one in repeated] == [("old1", "new 1"), ("old2", "new 2")]
    assert replay.is_kept
    fresh = read(storage, replay.session_id)
    assert (fresh.name, fresh.user_id, fresh.agent_id) == ("Replay of Trip to Vienna with heard", "alice", None)
    assert fresh.metadata == {"replay_of": "trip"}
    assert [run.replay_of for run in fresh.runs] == [first.run_id, second.run_id]
    assert [(run.question, run.answer, run.status) for run in fresh.runs] == [
        ("q1", "new 1", "completed"),
        ("q2", "new 2", "completed"),
    ]
    assert [run.instructions for run in fresh.runs] == ["Be kind.", "Be brief."]
    assert {run.model for run in fresh.runs} == {"heard"}
    assert storage.path("trip").read_bytes() == before


def test_without_a_storage_nothing_is_stored(three: JsonStorage) -> None:
    session = read(three)
    replay = Replay(session, heard([]))
    assert [replay.ask(question).new for question in stored_questions(session)] == ["new 1", "new 2", "new 3"]
    assert not replay.is_kept
    assert three.get_all_session_ids() == ["trip"]


def ask_all(replay: Replay, session: Session) -> list[Repeated]:
    return [replay.ask(question) for question in stored_questions(session)]


@pytest.mark.parametrize("stored", [True, False])
def test_a_failing_model_fails_one_question(three: JsonStorage, stored: bool) -> None:
    """The error is stored with the run, and the other questions are asked."""

    def respond(messages: list[Message]) -> str:
        if messages[-1].text == "q2":
            raise ValueError("too hard")
        return "new"

    session = read(three)
    replay = Replay(session, FunctionModel(respond), three if stored else None)
    repeated = ask_all(replay, session)
    assert [(one.new, one.run.error) for one in repeated] == [
        ("new", None),
        (None, "ValueError: too hard"),
        ("new", None),
    ]
    if stored:
        statuses = [(run.status, run.error) for run in read(three, replay.session_id).runs]
        assert statuses == [("completed", None), ("error", "ValueError: too hard"), ("completed", None)]


def test_ctrl_c_keeps_the_answers_so_far_and_a_cancelled_run(three: JsonStorage) -> None:
    def respond(messages: list[Message]) -> str:
        if messages[-1].text == "q2":
            raise KeyboardInterrupt
        return "new"

    session = read(three)
    replay = Replay(session, FunctionModel(respond), three)
    with pytest.raises(KeyboardInterrupt):
        ask_all(replay, session)
    assert [run.status for run in read(three, replay.session_id).runs] == ["completed", "cancelled"]


def test_a_new_session_that_is_deleted_meanwhile_is_not_created_again(three: JsonStorage) -> None:
    """An error of the storage is not taken for one of the model."""
    session = read(three)

    def respond(messages: list[Message]) -> str:
        three.delete_session(replay.session_id)
        return "new"

    replay = Replay(session, FunctionModel(respond), three)
    with pytest.raises(SessionNotFound):
        ask_all(replay, session)
    assert three.get_all_session_ids() == ["trip"]


def test_replay_of_comes_before_the_messages_and_is_in_the_schema(three: JsonStorage) -> None:
    import jsonschema

    session = read(three)
    replay = Replay(session, heard([]), three)
    ask_all(replay, session)
    document = json.loads(three.path(replay.session_id).read_text())
    assert list(document["history"][0])[:4] == ["type", "run_id", "replay_of", "created_at"]
    schema = json.loads((three.root / "schemas" / "session-1.schema.json").read_text())
    jsonschema.validate(document, schema)
    document["history"][0]["replay_of"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)

"""States whose values keep their types, and the warning about those that do not."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, Json, RootModel

from localstore import (
    Agent,
    FunctionModel,
    JsonStorage,
    Message,
    RunContext,
    StateInvalid,
    StepContext,
    Task,
    Team,
    ToolCall,
    UnstorableValue,
    Workflow,
)
from localstore.agents.typed_state import TypedState, changed_values
from localstore.format.values import to_json_value


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


class Item(BaseModel):
    price: Decimal


class Trip(BaseModel):
    seen: set[str] = set()
    until: date | None = None
    pairs: list[tuple[str, int]] = []
    items: dict[int, Item] = {}
    count: int = Field(default=0, ge=0)


def visit(context: RunContext, city: str) -> None:
    """Fails with a list in the place of the set."""
    context.session_state["seen"].add(city)
    context.session_state["until"] = date(2026, 12, 1)
    context.session_state["pairs"] += [(city, 1)]
    context.session_state["items"][7] = Item(price=Decimal("1.20"))


def visiting(city: str) -> FunctionModel:
    """A model that calls `visit` once per question."""
    call = Message(role="assistant", tool_calls=[ToolCall(id="1", name="visit", arguments={"city": city})])
    return FunctionModel(lambda messages: "Fine." if messages[-1].role == "tool" else call)


def answering() -> FunctionModel:
    return FunctionModel(lambda messages: "Fine.")


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    return JsonStorage(tmp_path)


def stored_state(storage: JsonStorage, session_id: str = "s") -> dict[str, Any]:
    session = storage.read(session_id)
    assert session is not None
    return session.session_state


def test_types_come_back_in_another_agent(storage: JsonStorage) -> None:
    """A set came back as a list, and a tool that called `.add` failed in the next process."""
    for city in ("Linz", "Wien"):
        agent = Agent(model=visiting(city), tools=[visit], storage=storage, session_id="s", state_model=Trip)
        run = agent.run("?")
        assert run.messages[2].text == "", "the tool failed"
    assert stored_state(storage) == {
        "seen": ["Linz", "Wien"],
        "until": "2026-12-01",
        "pairs": [["Linz", 1], ["Wien", 1]],
        "items": {"7": {"price": "1.20"}},
        "count": 0,
    }
    agent.load_session("s")
    assert agent.session_state == {
        "seen": {"Linz", "Wien"},
        "until": date(2026, 12, 1),
        "pairs": [("Linz", 1), ("Wien", 1)],
        "items": {7: Item(price=Decimal("1.20"))},
        "count": 0,
    }


@pytest.mark.parametrize("is_own", [True, False])
def test_a_run_in_any_session_sees_types(storage: JsonStorage, is_own: bool) -> None:
    storage.append("other", Agent(model=answering()).run("?"))
    storage.update("other", session_state={"seen": ["Graz"]})
    agent = Agent(model=visiting("Linz"), tools=[visit], storage=storage, state_model=Trip)
    if is_own:
        agent.load_session("other")
    agent.run("?", session_id="other")
    assert stored_state(storage, "other")["seen"] == ["Graz", "Linz"]


def test_a_team_shares_typed_state_with_its_members(storage: JsonStorage) -> None:
    member = Agent(model=visiting("Linz"), tools=[visit], name="Anna")
    for _ in range(2):
        team = Team(
            members=[member], mode="collaborate", model=answering(), storage=storage, session_id="s", state_model=Trip
        )
        run = team.run("?")
        assert run.member_runs is not None
        assert run.member_runs[0].messages[2].text == ""
    assert stored_state(storage)["pairs"] == [["Linz", 1], ["Linz", 1]]


def test_a_workflow_that_is_resumed_sees_types(storage: JsonStorage) -> None:
    """Its steps are replayed from JSON values."""

    def first(city: str, context: StepContext) -> str:
        context.session_state["seen"].add(city)
        return city

    def second(city: str, context: StepContext) -> int:
        context.session_state["seen"].add("Wien")
        return len(context.session_state["seen"])

    def workflow() -> Workflow:
        return Workflow(steps=[first, Task(second, confirm=True)], storage=storage, session_id="s", state_model=Trip)

    assert workflow().run("Linz").status == "unfinished"
    resumed = workflow().resume(confirm=True)
    assert resumed is not None
    assert resumed.output == 2
    assert stored_state(storage)["seen"] == ["Linz", "Wien"]


def test_a_resumed_run_gets_the_changes_of_its_tools_in_their_types(storage: JsonStorage) -> None:
    """They are recorded as JSON values in the messages."""
    agent = Agent(model=visiting("Linz"), tools=[visit], storage=storage, session_id="s", state_model=Trip)

    def dies(messages: list[Message]) -> Any:
        if messages[-1].role == "tool":
            raise SystemExit
        return visiting("Linz").respond(messages).message

    agent.model = FunctionModel(dies)
    with pytest.raises(SystemExit):
        agent.run("?")
    session = storage.read("s")
    assert session is not None
    session.runs[0].status = "unfinished"
    session.runs[0].session_state = None
    storage.upsert(session)
    agent = Agent(model=answering(), storage=storage, session_id="s", state_model=Trip)
    agent.resume()
    assert agent.session_state["seen"] == {"Linz"}
    assert agent.session_state["items"] == {7: Item(price=Decimal("1.20"))}


def test_a_value_of_another_type_is_refused_where_it_is_assigned(storage: JsonStorage) -> None:
    def set_count(context: RunContext, value: Any) -> None:
        context.session_state["count"] = value

    call = Message(role="assistant", tool_calls=[ToolCall(id="1", name="set_count", arguments={"value": -1})])
    model = FunctionModel(lambda messages: "Fine." if messages[-1].role == "tool" else call)
    agent = Agent(model=model, tools=[set_count], storage=storage, session_id="s", state_model=Trip)
    run = agent.run("?")
    assert "session_state['count'] does not fit Trip: Input should be greater than" in run.messages[2].text
    with pytest.raises(StateInvalid, match="session_state\\['seen'\\] does not fit Trip"):
        agent.session_state["seen"] = "Linz"
    with pytest.raises(StateInvalid, match="The session state does not fit Trip: count"):
        agent.session_state = {"count": "many"}
    agent.session_state.update(seen=["Linz"])
    agent.session_state |= {"until": "2026-12-01"}
    agent.session_state.setdefault("tags", []).append("x")
    assert agent.session_state["seen"] == {"Linz"}
    assert agent.session_state["until"] == date(2026, 12, 1)
    agent.session_state = Trip(count=3)  # type: ignore[assignment]
    assert agent.session_state["count"] == 3


def test_a_stored_state_that_does_not_fit_is_refused_before_anything_is_written(storage: JsonStorage) -> None:
    """The question would stay unfinished, and the agent would stay between two sessions."""
    storage.append("s", Agent(model=answering()).run("?"))
    storage.update("s", session_state={"count": -5})
    before = storage.path("s").read_bytes()
    agent = Agent(model=answering(), storage=storage, session_id="s", state_model=Trip)
    with pytest.raises(StateInvalid, match="The state of session 's' does not fit Trip: count") as raised:
        agent.run("?")
    assert raised.value.session_id == "s"
    agent.new_session("t")
    agent.session_state["count"] = 1
    with pytest.raises(StateInvalid):
        agent.load_session("s")
    assert (agent.session_id, agent.session_state["count"]) == ("t", 1)
    assert storage.path("s").read_bytes() == before


def test_a_value_that_was_changed_in_place_and_does_not_fit_is_not_stored(storage: JsonStorage) -> None:
    """It would be stored, and no process could open the session again."""
    agent = Agent(model=answering(), storage=storage, session_id="s", state_model=Trip)
    agent.run("?")
    agent.session_state["items"][1] = "free"
    with pytest.raises(UnstorableValue, match="does not fit Trip"):
        agent.run("?")
    assert len(storage.read("s").runs) == 1  # type: ignore[union-attr]


def test_keys_that_are_no_fields_are_kept(storage: JsonStorage) -> None:
    """Another program, or a newer version of this one, may have stored them."""
    storage.append("s", Agent(model=answering()).run("?"))
    storage.update("s", session_state={"count": 1, "other": {"a": [1]}})
    agent = Agent(model=visiting("Linz"), tools=[visit], storage=storage, session_id="s", state_model=Trip)
    agent.run("?")
    assert stored_state(storage)["other"] == {"a": [1]}
    assert agent.session_state["other"] == {"a": [1]}


def test_the_order_of_a_set_is_no_change(tmp_path: Path) -> None:
    """It differs from process to process, so that the same state would be stored again, and would conflict."""
    code = (
        "from localstore.agents.typed_state import TypedState; from localstore.format.values import to_json_value\n"
        "from pydantic import BaseModel\n"
        "class Part(BaseModel):\n    names: frozenset[str]\n"
        "class Whole(BaseModel):\n    parts: dict[str, Part]; numbers: set[int]\n"
        "names = [chr(97 + n) * 3 for n in range(20)]\n"
        "state = {'parts': {'p': {'names': names}}, 'numbers': [10, 9, 100]}\n"
        "print(to_json_value(TypedState.from_document(Whole, state, 's')))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert "'numbers': [9, 10, 100]" in outputs.pop()


def test_values_of_every_kind_come_back_equal() -> None:
    class Everything(BaseModel):
        ids: dict[UUID, frozenset[int]]
        pause: timedelta
        path: Path
        data: bytes
        colours: list[Colour | Item]
        parsed: Json[list[int]]
        pair: tuple[int, datetime]

    state = TypedState.from_values(
        Everything,
        {
            "ids": {UUID(int=1): {3, 1, 2}},
            "pause": timedelta(days=1, microseconds=1),
            "path": Path("/a/b"),
            "data": b"abc",
            "colours": [Colour.RED, Item(price=Decimal("1.10"))],
            "parsed": "[1, 2]",
            "pair": (1, datetime(2026, 1, 1, 12, 30, 1, 123456, tzinfo=UTC)),
        },
    )
    read = TypedState.from_document(Everything, to_json_value(state), "s")
    assert read == state
    assert {key: type(value) for key, value in read.items()} == {key: type(value) for key, value in state.items()}
    assert list(changed_values(state)) == []


def test_the_instructions_show_the_state_as_it_is_stored(storage: JsonStorage) -> None:
    asked: list[list[Message]] = []

    def answer(messages: list[Message]) -> str:
        asked.append(messages)
        return "Fine."

    state = Trip(items={7: Item(price=Decimal("1.20"))}, seen={"b", "a"})
    Agent(model=FunctionModel(answer), instructions="{items} {seen}", state_model=Trip, session_state=state).run("?")
    assert asked[0][0].text == json.dumps({"7": {"price": "1.20"}}) + ' ["a", "b"]'


def test_a_deep_copy_stays_typed_and_independent() -> None:
    agent = Agent(model=answering(), state_model=Trip)
    duplicate = copy.deepcopy(agent)
    duplicate.session_state["seen"].add("Linz")
    assert isinstance(duplicate.session_state, TypedState)
    assert agent.session_state["seen"] == set()


@pytest.mark.parametrize("model", [5, dict, Trip(), RootModel[list[int]]])
def test_a_state_model_must_be_a_pydantic_class(model: Any) -> None:
    with pytest.raises(TypeError, match="state_model must be a class of"):
        Agent(model=answering(), state_model=model)


def test_a_state_model_without_its_required_values_is_refused_when_the_agent_is_created() -> None:
    class Named(BaseModel):
        name: str

    class Aliased(BaseModel):
        name: str = Field(default="", alias="Name")

    with pytest.raises(StateInvalid, match="does not fit Named: name: Field required"):
        Agent(model=answering(), state_model=Named)
    with pytest.raises(TypeError, match="has one"):
        Agent(model=answering(), state_model=Aliased)


@pytest.mark.parametrize(
    ("value", "place", "was", "becomes"),
    [
        ({1}, "", "set", "list"),
        ((1, 2), "", "tuple", "list"),
        (datetime(2026, 1, 1, tzinfo=UTC), "", "datetime", "str"),
        (Colour.RED, "", "Colour", "str"),
        (Point(1), "", "Point", "dict"),
        (Item(price=Decimal(1)), "", "Item", "dict"),
        (Decimal(1), "", "Decimal", "str"),
        ({"a": [1, (2,), (3,)]}, '["a"][1]', "tuple", "list"),
    ],
)
def test_a_value_that_comes_back_as_another_type_is_named_once(
    storage: JsonStorage, value: Any, place: str, was: str, becomes: str
) -> None:
    """Nothing said so: the tool failed days later, in another process."""
    agent = Agent(model=answering(), storage=storage, session_id="s", session_state={"seen": value})
    expected = f'session_state["seen"]{place} is a {was} and comes back as a {becomes}'
    with pytest.warns(UserWarning, match="comes back as") as caught:
        agent.run("?")
    assert [str(one.message).startswith(expected) for one in caught] == [True]
    agent.session_state["seen"] = copy.deepcopy(value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.run("again")


def test_a_workflow_that_waits_names_such_values(storage: JsonStorage) -> None:
    """It is often resumed in another process."""
    workflow = Workflow(
        steps=[Task(lambda value: value, name="pay", confirm=True)], storage=storage, session_state={"seen": {1}}
    )
    with pytest.warns(UserWarning, match="is a set and comes back as a list"):
        assert workflow.run(1).status == "unfinished"


def test_a_value_that_the_model_does_not_restore_is_named(storage: JsonStorage) -> None:
    """A pydantic class writes the declared fields alone: what a subclass adds is not stored."""

    class Discounted(Item):
        percent: int

    agent = Agent(model=answering(), storage=storage, session_id="s", state_model=Trip)
    agent.session_state["items"] = {1: Discounted(price=Decimal(1), percent=5)}
    with pytest.warns(UserWarning, match=r'session_state\["items"\] comes back as another dict'):
        agent.run("?")


def test_values_of_json_give_no_warning() -> None:
    assert list(changed_values({"a": [1, 1.5, True, None, "x", {"b": []}], "c": {}})) == []


def test_a_warning_that_is_an_error_does_not_cost_the_answer(storage: JsonStorage) -> None:
    """It comes after the run is stored."""
    agent = Agent(model=answering(), storage=storage, session_id="s", session_state={"seen": {1}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="comes back as a list"):
            agent.run("?")
    assert storage.read("s").runs[0].status == "completed"  # type: ignore[union-attr]

"""Sessions as plain values: the same as those of the models, without importing them."""

import json
from typing import Any

import pytest

from localstore import Message, Run, Session, Step
from localstore.errors import DocumentBroken
from localstore.models.session import ContentPart, Metrics, ToolCall
from localstore.models.validation import as_mappings
from localstore.storage.plain_session import plain_entry, read_plain
from tests.unit.raw import Storage, parse

MESSAGES = [
    Message(role="user", content=[ContentPart(type="text", text="See:"), ContentPart(type="image", url="a.png")]),
    Message(role="assistant", tool_calls=[ToolCall(id="c1", name="look", arguments={"at": [1, None]})]),
    Message(role="tool", tool_call_id="c1", content="a cat", state_changes={"seen": None}),
    Message(role="assistant", content="A cat."),
]
MEMBER = Run(run_id="m1", agent_id="scout", tool_call_id="c1", messages=MESSAGES)
STEP = Step(name="draft", within=["loop[1]"], output={"a": None}, messages=MESSAGES, status="completed")


def fill(storage: Storage) -> dict[str, Any]:
    """Store a session with every kind of record in it, and return its document."""
    run = Run(
        run_id="r1",
        created_at="2026-11-01T10:00:00.000Z",
        messages=MESSAGES,
        member_runs=[MEMBER],
        steps=[STEP],
        instructions="Be brief.",
        session_state={"cart": None},
        metrics=Metrics(input_tokens=3, duration_seconds=0.5),
        rating="good",
    )
    storage.append("s1", run, user_id="ann", entity_id="guide")
    storage.update("s1", name="A name", tags=["x"], metadata={"a": 1}, session_summary="short")
    storage.append("s1", Run(run_id="r2", created_at="2026-11-01T11:00:00.000Z", status="error", error="lost"))
    return parse(storage.path("s1"))


def same_as_models(storage: Storage, last_runs: int | None = None) -> dict[str, Any]:
    """Compare a session as plain values with the models, and return it as one mapping."""
    session = storage.read("s1", last_runs=last_runs)
    plain = read_plain(storage, "s1", last_runs=last_runs)
    assert isinstance(session, Session)
    assert plain is not None
    for value, expected in (
        (plain.header, as_mappings(session)),
        (plain.history, as_mappings(session.history)),
        (plain.current, as_mappings(session.current())),
    ):
        assert json.dumps(value) == json.dumps(expected)  # the keys have the same order, too
    return {**plain.header, "history": plain.history}


@pytest.mark.parametrize("last_runs", [None, 0, 1, 2, 9])
def test_the_values_are_those_of_the_models(storage: Storage, last_runs: int | None) -> None:
    document = fill(storage)
    plain = same_as_models(storage, last_runs)
    document.pop("$schema", None)
    if last_runs is None:
        assert plain == document


def odd(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return documents as a person or an earlier release may have written them."""
    run = document["history"][0]
    backwards = {**dict(reversed(document.items())), "mood": "sunny", "session_data": {"in": "the header"}}
    backwards["history"] = [dict(reversed(entry.items())) for entry in document["history"]]
    backwards["history"][0] |= {"score": {"stars": None}, "nothing": None, "plan": None}
    nulls = {**document, "tags": None, "metadata": {}, "name": None}
    nulls["history"] = [{**run, "messages": None, "steps": [], "member_runs": None, "status": None}]
    short = {
        **document,
        "history": [{**run, "messages": []}, {"type": "bookmark", "messages": [{"role": 5}], "n": None}],
    }
    del short["history"][0]["status"]
    call = {**document, "history": [{**run, "messages": [{"role": "oracle", "tool_calls": [{"name": "look"}]}]}]}
    member = {key: value for key, value in run["member_runs"][0].items() if key not in ("type", "status")}
    members = {**document, "history": [{**run, "member_runs": [{**member, "rating": "fine"}]}]}
    return [backwards, nulls, short, call, members]


@pytest.mark.parametrize("number", range(5))
def test_odd_documents_give_the_values_of_the_models(storage: Storage, number: int) -> None:
    document = odd(fill(storage))[number]
    storage.path("s1").write_text(json.dumps(document, indent=2) + "\n")  # JSON is YAML as well
    same_as_models(storage)
    same_as_models(storage, 1)


def test_values_of_a_wrong_type_are_the_same_errors(storage: Storage) -> None:
    document = fill(storage)
    document["history"][0]["metrics"]["input_tokens"] = "many"
    storage.path("s1").write_text(json.dumps(document, indent=2) + "\n")
    with pytest.raises(DocumentBroken) as expected:
        storage.read("s1")
    with pytest.raises(DocumentBroken) as error:
        read_plain(storage, "s1")
    assert str(error.value) == str(expected.value)
    assert read_plain(storage, "nowhere") is None


def test_an_entry_is_given_only_if_it_is_valid(storage: Storage) -> None:
    entry = fill(storage)["history"][0]
    assert plain_entry(entry) == entry
    del entry["status"]
    assert plain_entry(entry) == {**entry, "status": "completed"}
    assert plain_entry({**entry, "messages": 5}) is None
    assert plain_entry({"type": 5}) is None
    assert plain_entry({}) is None

"""Any file that looks like agno's becomes a valid document, or raises an error with the place."""

import json
from copy import deepcopy
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from localstore.format.versions import CannotUpgrade, Document, downgraded, upgraded
from localstore.format.versions.agno_remainder import KEY
from localstore.format.versions.document_shape import checked
from localstore.format.versions.values import identity
from localstore.models.session import Session
from tests.effort import rounds
from tests.format.test_schema_1 import SCHEMA
from tests.unit.format.versions.sessions_of_agno import FROZEN as FOLDER
from tests.unit.format.versions.sessions_of_agno import frozen, message, run, session, sessions

VALID = jsonschema.Draft202012Validator(SCHEMA)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**64, -(2**63), 1.5, 1e308, float("nan"), float("inf"), "", "x", "\ud800", "\0"),
    *([], {}, [[]], [None], [1], {"a": None}, {"": {}}, ["x", {}], {"role": 1}, {"run_id": []}, [{"role": "user"}]),
    *("RUNNING", "PAUSED", "s1", "r1", "{", '{"a": [1]}', "2026-11-22T07:01:20Z", 1_795_331_432, 10**12, -(10**11)),
)
_KEYS = (
    *(
        "role",
        "content",
        "messages",
        "message",
        "runs",
        "response",
        "run_id",
        "status",
        "created_at",
        "metrics",
        "type",
    ),
    *("tool_calls", "function", "arguments", "step_responses", "steps", "member_responses", "parallel_step_outputs"),
    *("session_data", "session_state", "memory", "team_context", "summaries", "input", "history", "kind", "localstore"),
    *("agent_id", "team_id", "workflow_id", "workflow_name", "name", "from_history", "time", "input_tokens", "error"),
)


def mutated(rng: Random, document: Document) -> Any:
    """Return the document with one to four changes anywhere in it."""
    document = deepcopy(document)
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        match rng.randrange(7):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.insert(rng.randrange(len(holder) + 1), deepcopy(holder[key]))
            case 2 if isinstance(holder, dict):
                holder[rng.choice(_KEYS)] = deepcopy(rng.choice(_VALUES))
            case 3:
                other, place = rng.choice(places)
                holder[key] = deepcopy(other[place])
            case 4:
                depth = rng.choice((3, 150, 199, 230))
                for _ in range(depth):
                    holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}
            case _:
                holder[key] = deepcopy(rng.choice(_VALUES))
    return document


def _places(value: Any) -> Any:
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for key, child in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            yield holder, key
            if isinstance(child, (dict, list)):
                waiting.append(child)


def upgraded_or_not(raw: Any) -> Document | None:
    """Return the upgraded document, checked, or None if the error says what is wrong."""
    before = repr(raw)
    try:
        document = upgraded(raw, 0)
    except CannotUpgrade as error:
        _judged(error, raw)
        return None
    finally:
        assert repr(raw) == before
    VALID.validate(document)
    Session.model_validate(document)
    assert identity(upgraded(raw, 0)) == identity(document)
    return document


def _judged(error: CannotUpgrade, raw: Any) -> None:
    """Check that the place leads to a value, or to where one is missing. Depth and size may show in the result only."""
    assert error.problem
    if KEY in raw or any(word in error.problem for word in ("levels", "64 bits", "finite")):
        return
    for key in error.where[:-1]:
        raw = raw[key]
    assert not error.where or isinstance(raw, dict) or error.where[-1] in range(len(raw))


def there_and_back(document: Document) -> None:
    try:
        back = downgraded(document, 0)
        assert back is not None
        again = upgraded(back, 0)
    except CannotUpgrade as error:
        if "levels" in error.problem:  # agno's files nest deeper than our documents
            return
        raise
    assert identity(again) == identity(document)


FROZEN = frozen()


@seed(1)
@settings(max_examples=rounds(60, 300, 20_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**64))
def test_a_changed_session_becomes_a_valid_document_or_an_error(number: int) -> None:
    rng = Random(number)
    document = upgraded_or_not(mutated(rng, rng.choice(FROZEN)))
    if document is not None:
        there_and_back(document)


@seed(2)
@settings(max_examples=rounds(60, 300, 20_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**64))
def test_a_changed_session_that_was_ours_becomes_a_valid_document_or_an_error(number: int) -> None:
    rng = Random(number)
    document = upgraded(rng.choice(FROZEN), 0)
    document["history"].append({"type": "note", "text": "ours"})
    document["tags"] = ["ours"]
    back = downgraded(document, 0)
    assert back is not None
    assert KEY in back
    upgraded_or_not(mutated(rng, {KEY: back[KEY], "session_id": "s1", "agent_id": "a"} if number % 2 else back))


OURS = [upgraded(raw, 0) for raw in FROZEN] + [
    json.loads(path.read_bytes()) for path in sorted((FOLDER.parent / "schema-1").glob("*.expected"))
]


@seed(4)
@settings(max_examples=rounds(60, 300, 20_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**64))
def test_any_document_of_version_1_survives_the_round_trip(number: int) -> None:
    rng = Random(number)
    changed = mutated(rng, rng.choice(OURS))
    try:
        document = checked(changed)
    except CannotUpgrade:
        with pytest.raises(CannotUpgrade):
            downgraded(changed, 0)
    else:
        there_and_back({**document, "history": document.pop("history")})


@seed(3)
@settings(max_examples=rounds(30, 150, 20_000), deadline=None, suppress_health_check=list(HealthCheck))
@given(sessions)
def test_a_generated_session_survives_the_round_trip(raw: Any) -> None:
    document = upgraded_or_not(raw)
    if document is not None:
        there_and_back(document)


@pytest.mark.parametrize("depth", [150, 190])
def test_deeply_nested_values_are_upgraded(depth: int) -> None:
    state: Any = "deep"
    for _ in range(depth):
        state = {"a": state}
    document = upgraded(session(session_data={"session_state": state}), 0)
    assert document["history"][0]["session_state"] == state


def test_members_of_members_are_upgraded_as_deep_as_a_document_may_nest() -> None:
    team: dict[str, Any] = run(message("user", "hi"), message("assistant", "yes"))
    for number in range(90):
        team = {"run_id": f"t{number}", "team_id": "t", "member_responses": [team]}
    document = upgraded(session(team), 0)
    assert json.dumps(document).count('"member_runs"') == 90


def test_values_nested_deeper_than_a_document_allows_are_refused() -> None:
    state: Any = "deep"
    for _ in range(400):
        state = [state]
    with pytest.raises(CannotUpgrade, match="at most 200 levels"):
        upgraded(session(session_data={"session_state": {"a": state}}), 0)

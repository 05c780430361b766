"""The models: which keys they keep and leave out, and the order in which they write them."""

import doctest
from datetime import UTC, datetime, timedelta, timezone
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from localstore import ContentPart, Message, Metrics, Run, Session, Step, ToolCall, Update, errors
from localstore.format import values, yaml_reader, yaml_writer
from localstore.format.values import to_json_value
from localstore.models import excerpt, session_info, times
from localstore.models import session as session_models
from localstore.models.session import Entry
from localstore.models.times import now, time_text

HISTORY: list[dict[str, Any]] = [
    {"type": "update", "created_at": "2026-11-22T07:01:20.123Z", "session_state": {"a": None}},
    {"type": "note", "anything": [None, {"b": None}]},
    {"type": "run", "run_id": "r1", "created_at": "2026-11-22T07:01:21.123Z", "status": "completed"},
]


@pytest.mark.parametrize(
    "module",
    [errors, excerpt, session_models, session_info, times, values, yaml_reader, yaml_writer],
    ids=lambda module: module.__name__,
)
def test_the_examples_in_the_docstrings_run(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_keys_of_a_run_have_the_order_of_the_format() -> None:
    run = Run(
        status="error",
        error="no",
        rating_note="n",
        rating="bad",
        metrics=Metrics(duration_seconds=0.5, output_tokens=2, input_tokens=1),
        model="m",
        session_data={"d": 1},
        session_summary="s",
        session_state={"c": 1},
        instructions="i",
        steps=[Step(name="s")],
        member_runs=[Run(run_id="r2", tool_call_id="t", agent_id="a")],
        messages=[Message(content="hi", role="user")],
        input={"q": 1},
    )
    written = to_json_value(run)
    assert list(written) == [
        *("type", "run_id", "created_at", "input", "messages", "member_runs", "steps", "instructions"),
        *("session_state", "session_summary", "session_data", "model", "metrics"),
        *("rating", "rating_note", "error", "status"),
    ]
    assert list(written["metrics"]) == ["input_tokens", "output_tokens", "duration_seconds"]
    assert list(written["messages"][0]) == ["role", "content"]
    assert list(written["member_runs"][0])[:4] == ["type", "run_id", "agent_id", "tool_call_id"]


def test_error_and_status_come_after_unknown_keys() -> None:
    run = Run.model_validate({"run_id": "r1", "error": "no", "status": "error", "flavour": "mint", "colour": None})
    assert list(to_json_value(run))[-4:] == ["flavour", "colour", "error", "status"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Message, {"role": "user", "content": "hi", "mood": None, "runs": [1]}),
        (ToolCall, {"name": "f", "arguments": {"x": None}, "type": "function"}),
        (ContentPart, {"type": "image", "url": "u", "detail": {"a": [None]}}),
        (Metrics, {"input_tokens": 3, "audio_tokens": None}),
        (Step, {"name": "s", "created_at": "t", "input": None, "retries": 2}),
        (Update, {"type": "update", "created_at": "t", "by": "hand"}),
        (Entry, {"type": "note", "text": "x", "deep": {"y": [None]}}),
        (
            Session,
            {"schema_version": 1, "session_id": "s", "kind": "team", "created_at": "t", "model_config": 1, "copy": [2]},
        ),
    ],
)
def test_keys_that_a_record_does_not_know_are_kept(kind: Any, value: dict[str, Any]) -> None:
    known_as_none = {"input"}
    expected = {key: item for key, item in value.items() if item is not None or key not in known_as_none}
    assert to_json_value(kind.model_validate(value)) == expected


def test_a_field_without_a_value_is_absent_and_nulls_in_user_data_stay() -> None:
    run = Run(run_id="r1", session_state={"a": None, "b": [None, {"c": None}]}, input={"d": None})
    written = to_json_value(run)
    assert written["session_state"] == {"a": None, "b": [None, {"c": None}]}
    assert written["input"] == {"d": None}
    assert not {"messages", "model", "error", "agent_id", "instructions"} & written.keys()


def test_the_history_becomes_runs_updates_and_entries_of_other_types() -> None:
    session = Session(session_id="s", history=HISTORY)  # type: ignore[arg-type]
    assert [type(entry) for entry in session.history] == [Update, Entry, Run]
    assert to_json_value(session.history) == HISTORY
    assert [run.run_id for run in session.runs] == ["r1"]


def test_a_header_holds_neither_history_nor_state_nor_empty_fields() -> None:
    session = Session(session_id="s", session_state={"a": 1}, instructions="i", history=HISTORY)  # type: ignore[arg-type]
    assert set(to_json_value(session)) == {"schema_version", "session_id", "kind", "created_at"}
    session.tags, session.metadata, session.name = ["t"], {"m": None}, "n"
    assert set(to_json_value(session)) >= {"tags", "metadata", "name"}


def test_the_current_state_leaves_out_what_is_empty() -> None:
    assert Session(session_id="s").current() == {}
    assert Session(session_id="s", session_summary=0, instructions="").current() == {"session_summary": 0}
    assert Session(session_id="s", session_state={"a": 1}).current() == {"session_state": {"a": 1}}


def test_a_new_record_has_an_id_and_a_time_of_its_own() -> None:
    assert Run().run_id != Run().run_id
    assert Session().session_id != Session().session_id
    moment = Run().created_at
    assert moment is not None
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 22, 7, 1, 20, 123999, tzinfo=UTC),
        datetime(2026, 11, 22, 12, 31, 20, 123000, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
    ids=["utc", "elsewhere"],
)
def test_a_moment_becomes_utc_text_with_milliseconds(moment: datetime) -> None:
    assert time_text(moment) == "2026-11-22T07:01:20.123Z"
    assert to_json_value(Run(created_at=moment))["created_at"] == "2026-11-22T07:01:20.123Z"
    assert Run(created_at=moment).created_at == datetime(2026, 11, 22, 7, 1, 20, 123000, tzinfo=UTC)
    assert len(now()) == len("2026-11-22T07:01:20.123Z")


@pytest.mark.parametrize(
    ("run", "question", "answer"),
    [
        (Run(), "", ""),
        (Run(input="from the input"), "from the input", ""),
        (Run(input={"not": "text"}), "", ""),
        (Run(messages=[Message(role="assistant", content="greeting")]), "", "greeting"),
        (
            Run(
                input="long",
                messages=[
                    Message(role="system", content="s"),
                    Message(role="user", content="first"),
                    Message(role="assistant", tool_calls=[ToolCall(name="f")]),
                    Message(role="tool", content="t", tool_call_id="1"),
                    Message(role="user", content="second"),
                    Message(role="assistant", content="last"),
                    Message(role="tool", content="t"),
                ],
            ),
            "first",
            "last",
        ),
    ],
)
def test_question_and_answer_of_a_run(run: Run, question: str, answer: str) -> None:
    assert (run.question, run.answer) == (question, answer)


def test_the_text_of_a_message_is_that_of_its_parts() -> None:
    parts = [ContentPart(type="text", text="a"), ContentPart(type="image", url="u"), ContentPart(type="text", text="b")]
    assert Message(role="user", content=parts).text == "a\nb"
    assert Message(role="user", content="c").text == "c"
    assert Message(role="assistant").text == ""


@pytest.mark.parametrize("kind", ["agent", "team", "workflow"])
def test_the_entity_is_that_of_the_kind(kind: Any) -> None:
    session = Session(session_id="s", kind=kind, agent_id="agent", team_id="team", workflow_id="workflow")
    assert session.entity_id == kind


def test_the_messages_of_the_last_runs() -> None:
    runs = [Run(run_id=str(number), messages=[Message(role="user", content=str(number))]) for number in range(4)]
    session = Session(session_id="s", history=[*runs, Update(session_state={"a": 1})])
    texts = {count: [message.text for message in session.messages(count)] for count in (None, 0, 1, 3, 4, 99)}
    everything = ["0", "1", "2", "3"]
    assert texts == {None: everything, 0: [], 1: ["3"], 3: ["1", "2", "3"], 4: everything, 99: everything}


def test_a_value_of_the_wrong_type_is_refused_at_once() -> None:
    run = Run()
    with pytest.raises(ValidationError):
        run.session_state = [1]  # type: ignore[assignment]
    with pytest.raises(ValidationError):
        Message(role=None)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Session(session_id="s", kind="robot")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-11-22T08:01:20.123456+01:00", "2026-11-22T07:01:20.123Z"),
        ("2026-11-22T07:01:20Z", "2026-11-22T07:01:20.000Z"),
        ("2026-11-22T07:01:20.123Z", "2026-11-22T07:01:20.123Z"),
    ],
)
def test_a_time_as_text_is_normalised_if_it_is_unambiguous(given: str, kept: str) -> None:
    assert to_json_value(Run(created_at=given))["created_at"] == kept

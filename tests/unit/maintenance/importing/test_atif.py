"""Trajectories in ATIF become sessions of a store; those that localstore exported become what they were."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore import JsonStorage, Run, Session
from localstore.exporting import atif_lines
from tests.effort import rounds
from tests.unit.exporting.conversations import full, texts
from tests.unit.maintenance.importing.conftest import Import
from tests.unit.raw import parse

_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def any_value(draw: st.DrawFn) -> Any:
    """Draw any JSON value. Hypothesis describes a composite strategy by its name alone, which keeps errors short."""
    return draw(_values)


values = any_value()
ids = st.sampled_from(["c1", "c2", "c3", ""])
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}, optional={"mood": values}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["image", "audio", "file", "data"])},
        optional={"url": texts, "path": texts, "mime_type": st.sampled_from(["image/png", "audio/wav", "text/plain"])},
    ),
)
calls = st.fixed_dictionaries(
    {"name": texts, "arguments": st.dictionaries(texts, values, max_size=2) | texts},
    optional={"id": ids, "mood": values},
)
_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system", "developer", "robot"])},
    optional={
        "content": texts | st.lists(parts, max_size=3),
        "name": texts,
        "tool_calls": st.lists(calls, max_size=3),
        "tool_call_id": ids,
        "reasoning": texts | values,
        "imported": st.dictionaries(texts, values, max_size=2),
    },
)


ITEMS: list[dict[str, Any]] = [
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "7:58"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "7:58"}]},
    {"type": "checkpoint", "values": {}},
]
"""What other frameworks store."""


@st.composite
def message(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a message."""
    return draw(_messages)


def runs(members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return runs, with one of these lists of member runs."""
    return st.fixed_dictionaries(
        {"type": st.just("run"), "run_id": st.uuids().map(str), "created_at": st.just("2026-11-22T07:01:20.123Z")},
        optional={
            "agent_id": texts,
            "tool_call_id": ids,
            "input": values,
            "messages": st.lists(message(), max_size=5),
            "member_runs": members,
            "session_state": st.dictionaries(texts, values, max_size=2),
            "instructions": texts,
            "model": texts,
            "metrics": st.fixed_dictionaries({}, optional={"input_tokens": st.integers(0, 99), "other": values}),
            "rating": st.sampled_from(["good", "odd"]),
            "status": st.sampled_from(["completed", "unfinished", "error", "odd"]),
        },
    )


@st.composite
def member_runs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw a list of member runs."""
    return draw(st.lists(runs(st.just([])), max_size=2))


entries = st.one_of(
    runs(member_runs()),
    st.fixed_dictionaries(
        {"type": st.just("update"), "created_at": st.just("2026-11-22T07:01:20.123Z"), "session_summary": texts}
    ),
    st.fixed_dictionaries({"type": st.just("note"), "text": texts}),
    st.fixed_dictionaries(
        {
            "type": st.just("item"),
            "item_id": st.uuids().map(str),
            "created_at": st.just("2026-11-22T07:01:20.123Z") | texts,
            "data": message() | values | st.sampled_from(ITEMS),
        }
    ),
)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return histories in which no two entries are the same."""
    history: list[dict[str, Any]] = draw(
        st.lists(entries, max_size=4, unique_by=lambda entry: entry.get("run_id", repr(entry)))
    )
    return history


def export(store: JsonStorage, path: Path) -> Path:
    path.write_text("".join(atif_lines(store.get_all_sessions())), encoding="utf-8")
    return path


@settings(max_examples=rounds(40, 200, 5000), deadline=None)
@given(history=histories(), name=texts)
def test_an_import_of_the_export_gives_the_documents_back(
    tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, Any]], name: str
) -> None:
    folder = tmp_path_factory.mktemp("atif")
    store, other = (JsonStorage(folder / name, durability="relaxed") for name in ("store", "other"))
    header = {"session_id": "s1", "kind": "team", "team_id": "crew", "user_id": "alice", "name": name, "mood": [1]}
    store.upsert(Session.model_validate({**header, "created_at": "2026-11-22T07:00:00.000Z", "history": history}))
    path = export(store, folder / "talks.jsonl")
    result = other.import_from("atif", path)
    assert (result.added, result.skipped) == (("s1",), ())
    assert other.path("s1").read_bytes() == store.path("s1").read_bytes()
    assert store.import_from("atif", path).unchanged == 1


def test_a_session_with_every_field_comes_back(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    origin = JsonStorage(tmp_path / "origin")
    origin.upsert(full())
    origin.append("deep", Run.model_validate({"messages": [{"role": "user", "content": "x", "deep": _nested(190)}]}))
    result = import_twice("atif", export(origin, tmp_path / "talks.jsonl"))
    assert set(result.added) == {"s1", "deep"}
    for session_id in result.added:
        assert store.path(session_id).read_bytes() == origin.path(session_id).read_bytes()


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


FOREIGN: dict[str, Any] = {
    "schema_version": "ATIF-v1.6",
    "session_id": "run-1",
    "agent": {"name": "harbor", "version": "1.0", "model_name": "gpt-5"},
    "notes": "a note",
    "steps": [
        {"step_id": 1, "source": "system", "message": "Be brief."},
        {"step_id": 2, "source": "user", "message": "Which train?", "timestamp": "2026-11-22T07:01:20Z"},
        {
            "step_id": 3,
            "source": "agent",
            "message": "Let me look.",
            "reasoning_content": "Hm.",
            "model_name": "gpt-5-mini",
            "tool_calls": [{"tool_call_id": "c1", "function_name": "look", "arguments": {"to": "Linz"}}],
            "observation": {
                "results": [
                    {
                        "source_call_id": "c1",
                        "content": "7:58",
                        "subagent_trajectory_ref": [{"trajectory_id": "sub-1"}],
                    }
                ]
            },
            "metrics": {"prompt_tokens": 10, "completion_tokens": 3, "cost_usd": 0.1},
            "extra": {"x": 1},
        },
        {"step_id": 4, "source": "agent", "message": "7:58.", "metrics": {"prompt_tokens": 20}},
    ],
    "subagent_trajectories": [
        {
            "schema_version": "ATIF-v1.6",
            "trajectory_id": "sub-1",
            "agent": {"name": "scout", "version": "1"},
            "steps": [
                {"step_id": 1, "source": "user", "message": "Look!"},
                {"step_id": 2, "source": "agent", "message": "7:58"},
            ],
        }
    ],
}


def test_a_trajectory_of_another_program(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    (tmp_path / "trajectory.json").write_text(json.dumps(FOREIGN, indent=2))
    result = import_twice("atif", tmp_path / "trajectory.json")
    assert (result.added, result.runs) == (("run-1",), 1)
    session = store.read("run-1")
    assert session is not None
    (run,) = session.runs
    assert (session.agent_id, session.metadata["notes"]) == ("harbor", "a note")
    assert [message.role for message in run.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert (run.question, run.answer, run.model) == ("Which train?", "7:58.", "gpt-5")
    assert run.metrics is not None
    assert (run.metrics.input_tokens, run.metrics.output_tokens) == (30, 3)
    extra = run.messages[2].model_extra or {}
    assert (extra["reasoning"], extra["imported"]["metrics"]["cost_usd"]) == ("Hm.", 0.1)
    member = (run.member_runs or [])[0]
    assert (member.run_id, member.agent_id, member.tool_call_id, member.answer) == ("sub-1", "scout", "c1", "7:58")


def test_an_export_that_was_changed_is_read_like_any_other(tmp_path: Path, store: JsonStorage) -> None:
    """Steps that another program had removed made the rest unreadable, or gave runs without their messages."""
    origin = JsonStorage(tmp_path / "origin")
    origin.upsert(full())
    trajectory = json.loads(export(origin, tmp_path / "talks.jsonl").read_text())
    del trajectory["steps"][1]
    (tmp_path / "talks.jsonl").write_text(json.dumps(trajectory))
    result = store.import_from("atif", tmp_path / "talks.jsonl")
    assert result.added == ("s1",)
    session = store.read("s1")
    assert session is not None
    assert session.runs[0].question == "Which train?"


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 7},
        {"schema_version": None},
        {"steps": [7, None, {"source": 7, "message": {"a": 1}}]},
        {"steps": [{"source": "agent", "message": None, "tool_calls": [1, {"arguments": [1]}], "observation": [1]}]},
        {"steps": [{"source": "user", "message": [{"type": 1, "source": {"path": 1}}, 7]}], "agent": []},
        {"extra": {"localstore": {"header": {"schema_version": 1, "session_id": "x", "kind": "robot"}}}},
        {"extra": {"localstore": {"header": {"schema_version": 1, "session_id": "x", "tags": 5}}}, "steps": []},
        {
            "steps": [
                {"message": "x", "extra": {"localstore": {"run": {"type": "run", "run_id": "r", "messages": 10**9}}}}
            ]
        },
        {"subagent_trajectories": [7, {"trajectory_id": 5, "steps": [{"source": "agent", "message": "x"}]}]},
        {"session_id": 5, "trajectory_id": ["x"]},
    ],
)
def test_wrong_values_do_not_end_the_import(
    tmp_path: Path, store: JsonStorage, import_twice: Import, change: dict[str, Any]
) -> None:
    good = {**FOREIGN, "session_id": "good"}
    (tmp_path / "a.jsonl").write_text(
        json.dumps(FOREIGN | change) + "\n" + json.dumps(good) + '\n{"schema_version": "AT'
    )
    result = import_twice("atif", tmp_path)
    assert "good" in result.added
    assert len(result.added) == 2 or len(result.skipped) == 2
    for session_id in result.added:
        assert parse(store.path(session_id))["history"]

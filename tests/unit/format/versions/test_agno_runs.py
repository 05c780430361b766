"""Runs and steps of agno are converted: ids, contents, members, and the wrappers of old memories."""

from typing import Any
from uuid import UUID

import pytest

from localstore.format.versions import CannotUpgrade
from localstore.format.versions.agno import up
from tests.unit.format.versions.sessions_of_agno import message, run, session

QUESTION, ANSWER = message("user", "hi"), message("assistant", "yes")


def entry(raw: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = up(session(raw))["history"][0]
    return value


def test_values_of_the_header_and_the_answer_are_not_repeated() -> None:
    assert entry(run(QUESTION, ANSWER, content="yes", content_type="str", agent_name="A", tools=[], events=None)) == {
        "type": "run",
        "run_id": "r1",
        "created_at": "2026-11-22T07:10:32.000Z",
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}],
        "status": "completed",
    }


def test_everything_else_is_kept() -> None:
    more = {"content": {"a": 1}, "content_type": "Answer", "session_id": "s2", "tools": [{"result": None}], "odd": 0}
    assert more.items() <= entry(run(QUESTION, ANSWER, **more)).items()


def test_a_name_that_the_format_uses_gets_a_prefix() -> None:
    assert entry(run(QUESTION, steps=3, type="x", agno_type="y"))["agno_steps"] == 3
    assert entry(run(QUESTION, type="x"))["agno_type"] == "x"


def test_a_missing_or_repeated_id_is_derived_from_the_place() -> None:
    document = up(session(run(QUESTION), run(QUESTION), run(QUESTION, run_id=None)))
    first, second, third = (one["run_id"] for one in document["history"])
    assert first == "r1"
    assert UUID(second).version == UUID(third).version == 5
    assert second != third
    assert up(session(run(QUESTION), run(QUESTION), run(QUESTION, run_id=None))) == document


def test_instructions_are_written_when_they_change() -> None:
    def said(text: str, number: int) -> dict[str, Any]:
        system = message("system", text)
        return run(system, QUESTION, ANSWER, run_id=f"r{number}")

    history = up(session(said("a", 1), said("a", 2), said("b", 3)))["history"]
    assert [one.get("instructions") for one in history] == ["a", None, "b"]
    assert all(one["messages"][0]["role"] == "user" for one in history)


def test_a_system_message_that_is_more_than_text_stays_a_message() -> None:
    system = message("system", "a", images=[{"url": "x"}])
    assert entry(run(system, QUESTION))["messages"][0]["role"] == "system"


def test_the_metrics_of_the_only_answer_are_those_of_the_run() -> None:
    metrics = {"input_tokens": 3, "time": 0.5}
    only = entry(run(QUESTION, {**ANSWER, "metrics": metrics}, metrics={"input_tokens": [3], "time": [0.5]}))
    assert only["metrics"] == {"input_tokens": 3, "duration_seconds": 0.5}
    assert "metrics" not in only["messages"][1]
    two = entry(run(QUESTION, {**ANSWER, "metrics": metrics}, metrics={"input_tokens": [3, 3], "time": [0.5, 0.5]}))
    assert two["messages"][1]["metrics"] == {"input_tokens": 3, "duration_seconds": 0.5}


def test_runs_in_the_wrappers_of_an_old_memory_are_converted() -> None:
    inside = run(QUESTION, ANSWER)
    assert entry({"message": QUESTION, "messages": [QUESTION, ANSWER], "response": inside}) == entry(inside)
    alone = {key: value for key, value in inside.items() if key != "messages"}
    assert entry({"messages": [QUESTION, ANSWER], "response": alone}) == entry(inside)
    assert entry({"message": message("user", "else"), "response": inside})["agno_message"]["content"] == "else"
    assert entry({"input": {"topic": "x"}, "response": alone})["input"] == {"topic": "x"}


def test_which_call_asked_for_which_member() -> None:
    calls = [
        {"id": f"c{number}", "function": {"name": "transfer_task_to_member", "arguments": f'{{"member_id": "{name}"}}'}}
        for number, name in enumerate(("b", "a", "a"))
    ]
    members = [{"run_id": f"m{number}", "agent_id": name} for number, name in enumerate(("a", "b", "a", "a"))]
    told = entry(run(QUESTION, message("assistant", None, tool_calls=calls), member_responses=members))
    assert [member.get("tool_call_id") for member in told["member_runs"]] == ["c1", "c0", "c2", None]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"run_id": 5}, ("run_id",)),
        ({"messages": {}}, ("messages",)),
        ({"messages": ["x"]}, ("messages", 0)),
        ({"messages": [{"content": "x"}]}, ("messages", 0)),
        ({"messages": [{"role": "user", "content": 5}]}, ("messages", 0, "content")),
        ({"messages": [{"role": "user", "tool_calls": [{}]}]}, ("messages", 0, "tool_calls", 0)),
        ({"messages": [{"role": "user", "created_at": "x"}]}, ("messages", 0, "created_at")),
        ({"messages": [], "created_at": []}, ("created_at",)),
        ({"metrics": []}, ("metrics",)),
        ({"metrics": {"input_tokens": ["x"]}}, ("metrics", "input_tokens")),
        ({"metrics": {"input_tokens": 1.5}}, ("metrics", "input_tokens")),
        ({"status": 5}, ("status",)),
        ({"model": []}, ("model",)),
        ({"member_responses": [{"messages": 5}]}, ("member_responses", 0, "messages")),
        ({"step_responses": [[{}, 5]]}, ("step_responses", 0, 1)),
        ({"step_responses": [{"success": "yes"}]}, ("step_responses", 0, "success")),
        ({"step_responses": [{"response": {"messages": 5}}]}, ("step_responses", 0, "response", "messages")),
        (
            {"step_responses": [{"parallel_step_outputs": {"a": 5}}]},
            ("step_responses", 0, "parallel_step_outputs", "a"),
        ),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(change: Any, where: tuple[str | int, ...]) -> None:
    with pytest.raises(CannotUpgrade) as caught:
        up(session(run(QUESTION), {**run(QUESTION), **change}))
    assert caught.value.where == ("memory", "runs", 1, *where)

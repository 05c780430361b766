"""The header and the state of a session of agno are converted, and converted back."""

from typing import Any

import pytest

from localstore.format.versions import CannotUpgrade
from localstore.format.versions.agno import down, up
from tests.unit.format.versions.sessions_of_agno import message, run, session

ASKED = run(message("user", "hi"), message("assistant", "yes"))


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        ({"session_id": None}, ("session_id",), "the id of the session"),
        ({"session_id": ""}, ("session_id",), "the id of the session"),
        ({"session_id": 5}, ("session_id",), "text"),
        ({"user_id": 5}, ("user_id",), "text"),
        ({"agent_id": {}}, ("agent_id",), "text"),
        ({"memory": []}, ("memory",), "a mapping"),
        ({"memory": {"runs": {}}}, ("memory", "runs"), "a list of runs"),
        ({"memory": {"runs": [5]}}, ("memory", "runs", 0), "a run"),
        ({"memory": {"summaries": []}}, ("memory", "summaries"), "a mapping"),
        ({"session_data": "x"}, ("session_data",), "a mapping"),
        ({"session_data": {"session_state": []}}, ("session_data", "session_state"), "a mapping"),
        ({"session_data": {"session_name": 5}}, ("session_data", "session_name"), "text"),
        ({"created_at": "today"}, ("created_at",), "a time in seconds since 1970"),
        ({"created_at": True}, ("created_at",), "a time in seconds since 1970"),
        ({"updated_at": 10**15}, ("updated_at",), "a time in seconds since 1970"),
        ({"other": float("nan")}, ("other",), "a finite number"),
        ({"other": [2**64]}, ("other", 0), "a whole number of at most 64 bits"),
        ({"other": {"a": "\ud800"}}, ("other", "a"), "text without lone surrogates"),
        ({"other": {1: 2}}, ("other",), "keys that are text"),
        ({"other": object()}, ("other",), "text, a number, a list or a mapping, not object"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(
    change: dict[str, Any], where: tuple[str | int, ...], problem: str
) -> None:
    with pytest.raises(CannotUpgrade) as caught:
        up(session(**change))
    assert (caught.value.where, caught.value.problem) == (where, f"expected {problem}")


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_a_document_that_is_not_a_mapping_is_refused(document: Any) -> None:
    with pytest.raises(CannotUpgrade):
        up(document)


def test_a_session_begins_with_its_first_message_because_agno_stores_its_last_write() -> None:
    document = up(session(ASKED, created_at=1_795_331_500))
    assert document["created_at"] == "2026-11-22T07:10:32.000Z"


def test_a_session_without_any_time_is_as_old_as_time() -> None:
    assert up(session(created_at=None, updated_at=None))["created_at"] == "1970-01-01T00:00:00.000Z"


def test_state_summary_and_the_rest_of_the_data_come_last_in_one_update() -> None:
    document = up(
        session(
            ASKED,
            memory={"runs": [ASKED], "summaries": {"default": {"s1": {"summary": "a"}, "s2": {"summary": "b"}}}},
            session_data={"session_name": "Trip", "session_state": {"n": 1}, "images": []},
        )
    )
    assert document["name"] == "Trip"
    assert document["memory"] == {"summaries": {"default": {"s2": {"summary": "b"}}}}
    assert document["history"][1:] == [
        {
            "type": "update",
            "created_at": "2026-11-22T07:10:40.000Z",
            "session_state": {"n": 1},
            "session_summary": {"summary": "a"},
            "session_data": {"images": []},
        }
    ]


def test_the_copies_of_members_runs_are_left_out() -> None:
    member = {"run_id": "m1", "agent_id": "m", "messages": [message("user", "do"), message("assistant", "done")]}
    leader = {"run_id": "t1", "team_id": "t", "member_responses": [member], "content": "all done"}
    talk = {"s1": {"member_interactions": [{"member_name": "M", "task": "do", "response": member}], "text": None}}
    raw = {"session_id": "s1", "team_id": "t", "memory": {"runs": [member, leader], "team_context": talk}}
    document = up(raw)
    assert [entry["run_id"] for entry in document["history"]] == ["t1"]
    assert [inner["run_id"] for inner in document["history"][0]["member_runs"]] == ["m1"]
    assert document["memory"]["team_context"]["s1"]["member_interactions"][0]["response"] == {"run_id": "m1"}
    told = down(document)["memory"]["team_context"]["s1"]["member_interactions"][0]["response"]
    assert [one["content"] for one in told["messages"]] == ["do", "done"]


def test_our_runs_and_state_are_in_the_file_that_agno_reads() -> None:
    document = up(session(ASKED, session_data={"session_state": {"n": 1}}))
    document["name"] = "New name"
    document["metadata"] = {"project": "x"}
    document["tags"] = ["t"]
    document["history"] += [
        {
            "type": "run",
            "run_id": "ours",
            "created_at": "2026-11-22T08:00:00.130Z",
            "messages": [
                {"role": "user", "content": "add"},
                {"role": "assistant", "tool_calls": [{"id": "c1", "name": "add", "arguments": {"a": 1}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "2"},
                {"role": "assistant", "content": "It is 2."},
            ],
            "session_state": {"n": 2},
            "metrics": {"input_tokens": 3, "duration_seconds": 0.5},
            "status": "completed",
        },
        {
            "type": "run",
            "run_id": "asked",
            "created_at": "2026-11-22T08:01:00.000Z",
            "messages": [{"role": "user", "content": "and now?"}],
            "status": "unfinished",
        },
    ]
    back = down(document)
    assert back["session_data"] == {"session_state": {"n": 2}, "session_name": "New name"}
    assert back["extra_data"] == {"project": "x"}
    first, ours, asked = back["memory"]["runs"]
    assert [one["status"] for one in (first, ours, asked)] == ["COMPLETED", "COMPLETED", "RUNNING"]
    assert {ours["agent_id"], asked["session_id"], ours["content"]} == {"a", "s1", "It is 2."}
    assert ours["messages"][1]["tool_calls"] == [
        {"type": "function", "id": "c1", "function": {"name": "add", "arguments": '{"a": 1}'}}
    ]
    assert ours["messages"][3]["metrics"] == {"input_tokens": 3, "time": 0.5}
    assert ours["metrics"] == {"input_tokens": [3], "time": [0.5]}
    assert up(back) == document


def test_later_changes_in_the_file_of_agno_win() -> None:
    document = up(session(ASKED))
    document["history"].append({"type": "note", "text": "ours"})
    document["tags"] = ["t"]
    back = down(document)
    back["memory"]["runs"].append(run(message("user", "more", 1_795_331_500), run_id="r2"))
    again = up(back)
    assert [entry["run_id"] for entry in again["history"]] == ["r1", "r2"]
    assert again["tags"] == ["t"]


def test_only_documents_of_version_1_are_converted_back() -> None:
    with pytest.raises(CannotUpgrade, match="schema_version"):
        down(session())

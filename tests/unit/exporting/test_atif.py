"""The export as ATIF: trajectories that other tools accept."""

import json
from typing import Any

from localstore import Message, Metrics, Run, Session, ToolCall, Update
from localstore.exporting import atif_lines
from localstore.models.session import Entry
from tests.unit.exporting.conversations import BEGAN, assistant, full, run, session, tool, user


def item(item_id: str, data: Any) -> Entry:
    return Entry.model_validate({"type": "item", "item_id": item_id, "created_at": BEGAN, "source": "x", "data": data})


def talk_of_a_framework() -> Session:
    """Return what the OpenAI Agents SDK stores of a turn with two tool calls, and what is no conversation."""
    calls = [
        {"type": "function_call", "call_id": f"c{n}", "name": "look", "arguments": '{"to": "Linz"}'} for n in (1, 2)
    ]
    results = [{"type": "function_call_output", "call_id": f"c{n}", "output": f"7:5{n}"} for n in (1, 2, 3)]
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "The one at 7:58."}]}
    values: list[Any] = [{"role": "user", "content": "Which train?"}, *calls, *results, said, {"type": "checkpoint"}]
    entries: list[Any] = [item(f"i{number}", value) for number, value in enumerate(values)]
    return session(*entries[:4], Update(created_at=BEGAN, session_state={"n": 1}), *entries[4:])


def exported(*sessions: Session) -> list[dict[str, Any]]:
    return [json.loads(line) for line in "".join(atif_lines(sessions)).splitlines()]


def test_results_are_in_the_step_of_their_calls() -> None:
    calls = [ToolCall(id="c1", name="look", arguments={"to": "Linz"}), ToolCall(id="c2", name="wait")]
    talk = session(
        run(
            "r1",
            user("Which train?"),
            assistant("Let me look.", *calls),
            tool("c1", "7:58"),
            tool("c2", ""),
            assistant("The one at 7:58."),
            model="gpt-5",
            metrics=Metrics(input_tokens=10, output_tokens=3, cached_tokens=2, duration_seconds=0.5),
        ),
        agent_id="guide",
    )
    (trajectory,) = exported(talk)
    first, second, third = trajectory["steps"]
    assert (trajectory["schema_version"], trajectory["session_id"]) == ("ATIF-v1.8", "s1")
    assert trajectory["agent"] == {"name": "guide", "version": "unknown", "model_name": "gpt-5"}
    assert (first["source"], first["message"], first["timestamp"]) == (
        "user",
        "Which train?",
        "2026-11-22T07:01:20.123Z",
    )
    assert second["tool_calls"][0] == {"tool_call_id": "c1", "function_name": "look", "arguments": {"to": "Linz"}}
    assert second["observation"]["results"][0] == {"source_call_id": "c1", "content": "7:58"}
    assert [result["source_call_id"] for result in second["observation"]["results"]] == ["c1", "c2"]
    assert third["metrics"] == {
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "cached_tokens": 2,
        "extra": {"duration_seconds": 0.5},
    }
    assert [step["step_id"] for step in trajectory["steps"]] == [1, 2, 3]


def test_the_run_of_a_member_is_the_trajectory_of_a_subagent() -> None:
    member = run("m1", user("Look!"), assistant("I looked."), agent_id="scout", tool_call_id="c1")
    again = run("m1", user("Look again!"), agent_id="scout")
    asked = assistant(None, ToolCall(id="c1", name="delegate"))
    (trajectory,) = exported(
        session(run("r1", user("Go."), asked, tool("c1", "I looked."), member_runs=[member, again]))
    )
    first, second = trajectory["subagent_trajectories"]
    assert (first["trajectory_id"], second["trajectory_id"]) == ("m1", "m1:2")
    assert first["agent"]["name"] == "scout"
    assert [step["message"] for step in first["steps"]] == ["Look!", "I looked."]
    (result,) = trajectory["steps"][1]["observation"]["results"]
    assert result["subagent_trajectory_ref"] == [{"trajectory_id": "m1"}]


def test_every_field_of_a_step_is_one_that_atif_knows_for_its_source() -> None:
    """A validator refuses a step of the user with a model, and results of calls that the step does not have."""
    odd = run("r9", Message(role="developer", content="x"), tool("nowhere", "lost"), assistant("a"), tool("c1", "late"))
    for trajectory in exported(
        full(), talk_of_a_framework(), session(odd, Run(run_id="empty")), session(session_id="n")
    ):
        assert trajectory["steps"]
        for number, step in enumerate(trajectory["steps"], 1):
            assert step["step_id"] == number
            assert step["source"] in ("user", "agent", "system")
            assert isinstance(step["message"], (str, list))
            agent_only = {"model_name", "reasoning_content", "tool_calls", "metrics"}
            assert step["source"] == "agent" or not agent_only & step.keys()
            ids = {call["tool_call_id"] for call in step.get("tool_calls", ())}
            results = step.get("observation", {}).get("results", [])
            assert all(result["source_call_id"] in ids for result in results if "source_call_id" in result)
            for part in step["message"] if isinstance(step["message"], list) else ():
                assert part.keys() in ({"type", "text"}, {"type", "source"})


def test_what_another_framework_stored_is_in_steps_like_a_run() -> None:
    """Each item was an empty step of the system, and its message stood in `extra` alone."""
    (trajectory,) = exported(talk_of_a_framework())
    steps = trajectory["steps"]
    assert [(step["source"], step["message"]) for step in steps] == [
        ("user", "Which train?"),
        ("agent", ""),
        ("agent", ""),
        ("agent", ""),
        ("agent", "The one at 7:58."),
    ]
    assert all(step["timestamp"] == BEGAN for step in steps)
    call = {"tool_call_id": "c1", "function_name": "look", "arguments": {"to": "Linz"}}
    assert steps[1]["tool_calls"] == [call]
    observed = [step.get("observation", {}).get("results") for step in steps]
    assert observed[1:3] == [[{"source_call_id": f"c{n}", "content": f"7:5{n}"}] for n in (1, 2)]
    assert observed[3] == [{"content": "7:53"}]  # no step has its call
    assert [one["at"] for one in trajectory["extra"]["localstore"]["entries"]] == [*range(9)]


def test_a_session_without_a_conversation_has_one_step_and_no_more() -> None:
    """A trajectory has at least one step, even if nothing was said."""
    (trajectory,) = exported(session(item("i1", {"type": "checkpoint"}), item("i2", [1])))
    (step,) = trajectory["steps"]
    assert (step["source"], step["message"]) == ("system", "")

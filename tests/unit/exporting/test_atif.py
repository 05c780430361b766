"""The export as ATIF: trajectories that other tools accept."""

import json
from typing import Any

from localstore import Message, Metrics, Run, Session, ToolCall
from localstore.exporting import atif_lines
from tests.unit.exporting.conversations import assistant, full, run, session, tool, user


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
    for trajectory in exported(full(), session(odd, Run(run_id="empty")), session(session_id="nothing")):
        for number, step in enumerate(trajectory["steps"], 1):
            assert step["step_id"] == number
            assert step["source"] in ("user", "agent", "system")
            assert isinstance(step["message"], (str, list))
            agent_only = {"model_name", "reasoning_content", "tool_calls", "metrics"}
            assert step["source"] == "agent" or not agent_only & step.keys()
            ids = {call["tool_call_id"] for call in step.get("tool_calls", ())}
            results = step.get("observation", {}).get("results", [])
            assert "tool_calls" not in step or all(result["source_call_id"] in ids for result in results)
            for part in step["message"] if isinstance(step["message"], list) else ():
                assert part.keys() in ({"type", "text"}, {"type", "source"})

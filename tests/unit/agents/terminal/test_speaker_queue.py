"""The order of speakers: members that answer concurrently are shown one after the other."""

from __future__ import annotations

import pytest

from localstore import Agent, FunctionModel, Message, Run, Team, ToolCall
from localstore.agents.events import Event, RunFinished, RunStarted, TextDelta, ToolCallFinished, ToolCallStarted
from localstore.agents.terminal.speaker_queue import SpeakerQueue

CALL = ToolCall(id="c", name="look")
ENDED = Run()


class Shown:
    """Records the calls that show something."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self.said.append("end")

    def handle(self, event: Event) -> None:
        match event:
            case TextDelta(text):
                self.said.append(text)
            case ToolCallStarted(call):
                self.said.append(f"calls {call.name}")
            case _:
                pass

    def begin_speaker(self, speaker: str | None) -> None:
        self.said.append(f"{speaker}:")


def shown(*events: Event, members: bool = True, tool_calls: bool = False) -> list[str]:
    """Return what is shown for the events."""
    answer = Shown()
    with SpeakerQueue(answer, members=members, tool_calls=tool_calls) as queue:
        for event in events:
            queue.handle(event)
    return answer.said


def test_concurrent_speakers_are_shown_one_after_the_other() -> None:
    said = shown(
        RunStarted("s", "r"),
        RunStarted("s", "a", "Ann"),
        RunStarted("s", "b", "Bob"),
        TextDelta("a1", "Ann"),
        TextDelta("b1", "Bob"),
        TextDelta("a2", "Ann"),
        TextDelta("b2", "Bob"),
        RunFinished(ENDED, "Bob"),
        TextDelta("a3", "Ann"),
        RunFinished(ENDED, "Ann"),
        TextDelta("all", None),
        RunFinished(ENDED),
    )
    assert said == ["Ann:", "a1", "a2", "a3", "Bob:", "b1", "b2", "None:", "all", "end"]


def test_a_speaker_whose_turn_comes_is_shown_live() -> None:
    said = shown(
        TextDelta("a1", "Ann"),
        TextDelta("b1", "Bob"),
        RunFinished(ENDED, "Ann"),
        TextDelta("b2", "Bob"),
        TextDelta("c1", "Eve"),
    )
    assert said == ["Ann:", "a1", "Bob:", "b1", "b2", "Eve:", "c1", "end"]


def test_a_failed_speaker_ends_its_turn() -> None:
    """Its run has no RunFinished event. The next event of its leader ends the turn."""
    said = shown(
        TextDelta("a1", "Ann"),
        TextDelta("b1", "Bob"),
        RunFinished(ENDED, "Bob"),
        ToolCallFinished(CALL, "Error", True),
        TextDelta("then", None),
    )
    assert said == ["Ann:", "a1", "Bob:", "b1", "None:", "then", "end"]


def test_members_of_a_nested_team_speak_during_its_turn() -> None:
    said = shown(
        TextDelta("e", "editors"),
        ToolCallStarted(CALL, "editors"),
        TextDelta("x", "editors/Ann"),
        TextDelta("y", "editors/Bob"),
        ToolCallFinished(CALL, "Error", True, "editors"),
        TextDelta("f", "editors"),
        TextDelta("w", "writers"),
        RunFinished(ENDED, "editors"),
        tool_calls=True,
    )
    assert said == [
        *("editors:", "e", "calls look", "editors/Ann:", "x", "editors/Bob:", "y"),
        *("editors:", "f", "writers:", "w", "end"),
    ]


def test_a_single_agent_has_no_heading() -> None:
    assert shown(RunStarted("s", "r"), TextDelta("a"), TextDelta("b"), RunFinished(ENDED)) == ["a", "b", "end"]


def test_a_routed_answer_is_shown_even_if_members_are_hidden() -> None:
    run = Run(messages=[Message(role="assistant", content="by Ann", name="Ann")])
    assert shown(TextDelta("by Ann", "Ann"), RunFinished(run), members=False) == ["by Ann", "end"]
    assert shown(TextDelta("by Ann", "Ann"), RunFinished(run)) == ["Ann:", "by Ann", "end"]


def team(mode: str) -> Team:
    """Ann and Bob, who say their names; a leader that picks Bob or says both."""
    call = ToolCall(id="1", name="route_to", arguments={"member": "Bob"})
    pick = Message(role="assistant", tool_calls=[call])
    members = [Agent(model=FunctionModel(lambda _, name=name: f"I am {name}."), name=name) for name in ("Ann", "Bob")]  # type: ignore[misc]
    model = FunctionModel(lambda _: pick if mode == "route" else "We are two.")
    return Team(members=members, model=model, mode=mode)  # type: ignore[arg-type]


def test_print_response_names_the_speakers(capsys: pytest.CaptureFixture[str]) -> None:
    team("route").print_response("Who?")
    assert capsys.readouterr().out == "> Who?\nBob:\nI am Bob.\n\n"
    team("collaborate").print_response("Who?")
    out = capsys.readouterr().out
    assert sorted(out.removeprefix("> Who?\n").split("\n\n")[:2]) == ["Ann:\nI am Ann.", "Bob:\nI am Bob."]
    assert out.endswith("\n\nAnswer:\nWe are two.\n\n")

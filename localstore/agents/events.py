"""What happens during a run, in the order in which it happens: what `stream` and `astream` give."""

from __future__ import annotations

from dataclasses import dataclass

from localstore.sessions import Run, ToolCall


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The question is stored, and the model is about to be asked."""

    session_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the model's text, as it arrived."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model asked for this call."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolCallFinished:
    """What a call gave, as the model is told; `failed` when it is an error."""

    call: ToolCall
    result: str
    failed: bool


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is stored with its answer. Nothing comes after this."""

    run: Run


Event = RunStarted | TextDelta | ToolCallStarted | ToolCallFinished | RunFinished

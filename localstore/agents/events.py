"""The events of a run, in the order in which they happen, as `stream` and `astream` yield them.

`speaker` says which part of a team or a workflow an event comes from: the name of the member or the step, after the
names of those that it is inside of, as in `editors/anna`. It is None for the run that the caller started.
"""

from __future__ import annotations

from dataclasses import dataclass

from localstore.models.session import Run, Step, ToolCall


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The question is stored, and the model is called next."""

    session_id: str
    run_id: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the model's text."""

    text: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model asked for this tool call."""

    call: ToolCall
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCallFinished:
    """A tool call has ended. `result` is the text for the model; `failed` says whether it reports an error."""

    call: ToolCall
    result: str
    failed: bool
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is complete and stored, and no event follows. A member's run is stored with that of its team."""

    run: Run
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step of a workflow begins."""

    speaker: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step of a workflow is stored: it is completed, or it failed and is tried again."""

    step: Step
    speaker: str


@dataclass(frozen=True, slots=True)
class RunWaiting:
    """The workflow waits until `step` is confirmed. No event follows."""

    run: Run
    step: Step
    speaker: None = None


Event = (
    RunStarted | TextDelta | ToolCallStarted | ToolCallFinished | StepStarted | StepFinished | RunWaiting | RunFinished
)

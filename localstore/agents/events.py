"""What happens during a run, in the order in which it happens: what `stream` and `astream` give.

`speaker` is None for the run that was asked for. In a run of a team or a workflow it says whose event it is: the name
of the member or the step, and of one in it again behind a slash, as in `editors/anna`.
"""

from __future__ import annotations

from dataclasses import dataclass

from localstore.models.session import Run, Step, ToolCall


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The question is stored, and the model is about to be asked."""

    session_id: str
    run_id: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the model's text, as it arrived."""

    text: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model asked for this call."""

    call: ToolCall
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCallFinished:
    """What a call gave, as the model is told; `failed` when it is an error."""

    call: ToolCall
    result: str
    failed: bool
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is stored with its answer, and nothing comes after this; or a member's run has its answer, and is stored
    with the run that it stands in."""

    run: Run
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step of a workflow begins; `speaker` is its name, behind those of what it stands in."""

    speaker: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step of a workflow is stored: completed, or failed and about to be tried again."""

    step: Step
    speaker: str


@dataclass(frozen=True, slots=True)
class RunWaiting:
    """A workflow stopped before a step that has to be confirmed. Nothing comes after this."""

    run: Run
    step: Step
    speaker: None = None


Event = (
    RunStarted | TextDelta | ToolCallStarted | ToolCallFinished | StepStarted | StepFinished | RunWaiting | RunFinished
)

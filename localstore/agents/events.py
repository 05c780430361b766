"""The events of a run, in the order in which they happen, as `stream` and `astream` yield them.

`speaker` identifies the team member or workflow step that an event comes from. It is a path of names, outermost first,
such as `editors/anna`. It is None for the run that the caller started.
"""

from __future__ import annotations

from dataclasses import dataclass

from localstore.models.session import Run, Step, ToolCall


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The question or the input is stored, and the run begins."""

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
    """The model has requested the tool call `call`."""

    call: ToolCall
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCallFinished:
    """A tool call has ended. `result` is the text for the model; `failed` is true if it reports an error."""

    call: ToolCall
    result: str
    failed: bool
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run has ended.

    If `speaker` is None, the run is stored and no event follows. Otherwise it is stored as part of the outer run.
    """

    run: Run
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class StepStarted:
    """An attempt at a workflow step begins."""

    speaker: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A workflow step is stored: it is completed, or it failed and will be retried."""

    step: Step
    speaker: str


@dataclass(frozen=True, slots=True)
class RunWaiting:
    """The workflow run is stored and waits until `step` is confirmed. No event follows."""

    run: Run
    step: Step
    speaker: None = None


Event = (
    RunStarted | TextDelta | ToolCallStarted | ToolCallFinished | StepStarted | StepFinished | RunWaiting | RunFinished
)

"""The stored steps of a workflow's run: adds steps as they end, and looks them up when the run is resumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import RLock

from localstore.agents.runs.token_count import TokenCount
from localstore.errors import Conflict
from localstore.models.session import Metrics, Run, Step
from localstore.storage.contract import WorkflowStorage

Place = tuple[str, ...]
"""The names of the parts that a step is inside of, outermost first, and then the name of the step."""


@dataclass(slots=True)
class StepJournal:
    """Stores the steps of one run as they end, and looks them up when the run is resumed. Thread-safe."""

    run: Run
    session_id: str
    user_id: str | None
    storage: WorkflowStorage
    is_taken_over: bool = False
    """Whether another process has stored a step of this run. If so, this process must not store anything for it."""

    _latest: dict[Place, Step] = field(default_factory=dict)
    _begun: set[Place] = field(default_factory=set)
    """The places of the parts that contain at least one stored step."""
    _resumed_at: int = 0
    """How many stored steps with metrics the run had when it was resumed."""
    _lock: RLock = field(default_factory=RLock)

    def load(self) -> None:
        """Index the steps that the run already has. Call this once, before the first step is added."""
        for step in self.run.steps or ():
            self._index(step)
            self._resumed_at += step.metrics is not None

    def latest(self, place: Place) -> Step | None:
        """Return the step that was stored last at `place`, or None. If it was retried, this is the last attempt."""
        return self._latest.get(place)

    def completed(self, place: Place) -> Step | None:
        """Return the step that was stored last at `place` if it is completed, otherwise None."""
        step = self._latest.get(place)
        return step if step is not None and step.status == "completed" else None

    def has_begun(self, place: Place) -> bool:
        """Return whether a step inside the part at `place` is stored."""
        return place in self._begun

    def add(self, step: Step) -> None:
        """Store a step, and append it to the run. Raises Conflict if another process is continuing this run."""
        with self._lock:
            number = len(self.run.steps or ())
            try:
                self.storage.add_step(self.session_id, self.run.run_id, step, number=number, user_id=self.user_id)
            except Conflict:
                self.is_taken_over = True
                raise
            if self.run.steps is None:
                self.run.steps = []
            self.run.steps.append(step)
            self._index(step)

    def _index(self, step: Step) -> None:
        place = (*(step.within or ()), step.name)
        self._latest[place] = step
        self._begun.update(place[:length] for length in range(1, len(place)))

    def metrics(self, seconds: float) -> Metrics:
        """Return the metrics of the run: the tokens of all its steps, including failed attempts, and its duration.

        `seconds` is the time since the run was begun or resumed. The time of the steps stored before is added.
        """
        steps = [step.metrics for step in self.run.steps or () if step.metrics is not None]
        tokens = TokenCount()
        for metrics in steps:
            tokens.add(metrics)
        before = sum(metrics.duration_seconds or 0 for metrics in steps[: self._resumed_at])
        return tokens.metrics(before + seconds)

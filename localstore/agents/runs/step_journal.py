"""The stored steps of a workflow's run: which are done, and adding the next one."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import RLock

from localstore.agents.memory_storage import WorkflowStorage
from localstore.agents.runs.token_count import TokenCount
from localstore.errors import Conflict
from localstore.models.session import Metrics, Run, Step

Place = tuple[str, ...]
"""The name of a step, after the names of the parts that it is inside of."""


@dataclass(slots=True)
class StepJournal:
    """Stores the steps of one run as they end, and finds them again when the run is resumed. Safe for threads."""

    run: Run
    session_id: str
    user_id: str | None
    storage: WorkflowStorage
    is_taken_over: bool = False
    """Whether another process has stored a step of this run: then nothing more of it may be stored here."""

    _latest: dict[Place, Step] = field(default_factory=dict)
    _begun: set[Place] = field(default_factory=set)
    """The places that stored steps are inside of."""
    _resumed_at: int = 0
    """How many steps with metrics the run had before it was resumed."""
    _lock: RLock = field(default_factory=RLock)

    def load(self) -> None:
        """Take note of the steps that the run has from before."""
        for step in self.run.steps or ():
            self._note(step)
            self._resumed_at += step.metrics is not None

    def latest(self, place: Place) -> Step | None:
        """Return the last stored step of a place: the one that counts if it was tried several times."""
        return self._latest.get(place)

    def completed(self, place: Place) -> Step | None:
        """Return the step of a place if it is completed."""
        step = self._latest.get(place)
        return step if step is not None and step.status == "completed" else None

    def has_begun(self, place: Place) -> bool:
        """Whether a step inside this place is stored."""
        return place in self._begun

    def add(self, step: Step) -> None:
        """Store a step that has ended. Raises Conflict if another process continues this run."""
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
            self._note(step)

    def _note(self, step: Step) -> None:
        place = (*(step.within or ()), step.name)
        self._latest[place] = step
        self._begun.update(place[:length] for length in range(1, len(place)))

    def metrics(self, seconds: float) -> Metrics:
        """Return the metrics of the run: of all steps, failed attempts included, and the time since it was resumed."""
        steps = [step.metrics for step in self.run.steps or () if step.metrics is not None]
        tokens = TokenCount()
        for metrics in steps:
            tokens.add(metrics)
        before = sum(metrics.duration_seconds or 0 for metrics in steps[: self._resumed_at])
        return tokens.metrics(before + seconds)

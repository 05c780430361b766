"""What a session object of agno looked like when it was last read or stored, so that only changes are written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from localstore.integrations.agno_db.sessions import SessionFields

_NOT_OVER = ("PAUSED", "RUNNING", "PENDING")


class RunState(NamedTuple):
    """What shows that a run has changed: agno replaces the object, or adds messages to it and sets its status."""

    run: Any
    status: Any
    messages: int

    @classmethod
    def of(cls, run: Any) -> "RunState":
        """`run` is an object of agno, or a mapping."""
        get = run.get if isinstance(run, dict) else run.__dict__.get
        return cls(run, get("status"), len(get("messages") or ()))

    def is_same_as(self, run: Any) -> bool:
        """Whether the run is over and has not changed since."""
        status = getattr(self.status, "value", self.status)
        return self.run is run and status not in _NOT_OVER and self == RunState.of(run)


@dataclass(slots=True)
class StoredSession:
    """The fields and runs of a session object when it was last read or stored. The object itself keeps it."""

    fields: SessionFields | None = None
    runs: dict[Any, RunState] = field(default_factory=dict)
    """By run id. A run that is here but not in the document was deleted, and stays deleted."""

    def new_runs(self, runs: Iterable[Any], *, or_changed: bool) -> list[tuple[int, Any]]:
        """Return the new runs with their positions; with `or_changed` also those that changed or are not over."""
        new_runs = []
        for position, run in enumerate(runs):
            run_id = run_id_of(run)
            state = self.runs.get(run_id)
            if run_id is not None and (state is None or (or_changed and not state.is_same_as(run))):
                new_runs.append((position, run))
        return new_runs

    def note(self, runs: Iterable[Any]) -> None:
        """Remember that these runs are stored as they are now."""
        self.runs |= {run_id_of(run): RunState.of(run) for run in runs}


def run_id_of(run: Any) -> Any:
    """Return the id of a run, which is an object of agno or a mapping."""
    return run.get("run_id") if isinstance(run, dict) else run.run_id


def is_member_run(run: Any) -> bool:
    """Whether the run is that of a member of a team or of a step of a workflow."""
    return (run.get("parent_run_id") if isinstance(run, dict) else getattr(run, "parent_run_id", None)) is not None

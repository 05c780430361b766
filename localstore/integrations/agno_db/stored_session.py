"""Record the form in which a session object of agno was last read or stored, so that only changes are written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from localstore.format.agno_db.sessions import SessionFields
from localstore.format.values import json_equal, to_json_value

_NOT_ENDED = ("PAUSED", "RUNNING", "PENDING")


class RunState(NamedTuple):
    """A snapshot of a run object, used to detect changes.

    When agno changes a run that has ended, it replaces the object, adds messages to it, or sets its status. A run that
    has not ended is compared by its whole content.
    """

    run: Any
    status: Any
    messages: int
    content: Any
    """The run as a mapping of plain values if it has not ended; otherwise None."""

    @classmethod
    def of(cls, run: Any) -> "RunState":
        """Return a snapshot of `run`, which is an object of agno or a mapping."""
        get = run.get if isinstance(run, dict) else run.__dict__.get
        status = get("status")
        has_ended = getattr(status, "value", status) not in _NOT_ENDED
        return cls(run, status, len(get("messages") or ()), None if has_ended else _content_of(run))

    def is_unchanged(self, run: Any) -> bool:
        """Return whether `run` is what it was at this snapshot."""
        if self.content is not None:
            return json_equal(self.content, _content_of(run))
        return self.run is run and self[1:] == RunState.of(run)[1:]


@dataclass(slots=True)
class StoredSession:
    """The fields and runs of a session object when it was last read or stored.

    It is kept in the `_localstore` attribute of that object.
    """

    fields: SessionFields | None = None
    runs: dict[Any, RunState] = field(default_factory=dict)
    """The snapshots by run id. A run with a snapshot that is missing in the document was deleted, and is not stored
    again."""

    def new_runs(self, runs: Iterable[Any], *, or_changed: bool) -> list[tuple[int, Any]]:
        """Return the runs without a snapshot, each after its position in `runs`. Runs without an id are skipped.

        If `or_changed` is true, also return runs that have changed since their snapshot.
        """
        new_runs = []
        for position, run in enumerate(runs):
            run_id = run_id_of(run)
            state = self.runs.get(run_id)
            if run_id is not None and (state is None or (or_changed and not state.is_unchanged(run))):
                new_runs.append((position, run))
        return new_runs

    def record_runs(self, runs: Iterable[Any]) -> None:
        """Record snapshots of `runs`, which have just been read or stored in their present form."""
        self.runs |= {run_id_of(run): RunState.of(run) for run in runs}


def _content_of(run: Any) -> Any:
    return to_json_value(run if isinstance(run, dict) else run.to_dict(), "run")


def run_id_of(run: Any) -> Any:
    """Return the id of a run, which is an object of agno or a mapping."""
    return run.get("run_id") if isinstance(run, dict) else run.run_id


def is_member_run(run: Any) -> bool:
    """Return whether the run belongs to a member of a team or to a step of a workflow."""
    return (run.get("parent_run_id") if isinstance(run, dict) else getattr(run, "parent_run_id", None)) is not None

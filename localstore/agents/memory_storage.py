"""The storage that agents and workflows use by default, in memory."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import Any

from localstore.errors import RunNotFound, SessionNotFound
from localstore.format.run_entry import comparable_fields, refuse_step
from localstore.format.values import json_equal, to_json_value
from localstore.models.schema import SESSION_KEYS, Kind
from localstore.models.session import HistoryEntry, Run, Session, Step
from localstore.storage.checked_values import run_of, step_of
from localstore.storage.state_merge import StateMerge


@dataclass(slots=True)
class _StoredSession:
    """A session in memory: its runs by id, in order, and the newest values of its keys."""

    kind: Kind = "agent"
    entity_id: str | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    current: dict[str, Any] = field(default_factory=dict)
    """The newest values of the session's keys, such as its state."""

    def put(self, run: Run) -> None:
        """Add `run`, or replace the run with the same id. `run` is not copied, so nothing else may change it."""
        self.runs[run.run_id] = run
        self._take_current(run)

    def _take_current(self, run: Run) -> None:
        self.current.update({name: value for name in SESSION_KEYS if (value := getattr(run, name)) is not None})

    def recompute_current(self) -> None:
        """Recompute the current values from the runs, after a run was replaced by an earlier version of it."""
        summary = self.current.get("session_summary")  # set by `update`, not stored in a run
        self.current = {} if summary is None else {"session_summary": summary}
        for run in self.runs.values():
            self._take_current(run)


class MemoryStorage:
    """Keeps the sessions of one agent, team or workflow in memory. Sessions have no owners.

    Runs and steps are copied when they are stored, and sessions when they are read. Thread-safe.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, _StoredSession] = {}
        self._lock = Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> MemoryStorage:
        """Return a storage with copies of the sessions."""
        duplicate = MemoryStorage()
        with self._lock:
            duplicate._sessions = deepcopy(self._sessions, memo)
        return duplicate

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None:
        """Return the session with its last `last_runs` runs (all if None), or None if there is no such session."""
        with self._lock:
            stored = self._sessions.get(session_id)
            if stored is None:
                return None
            newest: list[HistoryEntry] = [
                run.model_copy(deep=True) for run in islice(reversed(stored.runs.values()), last_runs)
            ]
            fields = {**deepcopy(stored.current), f"{stored.kind}_id": stored.entity_id}
            return Session(session_id=session_id, kind=stored.kind, user_id=user_id, history=newest[::-1], **fields)

    def append(
        self,
        session_id: str,
        run: Run,
        *,
        user_id: str | None = None,  # noqa: ARG002 - the signature of all storages
        entity_id: str | None = None,
        kind: Kind | None = None,
        create: bool = True,  # noqa: ARG002
        state_base: dict[str, Any] | None = None,
        strict_state: bool = False,
    ) -> None:
        """Add the run, or replace the run with the same id. See `Storage.append` for the arguments and errors."""
        with self._lock:
            stored = self._sessions.get(session_id) or _StoredSession(kind or "agent", entity_id)
            if state_base is not None and run.session_state is not None:
                merge = StateMerge(run, state_base, strict=strict_state)
                merge.into(session_id, stored.current.get("session_state", {}))
                merge.update_run()
            stored.put(Run.model_validate(run_of(run)))
            self._sessions[session_id] = stored

    def update(self, session_id: str, *, user_id: str | None = None, session_summary: Any = None) -> None:  # noqa: ARG002
        """Replace the session's summary. Raises SessionNotFound."""
        with self._lock:
            self._session(session_id).current["session_summary"] = session_summary

    def upsert(self, session: Session) -> None:
        """Store the runs in `session`, replacing runs with the same ids.

        The newest state among all stored runs becomes the session's state. Raises SessionNotFound.
        """
        runs: list[Run] = [Run.model_validate(run_of(run)) for run in session.runs]
        with self._lock:
            stored = self._session(session.session_id)
            for run in runs:
                stored.put(run)
            stored.recompute_current()

    def add_step(
        self,
        session_id: str,
        run_id: str,
        step: Step,
        *,
        number: int,
        user_id: str | None = None,  # noqa: ARG002
    ) -> None:
        """Add a step to an unfinished run at position `number`, counted from 0.

        Do nothing if the run already has an equal step at this position. Raises SessionNotFound, RunNotFound, and
        Conflict if the run is finished or `number` is not the number of its steps.
        """
        added = Step.model_validate(step_of(step))
        with self._lock:
            run = self._session(session_id).runs.get(run_id)
            if run is None:
                raise RunNotFound(
                    f"Session {session_id!r} has no run {run_id!r}. Nothing was written. Append the run first, "
                    'with status="unfinished".',
                    session_id=session_id,
                    run_id=run_id,
                )
            steps = run.steps or []
            if number < len(steps) and json_equal(_comparable(steps[number]), _comparable(added)):
                return
            refuse_step(run_id, session_id, run.status, len(steps), number)
            steps.append(added)
            run.steps = steps

    def _session(self, session_id: str) -> _StoredSession:
        stored = self._sessions.get(session_id)
        if stored is None:
            raise SessionNotFound(
                f"There is no session {session_id!r}. Check the id, or store a new session.", session_id=session_id
            )
        return stored


def _comparable(step: Step) -> dict[str, Any]:
    return comparable_fields(to_json_value(step))

"""What an agent needs of a storage, and the stand-in for an agent that has none."""

from __future__ import annotations

from copy import deepcopy
from itertools import islice
from threading import Lock
from typing import Any, Protocol

from localstore.format.values import to_json_value
from localstore.models.schema import SESSION_KEYS
from localstore.models.session import HistoryEntry, Kind, Run, Session, Step
from localstore.storage.state_merge import StateMerge


class AgentStorage(Protocol):
    """The calls that an agent makes for every run. `JsonStorage` and `YamlStorage` have them, and those that its
    other methods need."""

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None: ...

    def append(
        self,
        session_id: str,
        run: Run,
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: Kind | None = None,
        create: bool = True,
        state_base: dict[str, Any] | None = None,
        strict_state: bool = False,
    ) -> None: ...

    def update(self, session_id: str, *, user_id: str | None = None, session_summary: Any = None) -> None: ...


class WorkflowStorage(AgentStorage, Protocol):
    """What a workflow calls as well."""

    def add_step(
        self, session_id: str, run_id: str, step: Step, *, number: int, user_id: str | None = None
    ) -> None: ...


class Memory:
    """Keeps the runs of an agent without storage, for as long as the agent lives. It has no owners."""

    def __init__(self) -> None:
        self._runs: dict[str, dict[str, Run]] = {}
        self._current: dict[str, dict[str, Any]] = {}
        self._lock = Lock()

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None:
        """The session with its last runs, or None. What the caller changes in it is not kept."""
        with self._lock:
            runs = self._runs.get(session_id)
            if runs is None:
                return None
            newest: list[HistoryEntry] = [
                run.model_copy(deep=True) for run in islice(reversed(runs.values()), last_runs)
            ]
            current = deepcopy(self._current[session_id])
        return Session(session_id=session_id, user_id=user_id, history=newest[::-1], **current)

    def append(
        self,
        session_id: str,
        run: Run,
        *,
        user_id: str | None = None,  # noqa: ARG002 - the storage's signature
        entity_id: str | None = None,  # noqa: ARG002
        kind: Kind | None = None,  # noqa: ARG002
        create: bool = True,  # noqa: ARG002
        state_base: dict[str, Any] | None = None,
        strict_state: bool = False,
    ) -> None:
        """Add the run, or finish the one with its `run_id`."""
        with self._lock:
            current = self._current.setdefault(session_id, {})
            if state_base is not None and run.session_state is not None:
                merge = StateMerge(run, state_base, strict=strict_state)
                merge.into(session_id, current.get("session_state", {}))
                merge.tell()
            kept: Run = Run.model_validate(to_json_value(run))
            self._runs.setdefault(session_id, {})[run.run_id] = kept
            current.update({name: value for name in SESSION_KEYS if (value := getattr(kept, name)) is not None})

    def update(self, session_id: str, *, user_id: str | None = None, session_summary: Any = None) -> None:  # noqa: ARG002
        """Replace the summary."""
        with self._lock:
            self._current.setdefault(session_id, {})["session_summary"] = session_summary

    def add_step(
        self,
        session_id: str,
        run_id: str,
        step: Step,
        *,
        number: int,
        user_id: str | None = None,  # noqa: ARG002
    ) -> None:
        """Add the `number`-th step to an unfinished run."""
        kept = Step.model_validate(to_json_value(step, "step"))
        with self._lock:
            run = self._runs[session_id][run_id]
            run.steps = [*(run.steps or [])[:number], kept]

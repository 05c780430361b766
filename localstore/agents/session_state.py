"""Merges the session states of an agent, its runs and the stored session, by top-level key."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from threading import RLock
from typing import TYPE_CHECKING, Any

from localstore.agents.typed_state import TypedState, changed_values, restored
from localstore.format.values import json_equal, to_json_value

if TYPE_CHECKING:
    from pydantic import BaseModel

State = dict[str, Any]

_MAX_WARNINGS = 100
"""How many places of the state an agent warns of."""


def changes(before: State, after: State) -> set[str]:
    """Return the top-level keys that were added, removed or changed. Both states must be JSON values."""
    keys = {*before, *after}
    return {key for key in keys if (key in before) != (key in after) or not json_equal(before.get(key), after.get(key))}


def state_changes(before: State, after: State) -> State | None:
    """Return the changed top-level keys with their new values (None if removed), or None if nothing changed."""
    return {key: after.get(key) for key in sorted(changes(before, after))} or None


def apply_changes(state: State, changed: State) -> None:
    """Apply changes that `state_changes` returned to `state`, in place."""
    for key, value in changed.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = deepcopy(value)


def put(target: State, keys: set[str], source: State) -> None:
    """Set these keys of `target` to the values in `source`, and remove the keys that `source` does not have.

    If `target` is a TypedState, the values must have the types of its fields.
    """
    for key in keys:
        if key not in source:
            target.pop(key, None)
        elif isinstance(target, TypedState):
            target.put_unchanged(key, source[key])
        else:
            target[key] = source[key]


class SharedState:
    """The session state of an agent, which the caller may change at any time, kept in sync with the stored state.

    `current` is the state that the caller sees as `agent.session_state`. `stored` is the session's stored state when it
    was last read or written. Keys that were changed in `current` since then take precedence over the stored ones; all
    other keys follow the stored state. `initial` is the state that the agent was created with. It provides the values
    of keys that the session does not have when it is first read. With `model`, all values that programs see have the
    types of its fields. Thread-safe.
    """

    def __init__(self, initial: Mapping[str, Any] | BaseModel | None, model: type[BaseModel] | None = None) -> None:
        """Begin with the state `initial`. Raises UnstorableValue, and StateInvalid if it does not fit `model`."""
        self._model = model
        self._warned: set[str] = set()
        self._lock = RLock()
        self.assign(deepcopy(initial) if initial else {})
        self.stored: State = self.storable()
        self.initial = self.stored
        self.session_id: str | None = None

    def assign(self, state: Mapping[str, Any] | BaseModel) -> None:
        """Replace `current`: by the dict itself or, with a model, by a typed copy. Raises StateInvalid."""
        if self._model is not None:
            self.current: State = TypedState.from_values(self._model, dict(state))
        else:
            self.current = state if isinstance(state, dict) else dict(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedState:
        """Return a copy that changes independently."""
        with self._lock:
            duplicate = SharedState(self.current, self._model)
            duplicate._warned = set(self._warned)
            duplicate.stored, duplicate.initial = deepcopy(self.stored), deepcopy(self.initial)
            duplicate.session_id = self.session_id
        return duplicate

    def storable(self) -> State:
        """Return a copy of `current` as JSON values, as documents store it. Raises UnstorableValue."""
        return _json_state(self.current)

    def adopt(self, session_id: str, stored: State) -> None:
        """Update `current` to the stored state of a session, except for the keys that the caller has changed.

        Raises StateInvalid, before anything is changed, if the stored state does not fit the model.
        """
        with self._lock:
            current = self.storable()
            merged = dict(stored) if session_id == self.session_id else self.initial | stored
            put(merged, changes(self.stored, current), current)
            # In place, and only the changed keys: the caller may hold this dict, or objects in it.
            put(self.current, changes(current, merged), restored(merged, self.current, session_id))
            self.stored = stored
            self.session_id = session_id

    def restored(self, values: State, session_id: str) -> State:
        """Return a copy of the JSON values of a session's state as programs see them. Raises StateInvalid."""
        return restored(values, self.current, session_id)

    def check(self, session_id: str, stored: State) -> None:
        """Raise StateInvalid if the stored state of a session does not fit the model."""
        if self._model is not None:
            self.restored(self.initial | stored, session_id)

    def go_back(self, session_id: str, stored: State) -> None:
        """Update `current` to an earlier state of the session. Missing keys get their initial values again."""
        with self._lock:
            self.check(session_id, stored)
            self.session_id = None
            self.adopt(session_id, stored)

    def begin(self, session_id: str, stored: State) -> tuple[State, State]:
        """Adopt the stored state, and return the state for a new run: as JSON values, and as a copy to change."""
        with self._lock:
            self.adopt(session_id, stored)
            return self.storable(), deepcopy(self.current)

    def merge_run(self, session_id: str, start: State, state: State, changed: set[str]) -> State:
        """Apply the changes of a run to `current`, and return the state to store with the run.

        The returned state is the one that the run began with, plus the caller's changes since then and the run's own.

        Args:
            session_id: The session of the run. If the agent has switched to another one, `current` is not changed.
            start: The state that the run began with.
            state: The current state of the run.
            changed: The keys that the run changed.

        Raises UnstorableValue.
        """
        with self._lock:
            merged = dict(start)
            if session_id == self.session_id:
                put(self.current, changed, deepcopy(state))
                current = self.storable()
                put(merged, changes(self.stored, current), current)
            put(merged, changed, _json_state(state))
            return merged

    def run_stored(self, session_id: str, stored: State) -> None:
        """Adopt the state that was stored with a run, unless the agent has switched to another session."""
        with self._lock:
            if session_id == self.session_id:
                self.adopt(session_id, stored)

    def reset(self, session_id: str, stored: State | None) -> None:
        """Switch to a session and its stored state (None if it has none). Unstored changes are discarded.

        Raises StateInvalid, before anything is changed, if the stored state does not fit the model.
        """
        with self._lock:
            self.check(session_id, stored or {})
            self.stored = self.storable()
            self.session_id = None
            self.adopt(session_id, stored or {})

    def warn_of_changed_types(self, state: State) -> None:
        """Warn of values in a stored state that are read as another type or value. Each place is named once."""
        advice = "Store a JSON value, or bring the types back with state_model=, a pydantic class."
        if self._model is not None:
            advice = f"Declare its type in {self._model.__name__}, or store a JSON value."
        for place, change in changed_values(state):
            with self._lock:
                if place in self._warned or len(self._warned) >= _MAX_WARNINGS:
                    continue
                self._warned.add(place)
            warnings.warn(f"{place} {change} when the session is read again. {advice}", stacklevel=2)


class RunState:
    """The session state of one run. Its tools see and change `current`; `base` is the state stored before the run."""

    def __init__(self, shared: SharedState, session_id: str, stored: State, *, is_own: bool) -> None:
        """Begin with the state `stored`. If `is_own`, the session is the agent's current one and shares its state."""
        self._shared = shared
        self._is_own = is_own
        self._session_id = session_id
        self.base = stored
        if is_own:
            self._start, self.current = shared.begin(session_id, stored)
        else:
            self.current = shared.restored(shared.initial | stored, session_id)
            self._start = _json_state(self.current)

    def apply(self, changed: State) -> None:
        """Apply changes that `state_changes` returned. Raises StateInvalid."""
        values = _json_state(self.current)
        apply_changes(values, changed)
        put(self.current, set(changed), self._shared.restored(values, self._session_id))

    def to_store(self) -> State | None:
        """Return the state to store with the run, or None if it equals `base`. Raises UnstorableValue."""
        state = _json_state(self.current)
        if self._is_own:
            state = self._shared.merge_run(self._session_id, self._start, self.current, changes(self._start, state))
        return state if changes(self.base, state) else None

    def mark_stored(self, state: State) -> None:
        """Update the agent's state to `state`, which was stored with the run."""
        if self._is_own:
            self._shared.run_stored(self._session_id, state)

    def warn_of_changed_types(self) -> None:
        """Warn of values in the stored state that are read as another type. Each place is named once per agent."""
        self._shared.warn_of_changed_types(self.current)


def _json_state(state: State) -> State:
    values: State = to_json_value(state, "session_state")
    return values

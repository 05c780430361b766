"""Merging the session state of an agent, of its runs and of the stored session, by top-level key."""

from __future__ import annotations

from copy import deepcopy
from threading import RLock
from typing import Any

from localstore.format.values import json_equal, to_json_value

State = dict[str, Any]


def changes(before: State, after: State) -> set[str]:
    """Return the keys whose values were changed, added or removed. Both states must be JSON values."""
    keys = {*before, *after}
    return {key for key in keys if (key in before) != (key in after) or not json_equal(before.get(key), after.get(key))}


def state_changes(before: State, after: State) -> State | None:
    """Return the changed top-level keys with their new values, None for a removed key; None if nothing changed."""
    return {key: after.get(key) for key in sorted(changes(before, after))} or None


def apply_changes(state: State, changed: State) -> None:
    """Make the changes that `state_changes` returned."""
    for key, value in changed.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = deepcopy(value)


def put(target: State, keys: set[str], source: State) -> None:
    """Copy these keys from `source` to `target`; remove those that `source` does not have."""
    for key in keys:
        if key in source:
            target[key] = source[key]
        else:
            target.pop(key, None)


class SharedState:
    """The session state of an agent, which its caller may change at any time, kept in step with the stored one.

    `current` is what the caller sees as `agent.session_state`; `stored` is the stored state of the session as it was
    last read or written. Keys that were changed in `current` since then win over the stored ones; all other keys follow
    the session. `initial` is the state that the agent was created with: it applies to keys that the session does not
    have when it is first read. Safe for threads.
    """

    def __init__(self, initial: State | None) -> None:
        self.current: State = deepcopy(initial) if initial else {}
        self.stored: State = self.storable()
        self.initial = self.stored
        self.session_id: str | None = None
        self._lock = RLock()

    def storable(self) -> State:
        """Return a copy of `current` as a document stores it. Raises UnstorableValue."""
        return _json_state(self.current)

    def adopt(self, session_id: str, stored: State) -> None:
        """Take over the stored state of a session, except for the keys that were changed in `current`."""
        with self._lock:
            current = self.storable()
            merged = dict(stored) if session_id == self.session_id else self.initial | stored
            put(merged, changes(self.stored, current), current)
            # In place, and only the changed keys: the caller may hold this dict, or objects in it.
            put(self.current, changes(current, merged), deepcopy(merged))
            self.stored = stored
            self.session_id = session_id

    def go_back(self, session_id: str, stored: State) -> None:
        """Adopt an earlier state of the session: keys that it does not have get their initial values again."""
        with self._lock:
            self.session_id = None
            self.adopt(session_id, stored)

    def begin(self, session_id: str, stored: State) -> tuple[State, State]:
        """Adopt the stored state. Return the state of a run that begins as JSON values, and as a copy to change."""
        with self._lock:
            self.adopt(session_id, stored)
            return self.storable(), deepcopy(self.current)

    def merge_run(self, session_id: str, start: State, state: State, changed: set[str]) -> State:
        """Take over what a run changed, and return the state to store with it.

        That is the state the run began with, with the changes of the caller since and those of the run.

        Args:
            session_id: The session of the run. If the agent has switched to another one, `current` does not change.
            start: The state that the run began with.
            state: The state of the run as it is now.
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
        """Adopt the state that was stored with a run, if the agent still has the run's session."""
        with self._lock:
            if session_id == self.session_id:
                self.adopt(session_id, stored)

    def reset(self, session_id: str, stored: State | None) -> None:
        """Switch to another session, or to the stored state of this one. Changes of the caller are dropped."""
        with self._lock:
            self.stored = self.storable()
            self.session_id = None
            self.adopt(session_id, stored or {})


class RunState:
    """The session state of one run: `current` is what its tools see and change, `base` what was stored before."""

    def __init__(self, shared: SharedState, session_id: str, stored: State, *, is_own: bool) -> None:
        """`is_own` says that the session is the agent's own; other sessions share no state with the agent."""
        self._shared = shared if is_own else None
        self._session_id = session_id
        self.base = stored
        if is_own:
            self._start, self.current = shared.begin(session_id, stored)
        else:
            self._start = shared.initial | stored
            self.current = deepcopy(self._start)

    def to_store(self) -> State | None:
        """Return the state to store with the run, or None if it equals the stored one. Raises UnstorableValue."""
        state = _json_state(self.current)
        if self._shared is not None:
            state = self._shared.merge_run(self._session_id, self._start, self.current, changes(self._start, state))
        return state if changes(self.base, state) else None

    def mark_stored(self, state: State) -> None:
        """Take note of the state that was stored with the run."""
        if self._shared is not None:
            self._shared.run_stored(self._session_id, state)


def _json_state(state: State) -> State:
    values: State = to_json_value(state, "session_state")
    return values

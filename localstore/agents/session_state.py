"""How an agent's session state, that of its runs, and the stored one come together: by top-level key."""

from __future__ import annotations

from copy import deepcopy
from threading import RLock
from typing import Any

from localstore.format.values import json_equal, to_json_value

State = dict[str, Any]


def changes(before: State, after: State) -> set[str]:
    """The keys of which the value was changed, added or removed. Both are plain values."""
    both = {*before, *after}
    return {key for key in both if (key in before) != (key in after) or not json_equal(before.get(key), after.get(key))}


def state_changes(before: State, after: State) -> State | None:
    """The top-level keys that were changed, with their values: None for one that is gone. None for no changes."""
    return {key: after.get(key) for key in sorted(changes(before, after))} or None


def change_again(target: State, changed: State) -> None:
    """Do to a state what `state_changes` told."""
    for key, value in changed.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = deepcopy(value)


def put(target: State, keys: set[str], source: State) -> None:
    """Take over these keys: their values, or that they are gone."""
    for key in keys:
        if key in source:
            target[key] = source[key]
        else:
            target.pop(key, None)


class SharedState:
    """An agent's session state: `live`, which its owner changes at any time, and `held`, what the session holds.

    A key that was changed or removed in `live` since `held` was last set wins over the session's; every other key
    follows the session. What the agent was made with holds where the session has no value. Its methods may be called
    by several threads.
    """

    def __init__(self, initial: State | None) -> None:
        self.live: State = deepcopy(initial) if initial else {}
        self.held: State = self.as_stored()
        self.initial = self.held
        self.session_id: str | None = None
        self._lock = RLock()

    def as_stored(self) -> State:
        """`live` in the form that a document holds, sharing nothing with it. Raises UnstorableValue."""
        return _stored(self.live)

    def adopt(self, session_id: str, held: State) -> None:
        """Bring `live` up to what the session holds now."""
        with self._lock:
            live = self.as_stored()
            merged = dict(held) if session_id == self.session_id else self.initial | held
            put(merged, changes(self.held, live), live)
            # In place, and only what is new: others may hold this mapping, or objects in it.
            put(self.live, changes(live, merged), deepcopy(merged))
            self.held = held
            self.session_id = session_id

    def go_back(self, session_id: str, stored: State) -> None:
        """Adopt an earlier state of the session: keys that it does not have get their initial values again."""
        with self._lock:
            self.session_id = None
            self.adopt(session_id, stored)

    def begin(self, session_id: str, held: State) -> tuple[State, State]:
        """Adopt what the session holds; the state as a run of it begins, as it is stored and as it is lived with."""
        with self._lock:
            self.adopt(session_id, held)
            return self.as_stored(), deepcopy(self.live)

    def take_in(self, session_id: str, start: State, live: State, changed: set[str]) -> State:
        """Take over what a run changed of its state; all that is to be stored with it: that, and what the owner
        changed since. Raises UnstorableValue."""
        with self._lock:
            wanted = dict(start)
            if session_id == self.session_id:
                put(self.live, changed, deepcopy(live))
                now = self.as_stored()
                put(wanted, changes(self.held, now), now)
            put(wanted, changed, _stored(live))
            return wanted

    def settle(self, session_id: str, held: State) -> None:
        """A run was stored, and with it this state."""
        with self._lock:
            if session_id == self.session_id:
                self.adopt(session_id, held)

    def reset(self, session_id: str, held: State | None) -> None:
        """Begin anew with another session, or with what this one holds by now: nothing is carried over."""
        with self._lock:
            self.held = self.as_stored()
            self.session_id = None
            self.adopt(session_id, held or {})


class RunState:
    """The state of one run: `live` is what its tools see and change."""

    def __init__(self, shared: SharedState, session_id: str, held: State, *, is_own: bool) -> None:
        """`is_own`: of the agent's own session; of another one the agent knows nothing but what is stored."""
        self._shared = shared if is_own else None
        self._session_id = session_id
        self.base = held
        if is_own:
            self._start, self.live = shared.begin(session_id, held)
        else:
            self._start = shared.initial | held
            self.live = deepcopy(self._start)

    def wanted(self) -> State | None:
        """What the session is to hold, None when it holds that. Raises UnstorableValue."""
        changed = changes(self._start, _stored(self.live))
        if self._shared is not None:
            wanted = self._shared.take_in(self._session_id, self._start, self.live, changed)
        else:
            wanted = _stored(self.live)
        return wanted if changes(self.base, wanted) else None

    def settle(self, held: State) -> None:
        """This is stored by now."""
        if self._shared is not None:
            self._shared.settle(self._session_id, held)


def _stored(live: State) -> State:
    values: State = to_json_value(live, "session_state")
    return values

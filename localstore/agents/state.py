"""How an agent's session state and the stored one come together: by top-level key."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from localstore.files.values import plain


class SharedState:
    """An agent's session state: `live`, which its owner changes at any time, and `held`, what the session holds.

    A key that was changed or removed in `live` since `held` was last set wins over the session's; every other key
    follows the session. What the agent was made with holds where the session has no value.
    """

    def __init__(self, initial: dict[str, Any] | None) -> None:
        self.live: dict[str, Any] = deepcopy(initial) if initial else {}
        self.held: dict[str, Any] = self.as_stored()
        self._initial = self.held
        self._session_id: str | None = None

    def as_stored(self) -> dict[str, Any]:
        """`live` in the form that a document holds, sharing nothing with it. Raises UnstorableValue."""
        values: dict[str, Any] = plain(self.live, "session_state")
        return values

    def adopt(self, session_id: str, held: dict[str, Any]) -> None:
        """Bring `live` up to what the session holds now."""
        live = self.as_stored()
        merged = dict(held) if session_id == self._session_id else self._initial | held
        for key in self.held.keys() - live.keys():
            merged.pop(key, None)
        merged.update((key, value) for key, value in live.items() if self._changed(key, value))
        # In place, and only what is new: others may hold this mapping, or objects in it.
        for key in live.keys() - merged.keys():
            del self.live[key]
        for key, value in merged.items():
            if key not in live or live[key] != value:
                self.live[key] = deepcopy(value)
        self.held = held
        self._session_id = session_id

    def _changed(self, key: str, value: Any) -> bool:
        return key not in self.held or self.held[key] != value

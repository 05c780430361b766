"""Merge the `session_state` of a run with the state that other runs stored in the meantime, by top-level key."""

from typing import Any

from localstore.engine.merge import merge_mappings
from localstore.errors import StateConflict
from localstore.format.values import json_equal, to_json_value
from localstore.models.session import Run
from localstore.models.times import now
from localstore.storage.checked_values import run_of

State = dict[str, Any]


class StateMerge:
    """Merges the state of one run with the stored state when the run is appended.

    `state` and `conflicts` are the result of the last merge: the merged state, and the keys that both sides changed.
    """

    def __init__(self, run: Run, base: State, *, strict: bool) -> None:
        """Prepare the merge of the state of `run`, which was made from the state `base`. The run does not change yet.

        If `strict`, conflicts raise StateConflict. Raises UnstorableValue if one of the states cannot be stored.
        """
        self._run = run
        self._base: State = to_json_value(base, "state_base")
        self._new: State = to_json_value(run.session_state, "session_state")
        self._strict = strict
        self._entry: dict[str, Any] | None = None
        self._merged_fields: dict[str, Any] = {}
        self.state = self._new
        self.conflicts: list[str] = []

    def entries(
        self, session_id: str, stored: State, path: str | None = None
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Return the entry of the run with its state merged into the `stored` one, and an update entry with this state.

        The update is None if the run does not change the stored state. Raises StateConflict if `strict` and both sides
        changed a key to different values.
        """
        # If the stored state is the merged one, an earlier attempt may have written the run: keep its entry.
        if self._entry is None or not json_equal(stored, self.state):
            fields = self.into(session_id, stored, path)
            self._entry = run_of(self._run.model_copy(update=fields))
        if (state := self._entry.get("session_state")) is None:
            return self._entry, None
        return self._entry, {"type": "update", "created_at": now(), "session_state": state}

    def into(self, session_id: str, stored: State, path: str | None = None) -> dict[str, Any]:
        """Merge the run's state into the `stored` one, and return the new values of fields of the run.

        They are `session_state` (None if it equals `stored`) and `state_conflicts` (None if there are none). The run
        itself does not change; call `update_run` for that. `session_id` and `path` are for the error.

        Raises StateConflict if `strict` and both sides changed a key to different values.
        """
        self.state, conflicts = merge_mappings(self._new, stored, self._base, "ours")
        self.conflicts = [*conflicts]
        if self.conflicts and self._strict:
            keys = tuple(self.conflicts)
            raise StateConflict(
                f"Session {session_id!r}: session_state was changed here and by another run, in "
                f"{', '.join(map(repr, keys))}. Nothing was written. Run again, or leave out strict_state: the later "
                "change then counts.",
                keys=keys,
                path=path,
                session_id=session_id,
            )
        self._merged_fields = {
            "session_state": None if json_equal(self.state, stored) else self.state,
            "state_conflicts": self.conflicts or None,
        }
        return self._merged_fields

    def update_run(self) -> None:
        """Set `session_state` and `state_conflicts` on the run to the values of the last merge."""
        for name, value in self._merged_fields.items():
            setattr(self._run, name, value)

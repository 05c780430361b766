"""Merge a run's `session_state` with what other runs stored meanwhile, by top-level key."""

from typing import Any

from localstore.engine.transaction import Transaction
from localstore.errors import StateConflict
from localstore.format.values import json_equal, to_json_value
from localstore.models.session import Run
from localstore.models.times import now
from localstore.storage.upsert import run_of

State = dict[str, Any]


def merged(base: State, mine: State, theirs: State) -> tuple[State, list[str]]:
    """Both sides' changes to `base`, and the keys that both changed, to different values: of these, mine count."""
    changed = [key for key in {**base, **mine} if not _same(base, mine, key)]
    state = dict(theirs)
    for key in changed:
        if key in mine:
            state[key] = mine[key]
        else:
            state.pop(key, None)
    return state, [key for key in changed if not _same(base, theirs, key) and not _same(mine, theirs, key)]


def _same(one: State, other: State, key: str) -> bool:
    return (key in one) == (key in other) and json_equal(one.get(key), other.get(key))


class StateMerge:
    """The state of one run, merged with the state in the document at the moment at which the run is added."""

    def __init__(self, run: Run, base: State, *, strict: bool) -> None:
        """Raises UnstorableValue."""
        self._run = run
        self._base: State = to_json_value(base, "state_base")
        self._mine: State = to_json_value(run.session_state, "session_state")
        self._strict = strict
        self._entry: dict[str, Any] | None = None
        self._said: dict[str, Any] = {}
        self.state = self._mine
        self.conflicts: list[str] = []

    def entries(self, transaction: Transaction) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The run as it is to be stored, and an update that says its state. Raises StateConflict when `strict` and
        both changed a key."""
        theirs = transaction.state()
        if self._entry is None or not json_equal(
            theirs, self.state
        ):  # else it is tried again, and may be there already
            said = self.into(transaction.row["session_id"], theirs, transaction.file.path)
            self._entry = run_of(self._run.model_copy(update=said))
        if (state := self._entry.get("session_state")) is None:
            return self._entry, None
        return self._entry, {"type": "update", "created_at": now(), "session_state": state}

    def into(self, session_id: str, theirs: State, path: str | None = None) -> dict[str, Any]:
        """What the run is to say, where the session holds `theirs`. Raises StateConflict."""
        self.state, self.conflicts = merged(self._base, self._mine, theirs)
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
        self._said = {
            "session_state": None if json_equal(self.state, theirs) else self.state,
            "state_conflicts": self.conflicts or None,
        }
        return self._said

    def tell(self) -> None:
        """Set the stored state and the conflicts on the run."""
        for name, value in self._said.items():
            setattr(self._run, name, value)

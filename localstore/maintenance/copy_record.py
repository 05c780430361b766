"""The record of what two stores had when they were the same, so that it is not copied again."""

from collections.abc import Sequence
from typing import Any

import orjson

from localstore.maintenance.copy_sides import Listed, Revision, Side, Source


class Record:
    """The revisions that sessions had on both sides when they were the same.

    A session that still has them need not be read. The record belongs to one machine and may be deleted at any time.
    """

    def __init__(self, source: Source, target: Side) -> None:
        self._sides = ((source, f"to {target.name}"), (target, f"from {source.name}"))
        self._revisions: dict[str, Sequence[Any]] = {}
        self._is_changed = False
        stored = next((record for side, other in self._sides if (record := side.load_record(other))), b"{}")
        try:
            revisions = orjson.loads(stored)
        except orjson.JSONDecodeError:
            return
        if isinstance(revisions, dict) and all(
            isinstance(pair, list) and len(pair) == 2 for pair in revisions.values()
        ):
            self._revisions = revisions

    def has_source(self, one: Listed) -> bool:
        """Return whether the source has the session as it was."""
        return one.revision is not None and self._revisions.get(one.session_id, (None,))[0] == one.revision

    def is_same(self, one: Listed, there: Revision | None) -> bool:
        """Return whether both sides have the session as it was; `there` is its revision in the target."""
        return self.has_source(one) and there is not None and self._revisions[one.session_id][1] == there

    def add(self, session_id: str, here: Revision, there: Revision) -> None:
        """Note the revisions of a session that is the same on both sides."""
        self._revisions[session_id] = (here, there)
        self._is_changed = True

    def save(self) -> None:
        """Store the record in one of the two stores, if one can have it."""
        if self._is_changed:
            text = orjson.dumps(self._revisions)
            any(side.save_record(other, text) for side, other in self._sides)
            self._is_changed = False

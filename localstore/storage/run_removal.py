"""Take a run out of a session. It is kept in the rescue folder. May be called again after an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localstore.disk import rescue_folder
from localstore.engine.removal import with_removal
from localstore.errors import Conflict, RunNotFound, SessionNotFound
from localstore.models.session import Run

if TYPE_CHECKING:
    from localstore.engine.engine import Engine
    from localstore.engine.transaction import Transaction
    from localstore.index.row import IndexRow

UNDONE = "undone"
"""The reason that a rescue file gives for a run that `undo` removed."""
REMOVED = "taken out"
"""The reason that a rescue file gives for a run that `Storage.remove_run` removed."""


@dataclass(frozen=True, slots=True)
class Undone:
    """The result of a removal: the run that was removed, and the name of the rescue file that holds it."""

    run: Run
    name: str


@dataclass(slots=True)
class RunRemoval:
    """The removal of one run, which is chosen in the first attempt and stays the same in all others."""

    root: str
    session_id: str
    run_id: str | None
    """The id of the run. None until the run is chosen."""
    reason: str = UNDONE
    """The reason for the rescue file."""
    is_last: bool = True
    """Whether the run must be the last one."""
    run: Run | None = None
    result: Undone | None = None

    def remove(self, engine: Engine, allow: Callable[[IndexRow], None]) -> Undone | None:
        """Remove the run and return it, or None if the session has no run at all.

        `allow` is called with the row of the session and may raise to prevent it. The attribute `run` of every error
        that is raised after a run was chosen is that run.
        """
        try:
            for attempt in engine.edit(self.session_id):
                with attempt as document:
                    if document is None:
                        raise SessionNotFound(f"There is no session {self.session_id!r}.", session_id=self.session_id)
                    allow(document.row)
                    self._apply(document)
        except BaseException as error:
            if self.run is not None:
                error.run = self.run  # type: ignore[attr-defined]
                error.add_note(
                    f"Run {self.run.run_id!r} may be removed. Call again with this run_id to make sure of it."
                )
            raise
        return self.result

    def _apply(self, document: Transaction) -> None:
        parsed = document.whole()
        runs = [number for number, entry in enumerate(parsed.entries) if entry["type"] == "run"]
        if not self.is_last:
            runs = [number for number in runs if parsed.entries[number]["run_id"] == self.run_id]
        if self.run_id is None and not runs:
            return
        last = parsed.entries[runs[-1]] if runs else {}
        if self.run_id is None or last.get("run_id") == self.run_id:
            offset = parsed.starts[runs[-1]]
            document.check_replaceable([offset])
            self.run = Run.model_validate(last)
            self.run_id = self.run.run_id
            row = document.row
            kept = rescue_folder.set_aside(self.root, row["path"], row["session_id"], self.reason, {"entry": last})
            self.result = Undone(self.run, os.path.basename(kept))
            document.change(with_removal(parsed.header, [self.run_id]), {offset: None}, [])
            return
        if any(parsed.entries[number]["run_id"] == self.run_id for number in runs):
            raise Conflict(
                f"Run {self.run_id!r} is not the last run of session {self.session_id!r}: {last['run_id']!r} is. "
                "Nothing was written. Undo the later runs first.",
                session_id=self.session_id,
            )
        self.result = self.result or self._removed_before()

    def _removed_before(self) -> Undone:
        for file in rescue_folder.listing(self.root):
            if file.reason == self.reason and file.session_id == self.session_id:
                entry = (rescue_folder.read_record(file.path) or {}).get("entry")
                if isinstance(entry, dict) and entry.get("run_id") == self.run_id:
                    return Undone(Run.model_validate(entry), file.name)
        raise RunNotFound(
            f"Session {self.session_id!r} has no run {self.run_id!r}. Nothing was written. "
            f"'localstore show {self.session_id}' lists its runs.",
            session_id=self.session_id,
            run_id=self.run_id,
        )

"""Write runs and their steps into documents: each only once, and never over conflicting stored content."""

from dataclasses import dataclass
from typing import Any

from localstore.disk import rescue_folder
from localstore.engine.last_writes import LastWrites
from localstore.engine.open_document import Recent
from localstore.engine.plan import Append, InPlace, Refused, Rewrite, Unchanged, plan_form
from localstore.engine.step_append import with_step
from localstore.engine.transaction import Transaction
from localstore.errors import Conflict
from localstore.format.document import LayoutMismatch
from localstore.index.row import IndexRow

REMEMBERED_RUNS = 64
"""The number of newest entries that are searched for a repeated run_id."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _LastWrite:
    """What is known of a document after a write.

    `recent` maps the ids of the newest runs to their positions; None if they were not read. `steps` is the id and the
    number of steps of the last run if the write added a step to it; otherwise None.
    """

    recent: dict[str, Recent] | None
    steps: tuple[str, int] | None = None


class RunWriter:
    """Writes runs to the documents of one store. The caller of each method must hold the session's lock."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._last: LastWrites[_LastWrite] = LastWrites()

    def append(self, document: Transaction, entry: Entry, update: Entry | None = None) -> None:
        """Add a run, or replace its stored, unfinished form. Write nothing new if the run is already stored.

        `update` is an entry with the run's session state merged into the newest one. It is added at the end of the
        history if an entry after the stored, unfinished run has a session state, because the last state in the history
        is the current one. Otherwise, it is ignored. Raises Conflict if a different run is stored under the same id.
        """
        run_id = entry["run_id"]
        recent = self._useful_recent(document, run_id)
        run = recent.get(run_id) if recent is not None else None
        if run is None and run_id in (unfinished := document.row.get("unfinished_offsets", {})):
            run = Recent(unfinished[run_id], unfinished=True)  # older than the recent runs
            if document.entry(run).get("run_id") != run_id:
                raise LayoutMismatch
        plan = self._plan(document, run, entry, update)
        if isinstance(plan, Refused):
            raise self.conflict(document, plan.stored, entry)
        offset = document.execute(plan)
        if offset is not None:
            if recent is not None:
                recent[run_id] = Recent(offset, entry["status"] == "unfinished")
                if len(recent) > REMEMBERED_RUNS:
                    del recent[next(iter(recent))]
            self._last.remember(document.row, _LastWrite(recent))

    @staticmethod
    def _plan(
        document: Transaction, run: Recent | None, entry: Entry, update: Entry | None
    ) -> Append | InPlace | Rewrite | Unchanged | Refused:
        if run is None:
            return Append([entry])
        if not run.unfinished or document.row.get("offsets", {}).get("session_state", -1) <= run.offset:
            update = None  # no newer state follows the run
        if run.unfinished and update is None and (plan := document.plan_end(run, entry)) is not None:
            return plan
        return plan_form(document.entry(run), run.offset, entry, update)

    def add_step(self, document: Transaction, run_id: str, number: int, step: Entry) -> None:
        """Add `step` to an unfinished run as step `number`, counted from 0. Write nothing if the step is stored.

        If the last write to the document was made here and added the previous step, only the step is written.
        Otherwise, the run is read first. Raises RunNotFound if the run does not exist. Raises Conflict if the run is
        finished, has another step with this number, or has fewer than `number` steps.
        """
        last = self._last.of(document.row)
        if last is not None and last.steps == (run_id, number) and (plan := document.plan_step(step)) is not None:
            document.execute(plan)
            self._last.remember(document.row, _LastWrite(last.recent, (run_id, number + 1)))
            return
        entry = with_step(document, run_id, number, step)
        if entry is None:
            document.sync()
            return
        self.append(document, entry)
        if list(entry)[-2:] == ["steps", "status"] and _is_last(document.row, run_id):
            last = self._last.of(document.row)
            recent = None if last is None else last.recent
            self._last.remember(document.row, _LastWrite(recent, (run_id, number + 1)))

    def recent(self, document: Transaction) -> dict[str, Recent]:
        """Return the newest runs by id. They are remembered from the last write if the document is unchanged since."""
        last = self._last.of(document.row)
        if last is not None and last.recent is not None:
            return last.recent
        return document.recent(REMEMBERED_RUNS)

    def _useful_recent(self, document: Transaction, run_id: str) -> dict[str, Recent] | None:
        """Return the newest runs by id, or None to avoid parsing them.

        They are not parsed if the run cannot be among them and remembering them would not pay off, either because other
        processes write to the session or because this process writes to a very large number of sessions.
        """
        if document.row["session_id"] in self._last:
            is_useful = self._last.of(document.row) is not None
        else:
            is_useful = not self._last.is_full
        return self.recent(document) if is_useful or not document.cannot_have(run_id, REMEMBERED_RUNS) else None

    def conflict(self, document: Transaction, stored: Entry, entry: Entry) -> Conflict:
        """Return the error to raise when a run conflicts with the stored run of the same id.

        If either run is unfinished, the new run may hold work that is stored nowhere else, so it is saved to the rescue
        folder.
        """
        session_id, run_id = document.row["session_id"], entry["run_id"]
        state = "unfinished" if entry["status"] == "unfinished" else "finished"
        message = f"Run {run_id!r} of session {session_id!r} is {state} and differs from the stored run"
        path = document.file.path
        if stored.get("status") != "unfinished" and state == "finished":
            advice = "Give the new run another run_id, or read the session, change the run, and upsert it."
            return Conflict(f"{message}. Nothing was written. {advice}", path=path, session_id=session_id)
        reason = "another form of the run is stored"
        rescue_file = rescue_folder.set_aside(self._root, document.row["path"], session_id, reason, {"entry": entry})
        return Conflict(
            f"{message}, which is {stored.get('status', 'completed')}. The session was not "
            f"changed. The run is kept in {rescue_file}. See it with: localstore rescue {rescue_file.name}",
            path=path,
            session_id=session_id,
            rescued=str(rescue_file),
        )


def _is_last(row: IndexRow, run_id: str) -> bool:
    """Return whether the last entry is this run and the run is unfinished."""
    unfinished = row.get("unfinished_offsets", {})
    return bool(row.get("unfinished")) and run_id in unfinished and unfinished[run_id] == max(unfinished.values())

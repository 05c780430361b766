"""Read sessions and runs from documents, in the plain values that agno's own databases return."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from localstore.engine.snapshot import Snapshot
from localstore.errors import DocumentBroken
from localstore.format.agno_db.history import NeedsWholeDocument, restore_messages
from localstore.format.agno_db.messages import to_seconds
from localstore.format.agno_db.runs import RunKind, kind_of, names_owner, run_indexes, to_run
from localstore.index.row import IndexRow
from localstore.integrations.agno_db.listing import sorted_by
from localstore.integrations.agno_db.waiting_runs import WaitingRuns
from localstore.models.filter import Filter
from localstore.models.schema import Kind
from localstore.storage.session_edit import Documents

_NO_HISTORY = ("PAUSED", "CANCELLED", "ERROR", "REGENERATED")
"""agno never uses runs with these statuses as history. It does not use member runs either."""


@dataclass(frozen=True, slots=True)
class SessionContent:
    """The content of a document, with its runs in agno's form."""

    header: dict[str, Any]
    state: dict[str, Any]
    """The newest state."""
    updated_at: int
    """When the document was last changed, in seconds since 1970."""
    runs: list[dict[str, Any]]
    """The runs in agno's form, oldest first."""
    indexes: list[int]
    """For each run of the whole document, the `run_index` of agno's table of runs."""
    kinds: list[RunKind]
    """For each run of the whole document, whether it is the run of an agent, a team or a workflow."""


class Reader:
    """Reads sessions and runs of a store.

    Methods may raise DocumentBroken if a file cannot be parsed, NewerFormat for a file of a later localstore,
    LockTimeout, and OSError.
    """

    def __init__(self, documents: Documents, waiting: WaitingRuns, *, left_out: str | None = None) -> None:
        """Listings do not have the session `left_out`."""
        self._documents = documents
        self._left_out = left_out
        self._waiting = waiting

    def rows(self, user_id: str | None, entity_id: str | None, kind: str | None) -> list[IndexRow]:
        """Return the rows of the sessions of this user, agent or team or workflow, and kind, oldest first.

        None matches all. Sub-sessions, which agno does not have, are left out.
        """
        where = Filter(user=user_id, entity=entity_id, kind=cast("Kind | None", kind), sub_sessions=False)
        rows = [row for row in self._documents.rows(where) if row["session_id"] != self._left_out]
        rows.reverse()
        return sorted(rows, key=lambda row: row["created_at"])

    @staticmethod
    def sorted(rows: list[IndexRow], sort_by: str | None, sort_order: str | None) -> list[IndexRow]:
        """Return `rows` sorted by `session_id`, `created_at` or `updated_at`.

        The order is descending unless `sort_order` is "asc". If `sort_by` is None, return `rows` itself.
        """
        return rows if sort_by is None else sorted_by(rows, sort_by, sort_order, _row_value)

    def session(
        self, session_id: str, matches: Callable[[IndexRow], bool], runs_limit: int | None
    ) -> SessionContent | None:
        """Return the content of a session, or None if there is none or if `matches` is false for its row.

        If `runs_limit` is None, the content has all runs. Otherwise it has at most the last `runs_limit` of the runs
        that agno uses as history, and only the end of the document is read where that is sufficient.
        """
        if runs_limit is None:
            return self._content(session_id, self._documents.snapshot(session_id, matches, None), whole=True)
        count = max(0, runs_limit)
        while True:
            snapshot = self._documents.snapshot(session_id, matches, count)
            if snapshot is None:
                return None
            whole = len([entry for entry in snapshot.entries if entry["type"] == "run"]) < count
            try:
                content = self._content(session_id, snapshot, whole=whole)
            except NeedsWholeDocument:
                content = self._content(session_id, self._documents.snapshot(session_id, matches, None), whole=True)
                whole = True
            if content is None:
                return None
            runs = [run for run in content.runs if _is_history(run)]
            if whole or len(runs) >= runs_limit:
                return replace(content, runs=runs[max(0, len(runs) - runs_limit) :])
            count = 2 * count + 1

    def run_rows(self, session_id: str | None, user_id: str | None) -> Iterator[dict[str, Any]]:
        """Yield the runs of a session as rows of agno's table of runs, or those of all sessions for None.

        If `user_id` is not None, sessions of other users are skipped.
        """
        ids = [row["session_id"] for row in self.rows(user_id, None, None)] if session_id is None else [session_id]
        for each_id in ids:
            content = self.session(each_id, lambda row: user_id is None or row.get("user_id") == user_id, None)
            if content is not None:
                for run, index, kind in zip(content.runs, content.indexes, content.kinds, strict=True):
                    yield _run_row(content, run, index, kind)

    def find_run(self, run_id: str, *, with_index: bool = True) -> dict[str, Any] | None:
        """Return the row of a run in agno's table of runs, or None if no session has this run.

        All that is stored may have to be searched. Without `with_index`, its `run_index` may be wrong. Then the run
        alone is read from a database, unless it repeats messages of others.
        """
        for session_id in self._documents.with_run(run_id):
            if not with_index and (run_row := self._run_alone(session_id, run_id)) is not None:
                return run_row
            for run_row in self.run_rows(session_id, None):
                if run_row["run_id"] == run_id:
                    return run_row
        return None

    def _run_alone(self, session_id: str, run_id: str) -> dict[str, Any] | None:
        """Return the row of a run without reading others, or None if that is not enough."""
        snapshot = self._documents.look_at_run(session_id, run_id)
        if snapshot is None:
            return None
        [entry] = snapshot.entries
        if "agno_system" in entry and entry.get("instructions") is None and "instructions" not in snapshot.current:
            return None  # its system message is that of an earlier run, and another one came later
        try:
            content = self._content(session_id, snapshot, whole=False)
        except NeedsWholeDocument:
            return None
        return None if content is None else _run_row(content, content.runs[0], content.indexes[0], content.kinds[0])

    def _content(self, session_id: str, snapshot: Snapshot | None, *, whole: bool) -> SessionContent | None:
        if snapshot is None:
            return None
        self._waiting.record(snapshot.entries)
        try:
            return _session_content(session_id, snapshot, whole=whole)
        except (AttributeError, KeyError, TypeError) as error:
            raise DocumentBroken(
                f"{snapshot.path}: a key that begins with agno_ has a value of another form than agno's: {error}. "
                "Nothing was changed. Fix the file in an editor.",
                path=snapshot.path,
                session_id=session_id,
                problem=str(error),
            ) from None


def _session_content(session_id: str, snapshot: Snapshot, *, whole: bool) -> SessionContent:
    entries = restore_messages(snapshot.entries, snapshot.current, whole=whole)
    runs = [to_run(entry, session_id) for entry in entries]
    for entry, run in zip(entries, runs, strict=True):
        if "agno_run_type" not in entry and not names_owner(run):  # it was not written by agno
            owner = f"{snapshot.header['kind']}_id"
            run[owner] = snapshot.header.get(owner)
    kinds = [kind_of(run, entry.get("agno_run_type")) for entry, run in zip(entries, runs, strict=True)]
    updated_at = snapshot.fingerprint[1] // 1_000_000_000
    return SessionContent(snapshot.header, snapshot.current, updated_at, runs, run_indexes(entries), kinds)


def run_position(row: dict[str, Any]) -> tuple[int, int]:
    """Return the value by which agno's databases sort the rows of runs."""
    created_at = row["created_at"]
    return row["run_index"], created_at if isinstance(created_at, int) else 0


def _row_value(row: IndexRow, sort_by: str) -> Any:
    return row["fingerprint"][1] if sort_by == "updated_at" else row[sort_by]  # type: ignore[literal-required]


def _is_history(run: dict[str, Any]) -> bool:
    """Return whether agno uses the run as history."""
    return run.get("parent_run_id") is None and run.get("status") not in _NO_HISTORY


def _run_row(content: SessionContent, run: dict[str, Any], index: int, kind: RunKind) -> dict[str, Any]:
    """Return a run as a row of agno's table of runs."""
    header = content.header
    return {
        "run_id": run.get("run_id"),
        "session_id": header["session_id"],
        "run_type": kind,
        "agent_id": run.get("agent_id"),
        "team_id": run.get("team_id"),
        "workflow_id": run.get("workflow_id"),
        "user_id": header.get("user_id"),
        "parent_run_id": run.get("parent_run_id"),
        "status": run.get("status"),
        "run_index": index,
        "run_data": run,
        "created_at": run.get("created_at") or to_seconds(header["created_at"]),
        "updated_at": content.updated_at,
    }

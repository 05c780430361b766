"""How documents are read for agno: sessions and runs as its own databases give them, in plain values."""

from collections.abc import Callable, Iterator
from typing import Any

from localstore.disk import filesystem
from localstore.engine.engine import Engine, Snapshot
from localstore.index.row import IndexRow
from localstore.integrations.agno_db.history import TooShort, put_back
from localstore.integrations.agno_db.messages import seconds_of
from localstore.integrations.agno_db.runs import run_of

_NO_HISTORY = ("PAUSED", "CANCELLED", "ERROR", "REGENERATED")
"""Runs of these statuses, and those of members, agno never takes as history."""

Found = tuple[dict[str, Any], dict[str, Any], int, list[dict[str, Any]]]
"""The header of a session, what holds for it, when it was last written to in seconds, and its runs."""


class Reader:
    """Reads sessions and runs. Methods raise DocumentBroken, NewerFormat, LockTimeout and OSError."""

    def __init__(self, store: Engine) -> None:
        self._store = store

    def row(self, session_id: str) -> IndexRow | None:
        """What the index knows of a session. Raises DocumentBroken when nobody can tell what its file holds."""
        row = self._store.locate(session_id)
        if row is None:
            self._store.refuse_unreadable(session_id)
        return row

    def rows(self, user_id: str | None, entity_id: str | None, kind: str | None) -> list[IndexRow]:
        """The sessions that fit, the oldest first."""
        rows = self._store.index.rows(user_id, entity_id, kind, None)
        rows.reverse()
        return sorted(rows, key=lambda row: row["created_at"])

    @staticmethod
    def sorted(rows: list[IndexRow], sort_by: str | None, sort_order: str | None) -> list[IndexRow]:
        """Sort by what the index knows: `session_id`, `created_at` or `updated_at`."""
        return rows if sort_by is None else sorted_by(rows, sort_by, sort_order, _known)

    def session(self, session_id: str, wanted: Callable[[IndexRow], bool], runs_limit: int | None) -> Found | None:
        """A session that is `wanted`, whole or with its last runs that count as history."""
        if runs_limit is None:
            return self._found(session_id, self._store.look(session_id, wanted, None), whole=True)
        count = max(0, runs_limit)
        while True:
            snapshot = self._store.look(session_id, wanted, count)
            if snapshot is None:
                return None
            whole = len([entry for entry in snapshot.entries if entry["type"] == "run"]) < count
            try:
                found = self._found(session_id, snapshot, whole=whole)
            except TooShort:
                found = self._found(session_id, self._store.look(session_id, wanted, None), whole=True)
                whole = True
            if found is None:
                return None
            runs = [run for run in found[3] if _is_history(run)]
            if whole or len(runs) >= runs_limit:
                return (*found[:3], runs[max(0, len(runs) - runs_limit) :])
            count = 2 * count + 1

    def run_rows(self, session_id: str | None, user_id: str | None) -> Iterator[dict[str, Any]]:
        """The runs of one session, or of all, as rows of agno's table of runs."""
        ids = [row["session_id"] for row in self.rows(user_id, None, None)] if session_id is None else [session_id]
        for one in ids:
            found = self.session(one, lambda row: user_id is None or row.get("user_id") == user_id, None)
            if found is not None:
                for index, run in enumerate(found[3]):
                    yield _run_row(found, run, index)

    def find_run(self, run_id: str) -> dict[str, Any] | None:
        """The row of one run. Its session is told by the bytes of the documents, before one is parsed."""
        text = run_id.encode(errors="replace")
        for row in self._store.index.rows(None, None, None, None):
            if run_id.isalnum() or run_id.replace("-", "").isalnum():
                try:
                    if text not in filesystem.read_file(f"{self._store.root}/{row['path']}"):
                        continue
                except FileNotFoundError:
                    continue
            for found in self.run_rows(row["session_id"], None):
                if found["run_id"] == run_id:
                    return found
        return None

    @staticmethod
    def _found(session_id: str, snapshot: Snapshot | None, *, whole: bool) -> Found | None:
        if snapshot is None:
            return None
        entries = put_back(snapshot.entries, snapshot.current, whole=whole)
        runs = [run_of(entry, session_id) for entry in entries]
        return snapshot.header, snapshot.current, snapshot.fingerprint[1] // 1_000_000_000, runs


def sorted_by(rows: list[Any], sort_by: str, sort_order: str | None, value_of: Callable[[Any, str], Any]) -> list[Any]:
    """As agno sorts: descending unless `sort_order` is "asc"; unsorted by what is no field, or cannot be compared."""
    if not rows or (isinstance(rows[0], dict) and sort_by not in rows[0]):
        return rows
    try:
        values = [(value is None, value) for value in (value_of(row, sort_by) for row in rows)]
        order = sorted(range(len(rows)), key=values.__getitem__, reverse=sort_order != "asc")
    except TypeError:
        return rows
    return [rows[index] for index in order]


def _known(row: IndexRow, sort_by: str) -> Any:
    return row["fingerprint"][1] if sort_by == "updated_at" else row[sort_by]  # type: ignore[literal-required]


def _is_history(run: dict[str, Any]) -> bool:
    return run.get("parent_run_id") is None and run.get("status") not in _NO_HISTORY


def _run_row(found: Found, run: dict[str, Any], index: int) -> dict[str, Any]:
    header, _, seconds, _ = found
    kind = "agent" if run.get("agent_id") or run.get("agent_name") else "workflow"
    if kind != "agent" and (run.get("team_id") or run.get("team_name")):
        kind = "team"
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
        "created_at": run.get("created_at") or seconds_of(header["created_at"]),
        "updated_at": seconds,
    }

"""Write the new and changed parts of agno's sessions and runs to documents, under the lock of the session.

agno 2.x passes whole sessions. agno 3.x passes each session and then each of its runs separately.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from localstore.engine.removal import with_removal
from localstore.errors import DocumentBroken, OwnerMismatch, SessionNotFound
from localstore.format.agno_db.messages import NotRepresentable, to_seconds, to_time
from localstore.format.agno_db.runs import RunKind, in_order, run_indexes, to_entry
from localstore.format.agno_db.sessions import SessionFields, changed_header, changed_state
from localstore.format.document import order_header
from localstore.format.values import json_equal
from localstore.integrations.agno_db.document_change import DocumentChange
from localstore.integrations.agno_db.stored_session import StoredSession
from localstore.integrations.agno_db.waiting_runs import WaitingRuns
from localstore.models.schema import SCHEMA_VERSION, SESSION_KEYS
from localstore.models.times import now
from localstore.storage.session_edit import Create, Documents, OpenSession


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequest:
    """The session and the runs that one call of agno asks to store."""

    session_id: str
    kind: str
    """The kind of the session that agno stores. It may differ from that of the document."""
    fields: SessionFields | None
    """The fields of the session, or None to store only its runs."""
    runs: list[dict[str, Any]]
    """The runs as agno's `to_dict` returns them, in plain values."""
    run_kinds: Sequence[RunKind]
    """The kind of each run."""
    positions: Sequence[int | None]
    """For each run, the number of runs before it, or None if agno does not pass it. A position after the last run of
    the document means that the run is probably new: only the last entries are searched for it."""
    keeps_positions: bool = False
    """Whether to store the position of a new run if the document has another number of runs before it."""
    stored: StoredSession = field(default_factory=StoredSession)
    """The form in which the session was last read or stored."""
    created_at: Any = None
    """The creation time for a new session, in seconds since 1970. The present time is used for any other value."""
    user_id: str | None = None
    adds: bool = True
    """Whether runs are added to a session that exists. A new session is always created with its runs."""
    replaces: bool = True
    """Whether a run replaces the stored run with the same id. If false, the stored run is kept."""


@dataclass(frozen=True, slots=True)
class _WrittenRun:
    """The most recently written run. agno 3.x passes each run twice: with its session, and then separately."""

    session_id: str
    run: dict[str, Any]
    entry: dict[str, Any]
    fingerprint: list[int] | None
    """The fingerprint of the document that holds the run, or None if the run was not stored."""


class Writer:
    """Writes sessions and runs of agno to a store. Methods may raise the errors of the store, such as DocumentBroken,
    LockTimeout and OSError."""

    def __init__(self, documents: Documents, waiting: WaitingRuns) -> None:
        self._documents = documents
        self._waiting = waiting
        self._last: _WrittenRun | None = None

    def write(self, request: WriteRequest) -> None:
        """Store the session and the runs of a request. Creates the session if there is none, and never removes runs.

        A stored run that is replaced is set aside if it has messages that the new one lacks, unless this process knew
        it in that form while it was unfinished.

        Raises OwnerMismatch if the session belongs to another user, UnstorableValue for a value that a document cannot
        hold, and SessionNotFound for a member's run if there is no session. If the document is broken, the runs are set
        aside, and the DocumentBroken error names the file.
        """
        session_id = request.session_id
        last = self._repeated_run(request)
        if last is not None:
            entries = [last.entry]
        else:
            runs = zip(request.runs, request.run_kinds, strict=True)
            entries = [to_entry(run, session_id, kind) for run, kind in runs]
        try:
            fingerprint = self._documents.edit(
                session_id,
                lambda document: self._update(request, entries, document, last),
                lambda create: self._create(request, entries, create),
            )
        except DocumentBroken as error:
            if not entries:
                raise
            for entry in entries:
                error = self._documents.keep_run(error, session_id, entry)
            raise error from None
        if len(entries) == 1:
            self._last = _WrittenRun(session_id, request.runs[0], entries[0], fingerprint)

    def _repeated_run(self, request: WriteRequest) -> _WrittenRun | None:
        """Return the most recently written run if `request` contains only that run; otherwise return None."""
        last = self._last
        if last is None or last.session_id != request.session_id or len(request.runs) != 1:
            return None
        return last if json_equal(last.run, request.runs[0]) else None

    def _create(self, request: WriteRequest, entries: list[dict[str, Any]], create: Create) -> list[int] | None:
        """Create the document. Return its fingerprint if it holds all `entries`, or None if some had been deleted."""
        session_id = request.session_id
        if request.fields is None and any(run.get("parent_run_id") is not None for run in request.runs):
            raise SessionNotFound(f"There is no session {session_id!r}. Store it first.", session_id=session_id)
        change = DocumentChange(None, self._waiting)
        is_complete = True
        for entry, position in zip(entries, request.positions, strict=True):
            if entry["run_id"] in request.stored.runs:
                is_complete = False
            else:
                change.add(entry, position if request.keeps_positions else None)
        if request.fields is not None:
            change.add_state(request.fields.state)
        row = create(_new_header(request), change.added)
        self._waiting.record(change.added)
        return row["fingerprint"] if is_complete else None

    def _update(
        self,
        request: WriteRequest,
        entries: list[dict[str, Any]],
        document: OpenSession,
        last: _WrittenRun | None,
    ) -> list[int] | None:
        """Update the open document. Return its fingerprint if it holds all `entries` in this form; otherwise None.

        `last` is the result of `_repeated_run`: if the document is unchanged since, the run is not written again.
        """
        self._check_owner(request, document)
        change = DocumentChange(document, self._waiting)
        holds_all = True
        if last is None or last.fingerprint != document.row["fingerprint"]:
            for entry, position in zip(entries, request.positions, strict=True):
                is_after_end = position is not None and position >= document.row["runs"]
                run = change.find(entry["run_id"], far=not is_after_end)
                if run is None and request.adds and entry["run_id"] not in request.stored.runs:
                    change.add(entry, position if request.keeps_positions else None)
                elif run is not None and request.replaces:
                    change.replace(run, entry)
                else:
                    holds_all = False
        header = None
        if request.fields is not None:
            before = request.stored.fields
            header = changed_header(request.fields, before, change.header, request.kind)
            change.add_state(changed_state(request.fields, before, change.current))
        change.apply(header)
        return document.row["fingerprint"] if holds_all else None

    def _check_owner(self, request: WriteRequest, document: OpenSession) -> None:
        """Raise OwnerMismatch if the session belongs to a user other than that of the request.

        Without the fields of the session, the user is checked only if the request has one.
        """
        if document.row.get("user_id") is None:
            return
        self._documents.check_access(document.row, request.user_id, None)
        if request.user_id is None and request.fields is not None:
            raise OwnerMismatch(
                f"Session {request.session_id!r} belongs to a user, and was stored without one. Nothing was written. "
                "Use another session_id, or the user_id that it was created with.",
                session_id=request.session_id,
            )

    def delete_run(self, session_id: str, run_id: str) -> bool:
        """Remove one run from a session, but keep the session state that its entry holds.

        Return whether the run existed; False also if there is no such session.
        """
        existed = False

        def remove(document: OpenSession) -> bool:
            nonlocal existed
            existed = self._remove(document, run_id) or existed  # an earlier attempt may have removed it
            return existed

        return self._documents.edit(session_id, remove, lambda _: existed)

    def _remove(self, document: OpenSession, run_id: str) -> bool:
        change = DocumentChange(document, self._waiting)
        run = change.find(run_id)
        if run is None:
            return False
        entry = change.entry(run)
        state = {key: entry[key] for key in SESSION_KEYS if entry.get(key) is not None}
        update = {"type": "update", "created_at": entry["created_at"], **state} if state else None
        replaced: dict[int, dict[str, Any] | None] = {run: update}
        whole = document.whole()
        runs = [(at, one) for at, one in zip(whole.starts, whole.entries, strict=True) if one["type"] == "run"]
        for (at, following), index in zip(runs, run_indexes(one for _, one in runs), strict=True):
            if at > run:  # the runs after the removed one keep their indexes
                replaced[at] = in_order({**following, "agno_run_index": index})
                break
        document.change(with_removal(change.header, [run_id]), replaced, [])
        return True


def _new_header(request: WriteRequest) -> dict[str, Any]:
    """Return the header for a new session.

    agno's times are whole seconds. The present time is taken if it lies in the same second, so that sessions are listed
    in the order of their creation.
    """
    created_at = now()
    if request.created_at != to_seconds(created_at):
        with contextlib.suppress(NotRepresentable):
            created_at = to_time(request.created_at)
    kind = request.kind
    header = {
        "schema_version": SCHEMA_VERSION,
        "session_id": request.session_id,
        "kind": kind,
        "created_at": created_at,
    }
    if request.fields is not None:
        return order_header(header | request.fields.header)
    owner = {f"{kind}_id": request.runs[-1].get(f"{kind}_id"), "user_id": request.user_id}
    return order_header(header | {key: value for key, value in owner.items() if value is not None})

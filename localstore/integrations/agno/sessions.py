"""Read and write sessions of agno 1.x as plain mappings. A write stores only what is new or has changed."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from threading import Lock
from typing import Any

from localstore.engine.snapshot import Snapshot
from localstore.errors import KindMismatch
from localstore.format.document import order_header
from localstore.format.values import json_equal
from localstore.format.versions import Document
from localstore.format.versions.agno import FIRST_WORKFLOWS, MODE
from localstore.format.versions.values import is_empty, seconds_of
from localstore.index.row import IndexRow
from localstore.integrations.agno.entry_builder import EntryBuilder, PassedRun, unseen_runs
from localstore.integrations.agno.session_cache import (
    REMEMBERED_RUNS,
    CachedSession,
    bare_runs,
    complete_runs,
    parse_ready,
)
from localstore.integrations.agno.session_fields import (
    SessionContent,
    SessionFields,
    baseline_of,
    changed_header,
    changed_state,
    to_fields,
    to_session,
)
from localstore.storage.contract import SessionStorage
from localstore.storage.session_edit import Create, OpenSession

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_REMEMBERED_SESSIONS = 64
_READY_SESSIONS = 8
"""The number of sessions whose runs stay serialised for the next read. They need twice the size of their documents."""


class Sessions:
    """Reads and writes the sessions of agno in a store, and caches the ones used last. Safe for many threads and
    processes."""

    def __init__(self, storage: SessionStorage) -> None:
        self._storage = storage
        if not hasattr(storage, "_documents"):
            kind = type(storage).__name__
            raise TypeError(f"store must be a storage of localstore, such as JsonStorage(...), not {kind}")
        self._documents = storage._documents()
        self._cache: OrderedDict[str, CachedSession] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._storage,)

    def _cached(self, session_id: str) -> CachedSession:
        """Return the cached session, and add an empty one if there is none.

        Removes the least recently used session if the cache is full, and the serialised runs of all but the
        `_READY_SESSIONS` used last.
        """
        with self._lock:
            cached = self._cache.setdefault(session_id, CachedSession())
            self._cache.move_to_end(session_id)
            if len(self._cache) > _REMEMBERED_SESSIONS:
                self._cache.popitem(last=False)
            older = list(islice(reversed(self._cache.values()), _READY_SESSIONS, _READY_SESSIONS + 1))
        for session in older:
            with session.lock:
                session.settle()
                session.ready_runs, session.last_data = None, {}
        return cached

    # Writing

    def write(self, session: Document, runs: list[Document], kind: str, *, is_first: bool) -> int:
        """Store what is new in a session, and create the session if there is none. Change no argument.

        Return the creation time of the session, in whole seconds since 1970.

        Args:
            session: The session without its runs, in agno's form.
            runs: All its runs, or those that may have changed, in agno's form.
            kind: The kind of the session.
            is_first: Whether the session belongs to one of agno's first workflows.

        Raises OwnerMismatch or KindMismatch if the session belongs to another user or is of another kind,
        UnstorableValue for a value that a document cannot hold, and otherwise what `Storage.append` raises.
        """
        session_id = session["session_id"]
        cached = self._cached(session_id)
        with cached.lock:
            cached.settle()
        unseen = unseen_runs(cached, runs, session_id)
        fields = to_fields(session, kind, is_first=is_first)

        def update(document: OpenSession) -> str:
            with cached.lock:
                self._check_access(document, session.get("user_id"), kind, is_first=is_first)
                if cached.fingerprint != document.row["fingerprint"]:
                    parsed = document.whole()
                    newest = bare_runs(parsed.header, parsed.entries, REMEMBERED_RUNS)
                    cached.load(parsed.header, parsed.entries, newest, document.row["fingerprint"])
                self._update(cached, document, fields, unseen)
                return document.row["created_at"]

        def make(create: Create) -> str:
            with cached.lock:
                return self._create(create, cached, fields, unseen)

        seen = dict(cached.seen)
        try:
            created_at = self._documents.edit(session_id, update, make)
        except BaseException:
            with cached.lock:  # what a failed transaction of a database wrote is not stored, and must be written again
                cached.seen, cached.last_data = seen, {}
                cached.forget_document()
            raise
        return int(seconds_of(created_at) or 0)

    @staticmethod
    def _create(create: Create, cached: CachedSession, fields: SessionFields, runs: list[PassedRun]) -> str:
        """Create the document, update `cached`, and return the creation time of the session."""
        cached.forget_document()
        header = fields.header
        state = {key: value for key, value in fields.state.items() if not is_empty(value)}
        builder = EntryBuilder(cached, header, None)
        entries = builder.entries(runs, state, fields.interactions)
        times = [header["created_at"], *(entry["created_at"] for entry in entries if entry["type"] == "run")]
        header = order_header({**header, "created_at": min(times)})
        row = create(header, entries)
        builder.record_written(row["fingerprint"], fields)
        created_at: str = header["created_at"]
        return created_at

    def _update(
        self, cached: CachedSession, document: OpenSession, fields: SessionFields, runs: list[PassedRun]
    ) -> None:
        """Write new runs, changed runs and changed fields to the open document, and update `cached`."""
        before = document.header()
        header = changed_header(cached, before, fields)
        changes = changed_state(cached, fields.state)
        builder = EntryBuilder(cached, header, document)
        builder.keep_shared_fields(before)
        new_runs = []
        for run in runs:
            if run.run_id in cached.member_ids:
                builder.skip_member(run)
            elif run.run_id in cached.run_ids:
                builder.replace(run)
            else:
                new_runs.append(run)
        entries = builder.entries(new_runs, changes, fields.interactions)
        if builder.replaced or not json_equal(header, before):
            document.change(order_header(header), {**builder.replaced}, entries)
        else:
            for entry in entries:
                document.append([entry])
        builder.record_written(document.row["fingerprint"], fields)

    def _check_access(self, document: OpenSession, user_id: str | None, kind: str, *, is_first: bool) -> None:
        self._documents.check_access(document.row, user_id, kind)
        if kind == "workflow":
            _check_mode(document.header(), is_first=is_first)

    # Reading

    def read(self, session_id: str, user_id: str | None, kind: str, *, is_first: bool) -> Document | None:
        """Return a session in agno's form, or None if there is none or if it does not belong to `user_id`.

        If `user_id` is None, the session may belong to any user. The caller may change the result.

        Raises KindMismatch if the session is of another kind or of the other form of workflows, DocumentBroken if its
        file cannot be parsed, and may raise NewerFormat, OlderFormat or OSError.
        """
        documents = self._documents

        def matches(row: IndexRow) -> bool:
            if user_id is not None and row.get("user_id") != user_id:
                return False
            documents.check_access(row, None, kind)
            return True

        cached = self._cached(session_id)
        if (unchanged := self._read_cached(cached, session_id, matches)) is not None:
            header, content = unchanged
            runs = parse_ready(content.runs)
        else:
            fingerprint = cached.fingerprint
            snapshot = self._documents.snapshot(session_id, matches, None)
            if snapshot is None:
                return None
            header = snapshot.header
            bare = bare_runs(header, snapshot.entries)
            content = SessionContent.of(snapshot, bare)
            with cached.lock:
                if cached.fingerprint == fingerprint:
                    self._record_read(cached, snapshot, content, bare)
            runs = complete_runs(bare, content.runs)
        if kind == "workflow":
            _check_mode(header, is_first=is_first)
        return to_session(header, content, runs)

    def _read_cached(
        self, cached: CachedSession, session_id: str, matches: Callable[[IndexRow], bool]
    ) -> tuple[Document, SessionContent] | None:
        """Return the current header and the cached content of a session.

        Return None if the runs are not cached, if the document has changed since, or if its row does not match.
        """
        with cached.lock:
            if cached.ready_runs is None:
                return None
            fingerprint = cached.fingerprint
            interactions = list(cached.interactions.values())
            content = SessionContent(cached.ready_runs, cached.state, interactions, cached.updated_at)
        snapshot = self._documents.snapshot(session_id, matches, 0)
        if snapshot is None or snapshot.fingerprint != fingerprint:
            return None
        with cached.lock:
            cached.baseline = baseline_of(snapshot.header, content.state)
        return snapshot.header, content

    def _record_read(
        self, cached: CachedSession, snapshot: Snapshot, content: SessionContent, bare: list[Document]
    ) -> None:
        """Update `cached` with the content that agno is about to receive. The caller holds its lock."""
        if cached.fingerprint != snapshot.fingerprint:
            cached.load(snapshot.header, snapshot.entries, bare[-REMEMBERED_RUNS:], snapshot.fingerprint)
        cached.settle()
        cached.read_runs = cached.ready_runs = content.runs
        cached.baseline = baseline_of(snapshot.header, cached.state)

    def ids(self, user_id: str | None, entity_id: str | None, kind: str, *, is_first: bool) -> Iterator[str]:
        """Yield the ids of the sessions of this kind that match, most recently created first.

        None as `user_id` or `entity_id` matches all sessions. `is_first` selects one of the two forms of workflows.
        """
        infos = self._storage.list_sessions(user_id, entity_id, kind)
        for info in sorted(infos, key=lambda info: info.created_at or _LONG_AGO, reverse=True):
            if kind != "workflow" or self._is_of_mode(info.session_id, is_first):
                yield info.session_id

    def _is_of_mode(self, session_id: str, is_first: bool) -> bool:
        snapshot = self._documents.snapshot(session_id, lambda _: True, 0)
        return snapshot is not None and (snapshot.header.get(MODE) == FIRST_WORKFLOWS) is is_first


def _check_mode(header: Document, *, is_first: bool) -> None:
    if (header.get(MODE) == FIRST_WORKFLOWS) is not is_first:
        raise KindMismatch(
            f"Session {header['session_id']!r} is one of agno's {'later' if is_first else 'first'} workflows. Nothing "
            "was written. Use another session_id.",
            session_id=header["session_id"],
        )

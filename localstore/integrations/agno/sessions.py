"""Sessions of agno 1.x in a store, as plain mappings: each write appends what is new of them."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from threading import Lock
from typing import Any

from localstore.engine.engine import Snapshot
from localstore.engine.transaction import Transaction
from localstore.errors import KindMismatch
from localstore.format.document import order_header
from localstore.format.values import json_equal
from localstore.format.versions import Document
from localstore.format.versions.agno import FIRST_WORKFLOWS, MODE
from localstore.format.versions.values import is_empty, seconds_of
from localstore.index.row import IndexRow
from localstore.integrations.agno.entry_builder import Builder, Given, fresh_runs
from localstore.integrations.agno.session_cache import REMEMBERED_RUNS, Known, bare_runs, unfolded, whole
from localstore.integrations.agno.session_fields import (
    Parts,
    View,
    changed_header,
    changed_state,
    given_of,
    parts_of,
    session_of,
)
from localstore.storage.storage import Storage

_REMEMBERED_SESSIONS = 64
_READY_SESSIONS = 8
"""So many are kept as agno reads and gives them: twice as large as their documents."""


class Sessions:
    """The sessions of one mode of agno in a store. Safe for many threads and processes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._store = storage._engine
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._storage,)

    def _of(self, session_id: str) -> Known:
        with self._lock:
            known = self._known.setdefault(session_id, Known())
            self._known.move_to_end(session_id)
            if len(self._known) > _REMEMBERED_SESSIONS:
                self._known.popitem(last=False)
            older = list(islice(reversed(self._known.values()), _READY_SESSIONS, _READY_SESSIONS + 1))
        for one in older:
            with one.lock:
                one.settle()
                one.handed, one.last_data = None, {}
        return known

    # Writing

    def write(self, raw: Document, runs: list[Document], kind: str, *, is_first: bool) -> int:
        """Store what is new of a session: `raw` is the session without its `runs`. When it was created, in seconds.

        Raises what Storage.append raises.
        """
        session_id = raw["session_id"]
        known = self._of(session_id)
        with known.lock:
            known.settle()
        fresh = fresh_runs(known, runs, session_id)
        parts = parts_of(raw, kind, is_first=is_first)

        def work(transaction: Transaction | None) -> str:
            with known.lock:
                if transaction is None:
                    return self._create(known, parts, fresh)
                self._check(transaction, raw.get("user_id"), kind, is_first=is_first)
                if known.fingerprint != transaction.row["fingerprint"]:
                    parsed = transaction.whole()
                    newest = bare_runs(parsed.header, parsed.entries, REMEMBERED_RUNS)
                    known.load(parsed.header, parsed.entries, newest, transaction.row["fingerprint"])
                self._add(known, transaction, parts, fresh)
                return transaction.row["created_at"]

        return int(seconds_of(self._store.change(session_id, work)) or 0)

    def _create(self, known: Known, parts: Parts, fresh: list[Given]) -> str:
        known.forget_document()
        header = parts.header
        changes = {key: value for key, value in parts.state.items() if not is_empty(value)}
        builder = Builder(known, header, None)
        entries = builder.entries(fresh, changes, parts.interactions)
        begun = [header["created_at"], *(entry["created_at"] for entry in entries if entry["type"] == "run")]
        header = order_header({**header, "created_at": min(begun)})
        row = self._store.create(header, entries, self._storage._suffix)
        builder.done(row["fingerprint"], parts)
        created_at: str = header["created_at"]
        return created_at

    def _add(self, known: Known, transaction: Transaction, parts: Parts, fresh: list[Given]) -> None:
        before = transaction.header()
        header = changed_header(known, before, parts.header)
        changes = changed_state(known, parts.state)
        builder = Builder(known, header, transaction)
        replaced: dict[int, Document | None] = {}
        added = []
        for given in fresh:
            if given.run_id in known.beside:
                builder.pass_over(given)
            elif given.run_id in known.run_ids:
                replaced |= builder.replacement(given)
            else:
                added.append(given)
        entries = builder.entries(added, changes, parts.interactions)
        if replaced or not json_equal(header, before):
            transaction.change(order_header(header), replaced, entries)
        else:
            for entry in entries:
                transaction.append([entry])
        builder.done(transaction.row["fingerprint"], parts)

    def _check(self, transaction: Transaction, user_id: str | None, kind: str, *, is_first: bool) -> None:
        self._storage._check_access(transaction.row, user_id, kind)
        if kind == "workflow":
            _check_mode(transaction.header(), is_first=is_first)

    # Reading

    def read(self, session_id: str, user_id: str | None, kind: str, *, is_first: bool) -> Document | None:
        """The session in agno's form; None when there is none, or (with `user_id`) it is somebody else's.

        Raises KindMismatch, DocumentBroken, NewerFormat, OlderFormat, OSError.
        """
        storage = self._storage

        def wanted(row: IndexRow) -> bool:
            if user_id is not None and row.get("user_id") != user_id:
                return False
            storage._check_access(row, None, kind)
            return True

        known = self._of(session_id)
        if (seen := self._seen(known, session_id, wanted)) is not None:
            header, view = seen
            runs = unfolded(view.handed)
        else:
            fingerprint = known.fingerprint
            snapshot = self._store.look(session_id, wanted, None)
            if snapshot is None:
                return None
            header = snapshot.header
            bare = bare_runs(header, snapshot.entries)
            view = View.of(snapshot, bare)
            with known.lock:
                if known.fingerprint == fingerprint:
                    self._see(known, snapshot, view, bare)
            runs = whole(bare, view.handed)
        if kind == "workflow":
            _check_mode(header, is_first=is_first)
        return session_of(header, view, runs)

    def _seen(self, known: Known, session_id: str, wanted: Callable[[IndexRow], bool]) -> tuple[Document, View] | None:
        """The header, and what is known already, when nobody wrote to the document since."""
        with known.lock:
            if known.handed is None:
                return None
            fingerprint = known.fingerprint
            view = View(known.handed, known.current, list(known.interactions.values()), known.updated_at)
        snapshot = self._store.look(session_id, wanted, 0)
        if snapshot is None or snapshot.fingerprint != fingerprint:
            return None
        with known.lock:
            known.given = given_of(snapshot.header, view.current)
        return snapshot.header, view

    def _see(self, known: Known, snapshot: Snapshot, view: View, bare: list[Document]) -> None:
        if known.fingerprint != snapshot.fingerprint:
            known.load(snapshot.header, snapshot.entries, bare[-REMEMBERED_RUNS:], snapshot.fingerprint)
        known.settle()
        known.unseen = known.handed = view.handed
        known.given = given_of(snapshot.header, known.current)

    def ids(self, user_id: str | None, entity_id: str | None, kind: str, *, is_first: bool) -> Iterator[str]:
        """The ids of the sessions that fit, the newest first by the time at which they were created."""
        infos = self._storage.list_sessions(user_id, entity_id, kind)
        for info in sorted(infos, key=lambda info: info.created_at, reverse=True):
            if kind != "workflow" or self._is_of_mode(info.session_id, is_first):
                yield info.session_id

    def _is_of_mode(self, session_id: str, is_first: bool) -> bool:
        snapshot = self._store.look(session_id, lambda _: True, 0)
        return snapshot is not None and (snapshot.header.get(MODE) == FIRST_WORKFLOWS) is is_first


def _check_mode(header: Document, *, is_first: bool) -> None:
    if (header.get(MODE) == FIRST_WORKFLOWS) is not is_first:
        raise KindMismatch(
            f"Session {header['session_id']!r} is one of agno's {'later' if is_first else 'first'} workflows. Nothing "
            "was written. Use another session_id.",
            session_id=header["session_id"],
        )

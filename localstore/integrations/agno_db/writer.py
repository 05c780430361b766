"""How what agno hands over gets into a document: under its lock, and only what is new.

agno hands over whole sessions (2.x), or sessions and runs one by one (3.x). Which runs of a session are in the document
already is remembered with agno's session object, so that they are not looked at again.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from localstore.engine.engine import Engine
from localstore.engine.transaction import Recent, Transaction
from localstore.errors import DocumentBroken, KindMismatch, OwnerMismatch, SessionNotFound
from localstore.format.document import newest_state, order_header
from localstore.format.values import json_equal
from localstore.integrations.agno_db.history import take_out_history, take_out_system
from localstore.integrations.agno_db.messages import Odd, time_of
from localstore.integrations.agno_db.runs import entry_of, in_order
from localstore.integrations.agno_db.sessions import Parts, changed_header, changed_state
from localstore.models.schema import SCHEMA_VERSION, SESSION_KEYS
from localstore.models.session import now

_FOUND_AS_IT_IS = re.compile(r"[0-9A-Za-z_-]+\Z")
"""An id whose bytes stand in a document as they are."""


@dataclass(slots=True)
class Known:
    """What a session object of agno was when it was read or stored last: its parts, and by their ids the runs, each
    with its object, status, number of messages, and whether it is over."""

    parts: Parts | None = None
    runs: dict[str, tuple[Any, Any, int, bool]] = field(default_factory=dict)


class Writer:
    """Writes sessions and runs of agno into a store. Methods raise what the store raises."""

    def __init__(self, store: Engine, suffix: str) -> None:
        self._store = store
        self._suffix = suffix

    def write(
        self,
        session_id: str,
        kind: str,
        parts: Parts | None,
        runs: list[dict[str, Any]],
        *,
        known: Known | None = None,
        created_at: Any = None,
        user_id: str | None = None,
        places: Sequence[int | None] = (),
        replace: bool = True,
    ) -> None:
        """Bring a session, or with `parts` None only its runs, into the document; nothing is ever removed.

        Runs that `known` says were stored before, and that are no more, were deleted, and stay so.
        `places` says how many runs there are before each of the runs, as far as the caller knows: when the document
        has no more, it is a new one, and is not looked for far back. Without `replace`, runs that are in the document
        stay as they are.
        Raises OwnerMismatch, KindMismatch, UnstorableValue, SessionNotFound for a member's run without a session.
        """
        entries = [entry_of(run, session_id) for run in runs]

        def work(transaction: Transaction | None) -> None:
            change = _Change(self._store, transaction, session_id)
            if transaction is None:
                if parts is None and any(run.get("parent_run_id") is not None for run in runs):
                    raise SessionNotFound(f"There is no session {session_id!r}. Store it first.", session_id=session_id)
                for entry in entries:
                    if known is None or entry["run_id"] not in known.runs:
                        change.add(entry)
                if parts is not None:
                    change.say(parts.state)
                header = _new_header(session_id, kind, parts, runs, created_at, user_id)
                self._store.create(header, change.added, self._suffix)
                return
            _check_access(
                transaction,
                user_id,
                kind if parts is not None else None,
                f"{self._store.root}/{transaction.row['path']}",
            )
            header = there = transaction.header()
            count = transaction.row["runs"]
            for entry, place in zip_longest(entries, places):
                found = change.find(entry["run_id"], far=place is None or place < count)
                if found is None and (known is None or entry["run_id"] not in known.runs):
                    change.add(entry)
                elif found is not None and replace:
                    change.replace(found, entry)
            if parts is not None:
                base = known.parts if known else None
                header = changed_header(parts, base, there)
                change.say(changed_state(parts, base, change.current))
            change.apply(header, there)

        try:
            self._store.change(session_id, work)
        except DocumentBroken as error:
            if not entries:
                raise
            for entry in entries:
                error = self._store.keep_run(error, session_id, entry)
            raise error from None

    def delete_run(self, session_id: str, run_id: str) -> bool:
        """Remove one run from a session; False when it is not there. What it said of the session stays said."""

        def work(transaction: Transaction | None) -> bool:
            if transaction is None:
                return False
            change = _Change(self._store, transaction, session_id)
            found = change.find(run_id)
            if found is None:
                return False
            said = {key: value for key in SESSION_KEYS if (value := transaction.entry(found).get(key)) is not None}
            stay = {"type": "update", "created_at": transaction.entry(found)["created_at"], **said} if said else None
            transaction.change(transaction.header(), {found.offset: stay}, [])
            return True

        return self._store.change(session_id, work)


class _Change:
    """What is to be done to one document."""

    def __init__(self, store: Engine, transaction: Transaction | None, session_id: str) -> None:
        self._store = store
        self._draft = transaction
        self._session_id = session_id
        self.current = {} if transaction is None else _current(transaction)
        self.added: list[dict[str, Any]] = []
        self._replaced: dict[int, dict[str, Any] | None] = {}
        self._finished: tuple[Recent, dict[str, Any]] | None = None

    def find(self, run_id: str, *, far: bool = True) -> Recent | None:
        """Where a run of the document stands, however old it is; unless `far`, among the last ones."""
        transaction = self._draft
        if transaction is None:
            return None
        if not transaction.row.get("foreign"):
            if (found := self._store.recent(transaction).get(run_id)) is not None:
                return found
            if (offset := transaction.row.get("waiting", {}).get(run_id)) is not None:
                return Recent(offset, True)
            if not far or (_FOUND_AS_IT_IS.match(run_id) and run_id.encode() not in transaction.file.read_all()):
                return None
        parsed = transaction.whole()
        for offset, entry in zip(parsed.starts, parsed.entries, strict=True):
            if entry.get("run_id") == run_id:
                return Recent(offset, entry.get("status") == "unfinished")
        return None

    def add(self, entry: dict[str, Any]) -> None:
        """Add a run at the end."""
        entry = dict(entry)
        text = take_out_system(entry)
        take_out_history(entry, self._earlier())
        if text is not None and text != self.current.get("instructions"):
            self.current["instructions"] = entry["instructions"] = text
        self._settle_state(entry, self.current.get("session_state"))
        self.added.append(in_order(entry))

    def replace(self, found: Recent, entry: dict[str, Any]) -> None:
        """Put a run in the place of the one with its id. What that said of the session it still says."""
        assert self._draft is not None  # noqa: S101 (for the type checker)
        old, entry = self._draft.entry(found), dict(entry)
        text = take_out_system(entry)
        take_out_history(entry, self._earlier(found.offset))
        entry |= {key: old[key] for key in SESSION_KEYS if old.get(key) is not None}
        holds = entry.get("instructions")
        if holds is None and self._draft.row.get("offsets", {}).get("instructions", found.offset + 1) <= found.offset:
            holds = self.current.get("instructions")
        if text is not None and text != holds:
            entry["agno_system"] = {"content": text, **entry["agno_system"]}
        self._settle_state(entry, old.get("session_state"))
        entry = in_order(entry)
        if not json_equal(entry, old):
            self._replaced[found.offset] = entry
            self._finished = (found, entry) if found.unfinished else None

    def say(self, state: dict[str, Any]) -> None:
        """Say what holds for the session from here on: in the last new run, else in an entry of its own."""
        if not state:
            return
        self.current |= state
        if self.added and self.added[-1]["type"] == "run":
            last = self.added[-1]
            absent = last.get("agno_absent", ())
            own = last.get("agno_session_state", last.get("session_state") if "session_state" not in absent else None)
            entry = {key: value for key, value in last.items() if key != "agno_session_state"} | state
            if own is not None and not json_equal(own, entry.get("session_state")):
                entry["agno_session_state"] = own
            elif own is None and "session_state" in entry and "agno_run" not in entry:
                entry["agno_absent"] = sorted({*absent, "session_state"})
            self.added[-1] = in_order(entry)
        else:
            self.added.append({"type": "update", "created_at": now(), **state})

    def apply(self, header: dict[str, Any], there: dict[str, Any]) -> None:
        """Write it: by adding to the file where that is enough."""
        transaction = self._draft
        assert transaction is not None  # noqa: S101 (for the type checker)
        if not json_equal(header, there):
            transaction.change(order_header(header), self._replaced, self.added)
        elif self._finished is not None and len(self._replaced) == 1 and not self.added:
            transaction.finish(*self._finished)
        elif self._replaced:
            transaction.change(there, self._replaced, self.added)
        elif len(self.added) == 1 and self.added[0]["type"] == "run":
            self._store.append_run(transaction, self.added[0])
        elif self.added:
            transaction.append(self.added)
        else:
            transaction.sync()

    @staticmethod
    def _settle_state(entry: dict[str, Any], holds: Any) -> None:
        """A run's own copy of the session's state is said as such, where it is no other one."""
        if "agno_session_state" in entry and json_equal(entry["agno_session_state"], holds):
            entry["session_state"] = entry.pop("agno_session_state")
        elif "session_state" in entry and "agno_session_state" not in entry and "agno_run" not in entry:
            entry["agno_absent"] = sorted({*entry.get("agno_absent", ()), "session_state"})

    def _earlier(self, before: int | None = None) -> Iterator[dict[str, Any]]:
        """The runs before a place, the newest first: those where copies of the history come from."""
        if before is None:
            yield from reversed(self.added)
        if self._draft is not None:
            for run in reversed(self._store.recent(self._draft).values()):
                if before is None or run.offset < before:
                    yield self._draft.entry(run)


def _current(transaction: Transaction) -> dict[str, Any]:
    """What holds for the session at the end of the document."""
    if transaction.row.get("foreign"):
        return newest_state(transaction.whole().entries)
    found: dict[int, dict[str, Any]] = {}
    current = {}
    for name, offset in transaction.row.get("offsets", {}).items():
        if offset not in found:
            found[offset] = transaction.entry(Recent(offset, False))
        current[name] = found[offset].get(name)
    return current


def _check_access(transaction: Transaction, user_id: str | None, kind: str | None, path: str) -> None:
    session_id, owner = transaction.row["session_id"], transaction.row.get("user_id")
    if owner is not None and owner != user_id and (kind is not None or user_id is not None):
        raise OwnerMismatch(
            f"Session {session_id!r} belongs to another user. Nothing was written. Use another session_id, or give the "
            "user_id of its owner.",
            path=path,
            session_id=session_id,
        )
    if kind is not None and transaction.row["kind"] != kind:
        raise KindMismatch(
            f"Session {session_id!r} is of kind {transaction.row['kind']}, not {kind}. Nothing was written. "
            "Use another session_id.",
            path=path,
            session_id=session_id,
        )


def _new_header(
    session_id: str,
    kind: str,
    parts: Parts | None,
    runs: list[dict[str, Any]],
    created_at: Any,
    user_id: str | None,
) -> dict[str, Any]:
    try:
        began = time_of(created_at)
    except Odd:
        began = now()
    header = {"schema_version": SCHEMA_VERSION, "session_id": session_id, "kind": kind, "created_at": began}
    if parts is not None:
        return order_header(header | parts.header)
    header |= {f"{kind}_id": runs[-1].get(f"{kind}_id"), "user_id": user_id}
    return order_header({key: value for key, value in header.items() if value is not None})

"""The changes that one write of agno makes to a document: runs that are added or replaced, and new state."""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from localstore.engine.engine import Engine
from localstore.engine.transaction import Recent, Transaction
from localstore.format.document import newest_state, order_header
from localstore.format.values import json_equal
from localstore.integrations.agno_db.history import extract_system, refer_to_history
from localstore.integrations.agno_db.runs import in_order
from localstore.models.schema import SESSION_KEYS
from localstore.models.times import now

_PLAIN_ID = re.compile(r"[0-9A-Za-z_-]+\Z")
"""An id that stands in a document without escapes."""


class DocumentChange:
    """Collects changes to one document, and writes them. Reads each part of the document at most once."""

    def __init__(self, engine: Engine, transaction: Transaction | None) -> None:
        """`transaction` is the open document; None for a new one, which the caller writes with `added`."""
        self._engine = engine
        self._transaction = transaction
        self._entries: dict[int, dict[str, Any]] = {}
        self.added: list[dict[str, Any]] = []
        self._replaced: dict[int, dict[str, Any] | None] = {}
        self._finished: tuple[Recent, dict[str, Any]] | None = None

    @property
    def _open(self) -> Transaction:
        assert self._transaction is not None  # noqa: S101 (for the type checker)
        return self._transaction

    @cached_property
    def header(self) -> dict[str, Any]:
        """The header of the document as it is."""
        return self._open.header()

    @cached_property
    def current(self) -> dict[str, Any]:
        """The newest state of the session, with the changes so far."""
        if self._transaction is None:
            return {}
        row = self._transaction.row
        if row.get("foreign"):
            return newest_state(self._transaction.whole().entries)
        return {name: self.entry(Recent(at, False)).get(name) for name, at in row.get("offsets", {}).items()}

    def entry(self, run: Recent) -> dict[str, Any]:
        """Return an entry of the document."""
        if run.offset not in self._entries:
            self._entries[run.offset] = self._open.entry(run)
        return self._entries[run.offset]

    def find(self, run_id: str, *, far: bool = True) -> Recent | None:
        """Return the place of a run, or None if there is none. Without `far`, search the last entries only."""
        if self._transaction is None:
            return None
        row = self._transaction.row
        if not row.get("foreign"):
            if (recent := self._engine.runs.recent(self._transaction).get(run_id)) is not None:
                return recent
            if (offset := row.get("waiting", {}).get(run_id)) is not None:
                return Recent(offset, True)
            if not far or (_PLAIN_ID.match(run_id) and run_id.encode() not in self._transaction.file.read_all()):
                return None
        parsed = self._transaction.whole()
        for offset, entry in zip(parsed.starts, parsed.entries, strict=True):
            if entry.get("run_id") == run_id:
                return Recent(offset, entry.get("status") == "unfinished")
        return None

    def add(self, entry: dict[str, Any]) -> None:
        """Add a run at the end."""
        entry = dict(entry)
        system = extract_system(entry)
        refer_to_history(entry, self._runs_before())
        if system is not None and system != self.current.get("instructions"):
            self.current["instructions"] = entry["instructions"] = system
        _settle_state(entry, self.current.get("session_state"))
        self.added.append(in_order(entry))

    def replace(self, run: Recent, entry: dict[str, Any]) -> None:
        """Replace a run. The new entry keeps the session's state that the old one holds."""
        old, entry = self.entry(run), dict(entry)
        system = extract_system(entry)
        refer_to_history(entry, self._runs_before(run.offset))
        entry |= {key: old[key] for key in SESSION_KEYS if old.get(key) is not None}
        instructions = entry.get("instructions")
        newest_at = self._open.row.get("offsets", {}).get("instructions")
        if instructions is None and newest_at is not None and newest_at <= run.offset:
            instructions = self.current.get("instructions")
        if system is not None and system != instructions:
            entry["agno_system"] = {"content": system, **entry["agno_system"]}
        _settle_state(entry, old.get("session_state"))
        entry = in_order(entry)
        if not json_equal(entry, old):
            self._replaced[run.offset] = entry
            self._finished = (run, entry) if run.unfinished else None

    def add_state(self, state: dict[str, Any]) -> None:
        """Add new state of the session: to the last new run, else as an entry of its own."""
        if not state:
            return
        self.current.update(state)
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

    def apply(self, header: dict[str, Any] | None) -> None:
        """Write the changes, by appending where that is enough. `header` is the new header; None keeps it."""
        transaction = self._open
        if header is not None and not json_equal(header, self.header):
            transaction.change(order_header(header), self._replaced, self.added)
        elif self._finished is not None and len(self._replaced) == 1 and not self.added:
            transaction.finish(*self._finished)
        elif self._replaced:
            transaction.change(self.header, self._replaced, self.added)
        elif len(self.added) == 1 and self.added[0]["type"] == "run":
            self._engine.runs.append(transaction, self.added[0])
        elif self.added:
            transaction.append(self.added)
        else:
            transaction.sync()

    def _runs_before(self, offset: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the last runs before a place, newest first; None is the end, behind what was added."""
        if offset is None:
            yield from reversed(self.added)
        if self._transaction is not None:
            for run in reversed(self._engine.runs.recent(self._transaction).values()):
                if offset is None or run.offset < offset:
                    yield self.entry(run)


def _settle_state(entry: dict[str, Any], session_state: Any) -> None:
    """Leave out a run's own copy of the session's state if it equals the session's state at this place."""
    if "agno_session_state" in entry and json_equal(entry["agno_session_state"], session_state):
        entry["session_state"] = entry.pop("agno_session_state")
    elif "session_state" in entry and "agno_session_state" not in entry and "agno_run" not in entry:
        entry["agno_absent"] = sorted({*entry.get("agno_absent", ()), "session_state"})

"""Collect and apply the changes that one write of agno makes to a document: new runs, replaced runs, new state."""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from localstore.disk import rescue_folder
from localstore.engine.engine import Engine
from localstore.engine.open_document import Recent
from localstore.engine.transaction import Transaction
from localstore.format.agno_db.history import extract_system, refer_to_history
from localstore.format.agno_db.runs import contains_run, in_order
from localstore.format.document import newest_state, order_header
from localstore.format.run_entry import keep_rating
from localstore.format.values import json_equal
from localstore.integrations.agno_db.waiting_runs import WaitingRuns
from localstore.models.schema import SESSION_KEYS
from localstore.models.times import now

_PLAIN_ID = re.compile(r"[0-9A-Za-z_-]+\Z")
"""An id that contains no characters that are escaped in a document."""


class DocumentChange:
    """Collects changes to one document; `apply` writes them. Parses each entry of the document at most once."""

    def __init__(self, engine: Engine, transaction: Transaction | None, waiting: WaitingRuns) -> None:
        """`transaction` is the open document. It is None for a new document, which the caller creates from `added`."""
        self._engine = engine
        self._waiting = waiting
        self._transaction = transaction
        self._entries: dict[int, dict[str, Any]] = {}
        self.added: list[dict[str, Any]] = []
        self._replaced: dict[int, dict[str, Any] | None] = {}
        self._finished: tuple[Recent, dict[str, Any]] | None = None
        self._lost: list[dict[str, Any]] = []
        """The replaced runs with messages that would be lost."""

    @property
    def _open(self) -> Transaction:
        assert self._transaction is not None  # noqa: S101 (for the type checker)
        return self._transaction

    @cached_property
    def header(self) -> dict[str, Any]:
        """The header of the document before the changes."""
        return self._open.header()

    @cached_property
    def current(self) -> dict[str, Any]:
        """The newest state of the session, including the changes collected so far."""
        if self._transaction is None:
            return {}
        row = self._transaction.row
        if row.get("other_layout"):
            return newest_state(self._transaction.whole().entries)
        return {name: self.entry(Recent(at, False)).get(name) for name, at in row.get("offsets", {}).items()}

    def entry(self, run: Recent) -> dict[str, Any]:
        """Return the entry of a run in the document. The caller must not change it."""
        if run.offset not in self._entries:
            self._entries[run.offset] = self._open.entry(run)
        return self._entries[run.offset]

    def find(self, run_id: str, *, far: bool = True) -> Recent | None:
        """Return the position of a run in the document, or None if it is not found.

        If `far` is false, only the last entries and the unfinished runs are searched.
        """
        if self._transaction is None:
            return None
        row = self._transaction.row
        if not row.get("other_layout"):
            if (recent := self._engine.runs.recent(self._transaction).get(run_id)) is not None:
                return recent
            if (offset := row.get("unfinished_offsets", {}).get(run_id)) is not None:
                return Recent(offset, True)
            if not far or (_PLAIN_ID.match(run_id) and run_id.encode() not in self._transaction.file.read_all()):
                return None
        parsed = self._transaction.whole()
        for offset, entry in zip(parsed.starts, parsed.entries, strict=True):
            if entry.get("run_id") == run_id:
                return Recent(offset, entry.get("status") == "unfinished")
        return None

    def add(self, entry: dict[str, Any], index: int | None = None) -> None:
        """Add a run after the last entry. Copies `entry` and does not change it.

        `index` is agno's `run_index`, which is stored if it differs from the number of runs before this one.
        """
        entry = dict(entry)
        runs = sum(added["type"] == "run" for added in self.added)
        if index is not None and index != runs + (self._transaction.row["runs"] if self._transaction else 0):
            entry["agno_run_index"] = index
        system = extract_system(entry)
        refer_to_history(entry, self._runs_before())
        if system is not None and system != self.current.get("instructions"):
            self.current["instructions"] = entry["instructions"] = system
        _settle_state(entry, self.current.get("session_state"))
        self.added.append(in_order(entry))

    def replace(self, run: Recent, entry: dict[str, Any]) -> None:
        """Replace a run of the document with `entry`, which is copied and not changed.

        The new entry keeps the rating, the session state and the `run_index` of the old one. Does nothing if the two
        are equal. If the old run has messages that the new one lacks, and is not an unfinished form that this process
        knew, `apply` puts it into the rescue folder first.
        """
        old, entry = self.entry(run), dict(entry)
        system = extract_system(entry)
        refer_to_history(entry, self._runs_before(run.offset))
        entry |= {key: old[key] for key in (*SESSION_KEYS, "agno_run_index") if old.get(key) is not None}
        instructions = entry.get("instructions")
        newest_at = self._open.row.get("offsets", {}).get("instructions")
        if instructions is None and newest_at is not None and newest_at <= run.offset:
            instructions = self.current.get("instructions")
        if system is not None and system != instructions:
            entry["agno_system"] = {"content": system, **entry["agno_system"]}
        _settle_state(entry, old.get("session_state"))
        entry = keep_rating(old, in_order(entry))
        if not json_equal(entry, old):
            self._replaced[run.offset] = entry
            if not contains_run(entry, old) and not self._waiting.has(old):
                self._lost.append(old)
            self._finished = (run, entry) if run.unfinished else None

    def add_state(self, state: dict[str, Any]) -> None:
        """Add new session state to the last added run, or as an `update` entry if no run was added.

        Does nothing if `state` is empty.
        """
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
        """Write the changes to the document, by appending if that is sufficient.

        `header` is the new header, or None to keep the present one.
        """
        transaction = self._open
        if self._lost:
            transaction.check_replaceable(self._replaced)
        for run in self._lost:
            reason = "replaced by another form of the run"
            row = transaction.row
            rescue_folder.set_aside(self._engine.root, row["path"], row["session_id"], reason, {"entry": run})
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
        self._waiting.record([*self.added, *(run for run in self._replaced.values() if run is not None)])

    def _runs_before(self, offset: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the most recent runs before `offset`, newest first.

        None as `offset` yields the added runs too.
        """
        if offset is None:
            yield from reversed(self.added)
        if self._transaction is not None:
            for run in reversed(self._engine.runs.recent(self._transaction).values()):
                if offset is None or run.offset < offset:
                    yield self.entry(run)


def _settle_state(entry: dict[str, Any], session_state: Any) -> None:
    """Remove the run's copy of the session state from `entry`, in place, if it equals `session_state`.

    `session_state` is the state in effect at this entry. If the run has no copy but the entry holds session state, that
    is recorded in `agno_absent`, so that the state is not read back as part of the run.
    """
    if "agno_session_state" in entry and json_equal(entry["agno_session_state"], session_state):
        entry["session_state"] = entry.pop("agno_session_state")
    elif "session_state" in entry and "agno_session_state" not in entry and "agno_run" not in entry:
        entry["agno_absent"] = sorted({*entry.get("agno_absent", ()), "session_state"})

"""Collect and apply the changes that one write of agno makes to a document: new runs, replaced runs, new state."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from localstore.format.agno_db.history import extract_system, refer_to_history
from localstore.format.agno_db.runs import contains_run, in_order
from localstore.format.document import newest_state, order_header
from localstore.format.run_entry import keep_rating
from localstore.format.values import json_equal
from localstore.integrations.agno_db.waiting_runs import WaitingRuns
from localstore.models.schema import SESSION_KEYS
from localstore.models.times import now
from localstore.storage.session_edit import OpenSession


class DocumentChange:
    """Collects changes to one document; `apply` writes them. Parses each entry of the document at most once."""

    def __init__(self, document: OpenSession | None, waiting: WaitingRuns) -> None:
        """`document` is open. It is None for a new document, which the caller creates from `added`."""
        self._waiting = waiting
        self._document = document
        self._entries: dict[int, dict[str, Any]] = {}
        self.added: list[dict[str, Any]] = []
        self._replaced: dict[int, dict[str, Any] | None] = {}
        self._finished: tuple[int, dict[str, Any]] | None = None
        self._lost: list[int] = []
        """The places of replaced runs with messages that would be lost."""

    @property
    def _open(self) -> OpenSession:
        assert self._document is not None  # noqa: S101 (for the type checker)
        return self._document

    @cached_property
    def header(self) -> dict[str, Any]:
        """The header of the document before the changes."""
        return self._open.header()

    @cached_property
    def current(self) -> dict[str, Any]:
        """The newest state of the session, including the changes collected so far."""
        if self._document is None:
            return {}
        row = self._document.row
        if row.get("other_layout"):
            return newest_state(self._document.whole().entries)
        return {name: self.entry(place).get(name) for name, place in row.get("offsets", {}).items()}

    def entry(self, place: int) -> dict[str, Any]:
        """Return the entry at a place in the document. The caller must not change it."""
        if place not in self._entries:
            self._entries[place] = self._open.entry(place)
        return self._entries[place]

    def find(self, run_id: str, *, far: bool = True) -> int | None:
        """Return the place of a run in the document, or None if it is not found.

        Without `far`, only the last entries and the unfinished runs need to be searched.
        """
        return None if self._document is None else self._document.place_of(run_id, far=far)

    def add(self, entry: dict[str, Any], index: int | None = None) -> None:
        """Add a run after the last entry. Copies `entry` and does not change it.

        `index` is agno's `run_index`, which is stored if it differs from the number of runs before this one.
        """
        entry = dict(entry)
        runs = sum(added["type"] == "run" for added in self.added)
        if index is not None and index != runs + (self._document.row["runs"] if self._document else 0):
            entry["agno_run_index"] = index
        system = extract_system(entry)
        refer_to_history(entry, self._runs_before())
        if system is not None and system != self.current.get("instructions"):
            self.current["instructions"] = entry["instructions"] = system
        _settle_state(entry, self.current.get("session_state"))
        self.added.append(in_order(entry))

    def replace(self, place: int, entry: dict[str, Any]) -> None:
        """Replace the run at a place in the document with `entry`, which is copied and not changed.

        The new entry keeps the rating, the session state and the `run_index` of the old one. Does nothing if the two
        are equal. If the old run has messages that the new one lacks, and is not an unfinished form that this process
        knew, `apply` sets it aside first.
        """
        old, entry = self.entry(place), dict(entry)
        system = extract_system(entry)
        refer_to_history(entry, self._runs_before(place))
        entry |= {key: old[key] for key in (*SESSION_KEYS, "agno_run_index") if old.get(key) is not None}
        instructions = entry.get("instructions")
        newest_at = self._open.row.get("offsets", {}).get("instructions")
        if instructions is None and newest_at is not None and newest_at <= place:
            instructions = self.current.get("instructions")
        if system is not None and system != instructions:
            entry["agno_system"] = {"content": system, **entry["agno_system"]}
        _settle_state(entry, old.get("session_state"))
        entry = keep_rating(old, in_order(entry))
        if not json_equal(entry, old):
            self._replaced[place] = entry
            if not contains_run(entry, old) and not self._waiting.has(old):
                self._lost.append(place)
            self._finished = (place, entry) if old.get("status") == "unfinished" else None

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
        document = self._open
        if self._lost:
            document.set_aside(self._lost, "replaced by another form of the run")
        if header is not None and not json_equal(header, self.header):
            document.change(order_header(header), self._replaced, self.added)
        elif self._finished is not None and len(self._replaced) == 1 and not self.added:
            document.finish(*self._finished)
        elif self._replaced:
            document.change(self.header, self._replaced, self.added)
        elif len(self.added) == 1 and self.added[0]["type"] == "run":
            document.append_run(self.added[0])
        elif self.added:
            document.append(self.added)
        else:
            document.sync()
        self._waiting.record([*self.added, *(run for run in self._replaced.values() if run is not None)])

    def _runs_before(self, place: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the most recent runs before a place, newest first.

        None as `place` yields the added runs too.
        """
        if place is None:
            yield from reversed(self.added)
        if self._document is not None:
            for at, entry in self._document.newest_runs():
                if place is None or at < place:
                    yield entry


def _settle_state(entry: dict[str, Any], session_state: Any) -> None:
    """Remove the run's copy of the session state from `entry`, in place, if it equals `session_state`.

    `session_state` is the state in effect at this entry. If the run has no copy but the entry holds session state, that
    is recorded in `agno_absent`, so that the state is not read back as part of the run.
    """
    if "agno_session_state" in entry and json_equal(entry["agno_session_state"], session_state):
        entry["session_state"] = entry.pop("agno_session_state")
    elif "session_state" in entry and "agno_session_state" not in entry and "agno_run" not in entry:
        entry["agno_absent"] = sorted({*entry.get("agno_absent", ()), "session_state"})

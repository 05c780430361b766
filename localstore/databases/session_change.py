"""Change one session in a database while its lock is held. Each change may be made again after a broken connection."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

import orjson

from localstore.databases.backend import HEADER, Aside, Change, Entry, Locked, StoredEntry
from localstore.engine.plan import compare_forms
from localstore.engine.removal import with_removal
from localstore.engine.snapshot import Snapshot
from localstore.engine.step_append import with_step_in
from localstore.errors import Conflict, RunNotFound
from localstore.format.document import newest_state, order_header
from localstore.format.run_entry import keep_rating, with_rating
from localstore.format.values import json_equal
from localstore.index.row import IndexRow, after_append, after_finish, after_new_head, header_row, revision_of
from localstore.models.schema import SCHEMA_VERSION
from localstore.models.times import now
from localstore.storage.arguments import is_valid

_FEW, _LONGEST = 8, 200
"""How many ids of how many characters of JSON the database compares with the text of its entries."""


class SessionChange:
    """One existing session, with its row and the entries that were read of it.

    `row` describes the session as the changes leave it.
    """

    def __init__(self, locked: Locked, row: IndexRow, address: str) -> None:
        self._locked = locked
        self.row = row
        self._address = address
        self._read: dict[int, StoredEntry] = {}
        self._is_whole = False

    @property
    def session_id(self) -> str:
        return self.row["session_id"]

    @property
    def revision(self) -> str:
        """The revision of the session."""
        return revision_of(self.row["fingerprint"])

    @property
    def next(self) -> int:
        """The position after the last entry."""
        return self._locked.next

    # Reading

    def entry(self, position: int) -> Entry:
        """Return the entry at a position."""
        if position not in self._read:
            self._read[position] = self._locked.entry(position)
        return self._read[position].entry

    def header(self) -> Entry:
        """Return the header."""
        return self.entry(HEADER)

    def entries(self, begin: int = 0) -> list[StoredEntry]:
        """Return the entries from a position on."""
        if self._is_whole:
            return [self._read[position] for position in sorted(self._read) if position >= begin]
        found = self._locked.entries(begin)
        self._read |= {one.position: one for one in found}
        self._is_whole = begin == 0
        return found

    def may_have(self, item_ids: Sequence[str], begin: int) -> list[Entry]:
        """Return the entries from a position on, at least those that are items with one of these ids."""
        texts = [orjson.dumps(item_id).decode() for item_id in item_ids]
        if len(texts) > _FEW or max(map(len, texts)) > _LONGEST:
            return [one.entry for one in self.entries(begin)]
        return [one.entry for one in self._locked.entries(begin, texts)]

    def state(self) -> Entry:
        """Return the newest `session_state`, or an empty dict if there is none."""
        position = self.row.get("offsets", {}).get("session_state")
        state = None if position is None else self.entry(position).get("session_state")
        return state if isinstance(state, dict) else {}

    def snapshot(self) -> Snapshot:
        """Return the whole session."""
        entries = [one.entry for one in self.entries()]
        return Snapshot(self._address, self.header(), entries, newest_state(entries), self.row["fingerprint"])

    # Changing

    def change(self, header: Entry | None, replaced: dict[int, Entry | None], added: Sequence[Entry]) -> None:
        """Replace the header, unless it is None, and entries by position, where None removes one; then add entries."""
        size = self.row["fingerprint"][0]
        put = [StoredEntry.of(position, entry) for position, entry in replaced.items() if entry is not None]
        if header is not None:
            put.insert(0, StoredEntry.of(HEADER, header))
        removed = tuple(position for position, entry in replaced.items() if entry is None)
        for position in (*removed, *(one.position for one in put)):
            self.entry(position)
            size -= self._read[position].size
        new = [StoredEntry.of(self.next + number, entry) for number, entry in enumerate(added)]
        if header is None and self._only_finishes(replaced):
            ((position, entry),) = replaced.items()
            row = after_finish(self.row, entry or {}, position)
        elif replaced:
            kept = {one.position: one for one in self.entries()} | {one.position: one for one in put}
            row = header_row(self.header() if header is None else header, "")
            for position in sorted(kept.keys() - {*removed, HEADER}):
                row = after_append(row, kept[position].entry, position)
        elif header is not None:
            row = after_new_head(header_row(header, ""), self.row, 0)
        else:
            row = self.row
        self._write(row, size, put + new, removed, new)

    def rewrite(self, header: Entry, entries: Sequence[Entry]) -> None:
        """Make this header and these entries the session. Entries that are the same objects as before are not written.

        From the first entry that was inserted on, the entries move to other positions.
        """
        stored = self.entries()
        replaced: dict[int, Entry | None] = {}
        for number, one in enumerate(stored):
            entry = entries[number] if number < len(entries) else None
            if entry is not one.entry:
                replaced[one.position] = entry
        changed = None if json_equal(header, self.header()) else order_header(header)
        self.change(changed, replaced, entries[len(stored) :])

    def _only_finishes(self, replaced: dict[int, Entry | None]) -> bool:
        """Return whether only the last entry is replaced, and is an unfinished run so far."""
        waiting = self.row.get("unfinished_offsets", {})
        return (
            len(replaced) == 1
            and bool(self.row.get("unfinished"))
            and [*replaced] == [max(waiting.values(), default=HEADER)]
            and None not in replaced.values()
        )

    def _write(
        self, row: IndexRow, size: int, put: list[StoredEntry], removed: tuple[int, ...], added: list[StoredEntry]
    ) -> None:
        for one in added:
            row = after_append(row, one.entry, one.position)
        size += sum(one.size for one in put)
        self.row = with_revision(row, size, self.row["fingerprint"])
        self._locked.write(Change(self.row, self.next + len(added), put, removed))
        self._read |= {one.position: one for one in put}
        for position in removed:
            del self._read[position]

    def append_run(self, entry: Entry, update: Entry | None = None) -> None:
        """Add a run, or replace its stored, unfinished form; see `RunWriter.append`."""
        position = self._position(entry["run_id"])
        if position is None:
            self.change(None, {}, [entry])
            return
        stored = self.entry(position)
        is_unfinished = stored.get("status") == "unfinished"
        if not is_unfinished or self.row.get("offsets", {}).get("session_state", HEADER) <= position:
            update = None  # no newer state follows the run
        match compare_forms(stored, entry):
            case "other":
                raise self.conflict(stored, entry)
            case "newer":
                if update is not None:
                    entry = {key: value for key, value in entry.items() if key != "session_state"}
                self.change(None, {position: keep_rating(stored, entry)}, [] if update is None else [update])

    def append_runs(self, entries: list[Entry]) -> None:
        """Add runs: all of them, or none; see `append_all`."""
        positions = self._locked.positions([entry["run_id"] for entry in entries])
        replaced: dict[int, Entry | None] = {}
        for entry in entries:
            if entry["run_id"] not in positions:
                continue
            stored = self.entry(positions[entry["run_id"]])
            match compare_forms(stored, entry):
                case "other":
                    raise self.conflict(stored, entry)
                case "newer":
                    replaced[positions[entry["run_id"]]] = keep_rating(stored, entry)
        added = [entry for entry in entries if entry["run_id"] not in positions]
        if replaced or added:
            self.change(None, replaced, added)

    def add_step(self, run_id: str, number: int, step: Entry) -> None:
        """Add a step to an unfinished run, unless it has the step; see `RunWriter.add_step`."""
        position = self._position(run_id)
        if position is None:
            raise self.run_not_found(run_id, 'Append the run first, with status="unfinished".')
        entry = with_step_in(self.entry(position), number, step, self.session_id)
        if entry is not None:
            self.change(None, {position: entry}, [])

    def rate(self, run_id: str, rating: str | None, note: str | None) -> None:
        """Rate the newest run with this id, unless it has this rating."""
        position = self.position_of(run_id)
        if position is None:
            raise self.run_not_found(run_id, "'localstore show' has the ids.")
        stored = self.entry(position)
        rated = with_rating(stored, rating, note)
        if not json_equal(rated, stored):
            self.change(None, {position: rated}, [])

    def position_of(self, run_id: str) -> int | None:
        """Return the newest position of a run, or None if the session does not have it."""
        if not is_valid(run_id):
            return None
        return self._locked.positions([run_id]).get(run_id)

    def last_run(self) -> int | None:
        """Return the position of the last run, or None if there is none."""
        return self._locked.last_run()

    def asides(self) -> list[Aside]:
        """Return what was taken out of the session, newest first."""
        return self._locked.asides()

    def throw_away(self, reason: str, made_at: str) -> Aside:
        """Set the whole session aside, and delete it."""
        self.header()
        texts = [self._read[HEADER].text, *(one.text for one in self.entries())]
        one = aside(self.session_id, reason, texts, made_at=made_at)
        self._locked.set_aside(one)
        self._locked.delete()
        return one

    def set_aside(
        self, reason: str, texts: Iterable[str], run_id: str | None = None, made_at: str | None = None
    ) -> str:
        """Keep a header and entries, or the entry of a run, aside. Return the name under which it is kept."""
        one = aside(self.session_id, reason, texts, run_id=run_id, made_at=made_at)
        self._locked.set_aside(one)
        return one.name

    def take_out(self, position: int, reason: str) -> str:
        """Remove a run, keep it aside, and return the name under which it is kept."""
        name = self.keep_aside(position, reason)
        self.change(with_removal(self.header(), [self.entry(position)["run_id"]]), {position: None}, [])
        return name

    def keep_aside(self, position: int, reason: str) -> str:
        """Keep a copy of a run aside, and return the name under which it is kept."""
        entry = self.entry(position)
        return self.set_aside(reason, [self._read[position].text], entry["run_id"])

    def _position(self, run_id: str) -> int | None:
        """Return the position of a run: that of its unfinished form or, without one, its newest."""
        position = self.row.get("unfinished_offsets", {}).get(run_id)
        return self.position_of(run_id) if position is None else position

    def conflict(self, stored: Entry, entry: Entry) -> Exception:
        """Return the error for a run that differs from the stored run with its id.

        If one of them is unfinished, it is a `KeptRun`: the new run may be stored nowhere else, and is kept aside.
        """
        state = "unfinished" if entry["status"] == "unfinished" else "finished"
        message = f"Run {entry['run_id']!r} of session {self.session_id!r} is {state} and differs from the stored run"
        if stored.get("status") != "unfinished" and state == "finished":
            advice = "Give the new run another run_id, or read the session, change the run, and upsert it."
            return Conflict(f"{message}. Nothing was written. {advice}", session_id=self.session_id)
        status = stored.get("status", "completed")
        return KeptRun(f"{message}, which is {status}. The session was not changed.", self.session_id, entry)

    def run_not_found(self, run_id: str, advice: str) -> RunNotFound:
        """Return the error for a run that the session does not have."""
        return RunNotFound(
            f"Session {self.session_id!r} has no run {run_id!r}. Nothing was written. {advice}",
            session_id=self.session_id,
            run_id=run_id,
        )


class KeptRun(Exception):
    """Raised to roll back a transaction, after which the run is kept aside and a Conflict is raised."""

    def __init__(self, message: str, session_id: str, entry: Entry) -> None:
        super().__init__(message)
        self.message = message
        self.session_id = session_id
        self.entry = entry


def create(locked: Locked, header: Entry, entries: Sequence[Entry]) -> IndexRow:
    """Create the session, and return its row."""
    change = new_session(header, entries)
    locked.write(change)
    return change.row


def new_session(header: Entry, entries: Sequence[Entry]) -> Change:
    """Return the change that creates a session."""
    header = order_header(header)
    put = [StoredEntry.of(HEADER, header), *(StoredEntry.of(number, entry) for number, entry in enumerate(entries))]
    row = header_row(header, "", header.get("schema_version", SCHEMA_VERSION))
    for one in put[1:]:
        row = after_append(row, one.entry, one.position)
    row = with_revision(row, sum(one.size for one in put), [0, 0, 0, 0])
    return Change(row, len(entries), put)


def with_revision(row: IndexRow, size: int, before: Sequence[int]) -> IndexRow:
    """Return a copy of a row with a new fingerprint: the size, and a revision that is the time of the change in ns.

    A session that is deleted and made again has another revision.
    """
    fresh = row.copy()
    revision = max(before[1] + 1, time.time_ns())
    fresh["fingerprint"] = [size, revision, revision, 0]
    return fresh


def aside(
    session_id: str, reason: str, texts: Iterable[str], *, run_id: str | None = None, made_at: str | None = None
) -> Aside:
    """Return something to set aside: a header and entries, or the entry of a run. `made_at` is now without one."""
    made_at = now() if made_at is None else made_at
    text = f"[{','.join(texts)}]"
    name = f"{made_at.replace(':', '').replace('.', '')}-{uuid4().hex[:12]}"
    return Aside(name, session_id, reason, made_at, len(text), run_id, text)


def equal_entry_since(change: SessionChange, begin: int, entry: Any) -> bool:
    """Return whether an entry from this position on is this one: an earlier call that seemed to fail wrote it."""
    return begin < change.next and any(json_equal(one.entry, entry) for one in change.entries(begin))

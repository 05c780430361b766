"""What a database has to do for a storage: few operations on rows and entries, in short transactions.

A session is one row, which has the same facts as the index of a folder, and one entry per position. The header is the
entry at position -1. Where a row of a folder has offsets in a file, the row of a database has positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, cast

import orjson

from localstore.errors import DocumentBroken, OlderFormat, StoreNotFound, StoreUnavailable
from localstore.format.entry_texts import FoundText, entry_texts, header_texts
from localstore.index.row import IndexRow
from localstore.index.search_query import LiteralQuery, WordQuery
from localstore.index.selection import Place
from localstore.models.filter import Filter
from localstore.models.nearest import shown
from localstore.models.times import utc_time

if TYPE_CHECKING:
    from localstore.maintenance.upgrade import Upgraded

Entry = dict[str, Any]
_Result = TypeVar("_Result")

State = Literal["missing", "agno", "unfinished", "ready"]
"""What is where a store is to be opened: nothing, sessions of agno, some that are upgraded in part, or a store."""
HOW_TO_UPGRADE = "Upgrade it with 'localstore upgrade --store URL', or open it with auto_upgrade_schema=True."
LONGEST_WAIT = 7 * 24 * 3600.0
"""The longest `lock_timeout` in seconds that is passed to servers, which refuse longer ones."""
HEADER = -1
"""The position of the header."""
TRASH = "trash"
"""Why a whole session was set aside: somebody moved it to the trash."""


def text_of(entry: Entry) -> str:
    """Return an entry or a header as JSON text, in which the order of the keys stays."""
    return orjson.dumps(entry).decode()


def entry_of(text: str, session_id: str) -> Entry:
    """Return the entry or the header in a JSON text. Raises DocumentBroken if somebody has stored something else."""
    try:
        entry = orjson.loads(text)
    except orjson.JSONDecodeError:
        entry = None
    if type(entry) is not dict:
        raise _broken(session_id, f"an entry is no JSON object: {shown(text)}", "Correct its content in the database.")
    return entry


def take_header(entries: dict[int, Entry], session_id: str) -> Entry:
    """Remove the header from the entries of a session, and return it. Raises DocumentBroken if it is missing."""
    if HEADER not in entries:
        advice = f"Put back its entry at position {HEADER} from a backup, or delete the session."
        raise _broken(session_id, "its header is missing in the database", advice)
    return entries.pop(HEADER)


def stored_row(facts: str, session_id: str | None = None) -> IndexRow:
    """Return the row in a JSON text. Raises DocumentBroken if somebody has stored something else.

    `session_id` is only for the error, if it is known.
    """
    try:
        row = orjson.loads(facts)
    except orjson.JSONDecodeError:
        row = None
    if type(row) is not dict or not {"session_id", "fingerprint"} <= row.keys():
        advice = "Put back the session's row from a backup, or delete it with its entries."
        raise _broken(session_id, f"its facts are not those of a session: {shown(facts)}", advice)
    return cast("IndexRow", row)


def _broken(session_id: str | None, problem: str, advice: str) -> DocumentBroken:
    what = "A session" if session_id is None else f"Session {session_id!r}"
    return DocumentBroken(
        f"{what} cannot be read: {problem}. Nothing was changed. {advice}",
        session_id=session_id,
        problem=problem,
    )


def read_each(backend: Backend, session_ids: Sequence[str]) -> dict[str, Stored | DocumentBroken]:
    """Return those of these sessions that there are, and the error for each one that is broken."""
    try:
        return {**backend.read_many(session_ids)}
    except DocumentBroken as error:
        if len(session_ids) == 1:
            return {session_ids[0]: error}
    found: dict[str, Stored | DocumentBroken] = {}
    for session_id in session_ids:
        found |= read_each(backend, [session_id])
    return found


def is_store(state: State, address: str, what: str) -> bool:
    """Return whether a store is there, where `state` is what is there. `what` is what the database calls a table.

    Raises OlderFormat for sessions of agno, also if their upgrade is unfinished.
    """
    if state == "agno":
        raise OlderFormat(f"{address} is a {what} of agno. Nothing was changed. {HOW_TO_UPGRADE}", path=address)
    if state == "unfinished":
        raise OlderFormat(
            f"{address} is being upgraded, or its upgrade was interrupted. {HOW_TO_UPGRADE}", path=address
        )
    return state == "ready"


def of_another_program(address: str, what: str, name: str | None = None) -> StoreUnavailable:
    """Return the error for a place that another program uses. `name` is that of a table beside that of the sessions."""
    problem = (
        f"is a {what} of another program" if name is None else f"needs {name}, which is a {what} of another program"
    )
    return StoreUnavailable(f"{address} {problem}. Nothing was changed. Use another {what} name.", path=address)


def store_not_found(address: str) -> StoreNotFound:
    """Return the error for a database in which no storage has made its tables."""
    return StoreNotFound(
        f"There is no store in {address}. Correct the URL, or make a store by storing a session.", path=address
    )


def counted_rows(count: int) -> str:
    """Return a number of rows for people, as in "1 row"."""
    return f"{count:,} {'row' if count == 1 else 'rows'}"


class StoredEntry(NamedTuple):
    """An entry, or a header, as it is stored."""

    position: int
    entry: Entry
    text: str

    @classmethod
    def of(cls, position: int, entry: Entry) -> StoredEntry:
        return cls(position, entry, text_of(entry))

    @property
    def size(self) -> int:
        """The size of the text in bytes."""
        return len(self.text) if self.text.isascii() else len(self.text.encode())

    @property
    def run_id(self) -> str | None:
        """The id of the run; None for all other entries."""
        return self.entry["run_id"] if self.entry.get("type") == "run" else None

    @property
    def created_at(self) -> str:
        """When the entry was made, in a form that sorts as text; "" if it does not say."""
        created_at = self.entry.get("created_at")
        return utc_time(created_at) if isinstance(created_at, str) else ""

    @property
    def texts(self) -> list[FoundText]:
        """The texts that a search finds."""
        return header_texts(self.entry) if self.position == HEADER else entry_texts(self.entry)


@dataclass(frozen=True, slots=True)
class Change:
    """The changes to one session: its new row, and the entries to store, in place of others with the same positions."""

    row: IndexRow
    next: int
    """The position after the last entry."""
    put: list[StoredEntry] = field(default_factory=list)
    removed: tuple[int, ...] = ()
    """The positions of the entries to remove."""


@dataclass(frozen=True, slots=True)
class Aside:
    """Something that was taken out and can be put back: a session in the trash, or a run.

    `text` is a JSON array of its header and its entries; of a run, of its entry alone. It is "" in listings.
    """

    name: str
    session_id: str
    reason: str
    made_at: str
    size: int
    run_id: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A session as it was read: its row and its header, the entries that were asked for, and those with its state."""

    row: IndexRow
    header: Entry
    entries: list[Entry]
    stateful: dict[int, Entry]
    """The entries with the newest values of the state, by position."""


class Match(NamedTuple):
    """An entry that may match a search. The caller compares the entry with the query."""

    row: IndexRow
    found: StoredEntry
    number: int
    """The index of the entry in the history."""


class Locked(Protocol):
    """One session in an open transaction, which holds its lock. Nothing is written before `write`."""

    row: IndexRow | None
    """The row of the session; None if it does not exist."""
    next: int
    """The position after the last entry; 0 if the session does not exist."""

    def entry(self, position: int) -> StoredEntry:
        """Return the entry at a position at which there is one."""
        ...

    def entries(self, begin: int = 0, texts: Sequence[str] = ()) -> list[StoredEntry]:
        """Return the entries from a position on, in order; with `texts`, those whose JSON text has one of them."""
        ...

    def positions(self, run_ids: Iterable[str]) -> dict[str, int]:
        """Return the newest position of each of these runs that is stored."""
        ...

    def last_run(self) -> int | None:
        """Return the position of the last run, or None if there is none."""
        ...

    def write(self, change: Change) -> None:
        """Write the changes. The session is created if it does not exist."""
        ...

    def delete(self) -> None:
        """Delete the session with all entries."""
        ...

    def set_aside(self, one: Aside) -> None:
        """Store something that is taken out."""
        ...

    def asides(self) -> list[Aside]:
        """Return what was taken out of the session, newest first, with its text."""
        ...

    def forget(self, names: Iterable[str]) -> None:
        """Delete what was taken out under these names."""
        ...


class Backend(Protocol):
    """A database with sessions. Thread-safe, and usable after a fork.

    Each method raises StoreUnavailable if the database cannot be reached or refuses, and LockTimeout if another writer
    holds a lock for too long.
    """

    address: str
    """Where the sessions are, for people. It never has a password."""
    shares_writes: bool
    """Whether several processes store many sessions faster than one."""

    def change(self, session_id: str, work: Callable[[Locked], _Result], run_id: str | None = None) -> _Result:
        """Call `work` in a transaction that locks the session, and return its result once everything is durable.

        `run_id` is the run whose position `work` asks for, if it asks for one, so that it can be found beforehand.

        If the connection breaks, or two clients create the session at once, `work` is called again, and must then
        recognise what an earlier call wrote. If it raises, nothing is written.
        """
        ...

    def create_many(self, new: Iterable[Change]) -> set[str]:
        """Create sessions in one transaction, and return the ids of those that exist already, which stay as they are.

        The transaction may be made again after a broken connection: all of them may exist then.
        """
        ...

    def read(self, session_id: str, last_runs: int | None = None, last_entries: int | None = None) -> Stored | None:
        """Return a session as it is at one moment: with all entries, those from the last `last_runs` runs on, or the
        last `last_entries`."""
        ...

    def read_run(self, session_id: str, run_id: str) -> Stored | None:
        """Return a session with one run as its only entry, or None if it has no such run.

        `stateful` has only entries that are not after the run.
        """
        ...

    def row(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, or None if there is none."""
        ...

    def rows(self, session_ids: Sequence[str]) -> list[IndexRow]:
        """Return the rows of those of these sessions that exist, in any order."""
        ...

    def rows_with_run(self, run_id: str) -> list[IndexRow]:
        """Return the rows of the sessions that have a run with this id, in any order. All entries may be searched."""
        ...

    def read_many(self, session_ids: Sequence[str]) -> dict[str, Stored]:
        """Return those of these sessions that exist, with all entries and without `stateful`, as at one moment."""
        ...

    def digests(self, session_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the digests of those of these sessions that exist, as they are stored.

        The digest of a session is the SHA-256 of those of its header and each entry, as JSON texts.
        """
        ...

    def orphans(self) -> list[str]:
        """Return the ids of sessions that do not exist and have entries, as keys."""
        ...

    def without_id(self) -> dict[str, int]:
        """Return how many rows of which table belong to no session, because they lack its id."""
        ...

    def page(
        self, where: Filter, after: Place | None, limit: int | None, *, newest_first: bool
    ) -> list[tuple[str, IndexRow]]:
        """Return rows with the time by which they are sorted, in this order, those after a place, at most `limit`."""
        ...

    def fold(self, where: Filter, work: Callable[[Iterator[IndexRow]], _Result]) -> _Result:
        """Return the result of `work` on the rows that match, in any order. They need not fit into memory.

        If the connection breaks, `work` is called again.
        """
        ...

    def count(self, where: Filter) -> int:
        """Return the number of sessions that match."""
        ...

    def beginning_with(self, text: str, *, names: bool) -> Iterator[IndexRow]:
        """Yield the rows of sessions whose id begins with this text, in the order of the ids; with `names`, also those
        whose name does."""
        ...

    def neighbours(self, session_ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the id before and the one after each of these ids, where there are such."""
        ...

    def has_name(self, text: str) -> bool:
        """Return whether a session has exactly this name."""
        ...

    def matches(self, query: WordQuery | LiteralQuery, where: Filter, *, rank: bool) -> Iterator[Match]:
        """Yield the entries that may match, newest first or, with `rank`, best first."""
        ...

    def asides(self) -> list[Aside]:
        """Return everything that was taken out and can be put back, newest first, without its text."""
        ...

    def aside(self, name: str) -> Aside | None:
        """Return what was taken out under this name, or None if there is none."""
        ...

    def forget(self, names: Iterable[str]) -> None:
        """Delete what was taken out under these names."""
        ...

    def upgrade(self) -> Upgraded:
        """Upgrade what could not be upgraded when the storage was opened."""
        ...

    def drop(self) -> None:
        """Delete all sessions, and the runs that were taken out of them."""
        ...

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        ...

"""Change one session under its lock, in a folder or in a database: what the adapters for agno need of a storage.

agno passes whole sessions and runs, of which only what is new is written. So its adapters read what they compare with,
and write the difference, in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from localstore.engine.snapshot import Snapshot
    from localstore.errors import DocumentBroken
    from localstore.index.row import IndexRow
    from localstore.models.filter import Filter

Entry = dict[str, Any]
Result = TypeVar("Result")
Create = Callable[[Entry, list[Entry]], "IndexRow"]
"""Creates the session with this header and these entries, and returns its row."""


class Whole(Protocol):
    """All of a session. `starts` has the place of each entry."""

    @property
    def header(self) -> Entry: ...
    @property
    def entries(self) -> list[Entry]: ...
    @property
    def starts(self) -> list[int]: ...


class OpenSession(Protocol):
    """A session whose lock is held."""

    @property
    def row(self) -> IndexRow:
        """Its row, as the changes so far leave it."""
        ...

    def header(self) -> Entry:
        """Return the header."""
        ...

    def whole(self) -> Whole:
        """Return the header and all entries."""
        ...

    def entry(self, place: int) -> Entry:
        """Return the entry at a place. The caller must not change it."""
        ...

    def newest_runs(self) -> Iterator[tuple[int, Entry]]:
        """Yield the runs among the last 64 entries, each after its place, newest first. They are read one by one."""
        ...

    def place_of(self, run_id: str, *, far: bool = True) -> int | None:
        """Return the place of a run, or None if it is not found.

        Without `far`, a storage of documents searches only the last entries and the unfinished runs.
        """
        ...

    def append(self, entries: list[Entry]) -> None:
        """Add entries."""
        ...

    def append_run(self, entry: Entry) -> None:
        """Add a run that is new. A storage of documents remembers its place for `place_of`."""
        ...

    def finish(self, place: int, entry: Entry) -> None:
        """Replace an unfinished run by its finished or longer form. The run keeps its rating."""
        ...

    def change(self, header: Entry, replaced: dict[int, Entry | None], added: list[Entry]) -> None:
        """Replace the header, and entries by their places, where None removes one; then add entries."""
        ...

    def set_aside(self, places: list[int], reason: str) -> None:
        """Keep the runs at these places, which are about to be replaced, where deleted runs are kept."""
        ...

    def sync(self) -> None:
        """Make sure that earlier writes are durable, when there is nothing to write."""
        ...


class Documents(Protocol):
    """The sessions of a storage. Methods raise the errors of the storage."""

    def edit(self, session_id: str, work: Callable[[OpenSession], Result], make: Callable[[Create], Result]) -> Result:
        """Return the result of `work` on a session or, if there is no such session, that of `make`.

        Both may be called several times, and all but the last have written nothing then.
        """
        ...

    def snapshot(self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        """Return a session, or None if there is none or if `matches` is false for its row.

        `last_runs` is the number of newest runs, with the entries after the first of them; None returns all entries.
        """
        ...

    def look_at_run(self, session_id: str, run_id: str) -> Snapshot | None:
        """Return a session with a run as its only entry, and with what of its newest state is not newer than the run.

        Return None if it has no such run, or if the storage only reads whole sessions or their ends.
        """
        ...

    def check_access(self, row: IndexRow, user_id: str | None, kind: str | None) -> None:
        """Raise OwnerMismatch or KindMismatch if a session has another owner or kind. None matches any."""
        ...

    def row(self, session_id: str) -> IndexRow | None:
        """Return the row of a session, or None if there is none."""
        ...

    def rows(self, where: Filter) -> list[IndexRow]:
        """Return the rows of the sessions that match, most recently active first."""
        ...

    def with_run(self, run_id: str) -> Iterator[str]:
        """Yield the ids of the sessions that may have a run, most recently active first."""
        ...

    def keep_run(self, error: DocumentBroken, session_id: str, entry: Entry) -> DocumentBroken:
        """Keep a run that could not be written because of `error`, and return the error to raise, which says where."""
        ...

"""The calls that every storage, in a folder or a database, answers by calling its others, such as `list_sessions`."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from localstore.models.filter import Filter
from localstore.models.nearest import not_one_of
from localstore.models.schema import Rating
from localstore.models.session_info import SessionInfo
from localstore.storage.arguments import (
    check_age,
    check_count,
    check_filter,
    check_flag,
    check_id,
    check_jobs,
    check_limit,
    optional,
)
from localstore.storage.async_twins import async_twin

if TYPE_CHECKING:
    from localstore.maintenance.copy_results import Copied
    from localstore.maintenance.copy_sides import Copyable, Side
    from localstore.maintenance.prune import Pruned
    from localstore.maintenance.trash import Removal
    from localstore.models.progress import Progress
    from localstore.models.session import Message, Session
    from localstore.models.session_info import SortKey
    from localstore.storage.export import Export, ExportFormat, NotExported

_FIRST_PAGE, _LARGEST_PAGE = 50, 1000
"""How many sessions `sessions` lists at once: first few, then more and more."""


class DerivedCalls:
    """Calls that only combine others. See `Storage`."""

    if TYPE_CHECKING:  # what a storage has of its own

        def list_sessions(
            self,
            user_id: str | None = None,
            entity_id: str | None = None,
            kind: str | None = None,
            limit: int | None = None,
            *,
            where: Filter | None = None,
            after: str | None = None,
            newest_first: bool = True,
            sort: SortKey = "updated",
        ) -> list[SessionInfo]: ...

        def read(
            self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None
        ) -> Session | None: ...

        def count(self, where: Filter | None = None) -> int: ...

        def trash(self, sessions: "str | SessionInfo | Iterable[str | SessionInfo]") -> "Removal": ...

        def unreadable_files(self) -> dict[Path, str]: ...

        def _info(self, session: str | SessionInfo) -> SessionInfo: ...

        def _copy_side(self) -> Side: ...

    def sessions(self, where: Filter | None = None, *, newest_first: bool = True) -> Iterator[SessionInfo]:
        """Yield an overview of each session that matches the filter, most recently updated first.

            >>> next(storage.sessions(Filter(kind="workflow"))).session_id
            'flow'

        Sessions are listed page by page, as the iteration reaches them. One that is written to meanwhile may come twice
        or not at all.
        """
        check_filter(where)
        check_flag("newest_first", newest_first)
        return chain.from_iterable(self._pages(where, newest_first))

    def _pages(self, where: Filter | None, newest_first: bool) -> Iterator[list[SessionInfo]]:
        limit, after = _FIRST_PAGE, None
        while True:
            page = self.list_sessions(where=where, limit=limit, after=after, newest_first=newest_first)
            yield page
            if len(page) < limit:
                return
            limit, after = min(2 * limit, _LARGEST_PAGE), page[-1].cursor

    async def asessions(self, where: Filter | None = None, *, newest_first: bool = True) -> AsyncIterator[SessionInfo]:
        """Yield an overview of each session that matches the filter, most recently updated first.

        Each page is listed in a thread, so that the event loop is not blocked. See `sessions`.
        """
        from localstore.storage.threads import run_in_thread  # asyncio takes long to import

        pages, end = self._pages(where, newest_first), list[SessionInfo]()
        while page := await run_in_thread(next, pages, end, abandon=True):
            for info in page:
                yield info

    def sub_sessions(self, session_id: str, *, user_id: str | None = None) -> list[SessionInfo]:
        """Return an overview of each sub-session of a session, most recently updated first.

            >>> storage.sub_sessions("trip")
            []

        A sub-session is one that `append_items(..., part_of=...)` made, or another one with `part_of` in its header. It
        is used like every session, and is deleted, moved to the trash, restored and copied with the one that it is a
        part of. That one need not exist yet, and is not a sub-session itself. `user_id` selects those of a user.
        `Filter(sub_sessions=False)` leaves all sub-sessions out of a listing, as `localstore ls` does.
        """
        check_id(session_id)
        return self.list_sessions(user_id, where=Filter(part_of=session_id))

    def get_all_session_ids(
        self, user_id: str | None = None, entity_id: str | None = None, kind: str | None = None
    ) -> list[str]:
        """Return the ids of the sessions that match, as `list_sessions` does, most recently updated first."""
        return [info.session_id for info in self.list_sessions(user_id, entity_id, kind)]

    def get_all_sessions(
        self, user_id: str | None = None, entity_id: str | None = None, kind: str | None = None
    ) -> "list[Session]":
        """Read the sessions that match, as in `list_sessions`, most recently updated first.

        Raises DocumentBroken if one of the documents is broken.
        """
        return self.get_recent_sessions(user_id, entity_id, kind, limit=None)

    def get_recent_sessions(
        self,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = 2,
    ) -> "list[Session]":
        """Read the `limit` most recently updated sessions that match, newest first; all of them if `limit` is None.

        Raises ValueError, and DocumentBroken if one of the documents is broken.
        """
        infos = self.list_sessions(user_id, entity_id, kind, limit)
        sessions = (self.read(info.session_id, user_id=user_id) for info in infos)
        return [session for session in sessions if session is not None]

    def examples(
        self,
        rating: Rating = "good",
        limit: int = 5,
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
    ) -> "list[Message]":
        """Return the questions and answers of the newest completed runs with this rating, as examples for a prompt.

            >>> storage.examples("good", limit=3)
            []

        The result has at most `limit` pairs of a user message and an assistant message, oldest pair first, without tool
        calls. Put them between the system prompt and the history. Runs whose question has parts that are not text are
        left out, and documents that cannot be read are skipped. `user_id` and `entity_id` select sessions; None selects
        all. Documents are read from the most recently updated one on, until no other one can have a newer run.

        Raises ValueError for any other rating, and if `limit` is not an integer of at least 0.
        """
        from localstore.storage.examples import newest_examples

        return newest_examples(self, rating, limit, user_id=user_id, entity_id=entity_id)

    def export(
        self,
        form: "ExportFormat",
        sessions: "Iterable[str | SessionInfo] | None" = None,
        *,
        where: Filter | None = None,
        limit: int | None = None,
        redact: bool = False,
        report: "Callable[[NotExported], object] | None" = None,
    ) -> "Export":
        """Return an export of sessions: an iterable of the pieces of its text. Nothing is written.

            >>> "".join(storage.export("markdown", ["trip"])).splitlines()[0]
            '# Trip to Linz'

        Sessions are read one by one while the pieces are made. A document that cannot be read is left out. So is a run
        that is no complete example, in "openai-jsonl". The export names both in `left_out`.

        There is no async twin. In async code, join the pieces in a thread, with `asyncio.to_thread`.

        Args:
            form: "markdown" (conversations), "html" (one page), "json" (an array of documents), "openai-jsonl"
                (examples for fine-tuning, one on each line) or "atif" (trajectories, one on each line).
            sessions: Ids, or rows of a listing, in their order; None means all, most recently updated first.
            where: Only sessions that match this filter. With a rating, only the runs that have it.
            limit: The most sessions to export; None means no limit.
            redact: If True, secrets are replaced, as `redact` does with `secrets=True`, and those in ids.
            report: Called with each part that is left out, as soon as it is.

        Raises ValueError for an unknown form or an invalid limit, and SessionNotFound if one of the ids does not exist.
        """
        from localstore.storage.export import FORMATS, Export

        if form not in FORMATS:
            raise ValueError(f"form {not_one_of(form, FORMATS)}")
        check_limit(limit)
        check_flag("redact", redact)
        filtered = check_filter(where)
        rating, filtered = filtered.rating, replace(filtered, rating=None)  # it leaves out ratings of unfinished runs
        chosen: Iterable[SessionInfo]
        if sessions is not None:
            chosen = [info for info in map(self._info, sessions) if info.matches(filtered)]
        else:
            chosen = self.list_sessions(where=filtered) if limit is None else self.sessions(filtered)
        return Export(
            form,
            chosen,
            self.read,
            rating=rating,
            limit=limit,
            redact=redact,
            unreadable=self.unreadable_files if sessions is None else dict,
            report=report,
        )

    def copy_to(
        self,
        other: "Copyable",
        where: Filter | None = None,
        *,
        jobs: int = 1,
        dry_run: bool = False,
        progress: "Progress | None" = None,
    ) -> "Copied":
        """Copy sessions to another store, and return what was copied and what was not.

            >>> storage.copy_to(YamlStorage("copies"), Filter(kind="workflow")).added
            ['flow']

        Only what the other store lacks is written: a second copy writes nothing, and a later one adds what is new. A
        session that was written to in both stores is merged there. `differences` of the result names what both have in
        different forms: the form of the store with the newer history counts, and one that is replaced is kept in the
        rescue folder there. Nothing changes here. Each session is read again after it was written, and compared. If a
        copy is interrupted, the next one continues.

        A copy remembers, in `.localstore/copies/`, what both stores had: it does not read those sessions again.

        Args:
            other: The other storage, in a folder or a database.
            where: Only sessions that match this filter, and their sub-sessions.
            jobs: How many processes share a large copy to PostgreSQL. Each of the others imports the main module of the
                program, so a script must call this under `if __name__ == "__main__"`. To other stores, this process
                copies alone: their writers wait for each other.
            dry_run: If True, nothing is written. The result says what a copy would do.
            progress: Called with the number of sessions done so far and the total.

        A session that cannot be read here, or written there, is left out, and `skipped` of the result names it. Raises
        ValueError if both are the same store, OSError if the other store cannot be written, and ChildProcessError if
        another process of the copy is killed: what it copied is there, and the next copy continues.
        """
        from localstore.maintenance.copying import copy

        check_jobs(jobs)
        check_flag("dry_run", dry_run)
        if not hasattr(other, "_copy_side"):
            raise TypeError(f"other must be a storage, not {type(other).__name__}")
        sides, chosen = (self._copy_side(), other._copy_side()), check_filter(where)
        return copy(*sides, chosen, jobs=jobs, dry_run=dry_run, progress=progress)

    def prune(
        self,
        where: Filter | None = None,
        *,
        older_than: timedelta | str | None = None,
        keep: int | None = None,
        larger_than: int | None = None,
        dry_run: bool = False,
    ) -> "Pruned":
        """Move the sessions that match all criteria to the trash, and return them.

            >>> storage.prune(older_than="90d", keep=100, dry_run=True).sessions
            ()

        Nothing is ever pruned automatically. A session that is written to after it was selected stays, and so does a
        document that cannot be read.

        Args:
            where: Only sessions that match this filter.
            older_than: Only sessions whose last activity is longer ago: a `timedelta`, or text such as `12h`, `90d` or
                `8w`.
            keep: Not the N most recently active sessions of those that match the filter.
            larger_than: Only sessions whose document has more bytes.
            dry_run: If True, nothing is moved. The result says what would be.

        Raises ValueError if there is no criterion, or one is not valid.
        """
        from localstore.maintenance.prune import Pruned, to_prune

        check_flag("dry_run", dry_run)
        age = check_age("older_than", older_than)
        for name, value in (("keep", keep), ("larger_than", larger_than)):
            optional(check_count)(name, value)
        if keep == 0:
            raise ValueError("keep must be a whole number from 1 on, not 0. Leave it out to keep none.")
        if not check_filter(where) and age is None and keep is None and larger_than is None:
            raise ValueError("prune needs a filter, older_than, keep or larger_than. Nothing was moved.")
        selected = to_prune(
            lambda chosen, limit: self.list_sessions(where=chosen, limit=limit),
            check_filter(where),
            older_than=age,
            keep=keep,
            larger_than=larger_than,
        )
        return Pruned(selected, None if dry_run else self.trash(selected))

    def __iter__(self) -> Iterator[str]:
        """Yield the ids of all sessions, most recently updated first."""
        return (info.session_id for info in self.sessions())

    def __len__(self) -> int:
        """Return the number of sessions."""
        return self.count()

    def __bool__(self) -> bool:
        """Return True: an empty storage is a storage too."""
        return True

    # The same calls for async code

    aget_all_session_ids = async_twin(get_all_session_ids, writes=False)
    aget_all_sessions = async_twin(get_all_sessions, writes=False)
    aget_recent_sessions = async_twin(get_recent_sessions, writes=False)
    aexamples = async_twin(examples, writes=False)
    acopy_to = async_twin(copy_to, writes=True)
    asub_sessions = async_twin(sub_sessions, writes=False)
    aprune = async_twin(prune, writes=True)

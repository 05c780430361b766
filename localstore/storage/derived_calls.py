"""The calls that every storage, in a folder or a database, answers by calling `list_sessions`, `read` and `count`."""

from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from localstore.models.filter import Filter
from localstore.models.schema import Rating
from localstore.models.session_info import SessionInfo
from localstore.storage.arguments import check_filter, check_flag
from localstore.storage.async_twins import async_twin

if TYPE_CHECKING:
    from localstore.models.session import Message, Session
    from localstore.models.session_info import SortKey

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

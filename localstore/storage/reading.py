"""The calls of a storage that read sessions."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from localstore.engine.snapshot import Part
from localstore.index.row import revision_of
from localstore.models.filter import Filter
from localstore.storage.arguments import (
    check_id,
    check_limit,
    check_search,
    check_text,
    narrowed,
)
from localstore.storage.async_twins import async_twin
from localstore.storage.listing import StorageListing

if TYPE_CHECKING:
    from localstore.models.search_hit import SearchHit
    from localstore.models.session import Session


class StorageReading(StorageListing):
    """Reads, searches and exports sessions. See `Storage`."""

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> "Session | None":
        """Read a session. Return None if it does not exist, or if `user_id` is given and is not its owner.

            >>> storage.read("nowhere") is None
            True

        If `last_runs` is given, the history starts with the first of the last `last_runs` runs, and earlier entries are
        not read. With 0, the history is empty, and only the header and the state are read. With None, the whole
        document is read. Reading never changes a document, and takes no lock unless another writer is at work.

        Raises ValueError if `last_runs` is neither None nor an integer of at least 0.
        """
        check_id(session_id)
        check_text("user_id", user_id)
        check_limit(last_runs, "last_runs")
        snapshot = self._engine.snapshot(
            session_id, lambda row: user_id is None or row.get("user_id") == user_id, Part(last_runs)
        )
        if snapshot is None:
            return None
        from localstore.storage.checked_values import session_of

        return session_of(snapshot)

    def search(
        self,
        text: str,
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = 20,
        literal: bool = False,
        rank: bool = False,
        sweep: bool = True,
        where: Filter | None = None,
    ) -> "list[SearchHit]":
        """Return the entries of the history that have all words of `text`, newest first.

            >>> [(hit.session_id, hit.role) for hit in storage.search("linz trip*")]
            [('trip', None)]

        Messages, tool calls, their results, inputs, outputs, errors, summaries, and the name and the tags of a session
        are searched. `"two words"` must follow each other, `wor*` is the beginning of a word, and an entry with `-word`
        is left out. Case and accents make no difference. Each Chinese, Japanese or Korean character is a word.

        The words come from an index in `.localstore/`, which each search brings up to date: the first one reads every
        document, later ones read what changed. Nothing is returned that its document does not have. In a store of
        more than 500 sessions, changes that another program makes within a second of the last search may be missed;
        those that localstore makes are not.

        Args:
            text: The words.
            user_id: Search the sessions of this user; None searches those of all.
            entity_id: Search the sessions of this agent, team or workflow; None searches those of all.
            kind: Search the sessions of this kind; None searches all kinds.
            limit: The most hits to return; None returns all.
            literal: If True, find exactly this text, with case and punctuation, also within words. Files are read.
            rank: If True, return the hits that match best first. `literal` ignores it.
            sweep: If False, do not compare the status of all documents first. A search in a large store is faster, but
                finds no words that another program wrote into a document, until localstore reads this document.
            where: Search the sessions that match this filter too.

        Documents that cannot be read are left out. Raises ValueError if `text` is empty, `kind` is unknown or `limit`
        is neither None nor an integer of at least 0.
        """
        check_search(text, limit, literal=literal, rank=rank, sweep=sweep)
        merged = narrowed(where, user_id, entity_id, kind)
        if merged is None:
            return []
        from localstore.storage.search import Search

        if self._search is None:
            self._search = Search(self._engine)
        return list(islice(self._search.hits(text, merged, literal=literal, rank=rank, sweep=sweep), limit))

    def unreadable_files(self) -> dict[Path, str]:
        """Return the files that are not readable sessions and the folders that cannot be listed, with the reasons.

        The result is that of the last listing. The keys are full paths.
        """
        index = self._engine.index
        problems = index.unreadable_files() | index.unreadable_folders
        return {self.root / path: problem for path, problem in problems.items()}

    def ignored_files(self) -> dict[Path, str]:
        """Return the files that look like documents but are not read, with the reason and what to do.

            >>> storage.ignored_files()
            {}

        These are files in the wrong folder, or with another ending than `.json` or `.yaml`. For the month folders, the
        result is that of the last listing. The keys are full paths.
        """
        ignored = self._engine.index.ignored_files()
        return {self.root / path: f"{reason.problem}. {reason.advice}" for path, reason in ignored.items()}

    def duplicate_files(self) -> dict[Path, str]:
        """Return the files that hold a session whose document is another file, with the id of the session.

            >>> storage.duplicate_files()
            {}

        Sync tools make them where they meet two versions, and people by hand. They are neither read nor changed until
        `merge_copies` unites them with the document. The result is that of the last listing. A file that cannot be read
        is among them if its name is that of a copy.
        """
        return {self.root / path: session_id for path, session_id in self._engine.index.duplicate_files().items()}

    def revision(self, session_id: str) -> str:
        """Return a text that changes with every write to the session; "" if there is no such session.

        >>> storage.revision("nowhere")
        ''

        It can be compared with another revision of the same session in the same store, and has no other meaning.
        """
        check_id(session_id)
        row = self._engine.listed(session_id)
        return "" if row is None else revision_of(row["fingerprint"])

    # The same calls for async code

    arevision = async_twin(revision, writes=False)
    aread = async_twin(read, writes=False)
    asearch = async_twin(search, writes=False)
    aunreadable_files = async_twin(unreadable_files, writes=False)
    aignored_files = async_twin(ignored_files, writes=False)
    aduplicate_files = async_twin(duplicate_files, writes=False)

"""The storage contract: the methods that agents, adapters, exports and commands call, whatever keeps the sessions.

`JsonStorage` and `YamlStorage` keep them in files, and the storages in `localstore.databases` in a database. Where a
docstring here is short, the one of the same method in `localstore.storage.storage.Storage` has the details. One suite
of tests, `tests/contract/`, runs against every implementation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from localstore.models.filter import Filter
from localstore.models.schema import Rating
from localstore.models.session_info import SessionInfo, SortKey
from localstore.storage.arguments import UNSET, Unset

if TYPE_CHECKING:
    from localstore.disk.trash_folder import Trashed
    from localstore.maintenance.copy_results import Copied
    from localstore.maintenance.copy_sides import Copyable, Side
    from localstore.maintenance.importing import Imported
    from localstore.maintenance.importing import Kind as ImportKind
    from localstore.maintenance.prune import Pruned
    from localstore.maintenance.redact import Redacted
    from localstore.maintenance.trash import Removal
    from localstore.maintenance.upgrade import Upgraded
    from localstore.models.progress import Progress
    from localstore.models.schema import Kind
    from localstore.models.search_hit import SearchHit
    from localstore.models.session import Message, Run, Session, Step
    from localstore.models.stats import GroupKey, Prices, Stats
    from localstore.storage.edited_document import Replaced
    from localstore.storage.export import Export, ExportFormat, NotExported
    from localstore.storage.items import Item
    from localstore.storage.run_removal import Undone
    from localstore.storage.session_edit import Documents


class AgentStorage(Protocol):
    """The storage methods that an agent calls in every run."""

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None:
        """Read a session; with `last_runs`, only the newest entries. Return None if this user has no such session."""
        ...

    def append(
        self,
        session_id: str,
        run: Run,
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: Kind | None = None,
        create: bool = True,
        state_base: dict[str, Any] | None = None,
        strict_state: bool = False,
    ) -> None:
        """Add a run, or replace its unfinished form. A run that is stored already is not stored twice."""
        ...

    def update(self, session_id: str, *, user_id: str | None = None, session_summary: Any = None) -> None:
        """Replace the session's summary."""
        ...


class WorkflowStorage(AgentStorage, Protocol):
    """The storage methods that a workflow calls in every run."""

    def add_step(self, session_id: str, run_id: str, step: Step, *, number: int, user_id: str | None = None) -> None:
        """Add a step to an unfinished run at position `number`, counted from 0."""
        ...


class SessionStorage(WorkflowStorage, Protocol):
    """Everything that a storage can do, whatever keeps the sessions.

    All methods may be called by several threads at once, and by processes that were forked. A call that raised OSError
    may have taken effect; repeat it to make sure.
    """

    # Writing

    def append_many(
        self,
        session_id: str,
        runs: Iterable[Run],
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        create: bool = True,
    ) -> None:
        """Add several runs: all of them, or none."""
        ...

    def update(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        session_state: dict[str, Any] | None = None,
        session_summary: Any = None,
        session_data: dict[str, Any] | None = None,
        instructions: str | None = None,
        name: str | Unset | None = UNSET,
        tags: list[str] | Unset | None = UNSET,
        metadata: dict[str, Any] | Unset | None = UNSET,
        add_tags: Iterable[str] = (),
        remove_tags: Iterable[str] = (),
    ) -> None:
        """Change the state of a session, its name, its tags or its metadata."""
        ...

    def archive(self, session_ids: str | Iterable[str]) -> None:
        """Give sessions the tag "archived"."""
        ...

    def unarchive(self, session_ids: str | Iterable[str]) -> None:
        """Remove the tag "archived" from sessions."""
        ...

    def rate(
        self,
        session_id: str,
        run_id: str,
        rating: Rating | None,
        note: str | None = None,
        *,
        user_id: str | None = None,
    ) -> None:
        """Rate a run, or remove its rating."""
        ...

    def upsert(self, session: Session) -> None:
        """Store a session that was read and changed, or a new one. What others wrote meanwhile stays."""
        ...

    def fork(
        self, session_id: str, run_id: str | None = None, *, new_id: str | None = None, user_id: str | None = None
    ) -> str:
        """Copy the history of a session, up to a run, into a new one. Return the id of the new session."""
        ...

    def undo(self, session_id: str, run_id: str | None = None, *, user_id: str | None = None) -> Undone | None:
        """Remove the last run of a session and return it, or None if there is no run. It is kept elsewhere."""
        ...

    def remove_run(self, session_id: str, run_id: str, *, user_id: str | None = None) -> str:
        """Take any run out of a session, and return the name under which it is kept."""
        ...

    def read_document(self, session_id: str) -> bytes:
        """Return the document of a session as text. In a database, it is the one that a folder would have."""
        ...

    def replace_document(self, session_id: str, text: bytes, *, base: bytes) -> Replaced:
        """Change a session to the text that a person made of its document `base`, and say what changed.

        What others wrote since `base` was read is merged.
        """
        ...

    def redact(
        self,
        sessions: str | Iterable[str],
        patterns: Iterable[str] = (),
        *,
        secrets: bool = False,
        dry_run: bool = False,
    ) -> Redacted:
        """Replace secrets in sessions by marks such as `[redacted email]`, and return where they were."""
        ...

    def delete_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Delete a session and its sub-sessions permanently. Return False if it did not exist."""
        ...

    def trash(self, sessions: str | SessionInfo | Iterable[str | SessionInfo]) -> Removal:
        """Move sessions, with their sub-sessions, to the trash. A row of a listing is moved only if its session did not
        change since."""
        ...

    def trashed(self, *, older_than: timedelta | str | None = None) -> list[Trashed]:
        """Return what is in the trash, newest first."""
        ...

    def restore(self, name: str, *, new_id: str | None = None) -> object:
        """Move something from the trash back, with its sub-sessions. It never replaces another session."""
        ...

    def empty_trash(self, *, older_than: timedelta | str | None = None) -> list[Trashed]:
        """Delete what is in the trash permanently, and return it."""
        ...

    def prune(
        self,
        where: Filter | None = None,
        *,
        older_than: timedelta | str | None = None,
        keep: int | None = None,
        larger_than: int | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Move the sessions that match all criteria to the trash, and return them."""
        ...

    def import_from(self, kind: ImportKind, path: str | os.PathLike[str], *, dry_run: bool = False) -> Imported:
        """Import the sessions of another program, and return what was imported and what was not."""
        ...

    def drop(self) -> None:
        """Delete all sessions permanently."""
        ...

    def copy_to(
        self,
        other: Copyable,
        where: Filter | None = None,
        *,
        jobs: int = 1,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy what another storage lacks of the sessions that match, and return what was done."""
        ...

    def _copy_side(self) -> Side: ...

    def _documents(self) -> Documents: ...

    def upgrade_schema(self) -> Upgraded:
        """Upgrade everything that is stored in an older schema version, and return the result."""
        ...

    # Items of other frameworks

    def append_items(
        self,
        session_id: str,
        items: Iterable[Item],
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        part_of: str | None = None,
        expected_revision: str | None = None,
    ) -> str:
        """Add items to a session, and create it if it does not exist: as a sub-session of `part_of`, if that is given.

        Return the new revision. All items are stored, or none. An item that is stored already is not stored twice.
        Raises Conflict if another item is stored under the same id, or if the session has another revision than
        `expected_revision`.
        """
        ...

    def items(
        self, session_id: str, last: int | None = None, *, user_id: str | None = None, source: str | None = None
    ) -> list[Item]:
        """Return the last `last` items of a session, or all, oldest first; [] if this user has no such session.

        With `source`, only the items of this framework.
        """
        ...

    def pop_item(self, session_id: str, *, user_id: str | None = None, source: str | None = None) -> Item | None:
        """Remove the last item of a session, or of a framework in it, and return it, or None if there is none."""
        ...

    def replace_items(
        self,
        session_id: str,
        items: Iterable[Item],
        *,
        user_id: str | None = None,
        expected_revision: str | None = None,
        source: str | None = None,
    ) -> str:
        """Replace all items of a session, or of a framework in it, and return the new revision. Other entries stay.

        Raises SessionNotFound, and Conflict if the session has another revision than `expected_revision`.
        """
        ...

    def revision(self, session_id: str) -> str:
        """Return a text that changes with every write to the session; "" if there is no such session."""
        ...

    # Reading

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
    ) -> list[SessionInfo]:
        """Return an overview of each session that matches, most recently updated first."""
        ...

    def sessions(self, where: Filter | None = None, *, newest_first: bool = True) -> Iterator[SessionInfo]:
        """Yield an overview of each session that matches, page by page."""
        ...

    def sub_sessions(self, session_id: str, *, user_id: str | None = None) -> list[SessionInfo]:
        """Return an overview of each sub-session of a session, most recently updated first.

        Sub-sessions are sessions of their own, and are deleted, restored and copied with the session.
        """
        ...

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
    ) -> list[SearchHit]:
        """Return the entries of the history that have all words of `text`, newest first.

        Without `sweep`, a storage that keeps its sessions in files need not look for files that were edited.
        """
        ...

    def find_sessions(self, text: str, *, limit: int | None = None) -> list[SessionInfo]:
        """Return the sessions that a text names: by an id, a name, or the beginning of one; at most `limit`."""
        ...

    def sessions_containing(self, text: str, limit: int = 50) -> list[SessionInfo]:
        """Return sessions with this text anywhere in their id or name, in upper or lower case."""
        ...

    def sessions_beginning_with(self, text: str, limit: int = 50) -> list[SessionInfo]:
        """Return sessions whose id begins with this text."""
        ...

    def short_ids(self, session_ids: Iterable[str], *, least: int = 8) -> dict[str, str]:
        """Return the beginning of each of these ids that is enough for `find_sessions`."""
        ...

    def count(self, where: Filter | None = None) -> int:
        """Return the number of sessions that match."""
        ...

    def stats(
        self,
        where: Filter | None = None,
        *,
        by: GroupKey | tuple[GroupKey, ...] | list[GroupKey] = ("month",),
        prices: Prices | None = None,
    ) -> Stats:
        """Count sessions, runs, failures, tokens and seconds of the sessions that match, in groups."""
        ...

    def examples(
        self, rating: Rating = "good", limit: int = 5, *, user_id: str | None = None, entity_id: str | None = None
    ) -> list[Message]:
        """Return questions and answers of the newest completed runs with this rating, as examples for a prompt."""
        ...

    def export(
        self,
        form: ExportFormat,
        sessions: Iterable[str | SessionInfo] | None = None,
        *,
        where: Filter | None = None,
        limit: int | None = None,
        redact: bool = False,
        report: Callable[[NotExported], object] | None = None,
    ) -> Export:
        """Return an export of sessions: an iterable of the pieces of its text."""
        ...

    def get_all_session_ids(
        self, user_id: str | None = None, entity_id: str | None = None, kind: str | None = None
    ) -> list[str]:
        """Return the ids of the sessions that match, most recently updated first."""
        ...

    def get_all_sessions(
        self, user_id: str | None = None, entity_id: str | None = None, kind: str | None = None
    ) -> list[Session]:
        """Read the sessions that match, most recently updated first."""
        ...

    def get_recent_sessions(
        self,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = 2,
    ) -> list[Session]:
        """Read the `limit` most recently updated sessions that match, newest first; all of them if it is None."""
        ...

    def path(self, session_id: str) -> Path:
        """Return the path of the file of a session. Raises SessionNotFound, and NoFile if sessions have no files."""
        ...

    def unreadable_files(self) -> dict[Path, str]:
        """Return the files that are not readable sessions, with the reasons; {} if sessions have no files."""
        ...

    def __contains__(self, session_id: object) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...

    def __bool__(self) -> bool: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Close files or connections. The next call opens them again."""
        ...

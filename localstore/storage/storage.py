"""The public classes `Storage`, `JsonStorage` and `YamlStorage`: an open store in a folder."""

import os
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from localstore.disk import ignore_files, store_tree
from localstore.engine.engine import Engine
from localstore.engine.transaction import Transaction
from localstore.errors import DocumentBroken, OlderFormat
from localstore.format.document import order_header
from localstore.format.values import to_json_value
from localstore.index.row import IndexRow, activity, latest_plausible_time
from localstore.models.filter import ARCHIVED, Filter
from localstore.models.nearest import not_one_of, shown
from localstore.models.schema import SESSION_KEYS, Rating
from localstore.models.session_info import SessionInfo, SortKey, in_order_of, session_info
from localstore.storage.access import check_access
from localstore.storage.arguments import (
    UNSET,
    Unset,
    check_age,
    check_count,
    check_cursor,
    check_filter,
    check_flag,
    check_id,
    check_kind,
    check_limit,
    check_sort,
    check_text,
    check_update,
    expected_fingerprints,
    is_valid,
    not_found,
    optional,
)
from localstore.storage.async_twins import async_twin
from localstore.storage.rating import RatingChange
from localstore.storage.update import SessionChange, new_header

if TYPE_CHECKING:
    from localstore.disk.trash_folder import Trashed
    from localstore.maintenance.copying import Copied, Copyable, Side
    from localstore.maintenance.importing import Imported
    from localstore.maintenance.importing import Kind as ImportKind
    from localstore.maintenance.merge_copies import MergedSession
    from localstore.maintenance.merging import StoresMerged
    from localstore.maintenance.prune import Pruned
    from localstore.maintenance.redact import Redacted
    from localstore.maintenance.trash import Removal, Restoration
    from localstore.maintenance.upgrade import Upgraded
    from localstore.models.progress import Progress
    from localstore.models.search_hit import SearchHit
    from localstore.models.session import Message, Run, Session, Step
    from localstore.models.stats import GroupKey, Prices, Stats
    from localstore.storage.bulk import Bulk
    from localstore.storage.document_text import Replaced
    from localstore.storage.export import Export, ExportFormat, NotExported
    from localstore.storage.items import Item
    from localstore.storage.run_removal import Undone
    from localstore.storage.search import Search

_FIRST_PAGE, _LARGEST_PAGE = 50, 1000
"""How many sessions `sessions` lists at once: first few, then more and more."""


class Storage:
    """A store that keeps each session as a document in a directory tree. Use `JsonStorage` or `YamlStorage`.

    Many threads and processes on one machine may use a store at the same time, also after a fork. With
    `durability="full"`, a method that writes returns once the change is on the disk. With "relaxed", the change
    survives a crash of the process, but not of the machine: a power cut may lose what was written since the last sync,
    a new session included.

    Methods may raise LockTimeout if another thread or process holds a lock for longer than `lock_timeout` seconds;
    DocumentBroken, NewerFormat or OlderFormat if a document cannot be read or must not be written; and OSError if the
    operating system refuses. In each case but OSError, nothing is written. An OSError may also come after the change
    took effect, if the last sync fails. Repeat the call to make sure: no run is stored twice, and a state that is
    updated again is recorded again with the same values.

    Each method has a twin for async code, with an "a" before its name: `await storage.aread("trip")`. In a `with`
    statement, a storage closes its files at the end.
    """

    _suffix: str

    def __init__(
        self,
        dir_path: str | os.PathLike[str],
        *,
        durability: Literal["full", "relaxed"] = "full",
        lock_timeout: float = 10.0,
        create: bool = True,
        auto_upgrade_schema: bool = False,
        progress: "Progress | None" = None,
    ) -> None:
        """Open the store in a folder.

        Args:
            dir_path: The folder. It is created if it does not exist.
            durability: "full" if writes must survive a crash of the machine, "relaxed" if a crash of the process alone.
            lock_timeout: Seconds to wait for another thread or process that writes to the same session.
            create: If False, a missing store raises StoreNotFound instead of being created.
            auto_upgrade_schema: If True, the first write to a document in an older schema version upgrades it, and a
                folder of agno 1.x is converted to a store immediately. The old documents are kept (see `localstore
                backups`), and a warning names each document that could not be upgraded. If False, older documents can
                be read, and a write to one raises OlderFormat.
            progress: Called while documents are read to make an index, or to count by day, with the number done so far
                and the total: after each document. An exception that it raises ends the call. It must not use the
                storage. None reports nothing.

        Raises StoreNotFound; NewerFormat if a newer localstore wrote the store; OlderFormat if the folder is one of
        agno 1.x and `auto_upgrade_schema` is False; ValueError for an invalid argument; OSError.
        """
        if durability not in ("full", "relaxed"):
            raise ValueError(f'durability must be "full" or "relaxed", not {shown(durability)}')
        if isinstance(lock_timeout, bool) or not isinstance(lock_timeout, (int, float)) or not lock_timeout >= 0:
            raise ValueError(f"lock_timeout must be a number of seconds from 0 on, not {shown(lock_timeout)}")
        if progress is not None and not callable(progress):
            raise ValueError(f"progress must be a function of two numbers, not {shown(progress)}")
        check_flag("create", create)
        check_flag("auto_upgrade_schema", auto_upgrade_schema)
        if not os.fspath(dir_path):
            raise ValueError("dir_path is empty. Name a folder; '.' is the working directory.")
        if str(dir_path).startswith("~"):
            raise ValueError(f"dir_path {str(dir_path)!r} is not expanded. Use pathlib.Path(...).expanduser().")
        try:
            self.root = store_tree.open_store(Path(dir_path), create=create)
        except OlderFormat:
            if not auto_upgrade_schema:
                raise
            self._convert(Path(dir_path), float(lock_timeout))
            self.root = store_tree.open_store(Path(dir_path), create=create)
        self._engine = Engine(
            self.root,
            durable=durability == "full",
            timeout=float(lock_timeout),
            upgrades=auto_upgrade_schema,
            suffix=self._suffix,
            progress=progress,
        )
        ignore_files.restore(self.root)
        self._search: Search | None = None
        self._engine.settle_marked()

    @staticmethod
    def _convert(folder: Path, lock_timeout: float) -> None:
        from localstore.maintenance.upgrade import upgrade

        for problem in upgrade(folder, lock_timeout=lock_timeout).problems:
            warnings.warn(f"Not upgraded: {problem}", stacklevel=3)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the options, so that another process can open the same store."""
        return _open, (type(self), str(self.root), self._engine.durable, self._engine.timeout, self._engine.upgrades)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files that the storage keeps open: those of the locks, of the manifest and of the search index.

            >>> with storage:
            ...     storage.path("trip").name
            'trip.json'

        Nothing is written. The storage can still be used: the next call opens the files again. Files that another
        thread is using stay open. On Windows, a folder can only be deleted when its files are closed.
        """
        self._engine.close()
        if self._search is not None:
            self._search.close()

    # Writing

    def append(
        self,
        session_id: str,
        run: "Run",
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        create: bool = True,
        state_base: dict[str, Any] | None = None,
        strict_state: bool = False,
    ) -> None:
        """Add a run to a session, and create the session if it does not exist.

            >>> storage.append("trip", Run(messages=[Message(role="user", content="Where is Linz?")]))

        The cost is proportional to the run, however long the session is.

        If an unfinished run with the same `run_id` is stored, the new run replaces it. The new run must contain
        everything stored: all messages, member runs and steps, and the beginning of the assistant's last message, if it
        was incomplete. A finished run may have a different last message, since the model may have been asked again. An
        earlier form of the stored run counts as a repetition, and nothing is written. A run that lacks part of the
        stored run and differs from it raises Conflict; it is kept in `.localstore/rescue/`, and the error gives the
        path of that file in `rescued`. While the unfinished run is the last entry, the cost is proportional to what is
        added; otherwise the document is rewritten.

        A finished run that is among the last 64 entries already is not written again; a different run with its `run_id`
        raises Conflict. The ids of finished runs further back are not checked.

        Args:
            session_id: The session.
            run: The run. It changes only if `state_base` is given. A run whose status is not "unfinished" is final.
            user_id: The owner of a new session. If given, an existing session must belong to this user.
            entity_id: The id of the agent, team or workflow of a new session. Ignored for an existing one.
            kind: The kind of a new session; None means "agent". If given, an existing session must be of this kind.
            create: If False, a missing session raises SessionNotFound instead of being created.
            state_base: The state from which the run's `session_state` was made; None stores it as it is. If given, the
                changes of this run are merged with those of other runs by top-level key, and where both changed a key,
                the value of this run is stored. Afterwards, `run.session_state` is the merged state, or None if that
                was stored already, and `run.state_conflicts` lists the keys that both changed.
            strict_state: If True, a key that both changed raises StateConflict.

        Raises Conflict, StateConflict, SessionNotFound, OwnerMismatch, KindMismatch, UnstorableValue, and TypeError
        for an invalid run. If DocumentBroken is raised, the run is kept in `.localstore/rescue/`, and the error gives
        the path in `rescued`.
        """
        from localstore.storage.checked_values import run_of

        check_id(session_id)
        check_kind(kind)
        check_text("user_id", user_id)
        check_text("entity_id", entity_id)
        check_flag("create", create)
        check_flag("strict_state", strict_state)
        entry = run_of(run)
        merge = None
        if state_base is not None and run.session_state is not None:
            from localstore.storage.state_merge import StateMerge

            merge = StateMerge(run, state_base, strict=strict_state)

        try:
            for attempt in self._engine.edit(session_id):
                with attempt as document:
                    if document is None:
                        if not create:
                            raise not_found(session_id)
                        header = new_header(session_id, kind or "agent", entity_id, user_id, entry["created_at"])
                        self._engine.create(header, [entry], self._suffix)
                        continue
                    self._check_access(document.row, user_id, kind)
                    if merge is None:
                        self._engine.runs.append(document, entry)
                    else:
                        stored = document.state()
                        self._engine.runs.append(document, *merge.entries(session_id, stored, document.file.path))
        except DocumentBroken as error:
            raise self._engine.keep_run(error, session_id, entry) from None
        if merge is not None:
            merge.update_run()

    def append_many(
        self,
        session_id: str,
        runs: "Iterable[Run]",
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        create: bool = True,
    ) -> None:
        """Add several runs to a session with one write, and create the session if it does not exist.

            >>> storage.append_many("import", [Run(run_id="r1"), Run(run_id="r2")])

        All runs are stored, or none, also after a crash. The document is written once as a whole: the cost is that of
        the session, and not that of so many appends. A run that is stored already is not written again, and a run whose
        unfinished form is stored replaces it, as in `append`; the ids of all stored runs are checked.

        Args:
            session_id: The session.
            runs: The runs, oldest first, each with a `run_id` of its own. If there are none, nothing happens.
            user_id: The owner of a new session. If given, an existing session must belong to this user.
            entity_id: The id of the agent, team or workflow of a new session. Ignored for an existing one.
            kind: The kind of a new session; None means "agent". If given, an existing session must be of this kind.
            create: If False, a missing session raises SessionNotFound instead of being created.

        Raises Conflict, SessionNotFound, OwnerMismatch, KindMismatch, UnstorableValue, TypeError for an invalid run,
        and ValueError if two of the runs have the same id. No run is stored then.
        """
        from localstore.storage.bulk import append_all
        from localstore.storage.checked_values import run_of

        check_id(session_id)
        check_kind(kind)
        check_text("user_id", user_id)
        check_text("entity_id", entity_id)
        check_flag("create", create)
        entries = [run_of(run) for run in runs]
        if not entries:
            return
        if len({entry["run_id"] for entry in entries}) < len(entries):
            raise ValueError(
                "two of the runs have the same run_id. Nothing was written. Give each run an id of its own."
            )
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                if document is not None:
                    self._check_access(document.row, user_id, kind)
                    append_all(self._engine, document, entries)
                elif create:
                    header = new_header(session_id, kind or "agent", entity_id, user_id, entries[0]["created_at"])
                    self._engine.create(header, entries, self._suffix)
                else:
                    raise not_found(session_id)

    def bulk(self) -> "Bulk":
        """Return a context in which writes are not synced one by one, but together at its end.

            >>> with storage.bulk():
            ...     storage.append("a", Run(run_id="r1"))
            ...     storage.append("a", Run(run_id="r2"))

        It works with `with` and `async with`, for the calls of this storage in the thread or task that entered it. When
        the context ends, also by an exception, everything written in it is durable, or OSError is raised. A power cut
        before that may lose what was written in it, as with `durability="relaxed"`, and nothing else. With that
        durability, the context does nothing. A context inside another one is synced at the end of the outer one.
        """
        from localstore.storage.bulk import Bulk

        return Bulk(self._engine)

    def add_step(self, session_id: str, run_id: str, step: "Step", *, number: int, user_id: str | None = None) -> None:
        """Add a step to an unfinished run of a workflow.

            >>> storage.append("flow", Run(run_id="r1", status="unfinished"), kind="workflow")
            >>> storage.add_step("flow", "r1", Step(name="draft", output="..."), number=0)

        If the run is the last entry and this storage added the step before this one, the cost is proportional to the
        step, however many steps there are. Otherwise the run is read, and the document is rewritten if other entries
        follow the run (in YAML also for about one step in a hundred). A step that is stored already is not written
        again.

        Args:
            session_id: The session.
            run_id: The id of the unfinished run.
            step: The step. It does not change.
            number: The position of the step in the run, counted from 0. All steps before it must be stored.
            user_id: If given, the session must belong to this user.

        Raises SessionNotFound, RunNotFound, OwnerMismatch, UnstorableValue, ValueError for an invalid `number`,
        TypeError for an invalid step, and Conflict if the run is finished, has a different step at this position, or
        lacks a step before it.
        """
        from localstore.storage.checked_values import step_of

        check_id(session_id)
        check_text("run_id", run_id)
        check_text("user_id", user_id)
        if type(number) is not int or number < 0:
            raise ValueError(f"number must be a whole number from 0 on, not {shown(number)}")
        added = step_of(step)

        for attempt in self._engine.edit(session_id):
            with attempt as document:
                self._engine.runs.add_step(self._allowed(document, session_id, user_id), run_id, number, added)

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
        """Change the state of a session, its name, its tags or its metadata.

            >>> storage.update("trip", name="Trip to Linz", add_tags=["travel"])

        `session_state`, `session_summary`, `session_data` and `instructions` are added to the history as one entry, at
        a cost proportional to that entry. A change of the name, the tags or the metadata rewrites the document.

        Args:
            session_id: The session.
            user_id: If given, the session must belong to this user.
            session_state: The new state, which replaces the old one; None leaves it unchanged.
            session_summary: The new summary; None leaves it unchanged.
            session_data: The new extra data, which replaces the old data; None leaves it unchanged.
            instructions: The new instructions; None leaves them unchanged.
            name: The new name; None removes it.
            tags: The new tags; None removes all.
            metadata: The new metadata; None removes it.
            add_tags: Tags to add to `tags` or, without `tags`, to those in the store.
            remove_tags: Tags to remove, also if they are in `add_tags`.

        Raises SessionNotFound, OwnerMismatch, UnstorableValue, and TypeError for an argument of a wrong type.
        """
        check_id(session_id)
        check_text("user_id", user_id)
        named = zip(SESSION_KEYS, (instructions, session_state, session_summary, session_data), strict=True)
        state: dict[str, Any] = to_json_value({key: value for key, value in named if value is not None})
        values = {"name": name, "tags": tags, "metadata": metadata}
        header: dict[str, Any] = to_json_value({key: value for key, value in values.items() if value is not UNSET})
        check_update(state, header)
        change = SessionChange.of(state, header, add_tags, remove_tags)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                change.apply(self._allowed(document, session_id, user_id), may_be_there=attempt.is_repeated)

    def archive(self, session_ids: str | Iterable[str]) -> None:
        """Give sessions the tag "archived": `localstore ls` leaves them out from then on.

            >>> storage.archive(["trip"])
            >>> storage.count(Filter(archived=False))
            1

        The library returns them as before; `Filter(archived=False)` leaves them out. The time of their last activity
        does not change. Raises SessionNotFound for the first id that does not exist; the ones before it are archived.
        """
        self._tag(session_ids, add=[ARCHIVED])

    def unarchive(self, session_ids: str | Iterable[str]) -> None:
        """Remove the tag "archived" from sessions.

            >>> storage.unarchive(["trip"])

        Raises SessionNotFound for the first id that does not exist; the ones before it are no longer archived.
        """
        self._tag(session_ids, remove=[ARCHIVED])

    def _tag(self, session_ids: str | Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        chosen = [session_ids] if isinstance(session_ids, str) else list(session_ids)
        for session_id in chosen:
            check_id(session_id)
        with self.bulk():
            for session_id in chosen:
                self.update(session_id, add_tags=add, remove_tags=remove)

    def rate(
        self,
        session_id: str,
        run_id: str,
        rating: Rating | None,
        note: str | None = None,
        *,
        user_id: str | None = None,
    ) -> None:
        """Rate a run, or remove its rating. The document is rewritten, and nothing else in it changes.

            >>> storage.append("trip", Run(run_id="r1"))
            >>> storage.rate("trip", "r1", "bad", note="Linz is in Austria.")

        Args:
            session_id: The session.
            run_id: The id of the run. If several runs have this id, the newest one is rated.
            rating: "good" or "bad"; None removes the rating and the note.
            note: The reason for the rating; None removes a stored note.
            user_id: If given, the session must belong to this user.

        Raises SessionNotFound, RunNotFound, OwnerMismatch, UnstorableValue, TypeError, and ValueError for any other
        rating or for a note without a rating.
        """
        check_id(session_id)
        check_text("user_id", user_id)
        change = RatingChange.of(run_id, rating, note)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                change.apply(self._allowed(document, session_id, user_id))

    def upsert(self, session: "Session") -> None:
        """Store a session that was read and changed, or a new one.

            >>> session = storage.read("trip")
            >>> session.metadata["budget"] = 500
            >>> storage.upsert(session)

        Everything that other writers added since the session was read stays. An entry is removed only if it was read
        with the session and is no longer in `session.history`. New entries are added at the end, in their order. The
        stored order of the other entries and `created_at` do not change. The content of `session` does not change
        either, so it does not show what others added; only changes made from now on count at the next upsert.

        Raises Conflict if the same run, field or state was changed in `session` and in the store, SessionNotFound if
        the session was deleted since it was read, OwnerMismatch if `user_id` differs from the stored one, KindMismatch,
        UnstorableValue, and TypeError for an invalid session.
        """
        from localstore.models.session import Session
        from localstore.storage.upsert import LocalSession, upsert_into

        if not isinstance(session, Session):
            raise TypeError(f"upsert takes a Session, not {type(session).__name__}")
        check_id(session.session_id)
        local, base = LocalSession.of(session), session._base
        if base is not None and base.header["session_id"] != session.session_id:
            base = None  # a copy under another id is a new session

        for attempt in self._engine.edit(session.session_id):
            with attempt as document:
                if document is not None:
                    self._check_access(document.row, None, session.kind)
                    session._base = upsert_into(self._engine, document, local, base)
                elif base is not None:
                    raise not_found(session.session_id, " It was deleted since it was read.")
                else:
                    row = self._engine.create(order_header(local.header), local.new_entries(), self._suffix)
                    session._base = local.stored(row)

    def fork(
        self, session_id: str, run_id: str | None = None, *, new_id: str | None = None, user_id: str | None = None
    ) -> str:
        """Copy the history of a session into a new one, and return the id of the new session.

            >>> storage.fork("trip", new_id="trip-2")
            'trip-2'

        The new session gets the header of the old one, without the ids of removed runs. `forked_from` names the old
        session and the last run copied, and " (fork)" is added to the name if there is one. Unfinished runs are not
        copied. The old session does not change. The cost is proportional to its size.

        Args:
            session_id: The session to copy.
            run_id: The last run to copy; None copies the whole history.
            new_id: The id of the new session; None generates a random one.
            user_id: If given, the session must belong to this user.

        If the session `new_id` is already this fork, nothing is written. So a call that raised OSError can be repeated
        with the same `new_id`: a fork that is there is complete.

        Raises SessionNotFound if there is no such session or it belongs to another user, LookupError if the session has
        no run `run_id`, and Conflict if `new_id` is in use.
        """
        from localstore.storage.branching import fork

        return fork(self._engine, self._suffix, session_id, run_id, new_id=new_id, user_id=user_id)

    def undo(self, session_id: str, run_id: str | None = None, *, user_id: str | None = None) -> "Undone | None":
        """Remove the last run of a session and return it with the name of its rescue file, or None if there is no run.

            >>> storage.undo("nowhere")
            Traceback (most recent call last):
            localstore.errors.SessionNotFound: There is no session 'nowhere'.

        State that the run set is removed with it. The run is kept in `.localstore/rescue/`; `localstore rescue NAME
        --restore` puts it back. The document is rewritten.

        An OSError may be raised after the document was written. The attribute `run` of every error that is raised after
        a run was chosen is that run. Repeat the call with its `run_id`: it removes this run and no other one. If the
        run is removed already, nothing is done and the result is the same.

        Args:
            session_id: The session.
            run_id: The id of the run, which must be the last one; None removes whichever run is the last.
            user_id: If given, the session must belong to this user.

        Raises SessionNotFound; OwnerMismatch if the session does not belong to `user_id`; RunNotFound if the session
        has no run `run_id` and none with this id was removed by `undo`; and Conflict if `run_id` is not the last run.
        """
        from localstore.storage.branching import undo

        check_text("user_id", user_id)
        return undo(self._engine, session_id, run_id, lambda row: self._check_access(row, user_id, None))

    def delete_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Delete a session permanently. Return True if it existed, False if not.

            >>> storage.delete_session("nowhere")
            False

        What was set aside from the session in `.localstore/rescue/` is deleted too. If `user_id` is given, the session
        must belong to this user. Raises OwnerMismatch, NewerFormat.
        """
        check_id(session_id)
        check_text("user_id", user_id)
        return self._engine.delete(session_id, lambda row: self._check_access(row, user_id, None))

    def read_document(self, session_id: str) -> bytes:
        """Return the bytes of a session's document, also if they cannot be read as a session.

            >>> storage.read_document("trip").splitlines()[0]
            b'{'

        A document that a crash tore is repaired first, as the next write would do. Raises SessionNotFound, and
        DocumentBroken if a file that is named after the session cannot be read, and its session is unknown.
        """
        from localstore.storage.document_text import read_document

        check_id(session_id)
        return read_document(self._engine, session_id)

    def replace_document(self, session_id: str, text: bytes, *, base: bytes) -> "Replaced":
        """Replace the bytes of a session's document by a text that a person made of them, and say what changed.

            >>> base = storage.read_document("trip")
            >>> storage.replace_document("trip", base.replace(b"Linz", b"Graz"), base=base).changes
            ('name was changed',)

        If nobody wrote to the document since `base` was read, it gets exactly the bytes of `text`. Otherwise the two
        changes are merged: the header and each run keep the bytes of the side that changed them. Where both sides
        changed the same run or the header in ways that do not fit together, the document keeps the form of the others,
        and the form in `text` is kept in `.localstore/rescue/`; the result names both. Runs and other entries that are
        not in `text` any more are kept there, too. A broken document is replaced if it still has the bytes of `base`.

        Args:
            session_id: The session, which stays the same.
            text: The new document, in any formatting.
            base: The bytes of the document from which `text` was made; see `read_document`.

        Raises DocumentBroken, with the line if it is known, if `text` is no valid document of this session; OlderFormat
        or NewerFormat if it is one of another schema version; Conflict if a merge is not possible; SessionNotFound.
        Nothing is written then.
        """
        from localstore.storage.document_text import replace_document

        check_id(session_id)
        for name, value in (("text", text), ("base", base)):
            if not isinstance(value, bytes):
                raise TypeError(f"{name} must be bytes, not {type(value).__name__}")
        return replace_document(self._engine, session_id, text, base)

    def replace_unreadable(self, path: str | os.PathLike[str], text: bytes, *, base: bytes) -> str:
        """Replace a file in which no session can be read by a document that a person made of it; return its session id.

        Args:
            path: The file, which is one of `unreadable_files`.
            text: The new document, in any formatting.
            base: The bytes of the file from which `text` was made. They are not kept.

        Raises DocumentBroken, with the line where it is known, if the text is not valid or another document has its
        session; SessionNotFound if the file is not an unreadable one; Conflict if it was changed since; OlderFormat or
        NewerFormat if the text has another schema version.
        """
        from localstore.storage.document_text import replace_unreadable

        for name, value in (("text", text), ("base", base)):
            if not isinstance(value, bytes):
                raise TypeError(f"{name} must be bytes, not {type(value).__name__}")
        return replace_unreadable(self._engine, os.fspath(path), text, base)

    def remove_run(self, session_id: str, run_id: str, *, user_id: str | None = None) -> str:
        """Take a run out of a session, and return the name of the rescue file that holds it.

            >>> storage.append("trip", Run(run_id="wrong"))
            >>> name = storage.remove_run("trip", "wrong")

        State that the run set is removed with it. `localstore rescue NAME --restore` puts it back. The document is
        rewritten. If an earlier call removed the run already, nothing is written, and the result is the same.

        Args:
            session_id: The session.
            run_id: The id of the run. If several runs have this id, the newest one is removed.
            user_id: If given, the session must belong to this user.

        Raises SessionNotFound, RunNotFound, OwnerMismatch, and DocumentBroken if a value in the run would be rounded.
        """
        from localstore.storage.run_removal import REMOVED, RunRemoval

        check_id(session_id)
        check_id(run_id)
        check_text("user_id", user_id)
        removal = RunRemoval(self._engine.root, session_id, run_id, reason=REMOVED, is_last=False)
        done = removal.remove(self._engine, lambda row: self._check_access(row, user_id, None))
        assert done is not None  # noqa: S101 (for the type checker: a run was named)
        return done.name

    def trash(self, sessions: "str | SessionInfo | Iterable[str | SessionInfo]") -> "Removal":
        """Move sessions to the trash of the store, from where `restore` brings them back, and return what was moved.

            >>> storage.trash("flow").moved[0].session_id
            'flow'

        Documents move as they are, broken ones too. The trash is never emptied automatically. Sessions are moved in
        groups; while a group is moved, writers of its sessions, and of some others, wait.

        Args:
            sessions: Ids, or rows of a listing. Of a row, the session is moved only if its document did not change
                since the listing.

        The others are moved if one cannot be: `problems` of the result has its error, by session id. That is
        SessionNotFound, Conflict if the document changed since it was listed, NewerFormat, DocumentBroken, LockTimeout
        or OSError.
        """
        from localstore.maintenance.trash import move_to_trash

        return move_to_trash(self._engine, expected_fingerprints(sessions))

    def trashed(self, *, older_than: timedelta | str | None = None) -> "list[Trashed]":
        """Return the documents in the trash, newest first.

            >>> storage.trashed(older_than="30d")
            []

        `older_than` leaves out what was moved there since: a `timedelta`, or text such as `12h`, `30d` or `8w`. Raises
        ValueError for anything else, and DocumentBroken if the trash folder is a link.
        """
        from localstore.maintenance.trash import trashed

        age = check_age("older_than", older_than)
        return trashed(self, older_than=0.0 if age is None else age.total_seconds())

    def restore(self, name: str, *, new_id: str | None = None) -> Path:
        """Move a document from the trash back into the store, and return its path.

            >>> storage.append("gone", Run(run_id="r1"))
            >>> (one,) = storage.trash("gone").moved
            >>> storage.restore(one.name).name
            'gone.json'

        The document goes back to its former place, and never replaces another one.

        Args:
            name: The name of the document in the trash: `name` of what `trash` or `trashed` returned.
            new_id: If given, the document becomes the session with this id. Nothing else in it changes.

        Raises FileNotFoundError if it is not in the trash; Conflict, before anything is changed, if the session exists
        again or another file has its place; DocumentBroken.
        """
        from localstore.maintenance.trash import restore, restore_as

        check_id(name)
        if new_id is None:
            return restore(self._engine, name)
        check_id(new_id)
        return restore_as(self._engine, name, new_id)

    def restore_all(self, names: Iterable[str]) -> "Restoration":
        """Move documents from the trash back to their former places, many of them with few syncs.

            >>> storage.restore_all(one.name for one in storage.trashed()).problems
            {}

        `restored` of the result has the path of each document, by its name in the trash. The others are restored if one
        cannot be: `problems` has its error, which is one that `restore` raises, LockTimeout or OSError. Of several
        documents of one session, the first one is restored. While a group is moved, writers of its sessions wait.
        """
        from localstore.maintenance.trash import restore_all

        chosen = list(names)
        for name in chosen:
            check_id(name)
        return restore_all(self._engine, chosen)

    def empty_trash(self, *, older_than: timedelta | str | None = None) -> "list[Trashed]":
        """Delete the documents in the trash permanently, and return them. `older_than` is that of `trashed`.

        >>> storage.empty_trash(older_than="30d")
        []
        """
        from localstore.maintenance.trash import empty

        return empty(self, self.trashed(older_than=older_than))

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
        rows = to_prune(self._engine, check_filter(where), older_than=age, keep=keep, larger_than=larger_than)
        selected = tuple(self._infos(rows))
        return Pruned(selected, None if dry_run else self.trash(selected))

    def drop(self) -> None:
        """Delete all sessions of this store permanently, and what was set aside from them. Other files stay.

        Raises NewerFormat, before anything is deleted, if a newer localstore wrote one of the sessions.
        """
        self._engine.drop()

    def upgrade_schema(self) -> "Upgraded":
        """Upgrade every document in an older schema version, and return the result.

        Other threads and processes may write to the store in the meantime. A document that cannot be upgraded keeps its
        bytes, and `problems` of the result names it. The old documents are kept in a backup; `localstore upgrade
        --undo` restores them. If a call is interrupted, the next call continues.

        Raises LockTimeout if another upgrade is running, and OSError, before any document is changed, if the disk has
        too little free space.
        """
        from localstore.maintenance.upgrade import upgrade

        return upgrade(self.root, lock_timeout=self._engine.timeout)

    def redact(
        self,
        sessions: str | Iterable[str],
        patterns: Iterable[str] = (),
        *,
        secrets: bool = False,
        dry_run: bool = False,
    ) -> "Redacted":
        """Replace secrets in sessions by marks such as `[redacted email]`, and return where they were.

            >>> storage.append("trip", Run(run_id="r7", messages=[Message(role="user", content="I am a@b.com")]))
            >>> [one.place for one in storage.redact("trip", secrets=True, dry_run=True).sessions[0].redactions]
            ['history[2].messages[0].content']

        All text is searched: messages, arguments and results of tools, the state, the runs of members, steps, names,
        tags, metadata, and numbers in values of the application. Ids stay as they are, because they connect sessions,
        runs and users; the result names those with a secret. What is replaced takes no part in a search any more.

        The old documents are kept in a backup, with the secrets in them; `localstore restore --kind backup` brings them
        back. Earlier backups, the trash and the rescue folder may have the secrets too. An agent that is in the middle
        of a run cannot finish it once it is redacted: its run goes to the rescue folder.

        Args:
            sessions: The id of a session, or several ids.
            patterns: Regular expressions of the `re` module. All of a match is replaced or, if the expression has a
                group named `secret`, what that group matched. An expression that takes very long is not interrupted.
            secrets: If True, replace keys and tokens of common providers, private keys, passwords in URLs,
                authorization headers and e-mail addresses too. The forms are those for which gitleaks
                (https://github.com/gitleaks/gitleaks) has rules. A secret without a form, such as a short password, is
                not found.
            dry_run: If True, nothing is written. The result says what would be replaced.

        A document that cannot be redacted stays as it is, and `problems` of the result names it. Raises SessionNotFound
        before anything is changed; ValueError if a pattern is not valid, or if there is nothing to look for;
        LockTimeout if an upgrade or another redaction is running; and OSError, before any document is changed, if the
        disk has too little free space.
        """
        from localstore.maintenance.redact import redact, redaction_rules

        session_ids = [sessions] if isinstance(sessions, str) else list(sessions)
        for one in session_ids:
            check_id(one)
        if isinstance(patterns, str):
            raise TypeError("patterns must be a list of regular expressions, not text. Put the text into a list.")
        patterns = list(patterns)
        for pattern in patterns:
            if not isinstance(pattern, str):
                raise TypeError(f"a pattern must be text, not {type(pattern).__name__}: {shown(pattern)}")
        check_flag("secrets", secrets)
        check_flag("dry_run", dry_run)
        rules = redaction_rules(patterns, secrets=secrets)
        return redact(self._engine, session_ids, rules, dry_run=dry_run)

    def import_from(self, kind: "ImportKind", path: str | os.PathLike[str], *, dry_run: bool = False) -> "Imported":
        """Import the sessions of another program, and return what was imported and what was not.

            >>> storage.import_from("claude-code", "projects", dry_run=True).added
            ('0c5a1f9e-6f0e-4f4e-9f5c-3f1d2b7a8c10',)

        Only what the store does not have yet is written: a second import of the same source writes nothing, and a later
        one adds what is new. A run that you have changed in the store stays as it is. Where the source has several
        branches of a conversation, the current one becomes the session and each other one a fork of it. What a document
        has no field for is kept in the key `imported` of the messages and runs, and in the session's metadata, whose
        `imported_from` is the kind of the source. The source does not change.

        Args:
            kind: `claude-code`, `codex`, `llm`, `chatgpt`, `openai-agents`,
                `agno` or `atif`.
            path: The file or the folder of that program.
            dry_run: If True, nothing is written. The result says what an import would do. Of a session that the source
                has several times, each counts.

        Sessions and lines that cannot be read are left out, and `skipped` of the result names them. Raises ValueError
        for another kind, and OSError if the source cannot be opened. If the store cannot be written, OSError is raised,
        too; repeat the call to import the rest.
        """
        from localstore.maintenance.importing import import_from

        check_flag("dry_run", dry_run)
        with self.bulk():
            return import_from(self._engine, self._suffix, kind, Path(path), dry_run=dry_run)

    def copy_to(
        self,
        other: "Copyable",
        where: Filter | None = None,
        *,
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
            where: Only sessions that match this filter.
            dry_run: If True, nothing is written. The result says what a copy would do.
            progress: Called with the number of sessions done so far and the total.

        A session that cannot be read here, or written there, is left out, and `skipped` of the result names it. Raises
        ValueError if both are the same store, and OSError if the other store cannot be written.
        """
        from localstore.storage.copying import copy_to

        return copy_to(self._copy_side(), other, where, dry_run=dry_run, progress=progress)

    def merge_from(
        self, other: "Copyable | Path | str", *, dry_run: bool = False, progress: "Progress | None" = None
    ) -> "StoresMerged":
        """Merge the sessions of another store into this one, and return what was merged and what was not.

            >>> storage.merge_from("copies").unchanged
            1

        Afterwards, this store has everything that both have: sessions that only the other one has, and in sessions of
        both, the runs of both. `differences` of the result names what both have in different forms: the form of the
        store with the newer history counts, and one that is replaced here is kept in the rescue folder. A run that was
        removed on purpose in one of the stores is removed here too, and kept in the rescue folder. Merging again
        changes nothing. If a merge is interrupted, the next one continues.

        The other store is only read. Its trash, rescue files and backups stay there. A session that is in the trash of
        this store stays there unless the other store has more of it. Of documents that this store has, the format and
        the name do not change; a new one has the bytes of the other store, also if that is of the other format.

        Args:
            other: The other storage, in a folder or a database, or the path of a folder.
            dry_run: If True, nothing is written. The result says what a merge would do.
            progress: Called with the number of sessions done so far and the total.

        A session that cannot be read there, or written here, is left out, and `skipped` of the result names it. So is
        one with the id of a session here that belongs to another user. Raises StoreNotFound, ValueError if both are the
        same store, and OSError if this store cannot be written.
        """
        from localstore.maintenance.merging import merge_from
        from localstore.storage.folder_side import FolderSide

        check_flag("dry_run", dry_run)
        if isinstance(other, (str, os.PathLike)):
            with JsonStorage(other, create=False) as opened:
                return self.merge_from(opened, dry_run=dry_run, progress=progress)
        if not hasattr(other, "_copy_side"):
            raise TypeError(f"other must be a storage or the path of one, not {type(other).__name__}")
        side = FolderSide(self._engine, None)
        return merge_from(other._copy_side(), side, self._engine, dry_run=dry_run, progress=progress)

    def _copy_side(self) -> "Side":
        from localstore.storage.folder_side import FolderSide

        return FolderSide(self._engine, self._suffix)

    # Items of other frameworks

    def append_items(
        self,
        session_id: str,
        items: "Iterable[Item]",
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        expected_revision: str | None = None,
    ) -> str:
        """Add items of another framework to a session, create it if it does not exist, and return its new revision.

            >>> before = storage.revision("items")
            >>> after = storage.append_items("items", [Item({"text": "hi"}, item_id="i1")], expected_revision=before)
            >>> after == storage.revision("items")
            True

        All items are stored with one write, or none. An item that is among the last 64 entries already is not stored
        again, and its revision is not compared: a call can be repeated. The cost is proportional to the items.

        Args:
            session_id: The session.
            items: The items, oldest first, each with an `item_id` of its own.
            user_id: The owner of a new session. If given, an existing session must belong to this user.
            entity_id: The id of the agent, team or workflow of a new session. Ignored for an existing one.
            kind: The kind of a new session; None means "agent". If given, an existing session must be of this kind.
            expected_revision: The revision that the session must have, "" if it must be new; None accepts any.

        Raises Conflict if the session has another revision, or another item with one of the ids; OwnerMismatch,
        KindMismatch, UnstorableValue, TypeError, and ValueError if two of the items have the same id.
        """
        from localstore.storage.items import append_items, check_revision, entries_of, revision_of

        check_id(session_id)
        check_kind(kind)
        check_text("user_id", user_id)
        check_text("entity_id", entity_id)
        entries = entries_of(items)
        if not entries:
            return self.revision(session_id)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                if document is None:
                    check_revision(session_id, "", expected_revision)
                    header = new_header(session_id, kind or "agent", entity_id, user_id, entries[0]["created_at"])
                    return revision_of(self._engine.create(header, entries, self._suffix)["fingerprint"])
                self._check_access(document.row, user_id, kind)
                revision = append_items(document, entries, expected_revision)
        return revision

    def items(self, session_id: str, last: int | None = None, *, user_id: str | None = None) -> "list[Item]":
        """Return the last `last` items of a session, or all, oldest first.

            >>> [item.data for item in storage.items("items", last=1)]
            [{'text': 'hi'}]

        The result is empty if the session does not exist, or if `user_id` is given and is not its owner. The whole
        document is read.

        Raises ValueError if `last` is neither None nor an integer of at least 0.
        """
        from localstore.storage.items import items_in

        check_id(session_id)
        check_text("user_id", user_id)
        optional(check_count)("last", last)
        snapshot = self._engine.look(session_id, lambda row: user_id is None or row.get("user_id") == user_id, None)
        return [] if snapshot is None else items_in(snapshot.entries, last)

    def pop_item(self, session_id: str, *, user_id: str | None = None) -> "Item | None":
        """Remove the last item of a session and return it, or return None if there is none. The document is rewritten.

            >>> storage.append_items("items", [Item(1, item_id="i2")]) == storage.revision("items")
            True
            >>> storage.pop_item("items").item_id
            'i2'

        Raises SessionNotFound and OwnerMismatch.
        """
        from localstore.storage.items import PoppedItem

        check_id(session_id)
        check_text("user_id", user_id)
        popped = PoppedItem()
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                popped.apply(self._allowed(document, session_id, user_id))
        return popped.item

    def replace_items(
        self,
        session_id: str,
        items: "Iterable[Item]",
        *,
        user_id: str | None = None,
        expected_revision: str | None = None,
    ) -> str:
        """Replace all items of a session by others, and return its new revision. Other entries stay.

            >>> storage.replace_items("items", [Item(2)]) == storage.revision("items")
            True

        The new items come last in the history. The document is rewritten, unless it has these items already.

        Args:
            session_id: The session.
            items: The items, oldest first, each with an `item_id` of its own.
            user_id: If given, the session must belong to this user.
            expected_revision: The revision that the session must have; None accepts any.

        Raises SessionNotFound, OwnerMismatch, UnstorableValue, TypeError, Conflict if the session has another revision,
        and ValueError if two of the items have the same id.
        """
        from localstore.storage.items import entries_of, replace_items

        check_id(session_id)
        check_text("user_id", user_id)
        entries = entries_of(items)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                revision = replace_items(self._allowed(document, session_id, user_id), entries, expected_revision)
        return revision

    def revision(self, session_id: str) -> str:
        """Return a text that changes with every write to the session; "" if there is no such session.

        >>> storage.revision("nowhere")
        ''

        It can be compared with another revision of the same session in the same store, and has no other meaning.
        """
        from localstore.storage.items import revision_of

        check_id(session_id)
        row = self._engine.listed(session_id)
        return "" if row is None else revision_of(row["fingerprint"])

    # Reading

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
        if last_runs is not None and (type(last_runs) is not int or last_runs < 0):
            raise ValueError(f"last_runs must be None or a whole number from 0 on, not {shown(last_runs)}")
        snapshot = self._engine.look(
            session_id, lambda row: user_id is None or row.get("user_id") == user_id, last_runs
        )
        if snapshot is None:
            return None
        from localstore.storage.checked_values import session_of

        return session_of(snapshot)

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
        """Return an overview of each session that matches, most recently updated first.

            >>> [info.session_id for info in storage.list_sessions(kind="workflow")]
            ['flow']

        A document is opened only if another program changed its file, or if its row was made by an earlier release.

        Args:
            user_id: Only the sessions of this user.
            entity_id: Only the sessions of this agent, team or workflow.
            kind: Only the sessions of this kind.
            limit: The most sessions to return; None means no limit.
            where: Only the sessions that match this filter too.
            after: The `cursor` of a session: begin with the one that follows it, as for the next page.
            newest_first: If False, the order is the other way round.
            sort: What comes first: the newest by "updated" or "created", the largest by "runs", "tokens" or "size" of
                the document, or the titles from A to Z by "name".

        Raises ValueError if `kind` or `sort` is unknown, `limit` is neither None nor an integer of at least 0, `after`
        is no cursor, or it is given with another order than "updated".
        """
        check_text("user_id", user_id)
        check_text("entity_id", entity_id)
        check_kind(kind)
        check_limit(limit)
        check_flag("newest_first", newest_first)
        check_sort(sort, after)
        merged = check_filter(where).narrowed(user_id, entity_id, kind)
        if merged is None:
            return []
        if sort != "updated":
            if limit is None:
                rows = self._engine.rows(merged, counted=True)
            else:
                rows = self._engine.leading(merged, sort, limit, newest_first=newest_first)
            infos = in_order_of(self._infos(rows), sort)
            return (infos if newest_first else infos[::-1])[:limit]
        position = None if after is None else check_cursor(after)
        return self._infos(self._engine.rows(merged, limit, after=position, newest_first=newest_first, counted=True))

    def _infos(self, rows: Iterable[IndexRow]) -> list[SessionInfo]:
        root, latest = self._engine.root, latest_plausible_time()
        return [session_info(row, store_tree.full_path(root, row["path"]), activity(row, latest)) for row in rows]

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
            where: Search the sessions that match this filter too.

        Documents that cannot be read are left out. Raises ValueError if `text` is empty, `kind` is unknown or `limit`
        is neither None nor an integer of at least 0.
        """
        check_text("user_id", user_id)
        check_text("entity_id", entity_id)
        check_kind(kind)
        check_flag("literal", literal)
        check_flag("rank", rank)
        check_limit(limit)
        if not isinstance(text, str):
            raise TypeError(f"text must be text, not {type(text).__name__}: {shown(text)}")
        if not text.strip():
            raise ValueError("text is empty. Give the words to search for.")
        merged = check_filter(where).narrowed(user_id, entity_id, kind)
        if merged is None:
            return []
        from localstore.storage.search import Search

        if self._search is None:
            self._search = Search(self._engine)
        return list(islice(self._search.hits(text, merged, literal=literal, rank=rank), limit))

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

    def _info(self, session: str | SessionInfo) -> SessionInfo:
        """Return the row of a listing for a session that is given by its id or as such. Raises SessionNotFound."""
        if isinstance(session, SessionInfo):
            return session
        check_id(session)
        row = self._engine.listed(session)
        if row is None:
            self._engine.refuse_unreadable(session)
            raise not_found(session)
        return self._infos([self._engine.index.with_overview(row)])[0]

    def sessions(self, where: Filter | None = None, *, newest_first: bool = True) -> Iterator[SessionInfo]:
        """Yield an overview of each session that matches the filter, most recently updated first.

            >>> next(storage.sessions(Filter(kind="workflow"))).session_id
            'flow'

        Sessions are listed page by page, as the iteration reaches them. One that is written to meanwhile may come twice
        or not at all.
        """
        check_filter(where)
        check_flag("newest_first", newest_first)
        return self._pages(where, newest_first)

    def _pages(self, where: Filter | None, newest_first: bool) -> Iterator[SessionInfo]:
        limit, after = _FIRST_PAGE, None
        while True:
            page = self.list_sessions(where=where, limit=limit, after=after, newest_first=newest_first)
            yield from page
            if len(page) < limit:
                return
            limit, after = min(2 * limit, _LARGEST_PAGE), page[-1].cursor

    def find_sessions(self, text: str, *, limit: int | None = None) -> list[SessionInfo]:
        """Return the sessions that a text names, as a person types it: an id, a name, or the beginning of one.

            >>> [info.session_id for info in storage.find_sessions("Trip to")]
            ['trip']

        The result is the session with this id; otherwise those with this name; otherwise those whose id begins with
        the text; otherwise those whose name does; otherwise, if the text has a `…`, those whose id begins with what is
        before it, and has what is behind it further on, as in a list that leaves out the middle of long ids. It is
        empty if there are none. Of several, the most recently updated comes first. A name that another program changed
        may be found only after the next listing.

        Args:
            text: What was typed.
            limit: The most sessions to return. If there are more, the result has any of them. None means no limit.

        Raises DocumentBroken if no id or name is this text, but a file that is named after it cannot be read.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be text, not {type(text).__name__}: {shown(text)}")
        check_limit(limit)
        if not text or not is_valid(text):
            return []
        self._engine.index.scan()  # a second document of a session is noticed
        row = self._engine.listed(text)
        rows = [row] if row is not None else self._engine.beginning_with(text, limit)
        if row is None and (named := [row for row in rows if row.get("name") == text]):
            rows = named
        elif row is None:
            self._engine.refuse_unreadable(text)
            rows = [row for row in rows if row["session_id"].startswith(text)] or rows
            rows = rows or self._elided(text, limit)
        return self._infos(map(self._engine.index.with_overview, rows[:limit]))

    def _elided(self, text: str, limit: int | None) -> list[IndexRow]:
        """Return the sessions whose id has this text, in which `…` stands for a part that was left out."""
        beginning, mark, rest = text.partition("…")
        return self._engine.ids_beginning_with(beginning, limit, rest) if beginning and mark else []

    def sessions_containing(self, text: str, limit: int = 50) -> list[SessionInfo]:
        """Return sessions with this text anywhere in their id or name, in upper or lower case, newest activity first.

            >>> [info.session_id for info in storage.sessions_containing("LINZ")]
            ['trip']

        These are what a person may have meant if `find_sessions` finds nothing. If there are more than `limit`, the
        result has any of them. Raises ValueError if `limit` is not an integer of at least 0.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be text, not {type(text).__name__}: {shown(text)}")
        check_count("limit", limit)
        if not is_valid(text):
            return []
        return self._infos(map(self._engine.index.with_overview, self._engine.containing(text, limit)))

    def sessions_beginning_with(self, text: str, limit: int = 50) -> list[SessionInfo]:
        """Return sessions whose id begins with this text, most recently updated first, as to complete what is typed.

            >>> [info.session_id for info in storage.sessions_beginning_with("tr")]
            ['trip']

        The cost is that of the result. If there are more than `limit`, it has those that come first in the order of
        their ids. A session that another program added may be missing until the next listing.

        Raises ValueError if `limit` is not an integer of at least 0.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be text, not {type(text).__name__}: {shown(text)}")
        check_limit(limit)
        if not is_valid(text):
            return []
        return self._infos(map(self._engine.index.with_overview, self._engine.ids_beginning_with(text, limit)))

    def __iter__(self) -> Iterator[str]:
        """Yield the ids of all sessions, most recently updated first."""
        return (info.session_id for info in self.sessions())

    def __len__(self) -> int:
        """Return the number of sessions."""
        return self.count()

    def __bool__(self) -> bool:
        """Return True: an empty storage is a storage too."""
        return True

    def __contains__(self, session_id: object) -> bool:
        """Return whether a session exists, also if its document is broken.

        Raises DocumentBroken if a file that is named after the session cannot be read, because it may hold the session.
        """
        if not isinstance(session_id, str) or not session_id or not is_valid(session_id):
            return False
        if self._engine.locate(session_id) is None:
            self._engine.refuse_unreadable(session_id)
            return False
        return True

    def count(self, where: Filter | None = None) -> int:
        """Return the number of sessions that match the filter.

            >>> storage.count(Filter(status="unfinished"))
            1

        The cases in which a document is opened are those of `list_sessions`. In a store of more than 1,000 sessions, a
        document that was edited in place is taken as it was until a listing returns its session, or a search or
        `localstore check` finds the edit.
        """
        return self._engine.count(check_filter(where))

    def stats(
        self,
        where: Filter | None = None,
        *,
        by: "GroupKey | tuple[GroupKey, ...] | list[GroupKey]" = ("month",),
        prices: "Prices | None" = None,
    ) -> "Stats":
        """Count the sessions, runs, failures, tokens and seconds of the sessions that match the filter, in groups.

            >>> storage.stats(by=("user", "month")).total.failures
            0

        No prices are built in, because they change. Tokens of unfinished runs are not counted. Documents that
        were edited in place are taken as `count` takes them.

        The index knows the months of runs, and not their days. With "day" in `by`, the document of every session that
        matches is therefore read, as it is now. That takes about as long as reading these sessions, and calls
        `progress`. The sums are those by month. The runs of a document that cannot be read have no day.

        Args:
            where: Only the sessions that match this filter; None counts all. All runs of these sessions count.
            by: What forms a group: one or several of "user", "month", "day", "model", "entity" and "status"; () counts
                all sessions in one group.
            prices: The price of a million tokens by model, as (input, output) or (input, output, cached input). A price
                also holds for the model with a date at the end of its name. None counts no cost.

        Raises ValueError for an unknown word in `by` and for an invalid price.
        """
        from localstore.models.stats import check_grouping, check_prices, stats_of

        names = check_grouping(by)
        table = None if prices is None else check_prices(prices)
        return stats_of(self._engine.tally(check_filter(where), names), names, table)

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

    def merge_copies(self, session_id: str | None = None, *, dry_run: bool = False) -> "list[MergedSession]":
        """Unite the copies of sessions with their documents, and return what was done with each.

            >>> storage.merge_copies()
            []

        The document gets everything that only a copy has: runs by their id, other entries by their content, in the
        order of their creation. Of two forms of a run, the later one counts. Of two names, tags or states, that of the
        file with the newer history counts, and the result names the difference. Then the copy is moved to
        `.localstore/rescue/`, unchanged. A document that loses something is kept there as it was, too. If a session has
        nothing but a copy, the copy gets the name of the document.

        Other programs may write to the sessions meanwhile. If the call is interrupted, each run is in the document, in
        a copy or in the rescue folder, and the next call does the rest.

        Args:
            session_id: The session whose copies are united; None unites those of all sessions.
            dry_run: If True, nothing is changed. The result says what would be.

        A copy that cannot be read, or not be written again without a loss, stays: its `problem` says why. So does that
        of a session whose document cannot be changed. Raises SessionNotFound if there is no session with the id, and
        DocumentBroken if a folder of the store cannot be listed.
        """
        from localstore.maintenance.merge_copies import merge_copies

        check_flag("dry_run", dry_run)
        if session_id is not None:
            check_id(session_id)
        return merge_copies(self._engine, session_id, dry_run=dry_run)

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

    def path(self, session_id: str) -> Path:
        """Return the path of the document of a session.

            >>> storage.path("trip").name
            'trip.json'

        Raises SessionNotFound if there is none, and DocumentBroken if its file cannot be read as a session.
        """
        check_id(session_id)
        row = self._engine.locate(session_id)
        if row is None:
            self._engine.refuse_unreadable(session_id)
            raise not_found(session_id)
        return self.root / row["path"]

    def short_ids(self, session_ids: Iterable[str], *, least: int = 8) -> dict[str, str]:
        """Return the beginning of each of these ids that is enough for `find_sessions`, to show it in little space.

            >>> storage.short_ids(["trip"], least=2)
            {'trip': 'tr'}

        Args:
            session_ids: The ids.
            least: How many characters each beginning has at least. With few, it is soon shared by a new session.
        """
        from localstore.index.short_ids import short_ids

        check_count("least", least)
        self._engine.index.scan()
        return short_ids(self._engine.manifest, session_ids, least)

    def session_at(self, path: str | os.PathLike[str]) -> SessionInfo:
        """Return the session whose document is at this path.

            >>> storage.session_at(storage.path("trip")).session_id
            'trip'

        Args:
            path: An absolute path, or one relative to the working directory. Links are followed.

        Raises SessionNotFound if there is no such file or it is not the document of a session of this store, and
        DocumentBroken if no session can be read in it.
        """
        from localstore.storage.document_path import row_at

        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path must be a path, not {type(path).__name__}: {shown(path)}")
        return self._infos([row_at(self._engine, os.fspath(path))])[0]

    # The same calls for async code

    aappend = async_twin(append, writes=True)
    aappend_many = async_twin(append_many, writes=True)
    aadd_step = async_twin(add_step, writes=True)
    aupdate = async_twin(update, writes=True)
    aarchive = async_twin(archive, writes=True)
    aunarchive = async_twin(unarchive, writes=True)
    arate = async_twin(rate, writes=True)
    aupsert = async_twin(upsert, writes=True)
    afork = async_twin(fork, writes=True)
    aundo = async_twin(undo, writes=True)
    adelete_session = async_twin(delete_session, writes=True)
    aread_document = async_twin(read_document, writes=False)
    areplace_document = async_twin(replace_document, writes=True)
    areplace_unreadable = async_twin(replace_unreadable, writes=True)
    aremove_run = async_twin(remove_run, writes=True)
    atrash = async_twin(trash, writes=True)
    atrashed = async_twin(trashed, writes=False)
    arestore = async_twin(restore, writes=True)
    arestore_all = async_twin(restore_all, writes=True)
    aempty_trash = async_twin(empty_trash, writes=True)
    aprune = async_twin(prune, writes=True)
    adrop = async_twin(drop, writes=True)
    aupgrade_schema = async_twin(upgrade_schema, writes=True)
    aredact = async_twin(redact, writes=True)
    aimport_from = async_twin(import_from, writes=True)
    acopy_to = async_twin(copy_to, writes=True)
    amerge_from = async_twin(merge_from, writes=True)
    aappend_items = async_twin(append_items, writes=True)
    aitems = async_twin(items, writes=False)
    apop_item = async_twin(pop_item, writes=True)
    areplace_items = async_twin(replace_items, writes=True)
    arevision = async_twin(revision, writes=False)
    aread = async_twin(read, writes=False)
    alist_sessions = async_twin(list_sessions, writes=False)
    asearch = async_twin(search, writes=False)
    afind_sessions = async_twin(find_sessions, writes=False)
    asessions_beginning_with = async_twin(sessions_beginning_with, writes=False)
    asessions_containing = async_twin(sessions_containing, writes=False)
    acount = async_twin(count, writes=False)
    astats = async_twin(stats, writes=False)
    aunreadable_files = async_twin(unreadable_files, writes=False)
    aignored_files = async_twin(ignored_files, writes=False)
    aduplicate_files = async_twin(duplicate_files, writes=False)
    amerge_copies = async_twin(merge_copies, writes=True)
    aget_all_session_ids = async_twin(get_all_session_ids, writes=False)
    aget_all_sessions = async_twin(get_all_sessions, writes=False)
    aget_recent_sessions = async_twin(get_recent_sessions, writes=False)
    aexamples = async_twin(examples, writes=False)
    ashort_ids = async_twin(short_ids, writes=False)
    apath = async_twin(path, writes=False)
    asession_at = async_twin(session_at, writes=False)

    async def asessions(self, where: Filter | None = None, *, newest_first: bool = True) -> AsyncIterator[SessionInfo]:
        """Yield an overview of each session that matches the filter, most recently updated first.

        Each page is listed in a thread, so that the event loop is not blocked. See `sessions`.
        """
        limit, after = _FIRST_PAGE, None
        while True:
            page = await self.alist_sessions(where=where, limit=limit, after=after, newest_first=newest_first)
            for info in page:
                yield info
            if len(page) < limit:
                return
            limit, after = min(2 * limit, _LARGEST_PAGE), page[-1].cursor

    def _allowed(self, document: Transaction | None, session_id: str, user_id: str | None) -> Transaction:
        """Return `document`, for a writer that may be limited to the sessions of one user.

        Raises SessionNotFound if `document` is None, and OwnerMismatch if `user_id` is given and is not its owner.
        """
        if document is None:
            raise not_found(session_id)
        self._check_access(document.row, user_id, None)
        return document

    def _check_access(self, row: IndexRow, user_id: str | None, kind: str | None) -> None:
        """Raise OwnerMismatch or KindMismatch if the session has another owner or kind. None matches any."""
        check_access(row, user_id, kind, str(self.root / row["path"]))


class JsonStorage(Storage):
    """A store that creates new sessions as JSON documents. Existing documents, JSON or YAML, keep their format."""

    _suffix = ".json"


class YamlStorage(Storage):
    """A store that creates new sessions as YAML documents. Existing documents, JSON or YAML, keep their format."""

    _suffix = ".yaml"


def _open(kind: type[Storage], root: str, durable: bool, timeout: float, upgrades: bool) -> Storage:
    durability: Literal["full", "relaxed"] = "full" if durable else "relaxed"
    return kind(root, durability=durability, lock_timeout=timeout, create=False, auto_upgrade_schema=upgrades)

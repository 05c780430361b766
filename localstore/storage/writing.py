"""The calls of a storage that write runs and the state and the header of sessions."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from localstore.errors import DocumentBroken
from localstore.format.document import order_header
from localstore.models.filter import ARCHIVED
from localstore.models.nearest import shown
from localstore.models.schema import SESSION_KEYS, Rating
from localstore.storage.arguments import (
    UNSET,
    Unset,
    check_flag,
    check_id,
    check_kind,
    check_text,
    not_found,
)
from localstore.storage.async_twins import async_twin
from localstore.storage.rating import RatingChange
from localstore.storage.reading import StorageReading
from localstore.storage.update import SessionChange, new_header

if TYPE_CHECKING:
    from localstore.models.session import Run, Session, Step
    from localstore.storage.bulk import Bulk
    from localstore.storage.run_removal import Undone


class StorageWriting(StorageReading):
    """Writes to sessions, and deletes them. See `Storage`."""

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

        All runs are stored, or none, also after a crash. The ids of all stored runs are checked: the document is read
        once, and the new runs are added to its end. A run that is stored already is not written again, and a run whose
        unfinished form is stored replaces it, as in `append`; the document is then written as a whole.

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
        state = dict(zip(SESSION_KEYS, (instructions, session_state, session_summary, session_data), strict=True))
        header = {"name": name, "tags": tags, "metadata": metadata}
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

        What was set aside from the session in `.localstore/rescue/` is deleted too, and so are its sub-sessions. If
        `user_id` is given, the session must belong to this user, and sub-sessions of others stay. Raises OwnerMismatch,
        NewerFormat.
        """
        check_id(session_id)
        check_text("user_id", user_id)
        existed = self._engine.delete(session_id, lambda row: self._check_access(row, user_id, None))
        for part in self._engine.index.sub_sessions([session_id], user_id):
            self._engine.delete(part["session_id"], lambda row: self._check_access(row, user_id, None))
        return existed

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

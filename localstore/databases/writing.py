"""What a storage in a database writes: runs, states, ratings and whole sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

import orjson

from localstore.databases.backend import TRASH, Locked, text_of
from localstore.databases.reading import DatabaseReader, check_version
from localstore.databases.session_change import KeptRun, SessionChange, aside, create, equal_entry_since
from localstore.errors import Conflict, SessionNotFound
from localstore.format.document import order_header
from localstore.format.values import json_equal
from localstore.models.filter import ARCHIVED, Filter
from localstore.models.nearest import shown
from localstore.models.schema import SESSION_KEYS, Kind, Rating
from localstore.models.session import Run, Session, Step
from localstore.storage.access import check_access
from localstore.storage.arguments import (
    UNSET,
    Unset,
    check_flag,
    check_id,
    check_ids,
    check_kind,
    check_text,
    not_found,
)
from localstore.storage.branching import forked, is_fork, target_exists
from localstore.storage.checked_values import run_of, step_of
from localstore.storage.rating import RatingChange
from localstore.storage.run_removal import REMOVED, UNDONE, Undone
from localstore.storage.state_merge import StateMerge
from localstore.storage.update import SessionChange as HeaderChange
from localstore.storage.update import new_header
from localstore.storage.upsert import LocalSession, check_owner, merge

if TYPE_CHECKING:
    from localstore.engine.snapshot import Snapshot
    from localstore.maintenance.upgrade import Upgraded

_Result = TypeVar("_Result")
_CONFLICT = "another form of the run is stored"


class DatabaseWriter(DatabaseReader):
    """The methods of `SessionStorage` that write runs and sessions. See there, and `Storage` for details."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._backend.address!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        self._backend.close()

    # How a session is changed

    def _change(
        self,
        session_id: str,
        user_id: str | None,
        work: Callable[[SessionChange], _Result],
        *,
        kind: str | None = None,
        make: Callable[[Locked], _Result] | None = None,
        run_id: str | None = None,
    ) -> _Result:
        """Return the result of `work` on a session or, if there is no such session, that of `make`.

        `run_id` is the run that `work` looks for, if it looks for one.
        Raises SessionNotFound without `make`, OwnerMismatch and KindMismatch.
        """

        def change(locked: Locked) -> _Result:
            if locked.row is None:
                if make is None:
                    raise not_found(session_id)
                return make(locked)
            check_access(locked.row, user_id, kind)
            check_version(locked.row, self._backend.address)
            return work(SessionChange(locked, locked.row, self._backend.address))

        try:
            return self._backend.change(session_id, change, run_id)
        except KeptRun as kept:
            one = aside(session_id, _CONFLICT, [text_of(kept.entry)], run_id=kept.entry["run_id"])
            self._backend.change(session_id, lambda locked: locked.set_aside(one))
            raise Conflict(
                f"{kept.message} The run is kept as {one.name}; storage.restore({one.name!r}) adds it to its session.",
                session_id=session_id,
                rescued=one.name,
            ) from None

    # Runs

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
        check_flag("strict_state", strict_state)
        entry = run_of(run)
        make = self._maker(session_id, [entry], user_id, entity_id, kind, create)
        merge = None
        if state_base is not None and run.session_state is not None:
            merge = StateMerge(run, state_base, strict=strict_state)

        def work(change: SessionChange) -> None:
            if merge is None:
                change.append_run(entry)
            else:
                change.append_run(*merge.entries(session_id, change.state()))

        self._change(session_id, user_id, work, kind=kind, make=make, run_id=entry["run_id"])
        if merge is not None:
            merge.update_run()

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
        entries = [run_of(run) for run in runs]
        make = self._maker(session_id, entries, user_id, entity_id, kind, create)
        if not entries:
            return
        if len({entry["run_id"] for entry in entries}) < len(entries):
            raise ValueError(
                "two of the runs have the same run_id. Nothing was written. Give each run an id of its own."
            )
        self._change(session_id, user_id, lambda change: change.append_runs(entries), kind=kind, make=make)

    @staticmethod
    def _maker(
        session_id: str,
        entries: list[dict[str, Any]],
        user_id: str | None,
        entity_id: str | None,
        kind: str | None,
        may_create: bool,
    ) -> Callable[[Locked], None] | None:
        """Check the arguments of a call that may create the session. Return what creates it, or None."""
        check_id(session_id)
        check_kind(kind)
        check_text("user_id", user_id)
        check_text("entity_id", entity_id)
        check_flag("create", may_create)
        if not may_create or not entries:
            return None
        header = new_header(session_id, kind or "agent", entity_id, user_id, entries[0]["created_at"])

        def make(locked: Locked) -> None:
            create(locked, header, entries)

        return make

    def add_step(self, session_id: str, run_id: str, step: Step, *, number: int, user_id: str | None = None) -> None:
        """Add a step to an unfinished run at position `number`, counted from 0."""
        check_id(session_id)
        check_text("run_id", run_id)
        check_text("user_id", user_id)
        if type(number) is not int or number < 0:
            raise ValueError(f"number must be a whole number from 0 on, not {shown(number)}")
        added = step_of(step)
        self._change(session_id, user_id, lambda change: change.add_step(run_id, number, added), run_id=run_id)

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
        check_id(session_id)
        check_text("user_id", user_id)
        new = RatingChange.of(run_id, rating, note)
        self._change(
            session_id, user_id, lambda change: change.rate(new.run_id, new.rating, new.note), run_id=new.run_id
        )

    def undo(self, session_id: str, run_id: str | None = None, *, user_id: str | None = None) -> Undone | None:
        """Remove the last run of a session and return it, or None if there is no run. It is kept aside."""
        return self._remove(session_id, run_id, user_id, UNDONE)

    def remove_run(self, session_id: str, run_id: str, *, user_id: str | None = None) -> str:
        """Take any run out of a session, and return the name under which it is kept; `restore` puts it back."""
        check_id(run_id)
        undone = self._remove(session_id, run_id, user_id, REMOVED)
        assert undone is not None  # noqa: S101 (for the type checker: a run was named)
        return undone.name

    def _remove(self, session_id: str, run_id: str | None, user_id: str | None, reason: str) -> Undone | None:
        check_id(session_id)
        check_text("user_id", user_id)
        chosen: list[Run] = []

        def work(change: SessionChange) -> Undone | None:
            wanted = chosen[0].run_id if chosen else run_id
            position = change.last_run() if reason == UNDONE else change.position_of(wanted or "")
            if position is not None and wanted in (None, change.entry(position)["run_id"]):
                chosen[:] = [Run.model_validate(change.entry(position))]
                return Undone(chosen[0], change.take_out(position, reason))
            if wanted is None:
                return None
            if change.position_of(wanted) is not None:
                raise Conflict(
                    f"Run {wanted!r} is not the last run of session {session_id!r}. Nothing was written. "
                    "Undo the later runs first.",
                    session_id=session_id,
                )
            for one in change.asides():  # an earlier call removed it
                if (one.reason, one.run_id) == (reason, wanted):
                    return Undone(Run.model_validate(orjson.loads(one.text)[0]), one.name)
            raise change.run_not_found(wanted, f"'localstore show {session_id}' lists its runs.")

        try:
            return self._change(session_id, user_id, work)
        except BaseException as error:
            if chosen:
                error.run = chosen[0]  # type: ignore[attr-defined]
            raise

    # Sessions

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
        check_id(session_id)
        check_text("user_id", user_id)
        state = dict(zip(SESSION_KEYS, (instructions, session_state, session_summary, session_data), strict=True))
        header = {"name": name, "tags": tags, "metadata": metadata}
        new = HeaderChange.of(state, header, add_tags, remove_tags)
        begin: list[int] = []

        def work(change: SessionChange) -> None:
            begin.append(change.next)
            entries = [entry for entry in new.entries if not equal_entry_since(change, begin[0], entry)]
            changed = new.new_header(change.header) if new.changes_header else None
            if changed is not None or entries:
                change.change(changed, {}, entries)

        self._change(session_id, user_id, work)

    def archive(self, session_ids: str | Iterable[str]) -> None:
        """Give sessions the tag "archived"."""
        for session_id in check_ids(session_ids):
            self.update(session_id, add_tags=[ARCHIVED])

    def unarchive(self, session_ids: str | Iterable[str]) -> None:
        """Remove the tag "archived" from sessions."""
        for session_id in check_ids(session_ids):
            self.update(session_id, remove_tags=[ARCHIVED])

    def upsert(self, session: Session) -> None:
        """Store a session that was read and changed, or a new one. What others wrote meanwhile stays."""
        if not isinstance(session, Session):
            raise TypeError(f"upsert takes a Session, not {type(session).__name__}")
        check_id(session.session_id)
        local, base = LocalSession.of(session), session._base
        if base is not None and base.header["session_id"] != session.session_id:
            base = None  # a copy under another id is a new session

        def make(locked: Locked) -> Snapshot:
            if base is not None:
                raise not_found(session.session_id, " It was deleted since it was read.")
            return local.stored(create(locked, local.header, local.new_entries()))

        session._base = self._change(
            session.session_id, None, lambda change: _upsert_into(change, local, base), kind=session.kind, make=make
        )

    def fork(
        self, session_id: str, run_id: str | None = None, *, new_id: str | None = None, user_id: str | None = None
    ) -> str:
        """Copy the history of a session, up to a run, into a new one. Return the id of the new session."""
        check_id(session_id)
        check_text("user_id", user_id)
        target = str(uuid4()) if new_id is None else new_id
        check_id(target)
        stored = self._backend.read(session_id)
        if stored is None or (user_id is not None and stored.row.get("user_id") != user_id):
            raise SessionNotFound(f"There is no session {session_id!r} to fork.", session_id=session_id)
        header, kept = forked(stored.header, stored.entries, run_id, target)

        def check(change: SessionChange) -> None:
            if not is_fork(change.header(), [one.entry for one in change.entries()], header, kept):
                raise target_exists(target)

        def make(locked: Locked) -> None:
            create(locked, header, kept)

        self._change(target, None, check, make=make)
        return target

    def delete_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Delete a session permanently, the runs that were taken out of it, and its sub-sessions.

        Return False if it did not exist. With `user_id`, sub-sessions of other users stay.
        """
        check_id(session_id)
        check_text("user_id", user_id)
        did_exist = self._delete(session_id, user_id)
        for _, part in self._backend.page(Filter(user=user_id, part_of=session_id), None, None, newest_first=True):
            self._delete(part["session_id"], user_id)
        return did_exist

    def _delete(self, session_id: str, user_id: str | None) -> bool:
        existed: list[bool] = []

        def delete(locked: Locked) -> None:
            if locked.row is not None:
                check_access(locked.row, user_id, None)
                locked.forget([one.name for one in locked.asides() if one.reason != TRASH])
                locked.delete()
                existed.append(True)

        self._backend.change(session_id, delete)
        return bool(existed)

    def drop(self) -> None:
        """Delete all sessions permanently."""
        self._backend.drop()

    def upgrade_schema(self) -> Upgraded:
        """Upgrade the sessions of agno that could not be upgraded when the storage was opened."""
        return self._backend.upgrade()


def _upsert_into(change: SessionChange, local: LocalSession, base: Snapshot | None) -> Snapshot:
    """Write the changes between `base` and `local`, and return the snapshot to compare with at the next upsert."""
    check_owner(local, base, change.header(), None)
    alone = base is not None and base.fingerprint == change.row["fingerprint"]
    if base is not None and alone:
        plan = merge(local, base, base)  # nobody wrote since: what is stored equals `base`
        run_ids = [entry["run_id"] for entry in plan.added if entry["type"] == "run"]
        if (
            not plan.replaced
            and json_equal(plan.header, base.header)
            and not any(change.position_of(run_id) is not None for run_id in run_ids)
        ):
            if plan.added:
                change.change(None, {}, plan.added)
            return local.stored(change.row)
    remote = change.snapshot()
    positions = [one.position for one in change.entries()]
    plan = merge(local, base, remote)
    header = None if json_equal(plan.header, remote.header) else order_header(plan.header)
    if header is not None or plan.replaced or plan.added:
        change.change(header, {positions[at]: entry for at, entry in plan.replaced.items()}, plan.added)
    return local.stored(change.row, alone=alone)

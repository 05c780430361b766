"""Upgrade sessions of agno in a database to a store, preview that, and undo it: what is the same in each database.

First the tables of agno are renamed, and those of the store are created. Then each transaction converts a few sessions
and notes how far it came, so an interrupted upgrade is continued by the next one, and several may be at work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Generic, NamedTuple, TypeVar

import orjson

from localstore.databases.agno_sessions import (
    AgnoForm,
    AgnoSessions,
    Converted,
    Document,
    agno_form,
    converted,
    made_by,
    old_values,
)
from localstore.databases.backend import Change as NewSession
from localstore.databases.backend import State, counted_rows, store_not_found
from localstore.databases.session_change import new_session
from localstore.errors import BackupNotFound, Conflict, LocalstoreError
from localstore.format.document import LAYOUTS
from localstore.format.values import json_equal
from localstore.maintenance.upgrade import Change, Problem, Undone, Upgraded
from localstore.models.schema import SCHEMA_VERSION

AT_ONCE = 50
"""How many sessions a transaction converts at most."""
_ENOUGH = 8_000_000
"""After how many bytes of converted sessions a transaction ends."""
SUFFIX = "_agno"
"""What the names of the tables of agno end with after an upgrade."""
_NAMED = 3
Handle = TypeVar("Handle")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """What an upgrade has to do. `documents` is the number of sessions to upgrade, `current` that of the others.

    `source` is what made the table: "agno 1.x", or "agno 2.x and 3.x".
    """

    store: str
    documents: int
    current: int
    source: str

    @property
    def versions(self) -> dict[int, int]:
        """The number of sessions by schema version. Those of agno have version 0."""
        counts = {0: self.documents, SCHEMA_VERSION: self.current}
        return {version: count for version, count in counts.items() if count}

    @property
    def steps(self) -> list[tuple[int, str, int]]:
        """The steps to run, each with its version, its title and the number of sessions."""
        title = f"Sessions of {self.source} become localstore documents"
        return [(SCHEMA_VERSION, title, self.documents)] if self.documents else []

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return {
            "store": self.store,
            "versions": {str(version): count for version, count in self.versions.items()},
            "steps": [{"version": version, "title": title, "documents": n} for version, title, n in self.steps],
            "documents": self.documents,
        }


@dataclass(slots=True)
class Progress:
    """How far an upgrade came: the new names of the tables of agno by their old ones, and the key of the last session.

    `left` has the keys of sessions that could not be converted.
    """

    tables: dict[str, str]
    after: Any
    left: list[Any]


class Compared(NamedTuple):
    """How the sessions of a store differ from those that agno stored: the ids of those that were added or changed.

    `digest` changes with each session. `same` is the number of sessions that are unchanged.
    """

    digest: str
    changed: list[str]
    same: int


class _Step(NamedTuple):
    """What one transaction did: how many sessions it stored, the keys it looked at, and those it could not convert."""

    documents: int
    problems: list[Problem]
    done: list[Any]
    left: list[Any]


class DatabaseUpgrade(ABC, Generic[Handle]):
    """The upgrade of one table. The tables of the store need not exist yet. A handle is an open transaction."""

    what: str
    """What the database calls a table."""

    def __init__(self, name: str, address: str) -> None:
        """`name` is that of the table of sessions, `address` that of the store, for people."""
        self._name = name
        self._address = address

    # What each database does in its own way

    @abstractmethod
    def _read(self, work: Callable[[Handle], _Result]) -> _Result:
        """Call `work` in a transaction that sees one state of the database."""

    @abstractmethod
    def _write(self, work: Callable[[Handle], _Result]) -> _Result:
        """Call `work` in a transaction, once or again until it is durable."""

    @abstractmethod
    def _state(self, handle: Handle) -> State: ...

    @abstractmethod
    def _check_place(self) -> None:
        """Raise StoreNotFound if the database does not exist. It is not created."""

    @abstractmethod
    def _begin(self) -> bool:
        """Rename the tables of agno, and create those of the store. Return False if that was done before."""

    @abstractmethod
    def _progress(self, handle: Handle) -> Progress | None:
        """Return how far an upgrade came; None without one."""

    @abstractmethod
    def _lock(self, handle: Handle) -> bool:
        """Let other upgrades wait until the transaction ends. Return whether the upgrade is unfinished."""

    @abstractmethod
    def _save(self, handle: Handle, progress: Progress) -> None: ...

    @abstractmethod
    def _finish(self, handle: Handle) -> None:
        """Note that all sessions are upgraded."""

    @abstractmethod
    def _agno(self, handle: Handle, name: str) -> AgnoSessions: ...

    @abstractmethod
    def _create(self, handle: Handle, new: Sequence[NewSession]) -> set[str]:
        """Store sessions, and return the ids of those that exist."""

    @abstractmethod
    def _count(self, handle: Handle) -> int:
        """Return the number of sessions in the store."""

    @abstractmethod
    def _facts(self, handle: Handle) -> Iterator[tuple[str, str]]:
        """Yield the key and the facts of each session in the store, in the order of the keys."""

    @abstractmethod
    def _stored(self, handle: Handle, key: str) -> Document | None:
        """Return the session with this key in the store."""

    @abstractmethod
    def _key(self, session_id: str) -> str:
        """Return the key of a session in the store."""

    @abstractmethod
    def _has_aside(self, handle: Handle) -> bool:
        """Return whether something is in the trash, or was taken out of a session."""

    @abstractmethod
    def _bring_back(self, compared: Compared) -> str:
        """Drop the tables of the store, give those of agno their names back, and store what changed in them.

        Return the name that the table of agno had. Raises Conflict if the store is no longer as it was compared.
        """

    # Upgrade

    def upgrade(self) -> Upgraded:
        """Convert all sessions of agno that are not converted yet, and those that could not be converted before.

        Raises StoreNotFound, StoreUnavailable, LockTimeout, NewerFormat, Conflict if another table has a name that is
        needed, and OlderFormat if the database cannot rename tables in a transaction.
        """
        self._check_place()
        is_new = self._begin()
        progress = self._read(self._progress)
        if progress is None:
            return Upgraded()
        documents = 0
        problems: list[Problem] = []
        if not is_new and progress.left:
            again = self._write(self._try_again)
            documents, problems = again.documents, again.problems
        while (step := self._write(self._step)) is not None:
            documents += step.documents
            problems += step.problems
        problems += self._without_id()
        is_idle = not documents and not problems and not is_new
        return Upgraded(documents, problems, None if is_idle else progress.tables[self._name])

    def _step(self, handle: Handle) -> _Step | None:
        """Convert the next sessions. Return None if all are converted."""
        if not self._lock(handle) or (progress := self._progress(handle)) is None:
            return None
        agno = self._agno(handle, progress.tables[self._name])
        step = self._convert(handle, agno, agno.keys(progress.after, AT_ONCE))
        if step.done:
            progress.after = step.done[-1]
            progress.left += step.left
            self._save(handle, progress)
        else:
            self._finish(handle)
        return step

    def _try_again(self, handle: Handle) -> _Step:
        self._lock(handle)
        progress = self._progress(handle)
        if progress is None:
            return _Step(0, [], [], [])
        step = self._convert(handle, self._agno(handle, progress.tables[self._name]), progress.left)
        progress.left = [*step.left, *progress.left[len(step.done) :]]
        self._save(handle, progress)
        return step

    def _convert(self, handle: Handle, agno: AgnoSessions, keys: list[Any]) -> _Step:
        problems: list[Problem] = []
        done: list[Any] = []
        left: list[Any] = []
        size = 0
        changes = []
        for one in converted(agno, keys, self._address):
            done.append(one.old.key)
            problems += one.problems
            if one.session is None:
                left.append(one.old.key)
                continue
            changes.append(new_session(*one.session))
            size += sum(entry.size for entry in changes[-1].put)
            if size > _ENOUGH:
                break
        existing = self._create(handle, changes)
        for session_id in existing:
            problem = f"it was stored in the meantime: the {self.what} of agno has another session with this id"
            problems.append(Problem(f"{self._address}, session {session_id!r}", problem))
        return _Step(len(changes) - len(existing), problems, done, left)

    def _without_id(self) -> list[Problem]:
        """Return what names the rows that have no key, because they have no session_id."""
        return [
            Problem(f"{self._address}, {self.what} {name}", f"has {counted_rows(count)} without a session_id")
            for name, count in self.without_id().items()
            if count
        ]

    def without_id(self) -> dict[str, int]:
        """Return how many rows of the table of agno have no session_id, by the name of the table."""

        def count(handle: Handle) -> dict[str, int]:
            progress = self._progress(handle)
            name = None if progress is None else progress.tables[self._name]
            return {} if name is None else {name: self._agno(handle, name).without_id()}

        return self._read(count)

    # Preview

    def plan(self) -> DatabasePlan:
        """Return what an upgrade has to do. Nothing is changed. Raises as `upgrade`."""
        self._check_place()

        def look(handle: Handle) -> DatabasePlan:
            state = self._state(handle)
            if state == "missing":
                raise store_not_found(self._address)
            current = 0 if state == "agno" else self._count(handle)
            if state == "ready":
                return DatabasePlan(self._address, 0, current, "")
            agno = self._old(handle)
            return DatabasePlan(self._address, agno.count() - current, current, made_by(agno))

        return self._read(look)

    def _old(self, handle: Handle) -> AgnoSessions:
        """Return the table of agno, which may be renamed already."""
        if self._state(handle) == "agno":
            return self._agno(handle, self._name)
        progress = self._progress(handle)
        if progress is None:
            raise BackupNotFound(f"{self._address} was not upgraded, so there is nothing to undo.")
        return self._agno(handle, progress.tables[self._name])

    def preview(self) -> Iterator[Change | Problem]:
        """Yield how each session that is not upgraded yet would change, and what cannot be upgraded."""
        if not self.plan().documents:
            return
        after = self._read(self._start)
        while (some := self._read(partial(self._page, after=after)))[0]:
            after = some[0][-1]
            for one in some[1]:
                yield from one.problems
                if one.session is not None:
                    yield _change(one, *one.session)

    def _start(self, handle: Handle) -> Any:
        """Return the key after which sessions are not upgraded yet; None if none is."""
        progress = None if self._state(handle) == "agno" else self._progress(handle)
        return None if progress is None else progress.after

    def _page(self, handle: Handle, after: Any) -> tuple[list[Any], list[Converted]]:
        agno = self._old(handle)
        keys = agno.keys(after, AT_ONCE)
        return keys, [*converted(agno, keys, self._address)]

    # Undo

    def undo(self) -> Undone:
        """Drop the tables of the store, and give those of agno their names back.

        Sessions that were added or changed since the upgrade are stored in the form of agno, with all that was added.
        Raises Conflict if agno cannot hold one of them or something is in the trash, BackupNotFound if the store was
        not upgraded, and as `upgrade`. Then nothing is changed.
        """
        self._check_place()
        compared = self._read(self._compare)
        return Undone(self._bring_back(compared), compared.same, len(compared.changed), [])

    def _compare(self, handle: Handle) -> Compared:
        """Return what changed since the upgrade. Raises Conflict if agno cannot hold it."""
        state = self._state(handle)
        if state == "missing":
            raise store_not_found(self._address)
        agno = self._old(handle)
        if state == "agno":
            raise BackupNotFound(f"{self._address} was not upgraded, so there is nothing to undo.")
        digest = self._digest(handle)  # first: what changes while this compares is noticed
        if self._has_aside(handle):
            raise self._refused("Sessions are in the trash, or runs were taken out of sessions")
        kept: set[str] = set()
        after, differing = None, 0
        while keys := agno.keys(after, AT_ONCE):
            after = keys[-1]
            for one in converted(agno, keys, self._address):
                if one.session is None:
                    continue
                key = self._key(one.session[0]["session_id"])
                if json_equal(stored := self._stored(handle, key), one.session):
                    kept.add(key)
                elif stored is not None:
                    differing += 1
        changed = [key for key, _ in self._facts(handle) if key not in kept]
        lost = [key for key in changed if self._form(handle, agno, key) is None]
        if lost:
            named = ", ".join(map(repr, lost[:_NAMED])) + (" and others" if len(lost) > _NAMED else "")
            raise self._refused(f"agno has no form for what these sessions have now: {named}")
        return Compared(digest, changed, agno.count() - differing)

    def _form(self, handle: Handle, agno: AgnoSessions, key: str) -> AgnoForm | None:
        stored = self._stored(handle, key)
        return None if stored is None else agno_form(agno, *stored)

    def _digest(self, handle: Handle) -> str:
        """Return a text that changes with each session."""
        found = sha256()
        for key, facts in self._facts(handle):
            found.update(f"{key}\n{facts}\n".encode())
        return found.hexdigest()

    def _store_back(self, handle: Handle, agno: AgnoSessions, keys: Sequence[str]) -> None:
        """Store sessions in the form of agno."""
        for key in keys:
            form = self._form(handle, agno, key)
            assert form is not None  # noqa: S101 (for the type checker: it was there when the store was compared)
            agno.store(form.row["session_id"], form)

    def _changed_meanwhile(self) -> LocalstoreError:
        return Conflict(f"{self._address} was changed meanwhile. Nothing was undone. Try again.")

    def _refused(self, what: str) -> LocalstoreError:
        return Conflict(
            f"{what}. An undo would lose that, so nothing was changed. Copy the sessions to another store with "
            "'localstore copy', delete those permanently, and undo again."
        )


def names_for(name: str) -> Iterator[str]:
    """Yield the names that a table of agno may get."""
    yield f"{name}{SUFFIX}"
    number = 2
    while True:
        yield f"{name}{SUFFIX}_{number}"
        number += 1


def _change(one: Converted, header: dict[str, Any], entries: list[dict[str, Any]]) -> Change:
    """Return the change of a session, both forms as the text of a JSON document."""
    layout = LAYOUTS[".json"]
    new = layout.document(header, entries)
    old = orjson.dumps(old_values(one.old), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)
    path = f"{header['session_id']}.json"
    return Change(path, path, old, new)

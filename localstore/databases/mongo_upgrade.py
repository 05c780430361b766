"""Upgrade a collection of agno in MongoDB to the collections of a store, preview that, and undo it.

MongoDB renames no collections in a transaction. So what begins an upgrade, and what ends an undo, are steps that may
each be made again, after a note that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pymongo import ASCENDING, errors
from pymongo.client_session import ClientSession
from pymongo.database import Database

from localstore.databases.agno_sessions import Document as StoredDocument
from localstore.databases.backend import Change, State, entry_of, store_not_found
from localstore.databases.mongo_agno import AgnoCollections, run_collections
from localstore.databases.mongo_client import Client, Document
from localstore.databases.mongo_layout import OF_STORE, UPGRADE, create, state_of
from localstore.databases.mongo_session import Collections, create_many
from localstore.databases.upgrading import SUFFIX, Compared, DatabaseUpgrade, Progress, names_for
from localstore.errors import Conflict
from localstore.maintenance.upgrade import Problem, Undone

_Result = TypeVar("_Result")
_NOT_THERE, _IS_THERE = 26, 48
"""The codes of errors of a rename: another upgrade did it before."""
_NOTHING = {"_id": {"$exists": False}}
"""A condition that no document meets: the server refuses all of them."""
_OF_AGNO = {"facts": {"$exists": False}}
"""A condition that the sessions of agno meet, and those of a store do not."""


class Handle(NamedTuple):
    """The database, and the transaction that is open, if there is one."""

    database: Database[Document]
    session: ClientSession | None


class MongoUpgrade(DatabaseUpgrade[Handle]):
    """The upgrade of one collection; see `DatabaseUpgrade`."""

    what = "collection"

    def __init__(self, client: Client, collection: str) -> None:
        super().__init__(collection, f"{client.address}, collection {collection}")
        self._client = client
        self._runs: dict[str, list[str]] = {}

    def _read(self, work: Callable[[Handle], _Result]) -> _Result:
        return self._client.plain(lambda database: work(Handle(database, None)))

    def _write(self, work: Callable[[Handle], _Result]) -> _Result:
        return self._client.write(lambda database, session: work(Handle(database, session)))

    def _of(self, handle: Handle) -> Collections:
        return Collections(handle.database, self._name)

    def _state(self, handle: Handle) -> State:
        return state_of(handle.database, self._name, self._address)

    def _check_place(self) -> None:
        """Databases of MongoDB are created with their first collection."""

    # Upgrade

    def _begin(self) -> bool:
        return self._read(self._prepare)

    def _prepare(self, handle: Handle) -> bool:
        state = self._state(handle)
        if state == "missing":
            raise store_not_found(self._address)
        if state == "ready":
            return False
        of = self._of(handle)
        if state == "agno":
            there = {*handle.database.list_collection_names()}
            others = [one.name for one in (of.entries, of.aside, of.aside_texts) if one.name in there]
            if others:
                raise Conflict(
                    f"{self._address} is a collection of agno, and the collection {min(others)} is in the way of its "
                    f"upgrade. Nothing was changed. Rename or delete {min(others)}."
                )
            runs = self._agno(handle, self._name)
            later = run_collections(handle.database) if runs.is_later else []
            old = [*(name for name in later if not name.endswith(SUFFIX)), self._name]
            new = {name: next(one for one in names_for(name) if one not in there) for name in old}
            note: Document = {"tables": new, "after": None, "left": [], "unfinished": True, "undoing": False}
            of.info.update_one({"_id": UPGRADE}, {"$setOnInsert": note}, upsert=True)
        progress = self._progress(handle)
        if progress is None:
            return False
        for name, renamed in progress.tables.items():
            _rename(handle.database, name, renamed)
        create(handle.database, self._name)
        _allow(handle.database, self._name, OF_STORE)  # a program may have created it with agno
        self._move_latecomers(handle, progress.tables[self._name])
        return state == "agno"

    def _move_latecomers(self, handle: Handle, renamed: str) -> None:
        """Move what a program stored with agno after the rename, and before the server refused it, to the others."""
        sessions = self._of(handle).sessions
        for one in sessions.find(_OF_AGNO):
            values = {key: value for key, value in one.items() if key != "_id"}
            handle.database[renamed].replace_one({"session_id": one.get("session_id")}, values, upsert=True)
            sessions.delete_one({"_id": one["_id"]})

    def _progress(self, handle: Handle) -> Progress | None:
        found = self._of(handle).info.find_one({"_id": UPGRADE}, session=handle.session)
        return None if found is None else Progress(found["tables"], found["after"], found["left"])

    def _lock(self, handle: Handle) -> bool:
        found = self._of(handle).info.find_one_and_update(
            {"_id": UPGRADE}, {"$inc": {"transactions": 1}}, session=handle.session
        )
        return bool(found and found["unfinished"])

    def _save(self, handle: Handle, progress: Progress) -> None:
        self._note(handle, after=progress.after, left=progress.left)

    def _finish(self, handle: Handle) -> None:
        self._note(handle, unfinished=False)

    def _note(self, handle: Handle, **values: Any) -> None:
        self._of(handle).info.update_one({"_id": UPGRADE}, {"$set": values}, session=handle.session)

    def _agno(self, handle: Handle, name: str) -> AgnoCollections:
        if name not in self._runs:
            self._runs[name] = run_collections(handle.database)
        return AgnoCollections(handle.database, handle.session, name, self._runs[name])

    def _create(self, handle: Handle, new: Sequence[Change]) -> set[str]:
        assert handle.session is not None  # noqa: S101 (for the type checker)
        return create_many(self._of(handle), handle.session, new) if new else set()

    def _without_id(self) -> list[Problem]:
        return []  # they have a key, and are named as what cannot be converted

    # What is in the store

    def _count(self, handle: Handle) -> int:
        return self._of(handle).sessions.count_documents(OF_STORE, session=handle.session)

    def _facts(self, handle: Handle) -> Iterator[tuple[str, str]]:
        found = self._of(handle).sessions.find(OF_STORE, {"facts": 1}, session=handle.session)
        yield from ((one["_id"], one["facts"]) for one in found.sort("_id", ASCENDING))

    def _stored(self, handle: Handle, key: str) -> StoredDocument | None:
        found = self._of(handle).entries.find({"session_id": key}, {"content": 1}, session=handle.session)
        values = [entry_of(one["content"], key) for one in found.sort("position", ASCENDING)]
        return (values[0], values[1:]) if values else None

    def _key(self, session_id: str) -> str:
        return session_id

    def _has_aside(self, handle: Handle) -> bool:
        return self._of(handle).aside.find_one({}, session=handle.session) is not None

    # Undo

    def undo(self) -> Undone:
        """See `DatabaseUpgrade`. If an undo was interrupted, this continues it."""
        found = self._read(lambda handle: self._of(handle).info.find_one({"_id": UPGRADE}))
        if found is None or not found.get("undoing"):
            return super().undo()
        return self._read(lambda handle: self._continue(handle, Compared(**found["undoing"])))

    def _bring_back(self, compared: Compared) -> str:
        def work(handle: Handle) -> str:
            self._note(handle, undoing=compared._asdict())
            return self._continue(handle, compared).backup

        return self._read(work)

    def _continue(self, handle: Handle, compared: Compared) -> Undone:
        progress = self._progress(handle)
        assert progress is not None  # noqa: S101 (for the type checker: the note is deleted last)
        old = progress.tables[self._name]
        there = {*handle.database.list_collection_names()}
        if old in there:
            taken = [name for name, new in progress.tables.items() if name != self._name and {name, new} <= there]
            if taken:
                self._note(handle, undoing=False)
                raise Conflict(
                    f"The collection {taken[0]} is in the way of the undo. Nothing was undone. Rename or delete it."
                )
            _allow(handle.database, self._name, _NOTHING)
            self._check_unchanged(handle, compared)
            for key in compared.changed:
                self._write(partial(self._store_one_back, old=old, key=key))
            self._check_unchanged(handle, compared)  # again: not every server lets collMod wait for transactions
            _allow(handle.database, old, _OF_AGNO)  # a program that still has the store open gets errors
            for name, renamed in progress.tables.items():
                if name != self._name:
                    _rename(handle.database, renamed, name)
            handle.database[old].rename(self._name, dropTarget=True)
            _allow(handle.database, self._name, _OF_AGNO)  # again: not every server keeps it in a rename
        of = self._of(handle)
        for one in (of.entries, of.aside, of.aside_texts, of.info):
            one.drop()
        return Undone(old, compared.same, len(compared.changed), [])

    def _check_unchanged(self, handle: Handle, compared: Compared) -> None:
        if self._has_aside(handle) or self._digest(handle) != compared.digest:
            _allow(handle.database, self._name, OF_STORE)
            self._note(handle, undoing=False)
            raise self._changed_meanwhile()

    def _store_one_back(self, handle: Handle, old: str, key: str) -> None:
        self._store_back(handle, self._agno(handle, old), [key])


def _rename(database: Database[Document], old: str, new: str) -> None:
    """Rename a collection, unless that was done before."""
    try:
        database[old].rename(new)
    except errors.OperationFailure as error:
        if error.code not in (_NOT_THERE, _IS_THERE):
            raise


def _allow(database: Database[Document], name: str, condition: Document) -> None:
    """Let the server refuse documents that do not meet a condition."""
    database.command("collMod", name, validator=condition)

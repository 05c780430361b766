"""One session in a transaction of MongoDB."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database

from localstore.databases.backend import HEADER, Aside, Change, Entry, StoredEntry, entry_of, stored_row
from localstore.databases.words import words_of
from localstore.errors import UnstorableValue
from localstore.index.row import activity, latest_plausible_time
from localstore.models.nearest import shown

Document = dict[str, Any]
LONGEST_WORD = 100
"""How many characters of a word are indexed."""
_LARGEST = 15_000_000
"""How many bytes of JSON an entry may have: MongoDB stores 16 MB, with all that is beside them."""
_AT_ONCE = 1000
_FEW = 100
"""How many positions one query lists."""
BY_POSITION = [("session_id", ASCENDING), ("position", ASCENDING)]
"""The keys of the index of entries."""
_LONGEST_TEXT = 4_000_000
"""How many characters of what was taken out are in one document, which may have 16 MB."""


class Collections:
    """The collections of one store: their names begin with that of the sessions."""

    def __init__(self, database: Database[Document], name: str) -> None:
        self.sessions = database[name]
        self.entries = database[f"{name}_entries"]
        self.aside = database[f"{name}_aside"]
        self.aside_texts = database[f"{name}_aside_texts"]
        self.info = database[f"{name}_info"]


class LockedSession:
    """One session; see `Locked`. Of two transactions that write to it at once, MongoDB lets one fail."""

    def __init__(self, collections: Collections, transaction: ClientSession, session_id: str) -> None:
        self._of = collections
        self._transaction = transaction
        self._session_id = session_id
        found = collections.sessions.find_one({"_id": session_id}, {"facts": 1, "next": 1}, session=transaction)
        self.row = None if found is None else stored_row(found["facts"], session_id)
        self.next: int = 0 if found is None else found["next"]

    def _entries(self, condition: Document) -> list[StoredEntry]:
        found = self._of.entries.find(
            {"session_id": self._session_id, **condition}, {"position": 1, "content": 1}, session=self._transaction
        ).sort("position")
        return [
            StoredEntry(one["position"], entry_of(one["content"], self._session_id), one["content"]) for one in found
        ]

    def entry(self, position: int) -> StoredEntry:
        (found,) = self._entries({"position": position})
        return found

    def entries(self, begin: int = 0, texts: Sequence[str] = ()) -> list[StoredEntry]:
        having = {"content": {"$regex": "|".join(map(re.escape, texts))}} if texts else {}
        return self._entries({"position": {"$gte": begin}, **having})

    def positions(self, run_ids: Iterable[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for some in parts([*run_ids]):
            rows = self._of.entries.find(
                {"session_id": self._session_id, "run_id": {"$in": some}},
                {"run_id": 1, "position": 1},
                session=self._transaction,
            ).sort("position")
            found |= {one["run_id"]: one["position"] for one in rows}
        return found

    def last_run(self) -> int | None:
        found = last_runs_of(self._of, self._transaction, self._session_id, self.next, 1)
        return found[0] if found else None

    def write(self, change: Change) -> None:
        values = session_values(change)
        if self.row is None:
            self._of.sessions.insert_one({"_id": self._session_id, **values}, session=self._transaction)
            of_session = {"session_id": self._session_id}  # what a `drop` that was interrupted left
            self._of.entries.delete_many(of_session, session=self._transaction)
        else:
            self._of.sessions.update_one({"_id": self._session_id}, {"$set": values}, session=self._transaction)
        gone = [*change.removed, *(one.position for one in change.put if one.position < self.next)]
        if self.row is not None:
            for some in parts(gone):
                self._of.entries.delete_many(
                    {"session_id": self._session_id, "position": {"$in": some}}, session=self._transaction
                )
        documents = [entry_values(self._session_id, one) for one in change.put]
        if documents:
            self._of.entries.insert_many(documents, session=self._transaction)
        self.row, self.next = change.row, change.next

    def delete(self) -> None:
        self._of.entries.delete_many({"session_id": self._session_id}, session=self._transaction)
        self._of.sessions.delete_one({"_id": self._session_id}, session=self._transaction)

    def set_aside(self, one: Aside) -> None:
        about = {
            "_id": one.name,
            "session_id": one.session_id,
            "reason": one.reason,
            "made_at": one.made_at,
            "size": one.size,
            "run_id": one.run_id,
        }
        self._of.aside.insert_one(about, session=self._transaction)
        texts = [one.text[at : at + _LONGEST_TEXT] for at in range(0, len(one.text), _LONGEST_TEXT)]
        documents = [{"name": one.name, "number": number, "text": text} for number, text in enumerate(texts)]
        self._of.aside_texts.insert_many(documents, session=self._transaction)

    def asides(self) -> list[Aside]:
        found = self._of.aside.find({"session_id": self._session_id}, session=self._transaction)
        rows = [*found.sort("_id", DESCENDING)]
        return [aside_of(one, text_of_aside(self._of, one["_id"], self._transaction)) for one in rows]

    def forget(self, names: Iterable[str]) -> None:
        for some in parts([*names]):
            self._of.aside.delete_many({"_id": {"$in": some}}, session=self._transaction)
            self._of.aside_texts.delete_many({"name": {"$in": some}}, session=self._transaction)


def last_runs_of(
    collections: Collections, transaction: ClientSession, session_id: str, following: int, count: int
) -> list[int]:
    """Return the positions of the last `count` runs of a session, in order. `following` is that after its last entry.

    Positions are asked for, because not every server finds the last runs without looking at all of them.
    """
    span = count + 8
    while True:
        begin = max(0, following - span)
        found = collections.entries.find(
            {"session_id": session_id, "position": {"$gte": begin}}, {"position": 1, "run_id": 1}, session=transaction
        )
        runs = [one["position"] for one in found.sort("position") if "run_id" in one]
        if len(runs) >= count or not begin:
            return runs[-count:]
        span *= 4


def entries_at(
    collections: Collections, transaction: ClientSession, session_id: str, span: tuple[int, int], others: list[int]
) -> dict[int, Entry]:
    """Return the entries from one position up to before another one, and those at other positions, by position."""
    begin, end = span
    at: list[Any] = [{"$gte": begin}, {"$in": others}]
    if begin == HEADER:
        del at[1]
    elif end - begin <= _FEW:
        at = [{"$in": sorted({*others, *range(begin, end)})}]
    found: dict[int, Entry] = {}
    for positions in at:
        entries = collections.entries.find(
            {"session_id": session_id, "position": positions}, {"position": 1, "content": 1}, session=transaction
        )
        found |= {one["position"]: entry_of(one["content"], session_id) for one in entries}
    return found


def create_many(collections: Collections, transaction: ClientSession, new: Sequence[Change]) -> set[str]:
    """Create sessions, and return the ids of those that exist already."""
    changes = {change.row["session_id"]: change for change in new}
    existing: set[str] = set()
    for some in parts([*changes]):
        found = collections.sessions.find({"_id": {"$in": some}}, {"_id": 1}, session=transaction)
        existing |= {one["_id"] for one in found}
    for some in parts([session_id for session_id in changes if session_id not in existing]):
        sessions = [{"_id": session_id, **session_values(changes[session_id])} for session_id in some]
        collections.sessions.insert_many(sessions, session=transaction)
        # what a `drop` that was interrupted left
        collections.entries.delete_many({"session_id": {"$in": some}}, session=transaction)
        entries = [entry_values(session_id, one) for session_id in some for one in changes[session_id].put]
        collections.entries.insert_many(entries, session=transaction)
    return existing


def session_values(change: Change) -> Document:
    """Return the fields of a session besides its id."""
    row = change.row
    overview = row.get("overview", {})
    values = {
        "kind": row["kind"],
        "user_id": row.get("user_id"),
        "entity_id": row.get("entity_id"),
        "name": row.get("name"),
        "status": overview.get("status"),
        "tags": [*row.get("tags", ())],
        "part_of": row.get("part_of"),
        "models": sorted({model for models in overview.get("usage", {}).values() for model in models}),
        "ratings": [*overview.get("ratings", {})],
        "active_at": activity(row, latest_plausible_time()),
        "next": change.next,
        "facts": orjson.dumps(row).decode(),
    }
    _check_size(row["session_id"], "Its id, names and tags have", len(orjson.dumps([row["session_id"], values])))
    return values


def entry_values(session_id: str, one: StoredEntry) -> Document:
    """Return the fields of an entry. Raises UnstorableValue if it is too large."""
    _check_size(session_id, "An entry has", one.size + len(orjson.dumps([session_id, one.run_id])))
    document = {
        "session_id": session_id,
        "position": one.position,
        "created_at": one.created_at,
        "content": one.text,
        "words": words_of(one, LONGEST_WORD),
    }
    return document if one.run_id is None else {**document, "run_id": one.run_id}


def _check_size(session_id: str, what: str, size: int) -> None:
    if size > _LARGEST:
        raise UnstorableValue(
            f"Session {shown(session_id)} is not stored. {what} {size:,} bytes, more than the 16 MB that MongoDB "
            "stores. Nothing was written. Make it smaller, or use another storage."
        )


def text_of_aside(collections: Collections, name: str, transaction: ClientSession) -> str:
    """Return the text of what was taken out under a name."""
    found = collections.aside_texts.find({"name": name}, session=transaction).sort("number")
    return "".join(one["text"] for one in found)


def aside_of(found: Document, text: str = "") -> Aside:
    """Return what a document describes."""
    return Aside(
        found["_id"], found["session_id"], found["reason"], found["made_at"], found["size"], found["run_id"], text
    )


def parts(values: list[Any]) -> list[list[Any]]:
    """Return values in lists that one command takes."""
    return [values[at : at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE)]

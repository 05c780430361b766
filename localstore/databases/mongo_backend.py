"""The sessions of a store in MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database

from localstore.databases.backend import (
    HEADER,
    TRASH,
    Aside,
    Change,
    Entry,
    Locked,
    Match,
    Stored,
    StoredEntry,
    entry_of,
    store_not_found,
    stored_row,
    take_header,
)
from localstore.databases.mongo_client import Client, Document
from localstore.databases.mongo_layout import create as create_store
from localstore.databases.mongo_layout import is_ready
from localstore.databases.mongo_session import (
    LONGEST_WORD,
    Collections,
    LockedSession,
    aside_of,
    create_many,
    entries_at,
    parts,
    text_of_aside,
)
from localstore.databases.words import ANYTHING, KELVIN, longest_word
from localstore.errors import OlderFormat
from localstore.index.row import IndexRow
from localstore.index.search_query import LiteralQuery, Term, WordQuery
from localstore.index.selection import Place
from localstore.maintenance.copy_sides import digest_of
from localstore.models.filter import ARCHIVED, Filter

if TYPE_CHECKING:
    from localstore.maintenance.upgrade import Upgraded

_Result = TypeVar("_Result")
_FIRST, _LARGEST = 25, 1000
"""How many matches are read at first, and at most."""
_MOST = 10_000
"""How many matches a command returns after the first one: only their keys."""
_END = "\U0010ffff"


class MongoBackend:
    """The collections of one store; see `Backend`."""

    shares_writes = False

    def __init__(self, client: Client, collection: str, *, create: bool, upgrade: bool) -> None:
        """Open the collections: create them if they do not exist and `create` is true, upgrade them with `upgrade`.

        Raises StoreUnavailable, StoreNotFound, OlderFormat for a collection of agno, and NewerFormat.
        """
        self._client = client
        self._name = collection
        self.address = f"{client.address}, collection {collection}"
        check = partial(is_ready, name=collection, address=self.address)
        try:
            exists = client.plain(check)
        except OlderFormat:
            if not upgrade:
                raise
            self.upgrade()
            exists = client.plain(check)
        if not exists:
            if not create:
                raise store_not_found(self.address)
            client.plain(partial(create_store, name=collection))

    def close(self) -> None:
        self._client.close()

    # One session

    def change(self, session_id: str, work: Callable[[Locked], _Result], _: str | None = None) -> _Result:
        return self._client.write(
            lambda database, transaction: work(
                LockedSession(Collections(database, self._name), transaction, session_id)
            )
        )

    def create_many(self, new: Iterable[Change]) -> set[str]:
        changes = [*new]
        return self._client.write(
            lambda database, transaction: create_many(Collections(database, self._name), transaction, changes)
        )

    def read(self, session_id: str, last_runs: int | None = None, last_entries: int | None = None) -> Stored | None:
        def stored(database: Database[Document], snapshot: ClientSession) -> Stored | None:
            of = Collections(database, self._name)
            found = of.sessions.find_one({"_id": session_id}, {"facts": 1, "next": 1}, session=snapshot)
            if found is None:
                return None
            row = stored_row(found["facts"], session_id)
            stateful = [*row.get("offsets", {}).values()]
            end, others = found["next"], [HEADER, *stateful]
            if not last_runs:
                count = last_entries if last_runs is None else 0
                begin = HEADER if count is None else max(0, end - count)
                values = entries_at(of, snapshot, session_id, (begin, end), others)
            else:
                begin, values = self._last_runs(of, snapshot, session_id, end, last_runs, others)
            chosen = [entry for position, entry in sorted(values.items()) if position >= max(begin, 0)]
            header = take_header(values, session_id)
            return Stored(row, header, chosen, {position: values[position] for position in stateful})

        return self._client.read(stored)

    @staticmethod
    def _last_runs(
        of: Collections, snapshot: ClientSession, session_id: str, end: int, count: int, others: list[int]
    ) -> tuple[int, dict[int, Entry]]:
        """Return the entries from the last `count` runs on, and `others`, and the position of the first of these runs.

        The entries are asked for by their positions, because not every server finds the last runs without looking at
        all of them.
        """
        wanted = count
        while True:
            begin = max(0, end - wanted)
            values = entries_at(of, snapshot, session_id, (begin, end), others)
            runs = sorted(at for at, entry in values.items() if at >= begin and entry.get("type") == "run")
            if len(runs) >= count or not begin:
                return (runs[-count] if len(runs) >= count else 0), values
            wanted *= 4

    def read_run(self, session_id: str, run_id: str) -> Stored | None:
        def read(database: Database[Document], snapshot: ClientSession) -> Stored | None:
            of = Collections(database, self._name)
            found = of.sessions.find_one({"_id": session_id}, {"facts": 1}, session=snapshot)
            runs = of.entries.find({"session_id": session_id, "run_id": run_id}, {"position": 1}, session=snapshot)
            place = max((one["position"] for one in runs), default=None)
            if found is None or place is None:
                return None
            row = stored_row(found["facts"], session_id)
            stateful = [one for one in row.get("offsets", {}).values() if one < place]
            entries = entries_at(of, snapshot, session_id, (place, place + 1), [HEADER, *stateful])
            return Stored(row, take_header(entries, session_id), [entries[place]], entries)

        return self._client.read(read)

    def row(self, session_id: str) -> IndexRow | None:
        found = self._rows({"_id": session_id})
        return found[0][1] if found else None

    def rows(self, session_ids: Sequence[str]) -> list[IndexRow]:
        return [row for some in parts([*session_ids]) for _, row in self._rows({"_id": {"$in": some}})]

    def rows_with_run(self, run_id: str) -> list[IndexRow]:
        def ids(database: Database[Document], snapshot: ClientSession) -> list[str]:
            found = Collections(database, self._name).entries.find(
                {"run_id": run_id}, {"session_id": 1}, session=snapshot
            )
            return [*{one["session_id"]: None for one in found}]

        return self.rows(self._client.read(ids))

    def read_many(self, session_ids: Sequence[str]) -> dict[str, Stored]:
        def read(database: Database[Document], snapshot: ClientSession) -> dict[str, Stored]:
            of = Collections(database, self._name)
            result: dict[str, Stored] = {}
            for some in parts([*session_ids]):
                sessions = of.sessions.find({"_id": {"$in": some}}, {"facts": 1}, session=snapshot)
                rows: dict[str, IndexRow] = {one["_id"]: stored_row(one["facts"], one["_id"]) for one in sessions}
                found: dict[str, list[Any]] = {session_id: [] for session_id in rows}
                entries_of = of.entries.find(
                    {"session_id": {"$in": [*rows]}}, {"session_id": 1, "content": 1}, session=snapshot
                )
                for one in entries_of.sort([("session_id", ASCENDING), ("position", ASCENDING)]):
                    found[one["session_id"]].append(entry_of(one["content"], one["session_id"]))
                # Without any entry, not even a header, a session is broken, which a check says.
                result |= {
                    key: Stored(row, found[key][0] if found[key] else {}, found[key][1:], {})
                    for key, row in rows.items()
                }
            return result

        return self._client.read(read)

    def digests(self, session_ids: Sequence[str]) -> dict[str, bytes]:
        def read(database: Database[Document], snapshot: ClientSession) -> dict[str, bytes]:
            of = Collections(database, self._name)
            found: dict[str, bytes] = {}
            for some in parts([*session_ids]):
                entries = of.entries.find(
                    {"session_id": {"$in": some}}, {"session_id": 1, "content": 1}, session=snapshot
                )
                ordered = entries.sort([("session_id", ASCENDING), ("position", ASCENDING)])
                for session_id, own in groupby(ordered, itemgetter("session_id")):
                    found[session_id] = digest_of(one["content"].encode() for one in own)
            return found

        return self._client.read(read)

    def orphans(self) -> list[str]:
        def found(database: Database[Document]) -> list[str]:
            of = Collections(database, self._name)
            ids = [one["_id"] for one in of.entries.aggregate([{"$group": {"_id": "$session_id"}}], allowDiskUse=True)]
            there: set[str] = set()
            for some in parts(ids):
                there |= {one["_id"] for one in of.sessions.find({"_id": {"$in": some}}, {"_id": 1})}
            return sorted(one for one in ids if isinstance(one, str) and one not in there)

        return self._client.plain(found)

    def without_id(self) -> dict[str, int]:
        from localstore.databases.mongo_agno import NO_TEXT
        from localstore.databases.mongo_upgrade import MongoUpgrade

        def counts(database: Database[Document]) -> dict[str, int]:
            of = Collections(database, self._name)
            no_session = {"$or": [{"_id": NO_TEXT}, {"facts": NO_TEXT}]}
            found = {of.sessions.name: of.sessions.count_documents(no_session)}
            return found | {of.entries.name: of.entries.count_documents({"session_id": NO_TEXT})}

        found = self._client.plain(counts) | MongoUpgrade(self._client, self._name).without_id()
        return {name: count for name, count in found.items() if count}

    def _rows(
        self, condition: Document, order: list[tuple[str, int]] | None = None, limit: int = 0
    ) -> list[tuple[str, IndexRow]]:
        """Return the rows of sessions, with the times by which they are sorted. A `limit` of 0 is none."""
        found = self._sessions(condition, order, limit)
        return [(one["active_at"], stored_row(one["facts"], one["_id"])) for one in found if "facts" in one]

    def _sessions(self, condition: Document, order: list[tuple[str, int]] | None, limit: int) -> list[Document]:
        """Return documents of sessions. A program may have stored others beside them, which have no facts."""

        def documents(database: Database[Document]) -> list[Document]:
            found = Collections(database, self._name).sessions.find(condition, {"active_at": 1, "facts": 1})
            return [*(found.sort(order) if order else found).limit(limit)]

        return self._client.plain(documents)

    # Many sessions

    def page(
        self, where: Filter, after: Place | None, limit: int | None, *, newest_first: bool
    ) -> list[tuple[str, IndexRow]]:
        direction, beyond = (DESCENDING, "$lt") if newest_first else (ASCENDING, "$gt")
        order = [("active_at", direction), ("_id", direction)]
        found: list[tuple[str, IndexRow]] = []
        size = limit
        while limit is None or len(found) < limit:
            parts_of_condition = conditions(where)
            if after is not None:
                same = {"active_at": after[0], "_id": {beyond: after[1]}}
                parts_of_condition.append({"$or": [{"active_at": {beyond: after[0]}}, same]})
            some = self._sessions(all_of(parts_of_condition), order, size or 0)
            rows = [(one["active_at"], stored_row(one["facts"], one["_id"])) for one in some if "facts" in one]
            found += [(active_at, row) for active_at, row in rows if where.matches(row, active_at)]
            if size is None or len(some) < size:
                break
            after, size = (some[-1].get("active_at", ""), some[-1]["_id"]), min(2 * size, max(size, _LARGEST))
        return found[:limit]

    def fold(self, where: Filter, work: Callable[[Iterator[IndexRow]], _Result]) -> _Result:
        return work(row for _, row in self.page(where, None, None, newest_first=True))

    def count(self, where: Filter) -> int:
        if where.name is not None:
            return len(self.page(where, None, None, newest_first=True))
        condition = all_of(conditions(where))

        def number(database: Database[Document]) -> int:
            return Collections(database, self._name).sessions.count_documents(condition)

        return self._client.plain(number)

    def beginning_with(self, text: str, *, names: bool) -> Iterator[IndexRow]:
        begins = {"$gte": text, "$lt": text + _END}
        condition = {"$or": [{"_id": begins}, {"name": begins}]} if names else {"_id": begins}
        last, size = "", _FIRST
        while True:
            rows = self._rows({"$and": [condition, {"_id": {"$gt": last}}]}, [("_id", ASCENDING)], size)
            yield from (row for _, row in rows)
            if len(rows) < size:
                return
            last, size = rows[-1][1]["session_id"], _LARGEST

    def neighbours(self, session_ids: Iterable[str]) -> dict[str, list[str]]:
        found = {}
        for session_id in session_ids:
            rows = [
                *self._rows({"_id": {"$lt": session_id}}, [("_id", DESCENDING)], 1),
                *self._rows({"_id": {"$gt": session_id}}, [("_id", ASCENDING)], 1),
            ]
            found[session_id] = [row["session_id"] for _, row in rows]
        return found

    def has_name(self, text: str) -> bool:
        return bool(self._rows({"name": text}, limit=1))

    # Searching

    def matches(self, query: WordQuery | LiteralQuery, where: Filter, *, rank: bool) -> Iterator[Match]:  # noqa: ARG002 (MongoDB does not rank)
        """Yield the entries that may match, newest first, also with `rank`."""
        last: list[Document] = []
        size = _FIRST
        while True:
            found = self._client.plain(partial(self._found, query=query, after=last, size=size))
            for some in parts([one["_id"] for one in found]):
                yield from self._client.plain(partial(self._matches, ids=some, where=where))
            if len(found) < size:
                return
            last, size = found[-1:], _MOST

    def _found(
        self, database: Database[Document], query: WordQuery | LiteralQuery, after: list[Document], size: int
    ) -> list[Document]:
        """Return the keys of the first entries that may match, newest first; those after one, if there is one."""
        fields = ("created_at", "session_id", "position")
        condition = may_have(query)
        for one in after:
            begins = [
                {**{same: one[same] for same in fields[:number]}, field: {"$lt": one[field]}}
                for number, field in enumerate(fields)
            ]
            condition = {"$and": [condition, {"created_at": {"$lte": one["created_at"]}}, {"$or": begins}]}
        pipeline: list[Document] = [
            {"$match": condition},
            {"$sort": dict.fromkeys(fields, DESCENDING)},
            {"$limit": size},
            {"$project": dict.fromkeys(fields, 1)},
        ]
        return [*Collections(database, self._name).entries.aggregate(pipeline, allowDiskUse=True)]

    def _matches(self, database: Database[Document], ids: list[Any], where: Filter) -> list[Match]:
        of = Collections(database, self._name)
        entries = {one["_id"]: one for one in of.entries.find({"_id": {"$in": ids}}, {"words": 0})}
        session_ids = [*{one["session_id"] for one in entries.values()}]
        sessions = {one["_id"]: one for one in of.sessions.find({"_id": {"$in": session_ids}})}
        result = []
        for one in (entries[key] for key in ids if key in entries):
            session = sessions.get(one["session_id"])
            if session is None:
                continue  # it was deleted meanwhile
            row = stored_row(session["facts"], one["session_id"])
            if where.matches(row, session["active_at"]):
                position = one["position"]
                number = (
                    position if row["entries"] == session["next"] else self._number(of, one["session_id"], position)
                )
                entry = entry_of(one["content"], one["session_id"])
                result.append(Match(row, StoredEntry(position, entry, one["content"]), number))
        return result

    @staticmethod
    def _number(of: Collections, session_id: str, position: int) -> int:
        """Return the index in the history of the entry at a position, where entries were removed before."""
        return of.entries.count_documents({"session_id": session_id, "position": {"$gte": 0, "$lt": position}})

    # What was taken out

    def asides(self) -> list[Aside]:
        def listed(database: Database[Document]) -> list[Aside]:
            return [aside_of(one) for one in Collections(database, self._name).aside.find().sort("_id", DESCENDING)]

        return self._client.plain(listed)

    def aside(self, name: str) -> Aside | None:
        def read(database: Database[Document], snapshot: ClientSession) -> Aside | None:
            of = Collections(database, self._name)
            found = of.aside.find_one({"_id": name}, session=snapshot)
            return None if found is None else aside_of(found, text_of_aside(of, name, snapshot))

        return self._client.read(read)

    def forget(self, names: Iterable[str]) -> None:
        chosen = [*names]
        self._client.write(
            lambda database, transaction: LockedSession(Collections(database, self._name), transaction, "").forget(
                chosen
            )
        )

    def upgrade(self) -> Upgraded:
        from localstore.databases.mongo_upgrade import MongoUpgrade

        return MongoUpgrade(self._client, self._name).upgrade()

    def drop(self) -> None:
        self.forget([one.name for one in self.asides() if one.reason != TRASH])

        def drop(database: Database[Document]) -> None:
            of = Collections(database, self._name)
            while ids := [one["_id"] for one in of.sessions.find({}, {"_id": 1}).limit(_LARGEST)]:
                of.sessions.delete_many({"_id": {"$in": ids}})  # first: a session without entries would be broken
                for some in parts(ids):
                    of.entries.delete_many({"session_id": {"$in": some}})

        self._client.plain(drop)


def conditions(where: Filter) -> list[Document]:
    """Return conditions for the sessions that match a filter. Where it has a name, they select too many."""
    found: list[Document] = [
        {field: value}
        for field, value in (
            ("user_id", where.user),
            ("entity_id", where.entity),
            ("kind", where.kind),
            ("status", where.status),
            ("models", where.model),
            ("ratings", where.rating),
        )
        if value is not None
    ]
    tags = (where.tag,) if isinstance(where.tag, str) else where.tag or ()
    found += [{"tags": tag} for tag in tags]
    if where.archived is not None:
        found.append({"tags": ARCHIVED if where.archived else {"$ne": ARCHIVED}})
    if where.part_of is not None:
        found.append({"part_of": {"$in": [*where.part_of]}})
    if where.sub_sessions is not None:
        found.append({"part_of": {"$ne": None} if where.sub_sessions else None})
    if where.name is not None:
        found.append({"name": {"$ne": None}})
    if where.since_text is not None:
        found.append({"active_at": {"$gte": where.since_text}})
    if where.until_text is not None:
        found.append({"active_at": {"$lt": where.until_text, "$gt": ""}})
    return found


def all_of(found: list[Document]) -> Document:
    """Return one condition for all of some conditions: without `$and`, which few servers plan as well, if it can be."""
    names = [name for one in found for name in one]
    if len(set(names)) < len(names):
        return {"$and": found}
    return {name: value for one in found for name, value in one.items()}


def may_have(query: WordQuery | LiteralQuery) -> Document:
    """Return a condition for the entries that may match a query."""
    if isinstance(query, WordQuery):
        if len(query.terms) == 1 and len(query.terms[0].words) == 1 and not query.terms[0].is_prefix:
            return {"words": {"$in": [query.terms[0].words[0][:LONGEST_WORD], ANYTHING]}}
        wanted = [_has(word, term, at) for term in query.terms for at, word in enumerate(term.words)]
        return {"$or": [{"$and": wanted}, {"words": ANYTHING}]}
    word = longest_word(query.text)
    return {"$or": [{"content": {"$regex": word}}, {"content": {"$regex": KELVIN}}]} if word else {}


def _has(word: str, term: Term, at: int) -> Document:
    cut = word[:LONGEST_WORD]
    if term.is_prefix and at == len(term.words) - 1:
        return {"words": {"$elemMatch": {"$gte": cut, "$lt": cut + _END}}}
    return {"words": cut}

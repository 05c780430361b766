"""The sessions of agno in collections that its `MongoDbStorage` or `MongoDb` made."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database

from localstore.databases.agno_sessions import AgnoForm, OldSession, Row
from localstore.databases.mongo_client import Document
from localstore.maintenance.importing.agno import JSON_COLUMNS, RUN_COLUMNS
from localstore.maintenance.importing.json_text import storable
from localstore.models.times import time_text

NO_TEXT = {"$not": {"$type": "string"}}
"""A condition for a value that is missing, or no text."""
_BY_ID = [("_id", ASCENDING)]
_OF_DATABASE = ("_id", "_version")
"""Fields that are not the session's own."""


class AgnoCollections:
    """The collections, in a transaction if there is one; see `AgnoSessions`. A key is the `_id` of a document."""

    def __init__(self, database: Database[Document], session: ClientSession | None, name: str, runs: list[str]) -> None:
        self._sessions = database[name]
        self._runs = [database[one] for one in runs]
        self._session = session
        some = self._sessions.find_one({"session_id": {"$exists": True}}, session=session) or {}
        self.is_later = "session_type" in some
        self.has_runs = bool(runs)
        self.is_text = any(isinstance(some.get(name), str) for name in JSON_COLUMNS)

    def keys(self, after: Any, limit: int) -> list[Any]:
        found = self._sessions.find({}, {"_id": 1}, session=self._session).sort(_BY_ID)
        if after is None:
            return [one["_id"] for one in found.limit(limit)]
        # A comparison in the query would find ids of the same type alone.
        found = found.min([("_id", after)]).hint(_BY_ID).limit(limit + 1)
        return [one["_id"] for one in found if one["_id"] != after][:limit]

    def count(self) -> int:
        return self._sessions.count_documents({}, session=self._session)

    def without_id(self) -> int:
        return self._sessions.count_documents({"session_id": NO_TEXT}, session=self._session)

    def read(self, keys: Sequence[Any]) -> Iterator[OldSession]:
        for found in self._sessions.find({"_id": {"$in": [*keys]}}, session=self._session).sort(_BY_ID):
            yield OldSession(found["_id"], _row(found), self._runs_of(found.get("session_id")))

    def _runs_of(self, session_id: Any) -> list[Row]:
        rows: list[Row] = []
        for runs in self._runs:
            rows += [_row(one) for one in runs.find({"session_id": session_id}, session=self._session)]
        return sorted(rows, key=lambda row: (_number(row.get("run_index")), _number(row.get("created_at"))))

    def fitting(self, row: Row) -> Row:
        return row

    def store(self, session_id: str, form: AgnoForm) -> None:
        self._sessions.replace_one({"session_id": session_id}, form.row, upsert=True, session=self._session)
        if form.runs is None:
            return
        for runs in self._runs:
            runs.delete_many({"session_id": session_id}, session=self._session)
        if form.runs:
            self._runs[0].insert_many(form.runs, session=self._session)


def run_collections(database: Database[Document]) -> list[str]:
    """Return the names of the collections of runs of agno 3.x."""
    return [
        name
        for name in sorted(database.list_collection_names())
        if not name.startswith("system.") and (database[name].find_one() or {}).keys() >= RUN_COLUMNS
    ]


def _number(value: Any) -> float:
    """Return a number by which agno sorts runs; one that is missing is 0."""
    return float(value) if isinstance(value, (int, float)) else 0.0


def _row(document: Document) -> Row:
    """Return a document of MongoDB as plain values."""
    row: Row = storable({key: _plain(value) for key, value in document.items() if key not in _OF_DATABASE})
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, str, float)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, datetime):
        return time_text(value)
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)

"""What collections a store in MongoDB has, and how they are made."""

from __future__ import annotations

from contextlib import suppress

from pymongo import ASCENDING, DESCENDING, errors
from pymongo.database import Database

from localstore.databases.backend import State, is_store, of_another_program
from localstore.databases.mongo_client import Document
from localstore.databases.mongo_session import BY_POSITION, Collections
from localstore.errors import NewerFormat, OlderFormat

LAYOUT = "1"
"""The version of the collections."""
UPGRADE = "upgrade"
"""The `_id` in the collection of information of how far an upgrade came. It stays there for an undo."""
OF_STORE = {"facts": {"$exists": True}}
"""A condition that the sessions of a store meet, and those of agno do not. The server refuses others."""


_FIELDS_OF_AGNO = ("memory", "session_data", "runs")
"""Fields of a session that agno stored: it has one of these."""


def state_of(database: Database[Document], name: str, address: str) -> State:
    """Return whether the collections exist, agno made the collection, or an upgrade of it is not finished.

    Raises StoreUnavailable if one of the collections is one of another program, NewerFormat, and OlderFormat if an undo
    was interrupted.
    """
    of = Collections(database, name)
    found = {one["_id"]: one for one in of.info.find({"_id": {"$in": ["layout", UPGRADE]}})}
    layout, upgrade = found.get("layout"), found.get(UPGRADE)
    if layout is not None and layout.get("value") != LAYOUT:
        raise NewerFormat(
            f"{address} has layout {layout.get('value')}, but this localstore reads layout {LAYOUT}. Nothing was "
            "changed. Update localstore.",
            path=address,
        )
    if upgrade is not None and upgrade.get("undoing"):
        raise OlderFormat(
            f"The undo of the upgrade of {address} was interrupted. Continue it with 'localstore upgrade --undo "
            "--store URL'.",
            path=address,
        )
    if upgrade is not None and upgrade.get("unfinished"):
        return "unfinished"
    if layout is not None:
        return "ready"
    if of.info.find_one({"_id": {"$nin": ["layout", UPGRADE]}}) is not None:
        raise of_another_program(address, "collection", of.info.name)
    other = of.sessions.find_one({"facts": {"$exists": False}})
    if other is None:
        for collection, field in ((of.entries, "content"), (of.aside, "made_at"), (of.aside_texts, "text")):
            if collection.find_one({field: {"$exists": False}}) is not None:
                raise of_another_program(address, "collection", collection.name)
        return "missing"
    if "session_id" in other and any(field in other for field in _FIELDS_OF_AGNO):
        return "agno"
    raise of_another_program(address, "collection")


def is_ready(database: Database[Document], name: str, address: str) -> bool:
    """Return whether the collections exist. Raises OlderFormat for one of agno, and the errors of `state_of`."""
    return is_store(state_of(database, name, address), address, "collection")


def create(database: Database[Document], name: str) -> None:
    """Create the collections and indexes that do not exist yet."""
    of = Collections(database, name)
    with suppress(errors.CollectionInvalid):  # another client created it
        database.create_collection(name, validator=OF_STORE)
    by_time = [("active_at", ASCENDING), ("_id", ASCENDING)]
    of.sessions.create_index(by_time)
    for field in ("user_id", "entity_id"):
        of.sessions.create_index([(field, ASCENDING), *by_time])
    of.sessions.create_index([("name", ASCENDING)])
    of.entries.create_index(BY_POSITION, unique=True)
    of.entries.create_index([("session_id", ASCENDING), ("run_id", ASCENDING), ("position", ASCENDING)])
    newest_first = [(field, DESCENDING) for field in ("created_at", "session_id", "position")]
    of.entries.create_index([("words", ASCENDING), *newest_first])
    of.aside.create_index([("session_id", ASCENDING)])
    of.aside_texts.create_index([("name", ASCENDING), ("number", ASCENDING)])
    of.info.update_one({"_id": "layout"}, {"$set": {"value": LAYOUT}}, upsert=True)

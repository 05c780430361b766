"""A storage in MongoDB.

    from localstore.databases.mongo import MongoDbStorage

    storage = MongoDbStorage(db_url="mongodb://db.example.com/agents")

The extra `mongo` has what it needs: `pip install 'localstore-sessions[mongo]'`. The server must have transactions, as
those of a replica set do, even if it has one server.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from localstore.databases.database_storage import DatabaseStorage
from localstore.errors import StoreUnavailable
from localstore.models.nearest import shown
from localstore.storage.arguments import check_flag, check_lock_timeout

if TYPE_CHECKING:
    from localstore.databases.mongo_client import Client
    from localstore.databases.mongo_upgrade import MongoUpgrade

_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}\Z")
_DATABASE = re.compile(r'[^/\\. "$*<>:|?\0]{1,63}\Z')


class MongoDbStorage(DatabaseStorage):
    """A storage that keeps sessions in collections of MongoDB, which many machines may use at once.

    >>> with MongoDbStorage(db_url="mongodb://localhost/agents") as storage:
    ...     len(storage)
    0
    """

    def __init__(
        self,
        collection_name: str = "agent_sessions",
        db_url: str = "mongodb://localhost:27017",
        db_name: str | None = None,
        *,
        auto_upgrade_schema: bool = False,
        lock_timeout: float = 10.0,
        create: bool = True,
    ) -> None:
        """Open the store, and create its collections if they do not exist.

        Args:
            collection_name: The collection of sessions. The names of the other collections begin with it.
            db_url: The address of the server, as the driver takes it.
            db_name: The database; None means that of the URL, otherwise "localstore".
            auto_upgrade_schema: If True, a collection that agno made is upgraded.
            lock_timeout: Seconds to wait for other writers to the same session, and for the server.
            create: If False, a missing store raises StoreNotFound instead of being created.

        Raises ValueError for an invalid argument; StoreUnavailable if the server cannot be reached or has no
        transactions, a package is missing or the collection is one of another program; OlderFormat if the collection is
        one of agno; NewerFormat if a newer localstore made it. No error shows the password.
        """
        check_lock_timeout(lock_timeout)
        check_flag("auto_upgrade_schema", auto_upgrade_schema)
        check_flag("create", create)
        client = _client(collection_name, db_url, db_name, float(lock_timeout))
        from localstore.databases.mongo_backend import MongoBackend

        self._options: tuple[Any, ...] = (collection_name, db_url, db_name, auto_upgrade_schema, float(lock_timeout))
        super().__init__(MongoBackend(client, collection_name, create=create, upgrade=auto_upgrade_schema))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address and the options, so that another process can open the same store."""
        return _open, self._options


def upgrade_of(db_url: str, collection_name: str = "agent_sessions", db_name: str | None = None) -> MongoUpgrade:
    """Return the upgrade of a collection of agno: its preview, the upgrade itself, and its undo.

    Nothing is changed yet. Raises ValueError for an invalid argument, and StoreUnavailable if a package is missing.
    """
    client = _client(collection_name, db_url, db_name, 10.0)
    from localstore.databases.mongo_upgrade import MongoUpgrade

    return MongoUpgrade(client, collection_name)


def _client(collection_name: str, db_url: str, db_name: str | None, timeout: float) -> Client:
    """Return the connections to a database, once the names and the packages are checked."""
    if not isinstance(collection_name, str) or not _COLLECTION.match(collection_name):
        raise ValueError(f"collection_name must be 1 to 100 letters, digits, _, . and -, not {shown(collection_name)}")
    if db_name is not None and not (isinstance(db_name, str) and _DATABASE.match(db_name)):
        raise ValueError(f"db_name must be the name of a database of MongoDB, not {shown(db_name)}")
    try:
        from localstore.databases.mongo_client import Client
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("localstore"):
            raise
        raise StoreUnavailable(
            f"MongoDbStorage needs the package {error.name}, which is not installed. "
            "Run: pip install 'localstore-sessions[mongo]'"
        ) from None
    return Client(db_url, db_name, timeout)


def _open(
    collection_name: str, db_url: str, db_name: str | None, upgrades: bool, lock_timeout: float
) -> MongoDbStorage:
    return MongoDbStorage(collection_name, db_url, db_name, auto_upgrade_schema=upgrades, lock_timeout=lock_timeout)

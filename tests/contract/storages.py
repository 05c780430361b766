"""The storages that the contract holds for. A new one joins by one line in `STORAGES`."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from localstore import JsonStorage, SessionStorage, YamlStorage
from localstore.databases.mongo import MongoDbStorage
from localstore.databases.sql import PostgresStorage, SqliteStorage, SqlStorage
from tests.effort import ci_only, long_only
from tests.mariadb import mariadb_url
from tests.mongo import mongo_url
from tests.postgres import postgres_url

Factory = Callable[[Path], SessionStorage]
"""Opens the storage in a folder that belongs to one test. Opened again, it is another handle on the same sessions."""


def name_of(folder: Path) -> str:
    """Return a name for the schema or the database of a test, which has this folder."""
    return f"t{sha256(str(folder).encode()).hexdigest()[:16]}"


STORAGES: dict[str, Factory] = {
    "json": JsonStorage,
    "yaml": YamlStorage,
    "sqlite": lambda folder: SqliteStorage(db_file=folder / "sessions.db"),
    "mongo": lambda folder: MongoDbStorage(db_url=mongo_url(), db_name=name_of(folder)),
    "postgres": lambda folder: PostgresStorage(db_url=postgres_url(), schema=name_of(folder)),
    "mariadb": lambda folder: SqlStorage(mariadb_url(), schema=name_of(folder)),
}
SERVERS = {"postgres": ci_only, "mongo": ci_only, "mariadb": long_only}
"""Those that need a server, for which there is no time at the default level."""

"""Storages for cases that run in an environment of their own: a part of a database for each folder.

A variable has the URL of a database, with {} for a name in it. `servers` starts what the variables name.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Lock

from localstore import JsonStorage, SessionStorage, open_storage

POSTGRES, MONGO = "LOCALSTORE_CASES_POSTGRES", "LOCALSTORE_CASES_MONGO"
_AT_ONCE = 4
"""How many storages keep their connections: a server has few."""
_opened: OrderedDict[str, SessionStorage] = OrderedDict()
_lock = Lock()


def servers() -> dict[str, str]:
    """Start a server of each kind for this process, and return the variables that name them."""
    return {POSTGRES: postgres(), MONGO: mongo()}


def postgres() -> str:
    """Return a URL of PostgreSQL, with {} for the schema."""
    from tests.postgres import postgres_url

    url = postgres_url()
    return f"{url}{'&' if '?' in url else '?'}schema={{}}"


def mongo() -> str:
    """Return a URL of MongoDB, with {} for the database."""
    from tests.mongo import mongo_url

    return f"{mongo_url()}/{{}}"


def in_database(url: str, folder: Path) -> SessionStorage:
    """Return the storage of a folder in a database. One that was opened long ago connects again when it is used."""
    name = url.format(f"t{sha256(os.fsencode(folder)).hexdigest()[:16]}")
    with _lock:
        storage = _opened.pop(name) if name in _opened else open_storage(name)
        _opened[name] = storage
        for older in [*_opened.values()][:-_AT_ONCE]:
            older.close()
    return storage


def kinds() -> dict[str, Callable[[Path], SessionStorage]]:
    """Return what opens the storage of a folder: files, SQLite, and the servers that the variables name."""
    found: dict[str, Callable[[Path], SessionStorage]] = {
        "files": lambda folder: JsonStorage(folder / "files"),
        "sqlite": lambda folder: open_storage(f"sqlite:///{folder / 'database.db'}"),
    }
    return found | {name: partial(in_database, os.environ[name]) for name in (POSTGRES, MONGO) if os.environ.get(name)}


def storages(folder: Path) -> list[SessionStorage]:
    """Return a storage of each kind for one case."""
    folder.mkdir(parents=True, exist_ok=True)
    return [make(folder) for make in kinds().values()]


def one_of_them(folder: Path, number: int) -> SessionStorage:
    """Return a storage of one kind, which the number chooses."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = [*kinds().values()]
    return makers[number % len(makers)](folder)

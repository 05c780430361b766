"""URLs of databases for the tests of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from tests.contract.storages import name_of
from tests.mongo import mongo_url
from tests.postgres import postgres_url


def postgres(folder: Path) -> str:
    """Return the URL of a schema that belongs to the test with this folder."""
    url = postgres_url()
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'schema': name_of(folder)})}"


URLS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/sessions.db",
    "postgres": postgres,
    "mongo": lambda folder: f"{mongo_url()}/{name_of(folder)}",
}

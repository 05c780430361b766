"""Open a store by its path or its URL."""

import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from localstore.errors import LocalstoreError, StoreNotFound

if TYPE_CHECKING:
    from localstore.databases.upgrading import DatabaseUpgrade
    from localstore.models.progress import Progress
    from localstore.storage.contract import SessionStorage

_URL = re.compile(r"([A-Za-z][A-Za-z0-9.-]*)(?:\+[A-Za-z0-9_.-]+)?:/")
"""Matches the beginning of a URL. The name of a drive, as in `C:/`, is no URL: it has one letter."""
_MONGO = ("mongodb://", "mongodb+srv://")
_USER = re.compile(r"(:/+[^/?#@:]*):.*(?=@)", re.DOTALL)
"""Matches a user and a password up to the last @: people forget to escape the /, ? and # in it, or mistype the //."""
_OPTION = re.compile(r"(?<=[?&])(\w*password\w*)=[^&#]*", re.IGNORECASE | re.DOTALL)
"""Matches a password among the options."""
_USER_IN_TEXT = re.compile(r"(:/+[^\s/?#@:]*):\S*(?=@)")
_OPTION_IN_TEXT = re.compile(r"([?&]\w*password\w*)=[^&#\s'\"]*", re.IGNORECASE)
"""Match the same in a text, where a URL ends at a blank, and an option at a quotation mark."""
_OF_SQL, _OF_MONGO = ("table", "schema"), ("collection",)
"""Options of a URL that say where in the database the sessions are. All others are the driver's."""
_HINT = (
    "Use sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE, mongodb://HOST/DATABASE, or the path of a folder."
)


def is_url(text: str) -> bool:
    """Return whether a text is the URL of a database, and not the path of a folder.

    >>> is_url("sqlite:///chat.db"), is_url("C:/chats"), is_url("chats")
    (True, False, False)
    """
    match = _URL.match(text)
    return match is not None and len(match[1]) > 1


def without_password(url: str) -> str:
    """Return a URL with `***` in place of each password.

    >>> without_password("postgresql://alice:secret@db/chat?sslpassword=x")
    'postgresql://alice:***@db/chat?sslpassword=***'
    """
    first = _OPTION.search(url)
    end = len(url) if first is None else first.start() - 1
    if "@" in url[end:] and "@" not in url[:end]:  # the option may be a part of the password
        return f"{url[: url.index(':')]}://***"
    return _USER.sub(r"\1:***", url[:end]) + _OPTION.sub(r"\1=***", url[end:])


def without_passwords(text: str) -> str:
    """Return a text with `***` in place of each password in the URLs that it quotes.

    >>> without_passwords("There is no file 'mongodb://alice:secret@db/chat'.")
    "There is no file 'mongodb://alice:***@db/chat'."
    """
    return _OPTION_IN_TEXT.sub(r"\1=***", _USER_IN_TEXT.sub(r"\1:***", text))


def open_storage(
    where: str | os.PathLike[str],
    *,
    create: bool = True,
    auto_upgrade_schema: bool = False,
    progress: "Progress | None" = None,
) -> "SessionStorage":
    """Open the store in a folder or in a database.

    >>> open_storage("my-sessions")
    JsonStorage('/home/alice/my-sessions')

    Args:
        where: The path of a folder, which is opened as by `JsonStorage`; or the URL of a database: `sqlite:///FILE`,
            `postgresql://...` or that of another dialect of SQLAlchemy, which is opened as by `SqlStorage`, or
            `mongodb://...`, as by `MongoDbStorage`. The options `?table=NAME&schema=NAME` or `?collection=NAME` say
            where in the database the sessions are.
        create: If False, a missing store raises StoreNotFound instead of being created.
        auto_upgrade_schema: If True, what is stored in an older schema version is upgraded.
        progress: As in `JsonStorage`. Databases do not call it.

    Raises StoreNotFound for a URL that is no database's, and what the storages raise. No error shows a password.
    """
    text = os.fspath(where)
    if not is_url(text):
        from localstore.storage.storage import JsonStorage

        return JsonStorage(text, create=create, auto_upgrade_schema=auto_upgrade_schema, progress=progress)
    try:
        address, options = _options_in(text)
        if text.startswith(_MONGO):
            from localstore.databases.mongo import MongoDbStorage

            collection = options.get("collection", "agent_sessions")
            return MongoDbStorage(collection, address, auto_upgrade_schema=auto_upgrade_schema, create=create)
        from localstore.databases.sql import SqlStorage

        table = options.get("table", "agent_sessions")
        return SqlStorage(address, table, options.get("schema"), auto_upgrade_schema, create=create)
    except ValueError as error:
        raise _no_store(text, error) from None


def upgrade_of(url: str) -> "DatabaseUpgrade[Any]":
    """Return the upgrade of the table or the collection at the URL of a database.

    Raises StoreNotFound for a URL that is no database's, and StoreUnavailable if a package is missing.
    """
    try:
        address, options = _options_in(url)
        if url.startswith(_MONGO):
            from localstore.databases import mongo

            return mongo.upgrade_of(address, options.get("collection", "agent_sessions"))
        from localstore.databases import sql

        return sql.upgrade_of(address, options.get("table", "agent_sessions"), options.get("schema"))
    except ValueError as error:
        raise _no_store(url, error) from None


def _no_store(url: str, error: ValueError) -> Exception:
    if isinstance(error, LocalstoreError):
        return error
    shown = without_password(url)
    problem = str(error).partition(" Use ")[0].rstrip(".") + "."  # the hint has the advice for every database
    return StoreNotFound(f"{shown} is not the URL of a store: {problem} {_HINT}", path=shown)


def _options_in(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without what says where in the database the sessions are, and this.

    Raises ValueError for an option that says so in other databases.
    """
    address, mark, query = url.partition("?")
    parts = [part for part in query.split("&") if part]
    ours = dict(
        part.split("=", 1) for part in parts if part.partition("=")[0] in (*_OF_SQL, *_OF_MONGO) and "=" in part
    )
    own = _OF_MONGO if url.startswith(_MONGO) else _OF_SQL
    for name in ours:
        if name not in own:
            raise ValueError(f"it takes {' and '.join(own)}, and not {name}.")
    others = "&".join(part for part in parts if part.partition("=")[0] not in ours)
    return address + (mark + others if others else ""), {name: unquote_plus(value) for name, value in ours.items()}

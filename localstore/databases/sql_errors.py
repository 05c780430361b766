"""What goes wrong with a connection, in one clear sentence and without the password."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import exc
from sqlalchemy.engine import URL

from localstore.errors import LockTimeout, StoreUnavailable

_TRY_AGAIN = {"40001", "40P01", "57P01", "57P02", "57P03", "53300"}
"""States of SQL after which the same transaction may succeed: a deadlock, a server that stops, starts or is full."""
_LOCKED = {"55P03"}
_MYSQL_TRY_AGAIN = {1020, 1040, 1053, 1213, 2002, 2003, 2006, 2013}
"""The same as numbers of MySQL and MariaDB, and those after which there is no connection."""
_MYSQL_LOCKED = 1205
_WRONG_USER = ("authentication failed", "no password supplied", "Access denied for user")
"""What PostgreSQL, its driver and MySQL say of a wrong user or password. An error while connecting has no state."""
_NO_COLUMN = ("42703", 1054)
"""The state, and the number of MySQL, of an error about a column that a table does not have."""
_REPEAT = "and repeat the call: no run is stored twice."
_ADVICE = {
    "22P05": "Use a database with the encoding UTF8.",
    "25006": "Use a server and a user that may write.",
    "3F000": "Open the store again, or name its schema in the URL: ?schema=NAME.",
    "42501": "Give the user the rights to read and write the tables, and to create them in their schema.",
    "42P01": "Open the store again.",
    "57014": f"Raise the statement_timeout of the user or of the URL, {_REPEAT}",
}
"""What to do about the errors with these states: the tables may only be read, or are gone, or the server has limits."""
_SHORTEST_SECRET = 3


def address_of(url: URL) -> str:
    """Return a URL for people: without the password, the driver and the options."""
    host = url.query.get("host")
    place = host if isinstance(host, str) and not url.host else ""
    shown = URL.create(url.get_backend_name(), url.username, None, url.host, url.port, url.database).render_as_string()
    return f"{shown} ({place})" if place else shown


def may_be_tried_again(error: exc.SQLAlchemyError) -> bool:
    """Return whether the connection broke, or the server asks for another try."""
    if not isinstance(error, exc.DBAPIError):
        return False
    state = _state(error)
    if error.connection_invalidated or state in _TRY_AGAIN or state[:2] == "08" or _number(error) in _MYSQL_TRY_AGAIN:
        return True
    return _lost(error)


def _lost(error: exc.DBAPIError) -> bool:
    """Return whether there is no connection: it broke, or none could be made."""
    is_named = _state(error) or _number(error) is not None or _is_sqlite(error)
    return isinstance(error, exc.OperationalError) and not is_named


def _state(error: exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _number(error: exc.DBAPIError) -> int | None:
    """Return the number of an error of MySQL or MariaDB."""
    first = next(iter(getattr(error.orig, "args", ())), None)
    return first if isinstance(first, int) else None


def _is_sqlite(error: exc.DBAPIError) -> bool:
    return type(error.orig).__module__.startswith("sqlite3")


def explained(error: exc.SQLAlchemyError, address: str, secrets: Iterable[str], timeout: float) -> Exception:
    """Return the error to raise: LockTimeout or StoreUnavailable."""
    if isinstance(error, exc.TimeoutError):
        return LockTimeout(
            f"{address}: all connections are in use by other threads for {timeout:g} s. Nothing was written. "
            "Try again, or use a longer lock_timeout.",
            path=address,
        )
    problem = _words(error, secrets)
    if isinstance(error, exc.DBAPIError) and (_is_locked(error) or "database is locked" in problem):
        return LockTimeout(
            f"{address}: another writer holds a lock for longer than {timeout:g} s. Nothing was written. "
            "Try again, or use a longer lock_timeout.",
            path=address,
        )
    return StoreUnavailable(f"{address}: {problem}. {_advice(error, problem)}", path=address)


def _advice(error: exc.SQLAlchemyError, problem: str) -> str:
    if any(words in problem for words in _WRONG_USER):
        return "Check the user and the password in the URL."
    if not isinstance(error, exc.DBAPIError):
        return f"Check the address and the server, {_REPEAT}"
    if _is_sqlite(error):
        return f"Check the path of the file, its permissions, its folder and the disk, {_REPEAT}"
    return _ADVICE.get(_state(error), f"Check the address and the server, {_REPEAT}")


def has_no_column(error: exc.DBAPIError) -> bool:
    """Return whether a table does not have a column that it is asked for."""
    if _is_sqlite(error):
        return "no such column" in str(error.orig)
    return _state(error) in _NO_COLUMN or _number(error) in _NO_COLUMN


def _is_locked(error: exc.DBAPIError) -> bool:
    return _state(error) in _LOCKED or _number(error) == _MYSQL_LOCKED


def _words(error: exc.SQLAlchemyError, secrets: Iterable[str]) -> str:
    """Return what the driver says, on one line and without secrets."""
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    said = getattr(getattr(original, "diag", None), "message_primary", None)  # of PostgreSQL, without the statement
    text = " ".join(str(said or original).split()).rstrip(".?") or type(original).__name__
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text


def secrets_in(url: URL) -> list[str]:
    """Return the texts of a URL that nobody may see."""
    values = [url.password or ""]
    for name, value in url.query.items():
        if "password" in name.lower() or "pwd" in name.lower():
            values += [value] if isinstance(value, str) else value
    return [value for value in values if value]

"""A connection to MongoDB: made when it is needed, made again when it breaks, never shared with a child."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote_plus

from pymongo import MongoClient, errors
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from localstore.databases.backend import LONGEST_WAIT
from localstore.errors import LockTimeout, StoreUnavailable

Document = dict[str, Any]
Work = Callable[[Database[Document], ClientSession], "_Result"]
_Result = TypeVar("_Result")

DEFAULT_DATABASE = "localstore"
_PAUSES = (0.0, 0.1, 0.3, 1.0, 2.0)
"""Seconds before each further try after a connection broke: a server needs a moment to start again."""
_LONGEST_ANSWER = 60_000
"""How many milliseconds to wait for an answer at least: a search for a common word may take its time."""
_LONGEST_WAIT = 0.1
"""The longest pause in seconds before a transaction that collided with another one is tried again."""
_TRANSIENT, _UNKNOWN = "TransientTransactionError", "UnknownTransactionCommitResult"
_NO_TRANSACTIONS = (20, 263)
_NOT_VALID = 121
_ADVICE = {
    13: "Give the user the role readWrite for the database",
    14031: "Make room on the disk of the server",
    18: "Correct the user and the password in the URL, or name the database of the users: authSource=admin",
}
"""What to do about the errors with these codes: the user may not do that, and the user or the password is wrong."""
_ESCAPED = (
    ", or it has an unknown option or one of the characters :/?#[]@% in a user or password: write / as %2F, and so on"
)
_SHORTEST_SECRET = 3
_OF_PARENTS: list[MongoClient[Document]] = []
"""Clients of the processes that this one was forked from. They are kept, because closing them would end connections
that the parent still uses."""


class Client:
    """The connections to one database. Thread-safe, and usable after a fork."""

    def __init__(self, url: str, database: str | None, timeout: float) -> None:
        """Check a URL. Nothing is connected yet.

        `database` is the name of the database; None means that of the URL. `timeout` is how many seconds to wait for
        other writers, and for the server. Raises TypeError, and ValueError, which does not show the URL.
        """
        if not isinstance(url, str):
            raise TypeError(f"db_url must be text, not {type(url).__name__}")
        try:
            if url.startswith("mongodb+srv://"):  # its options are checked where it is resolved
                parse_uri("mongodb://" + url.partition("://")[2].partition("?")[0])
            else:
                parse_uri(url, validate=True)
        except (errors.PyMongoError, ValueError) as error:
            # What the driver says may have a part of the password.
            problem = _ESCAPED if "@" in url else f": {_words_of(error).partition('. ')[0]}"
            raise ValueError(f"db_url is no address of MongoDB{problem}. Use mongodb://host/database.") from None
        self._url = url
        self._secrets = _secrets_in(url)
        self.database = database or _database_in(url) or DEFAULT_DATABASE
        self.timeout = min(timeout, LONGEST_WAIT)
        self.address = f"{url.partition('://')[0]}://{_hosts_in(url)}/{self.database}"
        self._mutex = threading.Lock()
        self._client: MongoClient[Document] | None = None
        self._process = 0

    def _open(self) -> MongoClient[Document]:
        """Return the client of this process."""
        client = self._client
        if client is not None and self._process == os.getpid():
            return client
        if self._process not in (0, os.getpid()):
            self._mutex = threading.Lock()  # another thread of the parent may have held it
        with self._mutex:
            if self._client is None or self._process != os.getpid():
                if self._client is not None and self._process != os.getpid():
                    _OF_PARENTS.append(self._client)
                self._client, self._process = self._new_client(), os.getpid()
            return self._client

    def _new_client(self) -> MongoClient[Document]:
        milliseconds = max(1000, round(self.timeout * 1000))
        limits = {
            "serverSelectionTimeoutMS": milliseconds,
            "connectTimeoutMS": milliseconds,
            # A network that drops everything breaks no connection: without a limit, an answer is waited for for ever.
            "socketTimeoutMS": max(_LONGEST_ANSWER, milliseconds),
        }
        url = self._url.lower()
        ours: dict[str, Any] = {name: limit for name, limit in limits.items() if f"{name.lower()}=" not in url}
        try:
            client: MongoClient[Document] = MongoClient(self._url, appname="localstore", tz_aware=True, **ours)
        except (errors.PyMongoError, ValueError) as error:  # the name of a server in DNS, an option
            raise self.explained(error) from None
        weakref.finalize(self, _close, client, os.getpid())
        return client

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        with self._mutex:
            client, self._client = self._client, None
            if client is not None and self._process == os.getpid():
                client.close()

    def read(self, work: Work[_Result]) -> _Result:
        """Return the result of `work`, whose reads all see the same state of the database."""
        pauses = iter(_PAUSES)
        while True:
            try:
                client = self._open()
                with client.start_session(snapshot=True) as session:
                    return work(client[self.database], session)
            except errors.PyMongoError as error:
                self._wait(error, pauses)

    def plain(self, work: Callable[[Database[Document]], _Result]) -> _Result:
        """Return the result of `work`, which needs no transaction and may be repeated."""
        pauses = iter(_PAUSES)
        while True:
            try:
                return work(self._open()[self.database])
            except errors.PyMongoError as error:
                self._wait(error, pauses)

    def write(self, work: Work[_Result]) -> _Result:
        """Return the result of `work`, called in a transaction, once everything is durable.

        `work` is called again if the connection breaks or the transaction collides with another one. Raises
        StoreUnavailable and LockTimeout.
        """
        deadline = time.monotonic() + self.timeout
        pauses = iter(_PAUSES)
        pause = 0.001
        while True:
            try:
                return self._once(work)
            except errors.PyMongoError as error:
                if not (error.has_error_label(_TRANSIENT) or isinstance(error, errors.DuplicateKeyError)) or isinstance(
                    error, errors.ConnectionFailure
                ):
                    self._wait(error, pauses)
                elif time.monotonic() > deadline:
                    raise LockTimeout(
                        f"{self.address}: another writer holds the session for longer than {self.timeout:g} s. If it "
                        "was killed in the middle of a write, the server frees the session after a minute. Nothing was "
                        "written. Try again, or use a longer lock_timeout.",
                        path=self.address,
                    ) from None
                else:
                    time.sleep(pause * random.random())  # noqa: S311
                    pause = min(2 * pause, _LONGEST_WAIT)

    def _once(self, work: Work[_Result]) -> _Result:
        client = self._open()
        with client.start_session() as session:
            session.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority", j=True)
            )
            try:
                result = work(client[self.database], session)
            except BaseException:
                if session.in_transaction:
                    session.abort_transaction()
                raise
            self._commit(session)
            return result

    def _commit(self, session: ClientSession) -> None:
        """Commit the transaction. If the server does not say whether it is, ask again: that is done once at most."""
        pauses = iter(_PAUSES)
        while True:
            try:
                return session.commit_transaction()
            except errors.PyMongoError as error:
                pause = next(pauses, None) if error.has_error_label(_UNKNOWN) else None
                if pause is None:
                    raise
                time.sleep(pause)

    def _wait(self, error: errors.PyMongoError, pauses: Any) -> None:
        """Wait before the next try if the connection broke. Raises the error to raise otherwise."""
        is_broken = isinstance(error, errors.ConnectionFailure) and not isinstance(
            error, errors.ServerSelectionTimeoutError
        )
        pause = next(pauses, None) if is_broken else None
        if pause is None:
            raise self.explained(error) from None
        time.sleep(pause)

    def explained(self, error: Exception) -> Exception:
        """Return the error to raise instead of one of the driver."""
        code = error.code if isinstance(error, errors.OperationFailure) else None
        if code in _NO_TRANSACTIONS:
            problem, advice = (
                "the server has no transactions",
                "Start mongod with --replSet, and run rs.initiate() once",
            )
        elif code in _ADVICE:
            problem, advice = _words_of(error), _ADVICE[code]
        elif code == _NOT_VALID:
            problem, advice = (
                "the collection is not that of a store any more: it was upgraded, or an upgrade was undone",
                "Open the store again",
            )
        else:
            problem = _words_of(error)
            advice = "Check the address and the server, and repeat the call: no run is stored twice"
        for secret in self._secrets:
            problem = problem.replace(secret, "***")
        return StoreUnavailable(f"{self.address}: {problem}. {advice}.", path=self.address)


def _words_of(error: Exception) -> str:
    return " ".join(str(error).split(", full error:")[0].split(", Timeout:")[0].split()).rstrip(".")


def _close(client: MongoClient[Document], process: int) -> None:
    """Close a client that nobody uses any more, in the process that made it."""
    if os.getpid() == process:
        client.close()


def _hosts_in(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2].partition("?")[0]


def _database_in(url: str) -> str | None:
    path = url.partition("://")[2].partition("/")[2].partition("?")[0]
    return unquote_plus(path) or None


def _secrets_in(url: str) -> list[str]:
    """Return the texts of a URL that nobody may see, as they are written and as they are meant."""
    given = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    options = [part.partition("=") for part in url.partition("?")[2].split("&")]
    values = [given, *(value for name, _, value in options if "password" in name.lower())]
    return [
        text
        for value in values
        for text in dict.fromkeys((value, unquote_plus(value)))
        if len(text) >= _SHORTEST_SECRET
    ]

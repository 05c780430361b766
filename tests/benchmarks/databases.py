"""What a call costs in a database, beside the bare statements for it.

    python -m tests.benchmarks.databases [--sessions 100000] [--rounds 400] [--url URL]

Without `--url`, a PostgreSQL server of its own is started, which syncs each commit, and a file of SQLite is measured
after it. The numbers are medians of the elapsed time in milliseconds, of calls in turn.
"""

import argparse
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from localstore import Message, Run
from localstore.databases.backend import Change, text_of
from localstore.databases.session_change import new_session
from localstore.databases.sql import SqlStorage
from localstore.databases.sql_backend import SqlBackend
from localstore.format.values import to_json_value
from tests.benchmarks.timing import interleave, table
from tests.postgres import PostgresServer

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_FEW, _MANY = 10, 10_000


def run(number: int, word: str = "common") -> Run:
    """Return a run of about 500 bytes."""
    created_at = _BEGIN + timedelta(seconds=number)
    answer = f"The answer number {number} is {word}. " + "It goes on for a while, as answers do. " * 6
    messages = [Message(role="user", content=f"Question {number}?"), Message(role="assistant", content=answer)]
    return Run(run_id=f"r{number}", created_at=created_at, messages=messages, model="large")


class Bare:
    """The bare statements: the same bytes in tables without any index but the key."""

    def __init__(self, storage: SqlStorage) -> None:
        backend = storage._backend
        assert isinstance(backend, SqlBackend)
        self.connections = backend._connections
        self.is_postgres = self.connections.dialect == "postgresql"
        with self.connections._open().connect() as connection:
            if not self.is_postgres:
                connection = connection.execution_options(localstore_writes=True)
            with connection.begin():
                for statement in (
                    "DROP TABLE IF EXISTS bare",
                    "DROP TABLE IF EXISTS bare_entries",
                    "CREATE TABLE bare(id VARCHAR(512) PRIMARY KEY, facts TEXT, next BIGINT)",
                    "CREATE TABLE bare_entries(id TEXT, position BIGINT, content TEXT, PRIMARY KEY(id, position))",
                    "INSERT INTO bare VALUES ('s', '', 0)",
                ):
                    connection.execute(text(statement))
        self.raw: Any = self.connections._open().raw_connection()
        lock, mark = (" FOR UPDATE", "%s") if self.is_postgres else ("", "?")
        self.select = f"SELECT facts, next FROM bare WHERE id = 's'{lock}"  # noqa: S608
        self.insert = f"INSERT INTO bare_entries VALUES ('s', {mark}, {mark})"  # noqa: S608
        self.update = f"UPDATE bare SET facts = {mark}, next = {mark} WHERE id = 's'"  # noqa: S608
        self.facts = "x" * 600

    def append(self, number: int) -> None:
        content = text_of(to_json_value(run(number)))
        cursor = self.raw.cursor()
        if not self.is_postgres:
            cursor.execute("BEGIN IMMEDIATE")
        cursor.execute(self.select)
        cursor.fetchone()
        cursor.execute(self.insert, (number, content))
        cursor.execute(self.update, (self.facts, number))
        self.raw.commit()

    def last(self, _: int) -> None:
        cursor = self.raw.cursor()
        cursor.execute("SELECT content FROM bare_entries WHERE id = 's' ORDER BY position DESC LIMIT 3")
        cursor.fetchall()
        self.raw.rollback()


def measure(url: str, sessions: int, rounds: int) -> None:
    storage = SqlStorage(url)
    storage.drop()
    for name, count in (("few", _FEW), ("many", _MANY)):
        storage.append_many(name, [run(number) for number in range(count)])
    bare = Bare(storage)
    for number in range(_FEW):
        bare.append(-1 - number)
    found = interleave(
        {
            "bare transaction": bare.append,
            "append at 10": lambda number: storage.append("few", run(_MANY + number)),
            "append at 10,000": lambda number: storage.append("many", run(_MANY + number)),
        },
        rounds,
    )
    found |= interleave(
        {"bare last three": bare.last, "read last three": lambda _: storage.read("many", last_runs=3)}, rounds
    )
    fill(storage, sessions)
    found |= interleave(
        {
            "list 20 of one user": lambda number: storage.list_sessions(f"user-{number % 10}", limit=20),
            "list 20": lambda _: storage.list_sessions(limit=20),
            "search a rare word": lambda number: storage.search(f"rare{number % 100}"),
            "search a common word": lambda _: storage.search("common"),
        },
        max(20, rounds // 20),
    )
    table(f"{storage!r}, {sessions:,} sessions", [(name, value, "us") for name, value in found.items()])
    table(
        "compared",
        [
            ("append at 10,000 / at 10", found["append at 10,000"] / found["append at 10"], "times"),
            ("append / bare transaction", found["append at 10"] / found["bare transaction"], "times"),
            ("last three, more than the bare query", found["read last three"] - found["bare last three"], "us"),
        ],
    )
    storage.close()


def fill(storage: SqlStorage, sessions: int) -> None:
    """Store sessions of one run, of ten users, many in each transaction."""
    backend = storage._backend
    assert isinstance(backend, SqlBackend)
    begin = time.perf_counter()
    for first in range(0, sessions, 1000):
        numbers = range(first, min(first + 1000, sessions))
        assert not backend.create_many([_session(number) for number in numbers])
    if backend._connections.dialect == "postgresql":
        backend._connections.write(lambda connection: connection.execute(text("ANALYZE")))
    print(f"{sessions:,} sessions stored in {time.perf_counter() - begin:.0f} s")


def _session(number: int) -> Change:
    entry = to_json_value(run(number, f"common rare{number % 100}" if number % 1000 < 100 else "common"))
    header = {
        "schema_version": 1,
        "session_id": f"session-{number}",
        "kind": "agent",
        "user_id": f"user-{number % 10}",
        "created_at": entry["created_at"],
    }
    return new_session(header, [entry])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.url:
        measure(options.url, options.sessions, options.rounds)
        return
    measure(PostgresServer(durable=True).url, options.sessions, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        measure(f"sqlite:///{folder}/sessions.db", options.sessions, options.rounds)


if __name__ == "__main__":
    main()

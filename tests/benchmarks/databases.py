"""What a call costs in a database, beside the bare statements for it.

    python -m tests.benchmarks.databases [--sessions 100000] [--rounds 400] [--copied 20000] [--only-copied] [--url URL]

Without `--url`, a PostgreSQL server of its own is started, which syncs each commit, and a file of SQLite is measured
after it. The numbers are medians of the elapsed time, of calls in turn. A copy of a folder to PostgreSQL, by one
process and by one per core as `localstore copy` does it, is compared with a `COPY` of the bytes of its documents into a
table with a key, and with a `COPY` of the same rows into tables with the same indexes; the ratios are medians of those
of the rounds. A machine that does other work makes all of them longer, so the processor time of this process, of those
that it started, and of the server is measured as well.
"""

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from localstore import JsonStorage, Message, Run
from localstore.databases.backend import Change, text_of
from localstore.databases.session_change import new_session
from localstore.databases.sql import SqlStorage
from localstore.databases.sql_backend import SqlBackend
from localstore.format.values import to_json_value
from localstore.storage.contract import SessionStorage
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


def appends_and_reads(
    append: Callable[[int], object], last: Callable[[int], object], storage: SessionStorage, rounds: int
) -> dict[str, float]:
    """Measure appends, and reads of the last three runs, beside the bare commands `append` and `last`."""
    for number in range(_FEW):
        append(-1 - number)
    found = interleave(
        {
            "bare transaction": append,
            "append at 10": lambda number: storage.append("few", run(_MANY + number)),
            "append at 10,000": lambda number: storage.append("many", run(_MANY + number)),
        },
        rounds,
    )
    return found | interleave(
        {"bare last three": last, "read last three": lambda _: storage.read("many", last_runs=3)}, rounds
    )


def measure(url: str, sessions: int, rounds: int) -> None:
    storage = SqlStorage(url)
    storage.drop()
    for name, count in (("few", _FEW), ("many", _MANY)):
        storage.append_many(name, [run(number) for number in range(count)])
    bare = Bare(storage)
    found = appends_and_reads(bare.append, bare.last, storage, rounds)
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
        assert not backend.create_many([new_session_of(number) for number in numbers])
    if backend._connections.dialect == "postgresql":
        backend._connections.write(lambda connection: connection.execute(text("ANALYZE")))
    print(f"{sessions:,} sessions stored in {time.perf_counter() - begin:.0f} s")


def new_session_of(number: int) -> Change:
    """Return a new session of one run, of one of ten users."""
    entry = to_json_value(run(number, f"common rare{number % 100}" if number % 1000 < 100 else "common"))
    header = {
        "schema_version": 1,
        "session_id": f"session-{number}",
        "kind": "agent",
        "user_id": f"user-{number % 10}",
        "created_at": entry["created_at"],
    }
    return new_session(header, [entry])


def copied(url: str, sessions: int, rounds: int = 5) -> None:
    """Measure copies of a folder to PostgreSQL, in turn with a `COPY` of the same bytes.

    That is of the documents into a table with a key, and of the rows of the store into tables like its own, with the
    same keys and indexes.
    """
    storage = SqlStorage(url, table="copied")
    backend = storage._backend
    assert isinstance(backend, SqlBackend)
    with tempfile.TemporaryDirectory() as name:
        folder = JsonStorage(name)
        with folder.bulk():
            for number in range(sessions):
                folder.append(f"session-{number}", run(number), user_id=f"user-{number % 10}")
        texts = {info.session_id: info.path.read_text() for info in folder.sessions()}
        jobs = os.cpu_count() or 1
        together = f"copy by {jobs} processes"
        sides = (together, "copy", "COPY of the documents", "COPY of the rows")
        taken: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
        tables = [one.name for one in backend._tables.metadata.sorted_tables]
        stored: dict[str, list[bytes]] = {}

        def copy(jobs: int = 1) -> None:
            assert len(JsonStorage(name).copy_to(storage, jobs=jobs).added) == sessions

        def forget() -> None:
            storage.drop()
            shutil.rmtree(folder.root / ".localstore" / "copies", ignore_errors=True)

        def bare() -> None:
            with backend._connections._open().connect() as connection:
                cursor: Any = connection.connection.cursor()
                with cursor.copy("COPY bare_copied FROM STDIN") as rows:
                    for row in texts.items():
                        rows.write_row(row)
                connection.connection.commit()

        def rows_again() -> None:
            with backend._connections._open().connect() as connection:
                cursor: Any = connection.connection.cursor()
                for name, blocks in stored.items():
                    with cursor.copy(f"COPY like_{name} FROM STDIN") as rows:
                        for block in blocks:
                            rows.write(block)
                connection.connection.commit()

        for _ in range(rounds):
            forget()
            taken[together].append(_times(partial(copy, jobs), backend))
            forget()
            for statement in (
                "DROP TABLE IF EXISTS bare_copied",
                "CREATE TABLE bare_copied(id TEXT PRIMARY KEY, content TEXT)",
            ):
                backend._connections.write(partial(_execute, statement=statement))
            for side, call in (("COPY of the documents", bare), ("copy", copy)):
                taken[side].append(_times(call, backend))
            for each in tables:
                for statement in (
                    f"DROP TABLE IF EXISTS like_{each}",
                    f"CREATE TABLE like_{each} (LIKE {each} INCLUDING ALL)",
                ):
                    backend._connections.write(partial(_execute, statement=statement))
                with backend._connections._open().connect() as connection:
                    cursor: Any = connection.connection.cursor()
                    with cursor.copy(f"COPY {each} TO STDOUT") as blocks:
                        stored[each] = [bytes(block) for block in blocks]
            taken["COPY of the rows"].append(_times(rows_again, backend))
    for side, times in taken.items():
        found = [statistics.median(values) / sessions * 1e6 for values in zip(*times, strict=True)]
        units = zip(("elapsed", "processor", "server's"), found, strict=True)
        table(f"{side} of {sessions:,} sessions", [(name, value, "us a session") for name, value in units])
    compared = []
    for ours, other in itertools.product(sides[:2], sides[1:]):
        if ours != other:
            ratios = [one[0] / bare[0] for one, bare in zip(taken[ours], taken[other], strict=True)]
            compared.append((f"{ours} / {other}", statistics.median(ratios), "times"))
    table("compared", compared)
    storage.close()


def _execute(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))


def _times(call: Callable[[], None], backend: SqlBackend) -> tuple[float, float, float]:
    """Return the seconds that a call takes, those of the processor in this process and those that it starts, and those
    in the process of the server that serves this one."""
    ask = text("SELECT pg_backend_pid()")
    pid: int = backend._connections.read(lambda connection: connection.execute(ask).scalar_one())
    before = seconds_of_process(pid)
    begin, own = time.perf_counter(), _own_seconds()
    call()
    return time.perf_counter() - begin, _own_seconds() - own, seconds_of_process(pid) - before


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def seconds_of_process(pid: int) -> float:
    """Return the seconds of the processor that another process took."""
    numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--copied", type=int, default=20_000)
    parser.add_argument("--only-copied", action="store_true")
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.url:
        measure(options.url, options.sessions, options.rounds)
        return
    url = PostgresServer(durable=True).url
    if not options.only_copied:
        measure(url, options.sessions, options.rounds)
    copied(url, options.copied)
    if options.only_copied:
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(f"sqlite:///{folder}/sessions.db", options.sessions, options.rounds)


if __name__ == "__main__":
    main()

"""What a listing and a search cost in a PostgreSQL database with many sessions.

    python -m tests.benchmarks.databases_listing [--sessions 100000] [--rounds 200] [--url URL]

Without `--url`, a PostgreSQL server of its own is started. It takes about a minute, most of it to store the sessions.
Each call is measured by the time it takes (the median), by the processor time here and in the server, which do not
depend on what else the machine does, and by the number of statements, each of which waits for the server once.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from sqlalchemy import event, text

from localstore.databases.sql import SqlStorage
from localstore.databases.sql_backend import SqlBackend
from tests.benchmarks.databases import fill, seconds_of_process
from tests.postgres import PostgresServer

_WARM_UP = 20


def measure(storage: SqlStorage, rounds: int) -> None:
    """Measure each call `rounds` times in a row, and print the results."""
    backend = storage._backend
    assert isinstance(backend, SqlBackend)
    ask = text("SELECT pg_backend_pid()")
    pid: int = backend._connections.ask(lambda connection: connection.execute(ask).scalar_one())
    statements: list[str] = []
    event.listen(backend._connections._open(), "before_cursor_execute", lambda *args: statements.append(args[2]))
    calls: dict[str, Callable[[int], object]] = {
        "the smallest statement": lambda _: backend._connections.ask(lambda connection: [*connection.execute(ask)]),
        "list 20 of one user": lambda number: storage.list_sessions(f"user-{number % 10}", limit=20),
        "list 20": lambda _: storage.list_sessions(limit=20),
        "search a rare word": lambda number: storage.search(f"rare{number % 100}"),
        "search a rare word of one user": lambda number: storage.search(f"rare{number % 100}", user_id="user-3"),
        "search a common word": lambda _: storage.search("common"),
        "search a word that is missing": lambda number: storage.search(f"missing{number}"),
    }
    print(f"\n{'':32}{'elapsed':>12}{'here':>12}{'server':>12}{'statements':>12}")
    for name, call in calls.items():
        for number in range(_WARM_UP):
            call(number)
        statements.clear()
        taken = []
        server, here = seconds_of_process(pid), time.process_time()
        for number in range(rounds):
            begin = time.perf_counter()
            call(number)
            taken.append(time.perf_counter() - begin)
        here, server = time.process_time() - here, seconds_of_process(pid) - server
        times = [f"{seconds * 1e3:.2f} ms" for seconds in (statistics.median(taken), here / rounds, server / rounds)]
        print(f"{name:32}{times[0]:>12}{times[1]:>12}{times[2]:>12}{len(statements) / rounds:>12.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--url")
    options = parser.parse_args()
    with SqlStorage(options.url or PostgresServer().url, table="listed") as storage:
        storage.drop()
        fill(storage, options.sessions)
        measure(storage, options.rounds)


if __name__ == "__main__":
    main()

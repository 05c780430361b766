"""Many processes on one store, beside sqlite3, in the same run.

    python -m tests.benchmarks.load [--seconds 60] [--processes 16] [--sessions 1000] [--format json] [--folder DIR]

Each process appends runs of about 1.1 KB to random sessions as fast as it can, every append durable; each 20th
operation is a listing of the 20 newest sessions of a user, each 20th a read of the last three runs. Both sides do the
same: sqlite3 keeps one table of runs with an index on the session, and one of sessions with the user and the time of
the last activity, in WAL with synchronous=FULL, and inserts a run and updates its session in one transaction. The
sides take turns of a few seconds, SECONDS in all for each, so that a noisy machine is noisy for both. At the end
everything acknowledged is looked for.
"""

import argparse
import json
import multiprocessing
import random
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from localstore import JsonStorage, YamlStorage
from localstore.models.times import now
from tests.benchmarks.store import new_run
from tests.benchmarks.timing import table

USERS = 50
_TURN = 5.0
"""Seconds for which one side works before the other does."""
_OTHER = 20
"""One operation of so many is a listing, and one a read."""


class Side(Protocol):
    """One of the stores that are compared, open in one process."""

    def append(self, session: int) -> str:
        """Store a run durably; its id."""

    def newest(self, user: int) -> int:
        """List the 20 sessions of a user with the newest activity; how many there were."""

    def last_runs(self, session: int) -> int:
        """Read the last three runs of a session; how many there were."""


class Localstore:
    def __init__(self, folder: Path, suffix: str) -> None:
        self._storage = {"json": JsonStorage, "yaml": YamlStorage}[suffix](folder / "store", lock_timeout=60)

    def append(self, session: int) -> str:
        run = new_run()
        self._storage.append(f"session-{session}", run, user_id=f"user-{session % USERS}", entity_id="geographer")
        return run.run_id

    def newest(self, user: int) -> int:
        return len(self._storage.list_sessions(user_id=f"user-{user}", limit=20))

    def last_runs(self, session: int) -> int:
        found = self._storage.read(f"session-{session}", last_runs=3)
        return 0 if found is None else len(found.runs)

    def run_ids(self) -> list[str]:
        return [run.run_id for session in self._storage.get_all_sessions() for run in session.runs]


class Sqlite:
    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "peer.db", isolation_level=None)
        self._db.execute("pragma busy_timeout=60000")
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        self._db.execute(
            "create table if not exists runs(id integer primary key, session_id text, run_id text, data text)"
        )
        self._db.execute("create index if not exists of_session on runs(session_id, id)")
        self._db.execute(
            "create table if not exists sessions(session_id text primary key, user_id text, entity_id text, "
            "created_at text, updated_at text, runs integer) without rowid"
        )
        self._db.execute("create index if not exists of_user on sessions(user_id, updated_at)")

    def append(self, session: int) -> str:
        run = new_run()
        data, session_id, when = run.model_dump_json(exclude_none=True), f"session-{session}", now()
        db = self._db
        db.execute("begin immediate")
        db.execute("insert into runs(session_id, run_id, data) values(?, ?, ?)", (session_id, run.run_id, data))
        db.execute(
            "insert into sessions values(?, ?, 'geographer', ?, ?, 1) "
            "on conflict(session_id) do update set updated_at = excluded.updated_at, runs = runs + 1",
            (session_id, f"user-{session % USERS}", when, when),
        )
        db.execute("commit")
        return run.run_id

    def newest(self, user: int) -> int:
        query = "select * from sessions where user_id = ? order by updated_at desc limit 20"
        return len(self._db.execute(query, (f"user-{user}",)).fetchall())

    def last_runs(self, session: int) -> int:
        query = "select data from runs where session_id = ? order by id desc limit 3"
        return len([json.loads(data) for (data,) in self._db.execute(query, (f"session-{session}",))])

    def run_ids(self) -> list[str]:
        return [run_id for (run_id,) in self._db.execute("select run_id from runs")]


@dataclass
class Taken:
    """What happened in the turns of one side: seconds for each operation, the runs acknowledged, what failed."""

    appends: list[float] = field(default_factory=list)
    listings: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Taken") -> None:
        self.appends += other.appends
        self.listings += other.listings
        self.reads += other.reads
        self.acknowledged += other.acknowledged
        self.errors += other.errors


def _timed(times: list[float], taken: Taken, work: Callable[[], Any]) -> Any:
    begin = time.perf_counter()
    try:
        return work()
    except Exception as error:  # noqa: BLE001 (counted, whatever it is)
        taken.errors[repr(error)] += 1
        return None
    finally:
        times.append(time.perf_counter() - begin)


def work(orders: Connection, folder: Path, suffix: str, sessions: int, seed: int) -> None:
    """One process: for each order, the name of a side and when to end, work on that side and say what happened."""
    chance = random.Random(seed)
    sides: dict[str, Side] = {"localstore": Localstore(folder, suffix), "sqlite3": Sqlite(folder)}
    orders.send(None)
    while (order := orders.recv()) is not None:
        name, end = order
        side, taken = sides[name], Taken()
        while time.time() < end:
            session, what = chance.randrange(sessions), chance.randrange(_OTHER)
            if what == 0:
                _timed(taken.listings, taken, lambda s=side, n=session: s.newest(n % USERS))  # type: ignore[misc]
            elif what == 1:
                _timed(taken.reads, taken, lambda s=side, n=session: s.last_runs(n))  # type: ignore[misc]
            else:
                run_id = _timed(taken.appends, taken, lambda s=side, n=session: s.append(n))  # type: ignore[misc]
                if run_id is not None:
                    taken.acknowledged.append(run_id)
        orders.send(taken)


def measure(folder: Path, suffix: str, seconds: float, processes: int, sessions: int) -> dict[str, Taken]:
    """Both sides in turns, each with one run in every session to begin with."""
    first: dict[str, Localstore | Sqlite] = {"localstore": Localstore(folder, suffix), "sqlite3": Sqlite(folder)}
    result = {name: Taken() for name in first}
    for name, side in first.items():
        result[name].acknowledged += [side.append(session) for session in range(sessions)]
    context = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    for number in range(processes):
        ours, theirs = context.Pipe()
        pipes.append(ours)
        workers.append(context.Process(target=work, args=(theirs, folder, suffix, sessions, number)))
        workers[-1].start()
    for pipe in pipes:
        pipe.recv()
    turns = max(1, round(seconds / _TURN))
    for turn in range(2 * turns):
        name = ("localstore", "sqlite3", "sqlite3", "localstore")[turn % 4]
        for pipe in pipes:
            pipe.send((name, time.time() + seconds / turns))
        for pipe in pipes:
            result[name].add(pipe.recv())
    for pipe, worker in zip(pipes, workers, strict=True):
        pipe.send(None)
        worker.join()
    for name, side in first.items():
        counted = Counter(side.run_ids())
        missing = [run_id for run_id in result[name].acknowledged if counted[run_id] != 1]
        if missing:
            result[name].errors["acknowledged and not there once"] += len(missing)
    return result


def percentile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000 if times else 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--format", choices=("json", "yaml"), default="json")
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    try:
        result = measure(folder, args.format, args.seconds, args.processes, args.sessions)
    finally:
        shutil.rmtree(folder)
    rates: dict[str, float] = {}
    last: dict[str, float] = {}
    for name, taken in result.items():
        rates[name], last[name] = len(taken.appends) / args.seconds, percentile(taken.appends, 0.99)
        table(
            f"{name}{f', {args.format}' if name == 'localstore' else ''}: {args.processes} processes, "
            f"{args.sessions} sessions, {args.seconds:g} s",
            [
                ("durable appends per second", rates[name], ""),
                ("append, median, ms", percentile(taken.appends, 0.5), ""),
                ("append, 99 of 100, ms", last[name], ""),
                ("append, longest, ms", percentile(taken.appends, 1), ""),
                ("listing of 20, median, ms", percentile(taken.listings, 0.5), ""),
                ("listing of 20, 99 of 100, ms", percentile(taken.listings, 0.99), ""),
                ("last three runs, median, ms", percentile(taken.reads, 0.5), ""),
                ("last three runs, 99 of 100, ms", percentile(taken.reads, 0.99), ""),
                ("errors", float(taken.errors.total()), "target 0"),
            ],
        )
        for error, count in taken.errors.most_common(5):
            print(f"    {count} x {error}")
    table(
        "Ratios",
        [
            ("appends per second, localstore / sqlite3", rates["localstore"] / rates["sqlite3"], "target >= 1"),
            ("append, 99 of 100, localstore / sqlite3", last["localstore"] / last["sqlite3"], "target <= 1"),
        ],
    )


if __name__ == "__main__":
    main()

"""One more run in a session, beside agno's own storages in PostgreSQL and SQLite.

    python -m tests.benchmarks.databases_agno [--release 1.8.4] [--runs 1000] [--rounds 30]

With a release of agno 1.x, its `PostgresStorage` and `SqliteStorage` get the `upsert` that ends a run of an agent. With
a later one, its `PostgresDb` and `SqliteDb` get `upsert_session` and, where the release has it, `upsert_run`. Ours get
an `append`. The texts, the server and the disk are the same. Medians of interleaved turns, in an environment with that
release.
"""

import argparse
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localstore import Message, Run
from tests.benchmarks.timing import table
from tests.environments import ROOT, interpreter, without_settings
from tests.postgres import postgres_url

_NEEDS = (
    "openai",
    "sqlalchemy[asyncio]",
    "psycopg[binary]",
    "orjson",
    "filelock",
    "pydantic",
    "PyYAML",
    "docstring_parser",
    "pytest",
)
_URL = "LOCALSTORE_TEST_POSTGRES"
Turn = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", default="1.8.4")
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    if _URL not in os.environ:
        from tests.postgres import PostgresServer

        os.environ[_URL] = PostgresServer(durable=True).url
    python = interpreter(f"agno-{options.release}-databases", [f"agno=={options.release}", *_NEEDS])
    if Path(sys.prefix) != python.parents[1]:
        environment = without_settings() | {"PYTHONPATH": str(ROOT), "AGNO_TELEMETRY": "false"}
        command = [str(python), "-m", "tests.benchmarks.databases_agno", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode)
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.runs, options.rounds, is_first=options.release.startswith("1."))


def measure(folder: Path, runs: int, rounds: int, *, is_first: bool) -> None:
    theirs = storages_of_agno_1 if is_first else databases_of_agno
    sides = ours(folder, runs) | theirs(folder, runs)
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(3 + rounds):
        for name, turn in sides.items():
            gc.collect()
            took = turn()
            if number >= 3:
                taken[name].append(took)
    found = {name: statistics.median(times) * 1000 for name, times in taken.items()}
    rows = []
    for name, value in found.items():
        own = found[f"localstore, {name.split(', ')[1]}"]
        rows.append((name, value, f"ms, {value / own:.1f} times as long as ours"))
    table(f"One more run in a session of {runs} runs", rows)


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def ours(folder: Path, runs: int) -> dict[str, Turn]:
    from localstore.databases.sql import SqlStorage
    from tests.benchmarks.store import ANSWER, QUESTION

    def side(storage: SqlStorage) -> Turn:
        def new() -> Run:
            return Run(
                messages=[Message(role="user", content=QUESTION), Message(role="assistant", content=ANSWER)],
                model="gpt-4o-mini",
            )

        storage.drop()
        storage.append_many("s1", [new() for _ in range(runs)], user_id="alice")

        def turn() -> float:
            run = new()
            return timed(lambda: storage.append("s1", run, user_id="alice"))

        return turn

    return {
        "localstore, PostgreSQL": side(SqlStorage(postgres_url())),
        "localstore, SQLite": side(SqlStorage(f"sqlite:///{folder}/ours.db")),
    }


def storages_of_agno_1(folder: Path, runs: int) -> dict[str, Turn]:
    from agno.storage.postgres import PostgresStorage
    from agno.storage.sqlite import SqliteStorage

    from tests.benchmarks.agno import Side, new_run

    def side(storage: Any) -> Turn:
        one = Side(storage, history=False)
        storage.create()
        one.runs += [new_run([], history=False) for _ in range(runs - 1)]
        one.prepare()
        one.upsert()

        def turn() -> float:
            one.prepare()
            return one.upsert() / 1000

        return turn

    url = postgres_url().replace("postgresql://", "postgresql+psycopg://")
    return {
        "agno PostgresStorage, PostgreSQL": side(PostgresStorage("agno_1", db_url=url)),
        "agno SqliteStorage, SQLite": side(SqliteStorage("agno_1", db_file=str(folder / "agno.db"))),
    }


def databases_of_agno(folder: Path, runs: int) -> dict[str, Turn]:
    from agno.db.postgres import PostgresDb
    from agno.db.sqlite import SqliteDb
    from agno.models.message import Message as AgnoMessage
    from agno.run.agent import RunOutput
    from agno.session import AgentSession

    from tests.benchmarks.store import ANSWER, QUESTION

    def side(db: Any) -> Turn:
        numbers = iter(range(10**9))
        session = AgentSession(session_id="s1", agent_id="a1", user_id="alice", created_at=int(time.time()))

        def new() -> Any:
            messages = [AgnoMessage(role="user", content=QUESTION), AgnoMessage(role="assistant", content=ANSWER)]
            return RunOutput(
                run_id=f"r{next(numbers)}", session_id="s1", agent_id="a1", content=ANSWER, messages=messages
            )

        def store(run: Any, index: int) -> float:
            def call() -> object:
                stored = db.upsert_session(session)
                if hasattr(db, "upsert_run"):
                    db.upsert_run(run, session_id="s1", user_id="alice", run_index=index)
                return stored

            return timed(call)

        for index in range(runs):
            run = new()
            session.upsert_run(run)
            if hasattr(db, "upsert_run") and index:
                db.upsert_run(run, session_id="s1", user_id="alice", run_index=index)
            elif not index:
                store(run, index)

        def turn() -> float:
            run = new()
            session.upsert_run(run)
            return store(run, len(session.runs or []) - 1)

        return turn

    url = postgres_url().replace("postgresql://", "postgresql+psycopg://")
    return {
        "agno PostgresDb, PostgreSQL": side(PostgresDb(db_url=url, session_table="agno_sessions_new")),
        "agno SqliteDb, SQLite": side(SqliteDb(db_file=str(folder / "agno.db"))),
    }


if __name__ == "__main__":
    main()

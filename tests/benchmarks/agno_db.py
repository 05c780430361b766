"""One more run in a session of agno, beside agno's own `JsonDb`.

    python -m tests.benchmarks.agno_db [--release 3.1.10] [--runs 1000] [--rounds 20]

Both get the calls that an agent makes when a run ends: `upsert_session`, and `upsert_run` where the release has it.
Then the reads with which a run begins. The runs are those of a real agent, with a tool call. Medians of interleaved
turns, in an environment with that release.
"""

import argparse
import copy
import gc
import importlib.util
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.timing import interleave, table

TEXT = "What did we say about the trip to Vienna in October? Please list the trains and the prices again.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", default="3.1.10")
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if importlib.util.find_spec("agno") is None:
        from tests.agno_db.environments import run_inside

        done = run_inside(options.release, "tests.benchmarks.agno_db", *sys.argv[1:], timeout=3600)
        print(done.stdout, done.stderr, sep="")
        sys.exit(done.returncode)
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        measure(folder, options.runs, options.rounds)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, runs: int, rounds: int) -> None:
    from agno.db.base import SessionType
    from agno.db.json import JsonDb
    from agno.run.agent import RunOutput

    from localstore.integrations.agno_db import LocalDb
    from tests.agno_db.parts import RUNS_APART, agent, session, visit
    from tests.scripted_server import scripted_server, text, tool_call

    with scripted_server(tool_call("visit", '{"city": "Wien"}'), text(TEXT * 5)) as server:
        real = agent(None, server, tools=[visit], instructions=TEXT).run(TEXT * 4).to_dict()

    def new(name: str) -> Any:
        return RunOutput.from_dict({**copy.deepcopy(real), "run_id": name})

    sides: dict[str, Any] = {
        "LocalDb": LocalDb(folder / "full"),
        "LocalDb, relaxed": LocalDb(folder / "relaxed", durability="relaxed"),
        "JsonDb": JsonDb(str(folder / "json")),
    }
    sessions = {}
    for name, db in sides.items():
        it = sessions[name] = session(session_data={"session_state": {"n": 1}})
        for number in range(runs):
            it.upsert_run(new(f"r{number}"))
        if RUNS_APART and isinstance(db, JsonDb):
            known = {"session_id": "s1", "user_id": "alice"}
            stored = [{**known, "run_id": one.run_id, "run_data": one.to_dict()} for one in it.runs]
            db._write_runs_file([{**row, "run_index": number} for number, row in enumerate(stored)])
        db.upsert_session(it)
        if RUNS_APART and not isinstance(db, JsonDb):
            for number, one in enumerate(it.runs):
                db.upsert_run(one, session_id="s1", user_id="alice", run_index=number)

    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(3 + rounds):
        for name, db in sides.items():
            one, it = new(f"more-{number}"), sessions[name]
            it.upsert_run(one)
            it.session_data["session_metrics"] = {"input_tokens": number}
            gc.collect()
            begin = time.perf_counter()
            db.upsert_session(it)
            if RUNS_APART:
                db.upsert_run(one, session_id="s1", user_id="alice", run_index=len(it.runs) - 1)
            taken[name].append(time.perf_counter() - begin)
    took = {name: statistics.median(times[3:]) * 1000 for name, times in taken.items()}
    base = took["JsonDb"]
    rows = [(name, value, f"ms, {base / value:.0f} times as fast as JsonDb") for name, value in took.items()]
    table(f"One more run in a session of {runs} runs", rows)

    def read(title: str, **more: int) -> None:
        def side(db: Any) -> Callable[[int], object]:
            return lambda _: db.get_session("s1", SessionType.AGENT, user_id="alice", **more)

        took = interleave({name: side(db) for name, db in sides.items()}, rounds, 3)
        table(title, [(name, value / 1000, "ms") for name, value in took.items()])

    read("Read it whole")
    if RUNS_APART:
        read("Read its last three runs", runs_limit=3)


if __name__ == "__main__":
    main()

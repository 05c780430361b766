"""The processor time of commands that a person types often, as whole processes.

    python -m tests.benchmarks.commands [--sessions 20] [--runs 3] [--rounds 15] [--folder DIR]

The commands are started in turn. The table has medians of the time of the processor, which is that of the user and of
the system together: on a busy machine it varies less than the time on the clock.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from localstore import JsonStorage, Message, Run
from tests.benchmarks.timing import table

COMMANDS = [
    "ls",
    "ls --json",
    "ls --user ann",
    "path s3",
    "show s3",
    "show s3 --json",
    "show s3 --last 1",
    "diff s3 s3",
    "state s3",
    "search question",
    "search question --json",
    "tag s3 travel",
    "rename s3 trip",
    "export s3 --format markdown",
]


def fill(store: Path, sessions: int, runs: int) -> None:
    """Make a store with so many sessions, and so many runs in each."""
    with JsonStorage(store, durability="relaxed") as storage:
        for session in range(sessions):
            for run in range(runs):
                question = Message(role="user", content=f"question {run} of {session}")
                answer = Message(role="assistant", content="An answer of some words. " * 5)
                storage.append(
                    f"s{session}", Run(messages=[question, answer], session_state={"turn": run}), user_id="ann"
                )


def processor_time(*args: str) -> float:
    """Run a process and return the time that it used, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(args, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    python = [sys.executable, "-c"]
    sides = {"python": [*python, "pass"], "import click": [*python, "import click"]}
    for command in COMMANDS:
        start = "from localstore_cli.app import main; main()"
        sides[command] = [*python, start, *command.split(), "--store", str(folder / "store")]
    taken: dict[str, list[float]] = {name: [] for name in sides}
    try:
        fill(folder / "store", args.sessions, args.runs)
        for number in range(args.rounds + 1):
            for name, side in sides.items():
                used = processor_time(*side)
                if number:  # the first round compiles modules and makes the search index
                    taken[name].append(used)
    finally:
        shutil.rmtree(folder)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    table(
        f"Processor time of a command with {args.sessions} sessions, ms",
        [
            *((name, median, "") for name, median in medians.items()),
            ("show s3, over ls", medians["show s3"] - medians["ls"], "target <= 25"),
        ],
    )


if __name__ == "__main__":
    main()

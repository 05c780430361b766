"""What the size of a store costs: commands, new processes, counting, and making the index again.

    python -m tests.benchmarks.index [--sessions 100000] [--few 20] [--rounds 7] [--folder DIR]

Two stores are compared, one with many sessions and one with few. Processes are started in turn. The numbers are medians
of the time of the processor, which is that of the user and of the system together.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.listing import fill
from tests.benchmarks.timing import table

_COMMAND = "from localstore_cli.app import main; main()"
_COMMANDS = (
    *("ls --limit 20", "ls --user user-7 --limit 20", "show session-7", "path session-7", "state session-7"),
    *("rename session-8 trip", "tag session-9 travel"),
)
_OPENS = """
import resource, sys, time
from localstore import JsonStorage, Message, Run
import localstore.models.session
begin = time.process_time()
storage = JsonStorage(sys.argv[1])
{}
print(time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
_CALLS = {
    "open and read(id, last_runs=3)": "storage.read('session-11', last_runs=3)",
    "open and append": "storage.append('session-12', Run(messages=[Message(role='user', content='hi')]))",
    "open and list 50": "storage.list_sessions(limit=50)",
    "open and stats(by=month, model)": "storage.stats(by=('month', 'model'))",
}


def _processor_time(*args: str) -> float:
    """Run a process and return the time that it used, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(args, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _own_time(store: Path, call: str) -> tuple[float, float]:
    """Return what a call in a new process takes beyond the imports, in milliseconds, and the memory in MB."""
    code = _OPENS.format(call)
    done = subprocess.run([sys.executable, "-c", code, str(store)], capture_output=True, text=True, check=True)
    seconds, memory = done.stdout.split()
    return 1000 * float(seconds), float(memory)


def _remade(store: Path, *names: str) -> float:
    """Return how many seconds a new process needs to list a store after these files were deleted."""
    for name in names:
        for path in (store / ".localstore").glob(f"{name}*"):
            path.unlink()
    begin = time.perf_counter()
    _own_time(store, _CALLS["open and list 50"])
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    try:
        large, small = folder / "large", folder / "small"
        fill(large, args.sessions)
        fill(small, args.few)
        for store in (large, small):
            _own_time(store, _CALLS["open and list 50"])
        _measure(large, small, args.rounds)
    finally:
        shutil.rmtree(folder)


def _measure(large: Path, small: Path, rounds: int) -> None:
    rows = []
    for command in _COMMANDS:
        times: dict[Path, list[float]] = {large: [], small: []}
        for _ in range(rounds):
            for store, taken in times.items():
                taken.append(_processor_time(sys.executable, "-c", _COMMAND, *command.split(), "--store", str(store)))
        many, few = statistics.median(times[large]), statistics.median(times[small])
        rows.append((command, many, f"ms; {many / few:.2f} times that of few sessions"))
    for name, call in _CALLS.items():
        both: dict[Path, list[tuple[float, float]]] = {large: [], small: []}
        for _ in range(rounds):
            for store, measured in both.items():
                measured.append(_own_time(store, call))
        time_of = {store: statistics.median(one for one, _ in measured) for store, measured in both.items()}
        memory = {store: max(one for _, one in measured) for store, measured in both.items()}
        more = memory[large] - memory[small]
        rows.append((name, time_of[large], f"ms; {time_of[small]:.1f} with few sessions; {more:+.0f} MB"))
    table("Many sessions and few", rows)
    table(
        "Made again (time on the clock, with the start of a process)",
        [
            ("the index, from the manifest", _remade(large, "index.sqlite"), "s"),
            ("the index and the manifest, from the documents", _remade(large, "index.sqlite", "manifest.jsonl"), "s"),
        ],
    )


if __name__ == "__main__":
    main()

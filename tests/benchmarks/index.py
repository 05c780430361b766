"""What the size of a store costs: commands, new processes, counting, and making the index again.

    python -m tests.benchmarks.index [--sessions 100000] [--few 20] [--rows 1000000] [--rounds 7] [--folder DIR]

Two stores are compared, one with many sessions and one with few. Processes are started in turn. The numbers are medians
of the time of the processor, which is that of the user and of the system together. For very many sessions, only the
manifest is made: look-ups and appends do not need the documents of other sessions.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import orjson

from localstore.disk.store_tree import MANIFEST
from tests.benchmarks.listing import fill
from tests.benchmarks.timing import table

_MEMORY = """
def memory():
    # Not what getrusage returns: that includes the memory of the process that started this one.
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024
"""
_COMMAND = f"""{_MEMORY}
import atexit, sys
atexit.register(lambda: sys.stderr.write(f"{{memory()}}"))
from localstore_cli.app import main
main()
"""
_COMMANDS = (
    *(
        "ls --limit 20",
        "ls --user user-7 --limit 20",
        "ls --sort tokens --limit 20",
        "stats",
        "search hi",
        "show session-7",
        "path session-7",
        "state session-7",
    ),
    *("rename session-8 trip", "tag session-9 travel", "rm session-{}"),
)
_OPENS = f"""{_MEMORY}
import sys, time
from localstore import JsonStorage, Message, Run
import localstore.models.session
begin = time.process_time()
storage = JsonStorage(sys.argv[1])
{{}}
print(time.process_time() - begin, memory())
"""
_CALLS = {
    "open and read(id, last_runs=3)": "storage.read('session-11', last_runs=3)",
    "open and append": "storage.append('session-12', Run(messages=[Message(role='user', content='hi')]))",
    "open and list 50": "storage.list_sessions(limit=50)",
    "open and stats(by=month, model)": "storage.stats(by=('month', 'model'))",
}


def _used(*args: str) -> tuple[float, float]:
    """Run a process and return the time of the processor in milliseconds, and its memory in MB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(args, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * seconds, float(done.stderr.split()[-1])


def _own_time(store: Path, call: str) -> tuple[float, float]:
    """Return what a call in a new process takes beyond the imports, in milliseconds, and the memory in MB."""
    code = _OPENS.format(call)
    done = subprocess.run([sys.executable, "-c", code, str(store)], capture_output=True, text=True, check=True)
    seconds, memory = done.stdout.split()
    return 1000 * float(seconds), float(memory)


def _remade(store: Path, *names: str, processes: int = 1) -> float:
    """Return how many seconds new processes, started at once, need to list a store after these files were deleted."""
    for name in names:
        for path in (store / ".localstore").glob(f"{name}*"):
            path.unlink()
    code = _OPENS.format(_CALLS["open and list 50"])
    begin = time.perf_counter()
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(store)], stdout=subprocess.DEVNULL) for _ in range(processes)
    ]
    assert not any(process.wait() for process in started)
    return time.perf_counter() - begin


def _make_rows(store: Path, number: int) -> None:
    """Make a store with a few sessions, and a manifest with the rows of many more."""
    fill(store, 20)
    manifest = store / MANIFEST
    row = orjson.loads(manifest.read_bytes().splitlines()[-2])
    with manifest.open("ab") as file:
        for other in range(number):
            row |= {"session_id": f"other-{other}", "path": f"sessions/2026-{other % 12 + 1:02d}/other-{other}.json"}
            file.write(orjson.dumps(row) + b"\n")
    _own_time(store, "storage.read('other-1')")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1_000_000)
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
        _make_rows(folder / "rows", args.sessions)
        _make_rows(folder / "more rows", args.rows)
        table(
            f"{args.rows:,} rows and {args.sessions:,}, with few documents",
            _compare_calls(
                folder / "more rows",
                folder / "rows",
                args.rounds,
                ("open and read(id, last_runs=3)", "open and append"),
            ),
        )
    finally:
        shutil.rmtree(folder)


def _measure(large: Path, small: Path, rounds: int) -> None:
    rows = []
    for command in _COMMANDS:
        used: dict[Path, list[tuple[float, float]]] = {large: [], small: []}
        for number in range(rounds):
            words = command.format(number + 13).split()
            for store, measured in used.items():
                measured.append(_used(sys.executable, "-c", _COMMAND, *words, "--store", str(store)))
        rows.append(_compared(command, used[large], used[small]))
    rows += _compare_calls(large, small, rounds, _CALLS)
    table("Many sessions and few", rows)
    both = "index.sqlite", "manifest.jsonl"
    table(
        "Made again (time on the clock, with the start of a process)",
        [
            ("the index, from the manifest", _remade(large, "index.sqlite"), "s"),
            ("the index and the manifest, from the documents", _remade(large, *both), "s"),
            ("the same, by two processes at once", _remade(large, *both, processes=2), "s"),
        ],
    )


def _compare_calls(large: Path, small: Path, rounds: int, calls: Iterable[str]) -> list[tuple[str, float, str]]:
    rows = []
    for name in calls:
        used: dict[Path, list[tuple[float, float]]] = {large: [], small: []}
        for _ in range(rounds):
            for store, measured in used.items():
                measured.append(_own_time(store, _CALLS[name]))
        rows.append(_compared(name, used[large], used[small]))
    return rows


def _compared(name: str, large: list[tuple[float, float]], small: list[tuple[float, float]]) -> tuple[str, float, str]:
    many, few = statistics.median(time for time, _ in large), statistics.median(time for time, _ in small)
    more = statistics.median(memory for _, memory in large) - statistics.median(memory for _, memory in small)
    return name, many, f"ms; {many / few:.2f} times {few:.1f}; {more:+.1f} MB"


if __name__ == "__main__":
    main()

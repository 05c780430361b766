"""Upgrade a folder of agno 1.x, beside the least that any upgrade has to do.

    python -m tests.benchmarks.upgrade [--small 20000] [--large 200] [--processes 1 2] [--rounds 3] [--folder DIR]

The floor is, for each document: hard link the old one, write the new bytes (which are known) to a temporary file, sync
it, rename it. It parses nothing, and shares the work by as many processes. Both sides take turns, on folders of their
own. Then the memory that the upgrade of large documents takes at most, and a dry run over many documents that are
current.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localstore.maintenance.upgrade import Change, make_plan, preview, upgrade
from tests.benchmarks.listing import fill
from tests.benchmarks.timing import table

SMALL, LARGE = 2_000, 5_000_000


def session(number: int, size: int) -> dict[str, Any]:
    """A session as agno 1.x writes it, of about `size` bytes; the history is copied into the runs."""
    chance = random.Random(number)
    words = [chance.randbytes(3).hex() for _ in range(200)]
    runs: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    written = 800
    while written < size or not runs:
        text = " ".join(chance.choices(words, k=min(600, max(20, size // 60))))
        own = [
            {"role": "user", "content": text, "created_at": 1795331430 + len(runs), "from_history": False},
            {"role": "assistant", "content": text[::-1], "created_at": 1795331431 + len(runs), "from_history": False},
        ]
        run_id = f"{number}-{len(runs)}"
        run = {"run_id": run_id, "content": text[::-1], "status": "RUNNING", "created_at": 1795331428}
        copies = [{**message, "from_history": True} for message in history[-6:]]
        runs.append({**run, "agent_id": "geographer", "model": "gemma-3-270m", "messages": [*copies, *own]})
        history += own
        written += (3 + len(copies)) * (len(text) + 120) + 300
    return {
        "session_id": f"session-{number}",
        "user_id": f"user-{number % 50}",
        "agent_id": "geographer",
        "agent_data": {"name": "Geographer", "agent_id": "geographer"},
        "memory": {"summaries": {}, "memories": {}, "runs": runs},
        "session_data": {"session_state": {"visited": number}, "session_metrics": {"input_tokens": number}},
        "extra_data": None,
        "created_at": 1795331429,
        "updated_at": 1795331440,
    }


def make(folder: Path, count: int, size: int) -> None:
    """A folder with so many sessions."""
    folder.mkdir()
    for number in range(count):
        text = json.dumps(session(number, size), ensure_ascii=False, indent=4)
        (folder / f"session-{number}.json").write_text(text)


def write_floor(folder: str, names: Sequence[str], new: dict[str, bytes]) -> None:
    """What has to be done at least, for these documents."""
    for name in names:
        os.link(f"{folder}/{name}", f"{folder}/backup/{name}")
        fd = os.open(f"{folder}/new/{name}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        data = new[name] if name in new else new[""]
        at = 0
        while at < len(data):
            at += os.pwrite(fd, memoryview(data)[at:], at)
        os.fdatasync(fd)
        os.close(fd)
        os.rename(f"{folder}/new/{name}.tmp", f"{folder}/new/{name}")


def floor(folder: Path, new: dict[str, bytes], processes: int) -> float:
    """Seconds that the floor takes."""
    for name in ("backup", "new"):
        (folder / name).mkdir()
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".json")
    began = time.perf_counter()
    if processes == 1:
        write_floor(str(folder), names, new)
    else:
        context = multiprocessing.get_context("fork")
        parts = [names[number::processes] for number in range(processes)]
        workers = [context.Process(target=write_floor, args=(str(folder), part, new)) for part in parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return time.perf_counter() - began


def compare(folder: Path, count: int, size: int, processes: int, rounds: int) -> tuple[float, float]:
    """The medians of both sides, in seconds."""
    source = folder / f"source-{size}"
    if not source.exists():
        make(source, count, size)
    new = {"": b""}
    for change in preview(make_plan(source)):
        assert isinstance(change, Change)
        if size == SMALL or not new[""]:
            new[change.path] = new[""] = change.new  # of the large ones, one is as good as another
    ours, theirs = [], []
    for _ in range(rounds):
        for side in ("ours", "theirs"):
            tree = folder / side
            shutil.copytree(source, tree)
            os.sync()
            if side == "ours":
                began = time.perf_counter()
                done = upgrade(tree, processes=processes)
                ours.append(time.perf_counter() - began)
                assert (done.documents, done.problems) == (count, [])
            else:
                theirs.append(floor(tree, new, processes))
            shutil.rmtree(tree)
    return statistics.median(ours), statistics.median(theirs)


def peak_memory(folder: Path, count: int) -> int:
    """Bytes that a process needs at most to upgrade large documents, beyond what one small document needs."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from localstore.maintenance.upgrade import upgrade\nupgrade(sys.argv[1])\n"
        'print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])'
    )
    found = []
    for size, number in ((SMALL, 1), (LARGE, count)):
        tree = folder / f"memory-{size}"
        make(tree, number, size)
        done = subprocess.run([sys.executable, "-c", code, str(tree)], capture_output=True, text=True, check=True)
        found.append(int(done.stdout) * 1024)
        shutil.rmtree(tree)
    return found[1] - found[0]


def dry_run(folder: Path, count: int) -> list[float]:
    """Seconds of `localstore upgrade --dry-run` over so many documents that are current, with their manifest."""
    storage = fill(folder / "current", count)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        command = [str(Path(sys.executable).with_name("localstore")), "upgrade", "--dry-run", str(storage.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        taken.append(time.perf_counter() - began)
        assert done.stdout == f"version\t1\t{count}\n", done.stdout
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--large", type=int, default=200)
    parser.add_argument("--current", type=int, default=100_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    rows: list[tuple[str, float, str]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for count, size in ((options.small, SMALL), (options.large, LARGE)):
            for processes in options.processes if count else ():
                ours, theirs = compare(folder, count, size, processes, options.rounds)
                name = f"{count:,} of {size / 1000:,.0f} kB, {processes} process{'es' * (processes > 1)}"
                rows.append((name, ours / theirs, f"times the floor ({ours:.2f} s and {theirs:.2f} s)"))
        table("upgrade", rows)
        if options.large:
            print(f"memory at most: {peak_memory(folder, 8) / LARGE:.1f} times a large document")
        if options.current:
            taken = dry_run(folder, options.current)
            print(f"dry run over {options.current:,} current documents: {statistics.median(taken):.2f} s")


if __name__ == "__main__":
    main()

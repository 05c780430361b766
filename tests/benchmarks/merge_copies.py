"""How long `localstore merge` takes in a store of which some sessions have copies.

    .venv/bin/python -m tests.benchmarks.merge_copies --sessions 10000 --copies 100 --folder tmp/bench

The folder should be on a disk: each merge syncs the document, the copy and their folders.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from localstore import JsonStorage, Message, Run
from tests.cli.conftest import ENTRY_POINT


def fill(store: Path, sessions: int, copies: int, runs: int) -> None:
    """Make a store. The copies have one run that the document lacks, which has one that they lack."""
    storage = JsonStorage(store, durability="relaxed")
    text = "what is there to see in Vienna in two days " * 5

    def run(number: int) -> Run:
        messages = [Message(role="user", content=text), Message(role="assistant", content=text)]
        return Run(run_id=f"r{number}", created_at=f"2026-11-22T07:00:{number:02d}.000Z", messages=messages)

    for session in range(sessions):
        storage.append_many(f"s{session}", [run(number) for number in range(runs)])
        if session < copies:
            path = storage.path(f"s{session}")
            before = path.read_bytes()
            storage.append(f"s{session}", run(50))
            path.with_stem(f"{path.stem} (conflicted copy 2026-11-23)").write_bytes(path.read_bytes())
            path.write_bytes(before)
            storage.append(f"s{session}", run(51))
    storage.list_sessions(limit=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        store = Path(folder) / "store"
        fill(store, args.sessions, args.copies, args.runs)
        os.sync()  # in use, copies are older than the moment
        for what in (("--dry-run",), (), ()):
            began = time.perf_counter()
            done = subprocess.run(
                [ENTRY_POINT, "merge", "--store", store, *what], check=True, capture_output=True, text=True
            )
            print(f"merge {' '.join(what)}: {time.perf_counter() - began:.2f} s, {done.stderr.strip()}")


if __name__ == "__main__":
    main()

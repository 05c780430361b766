"""Listing, and how long commands and imports take.

    python -m tests.benchmarks.listing [--sessions 100000] [--runs 15] [--folder DIR]

Whole processes are started in turn; medians.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from localstore import JsonStorage, Message, Run
from localstore.format.document import LAYOUTS
from localstore.format.values import to_json_value
from tests.benchmarks.timing import interleave, table


def fill(store: Path, sessions: int) -> JsonStorage:
    """A store with so many sessions of one run, of 500 users, whose manifest is then built from the documents."""
    storage = JsonStorage(store)
    layout = LAYOUTS[".json"]
    entry = layout.entry(to_json_value(Run(messages=[Message(role="user", content="hi")])))
    for number in range(sessions):
        folder = store / "sessions" / f"2026-{number % 12 + 1:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        header = {
            "schema_version": 1,
            "session_id": f"session-{number}",
            "kind": "agent",
            "agent_id": "geographer",
            "user_id": f"user-{number % 500}",
            "created_at": f"2026-{number % 12 + 1:02d}-01T07:01:20.{number % 1000:03d}Z",
        }
        (folder / f"session-{number}.json").write_bytes(layout.assemble(layout.head(header), [entry]))
    storage.list_sessions(limit=0)
    return storage


def process(*args: str) -> Callable[[int], object]:
    def start(_: int) -> object:
        return subprocess.run(args, stdout=subprocess.PIPE, check=True).stdout

    return start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    try:
        begin = time.perf_counter()
        storage = fill(folder / "large", args.sessions)
        filled = time.perf_counter()
        reopened = JsonStorage(folder / "large")
        reopened.list_sessions(limit=20)
        opened = time.perf_counter()
        listed = interleave(
            {
                "of one user": lambda _: storage.list_sessions(user_id="user-7", limit=20),
                "of all": lambda _: storage.list_sessions(limit=20),
            },
            200,
        )
        table(
            f"Listing 20 of {args.sessions} sessions",
            [
                ("user_id=..., limit=20, storage open, ms", listed["of one user"] / 1000, "target <= 1"),
                ("limit=20, storage open, ms", listed["of all"] / 1000, ""),
                ("open the storage and list 20, s", opened - filled, ""),
                ("write the documents and build the manifest, s", filled - begin, ""),
            ],
        )
        fill(folder / "small", 1000)
        command = "from localstore_cli.app import main; main()"
        sides = {
            "bare": process(sys.executable, "-c", "pass"),
            "click": process(sys.executable, "-c", "import click"),
            "localstore": process(sys.executable, "-c", "import localstore"),
            "storage": process(sys.executable, "-c", "from localstore import JsonStorage"),
            "ls": process(sys.executable, "-c", command, "ls", "--store", str(folder / "small")),
        }
        taken = {name: median / 1000 for name, median in interleave(sides, args.runs, 2).items()}
    finally:
        shutil.rmtree(folder)
    table(
        "Whole processes, ms",
        [
            *((name, median, "") for name, median in taken.items()),
            ("localstore ls, 1000 sessions / import click", taken["ls"] / taken["click"], "target <= 3"),
            ("import localstore over bare python, ms", taken["localstore"] - taken["bare"], "target <= 30"),
            ("from localstore import JsonStorage over bare python, ms", taken["storage"] - taken["bare"], ""),
        ],
    )


if __name__ == "__main__":
    main()

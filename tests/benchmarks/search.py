"""Search: how long the index takes to make, how large it is, and how long searches take.

    python -m tests.benchmarks.search [--megabytes 200] [--sessions 2000] [--folder DIR]

The documents are texts of random words, some of which are common and most of which are rare, as in a language.
"""

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from localstore import JsonStorage, Message, Run
from localstore.format.document import LAYOUTS
from localstore.format.values import to_json_value
from tests.benchmarks.timing import table

_RUN_BYTES = 2000


def fill(root: Path, megabytes: int, sessions: int) -> JsonStorage:
    """A store with so many documents of so many megabytes in all."""
    storage = JsonStorage(root, durability="relaxed")
    choose = random.Random(1)
    words = ["".join(choose.choices("abcdefghijklmnopqrstuvwxyz", k=choose.randint(3, 10))) for _ in range(50_000)]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    layout = LAYOUTS[".json"]
    runs = megabytes * 1_000_000 // _RUN_BYTES // sessions
    for number in range(sessions):
        entries = []
        for run in range(runs):
            text = " ".join(choose.choices(words, weights, k=250))
            time_text = f"2026-{run % 11 + 1:02d}-{number % 28 + 1:02d}T07:{run % 60:02d}:20.{number % 1000:03d}Z"
            messages = [Message(role="user", content=text[:300]), Message(role="assistant", content=f"{text} common")]
            entries.append(layout.entry(to_json_value(Run(messages=messages, created_at=time_text))))
        header = {
            "schema_version": 1,
            "session_id": f"s{number}",
            "kind": "agent",
            "created_at": "2026-01-01T00:00:00Z",
        }
        folder = root / "sessions" / "2026-01"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"s{number}.json").write_bytes(layout.assemble(layout.head(header), entries))
    return storage


def median(call: Callable[[], object], rounds: int = 7) -> float:
    """Return the median time of a call, in milliseconds."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    try:
        storage = fill(folder / "store", args.megabytes, args.sessions)
        size = sum(path.stat().st_size for path in storage.root.glob("sessions/*/*"))
        begin = time.perf_counter()
        storage.list_sessions()
        listed = time.perf_counter()
        storage.search("nothing")
        built = time.perf_counter()
        storage.close()
        index = sum(path.stat().st_size for path in (storage.root / ".localstore").glob("search.sqlite*"))

        found = []
        for number in range(7):
            storage.append(f"s{number}", Run(messages=[Message(role="user", content=f"added{number}")]))
            begin_find = time.perf_counter()
            assert len(storage.search(f"added{number}")) == 1
            found.append(time.perf_counter() - begin_find)
        rows = [
            (f"list {args.sessions} sessions, {size / 1e6:.0f} MB, s", listed - begin, ""),
            ("build the index, s", built - listed, "target <= 40 for 200 MB"),
            ("size of the index, MB", index / 1e6, "target <= 80 for 200 MB"),
            ("a common word, newest 20, ms", median(lambda: storage.search("common")), "target <= 20"),
            ("a rare word, ms", median(lambda: storage.search("added3")), ""),
            ("a common word, best 20, ms", median(lambda: storage.search("common", rank=True), 3), ""),
            ("one more run, found after its append, ms", 1000 * statistics.median(found), "target <= 30"),
            ("literal, all files, ms", median(lambda: storage.search("added3", literal=True), 1), ""),
        ]
    finally:
        shutil.rmtree(folder)
    table("Search", rows)


if __name__ == "__main__":
    main()

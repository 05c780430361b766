"""Appending and reading the last three runs, beside raw writes and sqlite3, in one process.

    python -m tests.benchmarks.store [--rounds 300] [--folder DIR]

Medians of interleaved turns. A run is about 1.1 KB. sqlite3 inserts the run's ready-made JSON text into a table with an
index on the session; localstore takes the Run object. DIR should be on the disk that is to be measured.
"""

import argparse
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

from localstore import JsonStorage, Message, Metrics, Run, YamlStorage
from localstore.format.document import LAYOUTS
from localstore.format.values import to_json_value
from tests.benchmarks.timing import interleave, table

SIZES = (10, 1_000, 10_000)
QUESTION = "What did we say about the trip to Vienna in October? Please list the trains and the prices again.\n" * 4
ANSWER = "We looked at three trains. The morning train leaves at 7:58 and costs 49.90, the next one is cheaper.\n" * 5


def new_run() -> Run:
    return Run(
        messages=[Message(role="user", content=QUESTION), Message(role="assistant", content=ANSWER)],
        model="gpt-4o-mini",
        metrics=Metrics(input_tokens=310, output_tokens=120, duration_seconds=0.8),
    )


class Sqlite:
    """The peer: one table of runs, WAL."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute(f"pragma synchronous={synchronous}")
        self._db.execute("create table runs(id integer primary key, session_id text, run_id text, data text)")
        self._db.execute("create index of_session on runs(session_id, id)")

    def insert(self, session_id: str, run_id: str, data: str) -> None:
        self._db.execute("insert into runs(session_id, run_id, data) values(?, ?, ?)", (session_id, run_id, data))

    def last_three(self, session_id: str) -> list[object]:
        query = "select data from runs where session_id = ? order by id desc limit 3"
        return [json.loads(data) for (data,) in self._db.execute(query, (session_id,))]

    def close(self) -> None:
        self._db.close()


class Raw:
    """The floor: write the same bytes at the end of a file, and sync them."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT)
        self._size = 0

    def append(self, data: bytes) -> None:
        os.pwrite(self._fd, data, self._size)
        os.fdatasync(self._fd)
        self._size += len(data)

    def close(self) -> None:
        os.close(self._fd)


def measure_appends(folder: Path, rounds: int, *, durable: bool) -> dict[str, dict[int, float]]:
    durability = "full" if durable else "relaxed"
    result: dict[str, dict[int, float]] = {}
    for size in SIZES:
        base = folder / f"{durability}-{size}"
        stores = {
            "JSON": JsonStorage(base / "json", durability="relaxed"),
            "YAML": YamlStorage(base / "yaml", durability="relaxed"),
        }
        peer = Sqlite(base / "peer.db", "FULL" if durable else "NORMAL")
        raw = Raw(base / "raw")
        for _ in range(size):
            run = new_run()
            peer.insert("s1", run.run_id, run.model_dump_json(exclude_none=True))
            for store in stores.values():
                store.append("s1", run)
        os.sync()
        stores = {
            "JSON": JsonStorage(base / "json", durability="full" if durable else "relaxed"),
            "YAML": YamlStorage(base / "yaml", durability="full" if durable else "relaxed"),
        }
        runs = [[new_run() for _ in range(rounds + 10)] for _ in range(3)]
        texts = [run.model_dump_json(exclude_none=True) for run in runs[2]]
        entries = [LAYOUTS[".json"].entry(to_json_value(run)) for run in runs[2]]
        sides: dict[str, Callable[[int], object]] = {
            "JSON": lambda n, s=stores["JSON"], r=runs[0]: s.append("s1", r[n]),  # type: ignore[misc]
            "YAML": lambda n, s=stores["YAML"], r=runs[1]: s.append("s1", r[n]),  # type: ignore[misc]
            "sqlite3": lambda n, p=peer, r=runs[2], t=texts: p.insert("s1", r[n].run_id, t[n]),  # type: ignore[misc]
        }
        if durable:
            sides["raw"] = lambda n, w=raw, e=entries: w.append(e[n])  # type: ignore[misc]
        for name, median in interleave(sides, rounds).items():
            result.setdefault(name, {})[size] = median
        peer.close()
        raw.close()
    return result


def measure_reads(folder: Path, rounds: int) -> dict[str, dict[int, float]]:
    """Reads of the stores that `measure_appends` made."""
    sides: dict[str, Callable[[int], object]] = {}
    for size in SIZES:
        base = folder / f"relaxed-{size}"
        for name, store in (("JSON", JsonStorage(base / "json")), ("YAML", YamlStorage(base / "yaml"))):
            sides[f"{name} {size}"] = lambda n, s=store: s.read("s1", last_runs=3)  # type: ignore[misc]
        peer = Sqlite.__new__(Sqlite)
        peer._db = sqlite3.connect(base / "peer.db")
        sides[f"sqlite3 {size}"] = lambda n, p=peer: p.last_three("s1")  # type: ignore[misc]
    result: dict[str, dict[int, float]] = {}
    for name, median in interleave(sides, rounds).items():
        kind, _, runs = name.partition(" ")
        result.setdefault(kind, {})[int(runs)] = median
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    try:
        relaxed = measure_appends(folder, args.rounds, durable=False)
        durable = measure_appends(folder, args.rounds, durable=True)
        reads = measure_reads(folder, args.rounds)
    finally:
        shutil.rmtree(folder)
    for title, measured in (
        ("Durable append, µs", durable),
        ("Relaxed append, µs", relaxed),
        ("Last three runs, µs", reads),
    ):
        table(
            title,
            [
                (f"{name}, {size} runs", value, "")
                for name, by_size in measured.items()
                for size, value in by_size.items()
            ],
        )
    rows = []
    small, middle, large = SIZES
    for kind, to_raw, to_full, to_normal in (("JSON", 1.3, 1.0, 1.5), ("YAML", 1.5, 1.1, 2.5)):
        for title, measured in (("durable", durable), ("relaxed", relaxed)):
            ratio = measured[kind][large] / measured[kind][small]
            name = f"{kind}: {title} append at {large} runs / at {small}"
            rows.append((name, ratio, "target <= 1.2"))
        rows += [
            (
                f"{kind}: durable append / raw pwrite+fdatasync",
                durable[kind][middle] / durable["raw"][middle],
                f"target <= {to_raw}",
            ),
            (
                f"{kind}: durable append / sqlite3 WAL FULL",
                durable[kind][middle] / durable["sqlite3"][middle],
                f"target <= {to_full}",
            ),
            (
                f"{kind}: relaxed append / sqlite3 WAL NORMAL",
                relaxed[kind][middle] / relaxed["sqlite3"][middle],
                f"target <= {to_normal}",
            ),
            (
                f"{kind}: last three runs of {large} / of {small}",
                reads[kind][large] / reads[kind][small],
                "target <= 1.2",
            ),
        ]
    table("Ratios", rows)


if __name__ == "__main__":
    main()

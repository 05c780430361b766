"""Merging two versions of a session with 10,000 runs, compared with parsing both documents, in one process.

    python -m tests.benchmarks.merge [--runs 10000] [--rounds 10]

Medians of interleaved turns. Of ten runs, the versions have nine in common. Every hundredth common run was rated in one
of them. The merge is the one of plain values, without writing the result.
"""

import argparse
from collections.abc import Callable

from localstore.engine.merge import Version, merge
from localstore.format.document import LAYOUTS, parse_document
from localstore.format.values import to_json_value
from localstore.models.times import utc_time_of_ns
from tests.benchmarks.store import new_run
from tests.benchmarks.timing import interleave, table


def entries(runs: int) -> list[list[dict[str, object]]]:
    """Return the entries of the common version, and of the two that come from it."""
    all_entries: list[dict[str, object]] = []
    for number in range(runs + runs // 10):
        entry = to_json_value(new_run())
        all_entries.append({**entry, "run_id": f"run-{number}", "created_at": utc_time_of_ns(number * 10**9)})
    end = runs - runs // 10
    ours = [*all_entries[:end], *all_entries[end::2]]
    theirs = [*all_entries[:end], *all_entries[end + 1 :: 2]]
    theirs[:end:100] = [{**entry, "rating": "good"} for entry in theirs[:end:100]]
    return [all_entries[:end], ours, theirs]


def measure(suffix: str, runs: int, rounds: int) -> list[tuple[str, float, str]]:
    layout = LAYOUTS[suffix]
    header = {"schema_version": 1, "session_id": "s1", "kind": "agent", "created_at": utc_time_of_ns(0)}
    raws = [layout.assemble(layout.head(header), list(map(layout.entry, one))) for one in entries(runs)]

    def parse(number: int) -> Version:
        parsed = parse_document(raws[number], layout, suffix)
        return Version(parsed.header, parsed.entries)

    base, ours, theirs = map(parse, range(3))
    sides: dict[str, Callable[[int], object]] = {
        "parse both": lambda _: (parse(1), parse(2)),
        "merge": lambda _: merge(ours, theirs),
        "merge, three-way": lambda _: merge(ours, theirs, base),
    }
    taken = interleave(sides, rounds, warm_up=1)
    kind = suffix[1:].upper()
    return [
        (f"{kind}: {name}", time / 1000, f"ms, {time / taken['parse both']:.2f} times") for name, time in taken.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    rows = [row for suffix in LAYOUTS for row in measure(suffix, options.runs, options.rounds)]
    table(f"Two versions with {options.runs:,} runs", rows)


if __name__ == "__main__":
    main()

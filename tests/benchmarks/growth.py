"""Growing an unfinished run, beside raw writes of the same bytes, on a short and on a long session, in one process.

    python -m tests.benchmarks.growth [--rounds 200] [--folder DIR]

Medians of interleaved turns. In each turn a question is appended, and gets a round of tool calls (1 KB), then the first
300 characters of an answer, 200 more, and the finish with model and metrics. The answer has several lines. DIR should
be on the disk that is to be measured.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from localstore import JsonStorage, Message, Metrics, Run, ToolCall, YamlStorage
from localstore.format.document import LAYOUTS
from localstore.format.values import to_json_value
from tests.benchmarks.store import ANSWER, QUESTION, Raw, new_run
from tests.benchmarks.timing import interleave, table

SIZES = (10, 10_000)
STEPS = ("append", "grow", "answer", "stream", "finish")
MEASURED = ("append", "grow", "stream", "finish")


def forms(number: int) -> list[Run]:
    """One run as it is stored again and again, by STEPS."""
    asked = [Message(role="user", content=QUESTION)]
    call = ToolCall(id=f"call {number}", name="look_up", arguments={"city": "Vienna", "month": "October"})
    looked = [Message(role="assistant", tool_calls=[call])]
    looked.append(Message(role="tool", content=ANSWER + ANSWER, tool_call_id=f"call {number}"))
    said = [Message(role="assistant", content=ANSWER[:end].strip()) for end in (310, 520)]
    texts = [asked, asked + looked, [*asked, *looked, said[0]], [*asked, *looked, said[1]], [*asked, *looked, said[1]]]
    runs = [
        Run(run_id=f"run-{number}", created_at="2026-11-22T07:01:20.123Z", messages=messages, status="unfinished")
        for messages in texts
    ]
    runs[-1].model, runs[-1].status = "gpt-4o-mini", "completed"
    runs[-1].metrics = Metrics(input_tokens=310, output_tokens=120, duration_seconds=0.8)
    return runs


def written(number: int) -> dict[str, bytes]:
    """The bytes that each step adds in JSON, the closing that it writes anew included."""
    layout = LAYOUTS[".json"]
    raws = [layout.entry(to_json_value(form)) + layout.end for form in forms(number)]
    found = {"append": raws[0]}
    for step, old, new in zip(STEPS[1:], raws, raws[1:], strict=False):
        same = next(at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other)
        found[step] = new[same:]
    return found


def measure(folder: Path, rounds: int) -> dict[str, float]:
    sides: dict[str, Callable[[int], object]] = {}
    raw = Raw(folder / "raw")
    runs = [forms(number) for number in range(rounds + 10)]
    for kind, make in (("JSON", JsonStorage), ("YAML", YamlStorage)):
        for size in SIZES:
            base = folder / f"{kind}-{size}"
            relaxed = make(base, durability="relaxed")
            for _ in range(size):
                relaxed.append("s1", new_run())
            store = make(base)
            for place, step in enumerate(STEPS):
                sides[f"{kind} {step} {size}"] = lambda n, s=store, p=place: s.append("s1", runs[n][p])  # type: ignore[misc]
    for step, data in written(0).items():
        sides[f"raw {step}"] = lambda _, d=data: raw.append(d)  # type: ignore[misc]
    os.sync()
    result = interleave(sides, rounds)
    raw.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    try:
        measured = measure(folder, args.rounds)
    finally:
        shutil.rmtree(folder)
    table("Durable, µs", [(name, value, "") for name, value in measured.items()])
    small, large = SIZES
    rows = []
    for kind in ("JSON", "YAML"):
        for step in MEASURED:
            value = measured[f"{kind} {step} {large}"]
            rows.append((f"{kind}: {step} at {large} / at {small}", value / measured[f"{kind} {step} {small}"], ""))
            rows.append((f"{kind}: {step} at {large} / raw pwrite+fdatasync", value / measured[f"raw {step}"], ""))
    table("Ratios", rows)


if __name__ == "__main__":
    main()

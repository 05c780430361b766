"""Interleaved timing: every side takes one turn after the other, so that a noisy machine is noisy for all."""

import statistics
import time
from collections.abc import Callable


def interleave(sides: dict[str, Callable[[int], object]], rounds: int, warm_up: int = 10) -> dict[str, float]:
    """The median of each side in microseconds. A side is called with the number of the round."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warm_up + rounds):
        for name, side in sides.items():
            begin = time.perf_counter()
            side(number)
            end = time.perf_counter()
            if number >= warm_up:
                taken[name].append((end - begin) * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


def table(title: str, rows: list[tuple[str, float, str]]) -> None:
    """Print rows of what was measured, its value, and its unit or comparison."""
    print(f"\n{title}")
    for name, value, note in rows:
        print(f"  {name:<58} {value:>10.2f} {note}")

"""Whether something takes time in proportion to its size.

The processor time for one size is compared with that for four times the size. Linear time gives a ratio of about 4,
quadratic time one of 16.
"""

import time
from collections.abc import Callable

MOST_SECONDS = 0.2
"""Shorter times are not compared, because they say little."""


def assert_linear(work: Callable[[int], Callable[[], object]], count: int) -> None:
    """Run the result of `work` for `count` and for four times `count`, and compare the processor time."""
    for _ in range(3):  # another process may have disturbed one measurement
        times = []
        for size in (count, 4 * count):
            do = work(size)
            began = time.process_time()
            do()
            times.append(time.process_time() - began)
        if times[1] < MOST_SECONDS or times[1] < 9 * times[0]:
            return
    raise AssertionError(f"{times[0]:.3f} s, and for four times the size {times[1]:.3f} s")

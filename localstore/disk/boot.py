"""The current boot of the machine: its id, and when it began.

What was written in the same boot is still there without a sync. What was written before may be damaged by a power cut.
"""

import os
import sys
import time
import zlib
from functools import cache
from pathlib import Path

_CLOCK_ERROR = 2_500_000_000
"""By how many ns a file time and the computed start of the boot may be wrong: some file systems count in 2 seconds."""


@cache
def boot_id() -> str:
    """Return the id of this boot of the machine.

    Where the system has none, return an id of this process, so that no other process trusts bytes that were not synced.
    """
    if sys.platform == "linux":
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            pass
    return f"process-{os.getpid()}-{time.time_ns()}"


@cache
def boot_hash() -> str:
    """Return a short hash of this boot. A row from another boot may be outdated: later lines were not synced."""
    return format(zlib.crc32(boot_id().encode()), "08x")


def is_machine_wide() -> bool:
    """Return whether all processes have the same boot id. If not, only times tell whether the machine was restarted."""
    return not boot_id().startswith("process-")


def started_at() -> int:
    """Return the time at which this boot of the machine began, in ns since the epoch.

    It is computed from the current time in each call, so that it stays right when the clock is set.
    """
    # These clocks go on while the machine sleeps. They start at zero when it boots.
    clock = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    running = time.monotonic_ns() if clock is None else time.clock_gettime_ns(clock)
    return time.time_ns() - running


def is_older_than_boot(moment: int) -> bool:
    """Return whether a file time, in ns, is from before this boot of the machine began."""
    return moment < started_at() + _CLOCK_ERROR

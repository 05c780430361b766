"""The current boot of the machine: what was written in the same boot is still there without a sync."""

import os
import sys
import time
import zlib
from functools import cache
from pathlib import Path


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

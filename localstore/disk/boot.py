"""Which boot of the machine this is: what was written in the same boot survives without a sync."""

import os
import sys
import time
import zlib
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """Names the boot of this machine: bytes written in the same boot survive without a sync.

    Where the system does not tell, it names this process, so that nobody else trusts what was not synced.
    """
    if sys.platform == "linux":
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            pass
    return f"process-{os.getpid()}-{time.time_ns()}"


@cache
def boot_hash() -> str:
    """A short name of this boot. A row of another one may be late: the lines that followed it were never synced."""
    return format(zlib.crc32(boot_id().encode()), "08x")

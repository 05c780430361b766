"""The current boot of the machine."""

import sys
import time
import zlib
from pathlib import Path

import pytest

from localstore.disk.boot import boot_hash, boot_id, is_older_than_boot, started_at


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's id of a boot")
def test_the_id_is_that_of_the_kernel() -> None:
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_without_an_id_of_the_system_no_other_process_has_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """`__wrapped__` is the function without its cache, as each new process calls it."""
    monkeypatch.setattr(sys, "platform", "other")
    first, second = boot_id.__wrapped__(), boot_id.__wrapped__()
    assert first.startswith("process-")
    assert first != second


def test_the_hash_is_that_of_the_id() -> None:
    assert int(boot_hash(), 16) == zlib.crc32(boot_id().encode())
    assert len(boot_hash()) == 8


def test_the_start_of_the_boot_is_in_the_past_and_does_not_move() -> None:
    first, second = started_at(), started_at()
    assert 0 < first < time.time_ns()
    assert abs(second - first) < 10**9


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's time of the boot")
def test_the_start_of_the_boot_is_that_of_the_kernel() -> None:
    (line,) = [line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime ")]
    assert abs(started_at() / 10**9 - int(line.split()[1])) < 2.5


def test_a_file_of_this_moment_is_not_older_than_the_boot_and_one_of_before_is() -> None:
    assert not is_older_than_boot(time.time_ns())
    assert is_older_than_boot(started_at() - 1)
    assert is_older_than_boot(started_at() + 10**9), "times of two seconds, and a clock that is not exact"

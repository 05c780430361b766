"""The current boot of the machine."""

import sys
import zlib
from pathlib import Path

import pytest

from localstore.disk.boot import boot_hash, boot_id


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

"""A file whose single reads and writes are watched."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localstore.disk import filesystem
from tests.unit.disk.ending import OLD
from tests.unit.watched_disk import WatchedDisk


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def fd(file: Path, disk: WatchedDisk) -> Iterator[int]:
    fd = filesystem.system.open(str(file), os.O_RDWR)
    disk.forget()
    yield fd
    os.close(fd)

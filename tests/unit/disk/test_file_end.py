"""Writes to the end of a file: their order, their cost, and what is left if one of them fails."""

import errno
import os
from pathlib import Path

import pytest

from localstore.disk import filesystem
from localstore.disk.file_end import add_line, extend
from tests.unit.disk.ending import CLOSING, OLD
from tests.unit.watched_disk import Call, WatchedDisk

NEW = b",\n    {" + b"x" * 500 + b"\n    }" + CLOSING
WHOLE = OLD.removesuffix(CLOSING) + NEW


def test_extending_within_one_page_is_one_write(file: Path, fd: int, disk: WatchedDisk) -> None:
    """A process that was killed between two writes left a file that no JSON parser could read."""
    extend(fd, len(OLD), CLOSING, NEW)
    assert file.read_bytes() == WHOLE
    assert disk.calls == [Call("write", str(file), len(OLD) - len(CLOSING), len(NEW))]


def test_extending_beyond_a_page_writes_what_lies_beyond_the_end_first(
    file: Path, fd: int, disk: WatchedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "PAGE", len(OLD))
    extend(fd, len(OLD), CLOSING, NEW)
    assert file.read_bytes() == WHOLE
    assert disk.calls == [
        Call("write", str(file), len(OLD), len(NEW) - len(CLOSING)),
        Call("write", str(file), len(OLD) - len(CLOSING), len(CLOSING)),
    ]


def test_a_process_stopped_between_the_two_writes_leaves_the_old_bytes(
    file: Path, fd: int, disk: WatchedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "PAGE", len(OLD))

    def stop(call: Call) -> None:
        if call.offset < len(OLD):
            raise KeyboardInterrupt

    disk.before = stop
    with pytest.raises(KeyboardInterrupt):
        extend(fd, len(OLD), CLOSING, NEW)
    assert file.read_bytes().startswith(OLD)


@pytest.mark.parametrize("closing_at", [*range(430, 441), 500, 505, 511, 512])
def test_an_overlap_in_two_sectors_is_never_half_old_and_half_new(tmp_path: Path, closing_at: int) -> None:
    """Each overwritten sector is written on its own, while the other one is zero."""
    old, closing, new = b"o" * closing_at, b"c" * 72, b"n" * 100
    path = tmp_path / "file"
    path.write_bytes(old + closing)
    fd = os.open(path, os.O_RDWR)
    seen: list[bytes] = []
    try:
        extend(fd, closing_at + 72, closing, new, "by sectors", lambda: seen.append(path.read_bytes()))
    finally:
        os.close(fd)
    assert path.read_bytes() == old + new
    first = 512 - closing_at
    if not 0 < first < 72:
        assert seen == []
        return
    zeros = bytes(72 - first)
    assert seen == [old + part + zeros + new[72:] for part in (closing[:first], new[:first])]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_failed_write_in_two_sectors_puts_the_file_back(file: Path, fd: int, disk: WatchedDisk, number: int) -> None:
    old = b"o" * 508 + CLOSING
    file.write_bytes(old)
    disk.fail("write", "file", number, errno.EIO)
    with pytest.raises(OSError, match="error"):
        extend(fd, len(old), CLOSING, CLOSING * 3, "by sectors")
    assert file.read_bytes() == old


@pytest.mark.parametrize("most", [1, 3, 100])
def test_short_writes_are_gone_on_with(file: Path, fd: int, disk: WatchedDisk, most: int) -> None:
    disk.most_at_once = most
    extend(fd, len(OLD), CLOSING, NEW)
    assert file.read_bytes() == WHOLE


@pytest.mark.parametrize(("number", "most"), [(1, None), (2, None), (1, 7), (2, 7), (3, 7), (75, 7)])
def test_a_failed_write_puts_the_file_back(
    file: Path, fd: int, disk: WatchedDisk, number: int, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "PAGE", len(OLD))
    disk.most_at_once = most
    disk.fail("write", "file", number, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left") as caught:
        extend(fd, len(OLD), CLOSING, NEW)
    assert caught.value.errno == errno.ENOSPC
    assert file.read_bytes() == OLD


def test_a_disk_that_takes_no_byte_is_an_error_and_the_file_is_put_back(
    file: Path, fd: int, disk: WatchedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = disk.write, [10, 0]

    def write(fd: int, data: bytes | memoryview, offset: int) -> int:
        return real(fd, data[: left.pop(0)] if left else data, offset)

    monkeypatch.setattr(disk, "write", write)
    with pytest.raises(OSError, match="accepted no more bytes"):
        extend(fd, len(OLD), CLOSING, NEW)
    assert file.read_bytes() == OLD


def test_a_line_is_added_at_the_end_or_not_at_all(file: Path, fd: int, disk: WatchedDisk) -> None:
    add_line(fd, len(OLD), b"line\n")
    assert file.read_bytes() == OLD + b"line\n"
    disk.most_at_once = 2
    disk.fail("write", "file", 2)
    with pytest.raises(OSError, match="Input/output error"):
        add_line(fd, len(OLD) + 5, b"another\n")
    assert file.read_bytes() == OLD + b"line\n"

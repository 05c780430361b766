"""Single writes: their order, their cost, and what is left if one of them fails."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localstore.disk import filesystem
from tests.unit.watched_disk import Call, WatchedDisk

OLD, CLOSING = b"head, entries" + b"\n  ]\n}\n", b"\n  ]\n}\n"
NEW = b",\n    {" + b"x" * 500 + b"\n    }" + CLOSING
WHOLE = OLD.removesuffix(CLOSING) + NEW


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


def test_extending_within_one_page_is_one_write(file: Path, fd: int, disk: WatchedDisk) -> None:
    """A process that was killed between two writes left a file that no JSON parser could read."""
    filesystem.extend(fd, len(OLD), CLOSING, NEW)
    assert file.read_bytes() == WHOLE
    assert disk.calls == [Call("write", str(file), len(OLD) - len(CLOSING), len(NEW))]


def test_extending_beyond_a_page_writes_what_lies_beyond_the_end_first(
    file: Path, fd: int, disk: WatchedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "PAGE", len(OLD))
    filesystem.extend(fd, len(OLD), CLOSING, NEW)
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
        filesystem.extend(fd, len(OLD), CLOSING, NEW)
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
        filesystem.extend(fd, closing_at + 72, closing, new, lambda: seen.append(path.read_bytes()))
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
        filesystem.extend(fd, len(old), CLOSING, CLOSING * 3, lambda: None)
    assert file.read_bytes() == old


@pytest.mark.parametrize("most", [1, 3, 100])
def test_short_writes_are_gone_on_with(file: Path, fd: int, disk: WatchedDisk, most: int) -> None:
    disk.most_at_once = most
    filesystem.extend(fd, len(OLD), CLOSING, NEW)
    assert file.read_bytes() == WHOLE


@pytest.mark.parametrize(("number", "most"), [(1, None), (2, None), (1, 7), (2, 7), (3, 7), (75, 7)])
def test_a_failed_write_puts_the_file_back(
    file: Path, fd: int, disk: WatchedDisk, number: int, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "PAGE", len(OLD))
    disk.most_at_once = most
    disk.fail("write", "file", number, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left") as caught:
        filesystem.extend(fd, len(OLD), CLOSING, NEW)
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
        filesystem.extend(fd, len(OLD), CLOSING, NEW)
    assert file.read_bytes() == OLD


def test_a_line_is_added_at_the_end_or_not_at_all(file: Path, fd: int, disk: WatchedDisk) -> None:
    filesystem.add_line(fd, len(OLD), b"line\n")
    assert file.read_bytes() == OLD + b"line\n"
    disk.most_at_once = 2
    disk.fail("write", "file", 2)
    with pytest.raises(OSError, match="Input/output error"):
        filesystem.add_line(fd, len(OLD) + 5, b"another\n")
    assert file.read_bytes() == OLD + b"line\n"


def test_new_folders_are_private_and_their_names_durable(tmp_path: Path, disk: WatchedDisk) -> None:
    folder = tmp_path / "a" / "b" / "c"
    filesystem.make_folders(folder)
    assert [(call.operation, call.name) for call in disk.calls] == [
        ("make_folder", "a"),
        ("sync_folder", tmp_path.name),
        ("make_folder", "b"),
        ("sync_folder", "a"),
        ("make_folder", "c"),
        ("sync_folder", "b"),
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent, folder.parent.parent)} == {0o700}
    disk.forget()
    filesystem.make_folders(folder)
    assert disk.calls == []


def test_a_folder_that_somebody_else_makes_at_the_same_time_will_do(tmp_path: Path, disk: WatchedDisk) -> None:
    disk.before = lambda call: os.mkdir(call.path) if call.operation == "make_folder" else None
    filesystem.make_folders(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        filesystem.make_folders(tmp_path / "a" / "b")
    with pytest.raises(NotADirectoryError) as caught:
        filesystem.make_folders(tmp_path / "a")
    assert caught.value.filename == str(tmp_path / "a")


def test_only_an_empty_folder_is_removed(tmp_path: Path, file: Path) -> None:
    (tmp_path / "empty").mkdir()
    filesystem.remove_folder_if_empty(str(tmp_path / "empty"))
    filesystem.remove_folder_if_empty(str(tmp_path))
    assert os.listdir(tmp_path) == ["file"]


def test_reading_goes_on_to_the_end_of_the_file(file: Path, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: real(fd, min(size, 3), offset))
    assert filesystem.read_at(fd, 10, 2) == OLD[2:12]
    assert filesystem.read_at(fd, 1000, 2) == OLD[2:]
    assert filesystem.read_at(fd, 10, 1000) == b""


def test_an_error_of_a_sync_names_the_file(file: Path, fd: int, disk: WatchedDisk) -> None:
    disk.fail("sync", "file")
    with pytest.raises(OSError, match="did not keep the last write") as caught:
        filesystem.sync_file(fd, str(file))
    assert caught.value.filename == str(file)
    assert caught.value.errno == errno.EIO


def test_a_link_is_not_opened(tmp_path: Path, file: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(OSError, match=r"(?i)symbolic link"):
        filesystem.system.open(str(tmp_path / "link"), os.O_RDONLY)


def test_a_descriptor_is_not_inherited_by_programs_that_are_started(fd: int) -> None:
    assert not os.get_inheritable(fd)


@pytest.mark.parametrize(("mode", "private"), [(0o100600, True), (0o40700, True), (0o100640, False), (0o40701, False)])
def test_what_only_the_owner_may_use_is_private(mode: int, private: bool) -> None:
    assert filesystem.is_private(mode) is private


@pytest.mark.skipif(not filesystem.TELLS_WRITERS, reason="only Linux has leases")
def test_a_file_on_which_another_program_has_a_lease_is_opened_once_it_gives_the_lease_back(tmp_path: Path) -> None:
    """Broken: an append raised BlockingIOError if another process just asked whether anybody wrote to the document."""
    path = tmp_path / "file"
    path.write_bytes(b"text")
    program = (
        "import fcntl, os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGURG})\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)\n"
        "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)\n"
        "print('leased', flush=True)\n"
        "signal.sigwait({signal.SIGURG})\n"
        "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "leased\n"
        os.close(filesystem.system.open(str(path), os.O_RDWR))
        assert process.wait() == 0

"""Folders, reads and syncs."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from localstore.disk import filesystem
from tests.unit.disk.ending import OLD
from tests.unit.watched_disk import WatchedDisk


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

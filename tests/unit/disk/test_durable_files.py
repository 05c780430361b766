"""Whole files: the order of the steps that make them durable, and what is left if one of them fails."""

import errno
import os
import stat
from pathlib import Path

import pytest

from localstore.disk import durable_files, filesystem, temporary_files
from tests.unit.watched_disk import Call, WatchedDisk

OLD, NEW = b"old bytes", b"new bytes" * 100


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    return path


def test_a_new_file_is_written_synced_named_and_its_folder_synced(tmp_path: Path, disk: WatchedDisk) -> None:
    path = tmp_path / "new"
    durable_files.write_file(path, [b"a", b"", b"bc"])
    assert path.read_bytes() == b"abc"
    assert [(call.operation, call.name) for call in disk.calls] == [
        ("open", "temporary"),
        ("write", "temporary"),
        ("write", "temporary"),
        ("write", "temporary"),
        ("sync", "temporary"),
        ("replace", "new"),
        ("sync_folder", tmp_path.name),
    ]
    assert {os.path.dirname(call.path) for call in disk.of("open", "write", "sync", "replace")} == {str(tmp_path)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("operation", ["open", "write", "sync", "replace"])
@pytest.mark.parametrize("existed", [True, False])
def test_a_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, disk: WatchedDisk, operation: str, existed: bool
) -> None:
    path = tmp_path / "file"
    if existed:
        path.write_bytes(OLD)

    def fail(call: Call) -> None:
        if call.operation == operation:
            raise OSError(errno.ENOSPC, "full")

    disk.before = fail
    with pytest.raises(OSError, match="full"):
        durable_files.write_file(path, [NEW])
    assert os.listdir(tmp_path) == (["file"] if existed else [])
    assert not existed or path.read_bytes() == OLD


def test_a_file_that_is_read_keeps_its_bytes_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with path.open("rb") as reader:
        durable_files.write_file(path, [NEW])
        assert reader.read() == OLD


def test_removing_is_durable(file: Path, disk: WatchedDisk) -> None:
    durable_files.remove_file(file)
    assert not file.exists()
    assert [call.operation for call in disk.calls] == ["unlink", "sync_folder"]


def test_a_moved_file_is_durable_before_it_gets_its_name(tmp_path: Path, file: Path, disk: WatchedDisk) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "moved"
    durable_files.move_file(str(file), str(target))
    assert target.read_bytes() == OLD
    assert not file.exists()
    steps = disk.of("sync", "replace", "sync_folder")
    assert [(call.operation, call.name) for call in steps] == [
        ("sync", "file"),
        ("replace", "moved"),
        ("sync_folder", "folder"),
        ("sync_folder", tmp_path.name),
    ]


def test_a_file_is_not_moved_over_another_one(tmp_path: Path, file: Path) -> None:
    target = tmp_path / "taken"
    target.write_bytes(NEW)
    with pytest.raises(FileExistsError) as caught:
        durable_files.move_file(str(file), str(target))
    assert caught.value.filename == str(target)
    assert (file.read_bytes(), target.read_bytes()) == (OLD, NEW)


def test_a_link_replaces_the_file_with_its_name(tmp_path: Path, file: Path) -> None:
    target = tmp_path / "second"
    target.write_bytes(NEW)
    for _ in range(2):  # the second time, both names are already links to the same file
        durable_files.link_or_copy(str(file), str(target))
        assert target.read_bytes() == file.read_bytes() == OLD
        assert sorted(os.listdir(tmp_path)) == ["file", "second"]


def test_an_old_document_that_was_replaced_is_told_from_what_was_never_stored(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed between the exchange and the removal leaves the old document under a hidden name. That
    must not be taken for lost data: runs in it may have been removed on purpose.
    """
    removed: list[str] = []
    monkeypatch.setattr(filesystem.System, "unlink", lambda _, path: removed.append(path))
    durable_files.replace_file(str(file), [NEW], file.lstat())
    assert file.read_bytes() == NEW
    (left,) = [path for path in tmp_path.iterdir() if path != file]
    assert left.read_bytes() == OLD
    assert removed == [str(left)]
    assert temporary_files.is_superseded(left.name, left.lstat())
    left.write_bytes(b"saved by an editor")
    assert not temporary_files.is_superseded(left.name, left.lstat())
    assert not temporary_files.is_superseded(file.name, file.lstat())


@pytest.mark.parametrize("existed", [True, False])
def test_a_new_file_does_not_take_the_name_of_another_one(tmp_path: Path, existed: bool) -> None:
    path = tmp_path / "new"
    if existed:
        path.write_bytes(OLD)
        with pytest.raises(FileExistsError) as caught:
            durable_files.create_file(path, [NEW])
        assert caught.value.filename == str(path)
    else:
        durable_files.create_file(path, [NEW])
    assert path.read_bytes() == (OLD if existed else NEW)
    assert os.listdir(tmp_path) == ["new"]


def test_a_later_save_stays_in_place_and_the_earlier_one_under_a_hidden_name(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two saves within one rewrite: the exchange displaced the first, and the second was made over the new file."""
    exchange = filesystem.System.exchange
    count = 0

    def exchanged(self: filesystem.System, first: str, second: str) -> None:
        nonlocal count
        count += 1
        if count == 1:
            file.with_name("editor").write_bytes(b"first save")
            file.with_name("editor").replace(file)
        exchange(self, first, second)
        if count == 1:
            file.write_bytes(b"second save")

    monkeypatch.setattr(filesystem.System, "exchange", exchanged)
    with pytest.raises(durable_files.FileChanged):
        durable_files.replace_file(str(file), [NEW], file.lstat())
    assert file.read_bytes() == b"second save"
    (left,) = [path for path in file.parent.iterdir() if path != file]
    assert left.read_bytes() == b"first save"
    assert temporary_files.final_name(left.name) == file.name
    assert not temporary_files.is_superseded(left.name, left.lstat())


def test_a_removed_file_that_was_saved_goes_back_to_its_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = filesystem.System.replace

    def saved(self: filesystem.System, source: str, target: str) -> None:
        file.write_bytes(b"saved")
        replace(self, source, target)

    monkeypatch.setattr(filesystem.System, "replace", saved)
    with pytest.raises(durable_files.FileChanged):
        durable_files.remove_unchanged(str(file), file.lstat())
    assert file.read_bytes() == b"saved"
    assert os.listdir(file.parent) == [file.name]

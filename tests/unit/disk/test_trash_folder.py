"""The trash folder: documents move in and out by renaming."""

import time
from pathlib import Path

import pytest

from localstore import DocumentBroken, JsonStorage
from localstore.disk import trash_folder
from tests.unit.raw import answered


@pytest.fixture
def root(tmp_path: Path) -> str:
    JsonStorage(tmp_path / "store").append("s1", answered("r1"))
    return str(tmp_path / "store")


def moved_in(root: str) -> tuple[trash_folder.Trashed, Path, bytes]:
    """Move the document into the trash; return it, its former path and its bytes."""
    path = JsonStorage(root).path("s1")
    raw = path.read_bytes()
    with trash_folder.TrashBatch(root, time.time_ns()) as batch:
        return batch.move(path.relative_to(root).as_posix(), "s1"), path, raw


def move_out(root: str, one: trash_folder.Trashed) -> None:
    with trash_folder.RestoreBatch(root) as batch:
        batch.move(one)


def test_a_document_in_the_trash_keeps_its_bytes_and_is_listed(root: str) -> None:
    one, path, raw = moved_in(root)
    assert not path.exists()
    assert Path(one.path).read_bytes() == raw
    assert trash_folder.listing(root) == [one]
    assert trash_folder.describe(root, one.name) == one
    assert (one.session_id, one.document, one.size) == ("s1", path.relative_to(root).as_posix(), len(raw))
    assert trash_folder.describe(root, "another") is None


def test_a_document_moves_back_and_leaves_no_folder(root: str) -> None:
    one, path, raw = moved_in(root)
    move_out(root, one)
    assert path.read_bytes() == raw
    assert list(Path(root, trash_folder.FOLDER).iterdir()) == []


def test_a_document_is_not_moved_over_another_one(root: str) -> None:
    one, path, raw = moved_in(root)
    path.write_bytes(b"another")
    with pytest.raises(FileExistsError):
        move_out(root, one)
    assert path.read_bytes() == b"another"
    assert Path(one.path).read_bytes() == raw


def test_removing_deletes_once(root: str) -> None:
    one, _, _ = moved_in(root)
    assert trash_folder.remove(root, one)
    assert not trash_folder.remove(root, one)
    assert trash_folder.listing(root) == []


def test_a_link_in_place_of_the_trash_is_refused(root: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path(root, trash_folder.FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DocumentBroken, match="symbolic link"):
        trash_folder.listing(root)

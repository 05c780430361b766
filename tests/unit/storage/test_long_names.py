"""Documents that a person gave a file name as long as the file system takes."""

from pathlib import Path

import pytest

from localstore import DocumentBroken
from localstore.maintenance.rescue import rescued, restore
from localstore.maintenance.trash import put_back, throw_away
from localstore.maintenance.upgrade import convert, undo
from tests import oracle
from tests.unit.conftest import StorageClass
from tests.unit.raw import Storage, answered, run_ids

LENGTHS = [231, 236, 237, 238, 250, 255]


def renamed(storage: Storage, length: int, char: str = "n") -> Path:
    storage.append("s", answered("r1"))
    path = storage.path("s")
    count, rest = divmod(length - len(path.suffix), len(char.encode()))
    return path.rename(path.with_name(char * count + "n" * rest + path.suffix))


@pytest.mark.parametrize("char", ["n", "ö", "😀"])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_document_with_a_long_name_can_be_rewritten(storage: Storage, length: int, char: str) -> None:
    """Regression: the names of temporary files were longer than 255 bytes, so that it could only be appended to."""
    path = renamed(storage, length, char)
    assert len(path.name.encode()) == length
    storage.append("s", answered("r2"))
    storage.update("s", name="new")
    storage.rate("s", "r1", "good")
    assert run_ids(path) == ["r1", "r2"]
    assert oracle.document_paths(storage.root) == [path]
    oracle.assert_no_temporary_files(storage.root)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_run_for_a_broken_document_with_a_long_name_is_kept(storage: Storage, length: int) -> None:
    """Regression: the rescue file could not be written, so that the run was lost."""
    path = renamed(storage, length)
    assert storage.list_sessions()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"created_at", b"created at: [", 1))
    with pytest.raises(DocumentBroken) as caught:
        storage.append("s", answered("r2"))
    assert caught.value.rescued is not None
    path.write_bytes(whole)
    assert restore(storage, Path(caught.value.rescued).name).added == 1
    assert run_ids(path) == ["r1", "r2"]
    assert rescued(storage) == []


@pytest.mark.parametrize("length", LENGTHS)
def test_a_document_with_a_long_name_is_converted_and_thrown_away(
    storage_class: StorageClass, tmp_path: Path, length: int
) -> None:
    storage = storage_class(tmp_path / "store")
    path = renamed(storage, length)
    before = path.read_bytes()
    done = convert(storage, "yaml" if path.suffix == ".json" else "json")
    assert (done.documents, done.problems) == (1, [])
    assert undo(storage.root).problems == []
    assert path.read_bytes() == before
    (item,) = throw_away(storage, "s")
    assert put_back(storage, item.name) == path
    assert path.read_bytes() == before
    oracle.assert_no_temporary_files(storage.root)

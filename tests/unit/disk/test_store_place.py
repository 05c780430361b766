"""A copy of a whole store knows that it is one, and nothing that came along with it misleads it."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import JsonStorage
from localstore.disk import store_place
from localstore.disk.store_place import PLACE, id_of, origin_of
from localstore.maintenance.check import check
from localstore.maintenance.repair import repair
from tests.unit.conftest import StorageClass
from tests.unit.raw import answered, run_ids


def _run(*command: str | Path) -> None:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"needs {command[0]}")
    subprocess.run(command, check=True, capture_output=True)


def _cp(source: Path, target: Path) -> None:
    _run("cp", "-r", source, target)


def _cp_all(source: Path, target: Path) -> None:
    _run("cp", "-a", source, target)


def _rsync(source: Path, target: Path) -> None:
    _run("rsync", "-a", f"{source}/", f"{target}/")


def _tar(source: Path, target: Path) -> None:
    target.mkdir()
    _run("tar", "-C", source, "-cf", target.with_suffix(".tar"), ".")
    _run("tar", "-C", target, "-xf", target.with_suffix(".tar"))


def _clone(source: Path, target: Path) -> None:
    for command in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "first"),
    ):
        _run("git", "-C", source, *command)
    _run("git", "clone", "-q", source, target)


COPIES = [_cp, _cp_all, _rsync, _tar]
Copy = Callable[[Path, Path], None]


def _notes(root: Path) -> list[str]:
    return [finding.problem for finding in check(root) if finding.kind == "copy"]


def test_a_new_store_has_an_id_of_its_own(storage_class: StorageClass, tmp_path: Path) -> None:
    first, second = storage_class(tmp_path / "first"), storage_class(tmp_path / "second")
    marker = json.loads((first.root / "localstore.json").read_bytes())
    assert marker == {"localstore": "store", "format": 1, "store_id": id_of(str(first.root))}
    assert id_of(str(first.root)) != id_of(str(second.root))
    assert _notes(first.root) == []


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_of_a_whole_store_knows_that_it_is_one(storage_class: StorageClass, copy: Copy, tmp_path: Path) -> None:
    """Each of the two takes runs of its own, and neither reads or counts those of the other."""
    original = storage_class(tmp_path / "original")
    original.append("s1", answered("r1"))
    original.search("hello")
    copy(tmp_path / "original", tmp_path / "copy")
    assert _notes(tmp_path / "copy") == [f"is a copy of the store at {tmp_path / 'original'}"]
    assert _notes(tmp_path / "original") == []
    copied = storage_class(tmp_path / "copy")
    original.append("s1", answered("here", "words of mine"))
    copied.append("s1", answered("there", "other words"))
    for store, own, word in ((original, "here", "mine"), (copied, "there", "other")):
        store = storage_class(store.root)
        assert run_ids(store.path("s1")) == ["r1", own]
        assert store.path("s1").is_relative_to(store.root)
        assert [info.runs for info in store.list_sessions()] == [2]
        assert [hit.run_id for hit in store.search("words")] == [own]
        assert [hit.run_id for hit in store.search(word)] == [own]


def test_a_repair_makes_a_copy_a_store_of_its_own(tmp_path: Path) -> None:
    JsonStorage(tmp_path / "original").append("s1", answered("r1"))
    _cp(tmp_path / "original", tmp_path / "copy")
    (planned,) = [finding for finding in repair(tmp_path / "copy", dry_run=True) if finding.kind == "copy"]
    assert planned.advice == "Record its place in .localstore/place.json."
    assert len(_notes(tmp_path / "copy")) == 1
    (done,) = [finding for finding in repair(tmp_path / "copy") if finding.kind == "copy"]
    assert done.severity == "repair"
    assert _notes(tmp_path / "copy") == []
    assert id_of(str(tmp_path / "copy")) == id_of(str(tmp_path / "original"))


@pytest.mark.parametrize("copy", COPIES)
def test_a_store_from_another_disk_or_machine_says_where_it_was(copy: Copy, tmp_path: Path) -> None:
    JsonStorage(tmp_path / "original").append("s1", answered("r1"))
    copy(tmp_path / "original", tmp_path / "here")
    shutil.rmtree(tmp_path / "original")
    assert _notes(tmp_path / "here") == [f"was copied or moved here from the store at {tmp_path / 'original'}"]
    JsonStorage(tmp_path / "original")  # another store takes its place
    assert _notes(tmp_path / "here") == [f"was copied or moved here from the store at {tmp_path / 'original'}"]


def test_a_renamed_store_is_no_copy_even_if_its_copy_takes_its_place(tmp_path: Path) -> None:
    JsonStorage(tmp_path / "store").append("s1", answered("r1"))
    (tmp_path / "store").rename(tmp_path / "old")
    assert _notes(tmp_path / "old") == []
    _cp(tmp_path / "old", tmp_path / "store")
    assert _notes(tmp_path / "old") == _notes(tmp_path / "store") == []


@pytest.mark.parametrize("copy", COPIES)
def test_a_store_that_is_put_back_from_a_backup_works_as_before(
    storage_class: StorageClass, copy: Copy, tmp_path: Path
) -> None:
    """The index and the manifest that come back are older than what was listed meanwhile."""
    storage = storage_class(tmp_path / "store")
    storage.append("s1", answered("r1"))
    storage.list_sessions()
    copy(tmp_path / "store", tmp_path / "backup")
    storage.append("s1", answered("later"))
    storage.append("s2", answered("later"))
    storage.list_sessions()
    storage.close()
    shutil.rmtree(tmp_path / "store")
    copy(tmp_path / "backup", tmp_path / "store")
    assert _notes(tmp_path / "store") == []
    restored = storage_class(tmp_path / "store")
    assert [(info.session_id, info.runs) for info in restored.list_sessions()] == [("s1", 1)]
    restored.append("s1", answered("r2"))
    assert run_ids(restored.path("s1")) == ["r1", "r2"]
    assert restored.search("hello", limit=1)[0].run_id == "r2"


def test_an_older_backup_synchronised_over_an_open_store_is_seen(storage_class: StorageClass, tmp_path: Path) -> None:
    storage = storage_class(tmp_path / "store")
    storage.append("s1", answered("r1"))
    storage.list_sessions()
    _rsync(tmp_path / "store", tmp_path / "backup")
    storage.append("s1", answered("later"))
    storage.append("s2", answered("later"))
    storage.search("hello")
    _run("rsync", "-a", "--delete", f"{tmp_path / 'backup'}/", f"{tmp_path / 'store'}/")
    for opened in (storage, storage_class(tmp_path / "store")):
        session = opened.read("s1")
        assert session is not None
        assert [run.run_id for run in session.runs] == ["r1"]
        assert [(info.session_id, info.runs) for info in opened.list_sessions()] == [("s1", 1)]
        assert {hit.run_id for hit in opened.search("hello")} == {"r1"}
    storage.append("s1", answered("r2"))
    assert run_ids(storage.path("s1")) == ["r1", "r2"]


def test_a_clone_works_and_is_a_store_in_its_own_place(storage_class: StorageClass, tmp_path: Path) -> None:
    """`.localstore/` does not come along; the first write makes it, and says where."""
    original = storage_class(tmp_path / "original")
    original.append("s1", answered("r1"))
    _clone(tmp_path / "original", tmp_path / "clone")
    clone = storage_class(tmp_path / "clone")
    assert origin_of(str(clone.root)) is None
    clone.append("s1", answered("r2"))
    assert id_of(str(clone.root)) == id_of(str(original.root))
    assert _notes(clone.root) == []
    _cp(tmp_path / "clone", tmp_path / "copy")
    assert _notes(tmp_path / "copy") == [f"is a copy of the store at {tmp_path / 'clone'}"]


def test_a_store_of_an_earlier_release_works_without_an_id(storage_class: StorageClass, tmp_path: Path) -> None:
    storage = storage_class(tmp_path / "store")
    (storage.root / "localstore.json").write_text('{"localstore": "store", "format": 1}')
    shutil.rmtree(storage.root / ".localstore")
    old = storage_class(tmp_path / "store")
    old.append("s1", answered("r1"))
    assert not (old.root / PLACE).exists()
    _cp(old.root, tmp_path / "copy")
    assert _notes(old.root) == _notes(tmp_path / "copy") == []
    assert (old.root / "localstore.json").read_text() == '{"localstore": "store", "format": 1}'


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"store_id": 1, "path": 2}', b"\xff", b"[" * 100_000])
def test_a_place_that_cannot_be_read_says_nothing(content: bytes, tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path / "store")
    (storage.root / PLACE).write_bytes(content)
    assert origin_of(str(storage.root)) is None
    storage.append("s1", answered("r1"))
    assert _notes(storage.root) == []


def test_a_place_that_cannot_be_written_hinders_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(store_place, "record", fail)
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    assert os.listdir(storage.root / ".localstore").count("place.json") == 0

"""Programs that save a document in several steps: for a moment it is missing, empty or half there."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import DocumentBroken, JsonStorage, LocalstoreError, YamlStorage
from localstore.disk import filesystem
from tests.unit.conftest import StorageClass
from tests.unit.raw import answered, parse, run_ids

Storage = JsonStorage | YamlStorage
_GAP = 0.03


def _prepared(storage_class: StorageClass, root: Path) -> Storage:
    storage = storage_class(root)
    storage.append("s", answered("r1"))
    storage.append("s", answered("r2"))
    return storage


def _remove_first(path: Path, data: bytes, half: threading.Event) -> None:
    """Remove the old file, then write the new one, as git does."""
    path.unlink()
    half.set()
    time.sleep(_GAP)
    path.with_name("new").write_bytes(data)
    path.with_name("new").rename(path)


def _rename_first(path: Path, data: bytes, half: threading.Event) -> None:
    """Rename the old file to a backup, then write the new one, as vim does."""
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    half.set()
    time.sleep(_GAP)
    with path.open("xb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        time.sleep(_GAP)
        file.write(data[len(data) // 2 :])
    backup.unlink()


def _in_place(path: Path, data: bytes, half: threading.Event) -> None:
    """Empty the file, then write it in two pieces, as VS Code and nano do."""
    with path.open("wb") as file:
        half.set()
        time.sleep(_GAP)
        file.write(data[: len(data) // 2])
        file.flush()
        time.sleep(_GAP)
        file.write(data[len(data) // 2 :])


WAYS = [_remove_first, _rename_first, _in_place]
if not filesystem.TELLS_WRITERS:
    WAYS = [_remove_first]


def wait_for_slow_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need more than a second to save."""
    monkeypatch.setattr("localstore.engine.base._ABSENCE", 60)
    monkeypatch.setattr("localstore.disk.document_file._PATIENCE", 60)


def _ids(storage: Storage) -> list[str]:
    session = storage.read("s")
    assert session is not None
    return [run.run_id for run in session.runs]


CALLS: dict[str, tuple[Callable[[Storage], object], list[str]]] = {
    "append": (lambda storage: storage.append("s", answered("r3")), ["r1", "r2", "r3"]),
    "update": (lambda storage: storage.update("s", name="new"), ["r1", "r2"]),
    "read": (_ids, ["r1", "r2"]),
}


@pytest.mark.parametrize("save", WAYS)
@pytest.mark.parametrize(("call", "expected"), CALLS.values(), ids=CALLS)
def test_a_save_in_steps_is_waited_for(
    storage_class: StorageClass,
    tmp_path: Path,
    save: Callable[[Path, bytes, threading.Event], None],
    call: Callable[[Storage], object],
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Regression: while an editor had removed, renamed or emptied the document, the session did not exist: `read`
    returned None, and an append made a new document, over which the editor then saved, so that the acknowledged run was
    lost, or to which it could not save. A document that was emptied to be written in place was called broken.
    """
    wait_for_slow_saves(monkeypatch)
    storage = _prepared(storage_class, tmp_path / "store")
    path = storage.path("s")
    data = path.read_bytes().replace(b"r1", b"R1")
    half = threading.Event()
    thread = threading.Thread(target=save, args=(path, data, half))
    thread.start()
    half.wait()
    call(storage)
    thread.join()
    assert run_ids(path) == ["R1", *expected[1:]] == _ids(storage)
    if call is CALLS["update"][0]:
        assert parse(path)["name"] == "new"


def test_a_session_that_a_person_deleted_is_made_again(storage_class: StorageClass, tmp_path: Path) -> None:
    storage = _prepared(storage_class, tmp_path / "store")
    storage.path("s").unlink()
    storage.append("s", answered("r3"))
    assert _ids(storage) == ["r3"]


@pytest.mark.skipif(not filesystem.TELLS_WRITERS, reason="only Linux tells whether a file is open for writing")
def test_a_program_that_keeps_a_broken_document_open_is_not_waited_for_for_ever(
    storage_class: StorageClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localstore.disk.document_file._PATIENCE", 0.05)
    storage = _prepared(storage_class, tmp_path / "store")
    path = storage.path("s")
    path.write_bytes(b"{[")
    for call, _ in CALLS.values():
        with path.open("r+b"), pytest.raises(DocumentBroken) as caught:
            call(storage)
        assert "all the time" not in str(caught.value)
    assert path.read_bytes() == b"{["


def test_a_document_that_appears_before_a_new_one_gets_its_name_is_written_to(
    storage_class: StorageClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the document was said to be "in the way of a new session", and to hold none of that id, although it
    was the session's own, saved in the meantime. The run was not stored.
    """
    storage = _prepared(storage_class, tmp_path / "store")
    path = storage.path("s")
    data = path.read_bytes()
    path.unlink()

    class Appearing(filesystem.System):
        def rename_to_new(self, source: str, target: str) -> None:
            if target == str(path) and not path.exists():
                path.write_bytes(data)
            super().rename_to_new(source, target)

    monkeypatch.setattr(filesystem, "system", Appearing())
    storage.append("s", answered("r3"))
    assert run_ids(path) == ["r1", "r2", "r3"]


def test_a_document_that_is_removed_right_after_it_was_replaced_is_waited_for(
    storage_class: StorageClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: FileNotFoundError, although a program was only saving the document again."""
    wait_for_slow_saves(monkeypatch)
    storage = _prepared(storage_class, tmp_path / "store")
    path = storage.path("s")
    aside = path.with_name("aside~")
    threads: list[threading.Timer] = []

    class Removing(filesystem.System):
        def exchange(self, first: str, second: str) -> None:
            super().exchange(first, second)
            if not threads:
                os.rename(second, aside)
                threads.append(threading.Timer(_GAP, lambda: aside.rename(path)))
                threads[0].start()

    monkeypatch.setattr(filesystem, "system", Removing())
    try:
        storage.update("s", name="new")
    except LocalstoreError as error:
        raise AssertionError from error
    finally:
        threads[0].join()
    assert parse(path)["name"] == "new"
    assert run_ids(path) == ["r1", "r2"]

"""Reading many documents: processes that do it at the same time share the work and agree, and progress is reported."""

import os
import shutil
from pathlib import Path

import pytest

from localstore import JsonStorage
from localstore.disk.document_file import DocumentFile
from localstore.index import row_batches
from tests.unit.raw import Storage, answered


def make_copies(root: Path) -> dict[str, Path]:
    """Make a store with 12 sessions, half of which have two documents. Return the document that counts for each."""
    storage = JsonStorage(root)
    with storage.bulk():
        for number in range(12):
            storage.append(f"s{number}", answered(f"run-{number}"))
    expected = {f"s{number}": storage.path(f"s{number}") for number in range(12)}
    for number in range(0, 12, 2):
        path = expected[f"s{number}"]
        shutil.copy(path, path.with_name(("a copy of " if number % 4 else "z ") + path.name))
    forget_indexes(root)
    return expected


def forget_indexes(root: Path) -> None:
    for path in (root / ".localstore").iterdir():
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize("moment", range(1, 19, 3))
def test_two_that_read_all_documents_again_agree_on_the_document_of_each_session(
    tmp_path: Path, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one begins when the first one has read some, and ends before it."""
    monkeypatch.setattr(row_batches, "_BATCH", 3)
    expected = make_copies(tmp_path / "store")
    second = JsonStorage(tmp_path / "store")
    pids = iter(range(100))
    monkeypatch.setattr(os, "getpid", lambda: next(pids))  # each takes the documents in another order

    def progress(done: int, total: int) -> None:
        if (done, total) == (moment, 18):
            assert {info.session_id: info.path for info in second.list_sessions()} == expected

    first = JsonStorage(tmp_path / "store", progress=progress)
    for storage in (first, second, JsonStorage(tmp_path / "store")):
        assert {info.session_id: info.path for info in storage.list_sessions()} == expected
        assert {info.session_id: storage.path(info.session_id) for info in storage.list_sessions()} == expected


def test_documents_that_another_process_has_read_meanwhile_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_batches, "_BATCH", 3)
    second = JsonStorage(tmp_path / "store")
    for number in range(12):
        second.append(f"s{number}", answered(f"run-{number}"))
    forget_indexes(second.root)
    read: list[str] = []
    read_all = DocumentFile.read_all

    def counted(file: DocumentFile) -> bytes:
        read.append(file.path)
        return read_all(file)

    def progress(done: int, _: int) -> None:
        if done == 1:
            second.list_sessions()
            monkeypatch.setattr(DocumentFile, "read_all", counted)

    first = JsonStorage(tmp_path / "store", progress=progress)
    assert len(first.list_sessions()) == 12
    assert len(read) == 2, "the rest of the first batch"


def test_the_progress_of_reading_is_reported(storage: Storage, tmp_path: Path) -> None:
    for number in range(5):
        storage.append(f"s{number}", answered(f"run-{number}"))
    forget_indexes(storage.root)
    calls: list[tuple[int, int]] = []
    opened = type(storage)(storage.root, progress=lambda done, total: calls.append((done, total)))
    opened.list_sessions()
    assert calls == [(done, 5) for done in range(1, 6)]
    calls.clear()
    opened.list_sessions()
    assert calls == []
    assert opened.search("run") == []
    assert calls == [(done, 5) for done in range(1, 6)]


def test_a_progress_that_is_no_function_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="progress must be a function of two numbers, not True"):
        JsonStorage(tmp_path, progress=True)  # type: ignore[arg-type]

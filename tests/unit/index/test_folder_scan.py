"""The scan of the folders: it sees what is in them now, and no thread relies on a scan that has not ended."""

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localstore import DocumentBroken
from localstore.disk.document_file import DocumentFile
from localstore.index.manifest_reader import ManifestReader
from tests.unit.raw import Storage, answered, run_ids


def test_a_folder_that_is_a_link_is_not_followed(storage: Storage, tmp_path: Path) -> None:
    storage.append("a", answered("run-a"))
    folder = storage.path("a").parent
    folder.rename(tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    before = {path.name: path.read_bytes() for path in (tmp_path / "outside").iterdir()}
    opened = type(storage)(storage.root)
    assert opened.read("a") is None
    assert opened.list_sessions() == []
    with pytest.raises(DocumentBroken, match="symbolic link"):
        opened.append("d", answered("run-d"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "outside").iterdir()} == before


def test_ignored_files_follow_the_folders(storage: Storage) -> None:
    """A file that is not read is named while it is there, also if another scan of the process saw the folder before."""
    storage.append("a", answered("r1"))
    storage.list_sessions()
    path = storage.path("a")
    ignored = path.with_suffix(".yml")
    ignored.write_bytes(path.read_bytes())
    storage.list_sessions()
    assert list(storage.ignored_files()) == [ignored]
    ignored.unlink()
    storage.list_sessions()
    assert storage.ignored_files() == {}


def test_a_thread_sees_the_documents_that_another_thread_is_reading(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the first scan marked a folder as scanned before it had read the documents in it. A second thread
    that listed meanwhile got no sessions, and its append made a second document of a session that was there."""
    storage.append("a", answered("first"))
    path = storage.path("a")
    path.rename(path.with_name(f"renamed{path.suffix}"))
    os.utime(path.parent, (1_700_000_000, 1_700_000_000))  # a folder that has just changed is scanned again and again
    (storage.root / ".localstore/manifest.jsonl").unlink()
    opened = type(storage)(storage.root)
    is_reading, may_go_on = threading.Event(), threading.Event()
    read_all = DocumentFile.read_all

    def read_slowly(file: DocumentFile) -> bytes:
        if threading.current_thread() is not threading.main_thread():
            is_reading.set()
            may_go_on.wait(60)
        return read_all(file)

    monkeypatch.setattr(DocumentFile, "read_all", read_slowly)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(opened.list_sessions)
        try:
            assert is_reading.wait(60)
            assert [info.session_id for info in opened.list_sessions()] == ["a"]
            opened.append("a", answered("second"))
        finally:
            may_go_on.set()
        assert [info.session_id for info in slow.result()] == ["a"]
    (document,) = path.parent.iterdir()
    assert run_ids(document) == ["first", "second"]


OLD = 1_700_000_000
"""The time of a folder that need not be listed again."""


def settle_folders(storage: Storage, number: int = 0) -> None:
    """Give the folders a time that is not the current one: a folder that has just changed is listed again and again."""
    for folder in (storage.root / "sessions").iterdir():
        os.utime(folder, ns=(0, (OLD + number) * 1_000_000_000 + 1))


@pytest.fixture
def uses_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fold lines into the index at once, and ask it however few sessions there are."""
    for name in ("_SHORT", "_LONG", "_MOST_ROWS"):
        monkeypatch.setattr(f"localstore.index.manifest_reader.{name}", 0)
    monkeypatch.setattr("localstore.index.sweep._FEW", 0)


@pytest.mark.usefixtures("uses_index")
@pytest.mark.parametrize("index", ["stays", "is removed"])
@pytest.mark.parametrize(
    "question", [len, lambda storage: storage.count(), lambda storage: storage.stats().total.sessions]
)
def test_sessions_whose_lines_were_cut_off_are_found_again(
    storage: Storage, index: str, question: Callable[[Storage], int]
) -> None:
    """Regression: where another process had made the index again from the shorter manifest, the others believed that it
    had every row, and that the folders were scanned. They stored that, and no process found the sessions again."""
    manifest = storage.root / ".localstore/manifest.jsonl"
    for name in "abc":
        storage.append(name, answered(f"run-{name}"))
    settle_folders(storage)
    opened = type(storage)(storage.root)
    assert question(opened) == question(storage) == 3
    if index == "is removed":
        storage.close()
        for path in manifest.parent.glob("index.sqlite*"):
            path.unlink()
    os.truncate(manifest, manifest.read_bytes().index(b'{"session_id":"b"'))
    writer = type(storage)(storage.root)
    writer.append("a", answered("another run of a", "a question that is longer" * 20))
    for each in (opened, storage, writer, type(storage)(storage.root)):
        assert question(each) == question(each) == 3


@pytest.mark.usefixtures("uses_index")
def test_a_listing_beside_a_writer_folds_nothing_while_the_folders_keep_their_times(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: each listing of a process folded the lines of all others, which had to ask the index again then."""
    for name in "ab":
        storage.append(name, answered(f"run-{name}"))
    settle_folders(storage)
    reader = type(storage)(storage.root)
    assert storage.count() == reader.count() == 2
    for name in ("_SHORT", "_LONG", "_MOST_ROWS"):
        monkeypatch.setattr(f"localstore.index.manifest_reader.{name}", 1 << 16)
    storage.append("a", answered("another run"))
    reader._engine.index.forget_scans()  # as after another process has folded lines
    monkeypatch.setattr(ManifestReader, "fold", lambda *_, **__: pytest.fail("lines were folded"))
    assert {info.session_id: info.runs for info in reader.list_sessions()} == {"a": 2, "b": 1}


@pytest.mark.usefixtures("uses_index")
def test_two_documents_that_swapped_their_names_are_both_found_beside_a_copy_of_one(storage: Storage) -> None:
    """Regression: the row of `a` moved on to the copy, and nobody read the file that it had left. It holds `b` now."""
    storage.append("a", answered("run-a"))
    storage.append("b", answered("run-b"))
    settle_folders(storage)
    assert len(storage.list_sessions()) == 2
    first, second = storage.path("a"), storage.path("b")
    copy = storage.root / "sessions/2020-01" / f"c{first.suffix}"
    copy.parent.mkdir(mode=0o700)
    shutil.copy(first, copy)
    first.rename(first.with_name(".other"))
    second.rename(first)
    first.with_name(".other").rename(second)
    settle_folders(storage, 1)
    for opened in (storage, type(storage)(storage.root), storage):
        assert {info.session_id: info.path for info in opened.list_sessions()} == {"a": copy, "b": first}
        assert opened.count() == 2
        assert opened.duplicate_files() == {second: "a"}


@pytest.mark.usefixtures("uses_index")
def test_a_removed_document_is_not_counted_by_others_although_the_index_could_not_be_changed_at_first(
    storage: Storage,
) -> None:
    """Regression: the next scan stored that the folder was scanned, and left the row of the removed document."""
    for name in "abc":
        storage.append(name, answered(f"run-{name}"))
    settle_folders(storage)
    assert storage.count() == 3
    storage.path("c").unlink()
    settle_folders(storage, 1)
    with contextlib.closing(sqlite3.connect(storage.root / ".localstore/index.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert storage.count() == 2
        other.execute("ROLLBACK")
    settle_folders(storage, 2)
    for opened in (storage, type(storage)(storage.root), storage):
        assert (opened.count(), len(opened)) == (2, 2)


@pytest.mark.usefixtures("uses_index")
def test_a_session_whose_document_was_overwritten_by_a_copy_of_another_is_gone(storage: Storage) -> None:
    """Regression: it was counted, and never listed."""
    storage.append("a", answered("run-a"))
    storage.append("b", answered("run-b"))
    settle_folders(storage)
    another = type(storage)(storage.root)
    assert another.count() == storage.count() == 2
    path = storage.path("b")
    path.write_bytes(storage.path("a").read_bytes())
    for opened in (storage, another, type(storage)(storage.root)):
        assert [info.session_id for info in opened.list_sessions()] == ["a"]
        assert (opened.count(), opened.stats().total.sessions) == (1, 1)
        assert opened.duplicate_files() == {path: "a"}


@pytest.mark.usefixtures("uses_index")
def test_a_removed_document_is_not_counted_again_if_others_write_during_the_scan(
    storage: Storage, tmp_path: Path
) -> None:
    """Regression: the scan stored that the folder was scanned, when it had forgotten that the document is gone."""
    for name in "abc":
        storage.append(name, answered(f"run-{name}"))
    settle_folders(storage)
    writer = type(storage)(storage.root)
    assert storage.count() == writer.count() == 3
    elsewhere = type(storage)(tmp_path / "elsewhere")
    elsewhere.append("new", answered("run-new"))

    def progress(done: int, total: int) -> None:
        writer.append("a", answered("another run of a"))

    opened = type(storage)(storage.root, progress=progress)
    assert opened.count() == 3
    storage.path("c").unlink()
    path = elsewhere.path("new")
    path.rename(storage.path("b").with_name(path.name))
    settle_folders(storage, 1)
    for each in (opened, type(storage)(storage.root), opened):
        assert each.count() == 3
        assert "c" not in each


@pytest.mark.usefixtures("uses_index")
@pytest.mark.parametrize(("change", "sessions", "runs"), [("trash", 3, 3), ("append", 4, 5)])
def test_the_row_of_a_document_that_another_process_changes_after_it_was_read_is_not_the_last_one(
    storage: Storage, tmp_path: Path, change: str, sessions: int, runs: int
) -> None:
    """Regression: it came behind the line of the one who had changed or removed the document, and was counted."""
    for name in "abc":
        storage.append(name, answered(f"run-{name}"))
    elsewhere = type(storage)(tmp_path / "elsewhere")
    elsewhere.append("new", answered("run-new"))

    def progress(done: int, total: int) -> None:
        storage.trash("new") if change == "trash" else storage.append("new", answered("another run"))

    opened = type(storage)(storage.root, progress=progress)
    settle_folders(storage)
    assert storage.count() == opened.count() == 3
    path = elsewhere.path("new")
    path.rename(storage.path("a").with_name(path.name))
    settle_folders(storage, 1)
    for each in (opened, storage, type(storage)(storage.root)):
        total = each.stats().total
        assert (each.count(), total.sessions, total.runs) == (sessions, sessions, runs)
        assert ("new" in each) == (change == "append")


@pytest.mark.usefixtures("uses_index")
def test_a_broken_document_whose_month_was_renamed_is_listed_by_every_process(storage: Storage) -> None:
    """Regression: only the first process that listed the store said that the document is broken. In later ones, the row
    of its old path hid it: the session was missing, and nothing named its file."""
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rindex(b"role")] + b"[{")
    path.parent.rename(path.parent.with_name("2020-01"))
    settle_folders(storage)
    for _ in range(3):
        (info,) = type(storage)(storage.root).list_sessions()
        assert info.session_id == "s1"
        assert info.problem is not None


@pytest.mark.usefixtures("uses_index")
def test_a_copy_is_the_session_once_another_process_saw_that_its_document_has_another_id(storage: Storage) -> None:
    """Regression: the process that saw the change read the copy. To all others, the session was missing, and a copy of
    it was named that nobody could read."""
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    copy = path.with_stem("s1 (conflicted copy 2026-01-02)")
    shutil.copy2(path, copy)
    settle_folders(storage)
    storage.list_sessions()
    path.write_bytes(path.read_bytes().replace(b"s1", b"s2"))
    type(storage)(storage.root).list_sessions()
    for opened in (storage, type(storage)(storage.root)):
        session = opened.read("s1")
        assert session is not None
        assert run_ids(copy) == [run.run_id for run in session.runs]
        assert {info.session_id: info.path for info in opened.list_sessions()} == {"s1": copy, "s2": path}
        assert opened.duplicate_files() == {}

"""The row of one document: it is read again when the file changed, and problems of the file are known."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from localstore import YamlStorage
from localstore.disk.document_file import DocumentFile
from tests.effort import rounds
from tests.unit.index.test_row_batches import forget_indexes
from tests.unit.raw import Storage, answered, edit, in_our_layout, parse, run_ids
from tests.unit.watched_disk import WatchedDisk


def test_a_document_that_was_broken_and_mended_is_listed_with_its_problem_and_without(
    storage: Storage, later: Callable[[], Storage]
) -> None:
    path = storage.path("a")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"run_id", b'"run_id": [', 1))
    info = next(info for info in later().list_sessions() if info.session_id == "a")
    assert info.problem is not None
    assert str(path) in info.problem
    assert (info.runs, info.user_id) == (1, "alice")
    path.write_bytes(raw)
    assert [info.problem for info in later().list_sessions()] == [None] * 3


def test_a_broken_document_has_the_time_of_its_header_in_utc(storage: Storage) -> None:
    """Regression: without a manifest, as in a store that was cloned, a time with an offset stayed as it was, and the
    session was in the wrong place where sessions are sorted by the time of their creation."""
    storage.append("a", answered("run-a"))
    path = storage.path("a")
    text = path.read_text().replace(parse(path)["created_at"], "2026-11-25T23:30:00+14:00")
    path.write_text(text.replace("completed", "completed\n!broken"))
    (storage.root / ".localstore/manifest.jsonl").unlink()
    (info,) = type(storage)(storage.root).list_sessions()
    assert info.problem is not None
    assert (info.created_at, info.updated_at) == (datetime(2026, 11, 25, 9, 30, tzinfo=UTC),) * 2


@pytest.mark.parametrize("status", ["completed", "unfinished"])
def test_yaml_without_its_end_marker_is_listed_as_what_it_holds(
    tmp_path: Path, status: Literal["completed", "unfinished"]
) -> None:
    """Regression: formatters of YAML remove the end marker. Once the manifest was gone, as in a store that was cloned,
    such a document was listed as cut off, without its runs and in the wrong place, until somebody wrote to it."""
    storage = YamlStorage(tmp_path)
    storage.append("s1", answered("first"))
    storage.append("s1", answered("second", status=status, created_at="2099-01-01T00:00:00.000Z"))
    edit(storage.path("s1"), "\n...\n", "\n")
    (tmp_path / ".localstore/manifest.jsonl").unlink()
    opened = YamlStorage(tmp_path)
    (info,) = opened.list_sessions()
    assert (info.problem, info.runs, info.updated_at) == (None, 2, datetime(2099, 1, 1, tzinfo=UTC))
    opened.append("s1", answered("third"))
    assert run_ids(opened.path("s1")) == ["first", "second", "third"]
    assert in_our_layout(opened.path("s1"))


def test_what_one_of_us_writes_during_a_listing_is_not_read(
    storage: Storage, later: Callable[[], Storage], disk: WatchedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, path, status = later(), storage.path("a"), disk.status
    opened.list_sessions()

    def write_before(name: str) -> os.stat_result:
        if name == str(path):
            monkeypatch.setattr(disk, "status", status)
            storage.append("a", answered("next"))
        return status(name)

    monkeypatch.setattr(disk, "status", write_before)
    disk.forget()
    assert {info.session_id: info.runs for info in opened.list_sessions()}["a"] == 2
    assert len(disk.of("open", name=path.suffix)) == 1, "the writer's"


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Let Python switch between threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switches")
def test_unreadable_files_can_be_asked_for_while_other_threads_list(storage: Storage) -> None:
    """Regression: `unreadable_files()` raised "dictionary changed size during iteration" when another thread found one
    more unreadable file in the middle of the call."""
    storage.append("a", answered("run-a"))
    folder = storage.path("a").parent
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            storage.unreadable_files()

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        try:
            for number in range(rounds(16, 40, 40)):
                for name in range(20):
                    (folder / f"{number}-{name}.json").write_bytes(b"{")
                storage.list_sessions()
                for path in folder.glob(f"{number // 2}-*.json"):
                    path.unlink()
        finally:
            stop.set()
    for thread in asking:
        thread.result()
    assert set(storage.unreadable_files()) == set(folder.glob("*-*.json"))


def test_a_file_that_is_being_read_again_is_unreadable_until_then(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a file that had changed was no longer known as unreadable while one thread read it again, so that
    another thread did not list it."""
    storage.append("a", answered("first"))
    broken = storage.path("a").with_name(f"broken{storage.path('a').suffix}")
    broken.write_bytes(b"{")
    storage.list_sessions()
    broken.write_bytes(b"{{")
    is_reading, may_go_on = threading.Event(), threading.Event()
    read_all = DocumentFile.read_all

    def read_slowly(file: DocumentFile) -> bytes:
        is_reading.set()
        may_go_on.wait(60)
        return read_all(file)

    monkeypatch.setattr(DocumentFile, "read_all", read_slowly)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(storage.list_sessions)
        try:
            assert is_reading.wait(60)
            assert list(storage.unreadable_files()) == [broken]
        finally:
            may_go_on.set()
        slow.result()
    assert list(storage.unreadable_files()) == [broken]


def test_a_document_with_the_canonical_name_counts_even_if_the_manifest_names_another(storage: Storage) -> None:
    """As after the index was deleted."""
    storage.append("a", answered("first"))
    canonical = storage.path("a")
    named = canonical.with_name(f"Trip{canonical.suffix}")
    content = canonical.read_bytes()
    canonical.rename(named)
    assert storage.path("a") == named
    storage.append("a", answered("second"))
    storage.list_sessions()
    canonical.write_bytes(content)
    for opened in (storage, type(storage)(storage.root)):
        assert [info.path for info in opened.list_sessions()] == [canonical]
        with pytest.warns(UserWarning, match="has a copy"):
            session = opened.read("a")
        assert session is not None
        assert [run.run_id for run in session.runs] == ["first"]
    forget_indexes(storage.root)
    assert [info.path for info in type(storage)(storage.root).list_sessions()] == [canonical]

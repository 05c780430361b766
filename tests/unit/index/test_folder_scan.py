"""The scan of the folders: it sees what is in them now, and no thread relies on a scan that has not ended."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localstore import DocumentBroken
from localstore.disk.document_file import DocumentFile
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

"""Deleting and dropping: sessions are gone for good, and nothing else is."""

import pytest

from localstore import DocumentBroken, SessionNotFound
from tests.unit.raw import Storage, answered, manifest_lines, rescued, run_ids
from tests.unit.watched_disk import WatchedDisk


def test_a_deleted_session_is_gone_for_good(storage: Storage, disk: WatchedDisk) -> None:
    other = type(storage)(storage.root)
    storage.append("s1", answered("r1"))
    storage.append("s2", answered("r1"))
    path = storage.path("s1")
    assert other.delete_session("s1")
    assert not path.exists()
    assert disk.of("sync_folder", name=path.parent.name)
    assert manifest_lines(storage)[-1] == {"session_id": "s1", "deleted": True}
    for opened in (storage, other, type(storage)(storage.root)):
        assert opened.read("s1") is None
        assert opened.get_all_session_ids() == ["s2"]
    with pytest.raises(SessionNotFound):
        storage.append("s1", answered("r2"), create=False)
    storage.append("s1", answered("r2"))
    assert run_ids(storage.path("s1")) == ["r2"]


def test_a_broken_document_can_be_deleted(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    path.write_bytes(path.read_bytes()[:-30].replace(b"run_id", b"[", 1))
    assert storage.delete_session("s1")
    assert not path.exists()


def test_dropping_removes_sessions_and_leaves_foreign_files(storage: Storage) -> None:
    for number in range(5):
        storage.append(f"s{number}", answered("r1", created_at=f"2026-0{number + 1}-01T00:00:00.000Z"))
    folder = storage.path("s1").parent
    copy = storage.path("s2").with_stem("copy")
    copy.write_bytes(storage.path("s2").read_bytes())
    foreign = [
        storage.root / "README.txt",
        storage.root / "sessions" / "notes.md",
        folder / "picture.png",
        folder / "data.json",
        folder / ".hidden.json",
        storage.root / "sessions" / "own" / "deep" / "s9.json",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"mine": true}')
    storage.drop()
    assert storage.list_sessions() == type(storage)(storage.root).list_sessions() == []
    assert [path.read_bytes() for path in foreign] == [b'{"mine": true}'] * len(foreign)
    left = {path for path in (storage.root / "sessions").rglob("*") if path.is_file()}
    assert left == set(foreign[1:])
    storage.append("s1", answered("r2"))
    assert run_ids(storage.path("s1")) == ["r2"]


def test_what_was_set_aside_of_a_session_goes_with_it(storage: Storage) -> None:
    """A text that was deleted permanently was still in the rescue folder."""
    for session_id in ("s1", "s2", "s3"):
        storage.append(session_id, answered("r1"))
        path = storage.path(session_id)
        whole = path.read_bytes()
        path.write_bytes(b"{")
        with pytest.raises(DocumentBroken):
            storage.append(session_id, answered("r2", "secret"))
        path.write_bytes(whole)
    assert storage.delete_session("s1")
    assert sorted(record["session_id"] for record in rescued(storage)) == ["s2", "s3"]
    foreign = storage.root / ".localstore" / "rescue" / "mine.txt"
    foreign.write_text("mine")
    storage.drop()
    assert list(foreign.parent.iterdir()) == [foreign]

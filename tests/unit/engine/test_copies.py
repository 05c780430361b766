"""Reading and appending use the document with the canonical name. Copies beside it are named, and never touched."""

import shutil
import warnings
from pathlib import Path
from typing import Literal

import pytest

from localstore import DocumentBroken, JsonStorage, YamlStorage
from localstore.maintenance.upgrade import convert
from tests.unit.index.test_row_batches import forget_indexes
from tests.unit.raw import Storage, answered, run_ids

TIMES = [f"2026-11-22T07:0{minute}:00.000Z" for minute in range(10)]


def again(storage: Storage) -> Storage:
    """Open the store as a new process does that finds neither a manifest nor an index."""
    forget_indexes(storage.root)
    return type(storage)(storage.root)


def copied(storage: Storage, name: str = "trip (conflicted copy 2026-01-02)") -> Path:
    path = storage.path("trip")
    return Path(shutil.copy2(path, path.with_stem(name)))


def runs_of(storage: Storage) -> list[str]:
    session = storage.read("trip")
    assert session is not None
    return [run.run_id for run in session.runs]


CONFLICT = "trip (conflicted copy 2026-01-02)"
NAMES = [CONFLICT, "trip.sync-conflict-20260102-101500-ABCDEFG", "a", "trip-LAPTOP", "trip 2"]


@pytest.mark.parametrize("name", NAMES)
def test_the_document_with_the_canonical_name_is_the_session(storage: Storage, name: str) -> None:
    """A conflict copy with newer runs took the session over once the manifest was gone, and runs drop out of sight."""
    storage.append("trip", answered("r0", created_at=TIMES[0]))
    document, copy = storage.path("trip"), copied(storage, name)
    copy.write_bytes(copy.read_bytes().replace(b"r0", b"r9").replace(TIMES[0].encode(), TIMES[9].encode()))
    raw = copy.read_bytes()
    for number, opened in enumerate((storage, type(storage)(storage.root), again(storage), again(storage)), 1):
        assert [(info.session_id, info.path) for info in opened.list_sessions()] == [("trip", document)]
        assert opened.duplicate_files() == {copy: "trip"}
        with pytest.warns(UserWarning, match="has a copy, which is not read") as caught:
            assert runs_of(opened) == [f"r{one}" for one in range(number)]
        assert str(copy) in str(caught[0].message)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it was named once
            opened.append("trip", answered(f"r{number}", created_at=TIMES[number]))
        assert {hit.run_id for hit in opened.search("hello")} == {f"r{one}" for one in range(number + 1)}
    assert run_ids(document) == ["r0", "r1", "r2", "r3", "r4"]
    assert copy.read_bytes() == raw


def test_a_write_names_the_copies_too(storage: Storage) -> None:
    storage.append("trip", answered("r0"))
    for name in NAMES:
        copied(storage, name)
    storage.list_sessions()
    with pytest.warns(UserWarning, match="has 5 copies, which are not read"):
        storage.append("trip", answered("r1"))


@pytest.mark.parametrize("content", [b"{", b"", b"[broken"])
def test_a_copy_does_not_stand_in_for_a_document_that_cannot_be_read(storage: Storage, content: bytes) -> None:
    storage.append("trip", answered("r0"))
    document, copy = storage.path("trip"), copied(storage)
    document.write_bytes(content)
    raw = copy.read_bytes()
    for opened in (storage, type(storage)(storage.root), again(storage)):
        opened.list_sessions()
        for call in (opened.read, lambda name, to=opened: to.append(name, answered("r1"))):
            with pytest.raises(DocumentBroken) as caught:
                call("trip")
            assert caught.value.path == str(document)
    assert (document.read_bytes(), copy.read_bytes()) == (content, raw)


def test_a_document_that_arrives_after_its_copy_is_the_session_at_once(storage: Storage) -> None:
    """A sync tool renames the document, and brings the other version a moment later. No folder is listed in between."""
    storage.append("trip", answered("r0", created_at=TIMES[0]))
    document, copy = storage.path("trip"), copied(storage)
    document.unlink()
    assert runs_of(storage) == ["r0"]
    storage.append("trip", answered("r1", created_at=TIMES[1]))
    assert run_ids(copy) == ["r0", "r1"]
    document.write_bytes(copy.read_bytes())
    with pytest.warns(UserWarning, match="has a copy"):
        storage.append("trip", answered("r2", created_at=TIMES[2]))
    assert run_ids(document) == ["r0", "r1", "r2"]
    assert run_ids(copy) == ["r0", "r1"]


def test_a_copy_that_cannot_be_read_is_named_with_its_session(storage: Storage) -> None:
    storage.append("trip", answered("r0"))
    copy = copied(storage, "trip (1).sync-conflict-20260102-101500-ABCDEFG")
    copy.write_bytes(b"[ broken")
    for opened in (storage, type(storage)(storage.root), again(storage)):
        opened.list_sessions()
        assert opened.duplicate_files() == {copy: "trip"}
        assert list(opened.unreadable_files()) == [copy]


@pytest.mark.parametrize(("source", "target"), [(JsonStorage, "yaml"), (YamlStorage, "json")])
def test_a_conversion_that_was_killed_hides_no_run_that_was_added_later(
    source: type[JsonStorage] | type[YamlStorage], target: Literal["json", "yaml"], tmp_path: Path
) -> None:
    """A conversion was killed before it removed the old document, a run was added to the new one, and the manifest was
    deleted: the older document counted, and the acknowledged run was not read."""
    storage = source(tmp_path / "store")
    for number in range(3):
        storage.append("trip", answered(f"r{number}", created_at=TIMES[number]))
    old = storage.path("trip")
    raw = old.read_bytes()
    assert convert(storage.root, target).problems == []
    old.write_bytes(raw)  # the state after a kill before it was removed
    source(storage.root).append("trip", answered("r3", created_at=TIMES[3]))
    later = again(storage)
    later.list_sessions()
    with pytest.warns(UserWarning, match="has a copy"):
        assert runs_of(later) == ["r0", "r1", "r2", "r3"]
    assert later.duplicate_files() == {old: "trip"}
    (merged,) = later.merge_copies()
    assert merged.copies[0].summary == "nothing to add"
    assert not old.exists()
    assert runs_of(again(storage)) == ["r0", "r1", "r2", "r3"]


def test_a_copy_made_by_hand_is_not_the_session_however_new_it_is(storage: Storage) -> None:
    """Without a manifest, the first path counted: a copy named `a-copy` came before the document."""
    storage.append("trip", answered("r0", created_at=TIMES[0]))
    path = storage.path("trip")
    mine = path.rename(path.with_stem("my trip"))
    copy = Path(shutil.copy(mine, mine.with_stem("my trip (1)")))
    for opened in (again(storage), again(storage)):
        opened.list_sessions()
        assert opened.path("trip") == mine
        assert opened.duplicate_files() == {copy: "trip"}

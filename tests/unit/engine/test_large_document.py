"""The newest entries of a large document are read block by block, and found as in a small one."""

import tracemalloc

import pytest

from localstore import Conflict
from localstore.disk import document_file
from localstore.disk.document_file import DocumentFile
from localstore.engine import open_document, transaction
from localstore.engine.transaction import Transaction
from localstore.format.document import LAYOUTS
from tests.unit.raw import Storage, answered, edit, question, run_ids


@pytest.mark.parametrize("block", [64, 100, 1000, 1 << 20])
@pytest.mark.parametrize("count", [1, 3, 64])
def test_blocks_give_the_same_entries_and_runs(
    storage: Storage, block: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        storage.append("s1", answered(f"r{number}", "a" * (number * 37 % 90)))
        if number % 4 == 0:
            storage.update("s1", session_state={"number": number})
    storage.append("s1", question("unfinished", "is it unfinished", status="unfinished"))
    storage.append("s1", question("last", status="unfinished"))
    monkeypatch.setattr(document_file, "_LARGE_BLOCK", block)
    with DocumentFile(str(storage.path("s1"))) as file:
        tail = file.tail(count)
        spans = file.tail_spans(count)
        assert [start for start, _ in spans] == [offset for offset, _ in tail]
        assert [end - start for start, end in spans] == [len(piece) for _, piece in tail]
    for attempt in storage._engine.edit("s1"):
        with attempt as document:
            assert document is not None
            _compare(document, count, monkeypatch)


def _make_all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (open_document, transaction):
        monkeypatch.setattr(module, "LARGE", 0)


def _compare(document: Transaction, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = document.recent(count)
    _make_all_large(monkeypatch)
    assert document.recent(count) == expected
    assert document.cannot_have("r11", 64) is False
    assert document.cannot_have("absent", 3) is True


def test_a_repeated_run_is_recognised_far_back_in_a_large_document(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        storage.append("s1", answered(f"r{number}"))
    edit(storage.path("s1"), "r3", "r-typed")  # only a parser knows it, where the entry is not as localstore writes it
    storage.read("s1")
    _make_all_large(monkeypatch)
    monkeypatch.setattr(document_file, "_LARGE_BLOCK", 128)
    later = type(storage)(storage.root)
    later.append("s1", answered("r2"))
    assert run_ids(storage.path("s1")).count("r2") == 1
    for run_id in ("r1", "r-typed"):
        with pytest.raises(Conflict):
            type(storage)(storage.root).append("s1", answered(run_id, answer="something else"))


def test_the_first_append_of_a_process_does_not_hold_the_newest_entries_in_memory(storage: Storage) -> None:
    """The first append of a process to a document of 500 MB read its last 64 entries whole: 5.6 s and 1 GB."""
    for number in range(4):
        storage.append("s1", answered(f"run-{number}", "b" * 4_000_000))
    later = type(storage)(storage.root)
    later.append("s2", answered("r0"))
    tracemalloc.start()
    later.append("s1", answered("next"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.parametrize("name", ["a trip", "a" * 300, None])
def test_a_new_header_leaves_the_history_of_a_large_document_as_it_is(
    storage: Storage, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename of a document of 500 MB parsed all of it twice: 27 s and 3.1 GB. Now the bytes are copied."""
    storage.append("s1", question("waiting", status="unfinished"))
    storage.append("s1", answered("run-1", session_state={"number": 1}))
    storage.update("s1", name="before", tags=["a"])
    storage.append("s1", question("last", status="unfinished"))
    path = storage.path("s1")
    opening = LAYOUTS[path.suffix].opening
    history = path.read_bytes().partition(opening)[2]
    _make_all_large(monkeypatch)
    monkeypatch.setattr(document_file, "_LARGE_BLOCK", 100)
    storage = type(storage)(storage.root)
    with monkeypatch.context() as patch:
        patch.setattr(DocumentFile, "whole", None)
        storage.update("s1", name=name, add_tags=["b"])
    assert path.read_bytes().partition(opening)[2] == history
    line = storage._engine.manifest.get("s1")
    (storage.root / ".localstore/manifest.jsonl").unlink()
    fresh = type(storage)(storage.root)
    (info,) = fresh.list_sessions()
    assert (info.name, info.tags, info.runs) == (name, ("a", "b"), 3)
    made = fresh._engine.manifest.get("s1")
    assert line is not None
    assert made is not None
    assert {key: value for key, value in made.items() if key != "boot"} == line
    fresh.append("s1", answered("last"))
    fresh.append("s1", answered("waiting"))
    session = fresh.read("s1")
    assert session is not None
    assert [run.status for run in session.runs] == ["completed"] * 3

"""Several documents of one session are read as one, and the next write makes them one."""

import shutil
from pathlib import Path
from typing import Literal

import pytest

from localstore import JsonStorage, YamlStorage
from localstore.maintenance.check import check
from localstore.maintenance.upgrade import convert
from tests.unit.raw import Storage, answered, edit, question, run_ids

TIMES = [f"2026-11-22T07:0{minute}:00.000Z" for minute in range(10)]
pytestmark = pytest.mark.filterwarnings("ignore:Session .* has two documents")


def forget_the_manifest(storage: Storage) -> Storage:
    """Open the store as a process does that finds no manifest."""
    (storage.root / ".localstore/manifest.jsonl").unlink()
    return type(storage)(storage.root)


def runs_of(storage: Storage) -> list[str]:
    session = storage.read("s1")
    assert session is not None
    return [run.run_id for run in session.runs]


def copied(storage: Storage, name: str = "copy") -> Path:
    path = storage.path("s1")
    copy = path.with_name(f"{name}{path.suffix}")
    shutil.copy2(path, copy)
    return copy


def in_trash(storage: Storage, name: str) -> list[bytes]:
    return [path.read_bytes() for path in (storage.root / ".localstore" / "trash").rglob(name)]


@pytest.mark.parametrize(("source", "target"), [(JsonStorage, "yaml"), (YamlStorage, "json")])
@pytest.mark.parametrize("listed", [False, True])
def test_a_conversion_that_was_killed_hides_no_run_that_was_added_later(
    source: type[JsonStorage] | type[YamlStorage], target: Literal["json", "yaml"], listed: bool, tmp_path: Path
) -> None:
    """A conversion was killed before it removed the old document, a run was added to the new one, and the manifest was
    deleted: the older document counted, and the acknowledged run was not read."""
    storage = source(tmp_path / "store")
    for number in range(3):
        storage.append("s1", answered(f"r{number}", created_at=TIMES[number]))
    old = storage.path("s1")
    raw = old.read_bytes()
    assert convert(storage.root, target).problems == []
    old.write_bytes(raw)  # the state after a kill before it was removed
    later = source(storage.root)
    later.append("s1", answered("r3", created_at=TIMES[3]))
    later = forget_the_manifest(later)
    if listed:
        assert [info.runs for info in later.list_sessions()] == [4]
        assert later.duplicate_files() == {old: "s1"}
    assert runs_of(later) == ["r0", "r1", "r2", "r3"]
    later.list_sessions()
    with pytest.warns(UserWarning, match="was moved to"):
        later.append("s1", answered("r4", created_at=TIMES[4]))
    assert not old.exists()
    assert in_trash(later, old.name) == [raw]
    assert runs_of(forget_the_manifest(later)) == ["r0", "r1", "r2", "r3", "r4"]


def test_runs_that_only_one_of_two_documents_has_are_all_read_and_united(storage: Storage) -> None:
    """A conflict copy of a sync tool had runs of another machine. They were neither read nor named."""
    storage.append("s1", answered("r0", created_at=TIMES[0]))
    copy = copied(storage, "s1 (conflict)")
    original = storage.path("s1").read_bytes()
    storage.append("s1", answered("there", created_at=TIMES[1], session_state={"place": "there"}))
    copy.write_bytes(storage.path("s1").read_bytes())
    storage.path("s1").write_bytes(original)
    storage = forget_the_manifest(storage)
    storage.append("s1", answered("here", created_at=TIMES[2], session_state={"place": "here"}))
    storage.list_sessions()
    assert runs_of(storage) == ["r0", "there", "here"]
    last = storage.read("s1", last_runs=2)
    assert last is not None
    assert [run.run_id for run in last.runs] == ["there", "here"]
    with pytest.warns(UserWarning, match="was moved to"):
        storage.append("s1", answered("next", created_at=TIMES[3]))
    assert run_ids(storage.path("s1")) == ["r0", "there", "here", "next"]
    session = storage.read("s1")
    assert session is not None
    assert session.session_state == {"place": "here"}
    assert not copy.exists()
    assert list(check(storage)) == []


def test_two_forms_of_a_run_that_differ_keep_both_documents(storage: Storage) -> None:
    """Nothing decides which of two different texts is right: a person has to."""
    storage.append("s1", answered("r0", answer="first", created_at=TIMES[0]))
    storage.append("s1", answered("r1", answer="second", created_at=TIMES[1]))
    copy = copied(storage)
    edit(copy, "second", "edited")
    edit(copy, "first", "typed")
    raw = copy.read_bytes()
    storage.list_sessions()
    with pytest.warns(UserWarning, match="differ in run r0, run r1, so both files stay"):
        storage.append("s1", answered("r2", created_at=TIMES[2]))
    assert copy.read_bytes() == raw
    assert run_ids(storage.path("s1")) == ["r0", "r1", "r2"]
    assert "has the same session_id" in next(iter(check(storage))).problem
    storage.append("s1", answered("r3", created_at=TIMES[3]))  # and is not warned of again
    assert copy.read_bytes() == raw


def test_the_later_form_of_a_run_counts_wherever_it_is(storage: Storage) -> None:
    storage.append("s1", question("r0", created_at=TIMES[0], status="unfinished"))
    copy = copied(storage)
    storage.append("s1", answered("r0", created_at=TIMES[0]))
    finished = storage.path("s1").read_bytes()
    storage.path("s1").write_bytes(copy.read_bytes())
    copy.write_bytes(finished)
    storage = forget_the_manifest(storage)
    storage.list_sessions()
    with pytest.warns(UserWarning, match="was moved to"):
        storage.update("s1", name="trip")
    session = storage.read("s1")
    assert session is not None
    assert [run.status for run in session.runs] == ["completed"]


def test_a_document_that_cannot_be_read_is_left_alone(storage: Storage) -> None:
    storage.append("s1", answered("r0"))
    copy = copied(storage)
    storage.list_sessions()
    copy.write_bytes(b"[" + copy.read_bytes())
    raw = copy.read_bytes()
    storage.list_sessions()
    storage.append("s1", answered("r1"))
    assert copy.read_bytes() == raw
    assert run_ids(storage.path("s1")) == ["r0", "r1"]


def test_the_answer_does_not_depend_on_the_manifest(storage: Storage) -> None:
    """Without a manifest, the first path counted: a copy named `a-copy` came before the document `s1`."""
    storage.append("s1", answered("r0", created_at=TIMES[0]))
    path, copy = storage.path("s1"), copied(storage, "a-copy")
    storage.append("s1", answered("r1", created_at=TIMES[1]))
    for _ in range(2):
        opened = forget_the_manifest(storage)
        opened.list_sessions()
        assert opened.path("s1") == path
        assert opened.duplicate_files() == {copy: "s1"}
        assert runs_of(opened) == ["r0", "r1"]

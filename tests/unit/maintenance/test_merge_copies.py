"""`merge_copies` unites the copies of a session with its document, and keeps the copies in the rescue folder."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from localstore import Run, SessionNotFound
from localstore.disk import filesystem
from localstore.disk.locks import pool_of
from localstore.maintenance.check import check
from localstore.maintenance.merge_copies import LOST, MergedSession
from localstore.maintenance.repair import repair
from localstore.maintenance.rescue import rescued, restore
from tests import oracle
from tests.unit.engine.test_copies import TIMES, again, copied
from tests.unit.raw import Storage, answered, edit, parse, question, run_ids

pytestmark = pytest.mark.filterwarnings("ignore:Session .* has .*cop.* not read")


def diverged(storage: Storage, name: str = "trip (conflicted copy 2026-01-02)") -> Path:
    """Two machines added runs: r0 is on both, `here` in the document, `there` in the copy. Return the copy."""
    storage.append("trip", answered("r0", created_at=TIMES[0]))
    original = storage.path("trip").read_bytes()
    storage.append("trip", answered("there", created_at=TIMES[1], session_state={"place": "there"}))
    copy = copied(storage, name)
    storage.path("trip").write_bytes(original)
    storage = again(storage)
    storage.append("trip", answered("here", created_at=TIMES[2]))
    return copy


def merged(storage: Storage) -> MergedSession:
    (one,) = storage.merge_copies()
    return one


def test_a_copy_with_a_wrong_type_stays_and_is_named(storage: Storage) -> None:
    """A person wrote it. In the document, it would make the whole session unreadable."""
    copy = diverged(storage)
    if copy.suffix == ".json":
        edit(copy, '"session_state": {', '"steps": 5, "session_state": {')
    else:
        edit(copy, "  session_state:", "  steps: 5\n  session_state:")
    before = storage.path("trip").read_bytes()
    (one,) = merged(storage).copies
    assert one.problem is not None
    assert f"{copy}: history[there].steps: Input should be a valid list" in one.problem
    assert copy.exists()
    assert storage.path("trip").read_bytes() == before


def test_runs_of_both_files_are_in_the_document_in_their_order(storage: Storage) -> None:
    copy = diverged(storage)
    raw = copy.read_bytes()
    before = storage.path("trip").read_bytes()
    (planned,) = storage.merge_copies("trip", dry_run=True)
    assert (storage.path("trip").read_bytes(), copy.read_bytes()) == (before, raw)
    done = merged(storage)
    assert run_ids(done.path) == ["r0", "there", "here"]
    session = storage.read("trip")
    assert session is not None
    assert session.session_state == {"place": "there"}
    (one,) = done.copies
    assert (one.path, one.tool, one.summary, one.problem) == (copy, "Dropbox", "1 entry added", None)
    assert planned.copies[0].summary == one.summary
    assert one.kept is not None
    assert one.kept.read_bytes() == raw
    assert not copy.exists()
    assert storage.merge_copies() == []
    assert [finding.problem for finding in check(storage)] == ["was set aside"]
    oracle.assert_sound(storage.root)
    oracle.assert_private(storage.root)
    oracle.assert_own_layout(oracle.parse(done.path))


def test_all_copies_of_a_session_are_united(storage: Storage) -> None:
    first = diverged(storage)
    second = copied(storage, "trip 2")
    second.write_bytes(second.read_bytes().replace(b"here", b"else"))
    storage.list_sessions()
    done = merged(storage)
    assert {one.path: one.summary for one in done.copies} == {first: "1 entry added", second: "1 entry added"}
    assert sorted(run_ids(done.path)) == ["else", "here", "r0", "there"]


def test_entries_that_stay_keep_their_bytes(storage: Storage) -> None:
    copy = diverged(storage)
    if copy.suffix == ".yaml":
        edit(copy, "run_id: there\n", "run_id: there # a comment of the copy\n")
        edit(storage.path("trip"), "run_id: here\n", "run_id: here # mine\n")
    before = oracle.parse(storage.path("trip"))
    done = merged(storage)
    raw = done.path.read_bytes()
    assert [one for one in parse(done.path)["history"] if one["run_id"] != "there"] == before.history
    if copy.suffix == ".yaml":
        assert b"run_id: here # mine\n" in raw
        assert done.copies[0].kept is not None
        assert b"# a comment of the copy" in done.copies[0].kept.read_bytes()


def test_two_forms_of_a_run_are_both_kept_and_named(storage: Storage) -> None:
    storage.append("trip", answered("r0", answer="first", created_at=TIMES[0]))
    copy = copied(storage)
    edit(copy, "first", "typed")
    storage.append("trip", answered("r1", created_at=TIMES[1]))
    done = merged(storage)
    (difference,) = done.copies[0].differences
    assert (difference.what, difference.taken, difference.run_id) == ("run r0", "ours", "r0")
    assert b"first" in done.path.read_bytes()
    assert done.copies[0].kept is not None
    assert b"typed" in done.copies[0].kept.read_bytes()


def test_what_the_document_loses_is_set_aside(storage: Storage) -> None:
    """The copy has the newer history, so its form counts."""
    storage.append("trip", answered("r0", answer="first", created_at=TIMES[0]))
    before = storage.path("trip").read_bytes()
    storage.append("trip", answered("r1", created_at=TIMES[1]))
    copy = copied(storage)
    storage.path("trip").write_bytes(before)
    edit(copy, "first", "typed")
    done = merged(again(storage))
    assert done.copies[0].summary == "1 entry added, 1 changed, run r0 differs (taken from the copy)"
    assert b"typed" in done.path.read_bytes()
    (record,) = oracle.rescued(storage.root)
    assert (record["reason"], record["session_id"]) == (LOST, "trip")
    assert record["entry"]["messages"][-1]["content"] == "first"


def test_the_later_form_of_a_run_counts_wherever_it_is(storage: Storage) -> None:
    storage.append("trip", question("r0", created_at=TIMES[0], status="unfinished"))
    before = storage.path("trip").read_bytes()
    storage.append("trip", answered("r0", created_at=TIMES[0]))
    copied(storage)
    storage.path("trip").write_bytes(before)
    done = merged(again(storage))
    assert done.copies[0].differences == ()
    assert parse(done.path)["history"][0]["status"] == "completed"
    assert oracle.rescued(storage.root) == []


@pytest.mark.parametrize("name", ["trip (1)", "trip-LAPTOP", "trip.sync-conflict-20260102-101500-ABCDEFG"])
def test_a_copy_that_is_alone_gets_the_name_of_the_document(storage: Storage, name: str) -> None:
    storage.append("trip", answered("r0"))
    document = storage.path("trip")
    copy = document.rename(document.with_stem(name))
    other = document.with_stem(f"{name}-2" if "LAPTOP" in name else "trip (2)")
    shutil.copy(copy, other)
    storage = again(storage)
    (planned,) = storage.merge_copies(dry_run=True)
    assert copy.exists()
    done = merged(storage)
    assert (planned.path, planned.renamed_from) == (done.path, done.renamed_from)
    assert done.path == document
    assert done.renamed_from in (copy, other)
    assert len(done.copies) == 1
    assert oracle.document_paths(storage.root) == [document]
    for opened in (storage, type(storage)(storage.root)):
        opened.append("trip", answered(f"r{len(run_ids(document))}"))
    assert run_ids(document) == ["r0", "r1", "r2"]
    assert oracle.manifest(storage.root)["trip"]["path"] == document.relative_to(storage.root).as_posix()


def test_a_document_that_a_person_named_keeps_its_name(storage: Storage) -> None:
    storage.append("trip", answered("r0"))
    mine = storage.path("trip")
    mine = mine.rename(mine.with_stem("my trip"))
    assert again(storage).merge_copies() == []
    shutil.copy(mine, mine.with_stem("my trip - Copy"))
    assert merged(again(storage)).path == mine


def test_a_copy_of_the_other_format_is_united(storage: Storage, tmp_path: Path) -> None:
    from localstore import JsonStorage, YamlStorage

    storage.append("trip", answered("r0", created_at=TIMES[0]))
    kind = YamlStorage if storage._suffix == ".json" else JsonStorage
    other = kind(tmp_path / "other")
    other.append("trip", answered("r1", created_at=TIMES[1]), user_id=None)
    copy = Path(shutil.copy2(other.path("trip"), storage.path("trip").with_name(f"trip 2{other.path('trip').suffix}")))
    document = storage.path("trip")
    done = merged(again(storage))
    assert done.path == document
    assert run_ids(document) == ["r0", "r1"]
    assert not copy.exists()


def test_a_copy_that_cannot_be_united_stays_and_is_named(storage: Storage) -> None:
    storage.append("trip", answered("r0"))
    broken, lossy = copied(storage, "trip (1)"), copied(storage, "trip (2)")
    broken.write_bytes(b"{ broken")
    key = '"kind"' if lossy.suffix == ".json" else "kind"
    big = '"big": 12345678901234567890123,\n  ' if lossy.suffix == ".json" else "big: 12345678901234567890123\n"
    edit(lossy, f"{key}:", f"{big}{key}:")
    raw = {path: path.read_bytes() for path in (broken, lossy)}
    done = merged(again(storage))
    assert [one.path for one in done.copies] == [broken, lossy]
    assert all(one.problem for one in done.copies)
    assert {path: path.read_bytes() for path in raw} == raw
    errors = {finding.path: finding for finding in repair(storage) if finding.severity == "error"}
    assert set(errors) == {str(broken), str(lossy)}
    assert "copy of trip" in errors[str(broken)].problem
    assert {path: path.read_bytes() for path in raw} == raw


def test_a_document_that_cannot_be_read_keeps_its_copies(storage: Storage) -> None:
    storage.append("trip", answered("r0"))
    storage.append("other", answered("r0"))
    copy, other = copied(storage), storage.path("other").with_stem("other 2")
    shutil.copy(storage.path("other"), other)
    path = storage.path("trip")
    path.write_bytes(b"[")
    raw = copy.read_bytes()
    found = {one.session_id: one for one in again(storage).merge_copies()}
    assert found["other"].problem is None
    assert str(path) in str(found["trip"].problem)
    assert (path.read_bytes(), copy.read_bytes()) == (b"[", raw)
    assert not other.exists()


def test_a_hard_link_of_a_document_is_set_aside_and_not_written_to(storage: Storage) -> None:
    storage.append("trip", answered("r0"))
    path = storage.path("trip")
    os.link(path, path.with_stem("link"))
    done = merged(again(storage))
    (one,) = done.copies
    assert one.kept is not None
    raw = one.kept.read_bytes()
    storage.append("trip", answered("r1"))
    assert one.kept.read_bytes() == raw
    assert run_ids(path) == ["r0", "r1"]


def test_a_copy_that_a_sync_tool_saves_meanwhile_is_read_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is saved after it was read, before it is moved: what was saved would be in the rescue folder alone."""
    copy = diverged(storage)
    storage = again(storage)
    storage.append("other", answered("x", created_at=TIMES[5]))
    newer = copy.read_bytes().replace(b"there", b"later")
    rename = filesystem.System.rename_to_new

    def save_first(system: filesystem.System, source: str, target: str) -> None:
        if source == str(copy) and b"there" in copy.read_bytes():
            aside = copy.with_name(".saved")
            aside.write_bytes(newer)
            aside.replace(copy)
        rename(system, source, target)

    monkeypatch.setattr(filesystem.System, "rename_to_new", save_first)
    done = merged(storage)
    assert run_ids(done.path) == ["r0", "there", "later", "here"]
    assert not copy.exists()
    assert done.problems == []


def test_a_session_that_is_locked_is_named_and_the_others_are_united(storage: Storage) -> None:
    for name in ("trip", "other"):
        storage.append(name, answered("r0"))
        shutil.copy(storage.path(name), storage.path(name).with_stem(f"{name} 2"))
    opened = type(storage)(storage.root, lock_timeout=0.01)
    done = threading.Event()
    held = threading.Event()

    def hold() -> None:
        with pool_of(storage.root).session("trip", 1):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    try:
        found = {one.session_id: one for one in opened.merge_copies()}
    finally:
        done.set()
        thread.join()
    assert found["other"].problem is None
    assert "lock" in str(found["trip"].problem)
    assert [one.session_id for one in opened.merge_copies()] == ["trip"]


def test_a_copy_comes_back_from_rescue(storage: Storage) -> None:
    """A run that was taken out of the document afterwards is in the copy still."""
    diverged(storage)
    done = merged(again(storage))
    storage.remove_run("trip", "there")
    (one,) = [one for one in rescued(storage) if one.name.endswith(".copy")]
    assert (one.session_id, one.reason) == ("trip", "united with the document of its session")
    assert one.document.startswith("trip (conflicted copy")
    back = restore(storage, one.name)
    assert (back.added, back.present) == (1, 1)
    assert "there" in run_ids(done.path)


def test_a_session_that_does_not_exist_is_an_error(storage: Storage) -> None:
    with pytest.raises(SessionNotFound):
        storage.merge_copies("trip")
    storage.append("trip", Run())
    assert storage.merge_copies("trip") == []
    assert storage.merge_copies("trip", dry_run=True) == []
    with pytest.raises(TypeError, match="dry_run"):
        storage.merge_copies(dry_run="yes")  # type: ignore[arg-type]


def test_results_are_plain_values_too(storage: Storage) -> None:
    diverged(storage)
    value = json.loads(json.dumps(merged(again(storage)).as_dict()))
    assert value["session_id"] == "trip"
    assert value["copies"][0]["added"] == 1

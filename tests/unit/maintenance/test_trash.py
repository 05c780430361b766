"""The trash: documents move there and back byte for byte, never replace another file and never follow a link."""

import errno
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from localstore import (
    Conflict,
    DocumentBroken,
    JsonStorage,
    LocalstoreError,
    LockTimeout,
    NewerFormat,
    SessionNotFound,
    YamlStorage,
)
from localstore.disk import rescue_folder
from localstore.disk.locks import pool_of
from localstore.disk.trash_folder import Trashed
from localstore.maintenance.check import check
from localstore.maintenance.trash import empty, put_back, throw_away, trashed
from tests import oracle
from tests.crashes import leave_mark
from tests.unit.raw import Storage, answered, edit, manifest_lines, run_ids
from tests.unit.watched_disk import WatchedDisk

posix = pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")
Reopen = Callable[[], Storage]


@pytest.fixture
def opened(storage: Storage) -> Storage:
    storage.append("s1", answered("r1"), user_id="alice")
    storage.append("s2", answered("r1"))
    return storage


def only(items: list[Trashed]) -> Trashed:
    assert len(items) == 1, items
    return items[0]


def ids(storage: Storage) -> set[str]:
    """The ids in the store, which this storage and a new one both list."""
    found = set(storage.get_all_session_ids())
    assert found == set(type(storage)(storage.root).get_all_session_ids())
    return found


def files(root: Path) -> dict[str, bytes]:
    """Every file except locks and the index, by path."""
    return {
        str(path): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.parent.name != "locks" and not path.name.startswith(("manifest.", "index."))
    }


def test_a_document_goes_to_the_trash_and_back_as_it_is(opened: Storage, reopen: Reopen) -> None:
    path = opened.path("s1")
    os.utime(path, ns=(10**18, 10**18))
    os.chmod(path, 0o640)
    raw, before = path.read_bytes(), path.stat()
    document = path.relative_to(opened.root).as_posix()

    one = only(throw_away(opened, "s1"))
    assert (one.session_id, one.document, one.size) == ("s1", document, len(raw))
    assert Path(one.path) == opened.root / ".localstore" / "trash" / one.name / document
    assert trashed(opened.root) == [one]
    assert ids(opened) == {"s2"}
    assert opened.read("s1") is None
    there = Path(one.path).stat()
    assert Path(one.path).read_bytes() == raw
    assert (there.st_mode, there.st_mtime_ns, there.st_ino) == (before.st_mode, before.st_mtime_ns, before.st_ino)

    assert put_back(opened, one.name) == path
    after = path.stat()
    assert path.read_bytes() == raw
    assert (after.st_mode, after.st_mtime_ns, after.st_ino) == (before.st_mode, before.st_mtime_ns, before.st_ino)
    assert ids(opened) == {"s1", "s2"}
    assert list((opened.root / ".localstore" / "trash").iterdir()) == []
    for number, storage in enumerate((opened, reopen())):
        storage.append("s1", answered(f"later-{number}"), user_id="alice")
    assert run_ids(path) == ["r1", "later-0", "later-1"]
    oracle.assert_sound(opened.root)


def test_the_manifest_records_the_move(opened: Storage) -> None:
    one = only(throw_away(opened, "s1"))
    assert {"session_id": "s1", "deleted": True} in manifest_lines(opened)[-2:]
    put_back(opened, one.name)
    assert manifest_lines(opened)[-1]["path"] == one.document


def test_everything_is_durable_when_it_returns(opened: Storage, disk: WatchedDisk) -> None:
    """First the bytes, unless they are known to be durable, then the new name, then the removal of the old one."""
    throw_away(opened, "s2")
    assert "sync" not in [call.operation for call in disk.calls]
    os.utime(opened.path("s1"))  # another program may have written to it
    disk.forget()
    one = only(throw_away(opened, "s1"))
    calls = [(call.operation, call.path) for call in disk.calls if call.operation not in ("set_time", "write", "read")]
    moved = calls.index(("replace", one.path))
    assert "sync" in [operation for operation, _ in calls[:moved]]
    place = str(opened.root / Path(one.document).parent)
    assert calls[moved + 1 : moved + 3] == [("sync_folder", os.path.dirname(one.path)), ("sync_folder", place)]
    folder = Path(one.path).parent.parent  # each is a name in the one above it
    while folder != opened.root.parent:
        assert ("sync_folder", str(folder)) in calls[:moved]
        folder = folder.parent


def test_throwing_away_an_unknown_session_raises(opened: Storage) -> None:
    before = files(opened.root)
    with pytest.raises(SessionNotFound, match="'nobody'"):
        throw_away(opened, "nobody")
    with pytest.raises(FileNotFoundError, match="2026"):
        put_back(opened, "2026-11-25T004243.320Z.3cb94b2b9fb9")
    with pytest.raises(FileNotFoundError):
        put_back(opened, "../../sessions")
    assert files(opened.root) == before


def test_a_broken_document_is_moved_as_it_is(opened: Storage) -> None:
    path = opened.path("s1")
    raw = path.read_bytes().replace(b'"messages"', b'x"messages"').replace(b"  messages:", b"  [messages:")
    path.write_bytes(raw)
    one = only(throw_away(opened, "s1"))
    assert one.session_id == "s1"
    assert Path(one.path).read_bytes() == raw
    assert ids(opened) == {"s2"}
    put_back(opened, one.name)
    assert path.read_bytes() == raw
    with pytest.raises(DocumentBroken):
        opened.append("s1", answered("r2"))


def test_many_documents_are_put_back_with_few_syncs(storage: Storage, disk: WatchedDisk) -> None:
    """Each one was synced with its folders, alone: 400 took ten seconds on a busy disk."""
    names = [f"s{number}" for number in range(40)]
    for session_id in names:
        storage.append(session_id, answered("r1"))
    before = {path.name: path.read_bytes() for path in storage.root.glob("sessions/*/*")}
    moved = storage.trash(names).moved
    disk.forget()
    done = storage.restore_all(one.name for one in moved)
    assert (len(done.restored), done.problems, storage.trashed()) == (40, {}, [])
    assert len(disk.of("sync_folder")) < 40
    assert {path.name: path.read_bytes() for path in storage.root.glob("sessions/*/*")} == before
    assert ids(storage) == set(names)


def test_what_cannot_be_put_back_does_not_keep_the_others(opened: Storage) -> None:
    """Of two documents of one session, the first one is restored; a locked one waits for another call."""
    (first,) = opened.trash("s1").moved
    opened.append("s1", answered("r2"))
    (second,) = opened.trash("s1").moved
    (other,) = opened.trash("s2").moved
    impatient = type(opened)(opened.root, lock_timeout=0.01)
    missing = "2026-11-25T004243.320Z.3cb94b2b9fb9"
    with pool_of(opened.root).session("s2", 1):
        done = impatient.restore_all([missing, second.name, first.name, other.name])
    assert set(done.restored) == {second.name}
    kinds = {missing: FileNotFoundError, first.name: Conflict, other.name: LockTimeout}
    assert {name: type(error) for name, error in done.problems.items()} == kinds
    assert ids(opened) == {"s1"}
    assert run_ids(opened.path("s1")) == ["r2"]
    assert set(opened.restore_all([other.name]).restored) == {other.name}


def test_a_document_without_a_readable_id_can_be_put_back(opened: Storage) -> None:
    """Its lock is unknown, so all locks are taken."""
    path = opened.path("s1")
    path.write_bytes(b"{")
    one = only(throw_away(opened, "s1"))
    assert one.session_id == "s1"
    assert only(trashed(opened)).session_id is None
    with pool_of(opened.root).session("s2", 1), pytest.raises(LockTimeout):
        put_back(opened, one.name, lock_timeout=0.01)
    assert put_back(opened, one.name) == path
    assert path.read_bytes() == b"{"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_newer_document_is_left_alone(opened: Storage, whole: bool, known: bool) -> None:
    """Whether or not it can be parsed or has a line in the manifest."""
    path = opened.path("s1")
    edit(path, '"schema_version": 1' if path.suffix == ".json" else "schema_version: 1", '"schema_version": 99')
    if not whole:
        path.write_bytes(path.read_bytes()[:-30] + b"\n  [\n")
    if not known:
        (opened.root / ".localstore/manifest.jsonl").unlink()
    elif not whole:
        return  # what the manifest knew of it counts, and it was ours
    before = files(opened.root)
    with pytest.raises(NewerFormat, match="Nothing was changed"):
        throw_away(type(opened)(opened.root), "s1")
    assert files(opened.root) == before


def test_a_torn_document_is_repaired_before_it_leaves_the_manifest(opened: Storage) -> None:
    """Thrown away and put back, it could no longer be recognised as torn, and no run could be added to it."""
    path = opened.path("s1")
    raw = path.read_bytes()
    opened.append("s1", answered("torn", answer="long " * 2000))
    whole = path.read_bytes()
    torn = raw + whole[len(raw) : -5000]
    manifest = opened.root / ".localstore/manifest.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))
    path.write_bytes(torn)
    leave_mark(opened.root, "s1", raw, whole)
    again = type(opened)(opened.root)
    one = only(throw_away(again, "s1"))
    put_back(again, one.name)
    again.append("s1", answered("r2"))
    assert run_ids(path) == ["r1", "r2"]
    assert only_rescued(again)["text"].count("long") > 100


def only_rescued(storage: Storage) -> dict[str, Any]:
    found = oracle.rescued(storage.root)
    assert len(found) == 1
    return found[0]


def test_a_document_whose_last_sync_failed_is_rewritten_first(opened: Storage, disk: WatchedDisk) -> None:
    """A sync that succeeds now proves nothing about the pages that the system dropped."""
    path = opened.path("s1")
    disk.fail("sync", path.name)
    with pytest.raises(OSError, match="did not keep"):
        opened.append("s1", answered("r2"))
    inode = path.stat().st_ino
    one = only(throw_away(type(opened)(opened.root), "s1"))
    assert Path(one.path).stat().st_ino != inode
    assert run_ids(Path(one.path)) == ["r1", "r2"]


def test_a_document_in_another_layout_is_moved_as_it_is(opened: Storage) -> None:
    path = opened.path("s1")
    path.write_bytes(raw := b"\n" + path.read_bytes().replace(b"\n", b"\r\n"))
    one = only(throw_away(opened, "s1"))
    assert Path(one.path).read_bytes() == raw
    assert only(trashed(opened)).session_id == "s1"


def test_a_second_document_with_the_id_does_not_come_back_in_its_place(opened: Storage) -> None:
    path = opened.path("s1")
    other = path.with_name(f"copy{path.suffix}")
    other.write_bytes(path.read_bytes())
    moved = throw_away(opened, "s1")
    assert {Path(one.document).name for one in moved} == {path.name, other.name}
    assert ids(opened) == {"s2"}
    put_back(opened, moved[1].name)
    with pytest.raises(Conflict):
        put_back(opened, moved[0].name)


def test_rescue_files_stay(opened: Storage) -> None:
    name = rescue_folder.set_aside(str(opened.root), "x", "s1", "a test", {"text": "kept"}).name
    one = only(throw_away(opened, "s1"))
    empty(opened, [one])
    assert only_rescued(opened)["text"] == "kept"
    assert (opened.root / ".localstore" / "rescue" / name).exists()


@pytest.mark.parametrize("session_id", ["../up", "CON", "Ünïcode \x1b[31m\n", "a/b", "x" * 5000, "-rf"])
def test_a_session_with_any_id_goes_there_and_back(storage: Storage, session_id: str) -> None:
    storage.append(session_id, answered("r1"))
    one = only(throw_away(storage, session_id))
    assert only(trashed(storage)).session_id == session_id
    assert put_back(storage, one.name) == storage.path(session_id)


def test_nothing_is_put_back_if_the_session_exists_again(opened: Storage) -> None:
    one = only(throw_away(opened, "s1"))
    opened.append("s1", answered("new"))
    before = files(opened.root)
    with pytest.raises(Conflict, match=f"'localstore rm s1', and try again: localstore restore {one.name}") as caught:
        put_back(opened, one.name)
    assert (caught.value.session_id, caught.value.path) == ("s1", str(opened.path("s1")))
    assert files(opened.root) == before
    moved = opened.path("s1").with_name(f"elsewhere{opened.path('s1').suffix}")
    opened.path("s1").rename(moved)  # also when its file has another name
    with pytest.raises(Conflict, match="elsewhere"):
        put_back(opened, one.name)


def test_nothing_is_put_back_over_another_file(opened: Storage) -> None:
    path = opened.path("s1")
    one = only(throw_away(opened, "s1"))
    path.write_bytes(opened.path("s2").read_bytes())  # a copy, with the id of the other session
    with pytest.raises(Conflict, match="Another file is at"):
        put_back(opened, one.name)
    path.write_bytes(b"not a session")
    with pytest.raises(Conflict, match="Another file is at"):
        put_back(opened, one.name)
    assert path.read_bytes() == b"not a session"
    assert only(trashed(opened)) == one


def test_a_document_is_not_put_back_beside_an_unreadable_file_of_its_name(opened: Storage) -> None:
    path = opened.path("s1")
    one = only(throw_away(opened, "s1"))
    month = opened.root / "sessions" / "2020-01"
    month.mkdir(mode=0o700)
    (month / path.name).write_bytes(b"{")
    with pytest.raises(DocumentBroken, match="Its file name is that of session 's1'"):
        put_back(opened, one.name)


def test_a_missing_month_folder_is_created_again(opened: Storage) -> None:
    path = opened.path("s1")
    moved = [*throw_away(opened, "s1"), *throw_away(opened, "s2")]
    path.parent.rmdir()
    for one in moved:
        put_back(opened, one.name)
    assert ids(opened) == {"s1", "s2"}


def test_a_renamed_document_goes_back_to_its_name(opened: Storage) -> None:
    """A session with this file name would be created under another lock, so all locks are taken."""
    path = opened.path("s1")
    renamed = path.with_name(f"mine{path.suffix}")
    path.rename(renamed)
    one = only(throw_away(opened, "s1"))
    with pool_of(opened.root).session("mine", 1), pytest.raises(LockTimeout):
        put_back(opened, one.name, lock_timeout=0.01)
    assert put_back(opened, one.name) == renamed


def test_a_session_in_use_is_waited_for(opened: Storage) -> None:
    with pool_of(opened.root).session("s1", 1), pytest.raises(LockTimeout):
        throw_away(opened, "s1", lock_timeout=0.01)
    one = only(throw_away(opened, "s1"))
    with pool_of(opened.root).session("s1", 1), pytest.raises(LockTimeout):
        put_back(opened, one.name, lock_timeout=0.01)
    assert trashed(opened) == [one]


def test_of_several_concurrent_calls_one_succeeds(opened: Storage) -> None:
    def attempt(work: Callable[[], object]) -> bool:
        try:
            work()
        except (LocalstoreError, FileNotFoundError):
            return False
        return True

    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(attempt, [lambda: throw_away(opened.root, "s1")] * 4)) == 1
        one = only(trashed(opened))
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(attempt, [lambda: put_back(opened.root, one.name)] * 4)) == 1  # noqa: B023
        assert ids(opened) == {"s1", "s2"}


def test_a_move_is_seen_without_a_line_in_the_manifest(opened: Storage) -> None:
    """A crash leaves it like this; listings follow the files."""
    manifest = opened.root / ".localstore/manifest.jsonl"
    before = manifest.read_bytes()
    one = only(throw_away(opened, "s1"))
    manifest.write_bytes(before)
    assert "s1" in oracle.manifest(opened.root)
    assert ids(opened) == {"s2"}
    before = manifest.read_bytes()
    put_back(opened, one.name)
    manifest.write_bytes(before)
    assert ids(opened) == {"s1", "s2"}


def test_a_move_that_fails_leaves_no_folders(opened: Storage, disk: WatchedDisk) -> None:
    disk.fail("replace", opened.path("s1").name, code=errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        throw_away(opened, "s1")
    assert ids(opened) == {"s1", "s2"}
    assert list((opened.root / ".localstore" / "trash").iterdir()) == []


# Links, and what is not ours


@posix
@pytest.mark.parametrize("folder", [".localstore", ".localstore/trash"])
def test_a_trash_that_is_a_link_is_not_followed(opened: Storage, tmp_path: Path, folder: str) -> None:
    outside, inside = tmp_path / "outside", opened.root / folder
    one = only(throw_away(opened, "s2"))
    inside.rename(outside)
    inside.symlink_to(outside)
    before = files(outside)
    for work in (
        lambda: throw_away(opened, "s1"),
        lambda: trashed(opened),
        lambda: put_back(opened, one.name),
        lambda: empty(opened, [one]),
    ):
        with pytest.raises(DocumentBroken, match="symbolic link"):
            work()
    assert files(outside) == before
    assert opened.path("s1").exists()


@posix
@pytest.mark.parametrize("part", [".", "sessions", "sessions/month", "sessions/month/document"])
def test_a_link_in_the_trash_is_not_followed(opened: Storage, tmp_path: Path, part: str) -> None:
    one = only(throw_away(opened, "s1"))
    item = opened.root / ".localstore" / "trash" / one.name
    month, document = Path(one.path).parent, Path(one.path)
    inside = {".": item, "sessions": item / "sessions", "sessions/month": month}.get(part, document)
    outside = tmp_path / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    assert trashed(opened) == []
    with pytest.raises(FileNotFoundError):
        put_back(opened, one.name)
    assert empty(opened, [one]) == []
    assert outside.exists()


@posix
def test_a_document_that_became_a_link_is_not_moved(opened: Storage, tmp_path: Path) -> None:
    path = opened.path("s1")
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(LocalstoreError):
        throw_away(opened, "s1")
    assert path.is_symlink()
    assert trashed(opened) == []


@posix
def test_a_hard_link_elsewhere_stays(opened: Storage, tmp_path: Path) -> None:
    path = opened.path("s1")
    os.link(path, tmp_path / "other name")
    raw = path.read_bytes()
    one = only(throw_away(opened, "s1"))
    put_back(opened, one.name)
    opened.append("s1", answered("r2"))
    assert (tmp_path / "other name").read_bytes() == raw


@posix
def test_nothing_is_put_back_through_a_link(opened: Storage, tmp_path: Path) -> None:
    one = only(throw_away(opened, "s1"))
    throw_away(opened, "s2")
    month = opened.root / Path(one.document).parent
    month.rmdir()
    (tmp_path / "outside").mkdir()
    month.symlink_to(tmp_path / "outside")
    with pytest.raises(DocumentBroken, match="symbolic link"):
        put_back(opened, one.name)
    assert list((tmp_path / "outside").iterdir()) == []


def test_foreign_files_in_the_trash_stay(opened: Storage) -> None:
    one = only(throw_away(opened, "s1"))
    trash = opened.root / ".localstore" / "trash"
    (trash / "mine" / "sessions" / "2026-01").mkdir(parents=True)
    (trash / "mine" / "sessions" / "2026-01" / "a.json").write_text("{}")
    (trash / "notes.txt").write_text("mine")
    beside = Path(one.path).with_name("notes.txt")
    beside.write_text("mine")
    assert trashed(opened) == [one]
    assert empty(opened, trashed(opened)) == [one]
    assert beside.read_text() == "mine"
    assert {path.name for path in trash.iterdir()} == {"mine", "notes.txt", one.name}


# Emptying


def test_emptying_deletes_the_named_items_and_nothing_else(opened: Storage) -> None:
    """Items thrown away after the person confirmed stay."""
    asked = throw_away(opened, "s1")
    later = throw_away(opened, "s2")
    assert empty(opened, asked) == asked
    assert empty(opened, asked) == []
    assert trashed(opened) == later


def test_older_than_leaves_out_newer_items(opened: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 100)
    old = throw_away(opened, "s1")
    monkeypatch.setattr(time, "time", lambda: now)
    new = throw_away(opened, "s2")
    assert trashed(opened) == [*new, *old]
    assert trashed(opened, older_than=50) == old
    assert trashed(opened, older_than=10**9 * 6) == []


def test_a_check_reports_nothing_about_the_trash(opened: Storage) -> None:
    throw_away(opened, "s1")
    assert list(check(opened)) == []


def test_a_session_of_the_other_format_is_thrown_away_as_well(tmp_path: Path) -> None:
    YamlStorage(tmp_path).append("s1", answered("r1"))
    one = only(throw_away(JsonStorage(tmp_path), "s1"))
    assert one.document.endswith(".yaml")

"""Rewriting documents one by one while others change them."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localstore import LockTimeout
from localstore.disk import backup_folder, filesystem
from localstore.disk.locks import pool_of
from localstore.format.document import ParsedDocument
from localstore.maintenance.upgrade import convert
from localstore.maintenance.upgrade.apply import to_current
from localstore.maintenance.upgrade.rewriting import Rewriter
from tests import oracle
from tests.unit.maintenance.upgrade.old_folders import agno_bytes, documents_of, in_month, old_session, runs
from tests.unit.raw import Storage, answered, parse
from tests.unit.watched_disk import Call, WatchedDisk

PATHS = ["sessions/2026-11/a.json", "sessions/2026-11/b.json"]


@pytest.fixture
def old(storage: Storage) -> Path:
    """A store with two documents of version 0; the path of the first."""
    for name in ("a", "b"):
        in_month(storage, f"{name}.json", agno_bytes(old_session(name), ".json"))
    return storage.root / PATHS[0]


def rewriter(root: Path, before: Callable[[str], object] = str, *, timeout: float = 5) -> Rewriter:
    """Upgrades documents; `before` is called when one was read and is not written yet."""

    def transform(parsed: ParsedDocument, path: str) -> tuple[str, ParsedDocument] | None:
        change = to_current(parsed, path)
        before(path)
        return change

    return Rewriter(str(root), backup_folder.begin(str(root), "upgrade"), transform, timeout)


def kept(root: Path, path: str) -> Path:
    (one,) = backup_folder.listing(str(root))
    return Path(one.path) / "files" / path


def test_an_edit_that_is_saved_meanwhile_is_upgraded_and_kept(storage: Storage, old: Path) -> None:
    """In place or by rename, once or often."""
    edits = 0

    def edit(path: str) -> None:
        nonlocal edits
        if path == PATHS[0] and edits < 3:
            edits += 1
            content = old.read_text().replace("question 0", f"question 0 {edits}")
            if edits == 2:
                old.with_name("new").write_text(content)
                os.replace(old.with_name("new"), old)
            else:
                old.write_text(content)

    done = rewriter(storage.root, edit).rewrite(PATHS)
    assert (done.documents, done.problems) == (2, [])
    assert parse(old)["history"][0]["messages"][0]["content"] == "question 0 3 2 1"
    assert "question 0 3 2 1" in kept(storage.root, PATHS[0]).read_text()


def test_a_document_that_is_written_to_all_the_time_is_read_under_its_lock(storage: Storage, old: Path) -> None:
    """The writer takes the lock for each write and has to wait for the upgrade."""
    writes = 0

    def write(path: str) -> None:
        nonlocal writes
        if path == PATHS[0] and writes < 20:
            lock = pool_of(storage.root).session("a", 0.001)
            try:
                with lock:
                    writes += 1
                    old.write_bytes(old.read_bytes() + b"\n")
            except LockTimeout:
                pass

    done = rewriter(storage.root, write).rewrite(PATHS)
    assert (done.documents, done.problems) == (2, [])
    assert 4 < writes < 20
    assert kept(storage.root, PATHS[0]).read_bytes() == agno_bytes(old_session("a"), ".json") + b"\n" * writes


@pytest.mark.parametrize("when", ["before it is read", "before it is written"])
def test_a_document_that_is_deleted_meanwhile_does_not_come_back(storage: Storage, old: Path, when: str) -> None:
    """It is not reported as a problem; a version that was kept stays in the backup."""

    def delete(path: str) -> None:
        if path == PATHS[0] and when == "before it is written":
            old.unlink()

    work = rewriter(storage.root, delete)
    if when == "before it is read":
        old.unlink()
    done = work.rewrite(PATHS)
    assert (done.documents, done.problems) == (1, [])
    assert not old.exists()
    (one,) = backup_folder.listing(str(storage.root))
    assert one.documents == (2 if when == "before it is written" else 1)


def test_a_document_whose_lock_is_held_too_long_is_named(storage: Storage, old: Path) -> None:
    """The other document is rewritten."""
    before = old.read_bytes()
    with ThreadPoolExecutor(1) as other_thread, pool_of(storage.root).session("a", 1):
        done = other_thread.submit(rewriter(storage.root, timeout=0.05).rewrite, PATHS).result()
    assert (done.documents, [problem.path for problem in done.problems]) == (1, [str(old)])
    assert "locked by someone else" in done.problems[0].problem
    assert old.read_bytes() == before


@pytest.mark.parametrize("operation", ["open", "read", "write", "sync", "replace"])
def test_an_operation_that_fails_on_one_leaves_it_as_it_was(
    storage: Storage, old: Path, disk: WatchedDisk, operation: str
) -> None:
    """It is named, the other one is rewritten, and the same call does the rest later."""
    before = old.read_bytes()

    def fail(call: Call) -> None:
        name = os.path.basename(call.path)
        if call.operation == operation and "/backups/" not in call.path and name.lstrip(".").startswith("a.json"):
            raise OSError(5, "Input/output error", call.path)

    work = rewriter(storage.root)
    disk.before = fail
    done = work.rewrite(PATHS)
    assert (done.documents, [problem.path for problem in done.problems]) == (1, [str(old)])
    assert done.problems[0].problem.startswith("Input/output error")
    assert old.read_bytes() == before
    disk.before = lambda call: None
    assert rewriter(storage.root).rewrite(PATHS).documents == 1
    assert runs(storage.root, "a") == ["o0", "o1"]
    oracle.assert_no_temporary_files(storage.root)


def test_the_old_documents_are_durable_in_the_backup_before_the_first_new_one(
    storage: Storage, old: Path, disk: WatchedDisk
) -> None:
    """And the new names before the old ones go."""
    (storage.root / "flat.json").write_bytes(agno_bytes(old_session("flat"), ".json"))
    work = rewriter(storage.root)
    disk.forget()
    work.rewrite([*PATHS, "flat.json"])
    calls = [(call.operation, os.path.relpath(call.path, storage.root)) for call in disk.calls]
    backup = os.path.relpath(kept(storage.root, ""), storage.root)
    first_write = calls.index(("replace", PATHS[0]))
    for folder in (backup, f"{backup}/sessions/2026-11"):
        assert ("sync_folder", folder) in calls[:first_write]
    last_write = calls.index(("replace", "sessions/2026-11/flat.json"))
    removed = next(at for at, (done, name) in enumerate(calls) if done == "replace" and name.startswith(".flat.json."))
    assert ("sync_folder", "sessions/2026-11") in calls[last_write:removed]
    assert ("sync_folder", ".") in calls[removed:]


def test_a_current_document_stays(storage: Storage) -> None:
    """Somebody else may have upgraded it meanwhile."""
    storage.append("new", answered("r1"))
    before = documents_of(storage.root)
    path = storage.path("new").relative_to(storage.root).as_posix()
    done = rewriter(storage.root).rewrite([path])
    assert (done.documents, done.problems) == (0, [])
    assert documents_of(storage.root) == before
    assert backup_folder.listing(str(storage.root)) == []


@pytest.mark.parametrize("operation", ["replace", "unlink"])
def test_ctrl_c_in_the_moment_when_the_old_document_went_leaves_the_new_one(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Python raises KeyboardInterrupt after the system call: the session was left only in the backup."""
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    work = getattr(filesystem.System, operation)

    def interrupted(self: filesystem.System, name: str, *more: str) -> None:
        work(self, name, *more)
        if name == str(path) or os.path.basename(name).startswith(f".{path.name}."):
            raise KeyboardInterrupt

    monkeypatch.setattr(filesystem.System, operation, interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(storage, "yaml" if path.suffix == ".json" else "json")
    monkeypatch.undo()
    assert runs(storage.root, "s1") == ["r1"]
    assert len(oracle.document_paths(storage.root)) == 1

"""`repair` as a library call: it streams, holds no lock, and looks again before it changes anything."""

import os
import shutil
from pathlib import Path

import pytest

from localstore import DocumentBroken, LockTimeout, StoreNotFound
from localstore.disk import durable_files, filesystem
from localstore.disk.locks import pool_of
from localstore.engine.engine import Engine
from localstore.maintenance.check import SUPERSEDED, check
from localstore.maintenance.repair import Repairer, repair
from localstore.maintenance.rescue import rescued
from tests import oracle
from tests.crashes import restart_machine
from tests.unit.raw import Storage, answered, run_ids


@pytest.fixture
def opened(storage: Storage) -> Storage:
    storage.append("s1", answered("r1"), user_id="alice")
    return storage


def copy_of(path: Path, name: str = "copy") -> Path:
    return Path(shutil.copy2(path, path.with_stem(name)))


def tear(path: Path) -> None:
    end, torn = (b"\n  ]\n}\n", b',\n    {\n      "ty') if path.suffix == ".json" else (b"...\n", b"- type: run\n  r")
    path.write_bytes(path.read_bytes().removesuffix(end) + torn)


def repairer_of(storage: Storage, timeout: float) -> Repairer:
    return Repairer(Engine(storage.root, durable=True, timeout=timeout))


def below(storage: Storage, path: Path) -> str:
    return path.relative_to(storage.root).as_posix()


def test_no_lock_is_held_while_the_caller_looks_at_a_repair(opened: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who stops half way leaves the store usable; the next repair does the rest."""
    tear(opened.path("s1"))
    copy_of(opened.path("s1"))
    (opened.root / ".localstore/manifest.jsonl").unlink()
    restart_machine(opened.root, monkeypatch)
    steps = iter(repair(opened))
    for finding in steps:
        oracle.assert_locks_free(opened.root)
        if finding.severity == "repair":
            break
    steps.close()
    type(opened)(opened.root).append("s1", answered("r2"))
    assert [finding for finding in repair(opened) if finding.severity == "error"] == []
    assert all(finding.severity == "note" for finding in repair(opened))


def test_an_open_storage_sees_what_was_repaired(opened: Storage) -> None:
    copy = copy_of(opened.path("s1"))
    copy.write_bytes(copy.read_bytes().replace(b"r1", b"r0"))
    opened.list_sessions()
    found = [(finding.severity, finding.kind) for finding in repair(opened)]
    assert found == [("repair", "duplicate"), ("note", None)]
    assert [info.runs for info in opened.list_sessions()] == [2]
    assert opened.duplicate_files() == {}
    opened.append("s1", answered("r2"), user_id="alice")
    assert sorted(run_ids(opened.path("s1"))) == ["r0", "r1", "r2"]


@pytest.mark.parametrize("session_id", ["../x", "CON", "ünï", "x" * 10_000])
def test_copies_are_united_whatever_the_id(storage: Storage, session_id: str) -> None:
    storage.append(session_id, answered("r1"))
    path = storage.path(session_id)
    copies = [copy_of(path, "trip 2"), copy_of(path, "trip-LAPTOP")]
    path.unlink()
    planned = [finding.path for finding in repair(storage, dry_run=True) if finding.kind == "duplicate"]
    done = [finding.path for finding in repair(storage) if finding.kind == "duplicate"]
    assert done == planned == [str(copies[1])]
    assert run_ids(storage.path(session_id)) == ["r1"]
    assert len(oracle.document_paths(storage.root)) == 1
    assert {finding.severity for finding in repair(storage)} == {"note"}


def test_a_document_that_a_person_broke_meanwhile_is_not_rewritten(opened: Storage) -> None:
    path = opened.path("s1")
    path.write_bytes(b"{")
    before = path.read_bytes()
    with pytest.raises(DocumentBroken):
        repairer_of(opened, 1).rewrite_torn(below(opened, path))
    assert path.read_bytes() == before


def test_a_torn_document_that_was_repaired_or_removed_meanwhile_is_left_alone(opened: Storage) -> None:
    path = opened.path("s1")
    before = path.read_bytes()
    repairer = repairer_of(opened, 1)
    repairer.rewrite_torn(below(opened, path))
    assert path.read_bytes() == before
    path.unlink()
    repairer.rewrite_torn(below(opened, path))
    assert not path.exists()


def test_a_temporary_file_that_was_written_to_meanwhile_stays(opened: Storage) -> None:
    path = opened.path("s1")
    temporary = path.with_name(f".{path.name}.0123456789ab.tmp")
    temporary.write_bytes(b"new")
    repairer_of(opened, 1).move_leftover(below(opened, temporary))
    assert temporary.exists()
    temporary.unlink()
    repairer_of(opened, 1).move_leftover(below(opened, temporary))


def test_a_temporary_file_is_moved_under_the_lock_of_its_session(opened: Storage) -> None:
    """A writer that was suspended for a long time still holds the lock."""
    path = opened.path("s1")
    temporary = path.with_name(f".{path.name}.0123456789ab.tmp")
    temporary.write_bytes(b"old")
    os.utime(temporary, (1, 1))
    with pool_of(opened.root).session("s1", 1), pytest.raises(LockTimeout):
        repairer_of(opened, 0).move_leftover(below(opened, temporary))
    assert temporary.read_bytes() == b"old"


def test_setting_permissions_of_a_deleted_file_is_no_error(opened: Storage) -> None:
    repairer_of(opened, 1).set_mode("sessions/gone.json", 0o600)


def test_repairing_a_folder_that_is_no_store_raises(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound):
        list(repair(tmp_path / "nothing"))


def test_moving_a_file_never_replaces_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    with pytest.raises(FileExistsError):
        durable_files.move_file(str(one), str(other))
    assert (one.read_text(), other.read_text()) == ("1", "2")


def test_an_old_document_left_by_a_killed_rewrite_is_removed(opened: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the rescue folder, `rescue --restore` would bring back runs that were removed on purpose."""
    monkeypatch.setattr("localstore.maintenance.check._PATIENCE", 0.01)
    path = opened.path("s1")
    with monkeypatch.context() as patch:
        patch.setattr(filesystem.System, "unlink", lambda *_: None)
        durable_files.replace_file(str(path), [path.read_bytes()], path.lstat())
    (left,) = path.parent.glob(".*.tmp")
    found = [finding for finding in check(opened) if finding.path == str(left)]
    assert [finding.problem for finding in found] == [SUPERSEDED]
    assert [finding.advice for finding in repair(opened) if finding.path == str(left)] == ["Remove it."]
    assert not left.exists()
    assert list(rescued(opened)) == []

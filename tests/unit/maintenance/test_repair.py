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
from tests.unit.raw import Storage, answered, edit, parse, run_ids


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
    copy_of(opened.path("s1"))
    opened.list_sessions()
    assert [finding.kind for finding in repair(opened)] == ["duplicate"]
    assert sorted(info.session_id for info in opened.list_sessions()) == ["s1", "s1-2"]
    opened.append("s1-2", answered("r2"), user_id="alice")
    assert run_ids(opened.path("s1-2")) == ["r1", "r2"]
    assert run_ids(opened.path("s1")) == ["r1"]


@pytest.mark.parametrize("session_id", ["../x", "CON", "ünï", "x" * 10_000])
def test_a_copy_of_a_session_gets_a_new_id_whatever_the_id(storage: Storage, session_id: str) -> None:
    storage.append(session_id, answered("r1"))
    copy = copy_of(storage.path(session_id))
    assert [finding.severity for finding in repair(storage)] == ["repair"]
    assert not copy.exists()
    assert run_ids(storage.path(f"{session_id}-2")) == ["r1"]
    assert list(repair(storage)) == []


def test_a_copy_in_another_format_keeps_its_format(storage: Storage, tmp_path: Path) -> None:
    from localstore import JsonStorage, YamlStorage

    storage.append("s1", answered("r1"))
    other = (YamlStorage if storage._suffix == ".json" else JsonStorage)(tmp_path / "other")
    other.append("s1", answered("r9"))
    path = other.path("s1")
    shutil.copy2(path, storage.path("s1").with_suffix(path.suffix))
    assert [finding.severity for finding in repair(storage)] == ["repair"]
    assert run_ids(storage.path("s1")) == ["r1"]
    assert storage.path("s1-2").name == f"s1-2{path.suffix}"
    assert run_ids(storage.path("s1-2")) == ["r9"]


def test_a_hard_link_of_a_document_becomes_a_document_of_its_own(opened: Storage) -> None:
    """If it were written in place, both documents would get the new id."""
    path = opened.path("s1")
    os.link(path, path.with_stem("link"))
    assert [finding.kind for finding in repair(opened) if finding.severity == "repair"] == ["duplicate"]
    assert parse(opened.path("s1"))["session_id"] == "s1"
    assert parse(opened.path("s1-2"))["session_id"] == "s1-2"
    assert opened.path("s1").stat().st_nlink == 1


def test_a_document_that_is_no_longer_a_copy_is_left_alone(opened: Storage) -> None:
    """Somebody changed its id, deleted it or broke it after the check."""
    original = opened.path("s1")
    copy = copy_of(original)
    old, new = ('"s1"', '"mine"') if copy.suffix == ".json" else ("session_id: s1", "session_id: mine")
    edit(copy, old, new)
    before = copy.read_bytes()
    repairer = repairer_of(opened, 1)
    assert repairer.give_new_id(below(opened, copy), below(opened, original), "s1-2") is None
    copy.unlink()
    assert repairer.give_new_id(below(opened, copy), below(opened, original), "s1-2") is None
    copy_of(original).write_bytes(b"{")
    assert repairer.give_new_id(below(opened, copy), below(opened, original), "s1-2") is None
    assert copy.read_bytes() == b"{"
    assert before


def test_an_id_that_was_taken_meanwhile_is_not_used(opened: Storage) -> None:
    original = opened.path("s1")
    copy = copy_of(original)
    opened.append("s1-2", answered("other"))
    renamed = repairer_of(opened, 1).give_new_id(below(opened, copy), below(opened, original), "s1-2")
    assert renamed == ("s1-3", below(opened, original.with_stem("s1-3")))
    assert run_ids(opened.path("s1-2")) == ["other"]


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

"""`check` says what copying and synchronising did."""

import shutil
from pathlib import Path

from localstore import JsonStorage
from localstore.maintenance.check import check
from localstore.maintenance.finding import Finding
from tests.unit.conftest import StorageClass
from tests.unit.raw import Storage, answered


def _came_back(storage: Storage) -> list[Finding]:
    return [finding for finding in check(storage) if "is here again" in finding.problem]


def test_a_session_that_another_machine_continued_after_it_was_deleted_here_says_so(storage: Storage) -> None:
    storage.append("trip", answered("r1"))
    path = storage.path("trip")
    other = path.read_bytes()
    storage.trash("trip")
    assert _came_back(storage) == []
    path.write_bytes(other)  # a sync tool brings it
    (finding,) = _came_back(storage)
    assert (finding.severity, finding.path) == ("note", str(path))
    assert finding.problem.startswith("was moved to the trash at 20")
    assert finding.advice.endswith("To remove it again: localstore rm trip")
    session = storage.read("trip")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1"]


def test_a_new_session_with_the_id_of_one_in_the_trash_is_no_return(storage: Storage) -> None:
    storage.append("trip", answered("r1", created_at="2026-11-01T00:00:00.000Z"))
    storage.trash("trip")
    storage.append("trip", answered("r2"))
    assert _came_back(storage) == []


def test_a_session_that_was_put_back_is_no_return(storage: Storage) -> None:
    storage.append("trip", answered("r1"))
    (item,) = storage.trash("trip").moved
    storage.restore(item.name)
    assert list(check(storage)) == []


def test_machine_local_files_that_travel_are_named_with_the_rule_that_is_missing(
    storage_class: StorageClass, tmp_path: Path
) -> None:
    (tmp_path / ".stfolder").mkdir()
    storage = storage_class(tmp_path / "store")
    (finding,) = list(check(storage))
    assert (finding.severity, finding.path) == ("note", f"{storage.root}/.localstore")
    assert finding.advice == f"Add the line .localstore to {tmp_path}/.stignore on each of them."
    (tmp_path / ".stignore").write_text(".localstore\n")
    assert list(check(storage)) == []


def test_a_copy_names_its_original(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path / "original")
    shutil.copytree(storage.root, tmp_path / "copy")
    (finding,) = list(check(tmp_path / "copy"))
    assert (finding.severity, finding.kind) == ("note", "copy")
    assert finding.problem == f"is a copy of the store at {storage.root}"

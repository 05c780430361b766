"""Planning an upgrade without doing any of it."""

import os
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, StoreNotFound
from localstore.disk.locks import LockPool
from localstore.maintenance.upgrade import is_folder_of_agno, make_plan, upgrade
from tests.unit.maintenance.upgrade.old_folders import (
    agno_bytes,
    documents_of,
    folder_of_agno,
    in_month,
    newer_bytes,
    old_session,
    tree_of,
)
from tests.unit.raw import Storage, answered
from tests.unit.watched_disk import WatchedDisk


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_folder_of_agno(tmp_path: Path, suffix: str) -> None:
    """The plan has all of its sessions and names other files like them; nothing is written."""
    folder_of_agno(tmp_path, suffix=suffix)
    (tmp_path / "package.json").write_text('{"name": "mine"}')
    (tmp_path / "notes.txt").write_text("session_id memory")
    (tmp_path / ".hidden.json").write_bytes(agno_bytes(old_session(".hidden"), ".json"))
    before = tree_of(tmp_path)
    plan = make_plan(tmp_path)
    assert (plan.is_store, plan.versions, plan.was_interrupted) == (False, {0: 3}, False)
    assert plan.paths == [f"a{suffix}", f"b{suffix}", f"c{suffix}"]
    assert plan.size == sum((tmp_path / path).stat().st_size for path in plan.paths)
    assert [os.path.basename(problem.path) for problem in plan.problems] == ["package.json"]
    assert [(step.version, count) for step, count in plan.steps] == [(1, 3)]
    assert tree_of(tmp_path) == before
    assert is_folder_of_agno(tmp_path)


def test_a_store_with_documents_of_every_age(storage: Storage) -> None:
    """The plan counts each version; foreign flat files in a store are ignored."""
    storage.append("new", answered("r1"))
    in_month(storage, "old.json", agno_bytes(old_session("old"), ".json"))
    newer = in_month(storage, "newer.json", newer_bytes("newer"))
    broken = in_month(storage, "broken.json", b"{")
    (storage.root / "flat.yaml").write_bytes(agno_bytes(old_session("flat"), ".yaml"))
    (storage.root / "package.json").write_text('{"name": "mine"}')
    before = documents_of(storage.root)
    plan = make_plan(storage.root)
    assert (plan.is_store, plan.versions) == (True, {0: 2, 1: 1, 7: 1})
    assert plan.paths == ["sessions/2026-11/old.json", "flat.yaml"]
    assert [problem.path for problem in plan.problems] == [str(broken), str(newer)]
    assert "schema version 7" in plan.problems[1].problem
    assert plan.as_dict()["versions"] == {"0": 2, "1": 1, "7": 1}
    assert documents_of(storage.root) == before
    assert not is_folder_of_agno(storage.root)


def test_a_document_that_is_being_written_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: between the two writes of an append, the bytes after the old end were reported as a problem."""
    storage = JsonStorage(tmp_path)
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    whole = path.read_bytes()
    path.write_bytes(whole + b"    {\n")
    take = LockPool.session

    def wait_for_the_writer(pool: LockPool, session_id: str, timeout: float) -> Any:
        path.write_bytes(whole)
        return take(pool, session_id, timeout)

    monkeypatch.setattr(LockPool, "session", wait_for_the_writer)
    assert make_plan(tmp_path, thorough=True).problems == []


def test_current_documents_that_are_known_are_not_opened(storage: Storage, disk: WatchedDisk) -> None:
    """Their versions stand in the manifest."""
    for number in range(5):
        storage.append(f"s{number}", answered("r1"))
    make_plan(storage.root)
    disk.forget()
    assert make_plan(storage.root).versions == {1: 5}
    assert disk.of("open", name=".json") == disk.of("open", name="localstore.json")


@pytest.mark.parametrize("kind", ["missing", "empty", "a file", "somebody's"])
def test_a_folder_that_is_neither_is_refused(tmp_path: Path, kind: str) -> None:
    """The error names the path as the caller gave it."""
    folder = tmp_path / "f"
    if kind == "a file":
        folder.write_text("")
    elif kind != "missing":
        folder.mkdir()
    if kind == "somebody's":
        (folder / "x.json").write_text('{"session_id": "x"}')
    before = tree_of(tmp_path)
    with pytest.raises(StoreNotFound) as caught:
        make_plan(folder)
    assert caught.value.path == str(folder)
    assert not is_folder_of_agno(folder)
    assert tree_of(tmp_path) == before


def test_an_interrupted_upgrade_is_known(tmp_path: Path) -> None:
    """Also when all of its documents were done."""
    folder_of_agno(tmp_path / "f")

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upgrade(tmp_path / "f", progress=stop)
    plan = make_plan(tmp_path / "f")
    assert (plan.is_store, plan.was_interrupted, plan.paths) == (False, True, [])
    done = upgrade(tmp_path / "f")
    assert (done.documents, done.problems) == (0, [])
    assert done.backup is not None
    assert not make_plan(tmp_path / "f").was_interrupted
    assert {info.session_id for info in JsonStorage(tmp_path / "f").list_sessions()} == {"a", "b", "c"}


def test_a_link_to_the_store_is_followed_one_in_it_is_not(storage: Storage, tmp_path: Path) -> None:
    """As everywhere else in the package."""
    in_month(storage, "old.json", agno_bytes(old_session("old"), ".json"))
    (tmp_path / "link").symlink_to(storage.root)
    assert make_plan(tmp_path / "link").root == str(storage.root)
    (storage.root / "sessions").rename(tmp_path / "outside")
    (storage.root / "sessions").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreNotFound, match="symbolic link"):
        make_plan(storage.root)

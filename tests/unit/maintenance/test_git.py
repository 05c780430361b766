"""Setting up git for a store."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localstore import JsonStorage, LocalstoreError
from localstore.maintenance.git import lacks_driver, set_up_git
from tests.git.repository import git, needs_git
from tests.unit.raw import question

pytestmark = needs_git


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the configuration of the user who runs the tests."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


def stored(root: Path) -> JsonStorage:
    storage = JsonStorage(root)
    storage.append("trip", question("r1"))
    return storage


def test_the_second_call_changes_nothing(tmp_path: Path) -> None:
    storage = stored(tmp_path / "store")
    git(storage.root, "init", "-q")
    assert not lacks_driver(str(storage.root))
    first = set_up_git(storage)
    assert (first.wrote_attributes, first.wrote_config) == (True, True)
    files = [(storage.root / name, (storage.root / name).read_bytes()) for name in (".gitattributes", ".git/config")]
    second = set_up_git(storage.root)
    assert (second.wrote_attributes, second.wrote_config) == (False, False)
    assert all(path.read_bytes() == content for path, content in files)
    assert not lacks_driver(str(storage.root))


def test_the_attributes_are_those_of_documents_alone(tmp_path: Path) -> None:
    storage = stored(tmp_path / "store")
    git(storage.root, "init", "-q")
    set_up_git(storage)
    names = ["sessions/2026-11/a b.json", "sessions/2026-11/a.yaml", "localstore.json", "schemas/session-1.schema.json"]
    said = git(storage.root, "check-attr", "merge", "diff", "text", "--", *names).splitlines()
    assert [line.rpartition(" ")[2] for line in said] == ["localstore", "localstore", "unset"] * 2 + ["unspecified"] * 6


@pytest.mark.parametrize("before", [b"*.png binary\n", b"*.png binary", b"# caf\xe9\r\n*.png binary\r\n"])
def test_other_attributes_stay(tmp_path: Path, before: bytes) -> None:
    storage = stored(tmp_path / "store")
    git(storage.root, "init", "-q")
    (storage.root / ".gitattributes").write_bytes(before)
    set_up_git(storage)
    lines = (storage.root / ".gitattributes").read_bytes().splitlines()
    assert lines[: len(before.splitlines())] == before.splitlines()
    assert b"/sessions/*/*.json -text merge=localstore diff=localstore" in lines


def test_an_older_registration_is_replaced(tmp_path: Path) -> None:
    """The environment of Python that had registered itself may be gone."""
    storage = stored(tmp_path / "store")
    git(storage.root, "init", "-q")
    for value in ("/gone/python", "/also/gone"):
        git(storage.root, "config", "--add", "merge.localstore.driver", value)
    assert set_up_git(storage).wrote_config
    assert "gone" not in (storage.root / ".git/config").read_text()


@pytest.mark.parametrize("name", ["größe 'n' \"100%O\"", "sub/folder"])
def test_a_store_anywhere_in_a_repository(tmp_path: Path, name: str) -> None:
    """The path has blanks, quotes, letters that are not ASCII, and what git takes for a placeholder."""
    repository = tmp_path / "the repository"
    storage = stored(repository / name)
    git(repository, "init", "-q")
    assert Path(set_up_git(storage).repository) == repository.resolve()
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "first")
    git(repository, "checkout", "-qb", "side")
    storage.append("trip", question("side"))
    git(repository, "commit", "-qam", "side")
    git(repository, "checkout", "-q", "main")
    storage.append("trip", question("main"))
    git(repository, "commit", "-qam", "main")
    git(repository, "merge", "-q", "side")
    session = storage.read("trip")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1", "side", "main"]


def test_the_registered_program_runs_from_any_place(tmp_path: Path) -> None:
    """A folder `localstore` in the repository, as in that of this project, is not taken for the package."""
    storage = stored(tmp_path / "repository" / "store")
    repository = storage.root.parent
    git(repository, "init", "-q")
    set_up_git(storage)
    (repository / "localstore").mkdir()
    (repository / "localstore/__init__.py").write_text("raise SystemExit(9)")
    program = git(repository, "config", "diff.localstore.textconv").strip()
    words = ["/bin/sh", "-c", f"{program} {shlex.quote(str(storage.path('trip')))}"]
    done = subprocess.run(words, cwd=repository, env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    assert b"hello" in done.stdout


def test_a_store_without_a_repository_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = stored(tmp_path / "store")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(LocalstoreError, match=r"Git finds no repository at .*Make one with: git init"):
        set_up_git(storage)
    assert not (storage.root / ".gitattributes").exists()
    (storage.root / ".gitattributes").write_text("* merge=localstore\n")
    assert not lacks_driver(str(storage.root))


def test_a_repository_that_git_does_not_trust_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to another user. The advice was to make one."""
    storage = stored(tmp_path / "store")
    git(storage.root, "init", "-q")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(LocalstoreError, match=r"dubious ownership.* with: git config --global --add safe\.directory"):
        set_up_git(storage)
    assert not (storage.root / ".gitattributes").exists()


def test_without_git_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = stored(tmp_path / "store")
    (storage.root / ".gitattributes").write_text("* merge=localstore\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalstoreError, match="no program 'git'"):
        set_up_git(storage)
    assert not lacks_driver(str(storage.root))


def test_attributes_that_git_would_not_read_are_refused(tmp_path: Path) -> None:
    storage = stored(tmp_path / "store")
    git(storage.root, "init", "-q")
    (storage.root / ".gitattributes").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalstoreError, match="not a regular file"):
        set_up_git(storage)
    assert not (tmp_path / "elsewhere").exists()
    assert "localstore" not in (storage.root / ".git/config").read_text()


def test_a_clone_that_is_not_set_up_lacks_the_driver(tmp_path: Path) -> None:
    storage = stored(tmp_path / "store")
    git(storage.root, "init", "-q")
    set_up_git(storage)
    shutil.rmtree(storage.root / ".git")
    git(storage.root, "init", "-q")
    assert lacks_driver(str(storage.root))


def test_a_driver_that_is_gone_is_named_and_git_merges_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment was removed after it had registered itself. Our side alone stood in place of a conflict."""
    storage = stored(tmp_path / "store")
    git(storage.root, "init", "-q")
    gone = tmp_path / "it's 100% gone" / "python"
    monkeypatch.setattr(sys, "executable", str(gone))
    set_up_git(storage)
    assert lacks_driver(str(storage.root))
    git(storage.root, "add", "-A")
    git(storage.root, "commit", "-qm", "first")
    git(storage.root, "checkout", "-qb", "side")
    storage.append("trip", question("side"))
    git(storage.root, "commit", "-qam", "side")
    git(storage.root, "checkout", "-q", "main")
    storage.append("trip", question("main"))
    git(storage.root, "commit", "-qam", "main")
    git(storage.root, "merge", "side", fails=True)
    text = storage.path("trip").read_text()
    assert "<<<<<<< ours" in text
    assert '"side"' in text
    gone.parent.mkdir()
    gone.symlink_to("/bin/true")
    assert not lacks_driver(str(storage.root))

"""A store in a git repository: what is tracked, clones, and merge conflicts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localstore import DocumentBroken, JsonStorage, YamlStorage
from localstore.disk import store_tree
from tests.crashes import restart_machine
from tests.unit.raw import Storage, question

from .conftest import Command

pytestmark = [
    pytest.mark.skipif(shutil.which("git") is None, reason="needs git"),
    pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX"),
]


def git(folder: Path, *args: str, fails: bool = False) -> str:
    done = subprocess.run(
        [
            shutil.which("git") or "git",
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.com",
            "-c",
            "init.defaultBranch=main",
            *args,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
    )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=[JsonStorage, YamlStorage])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return a store that is committed to a repository."""
    made: Storage = request.param(tmp_path / "mine")
    made.append("trip", question("r1"))
    made.append("other", question("r1"))
    git(made.root, "init", "-q")
    git(made.root, "add", "-A")
    git(made.root, "commit", "-qm", "first")
    return made


def conflicting(storage: Storage, tmp_path: Path, *, in_header: bool = False) -> Path:
    """Change a session in the store and in a clone, and merge. Return the path of the document with the conflict."""
    git(tmp_path, "clone", "-q", str(storage.root), "theirs")
    theirs = type(storage)(tmp_path / "theirs")
    for store, name in ((storage, "mine"), (theirs, "theirs")):
        if in_header:
            store.update("trip", name=name)
        else:
            store.append("trip", question(name))
        git(store.root, "commit", "-qam", name)
    git(storage.root, "pull", "-q", "--no-rebase", str(theirs.root), fails=True)
    return storage.root / "sessions" / theirs.path("trip").parent.name / theirs.path("trip").name


def test_only_portable_files_are_tracked(storage: Storage) -> None:
    """`manifest.jsonl` was tracked: each read changed it, and each merge had a conflict in it."""
    month = storage.path("trip").parent.name
    documents = [f"sessions/{month}/{storage.path(name).name}" for name in ("other", "trip")]
    tracked = git(storage.root, "ls-files").splitlines()
    assert tracked == [".gitignore", "localstore.json", "schemas/session-1.schema.json", *documents]


def test_a_fresh_clone_works_and_reads_leave_it_clean(storage: Storage, tmp_path: Path, run: Command) -> None:
    """`check` failed in every clone, because git does not keep permissions."""
    clone = tmp_path / "clone"
    old = os.umask(0o022)
    try:
        git(tmp_path, "clone", "-q", str(storage.root), "clone")
    finally:
        os.umask(old)
    assert sorted(line.split("\t")[0] for line in run("ls", "--store", clone).stdout.splitlines()) == ["other", "trip"]
    assert run("show", "trip", "--store", clone).returncode == 0
    done = run("check", "--json", "--store", clone)
    assert done.returncode == 0
    assert {finding["severity"] for finding in json.loads(done.stdout)} == {"note"}
    assert git(clone, "status", "--short") == ""
    type(storage)(clone).append("trip", question("r2"))
    assert git(clone, "status", "--short").split()[0] == "M"


def test_the_ignore_file_is_made_again_and_never_changed(storage: Storage) -> None:
    """A store of an earlier release has none. A file that a person changed stays, even an empty one."""
    path = storage.root / ".gitignore"
    first = path.read_bytes()
    path.unlink()
    type(storage)(storage.root)
    assert path.read_bytes() == first
    path.write_bytes(b"")
    type(storage)(storage.root)
    assert path.read_bytes() == b""


def test_a_conflict_is_named_until_it_is_resolved(storage: Storage, tmp_path: Path, run: Command) -> None:
    """The error was about a character at some position, and a person had to find out that git had been there."""
    path = conflicting(storage, tmp_path)
    lines = path.read_text().splitlines()
    first = next(number for number, line in enumerate(lines, 1) if line.startswith("<<<<<<<"))
    with pytest.raises(DocumentBroken, match="merge conflict") as caught:
        storage.read("trip")
    assert caught.value.line == first
    assert "<<<<<<<" in str(caught.value)
    listed = run("ls", "--store", storage.root)
    assert f"line {first}: this is a merge conflict" in listed.stdout
    shown = run("show", "trip", "--store", storage.root)
    assert shown.returncode != 0
    assert f"line {first}: this is a merge conflict" in shown.stderr
    checked = run("check", "--store", storage.root)
    assert checked.returncode == 1
    assert f"{path}:{first}\terror\tthis is a merge conflict" in checked.stdout
    git(storage.root, "checkout", "--theirs", str(path))
    session = storage.read("trip")
    assert session is not None
    assert [entry.run_id for entry in session.runs] == ["r1", "theirs"]
    storage.append("trip", question("r3"))
    assert run("check", "--store", storage.root).returncode == 0


def test_a_conflict_in_the_header_keeps_the_session_listed(storage: Storage, tmp_path: Path, run: Command) -> None:
    """The session vanished from the listing of a new clone, because its id could not be read."""
    path = conflicting(storage, tmp_path, in_header=True)
    (storage.root / ".localstore/manifest.jsonl").unlink()
    done = run("ls", "--store", storage.root)
    assert any(line.startswith("trip\t") and "merge conflict" in line for line in done.stdout.splitlines())
    assert path.read_text().count("<<<<<<<") == 1


def test_a_conflict_is_not_taken_for_the_work_of_a_power_cut(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the machine, the next write "repaired" the document and took both sides out of it."""
    relaxed = type(storage)(storage.root, durability="relaxed")
    relaxed.append("trip", question("r2"))
    git(storage.root, "commit", "-qam", "second")
    path = conflicting(relaxed, tmp_path)
    before = path.read_bytes()
    restart_machine(storage.root, monkeypatch)
    opened = type(storage)(storage.root)
    with pytest.raises(DocumentBroken, match="merge conflict"):
        opened.append("trip", question("r9"))
    assert path.read_bytes() == before


def test_an_undone_upgrade_leaves_no_ignore_file(tmp_path: Path) -> None:
    """`remove_marker` turns the folder into an ordinary one again, except for a file that a person changed."""
    root = store_tree.open_store(tmp_path / "store", create=True)
    assert store_tree.remove_marker(root)
    assert not (root / ".gitignore").exists()

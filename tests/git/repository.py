"""Repositories with a store in them, driven by the real git in a clean environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localstore.maintenance.check import check
from localstore.maintenance.finding import Finding
from localstore.maintenance.git import set_up_git
from tests.unit.raw import Storage

needs_git = [
    pytest.mark.skipif(shutil.which("git") is None, reason="needs git"),
    pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX"),
]
_PEOPLE = {
    f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "a"), ("EMAIL", "a@b.c"))
}


def git_environment() -> dict[str, str]:
    """The environment of this process with neither the user's configuration of git nor a repository that is open."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, **_PEOPLE, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_EDITOR": "true"}


def git(folder: Path, *args: str | Path, fails: bool = False, private: bool = True) -> str:
    """Run git and return what it prints, errors included. `fails` says whether its exit code must not be 0.

    With `private`, its files have the modes of a store, so that `check` has nothing to say about them.
    """
    done = subprocess.run(
        [shutil.which("git") or "git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *args],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=git_environment(),
        umask=0o077 if private else 0o022,
        check=False,
    )
    assert (done.returncode != 0) is fails, done.stdout
    return done.stdout


def commit(storage: Storage, message: str) -> None:
    """Commit everything in the store."""
    git(storage.root, "add", "-A")
    git(storage.root, "commit", "-qm", message)


def put_under_git(storage: Storage) -> None:
    """Make a repository of the store, set it up, and commit it."""
    git(storage.root, "init", "-q")
    set_up_git(storage)
    commit(storage, "first")


def cloned(storage: Storage, name: str, *options: str) -> Storage:
    """A clone of the store beside it, set up."""
    folder = storage.root.parent / name
    git(storage.root.parent, "clone", "-q", *options, storage.root, name)
    set_up_git(folder)
    return type(storage)(folder)


def problems(storage: Storage) -> list[Finding]:
    """What a check says of a store whose sessions were listed."""
    storage.list_sessions()
    return list(check(storage))

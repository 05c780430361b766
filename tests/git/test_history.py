"""Git changes the documents of an open store: checkout, rebase, cherry-pick, stash, bisect, clones and worktrees."""

from __future__ import annotations

import subprocess
import sys

from localstore.maintenance.git import set_up_git
from tests.effort import ci_only
from tests.unit.raw import Storage, answered, edit, in_our_layout, run_ids

from .repository import cloned, commit, git, git_environment, needs_git, problems

pytestmark = needs_git


def ids(storage: Storage) -> list[str]:
    session = storage.read("trip")
    assert session is not None
    return [run.run_id for run in session.runs]


def ids_in_a_new_process(storage: Storage) -> list[str]:
    script = "import sys, localstore; print(*[r.run_id for r in localstore.JsonStorage(sys.argv[1]).read('trip').runs])"
    words = [sys.executable, "-W", "error", "-c", script, str(storage.root)]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=git_environment()).stdout.split()


def diverged(storage: Storage) -> None:
    """Two branches, `main` and `side`, with a run of their own in the same session; `main` is checked out."""
    git(storage.root, "checkout", "-qb", "side")
    storage.append("trip", answered("side"))
    commit(storage, "side")
    git(storage.root, "checkout", "-q", "main")
    storage.append("trip", answered("main"))
    commit(storage, "main")


def test_an_open_store_follows_a_checkout_of_an_old_commit(storage: Storage) -> None:
    first = git(storage.root, "rev-parse", "HEAD").strip()
    storage.append("trip", answered("r2"))
    storage.append("new", answered("r1"))
    commit(storage, "second")
    git(storage.root, "checkout", "-q", first)
    assert ids(storage) == ids_in_a_new_process(storage) == ["r1"]
    assert storage.read("new") is None
    assert [info.session_id for info in storage.list_sessions()] == ["other", "trip"]
    git(storage.root, "checkout", "-q", "main")
    assert ids(storage) == ids_in_a_new_process(storage) == ["r1", "r2"]
    assert {info.session_id for info in storage.list_sessions()} == {"new", "other", "trip"}
    storage.append("trip", answered("r3"))
    assert run_ids(storage.path("trip")) == ["r1", "r2", "r3"]
    assert problems(storage) == []


def test_a_rebase_keeps_the_runs_of_both_branches(storage: Storage) -> None:
    diverged(storage)
    storage.append("trip", answered("main2"))
    commit(storage, "main2")
    git(storage.root, "rebase", "-q", "side")
    assert ids(storage) == ["r1", "side", "main", "main2"]
    assert in_our_layout(storage.path("trip"))
    assert git(storage.root, "log", "--format=%s").split() == ["main2", "main", "side", "first"]


@ci_only
def test_a_picked_commit_brings_its_run_alone(storage: Storage) -> None:
    """The runs that stood before it on the other branch are known to the common version, and do not come along."""
    diverged(storage)
    git(storage.root, "checkout", "-q", "side")
    storage.append("trip", answered("side2"))
    commit(storage, "side2")
    git(storage.root, "checkout", "-q", "main")
    git(storage.root, "cherry-pick", "side")
    assert ids(storage) == ["r1", "main", "side2"]


@ci_only
def test_a_stash_comes_back_beside_new_runs(storage: Storage) -> None:
    storage.append("trip", answered("stashed"))
    git(storage.root, "stash")
    assert ids(storage) == ["r1"]
    storage.append("trip", answered("r2"))
    commit(storage, "second")
    git(storage.root, "stash", "pop")
    assert ids(storage) == ["r1", "stashed", "r2"]
    assert git(storage.root, "stash", "list") == ""


@ci_only
def test_a_revert_takes_out_its_run_alone(storage: Storage) -> None:
    storage.append("trip", answered("r2"))
    commit(storage, "second")
    storage.append("trip", answered("r3"))
    commit(storage, "third")
    git(storage.root, "revert", "--no-edit", "HEAD~1")
    assert ids(storage) == ["r1", "r3"]


@ci_only
def test_bisect_finds_the_commit_of_a_run(storage: Storage) -> None:
    first = git(storage.root, "rev-parse", "HEAD").strip()
    for number in range(2, 9):
        storage.append("trip", answered(f"r{number}"))
        commit(storage, f"commit of r{number}")
    script = "import sys, localstore; s = localstore.JsonStorage('.').read('trip'); sys.exit(len(s.runs) > 5)"
    git(storage.root, "bisect", "start", "HEAD", first)
    said = git(storage.root, "bisect", "run", sys.executable, "-c", script)
    assert "commit of r6" in said.partition("is the first bad commit")[2]
    git(storage.root, "bisect", "reset")
    assert len(ids(storage)) == 8
    assert git(storage.root, "status", "--short") == ""


def test_a_clone_works_at_once_and_is_named_until_it_is_set_up(storage: Storage) -> None:
    folder = storage.root.parent / "clone"
    git(storage.root.parent, "clone", "-q", storage.root, folder)
    clone = type(storage)(folder)
    assert ids(clone) == ["r1"]
    clone.append("trip", answered("r2"))
    month = storage.path("trip").parent.name
    assert git(folder, "status", "--short").split() == ["M", f"sessions/{month}/{storage.path('trip').name}"]
    found = problems(clone)
    assert [(finding.severity, finding.path) for finding in found] == [("note", f"{clone.root}/.gitattributes")]
    assert "localstore git init" in found[0].advice
    set_up_git(clone)
    assert problems(clone) == []


@ci_only
def test_git_never_changes_the_ends_of_lines(storage: Storage) -> None:
    """A clone with `core.autocrlf`, the default on Windows, rewrote every document."""
    clone = cloned(storage, "clone", "-c", "core.autocrlf=true")
    assert clone.path("trip").read_bytes() == storage.path("trip").read_bytes()
    clone.append("trip", answered("r2"))
    commit(clone, "second")
    git(storage.root, "pull", "-q", clone.root, "main")
    assert storage.path("trip").read_bytes() == clone.path("trip").read_bytes()


@ci_only
def test_a_worktree_is_a_store_of_its_own_and_merges_too(storage: Storage) -> None:
    folder = storage.root.parent / "tree"
    git(storage.root, "worktree", "add", "-q", "-b", "side", folder)
    tree = type(storage)(folder)
    tree.append("trip", answered("side"))
    commit(tree, "side")
    assert ids(storage) == ["r1"]
    storage.append("trip", answered("main"))
    commit(storage, "main")
    assert problems(tree) == []
    git(folder, "merge", "-q", "main")
    assert ids(tree) == ["r1", "side", "main"]
    assert set_up_git(tree).wrote_config is False


@ci_only
def test_a_shallow_clone_merges_what_it_pulls(storage: Storage) -> None:
    storage.append("trip", answered("r2"))
    commit(storage, "second")
    folder = storage.root.parent / "shallow"
    git(storage.root.parent, "clone", "-q", "--depth=1", f"file://{storage.root}", folder)
    set_up_git(folder)
    shallow = type(storage)(folder)
    assert git(folder, "log", "--format=%s").split() == ["second"]
    shallow.append("trip", answered("shallow"))
    commit(shallow, "shallow")
    storage.append("trip", answered("r3"))
    commit(storage, "third")
    git(folder, "pull", "-q", "--no-rebase", "--no-edit")
    assert ids(shallow) == ["r1", "r2", "shallow", "r3"]


@ci_only
def test_unrelated_histories_come_together(storage: Storage) -> None:
    """Two people put copies of one store under git, each on their own: there is no common version."""
    theirs = cloned(storage, "theirs")
    git(theirs.root, "checkout", "-q", "--orphan", "alone")
    theirs.append("trip", answered("theirs"))
    commit(theirs, "alone")
    storage.append("trip", answered("mine"))
    commit(storage, "mine")
    git(storage.root, "pull", "-q", "--no-rebase", "--no-edit", "--allow-unrelated-histories", theirs.root, "alone")
    assert ids(storage) == ["r1", "theirs", "mine"]


def test_a_diff_shows_runs(storage: Storage) -> None:
    storage.append("trip", answered("r2", "Which train?", "The one\nat 7:58."))
    said = git(storage.root, "diff")
    assert [line for line in said.splitlines() if line.startswith("+ ")] == [
        "+  user",
        "+    Which train?",
        "+  assistant",
        "+    The one",
        "+    at 7:58.",
    ]
    path = storage.path("trip")
    edit(path, "Which train?", "Which\ttrain?" if path.suffix == ".yaml" else "Which bus?")
    assert "@@ run  r1" in git(storage.root, "diff", "--unified=0") or "@@ -" in said
    path.write_text("{ broken")
    assert "+{ broken" in git(storage.root, "diff")

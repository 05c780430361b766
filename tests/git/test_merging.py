"""Branches, clones and commits of a store come together in git."""

from __future__ import annotations

import json
import subprocess

import pytest

from localstore import DocumentBroken
from localstore.maintenance.check import check
from localstore.maintenance.repair import repair
from tests.effort import ci_only
from tests.unit.raw import Storage, answered, edit, in_our_layout, question, rescued, run_ids

from .repository import cloned, commit, git, needs_git, problems

pytestmark = needs_git


def branch(storage: Storage, name: str = "side") -> None:
    git(storage.root, "checkout", "-qb", name)


def back(storage: Storage) -> None:
    git(storage.root, "checkout", "-q", "main")


def ids(storage: Storage, session_id: str = "trip") -> list[str]:
    session = storage.read(session_id)
    assert session is not None
    return [run.run_id for run in session.runs]


def test_two_branches_with_new_runs_merge_without_a_conflict(storage: Storage) -> None:
    """They always had a conflict, and `merge=union` made a broken document."""
    branch(storage)
    storage.append("trip", answered("side"))
    commit(storage, "side")
    side = storage.path("trip").read_bytes()
    back(storage)
    storage.append("trip", answered("main"))
    commit(storage, "main")
    git(storage.root, "merge", "-q", "side")
    assert ids(storage) == ["r1", "side", "main"]
    assert in_our_layout(storage.path("trip"))
    assert storage.path("trip").read_bytes().startswith(side.removesuffix(b"\n  ]\n}\n").removesuffix(b"...\n"))
    assert git(storage.root, "status", "--short") == ""
    storage.append("trip", answered("r2"))
    assert run_ids(storage.path("trip")) == ["r1", "side", "main", "r2"]
    assert problems(storage) == []


def test_a_run_that_both_branches_changed_is_a_conflict_of_this_run(storage: Storage) -> None:
    storage.append("trip", answered("r2", answer="first"))
    storage.append("trip", answered("r3"))
    commit(storage, "second")
    path = storage.path("trip")
    branch(storage)
    edit(path, "first", "theirs")
    commit(storage, "side")
    back(storage)
    edit(path, "first", "ours")
    storage.append("trip", answered("r4"))
    commit(storage, "main")
    said = git(storage.root, "merge", "side", fails=True)
    assert "both sides changed run r2" in said
    assert f"CONFLICT (content): Merge conflict in sessions/{path.parent.name}/{path.name}" in said
    lines = path.read_text().splitlines()
    start, middle, end = (
        next(number for number, line in enumerate(lines) if line.startswith(mark))
        for mark in ("<<<<<<< ours: run r2", "=======", ">>>>>>> theirs: run r2")
    )
    between = "\n".join(lines[start : end + 1])
    assert all(f"r{number}" not in between.replace("run r2", "") for number in (1, 3, 4))
    with pytest.raises(DocumentBroken, match="merge conflict") as caught:
        storage.read("trip")
    assert caught.value.line == start + 1
    path.write_text("\n".join([*lines[:start], *lines[middle + 1 : end], *lines[end + 1 :], ""]))
    commit(storage, "resolved")
    assert ids(storage) == ["r1", "r2", "r3", "r4"]
    assert in_our_layout(path)
    assert "theirs" in path.read_text()


@pytest.mark.parametrize("is_last", [True, False])
def test_a_conflict_is_mended_and_the_other_form_is_kept(storage: Storage, is_last: bool) -> None:
    path = storage.path("trip")
    branch(storage)
    edit(path, "good day", "good evening")
    commit(storage, "side")
    back(storage)
    edit(path, "good day", "good night")
    if not is_last:
        storage.append("trip", answered("r2"))
    commit(storage, "main")
    git(storage.root, "merge", "side", fails=True)
    conflicted = path.read_text()
    assert [finding.kind for finding in check(storage) if finding.severity == "error"] == ["conflict"]
    assert next(finding.severity for finding in repair(storage, dry_run=True)) == "repair"
    assert path.read_text() == conflicted
    first, *_ = repair(storage)
    assert "Both changed run r1" in first.advice
    assert ids(storage) == ["r1"] if is_last else ["r1", "r2"]
    kept = path.read_text() + json.dumps(rescued(storage))
    assert "good evening" in kept
    assert "good night" in kept
    assert in_our_layout(path)
    assert [finding.severity for finding in check(storage)] == ["note"]


@pytest.mark.parametrize("style", ["merge", "diff3", "zdiff3"])
def test_conflicts_of_git_without_the_driver_are_mended(storage: Storage, style: str) -> None:
    """Of an older git, or of a clone that was not set up. Nothing is set aside, as all of it is in the document."""
    (storage.root / ".gitattributes").unlink()
    commit(storage, "no driver")
    branch(storage)
    storage.append("trip", answered("side"))
    storage.append("trip", question("side2", "why?"))
    storage.update("trip", name="Vienna")
    commit(storage, "side")
    back(storage)
    storage.append("trip", answered("main"))
    commit(storage, "main")
    git(storage.root, "-c", f"merge.conflictStyle={style}", "merge", "side", fails=True)
    assert [finding.severity for finding in repair(storage)] == ["repair"]
    assert ids(storage) == ["r1", "side", "side2", "main"]
    session = storage.read("trip")
    assert session is not None
    assert session.name == "Vienna"
    assert rescued(storage) == []
    assert problems(storage) == []


def test_a_union_of_lines_is_mended_where_the_runs_are_whole(storage: Storage) -> None:
    """`merge=union` writes the lines of both sides: here, two names. One is taken, and both are kept."""
    (storage.root / ".gitattributes").write_text("*.json merge=union\n*.yaml merge=union\n")
    commit(storage, "union")
    branch(storage)
    storage.update("trip", name="Vienna")
    commit(storage, "side")
    back(storage)
    storage.update("trip", name="Berlin")
    storage.append("trip", answered("r2"))
    commit(storage, "main")
    git(storage.root, "merge", "-q", "side")
    text = storage.path("trip").read_text()
    assert [(one.severity, one.kind) for one in problems(storage)] == [("error", "conflict")]
    first, *_ = repair(storage)
    assert "Both changed name" in first.advice
    session = storage.read("trip")
    assert session is not None
    assert session.name in ("Berlin", "Vienna")
    assert ids(storage) == ["r1", "r2"]
    assert in_our_layout(storage.path("trip"))
    assert [one["text"] for one in rescued(storage)] == [text]


@ci_only
def test_a_union_that_cut_a_run_in_two_is_left_alone(storage: Storage) -> None:
    (storage.root / ".gitattributes").write_text("*.json merge=union\n*.yaml merge=union\n")
    commit(storage, "union")
    branch(storage)
    storage.append("trip", answered("side"))
    commit(storage, "side")
    back(storage)
    storage.append("trip", answered("main"))
    commit(storage, "main")
    git(storage.root, "merge", "-q", "side")
    text = storage.path("trip").read_text()
    assert [(one.severity, one.kind) for one in repair(storage)] == [("error", None)]
    assert storage.path("trip").read_text() == text


@ci_only
def test_a_conflict_that_cannot_be_read_is_left_alone(storage: Storage) -> None:
    path = storage.path("trip")
    branch(storage)
    edit(path, "good day", 'good "evening')
    commit(storage, "side")
    back(storage)
    edit(path, "good day", 'good "night')
    commit(storage, "main")
    git(storage.root, "merge", "side", fails=True)
    text = path.read_text()
    if path.suffix == ".yaml":  # there, a quote is part of a text
        text = text.replace("role: user", "role: user\n   wrong: [")
        path.write_text(text)
    found = list(repair(storage))
    assert [(finding.severity, finding.kind) for finding in found] == [("error", None)]
    assert "merge conflict" in found[0].problem
    assert path.read_text() == text


def test_a_broken_version_is_merged_line_by_line_as_git_does(storage: Storage) -> None:
    path = storage.path("trip")
    branch(storage)
    edit(path, "good day", "good evening")
    commit(storage, "side")
    back(storage)
    path.write_text("{ broken\n" + path.read_text())
    commit(storage, "main")
    said = git(storage.root, "merge", "side")
    assert "line by line" in said
    assert path.read_text().startswith("{ broken\n")
    assert "good evening" in path.read_text()


@ci_only
def test_a_version_of_a_newer_release_is_merged_line_by_line(storage: Storage) -> None:
    path = storage.path("trip")
    key = "schema_version: 1" if path.suffix == ".yaml" else '"schema_version": 1'
    edit(path, key, key[:-1] + "99")
    commit(storage, "newer")
    branch(storage)
    edit(path, "good day", "good evening")
    commit(storage, "side")
    back(storage)
    edit(path, "hello", "hi")
    commit(storage, "main")
    said = git(storage.root, "merge", "side")
    assert "schema version 99" in said
    assert "good evening" in path.read_text()


@ci_only
def test_both_branches_make_the_same_session(storage: Storage) -> None:
    """Git has no common version of it then."""
    branch(storage)
    storage.append("new", answered("side"))
    commit(storage, "side")
    back(storage)
    storage.append("new", answered("main"))
    storage.update("new", tags=["a"])
    commit(storage, "main")
    git(storage.root, "merge", "-q", "side")
    assert sorted(ids(storage, "new")) == ["main", "side"]
    assert in_our_layout(storage.path("new"))


def test_a_session_that_one_branch_removed_and_the_other_continued_stays(storage: Storage) -> None:
    path = storage.path("trip")
    branch(storage)
    storage.delete_session("trip")
    commit(storage, "side")
    back(storage)
    storage.append("trip", answered("r2"))
    commit(storage, "main")
    said = git(storage.root, "merge", "side", fails=True)
    assert "CONFLICT (modify/delete)" in said
    assert ids(storage) == ["r1", "r2"]
    assert run_ids(path) == ["r1", "r2"]


@ci_only
def test_a_document_that_one_branch_renamed_gets_the_runs_of_the_other(storage: Storage) -> None:
    path = storage.path("trip")
    branch(storage)
    moved = path.with_name(f"vienna{path.suffix}")
    git(storage.root, "mv", path, moved)
    commit(storage, "side")
    back(storage)
    storage.append("trip", answered("main"))
    commit(storage, "main")
    git(storage.root, "merge", "-q", "side")
    assert not path.exists()
    assert ids(storage) == ["r1", "main"]
    assert storage.path("trip") == moved


def test_two_sessions_are_not_merged_although_git_takes_them_for_one(storage: Storage) -> None:
    """One branch removes a session and makes a similar one: to git, that is a new name of the document."""
    path = storage.path("trip")
    branch(storage)
    storage.delete_session("trip")
    storage.append("berlin", answered("r9"))
    commit(storage, "side")
    back(storage)
    storage.append("trip", answered("main"))
    commit(storage, "main")
    said = git(storage.root, "-c", "merge.renames=true", "merge", "-Xfind-renames=30", "side", fails=True)
    assert "they are two" in said
    assert ids(storage, "berlin") == ["r9"]
    command = said.partition("get the other one with: ")[2].partition("\n")[0]
    subprocess.run(["/bin/sh", "-c", command], cwd=storage.root, check=True)
    assert run_ids(path) == ["r1", "main"]


@ci_only
def test_a_header_that_both_branches_changed_has_the_later_value(storage: Storage) -> None:
    branch(storage)
    storage.update("trip", name="Vienna", tags=["a"])
    commit(storage, "side")
    back(storage)
    storage.update("trip", name="Berlin")
    storage.append("trip", answered("r2"))
    commit(storage, "main")
    said = git(storage.root, "merge", "side")
    assert 'both sides changed name. It is now "Berlin", and was "Vienna" on the other side.' in said
    session = storage.read("trip")
    assert session is not None
    assert (session.name, session.tags) == ("Berlin", ["a"])


@ci_only
def test_branches_that_were_merged_into_each_other_merge_again(storage: Storage) -> None:
    """They have two versions in common. Git merges these first, which leaves a conflict in the common version."""
    path = storage.path("trip")
    branch(storage)
    edit(path, "good day", "good evening")
    storage.append("trip", answered("side"))
    commit(storage, "side")
    back(storage)
    edit(path, "good day", "good night")
    storage.append("trip", answered("main"))
    commit(storage, "main")
    tips = {name: git(storage.root, "rev-parse", name).strip() for name in ("main", "side")}
    for name, other in (("main", "side"), ("side", "main")):
        git(storage.root, "checkout", "-q", name)
        git(storage.root, "merge", tips[other], fails=True)
        assert "repair" in {finding.severity for finding in repair(storage)}
        storage.append("trip", answered(f"more-{name}"))
        commit(storage, f"{other} into {name}")
    git(storage.root, "merge", "-q", "main")
    assert ids(storage) == ["r1", "side", "main", "more-main", "more-side"]


@ci_only
def test_ten_rounds_of_pulling_agree(storage: Storage) -> None:
    """Two clones append to one session in each round, and both have the same bytes after it."""
    theirs = cloned(storage, "theirs")
    git(storage.root, "config", "receive.denyCurrentBranch", "updateInstead")
    expected = ["r1"]
    for number in range(10):
        for store in (storage, theirs):
            name = f"{store.root.name}-{number}"
            store.append("trip", answered(name))
            expected.append(name)
            commit(store, name)
        git(theirs.root, "pull", "-q", "--no-rebase", "--no-edit")
        git(theirs.root, "push", "-q")
        assert storage.path("trip").read_bytes() == theirs.path("trip").read_bytes()
    assert ids(storage) == ids(theirs) == expected
    assert in_our_layout(storage.path("trip"))
    assert problems(storage) == problems(theirs) == []

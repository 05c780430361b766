"""`localstore merge`: unite the copies of sessions that sync tools made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localstore import JsonStorage, Run
from tests import oracle

from .conftest import Command
from .test_check import document, posix, state_of
from .test_rescue import Invoke


def conflict_copy(store: Path, name: str = "graz-1 (conflicted copy 2026-01-06)") -> Path:
    """Leave a copy with other runs than the document, as Dropbox does."""
    path = document(store)
    copy = path.with_stem(name)
    copy.write_text(path.read_text().replace('"run_id": "', '"run_id": "other-'))
    copy.chmod(0o600)
    return copy


def test_copies_are_united_and_kept(run: Command, store: Path) -> None:
    copy = conflict_copy(store)
    raw = copy.read_bytes()
    before = state_of(store / "sessions")
    planned = run("merge", "--dry-run", "--store", store)
    assert state_of(store / "sessions") == before
    line = ["graz-1", str(copy), "Dropbox", "1 entry added"]
    assert (planned.returncode, planned.stderr) == (0, "localstore: 1 copy would be merged\n")
    assert planned.stdout == "\t".join([*line, ""]) + "\n"
    done = run("merge", "--store", store)
    assert (done.returncode, done.stderr) == (0, "localstore: 1 copy merged\n")
    *cells, kept = done.stdout.removesuffix("\n").split("\t")
    assert cells == line
    assert Path(kept).read_bytes() == raw
    assert Path(kept).parent == store / ".localstore" / "rescue"
    assert len(oracle.parse(document(store)).run_ids) == 2
    assert run("merge", "--store", store).stderr == "localstore: No session has a copy.\n"


@posix
@pytest.mark.parametrize("columns", [40, 100])
def test_a_terminal_wraps_what_was_merged(store: Path, columns: int) -> None:
    from .pseudo_terminal import on_terminal

    conflict_copy(store)
    screen = on_terminal("merge", cwd=store, columns=columns)
    text = " ".join(screen.text.split())
    assert text.startswith("graz-1: merged graz-1 (conflicted copy 2026-01-06).json (Dropbox): 1 entry added kept for")
    assert screen.lines[-1] == "1 copy merged"
    assert all(len(line) <= columns for line in screen.lines)


def test_the_result_is_json_on_request(invoke: Invoke, store: Path) -> None:
    copy = conflict_copy(store)
    (merged,) = json.loads(invoke("merge", "--json", "--store", store).stdout)
    assert (merged["session_id"], merged["path"]) == ("graz-1", str(document(store)))
    (one,) = merged["copies"]
    assert (one["path"], one["added"], one["differences"]) == (str(copy), 1, [])


def test_a_copy_that_stays_is_named(run: Command, store: Path) -> None:
    copy = conflict_copy(store)
    copy.write_text("{ broken")
    done = run("merge", "--store", store)
    assert (done.returncode, done.stderr) == (1, "localstore: 1 problem\n")
    session, path, _, added, why = done.stdout.removesuffix("\n").split("\t")
    assert (session, path, added) == ("graz-1", str(copy), "")
    assert why.startswith(f"{copy}, line 1")
    assert copy.read_text() == "{ broken"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", " is empty. Nothing was changed. If a sync tool is still bringing the file"),
        ("\0\0\0", " has nothing but NUL bytes. Nothing was changed. If a sync tool is still bringing the file"),
        ("{\n<<<<<<< ours\n=======\n>>>>>>> theirs\n}\n", ", line 2: this is a merge conflict of git"),
    ],
)
def test_a_copy_that_stays_has_the_reason_that_check_gives(run: Command, store: Path, content: str, why: str) -> None:
    """For a placeholder of a sync tool, `merge` said `Expecting value`, and to fix it in an editor."""
    copy = conflict_copy(store)
    copy.write_text(content)
    assert f"{copy}{why}" in run("merge", "--store", store).stdout


def test_a_copy_without_a_document_is_renamed(run: Command, store: Path) -> None:
    path = document(store)
    copy = path.rename(path.with_stem("graz-1-LAPTOP"))
    done = run("merge", "--store", store)
    assert (done.returncode, done.stderr) == (0, "localstore: 1 document renamed\n")
    assert done.stdout == f"graz-1\t{copy}\t\t\t{path}\n"
    assert document(store) == path
    assert JsonStorage(store).path("graz-1") == path


def test_copies_are_named_by_ls_and_show(run: Command, store: Path) -> None:
    copy = conflict_copy(store)
    listed = run("ls", "--store", store)
    note = f"localstore: {copy} is a copy of session 'graz-1', and is not read. 'localstore merge' unites them"
    assert note in listed.stderr
    shown = run("show", "graz-1", "--store", store)
    assert f"Session 'graz-1' has a copy, which is not read: {copy}." in shown.stderr
    assert "other-" not in shown.stdout
    for number in range(5):
        conflict_copy(store, f"graz-1 ({number})")
    notes = run("ls", "--store", store).stderr
    assert "6 files are copies of sessions, and are not read: " in notes
    assert "and 3 more" in notes
    assert notes.count("\n") == 1


def test_a_copy_that_cannot_be_read_is_named_with_its_session(run: Command, store: Path) -> None:
    copy = conflict_copy(store)
    copy.write_text("{ broken")
    notes = run("ls", "--store", store).stderr
    assert notes.startswith(f"localstore: {copy} is a copy of session 'graz-1'")
    assert notes.count("\n") == 1
    checked = run("check", "--store", store)
    assert "It seems to be a copy of graz-1.json (a copy made by Dropbox)" in checked.stdout


# Another store


def test_another_store_is_merged(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    """A dry run says what would be done; a second merge has nothing to do."""
    other = tmp_path / "other"
    invoke("copy", store, other)
    JsonStorage(other).append("graz-1", Run(run_id="new"), user_id="alice")
    JsonStorage(other).append("only there", Run(run_id="o1"))
    for options, line in (
        (["--dry-run"], "Would merge 1 new session and what is new in 1 session (2 runs). 2 sessions had nothing new."),
        ([], "Merged 1 new session and what is new in 1 session (2 runs). 2 sessions had nothing new."),
        ([], "Merged 0 new sessions (0 runs). 4 sessions had nothing new."),
    ):
        done = invoke("merge", other, *options, "--store", store)
        assert (done.exit_code, done.stdout, done.stderr) == (0, f"{line}\n", "")
    assert oracle.parse(document(store)).run_ids[-1] == "new"


def test_what_became_of_deleted_sessions_is_said(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    """One stays in the trash, and one comes back with the run that only the other store has."""
    other = tmp_path / "other"
    invoke("copy", store, other)
    JsonStorage(store).trash(["graz-1", "linz-1"])
    JsonStorage(other).append("linz-1", Run(run_id="new"))
    done = invoke("merge", other, "--store", store)
    assert done.exit_code == 0
    assert done.stderr == (
        "localstore: session 'graz-1' stays in the trash: the other store has nothing more of it.\n"
        "localstore: session 'linz-1' comes back from the trash, because the other store has more of it.\n"
    )
    assert done.stdout == "Merged 1 new session (2 runs). 1 session had nothing new.\n"


def test_different_forms_and_what_is_not_merged_are_named(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    """The exit code is 1 if a session is left out. JSON has the same facts."""
    other = tmp_path / "other"
    invoke("copy", store, other)
    JsonStorage(store).update("linz-1", name="here")
    JsonStorage(other).update("linz-1", name="there")
    path = JsonStorage(other).path("graz-1")
    path.write_bytes(b"{")
    done = invoke("merge", other, "--json", "--store", store)
    assert done.exit_code == 1
    assert "localstore: session 'linz-1': name is different in both stores. This store " in done.stderr
    assert f"localstore: Not merged: session 'graz-1': {path}, line 1" in done.stderr
    result = json.loads(done.stdout)
    assert [one["what"] for one in result["differences"]] == ["name"]
    assert [one["session_id"] for one in result["skipped"]] == ["graz-1"]


def test_another_store_that_is_none_is_refused(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    for other, code, problem in (
        (tmp_path / "nowhere", 3, "OTHER_STORE names"),
        (store, 2, "OTHER_STORE is the store itself"),
        ("", 3, "OTHER_STORE names ''"),
    ):
        done = invoke("merge", other, "--store", store)
        assert (done.exit_code, problem in done.stderr) == (code, True), done.stderr

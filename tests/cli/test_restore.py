"""`localstore restore`: list and restore what is in the trash and the rescue folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run
from localstore.disk import filesystem
from localstore.maintenance.trash import throw_away, trashed
from tests import oracle

from .conftest import Command
from .read_only import ReadOnlySystem
from .test_check import document, state_of
from .test_rescue import keep_run, leave, run_ids

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")


def throw(store: Path, session_id: str = "graz-1") -> str:
    """Move a session to the trash. Return its name there."""
    (one,) = throw_away(store, session_id)
    time.sleep(0.002)  # the next one is younger
    return one.name


def test_nothing_to_restore(run: Command, store: Path, tmp_path: Path) -> None:
    """The standard error says so, also in an empty store, and of each kind."""
    JsonStorage(tmp_path / "empty")
    for root in (store, tmp_path / "empty"):
        before = state_of(root)
        done = run("restore", "--store", root)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "localstore: There is nothing in the trash.\n")
        assert run("restore", "--kind", "rescue", "--json", "--store", root).stdout == "[]\n"
        assert run("restore", "--all", "--store", root).stderr == "localstore: There is nothing in the trash.\n"
        none = run("restore", "--kind", "backup", "--store", root)
        assert (none.returncode, none.stderr) == (0, "localstore: There is nothing in the backups.\n")
        assert state_of(root) == before


def test_each_kind_has_its_list_newest_first(invoke: Invoke, store: Path) -> None:
    """A line has kind, name, session, time, content and bytes. Listing changes nothing."""
    kept, thrown, left, last = keep_run(store), throw(store, "linz-1"), leave(store), throw(store)
    before = state_of(store)
    done = invoke("restore", "--store", store)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:3] for row in rows] == [["trash", last, "graz-1"], ["trash", thrown, "linz-1"]]
    assert done.stderr == (
        "localstore: 2 items are in the rescue folder. 'localstore restore --kind rescue' lists them.\n"
    )
    others = invoke("restore", "--kind", "rescue", "--store", store)
    assert others.stderr == ""
    rows += [line.split("\t") for line in others.stdout.splitlines()]
    assert [row[:3] for row in rows[2:]] == [["rescue", left, "graz-1"], ["rescue", kept, "graz-1"]]
    assert all(len(row[3]) == len("2026-01-05T10:00:00.000Z") for row in rows)
    assert [row[4] for row in rows] == [
        "sessions/2026-01/graz-1.json",
        "sessions/2026-01/linz-1.yaml",
        "left from a write that was cut off",
        "its document could not be written",
    ]
    as_json = json.loads(invoke("restore", "--json", "--store", store).stdout)
    assert [[str(value) for value in one.values()] for one in as_json] == rows[:2]
    assert list(as_json[0]) == ["kind", "name", "session_id", "when", "why", "size"]
    assert state_of(store) == before


@pytest.mark.parametrize("how", ["name", "beginning", "id"])
def test_a_document_goes_back(invoke: Invoke, store: Path, how: str) -> None:
    """A document is found by its name in the list, the beginning of the name, or its session."""
    path = document(store)
    raw = path.read_bytes()
    name = throw(store)
    done = invoke("restore", {"name": name, "beginning": name[:12], "id": "graz-1"}[how], "--store", store)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"graz-1 is back: {path}\n", "")
    assert path.read_bytes() == raw
    assert trashed(store) == []


def test_as_json(invoke: Invoke, store: Path) -> None:
    path = document(store)
    name = throw(store)
    done = invoke("restore", name, "--json", "--store", store)
    assert json.loads(done.stdout) == [{"name": name, "session_id": "graz-1", "path": str(path)}]


@pytest.mark.parametrize("how", ["name", "id"])
def test_a_rescued_run_goes_back(invoke: Invoke, store: Path, how: str) -> None:
    """It works as with `rescue NAME --restore`."""
    name = keep_run(store)
    done = invoke("restore", "--kind", "rescue", name if how == "name" else "graz-1", "--store", store)
    assert (done.exit_code, done.stdout) == (0, f"{name}: 1 entry put back into graz-1, file removed\n")
    assert run_ids(store)[-1] == "kept"


def test_a_rescued_run_needs_its_session(invoke: Invoke, store: Path) -> None:
    """The error says what to do. Once the document is restored, the run can be restored too."""
    kept, thrown = keep_run(store), throw(store)
    refused = invoke("restore", "--kind", "rescue", kept, "--store", store)
    assert refused.exit_code == 3
    assert "Put its document back" in refused.stderr
    assert invoke("restore", thrown, "--store", store).exit_code == 0
    assert invoke("restore", "--kind", "rescue", kept, "--store", store).exit_code == 0
    assert run_ids(store)[-1] == "kept"


def test_a_rescued_run_becomes_another_session_or_is_copied_to_a_file(
    invoke: Invoke, store: Path, tmp_path: Path
) -> None:
    """It could go back into its own session alone. An existing session is never added to."""
    kept = keep_run(store)
    file = store / ".localstore" / "rescue" / kept
    copied = invoke("restore", "--kind", "rescue", kept, "--to", tmp_path / "copy.json", "--store", store)
    assert (copied.exit_code, (tmp_path / "copy.json").read_bytes()) == (0, file.read_bytes())
    before = state_of(store)
    refused = invoke("restore", "--kind", "rescue", kept, "--to", "linz-1", "--store", store)
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "There is a session 'linz-1', at " in refused.stderr
    assert state_of(store) == before
    done = invoke("restore", "--kind", "rescue", kept, "--to", "new", "--store", store)
    assert (done.exit_code, done.stdout) == (0, f"{kept}: 1 entry put back into new, file removed\n")
    assert run_ids(store, "new") == ["kept"]
    assert "kept" not in run_ids(store)


def test_a_session_with_several_items_is_ambiguous(invoke: Invoke, store: Path) -> None:
    """The exit code is 3, and the names are listed. Items of another kind do not count."""
    keep_run(store)
    names = [throw(store)]
    JsonStorage(store).append("graz-1", Run(run_id="new"))
    names.append(throw(store))
    before = state_of(store)
    done = invoke("restore", "graz-1", "--store", store)
    assert (done.exit_code, done.stdout) == (3, "")
    assert "2 items belong to session 'graz-1'. Give the name of one:" in done.stderr
    assert all(f"  {name}  (" in done.stderr for name in names)
    assert state_of(store) == before


def test_what_is_of_another_kind_is_named_and_not_restored(invoke: Invoke, store: Path) -> None:
    name = keep_run(store)
    before = state_of(store)
    for text in (name, "graz-1"):
        done = invoke("restore", text, "--store", store)
        assert (done.exit_code, done.stdout) == (3, "")
        assert f"Restore it with: localstore restore --kind rescue {text}\n" in done.stderr
    assert state_of(store) == before


def test_several_documents_or_all_of_them(invoke: Invoke, store: Path) -> None:
    """One line. Of two documents of one session, the newest is restored, and the other one is named."""
    before = oracle.sessions(store)
    invoke("rm", "graz-1", "linz-1", "vienna-trip", "--store", store)
    done = invoke("restore", "graz-1", "linz-1", "linz-1", "--store", store)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "2 sessions are back\n", "")
    old = throw(store)
    JsonStorage(store).append("graz-1", Run(run_id="new"))
    throw(store)
    everything = invoke("restore", "--all", "--store", store)
    assert (everything.exit_code, everything.stdout) == (4, "2 sessions are back\n")
    assert "Session 'graz-1' is in the store again" in everything.stderr
    assert oracle.sessions(store).keys() == before.keys()
    assert run_ids(store) == ["new"]
    assert [one.name for one in trashed(store)] == [old]


def test_a_document_becomes_another_session(invoke: Invoke, store: Path) -> None:
    """Only its id changes. An id that exists is refused."""
    for session_id in ("graz-1", "linz-1"):
        raw = document(store, session_id).read_bytes()
        name = throw(store, session_id)
        for taken in ("vienna-trip",):
            refused = invoke("restore", name, "--to", taken, "--store", store)
            assert (refused.exit_code, refused.stdout) == (4, "")
            assert "Choose another id" in refused.stderr
        new = f'another: {session_id} "x"'
        done = invoke("restore", name, "--to", new, "--store", store)
        assert (done.exit_code, done.stderr) == (0, "")
        path = document(store, new)
        assert done.stdout == f"{new} is back: {path}\n"
        lines = zip(path.read_bytes().splitlines(), raw.splitlines(), strict=True)
        assert [b"session_id" in after for after, before in lines if after != before] == [True]
    assert trashed(store) == []
    assert set(oracle.sessions(store)) == {"vienna-trip", 'another: graz-1 "x"', 'another: linz-1 "x"'}


def test_a_copy_leaves_the_document_in_the_trash(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    raw = document(store).read_bytes()
    name = throw(store)
    target = tmp_path / "copy.json"
    done = invoke("restore", name, "--to", target, "--store", store)
    assert (done.exit_code, done.stdout) == (0, f"A copy of graz-1 is in {target}\n")
    assert target.read_bytes() == raw
    again = invoke("restore", name, "--to", target, "--store", store)
    assert (again.exit_code, again.stdout) == (2, "")
    assert [one.name for one in trashed(store)] == [name]


def test_a_backup_is_undone_by_its_name_alone_and_after_a_question(invoke: Invoke, store: Path) -> None:
    """A loop over names does not undo one."""
    invoke("convert", "graz-1", "--to", "yaml", "--store", store)
    backup = json.loads(invoke("backups", "--json", "--store", store).stdout)[0]["name"]
    listed = invoke("restore", "--kind", "backup", "--store", store)
    assert listed.stdout.startswith(f"backup\t{backup}\t\t")
    before = state_of(store)
    for args, code in (
        ((backup,), 3),
        (("--kind", "backup", backup[:12]), 3),
        (("--kind", "backup", backup), 2),
        (("--kind", "backup", "--all"), 2),
        (("--kind", "backup", backup, backup), 2),
    ):
        done = invoke("restore", *args, "--store", store)
        assert (done.exit_code, done.stdout) == (code, ""), args
    assert state_of(store) == before
    done = invoke("restore", "--kind", "backup", backup, "--yes", "--store", store)
    assert (done.exit_code, done.stdout) == (0, f"Restored 1 document of backup {backup}.\n")
    assert document(store).suffix == ".json"


@pytest.mark.parametrize(
    "args",
    [
        ("x", "--all"),
        ("x", "--yes"),
        ("--to", "y"),
        ("x", "y", "--to", "z"),
        ("x", "--to", ""),
        ("x", "--kind", "backup", "--to", "y"),
        ("--all", "--kind", "rescue", "--to", "y"),
        ("--kind", "nothing"),
    ],
)
def test_wrong_usage(invoke: Invoke, store: Path, args: tuple[str, ...]) -> None:
    throw(store)
    before = state_of(store)
    done = invoke("restore", *args, "--store", store)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore restore --help'.\n")
    assert state_of(store) == before


@pytest.mark.parametrize(("name", "code"), [("nonsense", 3), ("20", 3), ("../sessions", 3), ("", 2)])
def test_an_unknown_or_ambiguous_name(invoke: Invoke, store: Path, name: str, code: int) -> None:
    throw(store)
    throw(store, "linz-1")
    done = invoke("restore", name, "--store", store)
    assert (done.exit_code, done.stdout) == (code, "")


def test_an_existing_session_is_not_replaced(run: Command, store: Path) -> None:
    """The error says how to move the existing session to the trash first."""
    path = document(store)
    old = path.read_bytes()
    name = throw(store)
    JsonStorage(store).append("graz-1", Run(run_id="new", messages=[Message(role="user", content="again")]))
    new = document(store).read_bytes()
    refused = run("restore", name, "--store", store)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert document(store).read_bytes() == new
    make_room = refused.stderr.partition("'localstore ")[2].partition("'")[0].split()
    assert make_room == ["rm", "graz-1"]
    assert run(*make_room, "--store", store).returncode == 0
    again = refused.stderr.rpartition("localstore ")[2].split()
    assert run(*again, "--store", store).returncode == 0
    assert document(store).read_bytes() == old
    assert Path(trashed(store)[0].path).read_bytes() == new


def test_a_read_only_store(invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = throw(store)
    monkeypatch.setattr(filesystem, "system", ReadOnlySystem())
    assert name in invoke("restore", "--store", store).stdout
    done = invoke("restore", name, "--store", store)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (5, "", 1)
    assert len(trashed(store)) == 1


@posix
def test_a_trash_that_became_a_link(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    """The link is not followed, and the error names it."""
    name = throw(store)
    trash = store / ".localstore" / "trash"
    trash.rename(tmp_path / "outside")
    trash.symlink_to(tmp_path / "outside")
    for args in ((), (name,)):
        done = invoke("restore", *args, "--store", store)
        assert (done.exit_code, done.stdout) == (4, "")
        assert f"{trash} is a symbolic link" in done.stderr


def test_control_characters_in_names_reach_no_terminal(invoke: Invoke, store: Path) -> None:
    """Control characters in ids and file names are escaped."""
    path = document(store)
    path.rename(path.with_name("odd\x1b[31m.json"))
    throw(store)
    listed = invoke("restore", "--store", store).stdout
    assert "sessions/2026-01/odd\\x1b[31m.json" in listed
    assert "\x1b" not in invoke("restore", "--json", "--store", store).stdout
    assert "\x1b" not in invoke("restore", "graz-1", "--store", store).stdout
    assert "graz-1" in oracle.sessions(store)


@posix
@pytest.mark.parametrize("columns", [40, 120])
def test_the_list_on_a_terminal(store: Path, columns: int) -> None:
    """The table fits any width and shows relative times. Names are whole: their ends, which differ, were cut off."""
    from .pseudo_terminal import on_terminal

    keep_run(store)
    throw(store)
    screen = on_terminal("restore", cwd=store, columns=columns)
    assert screen.code == 0
    assert ("bytes" in screen.lines[0]) == (columns == 120)
    assert ("just now" in screen.text) == (columns == 120)
    assert "…" not in screen.lines[1].split()[0]
    assert all(len(line) <= columns for line in screen.lines[:2])

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
    """The standard error says so, also in an empty store."""
    JsonStorage(tmp_path / "empty")
    for root in (store, tmp_path / "empty"):
        before = state_of(root)
        done = run("restore", "--store", root)
        said = "localstore: Nothing to restore: the trash and the rescue folder are empty, and there are no backups.\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, "", said)
        assert run("restore", "--json", "--store", root).stdout == "[]\n"
        assert state_of(root) == before


def test_one_list_newest_first(invoke: Invoke, store: Path) -> None:
    """A line has kind, name, session, time, content and bytes. Listing changes nothing."""
    kept, thrown, left, last = keep_run(store), throw(store, "linz-1"), leave(store), throw(store)
    before = state_of(store)
    done = invoke("restore", "--store", store)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:3] for row in rows] == [
        ["trash", last, "graz-1"],
        ["rescue", left, "graz-1"],
        ["trash", thrown, "linz-1"],
        ["rescue", kept, "graz-1"],
    ]
    assert all(len(row[3]) == len("2026-01-05T10:00:00.000Z") for row in rows)
    assert [row[4] for row in rows] == [
        "sessions/2026-01/graz-1.json",
        "left from a write that was cut off",
        "sessions/2026-01/linz-1.yaml",
        "its document could not be written",
    ]
    as_json = json.loads(invoke("restore", "--json", "--store", store).stdout)
    assert [[str(value) for value in one.values()] for one in as_json] == rows
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
    done = invoke("restore", name if how == "name" else "graz-1", "--store", store)
    assert (done.exit_code, done.stdout) == (0, f"{name}: 1 entry put back into graz-1, file removed\n")
    assert run_ids(store)[-1] == "kept"


def test_a_rescued_run_needs_its_session(invoke: Invoke, store: Path) -> None:
    """The error says what to do. Once the document is restored, the run can be restored too."""
    kept, thrown = keep_run(store), throw(store)
    refused = invoke("restore", kept, "--store", store)
    assert refused.exit_code == 3
    assert "Put its document back" in refused.stderr
    assert invoke("restore", thrown, "--store", store).exit_code == 0
    assert invoke("restore", kept, "--store", store).exit_code == 0
    assert run_ids(store)[-1] == "kept"


def test_a_session_with_several_items_is_ambiguous(invoke: Invoke, store: Path) -> None:
    """The exit code is 3, and the names are listed."""
    names = [keep_run(store), throw(store)]
    before = state_of(store)
    done = invoke("restore", "graz-1", "--store", store)
    assert (done.exit_code, done.stdout) == (3, "")
    assert "2 items belong to session 'graz-1'. Give the name of one:" in done.stderr
    assert all(f"  {name}  (" in done.stderr for name in names)
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
    """The table fits any width and shows relative times."""
    from .pseudo_terminal import on_terminal

    keep_run(store)
    throw(store)
    screen = on_terminal("restore", cwd=store, columns=columns)
    assert screen.code == 0
    assert ("kind" in screen.lines[0]) == (columns == 120)
    assert "just now" in screen.text
    assert all(len(line) <= columns for line in screen.lines)

"""`localstore backups`: list backups, show one, delete them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage
from localstore.maintenance.upgrade import convert, upgrade

from .agno_folders import folder_of_agno, into_a_closed_pipe, tree_of
from .conftest import Command

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(os.name != "posix", reason="pipes and terminals of POSIX")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with two backups."""
    root = folder_of_agno(tmp_path / "f")
    upgrade(root)
    convert(root, "yaml", ["a"])
    return root


def names(root: Path) -> list[str]:
    """Return the names of the backups, newest first."""
    return sorted(os.listdir(root / ".localstore" / "backups"), reverse=True)


def test_a_pipe_gets_one_line_per_backup_newest_first(run: Command, root: Path) -> None:
    """A line has the name, the action, the time, the number of documents and the bytes."""
    done = run("backups", "--store", root)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == names(root)
    assert [(row[1], row[3]) for row in rows] == [("convert to yaml", "1"), ("upgrade", "3")]
    assert [row[2].replace(":", "") for row in rows] == names(root)
    backup = root / ".localstore" / "backups" / names(root)[1]
    assert int(rows[1][4]) == sum(path.stat().st_size for path in (backup / "files").iterdir())
    value = json.loads(run("backups", "--json", "--store", root).stdout)
    assert [(one["name"], one["finished"]) for one in value] == [(name, True) for name in names(root)]


def test_the_documents_of_a_backup_are_listed(run: Command, root: Path) -> None:
    """A backup is found by its name or the beginning of its name."""
    newest, oldest = names(root)
    done = run("backups", oldest, "--store", root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a.json\nb.json\nc.json\n", "")
    assert run("backups", newest[:-1], "--store", root).stdout == "sessions/2026-11/a.json\n"
    value = json.loads(run("backups", oldest, "--json", "--store", root).stdout)
    assert (value["name"], value["paths"]) == (oldest, ["a.json", "b.json", "c.json"])


@posix
def test_a_terminal_gets_a_table(root: Path, tmp_path: Path) -> None:
    """The table marks a backup whose upgrade was interrupted."""
    from .pseudo_terminal import on_terminal

    about = root / ".localstore" / "backups" / names(root)[0] / "backup.json"
    about.write_text(about.read_text().replace("true", "false", 1))
    screen = on_terminal("backups", "--store", root, cwd=tmp_path)
    assert screen.code == 0
    assert "documents" in screen.lines[0]
    assert "convert to yaml (interrupted)" in screen.text
    assert all(name in screen.text for name in names(root))


def test_a_store_without_backups(run: Command, store: Path) -> None:
    """The standard error says that there are none; the output is empty."""
    done = run("backups", "--store", store)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "localstore: This store has no backups.\n")
    assert run("backups", "--json", "--store", store).stdout == "[]\n"
    assert run("backups", "--prune", "--keep", "0", "--yes", "--store", store).returncode == 0
    assert run("backups", "2026", "--store", store).returncode == 3


@pytest.mark.parametrize(
    "args",
    [("",), ("--keep", "1"), ("--yes",), ("--prune",), ("x", "--prune", "--keep", "1"), ("--prune", "--keep", "-1")],
)
def test_wrong_usage(run: Command, root: Path, args: tuple[str, ...]) -> None:
    """The error is one line that names the help, and nothing is deleted."""
    before = tree_of(root)
    done = run("backups", *args, "--store", root)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore backups --help'.\n")
    assert tree_of(root) == before


def test_without_a_terminal_deleting_needs_yes(run: Command, root: Path) -> None:
    """Without a terminal to ask on, nothing is deleted unless `--yes` is given."""
    newest, oldest = names(root)
    refused = run("backups", oldest, "--prune", "--store", root)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--yes" in refused.stderr
    assert names(root) == [newest, oldest]
    documents = tree_of(root / "sessions")
    done = run("backups", oldest, "--prune", "--yes", "--store", root)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"deleted {oldest}\n", "")
    assert names(root) == [newest]
    assert tree_of(root / "sessions") == documents
    value = json.loads(run("backups", "--prune", "--keep", "0", "--yes", "--json", "--store", root).stdout)
    assert [one["name"] for one in value] == [newest]
    assert names(root) == []
    assert {info.session_id for info in JsonStorage(root).list_sessions()} == {"a", "b", "c"}


def test_keep_deletes_all_but_the_newest(run: Command, root: Path) -> None:
    """If fewer backups exist, nothing is deleted."""
    newest, _ = names(root)
    kept = run("backups", "--prune", "--keep", "5", "--yes", "--store", root)
    assert kept.stderr == "localstore: Nothing to delete.\n"
    assert run("backups", "--prune", "--keep", "1", "--yes", "--store", root).returncode == 0
    assert names(root) == [newest]


@posix
@pytest.mark.parametrize("answer", ["y\n", "n\n", "\n", "\x04"])
def test_a_terminal_asks_before_deleting(root: Path, tmp_path: Path, answer: str) -> None:
    """Only the answer yes deletes."""
    import pty

    from .conftest import ENTRY_POINT, clean_environment

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [ENTRY_POINT, "backups", "--prune", "--keep", "0", "--store", root],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=clean_environment(TERM="xterm"),
        start_new_session=True,
    )
    os.close(theirs)
    asked = b""
    while b"permanently?" not in asked:
        asked += os.read(ours, 1024)
    assert b"Delete 4 documents of backup " in asked
    os.write(ours, answer.encode())
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    if answer == "y\n":
        assert (process.returncode, out.count(b"deleted")) == (0, 2)
        assert names(root) == []
    else:
        assert (process.returncode, out) == (130, b"")
        assert len(names(root)) == 2


@posix
def test_a_closed_pipe(root: Path, tmp_path: Path) -> None:
    """A closed pipe causes no traceback."""
    for args in ((), ("--json",), (names(root)[0],)):
        code, errors = into_a_closed_pipe(["backups", *args, "--store", root], tmp_path)
        assert (code, errors) == (141, "")

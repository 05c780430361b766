"""`localstore upgrade`: wiring, output, exit codes, signals."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage
from tests.effort import ci_only, rounds, sampled

from .agno_folders import agno_bytes, folder_of_agno, in_month, into_a_closed_pipe, old_session, tree_of
from .conftest import ENTRY_POINT, Command, clean_environment

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and terminals of POSIX")


@pytest.fixture
def agno(tmp_path: Path) -> Path:
    return folder_of_agno(tmp_path / "my sessions")


def add_odd_ones(root: Path) -> list[Path]:
    """Add two documents that cannot be upgraded to a store."""
    storage = JsonStorage(root)
    broken = in_month(storage, "broken.json", b'{\n  "session_id": "broken",\n  "kind" "agent"\n}\n')
    wrong = in_month(storage, "wrong.json", agno_bytes({**old_session("wrong"), "user_id": 5}, ".json"))
    return [broken, wrong]


def test_a_folder_of_agno(run: Command, agno: Path) -> None:
    """The result goes to the standard output, the undo command to the standard error. It works as printed."""
    before = tree_of(agno)
    done = run("upgrade", agno)
    assert (done.returncode, done.stdout) == (0, "Upgraded 3 documents to version 1.\n")
    (name,) = os.listdir(agno / ".localstore" / "backups")
    undo = f"localstore upgrade --undo '{agno}'"
    assert done.stderr == f"localstore: The old documents are in backup {name}. Undo with: {undo}\n"
    assert run("ls", "--store", agno).stdout.count("\n") == 3
    again = run("upgrade", agno)
    assert (again.returncode, again.stdout, again.stderr) == (0, "Nothing to do.\n", "")
    back = subprocess.run(undo.replace("localstore", str(ENTRY_POINT), 1), shell=True, capture_output=True, text=True)  # noqa: S602
    assert (back.returncode, back.stdout, back.stderr) == (0, f"Restored 3 documents of backup {name}.\n", "")
    assert tree_of(agno) == before


def test_inside_the_folder_without_a_name(run: Command, agno: Path, store: Path) -> None:
    """If the working directory is a folder of agno, it comes before a store above it."""
    inner = folder_of_agno(store / "inner", ["x"])
    assert run("upgrade", cwd=agno).stdout == "Upgraded 3 documents to version 1.\n"
    assert run("upgrade", cwd=inner).stdout == "Upgraded 1 document to version 1.\n"
    assert run("upgrade", cwd=store).stdout == "Nothing to do.\n"
    assert run("upgrade", "--undo", cwd=inner).returncode == 0
    assert (inner / "x.json").exists()


def test_the_folder_comes_from_option_or_environment(run: Command, agno: Path, tmp_path: Path) -> None:
    """`--store` and LOCALSTORE_DIR work as for every other command."""
    assert run("upgrade", "--dry-run", "--store", agno).returncode == 0
    assert run("--store", agno, "upgrade", "--dry-run").returncode == 0
    assert run("upgrade", "--dry-run", env={"LOCALSTORE_DIR": str(agno)}).returncode == 0
    shutil.copytree(agno, tmp_path / "other")
    assert "other" in run("upgrade", tmp_path / "other", env={"LOCALSTORE_DIR": str(agno)}).stderr


def test_a_dry_run_changes_nothing(run: Command, agno: Path) -> None:
    """A pipe gets rows with the number of documents at each version, and the steps that would run."""
    before = tree_of(agno)
    done = run("upgrade", agno, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "version\t0\t3\nstep\t1\tSessions of agno 1.x become localstore documents\t3\n"
    plan = json.loads(run("upgrade", agno, "--dry-run", "--json").stdout)
    assert (plan["versions"], plan["documents"], plan["problems"]) == ({"0": 3}, 3, [])
    assert plan["store"] == str(agno)
    assert tree_of(agno) == before


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_a_diff_that_patch_takes(run: Command, agno: Path, tmp_path: Path) -> None:
    """The diff goes into the pipe byte for byte."""
    shutil.copytree(agno, tmp_path / "patched")
    diff = run("upgrade", agno, "--diff")
    assert (diff.returncode, diff.stderr) == (0, "")
    subprocess.run(["patch", "-p1", "-s"], cwd=tmp_path / "patched", input=diff.stdout, text=True, check=True)  # noqa: S607
    run("upgrade", agno)
    for path in (tmp_path / "patched").rglob("*.json"):
        assert path.read_bytes() == (agno / path.relative_to(tmp_path / "patched")).read_bytes()


@pytest.mark.parametrize("how", [(), ("--dry-run",), ("--diff",)])
def test_documents_that_are_not_upgraded_are_named_with_their_line(
    run: Command, store: Path, how: tuple[str, ...]
) -> None:
    """Each gets a line on the standard error with file, line and reason. The exit code is 1."""
    broken, wrong = add_odd_ones(store)
    in_month(JsonStorage(store), "old.json", agno_bytes(old_session("old"), ".json"))
    before = broken.read_bytes(), wrong.read_bytes()
    done = run("upgrade", "--store", store, *how)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "The old documents are" not in line]
    assert len(lines) == 2
    assert lines[0].startswith(f"localstore: {broken}, line 3, column ")
    assert lines[1].startswith(f"localstore: {wrong}, line 3, column 5: ")
    assert lines[1].endswith("user_id: expected text")
    assert all(line.count(str(store)) == 1 for line in lines)
    assert (broken.read_bytes(), wrong.read_bytes()) == before
    done = run("upgrade", "--store", store, *how, *(() if "--diff" in how else ("--json",)))
    if how != ("--diff",):
        problems = json.loads(done.stdout)["problems"]
        assert [(problem["path"], problem["line"]) for problem in problems] == [(str(broken), 3), (str(wrong), 3)]
        assert done.returncode == 1


def test_as_json(run: Command, agno: Path) -> None:
    """The output has the counts and the backup; the standard error is empty."""
    done = run("upgrade", agno, "--json")
    assert done.stderr == ""
    value = json.loads(done.stdout)
    assert (value["documents"], value["problems"]) == (3, [])
    assert os.listdir(agno / ".localstore" / "backups") == [value["backup"]]
    undone = json.loads(run("upgrade", "--undo", agno, "--json").stdout)
    assert undone == {"backup": value["backup"], "restored": 3, "changed": 0, "problems": []}


@ci_only
def test_jobs(run: Command, tmp_path: Path) -> None:
    """Several processes print the same words as one."""
    root = folder_of_agno(tmp_path / "f", [f"s{number}" for number in range(300)])
    done = run("upgrade", root, "--jobs", "2")
    assert (done.returncode, done.stdout) == (0, "Upgraded 300 documents to version 1.\n")


@pytest.mark.parametrize(
    "args",
    [
        ("--undo", "--dry-run"),
        ("--undo", "--diff"),
        ("--undo", "--jobs", "2"),
        ("--diff", "--json"),
        ("--jobs", "0"),
        ("--jobs", "x"),
        ("a", "b"),
        ("",),
        (".", "--store", "."),
    ],
)
def test_wrong_usage(run: Command, store: Path, args: tuple[str, ...]) -> None:
    """The error is one line that names the help, and nothing is upgraded."""
    before = tree_of(store)
    done = run("upgrade", *args, cwd=store)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore upgrade --help'.\n")
    assert done.stderr.count("\n") == 1
    assert tree_of(store) == before


def test_without_a_store_sessions_or_backups(run: Command, tmp_path: Path) -> None:
    """Neither a missing store nor a missing backup to undo is a bug: the exit code is 3."""
    (tmp_path / "empty").mkdir()
    for args in ((tmp_path / "nowhere",), (tmp_path / "empty",), ("--undo", tmp_path / "empty"), ()):
        done = run("upgrade", *args, cwd=tmp_path / "empty")
        assert (done.returncode, done.stdout) == (3, ""), args
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "empty") == []
    assert "--store" not in run("upgrade", tmp_path / "nowhere").stderr
    JsonStorage(tmp_path / "store")
    for how in ((), ("--dry-run",), ("--diff",)):
        done = run("upgrade", tmp_path / "store", *how)
        assert (done.returncode, done.stderr) == (0, "")
    none = run("upgrade", "--undo", tmp_path / "store")
    assert (none.returncode, none.stdout) == (3, "")
    assert "There is no backup" in none.stderr


def test_undo_names_later_changes_and_documents_that_stay(run: Command, agno: Path) -> None:
    """The exit code is 1 if a document stays."""
    from localstore import Run

    run("upgrade", agno)
    storage = JsonStorage(agno)
    storage.append("a", Run(run_id="since"))
    storage.delete_session("b")
    done = run("upgrade", "--undo", agno)
    assert done.returncode == 1
    assert done.stdout.startswith("Restored 2 documents of backup ")
    changed, gone = done.stderr.splitlines()
    assert changed == "localstore: 1 document of them had changed since; the changes were kept."
    assert gone.startswith(f"localstore: {agno / 'b.json'}: Session 'b' was deleted since")


def test_too_little_room(invoke: Invoke, agno: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk gives one line and exit code 5, and changes nothing."""
    from localstore.disk import filesystem

    before = tree_of(agno)
    monkeypatch.setattr(filesystem.System, "free_space", lambda *_: 5_000_000)
    done = invoke("upgrade", agno)
    assert (done.exit_code, done.stdout) == (5, "")
    assert "Too little room: 17 MB are needed, and 5 MB are free. Nothing was changed" in done.stderr
    assert tree_of(agno) == before


@ci_only
@posix
def test_a_terminal_gets_sentences(agno: Path, tmp_path: Path) -> None:
    """A terminal gets sentences instead of rows, without the control characters of a document."""
    from .pseudo_terminal import on_terminal

    (agno / "d.json").write_bytes(agno_bytes({**old_session("d"), "user_id": "\x1b]0;title\x07\x9b31m"}, ".json"))
    plan = on_terminal("upgrade", agno, "--dry-run", cwd=tmp_path)
    assert plan.text == (
        "version 0: 4 documents\nstep 1: Sessions of agno 1.x become localstore documents (4 documents)\n"
    )
    diff = on_terminal("upgrade", agno, "--diff", cwd=tmp_path)
    assert "+++ b/sessions/2026-11/a.json" in diff.lines
    assert not {"\x1b]", "\x07", "\x9b"} & {
        diff.raw[at : at + length] for at in range(len(diff.raw)) for length in (1, 2)
    }
    done = on_terminal("upgrade", agno, cwd=tmp_path)
    assert done.code == 0
    assert "Upgraded 4 documents to version 1.\n" in done.text
    assert on_terminal("upgrade", agno, "--dry-run", cwd=tmp_path).lines == ["version 1: 4 documents", "Nothing to do."]
    JsonStorage(tmp_path / "empty")
    assert on_terminal("upgrade", tmp_path / "empty", "--dry-run", cwd=tmp_path).lines == [
        "This store has no documents."
    ]


@posix
@pytest.mark.parametrize("args", [("--diff",), ("--dry-run",), ("--json",)])
def test_a_closed_pipe(agno: Path, tmp_path: Path, args: tuple[str, ...]) -> None:
    """A closed pipe causes no traceback, and the upgrade is completed."""
    code, errors = into_a_closed_pipe(["upgrade", agno, *args], tmp_path)
    assert code == 141
    assert "Traceback" not in errors
    assert (agno / "a.json").exists() == (args != ("--json",))


@ci_only
@posix
@pytest.mark.parametrize(("wait", "jobs"), sampled(itertools.product((0.0, 0.3, 1.0), ("1", "2")), 3))
def test_ctrl_c(tmp_path: Path, run: Command, jobs: str, wait: float) -> None:
    """Ctrl-C reaches all processes of the group: exit code 130 and one line. The next run upgrades the rest."""
    names = [f"s{number}" for number in range(rounds(500, 1500, 1500))]
    root = folder_of_agno(tmp_path / "f", names)
    before = tree_of(root)
    process = subprocess.Popen(
        [ENTRY_POINT, "upgrade", root, "--jobs", jobs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (root / ".localstore" / "backups").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(wait)
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    if process.returncode != 0:  # it may have been done by then
        assert (process.returncode, out, errors) == (130, "", "localstore: Interrupted.\n")
    done = run("upgrade", root)
    assert done.returncode == 0
    assert len(JsonStorage(root).list_sessions()) == len(names)
    # Ctrl-C may come in the moment in which a backup has its folder and nothing in it. Later upgrades remove that.
    (backup,) = [one for one in (root / ".localstore" / "backups").iterdir() if any(one.iterdir())]
    assert tree_of(backup / "files") == before
    assert not list(root.rglob("*.tmp"))

"""`localstore rescue`: list, show and restore rescued files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from localstore import DocumentBroken, JsonStorage, Message, Run
from tests import oracle
from tests.crashes import leave_mark

from .conftest import Command
from .test_check import document, edit, state_of

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")


def keep_run(store: Path, session_id: str = "graz-1", run_id: str = "kept", text: str = "And Linz?") -> str:
    """Fail to store a run in a document that a person broke. Return the name of the rescue file."""
    path = document(store, session_id)
    whole = path.read_bytes()
    path.write_bytes(b"{")
    run = Run(run_id=run_id, created_at="2026-01-05T10:00:00.000Z", messages=[Message(role="user", content=text)])
    with pytest.raises(DocumentBroken) as caught:
        JsonStorage(store).append(session_id, run)
    path.write_bytes(whole)
    return Path(caught.value.rescued or "").name


def keep_tail(store: Path, tail: bytes) -> str:
    """Damage the end of a document as a crash does, then write to it. Return the name of the rescue file."""
    path = document(store)
    old = path.read_bytes()
    new = old.removesuffix(b"\n  ]\n}\n") + tail
    path.write_bytes(old + new[len(old) :])  # what lies beyond the old end is written first
    leave_mark(store, "graz-1", old, new + b"\n    }\n  ]\n}\n")
    storage = JsonStorage(store)
    storage.append("graz-1", Run(run_id="next"))
    (name,) = os.listdir(store / ".localstore" / "rescue")
    return name


def leave(store: Path, name: str = "graz-1.json", content: bytes | None = None) -> str:
    """Let a repair set a temporary file aside. Return its name in the rescue folder."""
    path = document(store).with_name(f".{name}.0123456789ab.tmp")
    path.write_bytes(document(store).read_bytes() if content is None else content)
    path.chmod(0o600)
    os.utime(path, (1, 1))
    from localstore.maintenance.repair import repair

    assert {finding.severity for finding in repair(store)} == {"repair", "note"}
    return max((store / ".localstore" / "rescue").glob("*.part"), key=os.path.getctime).name


def run_ids(store: Path, session_id: str = "graz-1") -> list[str]:
    return oracle.sessions(store)[session_id].run_ids


def printed(done: Result) -> Any:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_an_empty_rescue_folder(run: Command, store: Path) -> None:
    """The standard error says that there is nothing; the output is empty."""
    done = run("rescue", "--store", store)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "localstore: Nothing was set aside in this store.\n")
    assert run("rescue", "--json", "--store", store).stdout == "[]\n"
    assert run("rescue", "--restore", "--all", "--store", store).returncode == 0


def test_a_pipe_gets_one_line_per_file_newest_first(run: Command, store: Path) -> None:
    """A line has name, session, time, reason and bytes."""
    first, second, third = keep_run(store), keep_run(store, "linz-1"), leave(store)
    done = run("rescue", "--store", store)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [third, second, first]
    assert [row[1] for row in rows] == ["graz-1", "linz-1", "graz-1"]
    assert all(len(row[2]) == len("2026-01-05T10:00:00.000Z") for row in rows)
    assert rows[0][3] == "left from a write that was cut off"
    assert rows[1][3] == "its document could not be written"
    folder = store / ".localstore" / "rescue"
    assert [int(row[4]) for row in rows] == [(folder / row[0]).stat().st_size for row in rows]


def test_the_list_as_json(invoke: Invoke, store: Path) -> None:
    """Each file is an object with all its fields."""
    name = keep_run(store)
    (one,) = printed(invoke("rescue", "--json", "--store", store))
    assert (one["name"], one["session_id"], one["document"]) == (name, "graz-1", "sessions/2026-01/graz-1.json")
    assert one["path"] == str(store / ".localstore" / "rescue" / name)


def test_listing_and_showing_change_nothing(run: Command, store: Path) -> None:
    """Neither the list nor the content of a file writes anything."""
    name = keep_run(store)
    before = state_of(store)
    for args in ((), (name,), ("--json",), (name, "--json")):
        assert run("rescue", *args, "--store", store).returncode == 0
    assert state_of(store) == before


def test_a_run_is_shown_as_in_its_session(run: Command, store: Path) -> None:
    """The fields of the file come first, then the run. Its path or the beginning of its name finds the file."""
    name = keep_run(store)
    done = run("rescue", name, "--store", store)
    assert "session_id    graz-1\n" in done.stdout
    assert "\nrun  kept  2026-01-05T10:00:00.000Z  completed\n  user\n    And Linz?\n" in done.stdout
    for other in ("graz", store / ".localstore" / "rescue" / name):
        assert run("rescue", other, "--store", store).stdout == done.stdout
    assert json.loads(run("rescue", name, "--json", "--store", store).stdout)["entries"][0]["run_id"] == "kept"


def test_other_bytes_are_shown_as_text_without_control_characters(run: Command, store: Path) -> None:
    """Nothing in a file can control the terminal."""
    name = keep_tail(store, b',\n    {\n      "type": "run", "x\x1b[31m": \xff')
    done = run("rescue", name, "--store", store)
    assert "No whole run\n" in done.stdout
    assert '"x\\x1b[31m": \\xff' in done.stdout


def test_an_entry_with_wrong_types_is_shown_as_text(run: Command, store: Path) -> None:
    """Only a person can know what the right values are."""
    name = keep_run(store)
    path = store / ".localstore" / "rescue" / name
    edit(path, '"status": "completed"', '"model": [1, 2]')
    assert '"model": [\n' in run("rescue", name, "--store", store).stdout


def test_a_foreign_file_can_be_shown(run: Command, store: Path) -> None:
    """A foreign file is never restored or removed."""
    keep_run(store)
    path = store / ".localstore" / "rescue" / "mine.json"
    path.write_text('{"mine": 1}')
    assert "not set aside by localstore" in run("rescue", "--store", store).stdout
    assert '{"mine": 1}' in run("rescue", "mine", "--store", store).stdout
    done = run("rescue", "mine.json", "--restore", "--store", store)
    assert (done.returncode, done.stdout) == (0, "mine.json: file stays, it was not set aside by localstore\n")
    assert path.exists()


@pytest.mark.parametrize("name", ["nonsense", "graz-1.2"])
def test_an_unknown_or_ambiguous_name(run: Command, store: Path, name: str) -> None:
    """The exit code is 3, and the candidates are listed."""
    names = [keep_run(store), keep_run(store)]
    done = run("rescue", name, "--store", store)
    assert (done.returncode, done.stdout) == (3, "")
    if name == "nonsense":
        assert done.stderr.endswith("'localstore rescue' lists the files.\n")
    else:
        assert all(f"  {one}\n" in done.stderr for one in names)


@pytest.mark.parametrize(
    "args", [("--all",), ("x", "--dry-run"), ("x", "--create"), ("--restore",), ("x", "--restore", "--all"), ("",)]
)
def test_options_that_make_no_sense(run: Command, store: Path, args: tuple[str, ...]) -> None:
    """They are wrong usage."""
    done = run("rescue", *args, "--store", store)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore rescue --help'.\n")


@pytest.mark.parametrize("session_id", ["graz-1", "linz-1"])
def test_a_run_goes_back_into_its_session(run: Command, store: Path, session_id: str) -> None:
    """The run goes to the end of the history, and the file is removed."""
    before = run_ids(store, session_id)
    name = keep_run(store, session_id)
    assert run("rescue", name, "--restore", "--dry-run", "--store", store).stdout == (
        f"{name}: 1 entry to put back into {session_id}, file to remove\n"
    )
    assert run_ids(store, session_id) == before
    done = run("rescue", name, "--restore", "--store", store)
    assert (done.returncode, done.stdout) == (0, f"{name}: 1 entry put back into {session_id}, file removed\n")
    assert run_ids(store, session_id) == [*before, "kept"]
    oracle.assert_own_layout(oracle.sessions(store)[session_id])
    assert oracle.rescued(store) == []


def test_the_error_of_a_failed_write_has_the_command_that_restores_the_run(run: Command, store: Path) -> None:
    """The text after the colon is the command."""
    path = document(store)
    whole = path.read_bytes()
    path.write_bytes(b"{")
    with pytest.raises(DocumentBroken) as caught:
        JsonStorage(store).append("graz-1", Run(run_id="kept"))
    line = str(caught.value).rpartition("localstore ")[2].split()
    broken = run(*line, "--store", store)
    assert broken.returncode == 4
    assert "Fix the file in an editor" in broken.stderr
    path.write_bytes(whole)
    assert run(*line, "--store", store).returncode == 0
    assert run_ids(store)[-1] == "kept"


def test_all_files_are_restored_oldest_first(run: Command, store: Path) -> None:
    """The runs come back in the order in which they were written."""
    for number in range(3):
        keep_run(store, run_id=f"kept-{number}")
    keep_run(store, "linz-1")
    done = run("rescue", "--restore", "--all", "--json", "--store", store)
    assert [one["removed"] for one in json.loads(done.stdout)] == [True] * 4
    assert run_ids(store)[1:] == ["kept-0", "kept-1", "kept-2"]
    assert run_ids(store, "linz-1")[1:] == ["kept"]


def test_runs_of_one_moment_come_back_in_order(run: Command, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that were kept within the same millisecond came back in a random order."""
    from localstore.disk import rescue_folder

    monkeypatch.setattr("localstore.disk.rescue_folder.time.time_ns", lambda: 1_795_331_432_123_000_000)
    for number in range(12):
        entry = {"type": "run", "run_id": f"kept-{number}", "created_at": "2026-11-22T07:10:32.000Z"}
        entry |= {"status": "completed"}
        rescue_folder.set_aside(str(store), "sessions/2026-11/graz-1.json", "graz-1", "a test", {"entry": entry})
    assert run("rescue", "--restore", "--all", "--store", store).returncode == 0
    assert run_ids(store)[-12:] == [f"kept-{number}" for number in range(12)]


def test_a_file_that_cannot_be_restored_does_not_stop_the_others(run: Command, store: Path) -> None:
    """The error is printed last, and sets the exit code."""
    keep_run(store, "linz-1")
    keep_run(store)
    path = document(store, "linz-1")
    path.write_bytes(b"{")
    done = run("rescue", "--restore", "--all", "--store", store)
    assert done.returncode == 4
    assert done.stdout.count("\n") == 1
    assert str(path) in done.stderr
    assert len(oracle.rescued(store)) == 1


def test_a_deleted_session_is_created_again_only_with_create(run: Command, store: Path) -> None:
    """A deleted session never comes back by itself."""
    name = keep_run(store)
    document(store).unlink()
    refused = run("rescue", name, "--restore", "--store", store)
    assert refused.returncode == 3
    command = refused.stderr.rpartition("localstore ")[2].split()
    assert command == ["rescue", name, "--restore", "--create"]
    assert "graz-1" not in oracle.sessions(store)
    assert run(*command, "--store", store).returncode == 0
    assert run_ids(store) == ["kept"]


def test_deleting_a_session_removes_its_rescue_files(run: Command, store: Path) -> None:
    """A temporary file of the session is removed too, even if its name does not contain the session."""
    keep_run(store)
    leave(store)
    leave(store, content=b"half a head")
    JsonStorage(store).delete_session("graz-1")
    assert run("rescue", "--store", store).stdout == ""


def test_an_incomplete_run_stays(run: Command, store: Path) -> None:
    """The file stays, and the line says so."""
    name = keep_tail(store, b',\n    {\n      "type": "run",\n      "run_i')
    before = run_ids(store)
    done = run("rescue", name, "--restore", "--store", store)
    assert (done.returncode, done.stdout) == (0, f"{name}: file stays, it holds no whole run\n")
    assert run_ids(store) == before
    assert len(oracle.rescued(store)) == 1


def test_a_complete_temporary_file(run: Command, store: Path) -> None:
    """The session has all its entries, so the file is removed."""
    name = leave(store)
    done = run("rescue", name, "--restore", "--store", store)
    assert done.stdout == f"{name}: 1 there already, file removed\n"


def test_a_temporary_file_of_the_manifest_can_be_shown(run: Command, store: Path) -> None:
    """It belongs to no session, so it can only be shown."""
    name = leave(store, "manifest.jsonl", b'{"session_id": "x"}\n')
    assert '{"session_id": "x"}' in run("rescue", "manifest", "--store", store).stdout
    assert "file stays" in run("rescue", name, "--restore", "--store", store).stdout


@posix
@pytest.mark.parametrize("columns", [60, 100])
def test_the_list_on_a_terminal(store: Path, columns: int) -> None:
    """The table fits any width and shows relative times. Names are whole: their ends, which differ, were cut off."""
    from .pseudo_terminal import on_terminal

    keep_run(store)
    screen = on_terminal("rescue", cwd=store, columns=columns)
    assert screen.code == 0
    assert screen.lines[0].split()[:2] == ["name", "session" if columns == 100 else "when"]
    assert screen.lines[1].split()[0] in os.listdir(store / ".localstore" / "rescue")
    assert "just now" in screen.text
    assert all(len(line) <= columns for line in screen.lines)


@posix
def test_a_rescue_file_on_a_narrow_terminal(store: Path) -> None:
    """Long lines are wrapped."""
    from .pseudo_terminal import on_terminal

    keep_run(store, text="a question that is longer than the line " * 3)
    screen = on_terminal("rescue", "graz", cwd=store, columns=40)
    assert screen.code == 0
    assert "a question that is longer" in screen.text
    assert all(len(line) <= 40 for line in screen.lines)

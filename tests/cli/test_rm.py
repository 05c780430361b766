"""`localstore rm`: moves all named sessions to the trash or none; deletes permanently only on request."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from localstore import JsonStorage
from localstore.disk import filesystem
from localstore.maintenance.trash import trashed
from tests import oracle
from tests.effort import sampled

from .conftest import Command, weather_run
from .read_only import ReadOnlySystem
from .test_check import document, edit, state_of
from .test_rescue import keep_run

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")


def left(store: Path) -> set[str]:
    """Return the ids of the remaining sessions."""
    return set(oracle.sessions(store))


def test_sessions_go_to_the_trash_and_the_output_says_how_to_restore_them(run: Command, store: Path) -> None:
    """Sessions are found by id, name or beginning of the id, each once. The text after the colon is the command."""
    before = oracle.sessions(store)
    for names, moved in ((("graz-1", "graz"), {"graz-1"}), (("Trip to Vienna",), {"graz-1", "vienna-trip"})):
        done = run("rm", *names, "--store", store)
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
        assert left(store) == before.keys() - moved
        way_back = done.stdout.rpartition("with: localstore ")[2].split()
        assert way_back[0] == "restore"
    for one in trashed(store):
        assert run("restore", one.name, "--store", store).returncode == 0
    assert oracle.sessions(store) == before


def test_as_json(invoke: Invoke, store: Path) -> None:
    path = document(store)
    raw = path.read_bytes()
    (one,) = json.loads(invoke("rm", "graz-1", "--json", "--store", store).stdout)
    assert (one["session_id"], one["document"], one["size"]) == ("graz-1", "sessions/2026-01/graz-1.json", len(raw))
    assert Path(one["path"]).read_bytes() == raw


@pytest.mark.parametrize("wrong", ["nobody", "", "i"])
def test_one_wrong_name_moves_nothing(invoke: Invoke, store: Path, wrong: str) -> None:
    """A name is wrong if it is unknown, empty or ambiguous."""
    before = state_of(store)
    done = invoke("rm", "graz-1", wrong, "linz-1", "--store", store)
    assert (done.exit_code, done.stdout) == (2 if wrong == "" else 3, "")
    assert state_of(store) == before


def test_a_newer_document_stays_and_the_others_are_moved(invoke: Invoke, store: Path) -> None:
    """The error is printed last."""
    path = document(store)
    edit(path, '"schema_version": 1', '"schema_version": 2')
    raw = path.read_bytes()
    done = invoke("rm", "graz-1", "linz-1", "--store", store)
    assert done.exit_code == 4
    assert done.stdout.startswith("linz-1 is in the trash.")
    assert "Update localstore" in done.stderr
    assert path.read_bytes() == raw
    assert [one.session_id for one in trashed(store)] == ["linz-1"]


def test_a_broken_document_is_moved_unchanged(invoke: Invoke, store: Path) -> None:
    path = document(store)
    edit(path, '"messages": [', '"messages": [[')
    raw = path.read_bytes()
    assert invoke("rm", "graz-1", "--store", store).exit_code == 0
    assert invoke("restore", "graz-1", "--store", store).exit_code == 0
    assert path.read_bytes() == raw


def test_an_unrecognised_file_stays(invoke: Invoke, store: Path) -> None:
    path = document(store).with_name("odd.json")
    path.write_text("{")
    done = invoke("rm", "odd", "--store", store)
    assert (done.exit_code, done.stdout) == (4, "")
    assert str(path) in done.stderr
    assert path.exists()


def test_rescue_files_stay(invoke: Invoke, store: Path) -> None:
    keep_run(store)
    assert invoke("rm", "graz-1", "--store", store).exit_code == 0
    assert len(oracle.rescued(store)) == 1


def test_an_id_with_control_characters(invoke: Invoke, store: Path) -> None:
    """The id is accepted as `ls` prints it, and printed in the same form."""
    JsonStorage(store).append("-odd\x1b[31m", weather_run("?", "!", created_at="2026-01-05T10:00:00.000Z"))
    done = invoke("rm", "--store", store, "--", "-odd\\x1b[31m")
    assert done.exit_code == 0
    assert done.stdout.startswith("-odd\\x1b[31m is in the trash.")
    assert invoke("restore", "--store", store, "--", "-odd\\x1b[31m").exit_code == 0
    assert "-odd\x1b[31m" in left(store)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("graz-1", "--empty-trash"),
        ("graz-1", "--yes"),
        ("graz-1", "--older-than", "1d"),
        ("--empty-trash", "--older-than", "30"),
        ("--empty-trash", "--older-than", "-1d"),
        ("--empty-trash", "--older-than", "9999999d"),
    ],
)
def test_wrong_usage(invoke: Invoke, store: Path, args: tuple[str, ...]) -> None:
    before = state_of(store)
    done = invoke("rm", *args, "--store", store)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore rm --help'.\n")
    assert state_of(store) == before


def test_a_read_only_store(invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one line that names what could not be written."""
    before = left(store)
    monkeypatch.setattr(filesystem, "system", ReadOnlySystem())
    done = invoke("rm", "graz-1", "--store", store)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (5, "", 1)
    assert str(store) in done.stderr
    assert left(store) == before


# Emptying the trash


def test_without_a_terminal_emptying_needs_yes(run: Command, store: Path) -> None:
    run("rm", "graz-1", "--store", store)
    refused = run("rm", "--empty-trash", "--store", store)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Add --yes" in refused.stderr
    assert len(trashed(store)) == 1
    done = run("rm", "--empty-trash", "--yes", "--store", store)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 document deleted permanently\n", "")
    assert trashed(store) == []
    again = run("rm", "--empty-trash", "--store", store)  # nothing to ask about
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "localstore: Nothing was deleted.\n")


def test_older_than_keeps_newer_items(invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3 * 86400)
    invoke("rm", "graz-1", "--store", store)
    monkeypatch.undo()
    invoke("rm", "linz-1", "--store", store)

    def emptied(age: str) -> list[str]:
        done = invoke("rm", "--empty-trash", "--older-than", age, "--yes", "--json", "--store", store)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return [one["session_id"] for one in found]

    assert emptied("1w") == emptied("4d") == emptied("999999w") == []
    assert emptied("71h") == ["graz-1"]
    assert emptied("0m") == ["linz-1"]


@posix
@pytest.mark.parametrize(
    ("typed", "gone"), sampled([(b"y\n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)], 2)
)
def test_a_terminal_asks_before_emptying(store: Path, typed: bytes, gone: bool) -> None:
    """The question names the amount; any answer but yes deletes nothing."""
    from localstore.maintenance.trash import throw_away

    from .pseudo_terminal import on_terminal

    throw_away(store, "graz-1")
    screen = on_terminal("rm", "--empty-trash", cwd=store, typed=typed)
    assert "Delete 1 document (" in screen.text
    assert screen.code == (130 if typed == b"\x04" else 0)
    assert (trashed(store) == []) == gone

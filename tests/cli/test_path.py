"""`localstore path`, and how a session is found."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run

from .conftest import ENTRY_POINT, Command, clean_environment

Invoke = Callable[..., Result]


def add(store: Path, session_id: str, name: str | None = None) -> Path:
    storage = JsonStorage(store, durability="relaxed")
    storage.append(session_id, Run(messages=[Message(role="user", content="hi")]))
    if name is not None:
        storage.update(session_id, name=name)
    return storage.path(session_id)


def test_the_path_alone_is_printed(run: Command, store: Path) -> None:
    """The output is one absolute path that exists."""
    done = run("path", "--store", "store", "vienna-trip")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{store / 'sessions' / '2026-01' / 'vienna-trip.json'}\n"


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell")
def test_an_editor_opens_the_document(store: Path) -> None:
    """`$EDITOR "$(localstore path ID)"` works."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'EDITOR="grep -c answer"; $EDITOR "$("$0" path "Trip to Vienna")"', ENTRY_POINT],
        cwd=store,
        env=clean_environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stdout == "12\n"


@pytest.mark.parametrize("named", ["linz-1", "l", "linz"])
def test_a_session_is_found_by_id_or_unique_beginning(invoke: Invoke, store: Path, named: str) -> None:
    """The beginning of an id is enough if no other id has it."""
    assert invoke("path", "--store", store, named).stdout.endswith("linz-1.yaml\n")


def test_a_session_is_found_by_name(invoke: Invoke, store: Path) -> None:
    """A person can type the name instead of the id."""
    assert invoke("path", "--store", store, "Trip to Vienna").stdout.endswith("vienna-trip.json\n")


def test_an_exact_id_comes_before_names_and_beginnings(invoke: Invoke, store: Path) -> None:
    """An exact id always finds its session."""
    add(store, "a", name="other")
    add(store, "ab", name="a")
    add(store, "abc")
    assert invoke("path", "--store", store, "a").stdout.endswith("/a.json\n")
    assert invoke("path", "--store", store, "ab").stdout.endswith("/ab.json\n")
    assert invoke("path", "--store", store, "abc").stdout.endswith("/abc.json\n")


def test_the_beginning_of_a_name_is_enough(invoke: Invoke, store: Path) -> None:
    """Beginnings of ids come first, and a name that several sessions begin with is refused with the candidates."""
    assert invoke("path", "--store", store, "Trip t").stdout.endswith("/vienna-trip.json\n")
    add(store, "Trip to Rome")
    assert invoke("path", "--store", store, "Trip t").stdout == f"{JsonStorage(store).path('Trip to Rome')}\n"
    add(store, "x-1", name="Same day")
    add(store, "x-2", name="Same night")
    done = invoke("path", "--store", store, "Same")
    assert done.exit_code == 3
    head, *candidates = done.stderr.splitlines()
    assert head == "localstore: 2 sessions have a name that begins with 'Same'. Give the whole id of one:"
    assert sorted(candidates) == ["  x-1  (Same day)", "  x-2  (Same night)"]


@pytest.mark.parametrize("text", ["vienna-trip", "vien", "Trip to Vienna", "Trip"])
def test_a_session_is_found_without_listing_the_store(
    invoke: Invoke, store: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command that names a session listed all of them first: 3 s in a store of 100,000 sessions."""
    owner = next(owner for owner in JsonStorage.__mro__ if "list_sessions" in vars(owner))
    monkeypatch.delattr(owner, "list_sessions")
    assert invoke("path", "--store", store, text).stdout.endswith("/vienna-trip.json\n")


def test_a_name_that_somebody_typed_is_found(invoke: Invoke, store: Path) -> None:
    path = JsonStorage(store).path("graz-1")
    path.write_text(path.read_text().replace('"user_id"', '"name": "By hand",\n  "user_id"', 1))
    for text in ("By hand", "By h"):
        assert invoke("path", "--store", store, text).stdout == f"{path}\n"


def test_a_shared_beginning_lists_the_candidates(run: Command, store: Path) -> None:
    """The command does not guess which session is meant."""
    add(store, "vienna-2")
    done = run("path", "--store", store, "vien")
    assert (done.returncode, done.stdout) == (3, "")
    head, *candidates = done.stderr.splitlines()
    assert head == "localstore: 2 sessions have an id that begins with 'vien'. Give the whole id of one:"
    assert sorted(candidates) == ["  vienna-2  (hi)", "  vienna-trip  (Trip to Vienna)"]


def test_a_shared_name_lists_the_candidates(run: Command, store: Path) -> None:
    """Several sessions may have the same name."""
    add(store, "x-1", name="same")
    add(store, "x-2", name="same")
    done = run("path", "--store", store, "same")
    assert done.returncode == 3
    assert sorted(done.stderr.splitlines()[1:]) == ["  x-1  (same)", "  x-2  (same)"]


def test_a_part_of_an_id_or_name_is_a_hint(run: Command, store: Path) -> None:
    """A wrong name lists similar ones, ignoring case, and the command does nothing."""
    done = run("path", "--store", store, "VIENNA")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "localstore: No session matches 'VIENNA'. Give the id of one of these:\n  vienna-trip  (Trip to Vienna)\n"
    )


@pytest.mark.parametrize("named", ["nothing like it", "../x", "vienna-trip\n"])
def test_an_unknown_session_is_an_error_that_says_what_to_do(run: Command, store: Path, named: str) -> None:
    """The error is one line, and the exit code is 3."""
    done = run("path", "--store", store, named)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("'localstore ls' lists them.\n")


def test_very_many_candidates_are_cut(run: Command, store: Path) -> None:
    """A long list of candidates is shortened. How many more there are is not counted: that could be all sessions."""
    for number in range(30):
        add(store, f"many-{number}")
    lines = run("path", "--store", store, "many").stderr.splitlines()
    assert len(lines) == 12
    assert lines[-1] == "  … and more"


@pytest.mark.parametrize("session_id", ["a\tb\nc\x1b[31m", "日本語 😀", "../../etc/passwd", "CON", "x" * 3000, "a\\tb"])
def test_the_id_that_ls_prints_finds_the_session(run: Command, store: Path, session_id: str) -> None:
    """The first cell of a row works as an argument of other commands, even with escapes."""
    path = add(store, session_id)
    cell = run("ls", "--store", store, "--limit", "1").stdout.split("\t")[0]
    assert run("path", "--store", store, "--", cell).stdout == f"{path}\n"


def test_an_escaped_id_that_begins_another_finds_its_session(run: Command, store: Path) -> None:
    """A complete id comes before beginnings of ids, also in its escaped form."""
    path = add(store, "tab\t")
    add(store, "tab\t2")
    assert run("path", "--store", store, "tab\\t").stdout == f"{path}\n"


def test_a_broken_document_has_a_path(run: Command, store: Path) -> None:
    """A person needs the path to repair the document in an editor."""
    path = JsonStorage(store).path("graz-1")
    path.write_text(path.read_text().replace('"messages": [', '"messages": [[', 1))
    assert run("path", "--store", store, "graz-1").stdout == f"{path}\n"


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_path_that_is_not_utf_8_is_printed_byte_for_byte(store: Path, tmp_path: Path) -> None:
    """The printed bytes are those of the path."""
    odd = os.fsencode(tmp_path) + b"/\xff odd"
    os.rename(store, odd)
    done = subprocess.run(
        [ENTRY_POINT, "path", "graz-1", "--store", odd], env=clean_environment(), capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, odd + b"/sessions/2026-01/graz-1.json\n")


def test_an_exact_id_whose_document_is_broken_is_not_taken_for_the_beginning_of_another(
    run: Command, store: Path
) -> None:
    """The path of another session was printed, so the editor opened the wrong file."""
    add(store, "j")
    add(store, "j2")
    JsonStorage(store).path("j").write_text("<<<<<<< HEAD\n")
    (store / ".localstore/manifest.jsonl").unlink()
    done = run("path", "--store", store, "j")
    assert (done.returncode, done.stdout) == (4, "")
    assert "session 'j'" in done.stderr

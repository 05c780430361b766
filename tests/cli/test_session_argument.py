"""How a command line names sessions, beyond ids, names and their beginnings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from localstore import JsonStorage, Message, Run

from .conftest import Command, command_group

Invoke = Callable[..., Result]


def add(store: Path, session_id: str) -> None:
    JsonStorage(store, durability="relaxed").append(session_id, Run(messages=[Message(role="user", content="hi")]))


def piped(text: str, *args: str | Path) -> Result:
    """Run a command that reads this text from its standard input."""
    return CliRunner().invoke(command_group(), [str(arg) for arg in args], input=text)


def shown(done: Result) -> list[str]:
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("session_id ")]


def test_a_path_names_a_session(run: Command, store: Path) -> None:
    """An absolute path does, and one relative to the working directory."""
    path = JsonStorage(store).path("graz-1")
    for named in (path, path.relative_to(store), f"./{path.relative_to(store)}"):
        done = run("path", "--store", store, named, cwd=store)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")
    done = run("rm", "--store", store, path)
    assert done.stdout.startswith("graz-1 is in the trash.")


def test_a_path_that_is_no_document_is_an_error_that_says_why(run: Command, store: Path, tmp_path: Path) -> None:
    """A copy is not taken for the document of its session: `rm` would remove the other file."""
    path = JsonStorage(store).path("graz-1")
    copy = path.with_name("copy.json")
    copy.write_bytes(path.read_bytes())
    (tmp_path / "other.json").write_text("{}")
    for named, why in (
        (copy, "is a copy of session 'graz-1', whose document is"),
        (tmp_path / "other.json", "is not in the store"),
    ):
        done = run("rm", "--store", store, named)
        assert (done.returncode, done.stdout) == (3, "")
        assert why in done.stderr
    assert path.exists()


def test_a_number_is_the_place_in_the_listing(run: Command, store: Path) -> None:
    ids = [line.split("\t")[0] for line in run("ls", "--store", store).stdout.splitlines()]
    for number, session_id in enumerate(ids, 1):
        assert f"/{session_id}." in run("path", "--store", store, f"@{number}").stdout
    done = run("path", "--store", store, "@4")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "localstore: There is no @4: 'localstore ls' lists only 3 sessions.\n"
    for named in ("@0", "@", "@-1", "@99999999999999999999"):
        assert run("path", "--store", store, named).returncode == 3
    assert run("tag", "--store", store, "@3", "far").stdout == "far\n"


def test_a_command_for_one_session_reads_no_ids(store: Path) -> None:
    """It listed the sessions with a hyphen in their ids as similar."""
    done = piped("graz-1\n", "path", "--store", store, "-")
    said = "localstore: This command takes one SESSION, and none from -. See 'localstore path --help'.\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", said)
    add(store, "-")
    assert piped("", "path", "--store", store, "-").exit_code == 0


def test_an_id_or_name_comes_before_a_number_or_path(run: Command, store: Path) -> None:
    """The beginning of one comes after it."""
    for session_id in ("@1", "@22", "sessions/x.json"):
        add(store, session_id)
    (store / "sessions" / "x.json").write_text("{}")
    assert "@1" in run("show", "--store", store, "@1").stdout.splitlines()[0]
    assert "@22" in run("show", "--store", store, "@2").stdout.splitlines()[0]
    assert shown(run("show", "--store", store, "sessions/x.json", cwd=store)) == ["sessions/x.json"]  # type: ignore[arg-type]
    JsonStorage(store).delete_session("@1")
    assert run("path", "--store", store, "@3").stdout.endswith("/vienna-trip.json\n")


def test_rm_refuses_a_number(run: Command, store: Path) -> None:
    """Another program may have written to a session since the person looked: `@1` would remove that one."""
    done = run("rm", "--store", store, "graz-1", "@1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "@1 may be another session by now. Give its id, its name or its path." in done.stderr
    assert len(JsonStorage(store)) == 3
    add(store, "@1")
    assert run("rm", "--store", store, "@1").stdout.startswith("@1 is in the trash.")


def test_several_sessions_are_shown_each_once(run: Command, store: Path) -> None:
    done = run("show", "--store", store, "linz-1", "@1", "graz", "linz-1")
    assert [line for line in done.stdout.splitlines() if line.startswith("session_id")] == [
        "session_id  linz-1",
        "session_id  vienna-trip",
        "session_id  graz-1",
    ]
    decoder, text, ids = json.JSONDecoder(), run("show", "--store", store, "linz", "graz", "--json").stdout, []
    while text.strip():
        document, end = decoder.raw_decode(text)
        ids.append(document["session_id"])
        text = text[end:].lstrip()
    assert ids == ["linz-1", "graz-1"]
    wrong = run("show", "--store", store, "linz-1", "salzburg")
    assert (wrong.returncode, wrong.stdout) == (3, "")


def test_ids_come_from_the_standard_input(invoke: Invoke, store: Path) -> None:
    """As `ls` and `search` print them: the first column counts, and an id may have escapes."""
    add(store, "ab\x1b")
    listed, found = (invoke(*args, "--store", store).stdout for args in (("ls",), ("search", "tool")))
    assert shown(piped(listed, "show", "-", "--store", store)) == ["ab\\x1b", "vienna-trip", "linz-1", "graz-1"]
    assert shown(piped(found, "show", "-", "--store", store)) == ["vienna-trip", "linz-1", "graz-1"]
    assert shown(piped("graz-1\r\n\n", "show", "linz", "-", "--store", store)) == ["linz-1", "graz-1"]
    done = piped("linz-1\tx\ngraz-1", "rm", "-", "--store", store)
    assert done.exit_code == 0
    assert len(JsonStorage(store)) == 2


@pytest.mark.parametrize(
    "args",
    [("show", "-"), ("rm", "-"), ("export", "-", "--format", "markdown"), ("convert", "-", "--to", "yaml")],
)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "The standard input names no session."),
        ("vienna\n", "There is no session 'vienna'."),
        ("Trip to Vienna\n", "There is no session 'Trip to Vienna'."),
        ("graz-1\nb\\x1bd\n", "There is no session 'b\\x1bd'."),
        ("graz-1\n\udcff\n", "There is no session '\\udcff'."),
    ],
)
def test_the_standard_input_has_whole_ids_or_nothing_is_done(
    store: Path, args: tuple[str, ...], text: str, why: str
) -> None:
    """An empty input is not the whole store, and an id that is gone is not the beginning of another one."""
    before = sorted(path.name for path in store.rglob("sessions/*/*"))
    done = CliRunner().invoke(
        command_group(), [*args, "--store", str(store)], input=text.encode(errors="surrogateescape")
    )
    assert (done.exit_code, done.stdout) == (3, "")
    assert why in done.stderr
    assert sorted(path.name for path in store.rglob("sessions/*/*")) == before


def test_of_many_candidates_ten_are_named(invoke: Invoke, store: Path) -> None:
    """All of a large store were read to count them."""
    storage = JsonStorage(store)
    for number in range(10):
        storage.append(f"many-{number}", Run(created_at="2020-01-01T10:00:00Z"))
    done = invoke("path", "many", "--store", store)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (3, "", 11)
    assert "10 sessions have an id that begins with 'many'. Give the whole id of one:" in done.stderr
    storage.append("many-more", Run(created_at="2020-01-01T10:00:00Z"))
    for text, how in (
        ("many", "More than 10 sessions have an id that begins with 'many'"),
        ("ANY", "No session matches"),
    ):
        done = invoke("path", text, "--store", store)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (3, "", 12)
        assert done.stderr.startswith(f"localstore: {how}")
        assert done.stderr.endswith("  … and more\n")

"""`localstore search`: find words in the sessions of a store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run

Invoke = Callable[..., Result]


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """A store of two sessions about trains."""
    storage = JsonStorage(tmp_path / "said")
    for number, (user, text) in enumerate(
        [("alice", "Which train to Wien?"), ("bob", "Züge\tund the train\x1b[31m")], 1
    ):
        messages = [Message(role="user", content=text)]
        run = Run(run_id=f"r{number}", messages=messages, created_at=f"2026-11-0{number}T10:00:00Z")
        storage.append(f"s{number}", run, user_id=user, entity_id="planner")
    storage.update("s1", name="Trip")
    return storage.root


def test_a_pipe_gets_one_line_for_each_entry(invoke: Invoke, said: Path) -> None:
    done = invoke("search", "TRAIN", "--store", said)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "s2\tr2\tuser\tcontent\t2026-11-02T10:00:00.000Z\tZüge und the train\\x1b[31m",
        "s1\tr1\tuser\tcontent\t2026-11-01T10:00:00.000Z\tWhich train to Wien?",
    ]


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        (["train", "zuge"], ["s2"]),
        (["train", "-zuge"], ["s1"]),
        (["-hotel", "train", "-wien"], ["s2"]),
        (['"to wien"'], ["s1"]),
        (["wi*"], ["s1"]),
        (["train", "--user", "alice"], ["s1"]),
        (["train", "--kind", "team"], []),
        (["train", "--entity", "planner", "--limit", "1"], ["s2"]),
        (["train", "--all"], ["s2", "s1"]),
        (["rain", "--literal"], ["s2", "s1"]),
        (["--literal", "--", "--no"], []),
        (["Trip"], ["s1"]),
        (["train", "--rank"], ["s1", "s2"]),
    ],
)
def test_words_and_options_choose_entries(invoke: Invoke, said: Path, args: list[str], ids: list[str]) -> None:
    done = invoke("search", "--store", said, *args)
    assert done.exit_code == 0, done.stderr
    assert sorted(line.split("\t")[0] for line in done.stdout.splitlines()) == sorted(ids)
    assert ("Nothing was found" in done.stderr) is not bool(ids)


def test_json_has_all_fields(invoke: Invoke, said: Path) -> None:
    (hit,) = json.loads(invoke("search", "wien", "--json", "--store", said).stdout)
    assert hit == {
        "session_id": "s1",
        "title": "Trip",
        "user_id": "alice",
        "run_id": "r1",
        "run_number": 1,
        "entry": 0,
        "message": 0,
        "role": "user",
        "field": "content",
        "snippet": "Which train to Wien?",
        "places": [[15, 19]],
        "created_at": "2026-11-01T10:00:00.000Z",
    }
    assert invoke("search", "nothing", "--json", "--store", said).stdout == "[]\n"


@pytest.mark.parametrize(
    "args", [[], [""], ["a", "--limit", "0"], ["a", "--limit", "1", "--all"], ["a", "--lmit", "5"]]
)
def test_wrong_usage(invoke: Invoke, said: Path, args: list[str]) -> None:
    done = invoke("search", *args, "--store", said)
    assert (done.exit_code, done.stdout) == (2, "")


def test_what_is_found_is_shown_by_the_next_command(invoke: Invoke, said: Path) -> None:
    """The first column names sessions, as arguments and on the standard input of `show`."""
    storage = JsonStorage(said)
    for number in range(25):
        storage.append("s1", Run(run_id=f"more-{number}", messages=[Message(role="user", content="another train")]))
    done = invoke("search", "train", "--store", said)
    ids = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert ids == ["s1"] * 20
    assert done.stderr == "localstore: There are more than 20 entries. --all shows them.\n"
    assert invoke("search", "train", "--store", said, "--limit", "20").stderr == ""
    ids = [line.split("\t")[0] for line in invoke("search", "train", "--all", "--store", said).stdout.splitlines()]
    shown = invoke("show", *ids, "--last", "0", "--store", said).stdout
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("session_id")] == ["s1", "s2"]


@pytest.mark.skipif(os.name != "posix", reason="a terminal of POSIX")
@pytest.mark.parametrize("columns", [30, 40, 140])
def test_a_terminal_groups_what_it_found_by_session(said: Path, columns: int) -> None:
    """A title that is too long is cut off, and the id stays. Without a number, a run has the beginning of its id."""
    from rich.cells import cell_len

    from .pseudo_terminal import on_terminal

    storage = JsonStorage(said)
    storage.update("s1", name="日本語" * 30, session_state={"a": 1})
    storage.append("s1", Run(run_id="3f2a91bc-0000", messages=[Message(role="assistant", content="train " * 30)]))
    storage.append("s1", Run(messages=[Message(role="assistant", content="the last train")]))
    storage.append("s2", Run(messages=[Message(role="user", content="no train")]))
    screen = on_terminal("search", "train", "--store", said, cwd=said.parent, columns=columns)
    assert all(cell_len(line) <= columns for line in screen.lines)
    heads = [line for line in screen.lines if line and not line.startswith(" ")]
    assert [head.split()[-1] for head in heads] == ["s2", "s1"]
    runs = [line.split()[1] for line in screen.lines if line.startswith("  run ")]
    assert runs == ["2", "1", "3", "3f2a91bc", "1"]


@pytest.mark.skipif(os.name != "posix", reason="a terminal of POSIX")
def test_a_terminal_marks_the_words(said: Path) -> None:
    """Control characters of a document never reach the terminal, and NO_COLOR turns the colour off."""
    from .pseudo_terminal import on_terminal

    shown = on_terminal("search", "train", "--store", said, cwd=said.parent)
    assert shown.lines == [
        *("Züge und the train\\x1b[31m  s2", "  run 1  user  2026-11-02", "    Züge und the train\\x1b[31m", ""),
        *("Trip  s1", "  run 1  user  2026-11-01", "    Which train to Wien?"),
    ]
    assert "\x1b[31m" not in shown.raw
    assert "\\x1b[31m" in shown.raw
    assert "\x1b[1;31m" in shown.raw  # bold yellow cannot be read on a light background
    plain = on_terminal("search", "train", "--store", said, cwd=said.parent, env={"NO_COLOR": "1"})
    assert "\x1b[1;31m" not in plain.raw


def test_the_hint_fits_what_was_looked_for(invoke: Invoke, said: Path) -> None:
    """One word was told that all words must be in one entry, and --literal that an asterisk helps."""
    wildcard = "'wor*' finds words with this beginning."
    for args, hint in (
        (["xyzzy"], f" {wildcard}"),
        (["xyzzy", "train"], f" All words must be in one entry; {wildcard}"),
        (["--literal", "xyzzy train"], ""),
    ):
        done = invoke("search", "--store", said, *args)
        assert (done.exit_code, done.stderr) == (0, f"localstore: Nothing was found.{hint}\n")

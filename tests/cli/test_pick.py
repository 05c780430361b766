"""`localstore pick`, the option `--pick`, and the list that they show."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from localstore import JsonStorage, Run, SessionInfo
from localstore.models.session_info import session_info
from tests.effort import ci_only

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
next_key = import_module("localstore_cli.raw_keyboard").next_key
session_list = import_module("localstore_cli.session_list")


def new_list() -> Any:
    """A list that shows the ids as they are."""
    return session_list.SessionList(lambda ids: {session_id: session_id for session_id in ids})


def info(number: int, title: str = "", **fields: object) -> SessionInfo:
    row = {
        "session_id": f"session-{number}",
        "kind": "agent",
        "name": title or f"Title {number}",
        "created_at": "2026-01-01T10:00:00.000Z",
        "updated_at": "2026-01-01T10:00:00.000Z",
        "runs": 1,
        "fingerprint": [1, 2, 3, 4],
        **fields,
    }
    return session_info(row, f"/s/{number}.json")


def chosen(choices: object) -> str | None:
    selected = choices.selected  # type: ignore[attr-defined]
    return None if selected is None else selected.session_id


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("aé日", ["a", "é", "日"]),
        ("\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["up", "down", "page up", "page down", "home", "end"]),
        ("\r\n\x7f\x08\x15\x17", ["enter", "enter", "backspace", "backspace", "clear", "word"]),
        ("\x03\x04\x07\x1b", ["escape"] * 4),
        ("\x1b[1;5Cx", [None, "x"]),
        ("\x1b[31mx\x1bbx", [None, "x", None, "x"]),
        ("\x00\x9b\u202e\t", [None] * 4),
    ],
)
def test_keys(typed: str, keys: list[str | None]) -> None:
    """What has no meaning does nothing, and is not taken for the characters in it."""
    found = []
    while typed:
        key, typed = next_key(typed)
        found.append(key)
    assert found == keys


def test_typed_words_choose_sessions() -> None:
    """They may be anywhere in title, id, user, entity and tags, in any case and order, also of sessions added later."""
    choices = new_list()
    assert chosen(choices) is None
    choices.add([info(1, "Trip to Linz"), info(2, "ZÜGE", user_id="alice"), info(3, tags=["travel"], agent_id="x")])
    for typed, found in (
        ("linz trip", "session-1"),
        ("züge", "session-2"),
        ("ALICE", "session-2"),
        ("travel", "session-3"),
        ("session-2", "session-2"),
        ("nothing", None),
        (" ", "session-1"),
    ):
        choices.press("clear")
        for character in typed:
            choices.press(character)
        assert chosen(choices) == found
    choices.press("clear")
    for character in "vienna now":
        choices.press(character)
    choices.press("word")
    choices.press("down")
    choices.add([info(4, "Vienna"), info(5, "Graz"), info(6, "vienna 2")])
    assert chosen(choices) == "session-4"
    choices.press("down")
    assert chosen(choices) == "session-6"
    for _ in "vienna":
        choices.press("backspace")
    assert chosen(choices) == "session-1"
    choices.press("backspace")
    choices.press("f12")


def test_the_selection_stays_in_the_list_and_on_the_screen() -> None:
    choices = new_list()
    choices.add(info(number) for number in range(100))
    for key, number in (
        *(("up", 0), ("down", 1), ("down", 2), ("page down", 9), ("end", 99), ("down", 99), ("page up", 92)),
        *(("page down", 99), ("home", 0)),
    ):
        choices.press(key)
        lines, selected, _ = choices.frame(60, 10)
        assert chosen(choices) == f"session-{number}"
        assert f"Title {number} " in lines[selected]
        assert len(lines) == 10


@pytest.mark.parametrize("width", [20, 39, 79, 139])
def test_every_line_has_the_width_of_the_terminal(width: int) -> None:
    """Wide characters and emoji are not cut in half, and control characters are escaped."""
    from rich.cells import cell_len

    choices = new_list()
    family = "👩\u200d👩\u200d👧"
    choices.add([info(1, "日本語" * 40), info(2, family * 60, user_id=family * 9), info(3, "a\x1b[31mb\n\x9b\u202e")])
    for character in "日" * width:
        lines, selected, cursor = choices.frame(width, 24)
        assert {cell_len(line) for line in lines} == {width}
        assert not set("\x1b\x9b\u202e\n") & set("".join(lines))
        assert cursor <= width
        choices.press(character)
    assert lines[1].startswith("  0 of 3")
    assert selected is None


def test_an_id_is_shown_as_far_as_a_command_needs_it() -> None:
    """It was cut off at 12 columns: with `session-` before the number, nobody could tell or type it."""
    short = {f"session-{number}": f"session-{number}"[: 8 + number // 10] for number in range(1, 30)}
    choices = session_list.SessionList(lambda ids: {session_id: short[session_id] for session_id in ids})
    choices.add(info(number) for number in range(1, 30))
    for line, found in zip(choices.frame(79, 31).lines[2:], short.values(), strict=True):
        assert f"  {found}  " in line
    choices = new_list()
    choices.add([info(1, session_id="a" * 40 + "-1"), info(2, session_id="a" * 40 + "-2")])
    assert [line[41:67] for line in choices.frame(79, 24).lines[2:]] == [f"{'a' * 12}…{'a' * 11}-{n}" for n in (1, 2)]
    assert "a…" not in choices.frame(59, 24).lines[2]


def test_an_end_of_a_run_is_marked() -> None:
    choices = new_list()
    for number, status in enumerate(("completed", "error", "unfinished", "cancelled")):
        choices.add([info(number, overview={"usage": {}, "status": status})])
    assert [line[2] for line in choices.frame(60, 24).lines[2:]] == [" ", "✗", "…", "■"]
    assert "4 of 4…" in choices.frame(60, 24).lines[1]
    choices.is_complete = True
    assert "4 of 4 " in choices.frame(60, 24).lines[1]


@pytest.mark.parametrize(
    "args", [("pick",), ("show", "--pick"), ("export", "--format", "json", "--pick"), ("chat", "--pick")]
)
def test_without_a_terminal_nobody_can_choose(
    invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    """One line says so, and nothing waits."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    done = invoke(*args, "--store", store)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "localstore: There is no terminal to choose on. 'localstore ls' lists the sessions, to name one. "
        f"See 'localstore {args[0]} --help'.\n"
    )
    if args[0] != "pick":
        done = invoke(*args, "graz-1", "--store", store)
        assert "SESSION and --pick cannot be combined" in done.stderr


@posix
def test_a_person_chooses_from_the_list(store: Path, tmp_path: Path) -> None:
    """The list is on another screen, so only the id stays. What was typed before it came counts."""
    from .pseudo_terminal import on_terminal

    JsonStorage(store).append("old", Run(created_at="2027-01-01T10:00:00Z"))
    JsonStorage(store).archive(["old"])
    path = {"PATH": str(tmp_path)}  # no fzf
    screen = on_terminal("pick", cwd=store, env=path, typed=b"l\x7f?\x1b[B\x1b[A\x1b[B\r")
    assert screen.code == 0
    list_shown, _, printed = screen.raw.partition("\x1b[?1049l")
    assert printed == "graz-1\r\n"
    assert "Linz?" in list_shown
    assert "3 of 3" in list_shown


@ci_only
@posix
def test_escape_leaves_and_the_terminal_is_as_before(store: Path) -> None:
    from .pseudo_terminal import ChatSession

    script = "localstore pick --user alice; echo code $?; stty -a | grep -cw -e -icanon; localstore pick --user carl"
    path = f"{Path(sys.executable).parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
    with ChatSession("sh", "-c", script, cwd=store, env={"PATH": path}) as talk:
        talk.type("\x1b")
        assert talk.ended() == 3
        raw = talk.raw
    after = raw.partition("\x1b[?1049l")[2].splitlines()
    assert after == [
        "localstore: Interrupted.",
        "code 130",
        "0",
        "localstore: No sessions match. 'localstore ls --archived' lists all sessions.",
    ]


@ci_only
@posix
def test_fzf_shows_the_list_where_it_is_installed(store: Path, tmp_path: Path) -> None:
    """It gets a line for each session and returns the chosen one. If it fails, our own list takes over."""
    from .pseudo_terminal import on_terminal

    fzf = tmp_path / "fzf"
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    for script, typed, code, wanted in (
        ("tee lines | grep Linz", b"", 0, "linz-1\n"),
        ("exit 130", b"", 130, "localstore: Interrupted.\n"),
        ("exit 1", b"", 130, "localstore: Interrupted.\n"),
        ("cat > lines; echo nonsense >&2; exit 2", b"\r", 0, "vienna-trip\n"),
    ):
        fzf.write_text(f"#!/bin/sh\n{script}\n")
        fzf.chmod(0o755)
        screen = on_terminal("pick", cwd=store, env=path, typed=typed)
        assert screen.code == code
        assert screen.text.endswith(wanted)
    lines = [line.split("\t") for line in (store / "lines").read_text().splitlines()]
    assert [line[0] for line in lines] == ["0", "1", "2"]
    assert "Trip to Vienna" in lines[0][1]


@ci_only
@posix
def test_show_and_export_let_a_person_choose(store: Path, tmp_path: Path) -> None:
    from .pseudo_terminal import on_terminal

    for args, wanted in (
        (("show", "--pick", "--no-pager"), "Rain."),
        (("export", "--pick", "--format", "markdown", "--user", "alice"), "# Graz?"),
    ):
        screen = on_terminal(*args, cwd=store, env={"PATH": str(tmp_path)}, typed=b"graz\r")
        assert screen.code == 0
        assert wanted in screen.raw.partition("\x1b[?1049l")[2]
        assert "newest" not in screen.text
    assert len(JsonStorage(store)) == 3

"""`localstore diff`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run, Session
from localstore.maintenance.trash import throw_away
from localstore.maintenance.upgrade import convert
from tests.effort import ci_only

from .conftest import Command, weather_run

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


@pytest.fixture
def root(store: Path) -> Path:
    """The store, with a fork of `graz-1` in which another answer was given and a run was added."""
    storage = JsonStorage(store)
    storage.fork("graz-1", new_id="graz-2")
    session = storage.read("graz-2")
    assert session is not None
    session.runs[0].messages[-1].content = "Rain\x1b[2J.\nAnd **fog**."
    storage.upsert(session)
    storage.append("graz-2", Run(run_id="new", messages=[Message(role="user", content="Wien?\n" + "x" * 80)]))
    storage.update("graz-2", tags=["rain"])
    return store


def test_a_fork_is_compared_with_its_origin(invoke: Invoke, root: Path) -> None:
    """A pipe gets a unified diff, with the runs in place of line numbers, and control characters as escapes."""
    done = invoke("diff", "graz-2", "--store", root)
    assert (done.exit_code, done.stderr) == (1, "")
    x = "x" * 80
    assert done.stdout == (
        '--- graz-1\n+++ graz-2\n@@ header @@\n+tags  ["rain"]\n'
        "@@ run 1  Graz? @@\n     line 2 of the tool\n     line 3 of the tool\n   assistant\n-    Rain.\n"
        "+    Rain\\x1b[2J.\n+    And **fog**.\n"
        f"@@ run 2 added  Wien? {x[:54]}… @@\n+run  completed\n+  user\n+    Wien?\n+    {x}\n"
    )


def test_sessions_that_are_the_same_print_nothing(run: Command, root: Path) -> None:
    """The exit code is 0. The order of the two sessions says what is old."""
    done = run("diff", "graz-2", "graz-2", "--store", root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run("diff", "graz-2", "graz-1", "--store", root)
    assert done.returncode == 1
    assert '\n-tags  ["rain"]\n' in done.stdout
    assert "\n@@ run 2 removed  Wien?" in done.stdout


def test_a_session_is_compared_with_a_backup(invoke: Invoke, root: Path) -> None:
    """The backup is older, whatever its format."""
    name = convert(root, "yaml", ["graz-1"]).backup
    assert name is not None
    assert invoke("diff", "graz-1", "--backup", name, "--store", root).exit_code == 0
    JsonStorage(root).append("graz-1", weather_run("Linz?", "Sun.", created_at="2026-01-06T10:00:00.000Z"))
    done = invoke("diff", "graz-1", "--backup", name[:6], "--store", root)
    assert done.exit_code == 1
    assert done.stdout.startswith(f"--- graz-1 in backup {name[:6]}\n+++ graz-1\n@@ run 2 added  Linz? @@\n+run  ")


def test_json_has_both_sides_of_what_differs(invoke: Invoke, root: Path) -> None:
    done = invoke("diff", "graz-2", "--json", "--store", root)
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["header"] == {"tags": {"old": None, "new": ["rain"]}}
    assert [(entry["old_number"], entry["new_number"], entry["fields"]) for entry in found["entries"]] == [
        (1, 1, ["messages"]),
        (None, 2, []),
    ]
    assert found["entries"][0]["old"]["messages"][-1]["content"] == "Rain."


def test_what_is_not_shown_as_text_is_shown_as_json(invoke: Invoke, root: Path) -> None:
    """An exit code of 1 without a line that differs would say nothing."""
    storage = JsonStorage(root)
    for session_id, content in (("a", "Hi"), ("b", "Hi\n")):
        storage.append(session_id, Run(run_id="r1", messages=[Message(role="user", content=content)]))
    done = invoke("diff", "a", "b", "--store", root)
    assert done.exit_code == 1
    assert '-      "content": "Hi"\n+      "content": "Hi\\n"\n' in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        (["graz-1"], 2, "'graz-1' is neither a fork nor a replay. Name a second session, or a backup with --backup."),
        (["graz-1", "linz-1", "--backup", "x"], 2, "OTHER and --backup cannot be combined."),
        (["graz-1", "--backup", ""], 2, "NAME is empty."),
        (["graz-1", "--backup", "x"], 3, "No backup matches 'x'. 'localstore backups' lists them."),
        (["graz-1", "nowhere"], 3, "No session matches 'nowhere'. 'localstore ls' lists them."),
        (["orphan"], 3, "Session 'gone', which 'orphan' comes from, does not exist. 'localstore restore' lists what"),
    ],
)
def test_what_cannot_be_compared_is_named(
    invoke: Invoke, store: Path, args: list[str], code: int, problem: str
) -> None:
    JsonStorage(store).upsert(Session(session_id="orphan", metadata={"replay_of": "gone"}))
    done = invoke("diff", *args, "--store", store)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith(f"localstore: {problem}")
    assert done.stderr.count("\n") == 1


def test_the_origin_of_a_fork_may_be_gone(invoke: Invoke, root: Path) -> None:
    throw_away(root, "graz-1")
    done = invoke("diff", "graz-2", "--store", root)
    assert done.exit_code == 3
    assert done.stderr.startswith("localstore: Session 'graz-1', which 'graz-2' comes from, does not exist.")


@ci_only
@posix
@pytest.mark.parametrize("columns", [40, 120])
def test_a_wide_terminal_shows_the_sessions_side_by_side(root: Path, columns: int) -> None:
    from rich.cells import cell_len

    from .pseudo_terminal import on_terminal

    screen = on_terminal("diff", "graz-2", cwd=root, columns=columns)
    assert screen.code == 1
    lines = [" ".join(line.split()) for line in screen.lines]
    assert all(cell_len(line) <= columns for line in screen.lines)
    if columns == 40:
        assert lines[:4] == ["--- graz-1", "+++ graz-2", "@@ header @@", '+tags ["rain"]']
        assert "\x1b[31m-    Rain.\x1b[0m" in screen.raw
    else:
        assert lines[:4] == ["graz-1 graz-2", "", "header", '+ tags ["rain"]']
        assert "assistant assistant" in lines
        assert lines[lines.index("assistant assistant") + 1 :][:2] == ["- Rain. + Rain\\x1b[2J.", "+ And **fog**."]


@ci_only
@posix
def test_a_terminal_says_that_nothing_differs(root: Path) -> None:
    from .pseudo_terminal import on_terminal

    screen = on_terminal("diff", "graz-1", "graz-1", cwd=root)
    assert (screen.code, screen.text) == (
        0,
        "localstore: No differences between graz-1 and graz-1: both have the same run.\n",
    )

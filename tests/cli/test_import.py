"""`localstore import`: bring in the sessions of other programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage
from tests.unit.maintenance.importing.claude_lines import SESSION, ClaudeFile

Invoke = Callable[..., Result]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of Claude Code with one session."""
    file = ClaudeFile()
    file.asks("u1", "Which train?")
    file.says("a1", "The one at 7:58.")
    return file.write(tmp_path / "claude" / "projects" / "-home-alice").parents[2]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty store."""
    return JsonStorage(tmp_path / "store").root


def test_one_line_says_what_was_imported(invoke: Invoke, source: Path, target: Path) -> None:
    for done, line in (
        (
            invoke("import", "claude-code", source, "--store", target, "--dry-run"),
            "Would import 1 new session (1 run).",
        ),
        (invoke("import", "claude-code", source, "--store", target), "Imported 1 new session (1 run)."),
        (
            invoke("import", "claude-code", source, "--store", target),
            "Imported 0 new sessions (0 runs). 1 session had nothing new.",
        ),
    ):
        assert (done.exit_code, done.stderr, done.stdout) == (0, "", f"{line}\n")
    assert invoke("ls", "--store", target).stdout.startswith(SESSION)


def test_what_was_added_later_is_counted(invoke: Invoke, source: Path, target: Path) -> None:
    invoke("import", "claude-code", source, "--store", target)
    file = ClaudeFile()
    file.asks("u1", "Which train?")
    file.says("a1", "The one at 7:58.")
    file.asks("u2", "And back?")
    file.write(source / "projects" / "-home-alice")
    done = invoke("import", "claude-code", source, "--store", target)
    assert done.stdout == "Imported 0 new sessions and what is new in 1 session (1 run).\n"


def test_a_dry_run_needs_no_store_and_makes_none(invoke: Invoke, source: Path, tmp_path: Path) -> None:
    """A person could only see what an import would do after creating the store for it."""
    done = invoke("import", "claude-code", source, "--store", tmp_path / "new", "--dry-run")
    assert (done.exit_code, done.stdout) == (0, "Would import 1 new session (1 run).\n")
    assert done.stderr == f"localstore: There is no store in {tmp_path / 'new'} yet.\n"
    assert not (tmp_path / "new").exists()


def test_json_has_the_ids(invoke: Invoke, source: Path, target: Path) -> None:
    done = invoke("import", "claude-code", source, "--store", target, "--json")
    assert json.loads(done.stdout) == {
        "kind": "claude-code",
        "dry_run": False,
        "added": [SESSION],
        "extended": [],
        "unchanged": 0,
        "runs": 1,
        "skipped": [],
        "items": 0,
    }


def test_what_is_left_out_is_named_and_the_exit_code_is_1(invoke: Invoke, source: Path, target: Path) -> None:
    path = next(source.rglob("*.jsonl"))
    path.write_text(path.read_text() + '{"type": "user", "mess')
    done = invoke("import", "claude-code", source, "--store", target)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"localstore: Not imported: {path}, line 3: it is not JSON (")
    assert done.stdout == "Imported 1 new session (1 run).\n"
    done = invoke("import", "claude-code", source, "--store", target, "--json")
    assert json.loads(done.stdout)["skipped"][0]["line"] == 3


def test_a_new_store_is_created_and_a_wrong_path_is_refused(invoke: Invoke, source: Path, tmp_path: Path) -> None:
    done = invoke("import", "claude-code", source, "--store", tmp_path / "new")
    assert (done.exit_code, done.stdout) == (0, "Imported 1 new session (1 run).\n")
    done = invoke("import", "claude-code", tmp_path / "nowhere", "--store", tmp_path / "new")
    assert done.exit_code == 2
    assert f"There is no file or folder '{tmp_path / 'nowhere'}'" in done.stderr
    assert invoke("import", "claude", source, "--store", tmp_path / "new").exit_code == 2
    assert invoke("import", "claude-code", "", "--store", tmp_path / "new").exit_code == 2


@pytest.mark.parametrize("kind", ["llm", "langgraph", "claude-code"])
def test_a_named_pipe_is_refused_at_once(kind: str, invoke: Invoke, tmp_path: Path) -> None:
    """The command waited for somebody who writes to it, without an end."""
    os.mkfifo(tmp_path / "pipe")
    done = invoke("import", kind, tmp_path / "pipe", "--store", tmp_path / "new")
    assert done.exit_code == 2
    assert "is a pipe or a device. Write its content to a file, and import that" in done.stderr
    assert not (tmp_path / "new").exists()


def test_the_command_knows_every_kind_of_the_library() -> None:
    from localstore.maintenance.importing import KINDS

    module = import_module("localstore_cli.commands.import_")
    assert {*module.KINDS} == {*KINDS, module.LANGGRAPH}
    assert all(f"\n    {kind} " in (module.command.callback.__doc__ or "") for kind in module.KINDS)


def test_a_terminal_shows_the_conversation_without_what_else_the_source_has(
    invoke: Invoke, source: Path, target: Path
) -> None:
    """Each message was followed by dozens of lines with ids and token counts of the other program."""
    invoke("import", "claude-code", source, "--store", target)
    transcript = import_module("localstore_cli.transcript").Transcript
    session = JsonStorage(target)._engine.snapshot(SESSION, lambda _: True)
    assert session is not None
    entry = {**session.entries[0], "imported": [{"type": "system"}]}
    shown = {
        fold: "\n".join(piece.text for piece in transcript(person=True, fold=fold).entry(entry))
        for fold in (True, False)
    }
    assert "The one at 7:58." in shown[True]
    assert "imported" not in shown[True]
    assert shown[False].count("imported") == 3


@pytest.mark.skipif(find_spec("langgraph") is not None, reason="needs an environment without LangGraph")
def test_checkpoints_of_langgraph_need_its_packages(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    path.touch()
    done = invoke("import", "langgraph", path, "--store", tmp_path / "new")
    assert done.exit_code == 4
    assert "no module langgraph. Run: pip install 'localstore-sessions[langgraph]'" in done.stderr
    assert not (tmp_path / "new").exists()

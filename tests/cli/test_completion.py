"""Completion in the shell: the scripts, and what they are told."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from localstore import JsonStorage, Run
from tests.effort import ci_only

from .conftest import ENTRY_POINT, Command, clean_environment, command_group

Offered = Callable[..., list[str]]
BASH = shutil.which("bash") or ""
needs_bash = pytest.mark.skipif(not BASH or os.name != "posix", reason="needs bash")
IDS = ["vienna-trip", "linz-1", "graz-1"]
"""The sessions of the store, newest first."""


@pytest.fixture
def offered(run: Command, store: Path) -> Offered:
    """Return a function that returns what bash is offered for the end of a line, in the store of these tests."""

    def complete(line: str, word: str | None = None, **env: str) -> list[str]:
        replaced = line.rpartition(" ")[2] if word is None else word
        asked = {"_LOCALSTORE_COMPLETE": "bash_complete", "COMP_WORDS": f"localstore {line}", "COMP_CWORD": replaced}
        answer = run(env={"LOCALSTORE_DIR": str(store), **asked, **env})
        assert (answer.returncode, answer.stderr) == (0, "")
        return [reply.removeprefix("plain,") for reply in answer.stdout.splitlines()]

    return complete


def test_commands_options_and_their_words(offered: Offered) -> None:
    assert offered("sho") == ["show"]
    assert offered("ls --unt") == ["--until"]
    assert offered("ls --kind ") == ["agent", "team", "workflow"]
    assert offered("ls --color=a", "a") == ["auto", "always"]
    assert offered("help repl") == ["replay"]
    assert offered("--store ") == ["dir,"]
    assert offered("export --output re") == ["file,re"]
    assert offered("stats --prices p") == ["file,p"]
    assert offered("stats --by m") == ["month", "model"]
    assert offered("stats --by day,m") == ["day,month", "day,model"]
    assert offered("stats --by day,user,d") == []


def test_sessions_are_offered_newest_first_each_once(offered: Offered) -> None:
    assert offered("show ") == IDS
    assert offered("rm linz-1 ") == ["vienna-trip", "graz-1"]
    assert offered("show g") == ["graz-1"]
    assert offered("show Trip") == []


def test_users_agents_models_and_tags_are_those_of_the_newest_sessions(offered: Offered, store: Path) -> None:
    JsonStorage(store).update("linz-1", tags=["fog", "forest"])
    assert offered("ls --user ") == ["alice", "bob"]
    assert offered("stats --entity g") == ["guide"]
    assert offered("search --model ") == ["gpt-4o-mini"]
    assert offered("ls --tag fo") == ["fog", "forest"]
    assert offered("tag linz-1 fog f") == ["forest"]


def test_every_argument_that_names_a_session_is_completed(offered: Offered) -> None:
    """A new command has nothing to do for it."""
    cli: click.Group = import_module("localstore_cli.group").cli
    with click.Context(cli) as context:
        commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    for name, command in commands.items():
        first = [argument for argument in command.params if isinstance(argument, click.Argument)][:1] if command else []
        if first and "SESSION" in first[0].make_metavar(click.Context(click.Command(name))):
            assert offered(f"{name} lin") == ["linz-1"], name


def test_any_character_of_an_id_reaches_the_line(offered: Offered, store: Path) -> None:
    """Bash replaces only what stands behind the last colon, and quotes itself inside quotes."""
    for session_id in ("my trip", "user:42", "a'b$(x)", "e\x1bsc"):
        JsonStorage(store).append(session_id, Run())
    assert offered("show my") == [r"my\ trip"]
    assert offered('show "my t', "my t") == ["my trip"]
    assert offered("show user:4", "4") == ["42"]
    assert offered("show user:", "") == ["42"]
    assert offered("show a") == [r"a\'b\$\(x\)"]
    assert offered("show e") == [r"e\\x1bsc"]


@pytest.mark.parametrize("line", ["show ", "ls --user ", "--store nowhere show ", "show --store nowhere "])
def test_nothing_and_no_error_without_a_store(offered: Offered, tmp_path: Path, line: str) -> None:
    (tmp_path / "localstore.json").write_text("{")
    assert offered(line, LOCALSTORE_DIR=str(tmp_path)) == []
    assert offered(line, LOCALSTORE_DIR=str(tmp_path / "nowhere")) == []


def test_the_store_of_the_line_counts(offered: Offered, store: Path) -> None:
    assert offered(f"--store {store} show g", LOCALSTORE_DIR="nowhere") == ["graz-1"]
    assert offered(f"show --store {store} g", LOCALSTORE_DIR="nowhere") == ["graz-1"]


def test_zsh_and_fish_show_titles_on_one_line(run: Command, store: Path) -> None:
    JsonStorage(store).update("graz-1", name="Graz:\n\x1b[31m " + "x" * 100)
    title = r"Graz: \x1b[31m " + "x" * 45 + "…"
    env = {"LOCALSTORE_DIR": str(store), "COMP_WORDS": "localstore show g"}
    zsh = run(env={**env, "_LOCALSTORE_COMPLETE": "zsh_complete", "COMP_CWORD": "2"})
    assert zsh.stdout == f"plain\ngraz-1\n{title}\n"
    fish = run(env={**env, "_LOCALSTORE_COMPLETE": "fish_complete", "COMP_CWORD": "g"})
    assert fish.stdout == f"plain,graz-1\t{title}\n"


def test_a_question_that_makes_no_sense_has_no_answer(run: Command) -> None:
    for instruction in ("tcsh_complete", "bash_nonsense", "bash", "_", "zsh_complete"):
        done = run(env={"_LOCALSTORE_COMPLETE": instruction})
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed_and_the_shell_understands_it(run: Command, shell: str, tmp_path: Path) -> None:
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run(env={"_LOCALSTORE_COMPLETE": f"{shell}_source"}).stdout
    assert f"{shell}_complete" in done.stdout
    if shutil.which(shell):
        (tmp_path / "script").write_text(done.stdout)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True, timeout=60)


def test_an_unknown_shell_is_wrong_usage(run: Command) -> None:
    done = run("completion", "tcsh")
    assert done.returncode == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.stderr


@needs_bash
def test_bash_asks_the_command_and_takes_its_answers(store: Path, tmp_path: Path) -> None:
    """The function that the script defines, called as bash calls it."""
    JsonStorage(store).append("my trip", Run())
    program = f"""
        eval "$({ENTRY_POINT} completion bash)"
        COMP_LINE="localstore show my\\ t" COMP_POINT=21
        _localstore_completion {ENTRY_POINT} 'my\\ t' show
        printf '%s\\n' "${{COMPREPLY[@]}}"
        complete -p localstore
    """
    done = subprocess.run(
        [BASH, "--norc", "-c", program],
        env=clean_environment(LOCALSTORE_DIR=str(store)),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stdout == "my\\ trip\ncomplete -o nosort -F _localstore_completion localstore\n"
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_asks_the_command_and_takes_its_answers(store: Path, tmp_path: Path) -> None:
    JsonStorage(store).append("user:42 b", Run())
    program = f"""
        {ENTRY_POINT} completion fish | source
        complete --do-complete "localstore show v"
        complete --do-complete "localstore show user:4"
    """
    done = subprocess.run(
        [shutil.which("fish") or "", "--no-config", "-c", program],
        env=clean_environment(
            LOCALSTORE_DIR=str(store),
            HOME=str(tmp_path),
            PATH=f"{ENTRY_POINT.parent}{os.pathsep}{os.environ['PATH']}",
        ),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stdout == "vienna-trip\tTrip to Vienna\nuser:42 b\n"


@ci_only
@needs_bash
def test_tab_completes_in_a_terminal(store: Path, tmp_path: Path) -> None:
    from .pseudo_terminal import ChatSession

    JsonStorage(store).append("user:42 b", Run())
    path = f"{ENTRY_POINT.parent}{os.pathsep}{os.environ['PATH']}"
    env = {"LOCALSTORE_DIR": str(store), "PATH": path, "PS1": "> ", "INPUTRC": os.devnull}
    with ChatSession(BASH, "--norc", "--noprofile", "-i", cwd=tmp_path, env=env) as shell:
        shell.type('eval "$(localstore completion bash)"; echo rea""dy\r')
        shell.wait_for("ready")
        shell.type("localstore pa\tus\t | wc -l | sed s/^/lines=/\r")
        shell.wait_for("lines=1")
        shell.type("localstore path user:4\t | wc -l | sed s/^/again=/\r")
        shell.wait_for("again=1")
        shell.type("exit\r")
        assert shell.ended() == 0


def test_what_completes_a_path_does_not_check_it(tmp_path: Path) -> None:
    """Regression: `--store FILE` was wrong usage, not a missing store, in a process that had completed something."""
    group = command_group()
    context = click.Context(group, resilient_parsing=True)
    for command in (group, group.get_command(context, "ls")):
        assert command is not None
        import_module("localstore_cli.completion").add_completions(command)
    (tmp_path / "file").write_text("")
    assert CliRunner().invoke(group, ["ls", "--store", str(tmp_path / "file")]).exit_code == 3

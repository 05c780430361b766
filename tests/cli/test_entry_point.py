"""The entry point `localstore`: exit codes, streams, pipes, signals."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

import localstore
from tests.effort import ci_only, sampled

from .conftest import ENTRY_POINT, Command, clean_environment

posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")
COMMANDS = (
    "ls",
    "search",
    "show",
    "path",
    "chat",
    "state",
    "rename",
    "tag",
    "rate",
    "export",
    "rm",
    "restore",
    "check",
    "rescue",
    "replay",
)


def test_the_version_is_printed(run: Command) -> None:
    """`--version` prints the name of the program and its version."""
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"localstore {localstore.__version__}\n", "")


def test_without_a_command_the_help_is_shown(run: Command) -> None:
    """The command without arguments shows the help."""
    done = run()
    assert done.returncode == 0
    assert done.stdout == run("--help").stdout
    for command in COMMANDS:
        assert f"  {command}" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_is_explained(run: Command, command: str) -> None:
    """Every option has a text in the help."""
    done = run(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    options = done.stdout.partition("Options:\n")[2].splitlines()
    assert "--store" in done.stdout
    for number, line in enumerate(options):
        if line.startswith("  -"):
            following = options[number + 1] if number + 1 < len(options) else ""
            assert "  " in line.strip() or following.startswith("      "), line


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("ls", "--nonsense"),
        ("ls", "--limit", "0"),
        ("ls", "--kind", "x"),
        ("path",),
        ("path", ""),
        ("ls", "extra"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_help(run: Command, store: Path, args: tuple[str, ...]) -> None:
    """The exit code of wrong usage is 2."""
    done = run("--store", store, *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("localstore: ")
    assert done.stderr.endswith("--help'.\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("typed", "command"), [("lst", "ls"), ("rest", "restore"), ("exprot", "export")])
def test_an_unknown_command_suggests_a_similar_one(run: Command, typed: str, command: str) -> None:
    done = run(typed)
    said = f"localstore: No such command '{typed}'. Did you mean '{command}'? See 'localstore --help'.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert run("xyzzy").stderr == "localstore: No such command 'xyzzy'. See 'localstore --help'.\n"


def test_an_unknown_option_suggests_the_most_similar_one(run: Command) -> None:
    """Several stood in brackets between two full stops, in the order of the alphabet."""
    done = run("ls", "--nam")
    said = "localstore: No such option '--nam'. Did you mean '--name'? See 'localstore ls --help'.\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize(
    "args",
    [
        ("ls", "{}"),
        ("show", "{}"),
        ("ls", "--sort", "{}"),
        ("copy", "{}/x", "--format={}", "."),
        ("backups", "{}"),
        ("import", "agno", "{}"),
        ("stats", "--by", "{}"),
    ],
)
@pytest.mark.parametrize(
    "url", ["postgresql://bob:hush@db/agents", "mongodb://bob:hu@hush@db", "sqlite:/x?password=hush"]
)
def test_a_url_in_a_wrong_place_is_quoted_without_its_password(
    run: Command, store: Path, args: tuple[str, ...], url: str
) -> None:
    """It stood in the error, and so in the logs of those who forgot --store."""
    done = run("--store", store, *(one.format(url) for one in args))
    assert done.returncode in (2, 3)
    assert "***" in done.stderr
    assert "hush" not in done.stderr + done.stdout


def test_a_word_in_place_of_a_number_is_called_that(run: Command) -> None:
    """It was no valid integer range."""
    for args, what in ((("ls", "--limit", "x"), "a whole number"), (("ask", "--temperature", "x"), "a number")):
        assert f": 'x' is not {what}. See 'localstore" in run(*args).stderr


@pytest.mark.parametrize("command", ["ls", "show"])
def test_contradicting_options_are_wrong_usage(run: Command, store: Path, command: str) -> None:
    """`--all` and a number exclude each other."""
    done = run(command, "--store", store, "--all", "--limit" if command == "ls" else "--last", "3")
    assert done.returncode == 2
    assert "cannot be combined" in done.stderr


@ci_only
@posix
@pytest.mark.parametrize(
    ("args", "unbuffered"),
    sampled(
        itertools.product(
            (
                ("ls",),
                ("ls", "--json"),
                ("show", "vienna-trip"),
                ("export", "--format", "json"),
                ("show", "vienna-trip", "--color", "always"),
            ),
            ("", "1"),
        ),
        3,
    ),
)
def test_a_reader_that_stops_early_ends_the_command_quietly(
    store: Path, args: tuple[str, ...], unbuffered: str
) -> None:
    """`localstore ls | head -1` prints no complaint."""
    storage = localstore.JsonStorage(store, durability="relaxed")
    for number in range(300):  # more than a pipe holds
        storage.upsert(localstore.Session(session_id="long-" + "x" * 80 + f"-{number}", kind="agent", name="n" * 300))
    _append(store, "vienna-trip", text="y" * 200_000)
    process = subprocess.Popen(
        [ENTRY_POINT, *args, "--store", store],
        env=clean_environment(PYTHONUNBUFFERED=unbuffered),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (128 + signal.SIGPIPE, b"")


@posix
def test_ctrl_c_ends_with_130_and_one_line(store: Path) -> None:
    """An interrupted command shows no traceback."""
    _append(store, "vienna-trip", text="y" * 500_000)
    process = subprocess.Popen(
        [ENTRY_POINT, "show", "vienna-trip", "--store", store],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(10)  # now it waits for somebody to read the rest
    _wait_until_asleep(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr is not None
    assert process.stderr.read() == b"localstore: Interrupted.\n"
    process.stdout.close()
    process.stderr.close()


@posix
def test_ctrl_c_waits_while_orjson_loads(tmp_path: Path) -> None:
    """In the middle of loading orjson, it was a segmentation fault."""
    program = "import os, signal, sys\nos.kill(os.getpid(), signal.SIGINT)\nsys.stderr.write('loaded\\n')\n"
    (tmp_path / "orjson.py").write_text(program)
    done = subprocess.run(
        [ENTRY_POINT, "ls"],
        env=clean_environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (130, "loaded\nlocalstore: Interrupted.\n")


def _wait_until_asleep(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process waits in a system call. Python notices a signal late if it comes just before that."""
    status = Path(f"/proc/{process.pid}/stat")
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.001)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "args", sampled([("ls",), ("show",), ("path", "graz-1"), ("check",), ("--help",), ("ls", "--help")], 3)
)
def test_a_full_disk_is_reported(store: Path, args: tuple[str, ...]) -> None:
    """Output that could not be written is an error."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [ENTRY_POINT, "--store", store, *args],
            env=clean_environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=60,
        )
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == "localstore: No space left on device. Free some space and try again."


@posix
def test_a_closed_output_is_reported(store: Path) -> None:
    """`localstore ls >&-` fails with a reason."""
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" "$@" >&-', ENTRY_POINT, "ls", "--store", store],
        env=clean_environment(),
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 5
    assert (
        done.stderr
        == "localstore: The standard output is closed. Connect it, for example to /dev/null, and try again.\n"
    )


@posix
def test_a_closed_error_output_changes_no_exit_code(tmp_path: Path) -> None:
    """An error that cannot be printed still sets the exit code."""
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" "$@" 2>&-', ENTRY_POINT, "path", "x"], cwd=tmp_path, env=clean_environment(), timeout=60
    )
    assert done.returncode == 3


def test_output_into_a_pipe_is_utf_8_whatever_the_locale_says(run: Command, store: Path) -> None:
    """A pipe gets UTF-8, not the encoding of the locale."""
    _append(store, "emoji", name="☕ Kaffee")
    done = run("ls", "--store", store, env={"PYTHONIOENCODING": "latin-1", "LC_ALL": "C", "PYTHONUTF8": "0"})
    assert "☕ Kaffee" in done.stdout


def test_a_bug_is_one_line_that_can_be_reported(store: Path) -> None:
    """A bug in localstore shows no traceback; the line names the place in the code."""
    program = (
        "import localstore.storage.storage as s\n"
        "def broken(*a, **k): raise TypeError('odd')\n"
        "s.Storage.list_sessions = broken\n"
        "from localstore_cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "ls", "--store", store],
        env=clean_environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr == "localstore: A bug in localstore (TypeError at <string>:2: odd). Please report this line.\n"


def test_listing_into_a_pipe_loads_nothing_heavy(store: Path) -> None:
    """`ls` in a script imports only click and the storage."""
    program = (
        "import sys, json, atexit\n"
        "heavy = {'pydantic', 'rich', 'yaml', 'openai', 'asyncio', 'filelock'}\n"
        "atexit.register(lambda: print(json.dumps(sorted(heavy & set(sys.modules))), file=sys.stderr))\n"
        "from localstore_cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "ls", "--store", store],
        env=clean_environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stdout.count("\n") == 3
    assert json.loads(done.stderr) == []


def _append(store: Path, session_id: str, *, name: str | None = None, text: str = "hi") -> None:
    storage = localstore.JsonStorage(store, durability="relaxed")
    storage.append(session_id, localstore.Run(messages=[localstore.Message(role="user", content=text)]))
    if name is not None:
        storage.update(session_id, name=name)


def test_help_explains_a_command(run: Command) -> None:
    assert run("help").stdout == run("--help").stdout
    assert run("help", "rate").stdout == run("rate", "--help").stdout.replace("localstore help rate", "localstore rate")
    unknown = run("help", "rte")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "localstore: No such command 'rte'. Did you mean 'rate'? See 'localstore --help'.\n"


def test_the_list_of_commands_has_whole_sentences(run: Command) -> None:
    shown = run("--help").stdout
    assert "..." not in shown.partition("\nLook:\n")[2]


def test_the_help_and_the_page_have_the_same_groups_of_commands(run: Command) -> None:
    """Thirty commands stood in one list."""
    page = (Path(__file__).parents[2] / "cli" / "README.md").read_text(encoding="utf-8")
    shown = run("--help").stdout
    for title, names in import_module("localstore_cli.group").SECTIONS.items():
        listed = shown.partition(f"\n{title}:\n")[2].partition("\n\n")[0].splitlines()
        assert [line.split()[0] for line in listed if line[2] != " "] == list(names)
        assert ", ".join(f"[{name}](#localstore-{name})" for name in names) in page


def test_python_m_starts_the_command_line(store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "localstore", "path", "nothing", "--store", store],
        env=clean_environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    expected = "localstore: No session matches 'nothing'. 'localstore ls' lists them.\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", expected)


@pytest.mark.parametrize(
    ("args", "env", "is_table", "is_coloured"),
    [
        ((), {}, False, False),
        ((), {"FORCE_COLOR": "1"}, False, False),
        (("--color", "auto"), {"FORCE_COLOR": "1"}, False, False),
        (("--color", "never"), {"FORCE_COLOR": "1"}, False, False),
        (("--color", "always"), {}, True, True),
        (("--color", "always"), {"NO_COLOR": "1", "TERM": "dumb"}, True, True),
    ],
)
def test_color_in_a_pipe(
    run: Command, store: Path, args: tuple[str, ...], env: dict[str, str], is_table: bool, is_coloured: bool
) -> None:
    """Before or behind the command. The environment never changes what scripts read."""
    for done in (run("ls", *args, "--store", store, env=env), run(*args, "ls", "--store", store, env=env)):
        assert (done.returncode, done.stderr) == (0, "")
        assert ("\t" not in done.stdout, "\x1b[" in done.stdout) == (is_table, is_coloured)


@posix
@pytest.mark.parametrize(
    ("args", "env", "is_coloured"),
    sampled(
        [
            ((), {}, True),
            ((), {"NO_COLOR": "1"}, False),
            ((), {"TERM": "dumb"}, False),
            ((), {"TERM": "dumb", "FORCE_COLOR": "1"}, True),
            ((), {"TERM": "dumb", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
            (("--color", "never"), {"FORCE_COLOR": "1"}, False),
            (("--color", "always"), {"NO_COLOR": "1"}, True),
        ],
        2,
    ),
)
def test_color_on_a_terminal(
    store: Path, tmp_path: Path, args: tuple[str, ...], env: dict[str, str], is_coloured: bool
) -> None:
    from .pseudo_terminal import on_terminal

    graph = store / "sessions" / "2026-01" / "graz-1.json"
    graph.write_text("{")  # a problem is red
    screen = on_terminal("ls", *args, "--store", store, cwd=tmp_path, env=env, is_real=True)
    assert screen.code == 0
    assert ("\x1b[31m" in screen.raw) == is_coloured

"""What the README shows is what happens: its blocks run in order in one folder, and their output is compared."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripted_server import scripted_server
from tests.scripted_server import text as answer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<run id>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:T[0-9.]+Z\.[0-9a-f]{6})?"), "<day>"),
    (re.compile(r"sessions/\d{4}-\d\d/"), "sessions/<month>/"),
    (re.compile(r'"duration_seconds": \d+\.\d+'), '"duration_seconds": 0.0'),
)


def settled(text: str, folder: Path) -> str:
    """The text without what differs from run to run."""
    text = text.replace(str(folder), "/home/alice")
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text


def blocks(section: str) -> Iterator[tuple[str, str]]:
    """The language and the text of each fenced block of the README from a heading on."""
    for match in _BLOCK.finditer(README, README.index(section)):
        yield match[1], match[2]


def command(name: str) -> str:
    """The one line of the block that is marked with this comment."""
    found = re.search(rf"<!-- {name} -->\n```\n(.+)\n```", README)
    assert found is not None
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def run(args: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "LOCALSTORE_"))}
    return subprocess.run(
        args, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )


def run_command(line: str, folder: Path) -> str:
    assert line.startswith("localstore ")
    program = "from localstore_cli.app import main; main()"
    done = run([sys.executable, "-W", "error", "-c", program, *line.split()[1:]], folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_talk(transcript: str, before: str, folder: Path) -> None:
    """Type what stands behind the prompts of a transcript; all the rest has to come by itself.

    The program is the block before, or the command in the first line, whose model answers what is asked here.
    """
    from tests.cli.pseudo_terminal import Talk

    lines = transcript.splitlines()
    args = ["-c", before]
    if lines[0].startswith("$ localstore "):
        args = ["-c", "from localstore_cli.app import main; main()", *lines.pop(0).split()[2:]]
    with scripted_server(answer("Take the underground, line U1.")) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "none"}
        with Talk(sys.executable, *args, cwd=folder, env=environment) as talk:
            at = 0
            while at < len(lines) - 1:
                talk.wait_for_prompt()
                at = len(talk.lines) - 1
                assert settled("\n".join(talk.lines[:at]), folder) == settled("\n".join(lines[:at]), folder)
                talk.type(f"{lines[at].removeprefix('> ')}\r")
            assert talk.ended() == 0


def test_the_examples_print_what_the_readme_says(folder: Path) -> None:
    (folder / "old").mkdir()
    for name, session_id in (("team", "team"), ("workflow-v2", "v2")):
        shutil.copy(ROOT / "tests" / "format" / "agno-1" / f"{name}.json", folder / "old" / f"{session_id}.json")
    printed = None
    before = ""
    compared = 0
    found = list(blocks("## Five minutes for authors"))
    for (language, text), (following, _) in zip(found, [*found[1:], ("", "")], strict=True):
        if language == "python" and following == "terminal":
            before = text
        elif language == "terminal":
            if os.name == "posix":
                check_talk(text, before, folder)
            compared += 1
        elif language == "python":
            done = run([sys.executable, "-W", "error", "-c", text], folder)
            assert (done.returncode, done.stderr) == (0, "")
            printed = done.stdout
        elif language == "output":
            assert printed is not None
            assert settled(printed, folder).strip() == settled(text, folder).strip()
            compared += 1
        elif language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, expected = part.partition("\n")
                assert settled(run_command(line, folder), folder) == settled(expected, folder), line
                compared += 1
    assert compared == 16


def test_the_file_in_the_readme_is_the_one_that_the_first_example_writes(folder: Path) -> None:
    languages = list(blocks("## What a session looks like"))
    example = next(text for language, text in languages if language == "python")
    picture = next(text for language, text in languages if language == "json")
    written = example.replace(
        'FunctionModel(lambda messages: "Paris.")', "FunctionModel(lambda m: 'Paris.', id='offline')"
    )
    assert written != example
    assert run([sys.executable, "-W", "error", "-c", written], folder).returncode == 0
    (document,) = folder.glob("tmp/sessions/sessions/*/fixed_id_for_demo.json")
    assert settled(document.read_text(encoding="utf-8"), folder) == settled(picture, folder)


def test_the_first_command_runs_a_sample_that_is_there() -> None:
    line = command("first command")
    sample = line.rpartition(" ")[2]
    assert line == f"python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/python {sample}"
    assert (ROOT / sample).is_file()


def test_the_table_of_calls_names_every_public_method_of_a_storage() -> None:
    from localstore import JsonStorage

    public = {name for name in vars(JsonStorage.__mro__[1]) if not name.startswith("_")}
    assert {name for name in public if f"`{name}" not in README} == set()

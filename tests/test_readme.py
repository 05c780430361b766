"""The examples on the pages for users are executed, in order and in one folder per page, and print what the page says.

The kinds of blocks:

- `python` is run as a script; an `output` block after it is what the script prints;
- `console` holds commands behind `$` and what a terminal shows then;
- `terminal` is a chat: the lines behind `>` are typed, all the rest has to come by itself;
- `yaml` or `json` below `<!-- start of file: PATTERN -->` is what the file of that name begins with;
- a block without a language, or in `py` (it needs a package that is not installed here), is only read.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from urllib.request import HTTPCookieProcessor, build_opener

import click
import pytest

from tests.effort import ci_only
from tests.scripted_server import scripted_server
from tests.scripted_server import text as answer
from tests.unit.databases.test_sql_upgrade import first_rows
from tests.unit.maintenance.importing.test_agno import database

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "cli/README.md",
    "localstore/README.md",
    "localstore/agents/README.md",
    "localstore/integrations/README.md",
    "localstore/databases/README.md",
    "localstore/viewer/README.md",
)
"""The pages with examples."""
SLOW = ("cli/README.md", "localstore/agents/README.md", "localstore/databases/README.md")
"""The pages whose examples start so many processes that they run at the level `ci` alone."""
LINKED = (
    *PAGES,
    "localstore/FORMAT.md",
    "localstore/maintenance/importing/README.md",
    "tests/README.md",
    "samples/agno/README.md",
    "samples/agno/pdf_knowledge/README.md",
    "CHANGELOG.md",
)
"""The pages whose links are checked."""
ANSWERS = {
    "README.md": ["Nice to meet you, Alice.", "Your name is Alice."],
    "cli/README.md": [
        "Take the underground, line U1.",
        "Line U1.",
        "The one at 7:58.",
        "The one at 9:30.",
        "Take line U1.",
        "Take line U1.",
    ],
}
"""What the model says that the examples of a page ask."""
OLLAMA = "http://localhost:11434/v1"

_BLOCK = re.compile(r"^(?:<!-- start of file: (\S+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<local time>"),
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:T[0-9.]+Z(?:\.[0-9a-f]+)?)?"), "<day>"),
    (re.compile(r"\b\d{4}-\d\d/"), "<month>/"),
    (re.compile(r"\bjust now\b|\b\d+ min ago\b|\byesterday\b"), "<recently>"),
    (re.compile(r'(duration_seconds"?:? )\d+\.\d+'), r"\1 0.0"),
    (re.compile(r"\d+\.\d s$", re.MULTILINE), "0.0 s"),
    (re.compile(r"127\.0\.0\.1:\d+/\?token=\S+"), "<address>"),
    (re.compile(r"\b\d{1,3},\d{3}\b"), "<bytes>"),
    (re.compile(r"(undone|yaml|json) +\d+\b"), r"\1 <bytes>"),
    (re.compile(r"  +"), "  "),
    (re.compile(r" +$", re.MULTILINE), ""),
)


class Block(NamedTuple):
    """A fenced block of a page: its language, its text, and the file that it shows, if it shows one."""

    language: str
    text: str
    file: str


def read_page(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    return [Block(match[2], match[3], match[1] or "") for match in _BLOCK.finditer(read_page(page))]


def settled(text: str, folder: Path) -> str:
    """The text without what differs from run to run."""
    text = text.replace(str(folder), "/home/alice")
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text.strip()


class Reader:
    """Does in a folder what a page says."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.server = server
        commands = folder / "bin"
        commands.mkdir()
        program = "from localstore_cli.app import main; main()"
        for name, words in {"localstore": ["-W", "error", "-c", program], "python": ["-W", "error"]}.items():
            script = commands / name
            script.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *words])} "$@"\n')
            script.chmod(0o755)
        hidden = ("OPENAI_", "LOCALSTORE_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_", "EDITOR", "VISUAL")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        self.environment |= {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "OPENAI_BASE_URL": server,
            "OPENAI_API_KEY": "none",
            "TERM": "xterm-256color",
            "PYTHONUTF8": "1",
            "PAGER": "cat",
        }

    def script(self, text: str) -> str:
        """Run a Python script and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", text],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), text
        return done.stdout

    def command(self, line: str, columns: int = 300) -> str:
        """Run a line of the shell in a terminal, and return what stands there then."""
        from tests.cli.pseudo_terminal import ChatSession
        from tests.terminal import drawn

        if line.startswith("localstore serve"):
            return self._served(line)
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.environment[name] = shlex.split(value)[0]
            return ""
        shell = ["bash", "-c", line.replace(OLLAMA, self.server)]
        with ChatSession(*shell, cwd=self.folder, env=self.environment, columns=columns) as talk:
            assert talk.ended() == 0, talk.text
            return "\n".join(drawn(talk.raw, 1000, 1000)).replace(self.server, OLLAMA)

    def _served(self, line: str) -> str:
        """Start a server, look at its first page, stop it with Ctrl-C, and return what it printed."""
        command = shlex.split(line)
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            address = server.stdout.readline()
            opener = build_opener(HTTPCookieProcessor())
            assert "<table" in opener.open(address.strip(), timeout=60).read().decode()
            server.send_signal(signal.SIGINT)
            rest, remarks = server.communicate(timeout=60)
        assert server.returncode == 0
        return f"{address}{rest}{remarks}"

    def chat(self, transcript: str, before: str) -> None:
        """Chat as a transcript shows it, with the command in its first line, or else with the script before it."""
        from tests.cli.pseudo_terminal import ChatSession

        lines = transcript.splitlines()
        command = [sys.executable, "-c", before]
        if lines[0].startswith("$ "):
            command = ["bash", "-c", lines.pop(0).removeprefix("$ ").replace(OLLAMA, self.server)]
        with ChatSession(*command, cwd=self.folder, env=self.environment, columns=120) as talk:
            at = 0
            while at < len(lines) - 1:
                talk.wait_for_prompt()
                at = len(talk.lines) - 1
                shown, expected = ("\n".join(text[:at]) for text in (talk.lines, lines))
                assert settled(shown.replace(self.server, OLLAMA), self.folder) == settled(expected, self.folder)
                talk.type(f"{lines[at].removeprefix('> ')}\r")
            assert talk.ended() == 0

    def check(self, shown: str, expected: str, what: str) -> None:
        assert settled(shown, self.folder) == settled(expected, self.folder), what


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.mark.skipif(os.name != "posix", reason="the examples are those of a POSIX shell")
@pytest.mark.parametrize("page", [pytest.param(page, marks=ci_only) if page in SLOW else page for page in PAGES])
def test_the_examples_of_a_page_do_what_it_says(page: str, folder: Path) -> None:
    """Each block, in order; none is left out."""
    _add_folder_of_agno(folder)
    with scripted_server(*map(answer, ANSWERS.get(page, []))) as server:
        reader = Reader(folder, server.base_url)
        script = printed = ""
        found = blocks(page)
        for number, block in enumerate(found):
            following = found[number + 1].language if number + 1 < len(found) else ""
            match block.language:
                case "python":
                    script = block.text
                    if following != "terminal":
                        printed = reader.script(script)
                case "output" if found[number - 1].language == "output":
                    # The page says: now ask "What is my name?" instead.
                    script = script.replace("My name is Alice.", "What is my name?")
                    reader.check(reader.script(script), block.text, script)
                case "output":
                    reader.check(printed, block.text, script)
                case "console":
                    for line, expected in _commands(block.text):
                        # The page may break long lines.
                        shown, expected = (" ".join(text.split()) for text in (reader.command(line), expected))
                        reader.check(shown, expected, line)
                case "terminal":
                    reader.chat(block.text, script)
                case "yaml" | "json":
                    (file,) = folder.glob(block.file)
                    content = settled(file.read_text(encoding="utf-8"), folder)
                    assert content.startswith(settled(block.text, folder)), content
                case "py":
                    compile(block.text, page, "exec")
                case language:
                    assert language == ""
        assert len(server.requests) == len(ANSWERS.get(page, []))


def _add_folder_of_agno(folder: Path) -> None:
    """Two sessions as agno 1.x wrote them in files, and one in a database."""
    (folder / "old").mkdir()
    for name, session_id in (("team", "team"), ("workflow-v2", "v2")):
        shutil.copy(ROOT / "tests" / "format" / "agno-1" / f"{name}.json", folder / "old" / f"{session_id}.json")
    database(folder / "agno.db", agent_sessions=first_rows(1))


def _commands(console: str) -> Iterator[tuple[str, str]]:
    """The lines behind `$`, each with the output below it."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        while line.endswith("\\"):
            more, _, output = output.partition("\n")
            line = f"{line}\n{more}"
        yield line, output


def test_the_readme_is_short() -> None:
    assert len(read_page("README.md").splitlines()) <= 150


def test_the_first_command_runs_a_sample_that_is_there() -> None:
    line = _marked_command("first command")
    sample = line.rpartition(" ")[2]
    assert line == f"python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/python {sample}"
    assert (ROOT / sample).is_file()


def test_the_test_command_sets_up_what_it_needs() -> None:
    """CI runs this very line in a fresh checkout."""
    line = _marked_command("test command")
    assert line.startswith(
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/python -m pytest"
    )


def _marked_command(name: str) -> str:
    """The one line of the block of the README that is marked with this comment."""
    match = re.search(rf"<!-- {name} -->\n```\n(.+)\n```", read_page("README.md"))
    assert match is not None
    return match[1]


def test_the_page_of_the_library_names_every_public_method_of_a_storage() -> None:
    from localstore import JsonStorage

    page = read_page("localstore/README.md")
    public = {name for kind in JsonStorage.__mro__[1:-1] for name in vars(kind) if not name.startswith("_")}
    public -= {f"a{name}" for name in public}  # the page names a few of the async twins, and the rule for all of them
    assert {name for name in public if f"`{name}" not in page} == set()


def test_the_page_of_agents_names_every_option_and_public_method() -> None:
    import inspect

    from localstore import Agent, Condition, Loop, Parallel, Task, Team, Workflow

    page = read_page("localstore/agents/README.md")
    parameters = {
        name
        for kind in (Agent, Team, Workflow, Task, Parallel, Condition, Loop)
        for name in inspect.signature(kind).parameters
        if name not in ("options", "work")
    }
    assert {name for name in parameters if not re.search(rf"`[^`]*\b{name}\b[^`]*`", page)} == set()


def test_the_page_of_the_command_line_has_every_command_and_option() -> None:
    """Each of them is in an example: nobody finds an option that the page does not show."""
    page = read_page("cli/README.md")
    cli: click.Group = import_module("localstore_cli.group").cli  # the package's folder has another name
    context = click.Context(cli)
    missing = []
    for name in cli.list_commands(context):
        _, heading, rest = page.partition(f"\n### localstore {name}\n")
        section = rest.partition("\n### localstore ")[0].partition("\n## Exit codes\n")[0]
        command = cli.get_command(context, name)
        assert heading, name
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        examples = "".join(re.findall(r"```(?:console|terminal)\n.*?```|`localstore [^`\n]+`", section, re.DOTALL))
        missing += [
            f"{name} {option}" for option in options - {"--store", "--json", "--color"} if option not in examples
        ]
    assert missing == []


@pytest.mark.parametrize("page", LINKED)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    """Each relative link names a file, and its anchor a heading there."""
    text = re.sub(r"`[^`\n]+`", "", _BLOCK.sub("", read_page(page)))
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def test_the_page_about_tests_names_files_that_exist() -> None:
    """A module that moves takes its mention along."""
    tests = Path(__file__).parent
    names = re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", read_page("tests/README.md"))
    assert len(names) > 40
    assert [
        name for name in names if "NAME" not in name and not ((tests / name).exists() or (ROOT / name).exists())
    ] == []

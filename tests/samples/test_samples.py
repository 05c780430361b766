"""The samples, run as a user runs them: each in its own process, in any folder, twice."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.cli.database_urls import URLS
from tests.effort import ci_only
from tests.scripted_server import error, scripted_server, stream, text

SAMPLES = Path(__file__).parents[2] / "samples"
INTRODUCTION, QUESTION = "My name is Alice.", "What is my name?"


class Folder:
    """A working directory in which samples are run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(
        self, sample: str, *arguments: str, questions: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        command = [sys.executable, "-W", "error", str(SAMPLES / sample), *arguments]
        env = {**kept, "PYTHONIOENCODING": "utf-8", **environment}
        return subprocess.run(
            command, cwd=self.path, env=env, input=questions, capture_output=True, encoding="utf-8", check=False
        )

    def run(self, sample: str, *arguments: str, **environment: str) -> list[str]:
        """Return the lines that the sample prints. It must succeed and write nothing to the standard error."""
        done = self.start(sample, *arguments, **environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def documents(self) -> list[Path]:
        return sorted((self.path / "tmp/sessions/sessions").glob("*/*"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def load(document: Path) -> Any:
    raw = document.read_text(encoding="utf-8")
    return json.loads(raw) if document.suffix == ".json" else yaml.safe_load(raw)


def questions(document: Path) -> list[str]:
    return [entry["messages"][0]["content"] for entry in load(document)["history"]]


def answer_to(question: str, lines: list[str]) -> str:
    """The first answer to this question in what a sample printed."""
    return lines[lines.index(f"> {question}") + 1]


def session_of(lines: list[str], word: str) -> str:
    """The session id in the only line that starts with this word."""
    [line] = [line for line in lines if line.startswith(word)]
    return line.split()[1]


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("quickstart.py", "quickstart.json"),
        pytest.param("quickstart_yaml.py", "quickstart_yaml.yaml", marks=ci_only),
    ],
)
def test_a_quickstart_remembers_when_run_again(folder: Folder, sample: str, name: str) -> None:
    """The second run knows the name that the first one was given; the printed path is the only document."""
    first = folder.run(sample)
    assert "offline" in first[0]
    assert answer_to(INTRODUCTION, first) == "Nice to meet you, Alice."
    assert first[-1] == "Run this again: the agent will know your name."
    second = folder.run(sample)
    assert answer_to(QUESTION, second) == "Your name is Alice."
    assert INTRODUCTION not in "\n".join(second)
    [document] = folder.documents()
    assert document.name == name
    assert first[-2].endswith(str(document))
    assert second[-1].endswith(str(document))
    assert questions(document) == [INTRODUCTION, QUESTION]
    assert answer_to(QUESTION, folder.run(sample)) == "Your name is Alice."


@ci_only
def test_the_sessions_sample_continues_the_newest_session(folder: Folder) -> None:
    """Without a session it starts one; then it continues the newest, whatever its format; --new starts another."""
    first = folder.run("sessions.py")
    assert session_of(first, "Starting")
    assert answer_to(QUESTION, first) == "I do not know your name yet."
    folder.run("quickstart_yaml.py")
    continued = folder.run("sessions.py")
    assert session_of(continued, "Continuing") == "quickstart_yaml"
    assert answer_to(QUESTION, continued) == "Your name is Alice."
    assert continued[0].startswith("quickstart_yaml: 1 runs, the last at ")
    assert continued[1].startswith(f"{session_of(first, 'Starting')}: 3 runs, the last at ")
    assert sum(f"user: {INTRODUCTION}" in line for line in continued) == 2
    new = folder.run("sessions.py", "--new")
    assert answer_to(QUESTION, new) == "I do not know your name yet."
    assert len(folder.documents()) == 3
    assert session_of(folder.run("sessions.py"), "Continuing") == session_of(new, "Starting")


@ci_only
@pytest.mark.parametrize("sample", ["quickstart.py", "quickstart_yaml.py", "sessions.py"])
def test_a_sample_asks_the_server_that_the_environment_names(folder: Folder, sample: str) -> None:
    """Your own server needs no key, and the second run sends what the first one stored."""
    script = [text(f"answer {number}") for number in range(6)]
    with scripted_server(*script) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_MODEL": "tiny"}
        printed = folder.run(sample, **environment)
        folder.run(sample, **environment)
    assert "answer 0" in printed
    assert not any("offline" in line for line in printed)
    assert set(server.keys) == {"none"}
    assert {request["model"] for request in server.requests} == {"tiny"}
    asked = [[message["content"] for message in request["messages"]] for request in server.requests]
    if sample == "sessions.py":
        assert asked[2] == [QUESTION, "answer 0", INTRODUCTION, "answer 1", QUESTION]
        assert asked[3] == [QUESTION, "answer 0", INTRODUCTION, "answer 1", QUESTION, "answer 2", QUESTION]
    else:
        assert asked == [[INTRODUCTION], [INTRODUCTION, "answer 0", QUESTION]]
    [document] = folder.documents()
    [*_, last] = load(document)["history"]
    assert last["messages"][1]["content"] == f"answer {len(asked) - 1}"
    assert (last["model"], last["metrics"]["input_tokens"], last["metrics"]["output_tokens"]) == ("tiny", 7, 3)


@ci_only
def test_a_refused_key_ends_the_sample_and_is_stored(folder: Folder) -> None:
    """OPENAI_API_KEY reaches the server, the document holds its refusal, and the next run asks again."""
    with scripted_server(error(401, "wrong key")) as server:
        done = folder.start("quickstart.py", OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY="mine")
    assert done.returncode == 1
    assert "AuthenticationError" in done.stderr
    assert (server.keys, server.requests[0]["model"]) == (["mine"], "gpt-4o-mini")
    [document] = folder.documents()
    [entry] = load(document)["history"]
    assert entry["status"] == "error"
    assert "wrong key" in entry["error"]
    assert answer_to(INTRODUCTION, folder.run("quickstart.py")) == "Nice to meet you, Alice."


def test_a_team_of_two_answers(folder: Folder) -> None:
    """Offline and with a server, the leader's run holds the answers of both members."""
    lines = folder.run("team.py")
    assert lines[1] == "> Shall we take the night train to Vienna?"
    assert {"Optimist:", "Sceptic:", "Answer:"} <= set(lines)
    with scripted_server(stream("Cheap."), stream("Loud."), stream("Cheap, but loud.")) as server:
        lines = folder.run("team.py", OPENAI_BASE_URL=server.base_url)
        assert len(server.requests) == 3
        assert "Shall we take the night train to Vienna?" in str(server.requests[2]["messages"][-2])
    assert "Cheap, but loud." in lines
    (document,) = folder.documents()
    offline, asked = load(document)["history"]
    assert [len(run["member_runs"]) for run in (offline, asked)] == [2, 2]
    assert sorted(run["agent_id"] for run in asked["member_runs"]) == ["optimist", "sceptic"]


@ci_only
@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_killed_workflow_is_resumed(folder: Folder) -> None:
    """Another process resumes it, offline and with a server; the first step is done once in each run."""
    lines = folder.run("workflow.py")
    killed = "The first process was killed. Stored: unfinished, ['collect']"
    assert killed in lines
    assert "speaker: Passengers, please take the train at 7:58!" in lines
    assert "Times that the first step ran in this session: 1" in lines
    with scripted_server(text("All aboard!")) as server:
        lines = folder.run("workflow.py", OPENAI_BASE_URL=server.base_url)
        assert server.requests[0]["messages"][-1]["content"] == "Train at 7:58"
    assert killed in lines
    assert "speaker: All aboard!" in lines
    assert "Times that the first step ran in this session: 2" in lines
    (document,) = folder.documents()
    assert [run["status"] for run in load(document)["history"]] == ["completed", "completed"]


@ci_only
def test_the_assistant_uses_its_tools_and_remembers(folder: Folder) -> None:
    """The second process still has the to-do list of the first."""
    for number in (1, 2):
        done = folder.start("desktop.py", questions="Remind me to buy milk\nbye\n")
        assert done.returncode == 0
        assert 'Calls add_task(task="buy milk")' in done.stdout.splitlines()
        assert f"Done: {number} tasks on the list." in done.stdout.splitlines()
    (document,) = folder.documents()
    assert load(document)["history"][-1]["session_state"] == {"to_do": ["buy milk", "buy milk"]}


@ci_only
@pytest.mark.skipif(os.name != "posix", reason="the script needs a pseudo-terminal")
def test_the_picture_shows_what_a_terminal_shows(folder: Folder) -> None:
    """The README's picture has the text that its script draws today."""
    folder.run("make_terminal_picture.py", "today.svg")
    stored, today = (_text_of(file) for file in (SAMPLES / "terminal.svg", folder.path / "today.svg"))
    assert len(stored) > 10
    assert stored == today


def _text_of(picture: Path) -> list[str]:
    """The lines of text in an SVG, with its months replaced."""
    texts = ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - made by our own script
    return [re.sub(r"\d{4}-\d\d", "<month>", text.text or "") for text in texts]


@pytest.mark.parametrize(
    "other", [pytest.param(name, marks=() if name == "sqlite" else ci_only) for name in ("sqlite", "postgres", "mongo")]
)
def test_the_databases_sample_prints_the_same_for_every_store(folder: Folder, other: str) -> None:
    for _ in range(2):
        expected = folder.run("databases.py")
        assert folder.run("databases.py", URLS[other](folder.path)) == expected
    assert expected[2] == "Your name is Alice."

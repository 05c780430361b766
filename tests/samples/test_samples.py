"""The samples run as people run them: in a process of their own, in any folder, twice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scripted_server import error, scripted_server, stream, text

SAMPLES = Path(__file__).parents[2] / "samples"
LAST, FRANCE = "What was my last question?", "What is the capital of France?"


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
        """The lines that the sample prints; it has nothing to complain about."""
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


def first_answer(lines: list[str]) -> str:
    return lines[lines.index(f"> {LAST}") + 1]


def session_of(lines: list[str], word: str) -> str:
    """The session id in the line that begins with this word."""
    [line] = [line for line in lines if line.startswith(word)]
    return line.split()[1]


@pytest.mark.parametrize(
    ("sample", "name"),
    [("quickstart.py", "fixed_id_for_demo.json"), ("quickstart_yaml.py", "fixed_id_for_yaml_demo.yaml")],
)
def test_a_quickstart_continues_when_run_again(folder: Folder, sample: str, name: str) -> None:
    """The second run knows the last question of the first; the printed path is the one document there is."""
    first = folder.run(sample)
    assert "offline" in first[0]
    assert first_answer(first) == "This is your first question."
    second = folder.run(sample)
    assert first_answer(second) == f"Your last question was: {LAST}"
    assert sum(f"user: {FRANCE}" in line for line in second) == 2
    [document] = folder.documents()
    assert document.name == name
    assert second[-1].endswith(str(document))
    assert questions(document) == [LAST, FRANCE, LAST] * 2


def test_the_sessions_sample_continues_the_newest_session(folder: Folder) -> None:
    """Without a session it begins one; then it goes on with the newest, whatever its format; --new begins another."""
    begun = folder.run("sessions.py")
    assert session_of(begun, "Beginning")
    folder.run("quickstart_yaml.py")
    continued = folder.run("sessions.py")
    assert session_of(continued, "Continuing") == "fixed_id_for_yaml_demo"
    assert continued[0].startswith("fixed_id_for_yaml_demo: 3 runs, the last at ")
    assert continued[1].startswith(f"{session_of(begun, 'Beginning')}: 3 runs, the last at ")
    new = folder.run("sessions.py", "--new")
    assert first_answer(new) == "This is your first question."
    assert len(folder.documents()) == 3
    assert session_of(folder.run("sessions.py"), "Continuing") == session_of(new, "Beginning")


@pytest.mark.parametrize("sample", ["quickstart.py", "quickstart_yaml.py", "sessions.py"])
def test_a_sample_asks_the_server_that_the_environment_names(folder: Folder, sample: str) -> None:
    """No key is needed for a server of one's own, and the second run sends what the first one stored."""
    script = [text(f"answer {number}") for number in range(6)]
    with scripted_server(*script) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_MODEL": "tiny"}
        printed = folder.run(sample, **environment)
        folder.run(sample, **environment)
    assert "answer 2" in printed
    assert not any("offline" in line for line in printed)
    assert set(server.keys) == {"none"}
    assert {request["model"] for request in server.requests} == {"tiny"}
    asked = [[message["content"] for message in request["messages"]] for request in server.requests]
    assert asked[2] == [LAST, "answer 0", FRANCE, "answer 1", LAST]
    assert asked[3] == [LAST, "answer 0", FRANCE, "answer 1", LAST, "answer 2", LAST]
    [document] = folder.documents()
    [*_, last] = load(document)["history"]
    assert last["messages"][1]["content"] == "answer 5"
    assert (last["model"], last["metrics"]["input_tokens"], last["metrics"]["output_tokens"]) == ("tiny", 7, 3)


def test_a_refused_key_ends_the_sample_and_is_stored(folder: Folder) -> None:
    """OPENAI_API_KEY reaches the server; its refusal is in the document."""
    with scripted_server(error(401, "wrong key")) as server:
        done = folder.start("quickstart.py", OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY="mine")
    assert done.returncode == 1
    assert "AuthenticationError" in done.stderr
    assert (server.keys, server.requests[0]["model"]) == (["mine"], "gpt-4o-mini")
    [document] = folder.documents()
    [entry] = load(document)["history"]
    assert entry["status"] == "error"
    assert "wrong key" in entry["error"]


def test_a_team_of_two_answers(folder: Folder) -> None:
    """Offline and with a server: what each of them said stands in the leader's run."""
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


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_workflow_is_killed_and_goes_on(folder: Folder) -> None:
    """In another process, offline and with a server; the first step is done once in each run."""
    lines = folder.run("workflow.py")
    told = "The first process was killed. Stored: unfinished, ['collect']"
    assert told in lines
    assert "speaker: Passengers, please take the train at 7:58!" in lines
    assert "Collected so often in all runs: 1" in lines
    with scripted_server(text("All aboard!")) as server:
        lines = folder.run("workflow.py", OPENAI_BASE_URL=server.base_url)
        assert server.requests[0]["messages"][-1]["content"] == "Train at 7:58"
    assert told in lines
    assert "speaker: All aboard!" in lines
    assert "Collected so often in all runs: 2" in lines
    (document,) = folder.documents()
    assert [run["status"] for run in load(document)["history"]] == ["completed", "completed"]


def test_the_assistant_uses_its_tools_and_remembers(folder: Folder) -> None:
    """Twice: the second process knows what is to be done."""
    for number in (1, 2):
        done = folder.start("desktop.py", questions="Remind me of milk\nbye\n")
        assert done.returncode == 0
        assert 'Calls remind(of="milk")' in done.stdout.splitlines()
        assert f"Done: {number} things to do." in done.stdout.splitlines()
    (document,) = folder.documents()
    assert load(document)["history"][-1]["session_state"] == {"to_do": ["milk", "milk"]}

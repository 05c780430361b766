"""agno's example with a PDF in PgVector, as people run it: real agno, real PostgreSQL with pgvector, our storage."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.effort import ci_only
from tests.environments import ROOT, interpreter_or_skip, without_settings
from tests.scripted_server import ScriptedServer, scripted_server, text, tool_call

pytestmark = ci_only
SAMPLE = ROOT / "samples" / "agno" / "pdf_knowledge"
TORTE, SOUP, LENTILS = "Wachauer torte Whip six egg whites", "Barley soup Cook 150 g", "Lentil salad Boil 200 g"
WORDS = 64


def embed(said: str) -> list[float]:
    """A bag of words: near to texts with the same words. It knows no long words, as models know no rare ones: a text
    of those alone is equally far from all others."""
    vector = [0.0] * (WORDS + 1)
    for word in re.findall(r"\w+", said.lower()):
        if 3 < len(word) < 8:
            vector[1 + int.from_bytes(sha256(word.encode()).digest()[:4]) % WORDS] += 1.0
    vector[0] = float(not any(vector))
    return vector


@pytest.fixture(scope="session")
def python_with_knowledge() -> Path:
    """The interpreter of an environment with the requirements of the sample."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = [needed for needed in project["dependencies"] if not needed.startswith("openai")]
    return interpreter_or_skip(
        "pdf-knowledge", [*(SAMPLE / "requirements.txt").read_text(encoding="utf-8").split(), *ours]
    )


class Kitchen:
    """A folder in which the sample is run, with its PostgreSQL and its sessions."""

    def __init__(self, python: Path, folder: Path, server: ScriptedServer) -> None:
        self.python, self.folder, self.server = python, folder, server

    def ask(self, *arguments: str, typed: str = "") -> str:
        """What a run of the sample prints."""
        environment = {
            **without_settings("PG"),
            "AGNO_TELEMETRY": "false",
            "COLUMNS": "100",
            "OPENAI_BASE_URL": self.server.base_url,
            "OPENAI_MODEL": "scripted",
            "OPENAI_EMBEDDING_MODEL": "bag-of-words",
            "PYTHONIOENCODING": "utf-8",
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [str(self.python), str(SAMPLE / "pdf_agent.py"), *arguments],
            cwd=self.folder,
            env=environment,
            input=typed,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ERROR" not in done.stdout, done.stdout
        return done.stdout

    def sessions(self) -> dict[str, Any]:
        """The documents by their session ids, read without our code."""
        files = (self.folder / "tmp/pdf_agent/sessions").glob("*/*.json")
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}

    def stop(self) -> None:
        """Stop the PostgreSQL of a run that was killed; others stopped it themselves."""
        with suppress(FileNotFoundError):
            pid = (self.folder / "tmp/postgres/postmaster.pid").read_text(encoding="utf-8").splitlines()[0]
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGINT)


@pytest.fixture
def kitchen(python_with_knowledge: Path) -> Iterator[Kitchen]:
    # Not in pytest's folder: as root, PostgreSQL runs as another user, who may not go through there; and the path of a
    # socket has to be short.
    folder = Path(tempfile.mkdtemp(prefix="localstore-pg-"))
    with scripted_server(
        tool_call("search_knowledge_base", json.dumps({"query": "Wachauer"})),
        text("Whip six egg whites."),
        text("An hour."),
        text("For 20 minutes."),
        text("A second one."),
    ) as server:
        server.embed = embed
        started = Kitchen(python_with_knowledge, folder, server)
        try:
            yield started
        finally:
            started.stop()
            shutil.rmtree(folder, ignore_errors=True)


def found(run: Any) -> list[str]:
    """The recipes that the search of a run found, the best first."""
    [references] = run["extra_data"]["references"]
    return [reference["content"] for reference in references["references"]]


def history(document: Any) -> list[list[str]]:
    """The messages of each run: their roles."""
    return [[message["role"] for message in run["messages"]] for run in document["history"]]


@pytest.mark.timeout(900)  # the environment is made once
def test_the_agent_finds_recipes_and_continues_its_last_session(kitchen: Kitchen) -> None:
    """Two runs are one session, and --new another one. The search finds by words what the vectors do not know, and by
    vectors what has other words; what was found is in the document, once."""
    first = kitchen.ask("How does the cake from the valley start?")
    assert "Started Session" in first
    assert "Added 7 documents" in first
    assert "Whip six egg whites." in first
    [(session_id, document)] = kitchen.sessions().items()
    [by_tool] = document["history"]
    assert history(document) == [["user", "assistant", "tool", "assistant"]]
    assert found(by_tool)[0].startswith(TORTE)  # by words: no vector knows this one
    assert json.loads(by_tool["messages"][2]["content"])[0]["content"] == found(by_tool)[0]

    second = kitchen.ask("--no-tools", "How much time does cooked barley in broth take, an hour or two?")
    assert f"Continuing Session: {session_id}" in second
    assert "Added 0 documents" in second
    [(same_id, document)] = kitchen.sessions().items()
    assert same_id == session_id
    for part in ("run_id", "messages", "extra_data"):
        assert document["history"][0][part] == by_tool[part]
    assert history(document) == [["user", "assistant", "tool", "assistant"], ["user", "assistant"]]
    asked, answered = document["history"][1]["messages"]
    assert found(document["history"][1])[0].startswith(SOUP)  # by vectors: not all the words are in it
    assert SOUP in asked["content"]
    assert answered["content"] == "An hour."
    sent = [message["content"] for message in kitchen.server.requests[-1]["messages"]]
    assert "How does the cake from the valley start?" in sent  # the history went to the model, but not into the run

    third = kitchen.ask("--no-tools", "--new", typed="How long are black lentils boiled?\nAnd what else?\nexit\n")
    assert "Started Session" in third
    sessions = kitchen.sessions()
    assert sessions.pop(session_id) == document
    [talk] = sessions.values()
    assert history(talk) == [["user", "assistant"]] * 2
    assert found(talk["history"][0])[0].startswith(LENTILS)
    assert [run["messages"][1]["content"] for run in talk["history"]] == ["For 20 minutes.", "A second one."]
    assert not (kitchen.folder / "tmp/postgres/postmaster.pid").exists()


def test_a_document_of_it_is_ours_to_read(kitchen: Kitchen) -> None:
    """The raw text: indented, the recipe stands in it as it is read, and no vector does."""
    kitchen.ask("What is whipped?")
    [path] = (kitchen.folder / "tmp/pdf_agent/sessions").glob("*/*.json")
    raw = path.read_text(encoding="utf-8")
    assert f'\n                "content": "{TORTE}' in raw
    assert "embedding" not in raw
    assert raw.count('"role": "user"') == 1


def test_the_pdf_is_what_its_script_writes() -> None:
    made = runpy.run_path(str(SAMPLE / "make_recipes.py"))
    pages = [made["page"](title, said) for title, said in made["RECIPES"].items()]
    assert (SAMPLE / "recipes.pdf").read_bytes() == made["pdf"](pages)

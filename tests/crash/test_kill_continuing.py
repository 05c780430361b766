"""Agents, teams and workflows are killed at any moment, and the next process continues what they left.

How often: see `tests/effort.py`.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from localstore.format.values import to_json_value
from tests import oracle
from tests.cli.database_urls import URLS
from tests.crash.continuing import LOG, WORDS, agent, opened
from tests.crash.writer import SESSION, STORAGES
from tests.effort import ci_only, rounds

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks and kills")
_HOME = Path(__file__).parents[2]
_log = logging.getLogger(__name__)
STORES = [".json", ".yaml", *(pytest.param(name, marks=ci_only) for name in ("sqlite", "postgres"))]
_PATIENCE = 120.0
"""Seconds after which a process that makes no progress fails the test."""


class Victims:
    """Processes that go on with each other's work."""

    def __init__(self, process: subprocess.Popen[str], root: Path) -> None:
        self._process = process
        self._log = root.parent / LOG
        self._read = 0

    def kill_one(self, lines: int, seconds: float) -> list[list[str]]:
        """Start one, wait until it has written so many lines to the log, let it go on for so long, and kill it.

        Return the lines that it wrote. The condition guarantees progress on any machine; the time after it makes the
        kill hit any moment.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        end = time.monotonic() + _PATIENCE
        while self._count() < self._read + lines:
            assert time.monotonic() < end, f"no {lines} lines after {_PATIENCE} s"
            time.sleep(0.0005)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        assert self._process.stdout.readline() == "gone\n"
        text = self._log.read_text().splitlines() if self._log.exists() else []
        new, self._read = text[self._read :], len(text)
        found = [line.split(" ", 2) for line in new]
        assert [line for line in found if line[0] == "failed"] == []
        return found

    def _count(self) -> int:
        return self._log.read_bytes().count(b"\n") if self._log.exists() else 0


@contextmanager
def victims(kind: str, root: Path, where: str) -> Iterator[Victims]:
    command = [sys.executable, "-m", "tests.crash.continuing", kind, str(root), where]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_HOME) as process:
        yield Victims(process, root)
        process.communicate()


def stored(root: Path, where: str) -> list[dict[str, Any]]:
    """The runs of the session, as another parser reads them; in a torn document or a database, as we do."""
    if where in STORAGES:
        with suppress(ValueError):
            found = oracle.sessions(root).get(SESSION)
            return [] if found is None else [entry for entry in found.history if entry["type"] == "run"]
    with closing(opened(root, where)) as storage:
        session = storage.read(SESSION)
    assert session is not None or where not in STORAGES
    return [] if session is None else [to_json_value(run) for run in session.runs]


def made(root: Path, name: str) -> str:
    """Make the store, and return what `opened` takes."""
    where = name if name in STORAGES else URLS[name](root.parent)
    opened(root, where).close()
    return where


def how_often(name: str, default: int, ci: int, long: int) -> int:
    """The number of rounds; a quarter of it for databases."""
    return rounds(default, ci, long) // (1 if name in STORAGES else 4)


def places(run: dict[str, Any]) -> list[str]:
    return ["/".join([*step.get("within", []), step["name"]]) for step in run.get("steps", [])]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", STORES)
def test_no_finished_step_is_lost_and_none_is_done_again(name: str, tmp_path: Path) -> None:
    """Kills between and inside of steps: a workflow that did a step twice would pay twice."""
    root = tmp_path.resolve() / "store"
    where = made(root, name)
    chance = random.Random(name)
    steps = 0
    known: dict[str, list[str]] = {}
    with victims("workflow", root, where) as process:
        for _ in range(how_often(name, 12, 30, 1000)):
            told = process.kill_one(chance.choice((0, 1, 5, 25)), chance.uniform(0, 0.006))
            steps += len([line for line in told if line[0] == "does"])
            runs = {run["run_id"]: run for run in stored(root, where)}
            for run_id, before in known.items():
                now = places(runs[run_id])
                assert now[: len(before)] == before, f"a step of run {run_id} was lost"
                done = {place.rpartition("/")[2] for place in before if "[" not in place}
                again = [line[2] for line in told if line[0] == "does" and line[1] == run_id and line[2] in done]
                assert not again, f"{again} of run {run_id} was stored, and done again"
            for word, run_id, *more in told:
                if word == "stored":
                    assert more[0] in places(runs[run_id]), f"{more[0]} was acknowledged and is not stored"
                elif word == "ok":
                    assert runs[run_id]["status"] == "completed"
            for run in runs.values():
                assert len(places(run)) == len(set(places(run))), "a step stands twice"
                assert run["status"] in ("completed", "unfinished")
            assert list(runs) == [str(number) for number in range(len(runs))]
            last = list(runs.values())[-1:]
            known = {run["run_id"]: places(run) for run in last}
    _log.info("%s steps, %s runs", steps, len(runs))
    assert len(runs) > how_often(name, 2, 4, 200)  # a run writes some 23 lines
    complete = [run for run in runs.values() if run["status"] == "completed"]
    assert {len(places(run)) for run in complete} == {11}
    assert {run["steps"][-1]["output"] for run in complete} == {f"last of {run['run_id']}" for run in complete}


@ci_only
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["agent", "team"])
@pytest.mark.parametrize("name", STORES)
def test_a_killed_agent_loses_nothing_that_was_acknowledged(name: str, kind: str, tmp_path: Path) -> None:
    """At most the last run is unfinished; it has its question, and of its answer what had been stored."""
    root = tmp_path.resolve() / "store"
    where = made(root, name)
    chance = random.Random(f"{name} {kind}")
    acknowledged: list[str] = []
    partial = 0
    with victims(kind, root, where) as process:
        for _ in range(how_often(name, 8, 20, 300)):
            told = process.kill_one(chance.choice((0, 0, 1, 2)), chance.choice((0.003, 0.03)) * chance.random())
            acknowledged += [line[1] for line in told if line[0] == "ok"]
            runs = stored(root, where)
            assert [run["status"] for run in runs[:-1]] == ["completed"] * (len(runs) - 1)
            finished = [run["run_id"] for run in runs if run["status"] == "completed"]
            assert [run_id for run_id in acknowledged if run_id not in finished] == []
            for run in runs:
                assert run["messages"][0] == {"role": "user", "content": "How many?"}
                answer = "" if run["messages"][-1]["role"] != "assistant" else run["messages"][-1].get("content", "")
                assert "".join(WORDS).startswith(answer)
                assert run["status"] == "unfinished" or answer == "".join(WORDS)
                partial += run["status"] == "unfinished" and bool(answer)
    _log.info("%s acknowledged, %s partial answers", len(acknowledged), partial)
    assert len(acknowledged) >= (how_often(name, 3, 6, 120) if name in STORAGES else 1)
    if kind == "agent":
        with closing(opened(root, where)) as storage:
            agent(storage).resume()
            session = storage.read(SESSION)
        assert session is not None
        assert session.session_state == {"count": len(session.runs)}

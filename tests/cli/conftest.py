"""Fixtures for the tests of the command line: ways to run it, and a store with a few sessions."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from unittest import mock

import click
import pytest
from click.testing import CliRunner, Result

from localstore import JsonStorage, Message, Run, ToolCall, YamlStorage, open_storage
from tests.effort import ci_only, rounds

from .database_urls import URLS

ENTRY_POINT = Path(sysconfig.get_path("scripts")) / ("localstore.exe" if sys.platform == "win32" else "localstore")
Finished = subprocess.CompletedProcess[str]
Command = Callable[..., Finished]
_NUMBER = pytest.StashKey[int]()
"""The number of a test among those of its module that run the command."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    numbers: Counter[Path] = Counter()
    for item in items:
        if "run" in getattr(item, "fixturenames", ()):
            item.stash[_NUMBER] = numbers[item.path]
            numbers[item.path] += 1


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without the variables that change what the command does or how it looks."""
    hidden = {"LOCALSTORE_DIR", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    hidden |= {"PAGER", "LESS"}
    return {**{name: value for name, value in os.environ.items() if name not in hidden}, **extra}


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    if not ENTRY_POINT.exists():
        pytest.fail("the command is not installed here: pip install -e '.[dev]'")


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Command:
    """Return a function that runs the command, in `tmp_path` unless `cwd` is given.

    It runs in this process at the default level of effort. At the level `ci` the first test of each module starts
    processes instead, and every eighth after it lets a process that has loaded the commands fork for each of them. At
    the level `long` all of them start processes."""
    number = request.node.stash.get(_NUMBER, 0)
    run_command = _run_here
    if number < rounds(0, 1, 1_000_000):
        run_command = _run_in_a_process
    elif number % 8 < rounds(0, 1, 1) and hasattr(os, "fork"):
        run_command = import_module("tests.cli.forked_command").run_forked

    def call(*args: str | Path, cwd: Path = tmp_path, env: Mapping[str, str] = {}) -> Finished:
        return run_command([str(arg) for arg in args], cwd, clean_environment(**env))

    return call


@pytest.fixture
def run_process(tmp_path: Path) -> Command:
    """Return a function that always runs the command in a process of its own."""

    def call(*args: str | Path, cwd: Path = tmp_path, env: Mapping[str, str] = {}) -> Finished:
        return _run_in_a_process([str(arg) for arg in args], cwd, clean_environment(**env))

    return call


def _run_here(args: list[str], cwd: Path, env: Mapping[str, str]) -> Finished:
    with contextlib.chdir(cwd), mock.patch.dict(os.environ, env, clear=True):
        result = CliRunner().invoke(command_group(), args)
    return Finished(args, result.exit_code, result.stdout, result.stderr)


def _run_in_a_process(args: list[str], cwd: Path, env: Mapping[str, str]) -> Finished:
    command: list[str | Path] = [ENTRY_POINT, *args]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", timeout=120)


def command_group() -> click.Group:
    group: click.Group = import_module("localstore_cli.group").cli  # the package's folder has another name
    return group


@pytest.fixture(params=[pytest.param(name, marks=() if name == "sqlite" else ci_only) for name in URLS])
def url(request: pytest.FixtureRequest, tmp_path: Path, store: Path) -> str:
    """The URL of a database with the sessions of the folder `store`."""
    found = URLS[request.param](tmp_path)
    with open_storage(found) as storage:
        JsonStorage(store).copy_to(storage)
    return found


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs the command in this process, with its output in a pipe."""
    monkeypatch.delenv("LOCALSTORE_DIR", raising=False)

    def call(*args: str | Path) -> Result:
        return CliRunner().invoke(command_group(), [str(arg) for arg in args])

    return call


def weather_run(question: str, answer: str, *, created_at: str, lines: int = 3) -> Run:
    """Return a run in which the model calls a tool with an output of several lines."""
    output = "\n".join(f"line {number} of the tool" for number in range(1, lines + 1))
    return Run(
        created_at=created_at,
        model="gpt-4o-mini",
        messages=[
            Message(role="user", content=question),
            Message(role="assistant", tool_calls=[ToolCall(id="c1", name="get_weather", arguments={"city": "Wien"})]),
            Message(role="tool", tool_call_id="c1", content=output),
            Message(role="assistant", content=answer),
        ],
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two JSON sessions and a YAML one; `vienna-trip` is the newest."""
    root = tmp_path / "store"
    storage = JsonStorage(root)
    storage.append(
        "graz-1",
        weather_run("Graz?", "Rain.", created_at="2026-01-01T10:00:00.000Z"),
        user_id="alice",
        entity_id="guide",
    )
    YamlStorage(root).append(
        "linz-1", weather_run("Linz?", "Fog.", created_at="2026-01-02T10:00:00.000Z"), user_id="bob", kind="team"
    )
    for number in range(1, 13):
        run = weather_run(
            f"question {number}", f"answer {number}", created_at=f"2026-01-03T10:00:{number:02d}.000Z", lines=130
        )
        storage.append("vienna-trip", run, user_id="alice", entity_id="guide")
    storage.update("vienna-trip", name="Trip to Vienna")
    return root

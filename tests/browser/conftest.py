"""A real server in a process of its own, and a real browser without a screen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from localstore import JsonStorage, Message, Metrics, Run, Step
from localstore.models.session import ToolCall

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
Open = Callable[..., Page]
expect.set_options(timeout=30_000)  # the machine may be busy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return headless Chromium, which ends with the module: until then, no other test can run an event loop.

    Where there is none, the tests are skipped, but not if `CI` is set."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("There is no chromium. .ci/run installs it.")
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def serving(store: Path | str, *options: str) -> Iterator[str]:
    """Serve a store in a process of its own, and yield the address with the token."""
    command = [sys.executable, "-c", "from localstore_cli.app import main; main()", "serve", str(store), "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCALSTORE_")}
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), server.communicate()
            yield address
        finally:
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=30)
        assert server.returncode == 0, errors
        assert errors == "localstore: Ctrl-C stops the server.\n"


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Open an address in a fresh window; at the end, no page may have had an error or a broken rule of its policy."""
    contexts = []
    errors: list[str] = []

    def open_page(
        address: str,
        path: str = "",
        *,
        width: int = 1400,
        scheme: str = "light",
        scripts: bool = True,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=scripts,
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
        page.goto(address)
        if path:
            page.goto(address.partition("/?")[0] + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def conversation(number: int, started: datetime, **fields: object) -> Run:
    """Return a run with Markdown, code and a tool call."""
    call = ToolCall(id="c1", name="timetable", arguments={"to": "Linz", "day": "2026-11-27"})
    return Run.model_validate(
        {
            "run_id": f"r{number}",
            "created_at": started,
            "messages": [
                Message(role="user", content=f"Question {number}: which train?"),
                Message(role="assistant", tool_calls=[call]),
                Message(role="tool", tool_call_id="c1", content='{"trains": ["RJX 262"]}'),
                Message(role="assistant", content=f"Take **RJX {number}**.\n\n```python\nprint({number})\n```"),
            ],
            "model": "gpt-4o-mini",
            "metrics": Metrics(input_tokens=500 + number, output_tokens=40, duration_seconds=1.0 + number),
            **fields,
        }
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with sessions of every kind. Tests that change sessions use some of their own."""
    folder = tmp_path_factory.mktemp("filled") / "store"
    storage = JsonStorage(folder, durability="relaxed")
    began = datetime.now(UTC) - timedelta(hours=3)
    for number in range(60):
        run = conversation(1, began - timedelta(hours=number), status="error" if number % 9 == 8 else "completed")
        storage.append(f"session-{number}", run, user_id=("alice", "bob")[number % 2], entity_id="planner")
    for name in ("trip", "rated", "named", "plain", "kept"):
        states = ({"cart": ["RJX 262"]}, None, {"cart": ["RJX 262"], "budget": 90})
        runs = [
            conversation(number, began + timedelta(minutes=number), session_state=states[number - 1])
            for number in (1, 2, 3)
        ]
        storage.append_many(name, runs, user_id="alice", entity_id="planner")
        storage.update(name, name=f"The {name} one", tags=["travel"])
    storage.append_many(
        "long", [conversation(number, began + timedelta(seconds=number)) for number in range(1, 151)], user_id="bob"
    )
    fork = storage.fork("trip", "r2", new_id="fork")
    storage.append(fork, conversation(9, began))
    member = conversation(1, began, agent_id="timetable-agent")
    step = Step(name="draft", created_at=began, output="A *draft*.", metrics=Metrics(duration_seconds=0.5))
    whole = conversation(1, began, member_runs=[member], metrics=Metrics(duration_seconds=4.0))
    storage.append("team", whole, kind="team", entity_id="planners")
    storage.append("flow", Run(run_id="r1", input="Tea", steps=[step]), kind="workflow", entity_id="report")
    storage.close()
    return folder


@pytest.fixture(scope="module")
def address(filled: Path) -> Iterator[str]:
    """Return the address of the pages of the filled store, which may be changed."""
    with serving(filled) as address:
        yield address

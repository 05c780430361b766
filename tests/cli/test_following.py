"""`localstore show --follow`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from localstore import Agent, FunctionModel, JsonStorage, Message, Run, Team, ToolCall, Workflow
from localstore.maintenance.trash import put_back, throw_away
from localstore.models.schema import RunStatus
from localstore.storage.following import Follower
from tests.effort import ci_only
from tests.terminal import drawn

Invoke = Callable[..., Result]


class Terminal(StringIO):
    """Keeps what is written to a terminal."""

    def isatty(self) -> bool:
        return True


class Watched:
    """A session that is followed step by step, on a screen of 60 columns or into a pipe."""

    def __init__(self, store: Path, *, is_terminal: bool, session_id: str = "graz-1", **options: bool) -> None:
        self.storage = JsonStorage(store)
        self._file = Terminal()
        self._screen = (
            Console(file=self._file, force_terminal=True, width=60, height=24, _environ={}) if is_terminal else None
        )
        shown = {"full": False, "messages": False, "tools": False, **options}
        view_module = import_module("localstore_cli.session_view")
        view = view_module.SessionView(self._screen, **shown)
        follower = Follower(self.storage, session_id)
        self._following = import_module("localstore_cli.following").Following(follower, view, self._screen)
        info = self.storage.find_sessions(session_id)[0]
        self._following.begin(view_module.Excerpt(info, follower.session, 0))

    def grow(self, *texts: str, status: RunStatus = "unfinished", run_id: str = "r2") -> None:
        """Store a run whose question is followed by these messages of the assistant, and make a step."""
        messages = [Message(role="user", content="And Linz?")]
        messages += [Message(role="assistant", content=text) for text in texts]
        run = Run(run_id=run_id, created_at="2026-01-05T10:00:00.000Z", messages=messages, status=status)
        self.storage.append("graz-1", run)
        self.step()

    def step(self) -> None:
        self._following.step()

    def lines(self, capsys: pytest.CaptureFixture[str]) -> list[str]:
        """Return what a person sees, or what the pipe got."""
        text = self._file.getvalue() if self._screen else capsys.readouterr().out
        shown = drawn(text.replace("\n", "\r\n"), 60, 24) if self._screen else text.splitlines()
        return [line.rstrip() for line in shown]


def test_a_run_grows_in_place_on_a_screen(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its text is there once, as Markdown, also after it grew and ended, and the next run comes below it."""
    watched = Watched(store, is_terminal=True, messages=True)
    watched.grow()
    assert watched.lines(capsys)[-4:] == ["", "user", "  And Linz?", "…"]
    watched.grow("Fog **and")
    watched.grow("Fog **and rain**.")
    assert watched.lines(capsys)[-5:] == ["user", "  And Linz?", "assistant", "  Fog and rain.", "…"]
    watched.grow("Fog **and rain**.", status="completed")
    watched.grow("No.", run_id="r3")
    assert watched.lines(capsys) == [
        *["Graz?", "graz-1 · agent guide · alice · 1 run · 2026-01-01", ""],
        *["user", "  Graz?", "assistant", "  Rain.", ""],
        *["user", "  And Linz?", "assistant", "  Fog and rain.", ""],
        *["user", "  And Linz?", "assistant", "  No.", "…"],
    ]


def test_a_pipe_gets_each_run_when_it_has_ended(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It gets a run once, however often it grew; one that does not end is printed before the entry that follows."""
    watched = Watched(store, is_terminal=False, messages=True)
    watched.grow()
    watched.grow("Fog")
    assert watched.lines(capsys) == ["user", "  Graz?", "assistant", "  Rain."]
    watched.grow("Fog.", status="completed")
    assert watched.lines(capsys) == ["", "user", "  And Linz?", "assistant", "  Fog."]
    watched.grow("Su", run_id="r3")
    watched.grow("Hail.", run_id="r4", status="completed")
    assert watched.lines(capsys) == [
        *["", "user", "  And Linz?", "assistant", "  Su", "unfinished"],
        *["", "user", "  And Linz?", "assistant", "  Hail."],
    ]
    watched.grow("Sun.", run_id="r3", status="completed")
    assert watched.lines(capsys)[-1:] == ["  Sun."]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_becomes_of_the_document_is_said_and_survived(
    store: Path, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    """Each is one line on the standard error. The run that grew meanwhile is shown when the session is back."""
    watched = Watched(store, is_terminal=is_terminal)
    watched.grow("Fog")
    path = watched.storage.path("graz-1")
    new = path.with_name("moved.json")
    path.rename(new)
    watched.step()
    trashed = throw_away(store, "graz-1")[0]
    watched.step()
    put_back(store, trashed.name)
    watched.grow("Fog and rain.")
    watched.storage.undo("graz-1")
    watched.step()
    watched.grow("Hail.", status="completed", run_id="r3")
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        f"localstore: Session graz-1 has moved to {new}",
        "localstore: Session graz-1 was deleted. Waiting until it is back; Ctrl-C ends",
        "localstore: Session graz-1 can be read again",
        "localstore: Session graz-1 no longer has run 2",
    ]
    shown = "\n".join(watched.lines(capsys)) if is_terminal else out
    assert "Hail." in shown
    assert ("Fog and rain." in shown) == is_terminal


@pytest.mark.parametrize("options", [["--json"], ["--run", "1"], ["linz-1"]])
def test_what_cannot_be_followed_is_refused(invoke: Invoke, store: Path, options: list[Any]) -> None:
    done = invoke("show", "graz-1", "--follow", "--store", store, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--follow" in done.stderr


@ci_only
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_ends_it(store: Path) -> None:
    """With the code of an interruption, on a line of its own."""
    from .conftest import ENTRY_POINT
    from .pseudo_terminal import ChatSession

    storage = JsonStorage(store)
    with ChatSession(ENTRY_POINT, "show", "graz-1", "--follow", cwd=store) as talk:
        talk.wait_for("Rain.")
        run = Run(run_id="new", messages=[Message(role="user", content="And Linz?")], status="unfinished")
        storage.append("graz-1", run)
        talk.wait_for("And Linz?")
        run.messages.append(Message(role="assistant", content="Fog."))
        storage.append("graz-1", run)
        talk.wait_for("Fog.")
        talk.wait_for("…")
        talk.type("\x03")
        assert talk.ended() == 130
        assert [line.rstrip() for line in talk.lines[-5:]] == [
            *["  assistant", "    Fog.", "…", "localstore: Interrupted.", ""]
        ]


def test_the_steps_of_a_running_workflow_appear_one_after_the_other(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = JsonStorage(store)
    storage.append("flow", Run(input="Start"), kind="workflow")
    watched = Watched(store, is_terminal=True, session_id="flow")
    seen: list[list[str]] = []

    def look(answer: str) -> str:
        watched.step()
        seen.append(watched.lines(capsys))
        return answer

    def outline() -> str:
        return look("An outline.")

    def check() -> str:
        return look("Fine.")

    Workflow(steps=[outline, check], session_id="flow", storage=storage).run("Trains")
    watched.step()
    first, second = seen
    assert first[-3:] == ['  plan  ["outline", "check"]', "  input  Trains", "…"]
    assert "An outline." not in "".join(first)
    assert (second[-1], "    output  An outline." in second) == ("…", True)
    last = watched.lines(capsys)
    outputs = ["    output  An outline.", "    output  Fine.", "  output  Fine."]
    assert [line for line in last if "output" in line] == outputs
    assert [line.split()[-1] for line in last if line.startswith(("run", "  step"))] == ["completed"] * 4
    assert "…" not in last


def test_the_members_of_a_running_team_appear_with_what_they_answered(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = JsonStorage(store)
    storage.append("team", Run(), kind="team")
    watched = Watched(store, is_terminal=True, session_id="team")
    seen: list[list[str]] = []
    task = ToolCall(id="c1", name="delegate_task", arguments={"member": "Ann", "task": "hotels"})
    left = ["Take the train.", Message(role="assistant", tool_calls=[task])]

    def look(answer: Any) -> Any:
        watched.step()
        seen.append(watched.lines(capsys))
        return answer

    ann = Agent(model=FunctionModel(lambda _: look("No hotels."), id="m"), name="Ann")
    leader = FunctionModel(lambda _: look(left.pop()), id="leader")
    Team(members=[ann], model=leader, session_id="team", storage=storage, save_partial=True).run("Where?")
    watched.step()
    for screen in seen:
        assert screen[-1] == "…"
        assert "    Where?" in screen
    assert ["    No hotels." in screen for screen in seen] == [False, False, True]
    assert any(line.startswith("  member ann ") for line in seen[2])
    last = watched.lines(capsys)
    assert "…" not in last
    assert last.index("    Take the train.") < last.index("      No hotels.")

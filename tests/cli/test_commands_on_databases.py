"""Commands that ask a model, wait, or complete a word do so with the sessions of a database too."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from localstore import Message, Run, Session, open_storage
from localstore.storage.following import Follower
from tests.contract.runs import answered, asked
from tests.effort import ci_only
from tests.scripted_server import error, scripted_server, text

from .conftest import command_group
from .test_state import Editor, editor, kept

__all__ = ["editor", "kept"]

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


@pytest.fixture(autouse=True)
def named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the database, so that no command needs an option."""
    monkeypatch.setenv("LOCALSTORE_DIR", url)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def call(*args: str, typed: str = "") -> Result:
    return CliRunner().invoke(command_group(), args, input=typed)


def read(url: str, session_id: str) -> Session:
    with open_storage(url) as storage:
        session = storage.read(session_id)
    assert session is not None
    return session


def newest(url: str) -> Session:
    with open_storage(url) as storage:
        session_id = storage.list_sessions(limit=1)[0].session_id
    return read(url, session_id)


def test_ask_starts_and_continues_a_session(url: str) -> None:
    with scripted_server(text("The 7:58."), text("Yes."), error(400, "no"), text("At 9.")) as server:
        to = ("--base-url", server.base_url)
        first = call("ask", "Which train?", *to)
        second = call("ask", "Really?", "--continue", *to)
        failed = call("ask", "And then?", "--continue", *to)
        named = call("ask", "When?", "--session", "graz-1", *to)
    assert [(done.exit_code, done.stdout) for done in (first, second)] == [(0, "The 7:58.\n"), (0, "Yes.\n")]
    assert (failed.exit_code, named.stdout) == (1, "At 9.\n")
    assert [message["content"] for message in server.requests[1]["messages"]] == [
        *("Which train?", "The 7:58."),
        "Really?",
    ]
    assert read(url, "graz-1").runs[-1].answer == "At 9."
    with open_storage(url) as storage:
        (info,) = [info for info in storage.list_sessions() if info.title == "Which train?"]
    assert [run.status for run in read(url, info.session_id).runs] == ["completed", "completed", "error"]


def test_a_chat_goes_on_with_a_session(url: str) -> None:
    with scripted_server(text("At 8."), text("At 9.")) as server:
        done = call("chat", "vienna-trip", "--base-url", server.base_url, typed="When?\nAnd the next one?\n")
    assert (done.exit_code, done.stdout.split("\n")[0]) == (0, "At 8.")
    assert [run.answer for run in read(url, "vienna-trip").runs[-3:]] == ["answer 12", "At 8.", "At 9."]


def test_a_session_is_replayed(url: str) -> None:
    with scripted_server(text("Hail.")) as server:
        done = call("replay", "graz-1", "--model", "other", "--base-url", server.base_url)
    assert done.exit_code == 0, done.stderr
    session = newest(url)
    assert [(run.question, run.answer, run.model) for run in session.runs] == [("Graz?", "Hail.", "other")]
    assert session.metadata["replay_of"] == "graz-1"
    assert "Hail." in call("diff", session.session_id).stdout


def test_an_export_goes_to_a_file(tmp_path: Path) -> None:
    done = call("export", "--format", "json", "--user", "bob", "--output", str(tmp_path / "bob.json"))
    assert (done.exit_code, done.stdout) == (0, "")
    assert [one["session_id"] for one in json.loads((tmp_path / "bob.json").read_text())] == ["linz-1"]


def test_words_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    def offered(line: str) -> list[str]:
        asked = {"_LOCALSTORE_COMPLETE": "bash_complete", "COMP_WORDS": f"localstore {line}"}
        asked["COMP_CWORD"] = line.rpartition(" ")[2]
        for name, value in asked.items():
            monkeypatch.setenv(name, value)
        done = call()
        assert done.stderr == ""
        return [reply.removeprefix("plain,") for reply in done.stdout.splitlines()]

    assert offered("show ") == ["vienna-trip", "linz-1", "graz-1"]
    assert offered("rm g") == ["graz-1"]
    assert offered("ls --user ") == ["alice", "bob"]


def test_a_session_is_followed_while_it_grows(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    view_module = import_module("localstore_cli.session_view")
    view = view_module.SessionView(None, full=False, messages=True, tools=False)
    with open_storage(url) as storage, open_storage(url) as writer:
        follower = Follower(storage, "graz-1")
        following = import_module("localstore_cli.following").Following(follower, view, None)
        following.begin(view_module.Excerpt(storage.find_sessions("graz-1")[0], follower.session, 0))
        capsys.readouterr()
        writer.append("graz-1", asked("r2", "And Linz?"))
        following.step()
        writer.append("graz-1", answered("r2", "And Linz?", "Fog."))
        following.step()
        (moved,) = writer.trash("graz-1").moved
        following.step()
        writer.restore(moved.name)
        writer.append("graz-1", Run(run_id="r3", messages=[Message(role="user", content="And Wels?")]))
        following.step()
    shown = capsys.readouterr()
    assert [line.strip() for line in shown.out.splitlines() if line.startswith("  ")] == [
        *("And Linz?", "Fog.", "And Wels?"),
    ]
    assert shown.err.splitlines() == [
        "localstore: Session graz-1 was deleted. Waiting until it is back; Ctrl-C ends",
        "localstore: Session graz-1 can be read again",
    ]


@ci_only
@posix
def test_a_person_chooses_from_the_list(url: str, tmp_path: Path) -> None:
    from .pseudo_terminal import on_terminal

    env = {"PATH": str(tmp_path), "LOCALSTORE_DIR": url}  # no fzf
    screen = on_terminal("pick", cwd=tmp_path, env=env, typed=b"graz\r")
    assert screen.code == 0
    assert screen.raw.partition("\x1b[?1049l")[2] == "graz-1\r\n"


def test_a_session_is_edited(url: str, editor: Editor, kept: Path) -> None:
    """The output names the way back of what was removed, or what both changed."""
    editor("path.write_text(text.replace('Rain.', 'Sun.'))")
    done = call("edit", "graz-1")
    assert (done.exit_code, done.stderr) == (0, "localstore: graz-1 was stored: run 1 was changed.\n")
    assert read(url, "graz-1").runs[0].answer == "Sun."
    editor("assert text.count('run_id') == 1; path.write_text(text.replace('answer 12', 'done'))")
    assert call("edit", "vienna-trip", "--run", "-1").exit_code == 0
    assert read(url, "vienna-trip").runs[-1].answer == "done"
    editor("path.write_text(text[:-9])")
    broken = call("edit", "graz-1")
    assert (broken.exit_code, "Correct it and try again." in broken.stderr) == (4, True)
    assert len([*kept.iterdir()]) == 1
    editor(
        "from localstore import open_storage\n"
        f"storage = open_storage({url!r})\n"
        "base = storage.read_document('graz-1')\n"
        "storage.replace_document('graz-1', base.replace(b'Sun.', b'Snow.'), base=base)\n"
        "storage.close()\n"
        "path.write_text(text.replace('Sun.', 'Hail.'))"
    )
    done = call("edit", "graz-1")
    assert (done.exit_code, read(url, "graz-1").runs[0].answer) == (1, "Snow.")
    way = done.stderr.rpartition("run: localstore ")[2].split()
    assert call(*way[:-1], "other").stdout == "other is back\n"
    assert read(url, "other").runs[0].answer == "Hail."


def test_a_run_is_taken_out_and_comes_back(url: str) -> None:
    before = [run.run_id for run in read(url, "vienna-trip").runs]
    done = call("edit", "vienna-trip", "--drop-run", "2")
    assert done.exit_code == 0
    assert [run.run_id for run in read(url, "vienna-trip").runs] == [before[0], *before[2:]]
    assert call("restore", "--kind", "rescue").stdout.split("\t")[2] == "vienna-trip"
    assert "--kind rescue" in call("restore").stderr
    way = done.stderr.rpartition("localstore ")[2].split()
    assert call(*way).stdout == "vienna-trip is back\n"
    assert sorted(run.run_id for run in read(url, "vienna-trip").runs) == sorted(before)
    assert call("restore", "--kind", "rescue").stdout == ""


def test_secrets_are_replaced(url: str) -> None:
    planned = call("redact", "graz-1", "--pattern", "Rain", "--dry-run")
    assert planned.stdout.split("\t")[:3] == ["graz-1", "history[0].messages[3].content", "pattern"]
    assert read(url, "graz-1").runs[0].answer == "Rain."
    done = call("redact", "graz-1", "--pattern", "Rain", "--yes")
    assert (done.exit_code, read(url, "graz-1").runs[0].answer) == (0, "[redacted].")
    assert "1 old session, with the secrets, is in the trash" in done.stderr
    assert call("rm", "graz-1").exit_code == 0
    names = [line.split("\t")[1] for line in call("restore").stdout.splitlines()]
    assert call("restore", names[-1]).exit_code == 0
    assert read(url, "graz-1").runs[0].answer == "Rain."


def test_rated_answers_are_examples(url: str) -> None:
    assert call("rate", "graz-1", "1", "good").exit_code == 0
    with open_storage(url) as storage:
        assert [message.text for message in storage.examples("good")] == ["Graz?", "Rain."]

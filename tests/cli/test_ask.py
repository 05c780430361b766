"""`localstore ask`, with the real `openai` client and a server that answers from a script."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from localstore import JsonStorage, Message, Run, Session
from tests.effort import ci_only
from tests.scripted_server import ScriptedServer, error, scripted_server, stream, text, tool_call

from .conftest import ENTRY_POINT, clean_environment, command_group

NO_SETTINGS = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
Ask = Callable[..., Result]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for a store."""
    return tmp_path / "store"


@pytest.fixture
def ask(root: Path) -> Ask:
    """Return a function that asks a question in this process. Its standard input is `piped`, never a terminal."""

    def call(server: ScriptedServer | None, *args: str, piped: str | bytes = b"") -> Result:
        url = () if server is None else ("--base-url", server.base_url)
        with (
            contextlib.chdir(root.parent),
            mock.patch.dict(os.environ, clean_environment(**NO_SETTINGS), clear=True),
        ):
            return CliRunner().invoke(command_group(), ["ask", "--store", "store", *url, *args], input=piped)

    return call


def sessions(root: Path) -> list[Session]:
    """Return the sessions of the store, newest first, as another process reads them."""
    storage = JsonStorage(root, create=False)
    found = [storage.read(info.session_id) for info in storage.list_sessions()]
    return [session for session in found if session is not None]


def test_each_question_starts_a_session_and_the_answer_is_plain_text(ask: Ask, root: Path) -> None:
    with scripted_server(stream("Take **the", " 7:58**.\x1b[2J"), text("Yes.")) as server:
        first = ask(server, "Which train?")
        second = ask(server, "Really?", "--new", "--user", "alice")
    assert (first.exit_code, first.stdout) == (0, "Take **the 7:58**.\\x1b[2J\n")
    assert (second.exit_code, second.stdout, second.stderr) == (0, "Yes.\n", "")
    assert [len(request["messages"]) for request in server.requests] == [1, 1]
    newer, older = sessions(root)
    assert (older.runs[0].question, older.runs[0].answer) == ("Which train?", "Take **the 7:58**.\x1b[2J")
    assert (newer.user_id, older.user_id) == ("alice", None)
    assert [info.title for info in JsonStorage(root).list_sessions()] == ["Really?", "Which train?"]


def test_text_from_a_pipe_follows_the_question_and_is_the_question_without_one(ask: Ask, root: Path) -> None:
    """The question comes first, so that it is the title. A byte order mark is not part of the text."""
    with scripted_server(text("A list."), text("Hi."), text("")) as server:
        assert ask(server, "Explain this:", piped="\ufeff* eins 🚆\n\n* zwei\n").stdout == "A list.\n"
        assert ask(server, piped="hello\n").stdout == "Hi.\n"
        assert ask(server, "Anything?").stderr == "localstore: The answer is empty.\n"
    asked = [request["messages"][-1]["content"] for request in server.requests]
    assert asked == ["Explain this:\n\n* eins 🚆\n\n* zwei", "hello", "Anything?"]
    assert sessions(root)[2].runs[0].question == asked[0]


def test_a_session_is_continued_with_its_model_instructions_and_history(ask: Ask, root: Path) -> None:
    """`-c` is the newest session of an agent and of the user, `--session` any; without one, `-c` starts one."""
    with scripted_server(*[text(f"Answer {number}.") for number in range(5)]) as server:
        assert ask(server, "One?", "-c", "--user", "alice", "--model", "m", "--system", "Be brief.").exit_code == 0
        JsonStorage(root).append("team", Run(messages=[Message(role="user", content="?")]), kind="team")
        assert ask(server, "Two?", "--user", "bob").exit_code == 0
        done = ask(server, "Three?", "--continue", "--user", "alice")
        (session_id,) = [session.session_id for session in sessions(root) if session.user_id == "alice"]
        assert done.stderr == f"localstore: Continuing session {session_id} (One?)\n"
        assert ask(server, "Four?", "--session", session_id[:8], "--system", "Be kind.").exit_code == 0
        assert ask(server, "Five?", "-c").exit_code == 0
    assert [request["model"] for request in server.requests] == ["m", "gpt-4o-mini", "m", "m", "m"]
    said = [[message["content"] for message in request["messages"]] for request in server.requests]
    assert said[2] == ["Be brief.", "One?", "Answer 0.", "Three?"]
    assert said[4] == ["Be kind.", "One?", "Answer 0.", "Three?", "Answer 2.", "Four?", "Answer 3.", "Five?"]


def test_json_has_the_answer_and_where_it_is_stored(ask: Ask, root: Path) -> None:
    with scripted_server(text("It is\x1b", finish_reason="length")) as server:
        done = ask(server, "Well?", "--json", "--max-tokens", "2", "--temperature", "0")
    assert (server.requests[0]["max_tokens"], server.requests[0]["temperature"]) == (2, 0)
    answer = json.loads(done.stdout)
    assert answer.pop("metrics")["output_tokens"] == 3
    (session,) = sessions(root)
    (run,) = session.runs
    assert answer == {
        "session_id": session.session_id,
        "run_id": run.run_id,
        "model": "gpt-4o-mini",
        "answer": "It is\x1b",
        "finish_reason": "length",
    }


@pytest.mark.parametrize("mode", [(), ("--json",)])
def test_a_question_without_an_answer_is_one_line_and_sets_the_exit_code(
    ask: Ask, root: Path, mode: tuple[str, ...]
) -> None:
    """What has arrived is printed and stored."""
    with scripted_server(error(404, "no such model"), stream("Half", cut=True)) as server:
        failed = ask(server, "Well?", *mode)
        cut = ask(server, "Well?", *mode)
    assert (failed.exit_code, failed.stdout) == (1, "")
    (line,) = [line for line in failed.stderr.splitlines() if not line.startswith("localstore: Created")]
    assert line == (
        "localstore: The server answered 404: no such model. Check the name of the model and the server's address."
    )
    assert (cut.exit_code, cut.stdout) == (1, "" if mode else "Half\n")
    assert len(cut.stderr.splitlines()) == 1
    assert [session.runs[0].status for session in sessions(root)] == ["error", "error"]
    assert sessions(root)[0].runs[0].answer == "Half"


@pytest.mark.parametrize(
    ("piped", "said"),
    [
        (b"ELF\0\1", "is not text: it has a NUL after 3 characters"),
        (b"caf\xe9\n", "is not text in UTF-8: byte 4 is wrong"),
        (b"x" * 4_000_001, "has more than 4 MB"),
    ],
)
def test_standard_input_that_is_no_text_or_huge_is_not_sent(ask: Ask, root: Path, piped: bytes, said: str) -> None:
    with scripted_server() as server:
        done = ask(server, "Explain", piped=piped)
    assert (done.exit_code, done.stdout, server.requests) == (2, "", [])
    assert f"localstore: The standard input {said}" in done.stderr
    assert not root.exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "There is no question."),
        ((" ",), "QUESTION is empty."),
        (("\udcff",), "QUESTION is not text in UTF-8."),
        (("?", "--model", ""), "--model is empty."),
        (("?", "-c", "--session", "x"), "--continue, --session and --new cannot be combined."),
        (("why", "me"), "unexpected extra argument"),
    ],
)
def test_wrong_usage_creates_nothing(ask: Ask, root: Path, args: tuple[str, ...], said: str) -> None:
    with scripted_server() as server:
        done = ask(server, *args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert not root.exists()


def test_without_a_key_nothing_is_created(ask: Ask, root: Path) -> None:
    done = ask(None, "Well?")
    assert done.exit_code == 2
    assert "There is no API key. Set OPENAI_API_KEY" in done.stderr
    assert not root.exists()


def test_a_server_is_never_asked_for_a_function(ask: Ask, root: Path) -> None:
    JsonStorage(root).append("trip", Run(model="offline", answered_by="function"))
    with scripted_server() as server:
        done = ask(server, "Well?", "-c")
    assert (done.exit_code, server.requests) == (2, [])
    assert "Session 'trip' was answered by a Python function ('offline')" in done.stderr


TOOLS = '''
import sys
from json import dumps
from localstore import RunContext
from neighbour import CITY

print("imported")

def timetable(city: str, context: RunContext) -> str:
    """Return the trains to a city."""
    print("called")
    context.session_state["city"] = city
    return f"{CITY}-{city} 7:58"

async def later(minutes: int) -> None:
    """Wait."""
    print("async")

def leave():
    sys.exit(3)

def _hidden():
    pass
'''


def test_the_model_calls_the_public_functions_of_a_file(ask: Ask, root: Path) -> None:
    """The file may have the name of an installed module. Only the answer goes to the standard output."""
    (root.parent / "click.py").write_text(TOOLS)
    (root.parent / "neighbour.py").write_text("CITY = 'Linz'")
    calls = (
        tool_call("timetable", '{"city": "Wien"}'),
        tool_call("later", '{"minutes": 1}'),
        tool_call("leave", "{}"),
    )
    with scripted_server(*calls, text("At 7:58.")) as server:
        done = ask(server, "Which train?", "--tools", "click.py")
    assert (done.exit_code, done.stdout) == (0, "At 7:58.\n")
    assert [word for word in ("imported", "called", "async") if word in done.stderr] == ["imported", "called", "async"]
    tools = [tool["function"] for tool in server.requests[0]["tools"]]
    assert [tool["name"] for tool in tools] == ["timetable", "later", "leave"]
    assert tools[0]["description"] == "Return the trains to a city."
    assert list(tools[0]["parameters"]["properties"]) == ["city"]
    results = [message["content"] for message in server.requests[3]["messages"] if message["role"] == "tool"]
    assert results == ["Linz-Wien 7:58", "", "Error: RuntimeError: the tool called sys.exit(3)"]
    assert sessions(root)[0].session_state == {"city": "Wien"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist."),
        ("def f(:", "cannot be imported: SyntaxError"),
        ("import nowhere", "cannot be imported: No module named 'nowhere'."),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3 (tools.py, line 1)."),
        ("from json import dumps", "has no public functions."),
        ("def f(*args): pass", "has a function that cannot be a tool: The tool f has the parameter *args."),
    ],
)
def test_a_file_without_tools_is_one_line(ask: Ask, root: Path, content: str | None, said: str) -> None:
    if content is not None:
        (root.parent / "tools.py").write_text(content)
    with scripted_server() as server:
        done = ask(server, "Well?", "--tools", "tools.py")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"localstore: --tools 'tools.py' {said}" in done.stderr
    assert not root.exists()


@ci_only
@pytest.mark.skipif(os.name != "posix", reason="there are no pseudo-terminals here")
def test_on_a_terminal_the_answer_arrives_piece_by_piece_and_ctrl_c_ends_it(root: Path) -> None:
    """Markdown is rendered, without a panel. The part that has arrived is stored as a cancelled run."""
    from .pseudo_terminal import ChatSession

    go_on, hold = Event(), Event()
    with scripted_server(stream("Take **the", go_on.wait, " 7:58** or", hold.wait)) as server:
        command: list[str | Path] = [ENTRY_POINT, "ask", "Which?", "--store", "store", "--base-url", server.base_url]
        with ChatSession(*command, cwd=root.parent, columns=40, env=NO_SETTINGS) as talk:
            talk.wait_for("Take")
            go_on.set()
            talk.wait_for("or")
            talk.type("\x03")
            assert talk.ended() == 130
            assert "Take the 7:58 or" in talk.lines
            assert talk.lines[-2:] == ["localstore: Interrupted.", ""]
        hold.set()
    (run,) = sessions(root)[0].runs
    assert (run.status, run.answer) == ("cancelled", "Take **the 7:58** or")

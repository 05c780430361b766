"""`localstore replay`, against a scripted server, through the real client."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from localstore import JsonStorage, Message, Run, Session, ToolCall, YamlStorage
from localstore.models.session import ContentPart
from tests.effort import ci_only
from tests.scripted_server import Reply, ScriptedServer, error, scripted_server, text

from .conftest import ENTRY_POINT, Command, Finished, clean_environment

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs signals and a pseudo-terminal")
NO_SETTINGS = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
Ask = Callable[..., Finished]


def qa(question: str, answer: str, **fields: Any) -> Run:
    messages = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Run(messages=messages, model="gpt-4o-mini", **fields)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store with one session: three completed questions, a failed one and one with a tool."""
    root = tmp_path / "store"
    storage = JsonStorage(root)
    tool = Run(
        run_id="r4",
        model="gpt-4o-mini",
        messages=[
            Message(role="user", content="Wien?"),
            Message(role="assistant", tool_calls=[ToolCall(id="c1", name="get_weather", arguments={"city": "Wien"})]),
            Message(role="tool", tool_call_id="c1", content="rain"),
            Message(role="assistant", content="It rains."),
        ],
    )
    for run in (
        qa("Graz?", "Sun.", run_id="r1", instructions="You are in {city}.", session_state={"city": "Graz"}),
        qa("broken", "half", run_id="r2", status="error", error="x"),
        qa("Linz?", "Fog,\nall day.", run_id="r3", session_state={"city": "Linz"}),
        tool,
    ):
        storage.append("trip", run, user_id="alice", entity_id="guide")
    return root


def test_a_model_on_a_server_has_to_be_named(run: Command, store: Path) -> None:
    """A session that a Python function answered says so: no server knows the id of a function."""
    done = run("replay", "trip", "--store", store)
    assert (done.returncode, "Missing option '--model'. Name the model to ask." in done.stderr) == (2, True)
    JsonStorage(store).append("trip", qa("?", "!").model_copy(update={"model": "f", "answered_by": "function"}))
    done = run("replay", "trip", "--store", store)
    assert done.returncode == 2
    assert "Session 'trip' was answered by a Python function ('f'), which is no model on a server." in done.stderr
    assert "Name a model with --model." in done.stderr


def test_incomplete_answers_are_remarked_upon(replay: Ask, store: Path) -> None:
    JsonStorage(store).append("trip", qa("?", "It", finish_reason="length"))
    with scripted_server(*[text("It is", finish_reason="content_filter")] * 2) as server:
        done = replay(server, "--last", "1")
        line = replay(server, "--last", "1", "--json").stdout
    assert "the old answer is not complete (finish_reason: length)" in done.stderr
    assert "the new answer is not complete (finish_reason: content_filter)" in done.stderr
    assert json.loads(line)["finish_reason"] == "content_filter"


@pytest.fixture
def replay(run: Command, store: Path) -> Ask:
    def call(server: ScriptedServer | None, *args: str, session: str = "trip", env: Mapping[str, str] = {}) -> Finished:
        where = () if server is None else ("--base-url", server.base_url)
        return run("replay", session, "--store", store, "--model", "m1", *where, *args, env={**NO_SETTINGS, **env})

    return call


def fresh(store: Path) -> Session:
    """Return the session that a replay created."""
    storage = JsonStorage(store)
    (made,) = [session for session in storage.get_all_sessions() if "replay_of" in session.metadata]
    return made


def notes(done: Finished) -> list[str]:
    return [re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", line) for line in done.stderr.splitlines()]


ANSWERS = (text("Rain."), text("Snow.\nMuch."), text("Hail."))
IN_GRAZ = {"role": "system", "content": "You are in Graz."}


def test_the_server_gets_the_stored_history(replay: Ask, store: Path) -> None:
    """The request has stored answers, the instructions and state before the run, tool results, and no tools."""
    with scripted_server(*ANSWERS) as server:
        assert replay(server).returncode == 0
    graz = [{"role": "user", "content": "Graz?"}, {"role": "assistant", "content": "Sun."}]
    linz = [{"role": "user", "content": "Linz?"}, {"role": "assistant", "content": "Fog,\nall day."}]
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Wien"}'}}
    wien = [
        {"role": "user", "content": "Wien?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "c1"},
    ]
    assert server.requests == [
        {"model": "m1", "messages": [IN_GRAZ, graz[0]]},
        {"model": "m1", "messages": [IN_GRAZ, *graz, linz[0]]},
        {"model": "m1", "messages": [{"role": "system", "content": "You are in Linz."}, *graz, *linz, *wien]},
    ]
    assert set(server.keys) == {"none"}


def test_history_last_and_parameters_follow_the_options(replay: Ask) -> None:
    """`--history 0` sends the question alone; `--last` asks the newest questions."""
    with scripted_server(text("Rain.")) as server:
        done = replay(server, "--history", "0", "--last", "1", "--temperature", "0", "--max-tokens", "9")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["4"]
    (request,) = server.requests
    assert (request["temperature"], request["max_tokens"]) == (0, 9)
    assert [message["role"] for message in request["messages"]] == ["system", "user", "assistant", "tool"]


def test_a_pipe_gets_one_line_for_each_question(replay: Ask, store: Path) -> None:
    """A line has number, run, question, old answer, new answer, score and error. Notes go to the standard error."""
    with scripted_server(*ANSWERS) as server:
        done = replay(server)
    assert done.stdout == (
        "1\tr1\tGraz?\tSun.\tRain.\t\t\n"
        "3\tr3\tLinz?\tFog,\\nall day.\tSnow.\\nMuch.\t\t\n"
        "4\tr4\tWien?\tIt rains.\tHail.\t\t\n"
    )
    assert notes(done) == [
        "localstore: Left out: 1 of 4 runs, not completed or without a question.",
        "localstore: question 4: answered from the stored results of get_weather",
        "localstore: The new answers are in session <id>",
    ]
    made = fresh(store)
    assert made.session_id in done.stderr
    assert (made.name, made.user_id, made.metadata) == ("Replay of trip with m1", "alice", {"replay_of": "trip"})
    assert [(run.replay_of, run.answer, run.model) for run in made.runs] == [
        ("r1", "Rain.", "m1"),
        ("r3", "Snow.\nMuch.", "m1"),
        ("r4", "Hail.", "m1"),
    ]
    assert made.runs[0].metrics is not None
    assert made.runs[0].metrics.input_tokens == 7


def test_json_is_one_object_for_each_question(replay: Ask, store: Path) -> None:
    """Each line is an object with the same keys."""
    with scripted_server(*ANSWERS) as server:
        done = replay(server, "--json")
    first, _, last = (json.loads(line) for line in done.stdout.splitlines())
    made = fresh(store)
    assert first == {
        "number": 1,
        "run_id": "r1",
        "session_id": made.session_id,
        "new_run_id": made.runs[0].run_id,
        "question": "Graz?",
        "old_model": "gpt-4o-mini",
        "old": "Sun.",
        "new_model": "m1",
        "new": "Rain.",
        "tools": [],
        "missing_files": [],
        "score": None,
        "passed": None,
        "error": None,
    }
    assert last["tools"] == ["get_weather"]


def test_no_store_writes_nothing(replay: Ask, store: Path) -> None:
    """`--no-store` does not write any file."""
    before = sorted(store.rglob("*.json"))
    with scripted_server(*ANSWERS) as server:
        done = replay(server, "--no-store", "--json")
    assert done.returncode == 0
    assert [json.loads(line)["session_id"] for line in done.stdout.splitlines()] == [None] * 3
    assert sorted(store.rglob("*.json")) == before
    assert "session" not in done.stderr.replace("without a question", "")


def test_the_new_session_has_the_same_format(replay: Ask, store: Path) -> None:
    """A YAML session is replayed into a YAML session."""
    YamlStorage(store).append("notes", qa("Why?", "So."))
    with scripted_server(text("Because.")) as server:
        replay(server, session="notes")
    assert JsonStorage(store).path(fresh(store).session_id).suffix == ".yaml"


@ci_only
@posix
@pytest.mark.parametrize("columns", [40, 120])
def test_a_terminal_shows_old_and_new(store: Path, tmp_path: Path, columns: int) -> None:
    """The answers are side by side if there is room, else one below the other, with score and notes."""
    from .pseudo_terminal import on_terminal

    (tmp_path / "judge.py").write_text("def same(question, old, new):\n    return old == new\n")
    with scripted_server(text("Rain."), text("Fog,\nall day."), text("A long answer " * 8)) as server:
        screen = on_terminal(
            *("replay", "trip", "--store", store, "--model", "m1", "--base-url", server.base_url),
            *("--pass", "judge:same"),
            cwd=tmp_path,
            columns=columns,
            env=NO_SETTINGS,
        )
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip() for line in screen.text.split("\n")]
    at = next(number for number, line in enumerate(lines) if line.endswith("question 1"))
    if columns == 120:
        assert lines[at + 1 : at + 5] == [
            "  Graz?",
            f"{'old  gpt-4o-mini':<60}new  m1",
            f"{'Sun.':<60}Rain.",
            "score 0",
        ]
        assert f"{'all day.':<60}all day." in lines
    else:
        assert lines[at + 1 : at + 7] == ["  Graz?", "old  gpt-4o-mini", "  Sun.", "new  m1", "  Rain.", "score 0"]
        assert "  A long answer A long answer A long" in lines
    assert "answered from the stored results of" in screen.text
    assert "score 1" in lines
    assert all(len(line) <= columns for line in lines if not line.startswith(("localstore: ", "\r", "⠋")))
    assert lines[-3] == "localstore: Mean score 0.333; 1 of 3 passed."
    assert screen.code == 1


@ci_only
@posix
def test_a_terminal_shows_an_error_in_the_place_of_the_answer(store: Path, tmp_path: Path) -> None:
    """The error is beside the old answer, and is counted at the end."""
    from .pseudo_terminal import on_terminal

    with scripted_server(error(404, "no such model")) as server:
        screen = on_terminal(
            *("replay", "trip", "--store", store, "--model", "m1", "--base-url", server.base_url, "--last", "1"),
            cwd=tmp_path,
            columns=120,
            env=NO_SETTINGS,
        )
    assert "It rains." in screen.text
    assert "no such model" in screen.text
    assert "localstore: 1 of 1 questions got no answer.\n" in screen.text
    assert screen.code == 5


def test_control_characters_of_a_model_do_not_reach_the_output(replay: Ask) -> None:
    """Control characters are escaped in every output format."""
    for args in ((), ("--json",)):
        with scripted_server(*[text("\x1b[2Jhello\x07")] * 3) as server:
            done = replay(server, "--no-store", *args)
        assert "\x1b" not in done.stdout
        assert "\x07" not in done.stdout


# Scores

JUDGE = """
print("loaded")

def first_word(question, old, new):
    print("judging")
    return question in ("Graz?", "Linz?")

def half(question, old, new):
    return 0.5

def number(question, old, new):
    return 2

def nothing(question, old, new):
    pass

def text(question, old, new):
    return "good"

async def later(question, old, new):
    return True

def explodes(question, old, new):
    return len(old) / 0

def leaves(question, old, new):
    raise SystemExit(0)

class Scalar:
    ndim = 0
    def __init__(self, value):
        self.value = value
    def item(self):
        return self.value

def like_numpy(question, old, new):
    return Scalar(True) if question == "Graz?" else Scalar(0.75)

constant = 3
"""


@pytest.fixture
def judge(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "wrong.py").write_text("x = = 1\n")
    (tmp_path / "needs.py").write_text("import not_there_at_all\n")
    (tmp_path / "fails.py").write_text("raise ValueError('no config')\n")


def test_an_answer_that_does_not_pass_is_1(replay: Ask, judge: None) -> None:
    """Each score and the mean are shown. Output that the function prints is not on the standard output."""
    with scripted_server(*ANSWERS) as server:
        done = replay(server, "--pass", "judge:first_word")
    assert done.returncode == 1
    assert [line.split("\t")[5] for line in done.stdout.splitlines()] == ["1", "1", "0"]
    assert "localstore: Mean score 0.667; 2 of 3 passed.\n" in done.stderr
    assert done.stderr.count("judging") == 3


@pytest.mark.parametrize(("threshold", "code"), [((), 0), (("--threshold", "0.5"), 0), (("--threshold", "0.51"), 1)])
def test_a_number_must_reach_the_threshold(replay: Ask, judge: None, threshold: tuple[str, ...], code: int) -> None:
    """The default threshold is 0.5."""
    with scripted_server(*ANSWERS) as server:
        done = replay(server, "--pass", "judge:half", "--json", *threshold)
    assert done.returncode == code
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["score"], one["passed"]) for one in objects] == [(0.5, code == 0)] * 3


def test_modules_in_the_working_directory_do_not_replace_installed_ones(
    replay: Ask, judge: None, tmp_path: Path
) -> None:
    """The working directory came first on the path: its openai.py was run in place of the installed one."""
    (tmp_path / "openai.py").write_text("open('imported', 'w').close()\nraise SystemExit(3)\n")
    (tmp_path / "difflib.py").write_text("def half(*_):\n    return 0.5\n")
    with scripted_server(*ANSWERS) as server:
        done = replay(server, "--pass", "judge:half")
        assert (done.returncode, "Mean score 0.5; 3 of 3 passed." in done.stderr) == (0, True)
        assert not (tmp_path / "imported").exists()
        done = replay(server, "--pass", "difflib:half")
    assert done.returncode == 2
    assert f"does not have. The name hides {tmp_path / 'difflib.py'}: give that file another name." in done.stderr


def test_scores_may_be_numbers_of_numpy(replay: Ask, judge: None) -> None:
    """A function that compares vectors may return such numbers."""
    with scripted_server(*ANSWERS) as server:
        done = replay(server, "--pass", "judge:like_numpy")
    assert done.returncode == 0
    assert [line.split("\t")[5] for line in done.stdout.splitlines()] == ["1", "0.75", "0.75"]


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("judge", "is not of the form module:function"),
        (":f", "is not of the form module:function"),
        ("no_such_module:f", "names a module that is neither in"),
        ("no_such.module:f", "names a module that is neither in"),
        ("needs:f", "cannot be imported: No module named 'not_there_at_all'"),
        ("wrong:f", "cannot be imported: SyntaxError: invalid syntax (wrong.py, line 1)"),
        ("fails:f", "cannot be imported: ValueError: no config (fails.py, line 1)"),
        ("judge:missing", "names a function that"),
        ("judge:constant", "names a value of type int, not a function"),
    ],
)
def test_a_missing_function_is_an_error_before_any_question(
    replay: Ask, store: Path, judge: None, named: str, problem: str
) -> None:
    """It is wrong usage, with one line that names the function."""
    with scripted_server(*ANSWERS) as server:
        done = replay(server, "--pass", named)
    assert (done.returncode, done.stdout, server.requests) == (2, "", [])
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"localstore: --pass '{named}' {problem}")
    assert JsonStorage(store).get_all_session_ids() == ["trip"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("number", "returned 2, with the question 'Graz?'. It must return True, False, or a number from 0 to 1."),
        ("nothing", "returned None, with"),
        ("text", "returned 'good', with"),
        ("later", "returned a coroutine, with"),
        ("explodes", "raised ZeroDivisionError: division by zero (judge.py, line "),
        ("leaves", "raised SystemExit: 0 (judge.py, line "),
    ],
)
def test_a_function_without_a_score_ends_the_replay(
    replay: Ask, store: Path, judge: None, name: str, problem: str
) -> None:
    """Answers are shown and stored. The exit code is neither that of a failing score nor of a bug in localstore."""
    with scripted_server(*ANSWERS) as server:
        done = replay(server, "--pass", f"judge:{name}")
    assert done.returncode == 2
    assert done.stdout == "1\tr1\tGraz?\tSun.\tRain.\t\t\n"
    assert done.stderr.splitlines()[-1].startswith(f"localstore: --pass 'judge:{name}' {problem}")
    assert len(fresh(store).runs) == 1


# What fails


def test_a_failing_model_fails_one_question(replay: Ask, store: Path, judge: None) -> None:
    """The error is shown and stored, the other questions are asked, and the exit code is 5, so that CI can retry."""
    refused = error(500, "overloaded", x_should_retry="false")
    with scripted_server(text("Rain."), refused, text("Hail.")) as server:
        done = replay(server, "--pass", "judge:half")
    assert done.returncode == 5
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[4:6] for row in rows] == [["Rain.", "0.5"], ["", ""], ["Hail.", "0.5"]]
    assert "overloaded" in rows[1][6]
    assert "localstore: 1 of 3 questions got no answer.\n" in done.stderr
    assert "Mean score 0.5; 2 of 2 passed." in done.stderr
    assert [run.status for run in fresh(store).runs] == ["completed", "error", "completed"]
    assert "overloaded" in (fresh(store).runs[1].error or "")


def test_a_failing_score_outranks_a_missing_answer(replay: Ask, judge: None) -> None:
    """A retry does not make the answer pass, so the exit code is 1."""
    with scripted_server(*ANSWERS[:2], error(400, "no"), text("x")) as server:
        done = replay(server, "--pass", "judge:half", "--threshold", "1")
    assert done.returncode == 1


def test_a_wrong_key_is_shown_with_each_question(replay: Ask, store: Path) -> None:
    """The error has status 401 and the message of the server."""
    with scripted_server(*[error(401, "Incorrect API key")] * 3) as server:
        done = replay(server, "--json", env={"OPENAI_API_KEY": "sk-wrong"})
    assert done.returncode == 5
    assert server.keys == ["sk-wrong"] * 3
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        assert (answer["new"], answer["score"]) == (None, None)
        assert answer["error"].startswith("AuthenticationError: ")
        assert "Incorrect API key" in answer["error"]
    assert "sk-wrong" not in JsonStorage(store).path(fresh(store).session_id).read_text()


def test_an_unreachable_server_is_named(replay: Ask) -> None:
    """The error has the address of the server."""
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        done = replay(None, "--base-url", url, "--last", "1")
    assert done.returncode == 5
    assert f"APIConnectionError: Connection error. The server is {url}/." in done.stdout


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C, and once more if nothing happens: Python does not wake up for a signal that comes just before it
    begins to wait for the network. Return what the process printed and its errors."""
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=60)
    process.kill()
    raise AssertionError(f"the process goes on after Ctrl-C: {process.communicate()}")


@ci_only
@posix
@pytest.mark.parametrize("answered", [0, 1])
@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_in_a_slow_answer_keeps_earlier_answers(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: int, as_json: bool
) -> None:
    """Earlier answers are shown and stored, the current question is stored as cancelled, and the exit code is 130."""
    waiting, over = Event(), Event()
    with scripted_server(*ANSWERS) as server:
        usual = server.next_reply

        def slow(request: dict[str, Any], key: str) -> Reply:
            if len(server.requests) == answered:
                waiting.set()
                over.wait(240)
            return usual(request, key)

        monkeypatch.setattr(server, "next_reply", slow)
        process = subprocess.Popen(
            [
                *(ENTRY_POINT, "replay", "trip", "--store", store, "--model", "m1", "--base-url", server.base_url),
                *(["--json"] if as_json else []),
            ],
            env=clean_environment(**NO_SETTINGS),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert waiting.wait(60)
        printed, said = interrupted(process)
        over.set()
    assert process.returncode == 130
    assert len(printed.splitlines()) == answered
    assert ("Rain." in printed) == bool(answered)
    assert f"localstore: Stopped after {answered} of 3 questions.\n" in said
    assert said.endswith("localstore: Interrupted.\n")
    assert "Traceback" not in said
    assert [run.status for run in fresh(store).runs] == ["completed"] * answered + ["cancelled"]


# What is refused


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("--base-url", "nonsense"), "'nonsense' is not the address of a server"),
        (("--base-url", "http://[bad/v1"), "is not the address of a server"),
        (("--threshold", "0.5"), "--threshold needs --pass"),
        ((), "There is no API key."),
        (("--base-url", "https://example.org/v1"), "There is no API key."),
        (("--history", "-1"), "--history"),
        (("--last", "0"), "--last"),
    ],
)
def test_wrong_usage_is_an_error_before_any_question(
    replay: Ask, store: Path, args: tuple[str, ...], problem: str
) -> None:
    """The exit code is 2, and nothing is stored."""
    done = replay(None, *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert JsonStorage(store).get_all_session_ids() == ["trip"]


def test_a_replay_cannot_be_replayed(replay: Ask, store: Path) -> None:
    """The history of its runs is that of another session."""
    with scripted_server(*ANSWERS) as server:
        replay(server)
        done = replay(server, session=fresh(store).session_id)
    assert done.returncode == 2
    assert "is itself a replay. Replay 'trip'." in done.stderr


def test_a_session_without_questions_is_not_found(replay: Ask, store: Path) -> None:
    """A test in CI must not pass without a question."""
    JsonStorage(store).append("flow", Run(input="daily", output="done"), kind="workflow")
    done = replay(None, "--base-url", "http://127.0.0.1:1/v1", session="flow")
    assert done.returncode == 3
    assert "has no completed run with a question to repeat. A model cannot repeat a workflow" in done.stderr
    assert replay(None, session="nobody").returncode == 3


def test_a_missing_file_is_named(replay: Ask, store: Path, tmp_path: Path) -> None:
    """The existing file is sent."""
    (tmp_path / "there.png").write_bytes(b"png")
    parts = [
        ContentPart(type="text", text="What is it?"),
        ContentPart(type="image", path=str(tmp_path / "there.png")),
        ContentPart(type="image", path="gone.png"),
    ]
    run = Run(messages=[Message(role="user", content=parts), Message(role="assistant", content="A cat.")])
    JsonStorage(store).append("pictures", run)
    with scripted_server(text("A dog.")) as server:
        done = replay(server, session="pictures")
    assert "localstore: question 1: files that no longer exist: gone.png\n" in done.stderr
    content = server.requests[0]["messages"][0]["content"]
    assert content[1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert content[2] == {"type": "text", "text": "[The file gone.png no longer exists.]"}


def test_the_help_loads_neither_a_client_nor_pydantic(tmp_path: Path) -> None:
    """Heavy modules are imported only for a replay."""
    code = "import importlib, sys; importlib.import_module('localstore_cli.commands.replay'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & {"openai", "rich", "pydantic", "yaml"}

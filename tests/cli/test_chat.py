"""`localstore chat` in a real terminal, with the real `openai` client and a server that answers from a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from localstore import JsonStorage, Message, Run, Session
from tests.effort import ci_only, sampled
from tests.scripted_server import Reply, ScriptedServer, error, scripted_server, stream, text

from .conftest import ENTRY_POINT, Command, clean_environment

pytestmark = ci_only  # each test starts a process; tests/unit/agents/terminal has the same behaviours in this one

if os.name == "posix":
    from .forked_command import run_forked
    from .pseudo_terminal import ChatSession
else:
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

NO_KEY = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
SAID = Run(
    messages=[Message(role="user", content="Which train?"), Message(role="assistant", content="The **7:58**.")],
    model="small-1",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for a store."""
    return tmp_path / "store"


@contextmanager
def chat(
    root: Path, server: ScriptedServer, *args: str, columns: int = 100, env: Mapping[str, str] = {}
) -> Iterator[ChatSession]:
    """Start a chat in the folder above the store, and wait for its first prompt."""
    command: list[str | Path] = [ENTRY_POINT, "chat", "--store", "store", "--base-url", server.base_url, *args]
    with ChatSession(*command, cwd=root.parent, columns=columns, env={**NO_KEY, **env}) as talk:
        talk.wait_for_prompt()
        yield talk


@contextmanager
def chat_with(root: Path, *script: Reply, args: tuple[str, ...] = (), columns: int = 100) -> Iterator[ChatSession]:
    with scripted_server(*script) as server, chat(root, server, *args, columns=columns) as talk:
        yield talk


def piped(
    root: Path, server: ScriptedServer | None, said: str, *args: str, **env: str
) -> subprocess.CompletedProcess[str]:
    url = ("--base-url", server.base_url) if server is not None else ()
    words = ["chat", "--store", str(root), *url, *args]
    return run_forked(words, root.parent, clean_environment(**{**NO_KEY, **env}), said)


@pytest.mark.parametrize(
    ("answered", "kind"),
    [
        ({"model": "offline", "answered_by": "function"}, "a Python function"),
        ({"model": "offline"}, "a Python function"),  # as older versions stored it
        ({"model": "function"}, "a Python function"),
        ({"model": "own", "answered_by": "OwnModel"}, "OwnModel"),
    ],
)
def test_a_server_is_never_asked_for_a_function(root: Path, answered: dict[str, str], kind: str) -> None:
    """After the offline quickstart, the chat asked a server for a model called "offline"."""
    storage = JsonStorage(root)
    storage.append("trip", SAID.model_copy(update={"answered_by": None, **answered}))
    storage.append("trip", Run(messages=[Message(role="user", content="killed")], status="unfinished"))
    with scripted_server(text("Yes.")) as server:
        done = piped(root, server, "hello\n")
        assert done.returncode == 2
        assert f"Session 'trip' was answered by {kind} ('{answered['model']}')" in done.stderr
        assert "Name a model with --model." in done.stderr
        assert server.requests == []
        assert piped(root, server, "hello\n", "--model", "small-2").stdout == "Yes.\n"
    assert server.requests[0]["model"] == "small-2"


def test_the_model_that_was_asked_for_is_asked_again(root: Path) -> None:
    """Not the name that the server gives it, which may be the path of a file. A run without a model is passed over."""
    JsonStorage(root).append(
        "trip", SAID.model_copy(update={"model": "/models/small.gguf", "requested_model": "small"})
    )
    JsonStorage(root).append("trip", Run(messages=[Message(role="user", content="killed")], status="unfinished"))
    with scripted_server(text("Yes.")) as server:
        piped(root, server, "hello\n")
    assert server.requests[0]["model"] == "small"


def test_an_answer_that_was_cut_off_is_marked(root: Path) -> None:
    """It looked like a complete answer."""
    with scripted_server(text("It is", finish_reason="length")) as server:
        done = piped(root, server, "hello\n")
    assert "The answer is not complete (finish_reason: length). It reached the limit of tokens." in done.stderr
    assert done.returncode == 0


def test_no_secret_is_shown_or_stored(root: Path) -> None:
    """A key that the server repeated, and a password in --base-url, were printed by chat and replay and stored."""
    key = "sk-1234567890abcdef"
    problem = error(401, f"Incorrect API key provided: {key}, user alice:hunter2")
    JsonStorage(root).append("trip", SAID)
    with scripted_server(problem, problem) as server:
        url = server.base_url.replace("//", "//alice:hunter2@")
        asked = piped(root, None, "hello\n", "--base-url", url, OPENAI_API_KEY=key)
        words = ["replay", "trip", "--store", str(root), "--base-url", url, "--model", "m", "--last", "1"]
        repeated = run_forked(words, root.parent, clean_environment(OPENAI_API_KEY=key))
    assert "Asking small-1 at http://***@127.0.0.1" in asked.stderr
    assert "Incorrect API key provided: ***" in asked.stderr
    assert "Incorrect API key provided: ***" in repeated.stdout
    stored = "".join(path.read_text() for path in root.rglob("*.json"))
    assert stored.count("Incorrect API key provided: ***") == 2
    for text_seen in (asked.stdout, asked.stderr, repeated.stdout, repeated.stderr, stored):
        assert key not in text_seen
        assert "hunter2" not in text_seen


def only_session(root: Path) -> Session:
    """Return the only session of the store, as another process reads it."""
    storage = JsonStorage(root, create=False)
    (session_id,) = storage.get_all_session_ids()
    session = storage.read(session_id)
    assert session is not None
    return session


def trip(root: Path) -> JsonStorage:
    """Return a store with one session, `trip`, that holds an answered question."""
    storage = JsonStorage(root)
    storage.append("trip", SAID, user_id="alice", entity_id="guide")
    storage.update("trip", name="Trip to Vienna", session_state={"cart": ["ticket"]}, instructions="Be brief.")
    return storage


def test_an_answer_arrives_piece_by_piece_and_is_stored(root: Path) -> None:
    """Each piece is on the screen before the server sends the next one; Markdown is rendered."""
    go_on = Event()
    with chat_with(root, stream("Take **the", go_on.wait, " 7:58** train.")) as talk:
        talk.type("Which train?\r")
        talk.wait_for("Take")
        assert "train.\n" not in talk.text
        go_on.set()
        talk.wait_for("train.")
        talk.wait_for_prompt()
        assert "Take the 7:58 train." in talk.lines
        talk.type("bye\r")
        assert talk.ended() == 0
    run = only_session(root).runs[0]
    assert (run.question, run.answer, run.status) == ("Which train?", "Take **the 7:58** train.", "completed")


def test_the_newest_session_is_continued_with_its_model_instructions_and_history(root: Path) -> None:
    """Without arguments the chat continues: it shows the last question and answer, and the model gets them."""
    trip(root)
    with scripted_server(stream("Platform 3.")) as server, chat(root, server) as talk:
        assert "Continuing session trip (Trip to Vienna). Type /help for commands, bye to leave." in talk.lines
        assert talk.text.index("> Which train?") < talk.text.index("The **7:58**.")
        talk.enter("Which platform?", "Platform 3.")
        request = server.requests[0]
    assert request["model"] == "small-1"
    assert [message["content"] for message in request["messages"]] == [
        "Be brief.",
        "Which train?",
        "The **7:58**.",
        "Which platform?",
    ]
    assert [run.status for run in only_session(root).runs] == ["completed", "completed"]


def test_ctrl_c_stops_the_answer_and_not_the_program(root: Path) -> None:
    """The part that had arrived is stored as a cancelled run; the next question is answered."""
    hold = Event()
    with chat_with(root, stream("So far", hold.wait, " and more"), stream("Yes.")) as talk:
        talk.type("Slow?\r")
        talk.wait_for("So far")
        talk.interrupt("Stopped. Type /retry to ask again.")
        hold.set()
        talk.enter("Still there?", "Yes.")
        talk.type("\x04")
        assert talk.ended() == 0
    first, second = only_session(root).runs
    assert (first.status, first.answer) == ("cancelled", "So far")
    assert (second.status, second.answer) == ("completed", "Yes.")


def test_ctrl_c_stops_a_server_that_does_not_begin_to_answer(root: Path) -> None:
    hold, asked = Event(), Event()
    with chat_with(root, stream(asked.set, hold.wait, "late")) as talk:
        talk.type("Slow?\r")
        talk.wait_for("Thinking")
        assert asked.wait(30)
        talk.interrupt("Stopped.")
        hold.set()
    assert only_session(root).runs[0].status == "cancelled"


def test_ctrl_c_many_times_does_not_end_the_program(root: Path) -> None:
    """A person presses Ctrl-C until something happens."""
    hold = Event()
    with chat_with(root, stream("So far", hold.wait), stream("Yes.")) as talk:
        talk.type("Slow?\r")
        talk.wait_for("So far")
        talk.type("\x03" * 20)
        talk.wait_for("Stopped.")
        talk.wait_for_prompt()  # the last of them may clear what was typed before
        hold.set()
        talk.type("Still there?\r")
        talk.wait_for("Yes.")
        talk.wait_for_prompt()
        talk.type("bye\r")
        assert talk.ended() == 0
    assert [run.status for run in only_session(root).runs] == ["cancelled", "completed"]


def test_ctrl_c_at_the_prompt_clears_the_line_and_a_second_one_says_how_to_leave(root: Path) -> None:
    with scripted_server(stream("Yes.")) as server, chat(root, server) as talk:
        talk.type("nonsense")
        talk.wait_for("nonsense")
        talk.interrupt("\n")
        assert "To leave" not in talk.text
        talk.interrupt("To leave, type bye or press Ctrl-D.")
        talk.enter("Really?", "Yes.")
        assert [message["content"] for message in server.requests[0]["messages"]] == ["Really?"]


def test_arrow_up_brings_back_the_questions_of_this_chat_and_of_the_session(root: Path) -> None:
    trip(root)
    with scripted_server(stream("One."), stream("Two."), stream("Three.")) as server, chat(root, server) as talk:
        talk.enter("Which platform?", "One.")
        talk.enter("\x1b[A", "Two.")
        talk.enter("\x1b[A\x1b[A", "Three.")
        asked = [request["messages"][-1]["content"] for request in server.requests]
    assert asked == ["Which platform?", "Which platform?", "Which train?"]


def test_arrow_up_brings_back_all_lines_of_a_question(root: Path) -> None:
    """Each line was a question of its own in the history: the lines before the last one did not come back with it.

    The same is true of a question that the session has, and of lines that Ctrl-C has ended.
    """
    JsonStorage(root).append("s1", Run(messages=[Message(role="user", content="old\nlines\u200f")], model="m"))
    replies = [stream(text) for text in ("One.", "Two.", "Three.", "Four.")]
    with scripted_server(*replies) as server, chat(root, server) as talk:
        talk.type("first\\\r")
        talk.wait_for("\n. ")
        talk.enter("second", "One.")
        talk.enter("\x1b[A", "Two.")
        talk.enter("\x1b[A\x1b[A", "Three.")
        talk.type("half\\\r")
        talk.wait_for("\n. ")
        talk.interrupt("\n")
        talk.enter("\x1b[A", "Four.")
        asked = [request["messages"][-1]["content"] for request in server.requests]
    assert asked == ["first\nsecond", "first\nsecond", "old\nlines\\u200f", "half"]


def test_typing_during_an_answer_leaves_it_as_it_is(root: Path) -> None:
    """The terminal wrote what was typed into the answer, where it stayed. Now the next prompt has it."""
    go_on = [Event(), Event(), Event()]
    replies = (stream(go_on[0].wait, "One ", go_on[1].wait, "two ", go_on[2].wait, "three."), stream("Four."))
    with scripted_server(*replies) as server, chat(root, server) as talk:
        talk.type("Which numbers?\r")
        for event, wanted in zip(go_on, ("Thinking", "One", "two"), strict=True):
            talk.wait_for(wanted)
            talk.type("and xyz")
            time.sleep(0.2)
            event.set()
        talk.wait_for("three.")
        talk.wait_for("> and xyzand xyzand xyz")
        assert "One two three." in talk.lines
        assert talk.text.count("xyz") == 3
        assert talk.lines[-1] == "> and xyzand xyzand xyz"
        talk.enter(" more", "Four.")
        assert server.requests[-1]["messages"][-1]["content"] == "and xyzand xyzand xyz more"


def test_the_terminal_echoes_again_after_the_chat(root: Path) -> None:
    """Also after Ctrl-C in an answer, and Ctrl-D."""
    hold = Event()
    with scripted_server(stream("So far", hold.wait)) as server:
        command = f"trap : INT; '{ENTRY_POINT}' chat --store store --base-url $URL; stty -a"
        with ChatSession("sh", "-c", command, cwd=root.parent, env={**NO_KEY, "URL": server.base_url}) as talk:
            talk.wait_for_prompt()
            talk.type("Slow?\r")
            talk.wait_for("So far")
            talk.interrupt("Stopped.")
            hold.set()
            talk.type("\x04")
            assert talk.ended() == 0
            assert " echo " in talk.text
            assert " icanon " in talk.text


def test_a_tool_can_ask_for_input_during_a_run(root: Path) -> None:
    """Characters are echoed while a tool runs, and hidden again afterwards."""
    program = """
import os, time
from localstore import Agent, FunctionModel, Message, ToolCall

def confirm() -> str:
    return input("Sure? ")

def model(messages):
    if messages[-1].role == "tool":
        while not os.path.exists("typed"):
            time.sleep(0.01)
        return "You said " + messages[-1].content
    else:
        return Message(role="assistant", tool_calls=[ToolCall(id="1", name="confirm", arguments={})])

Agent(model=FunctionModel(model), tools=[confirm]).print_response("Go?")
"""
    with ChatSession(sys.executable, "-c", program, cwd=root.parent) as talk:
        talk.wait_for("Sure? ")
        talk.type("yes please\r")
        talk.wait_for("Thinking")
        talk.type("xyz")
        (root.parent / "typed").touch()
        assert talk.ended() == 0
        assert "Sure? yes please" in talk.text
        assert "You said yes please" in talk.text
        assert "xyz" not in talk.text


def test_a_backslash_and_a_paste_make_a_question_of_several_lines(root: Path) -> None:
    with scripted_server(stream("Fine."), stream("Good.")) as server, chat(root, server) as talk:
        talk.type("One\\\r")
        talk.wait_for("\n. ")
        talk.enter("two", "Fine.")
        talk.enter("\x1b[200~three\nfour\x1b[201~", "Good.")
        asked = [request["messages"][-1]["content"] for request in server.requests]
    assert asked == ["One\ntwo", "three\nfour"]


def test_a_text_that_is_pasted_during_an_answer_is_one_question(root: Path) -> None:
    """Each of its lines was a question of its own. It is at the next prompt, and can be changed before it is asked."""
    go_on = Event()
    with scripted_server(stream("One.", go_on.wait), stream("Two.")) as server, chat(root, server) as talk:
        talk.type("Which?\r")
        talk.wait_for("One.")
        assert talk.raw.rindex("\x1b[?2004h") > talk.raw.rindex("\x1b[?2004l")  # the terminal marks pasted text
        talk.type("\x1b[200~/* code */\n\tsecond\x1b[201~")
        go_on.set()
        talk.wait_for("second")
        talk.enter(" line", "Two.")
        assert server.requests[1]["messages"][-1]["content"] == "/* code */\n\tsecond line"
        talk.type("bye\r")
        assert talk.ended() == 0
        assert talk.raw.rindex("\x1b[?2004h") < talk.raw.rindex("\x1b[?2004l")


def test_the_message_of_an_editor_and_another_model(root: Path) -> None:
    """An editor that fails leaves the chat as it is, and names the file with what was typed."""
    editor = root.parent / "editor"
    editor.write_text("#!/bin/sh\nprintf '\\nsecond' >> $1\ntest -f ok || exit 3\n")
    editor.chmod(0o755)
    with scripted_server(stream("Fine.")) as server, chat(root, server, env={"EDITOR": "./editor"}) as talk:
        talk.enter("/edit first", "ended with code 3.")
        (kept,) = [line for line in talk.lines if "Your text is kept in " in line]
        Path(kept.rpartition(" ")[2]).unlink()
        (root.parent / "ok").touch()
        talk.enter("/model big", "The next questions are for big.")
        talk.enter("/edit first", "Fine.")
        talk.enter("/model", "big")
    assert (server.requests[0]["model"], server.requests[0]["messages"][-1]["content"]) == ("big", "first\nsecond")


def test_the_commands(root: Path) -> None:
    """Each command works once in one chat."""
    storage = trip(root)
    with chat_with(root, stream("Three."), stream("Four."), stream("Five.")) as talk:
        talk.enter("/help", "leave (also")
        talk.enter("/state", '"ticket"')
        talk.enter("/rename Vienna", "Renamed this session to Vienna.")
        talk.enter("Which platform?", "Three.")
        talk.enter("/retry", "Four.")
        talk.enter("/fork 1", "Forked. Session trip is unchanged.")
        talk.enter("/sessions", "1  Vienna (fork)")
        talk.enter("/undo", "Removed: Which train?")
        talk.enter("/open Vienna", "Continuing session trip (Vienna).")
        talk.enter("/open 1", "(fork)")
        talk.enter("/new", "New session")
        talk.enter("Hello?", "Five.")
        talk.enter("/sesions", "Did you mean /sessions?")
        talk.enter("/xyzzy", "/help lists the commands.")
        talk.enter("/open nothing", "No session matches nothing.")
        talk.enter("/fork 9", "No run matches 9.")
        talk.type("/quit\r")
        assert talk.ended() == 0
        assert "localstore rescue " in talk.text
    read = storage.read("trip")
    assert read is not None
    assert [run.answer for run in read.runs] == ["The **7:58**.", "Four."]
    assert read.name == "Vienna"
    newest, fork, *_ = storage.list_sessions()
    assert (newest.runs, fork.runs) == (1, 0)


def test_undone_runs_come_back_with_the_command_that_undo_prints(root: Path, run: Command) -> None:
    trip(root)
    with chat_with(root) as talk:
        talk.enter("/undo", "--restore")
        (line,) = [line for line in talk.lines if line.startswith("localstore rescue")]
    assert only_session(root).runs == []
    assert run(*line.split()[1:]).returncode == 0
    assert only_session(root).runs[0].answer == "The **7:58**."


def test_a_narrow_terminal(root: Path) -> None:
    """No line is wider than 40 columns, and no part of a word is lost."""
    trip(root)
    answer = "A long answer, which has to be wrapped at forty columns.\n\n- a list\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    with chat_with(root, stream(*(f"{word} " for word in answer.split(" "))), columns=40) as talk:
        for command, wanted in (("/help", "backslash"), ("/sessions", "this one"), ("Why?", "2"), ("/state", "}")):
            talk.enter(command, wanted)
        lines = talk.lines
    assert max(map(len, lines)) <= 40
    assert "A long answer, which has to be wrapped" in lines
    assert any("• a list" in line for line in lines)


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_a_terminal_without_colours(root: Path, name: str, value: str) -> None:
    """NO_COLOR turns off colours; a dumb terminal gets no control codes at all."""
    trip(root)
    with scripted_server(stream("It is **here**.")) as server, chat(root, server, env={name: value}) as talk:
        talk.enter("Where?", "here")
        talk.enter("/sessions", "this one")
        talk.enter("/nonsense", "Error:")
        raw = talk.raw
    if value == "dumb":
        assert "\x1b" not in raw
        assert "It is **here**." in raw
    else:
        assert "\x1b[3" not in raw.replace("\x1b[3m", "")
        assert "It is here." in talk.lines


def test_questions_from_a_pipe_print_only_the_answers(root: Path) -> None:
    with scripted_server(stream("**Hello**", "!\x1b[2J"), text("Two.")) as server:
        done = piped(root, server, "hi\nline one\\\nline two\nbye\nnever asked\n")
        asked = [request["messages"][-1]["content"] for request in server.requests]
    assert (done.returncode, done.stdout) == (0, "**Hello**!\\x1b[2J\nTwo.\n")
    assert "New session " in done.stderr
    assert "\x1b" not in done.stderr
    assert asked == ["hi", "line one\nline two"]


def test_output_into_a_pipe_has_only_the_answers_while_a_person_types(root: Path) -> None:
    """The prompts go to the standard error."""
    command = f"'{ENTRY_POINT}' chat --store store --base-url $URL | tee answers"
    with (
        scripted_server(stream("**Yes", ".**")) as server,
        ChatSession("sh", "-c", command, cwd=root.parent, env={**NO_KEY, "URL": server.base_url}) as talk,
    ):
        talk.wait_for_prompt()
        talk.type("Well?\r")
        talk.wait_for("**Yes.**")
        talk.type("\x04")
        assert talk.ended() == 0
    assert (root.parent / "answers").read_text() == "**Yes.**\n"


def test_an_unanswered_question_from_a_pipe_sets_the_exit_code(root: Path) -> None:
    """The other questions are still asked."""
    with scripted_server(error(400, "too long"), text("Two.")) as server:
        done = piped(root, server, "one\ntwo")
    assert (done.returncode, done.stdout) == (1, "Two.\n")
    assert "Error: The server answered 400: too long." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("status", "said"),
    sampled(
        [
            (401, "Correct the API key"),
            (404, "Check the name of the model"),
            (429, "Wait a moment"),
            (500, "Try again later"),
        ],
        4,
    ),
)
def test_an_error_of_the_server_is_one_line_and_the_chat_continues(root: Path, status: int, said: str) -> None:
    again = [error(status, "No.", retry_after_ms="1")] * 3  # the client tries some of them three times
    script = again if status in (429, 500) else again[:1]
    with chat_with(root, *script, text("Yes.")) as talk:
        talk.enter("Well?", f"Error: The server answered {status}: No. {said}")
        talk.enter("/retry", "Yes.")
        assert "Traceback" not in talk.text
    assert [run.status for run in only_session(root).runs] == ["error", "completed"]


@pytest.mark.parametrize(
    "broken",
    sampled(
        [
            pytest.param(stream("Half", cut=True), id="cut"),
            pytest.param(stream("Half", b"data: {nonsense\n\n"), id="no JSON"),
            pytest.param(stream("Half", b"data: \xff\xfe\n\n"), id="no UTF-8"),
        ],
        3,
    ),
)
def test_a_broken_stream_is_one_line_and_the_chat_continues(root: Path, broken: Reply) -> None:
    with chat_with(root, broken, text("Whole.")) as talk:
        talk.enter("Well?", "Type /retry to ask again.")
        talk.enter("/retry", "Whole.")
        assert "Half" in talk.lines
        assert "Traceback" not in talk.text
    assert [run.status for run in only_session(root).runs] == ["error", "completed"]


def test_an_unreachable_server_is_named(root: Path) -> None:
    with scripted_server() as server:
        pass
    with chat(root, server) as talk:
        talk.enter("Well?", "Is it running?")
        assert server.base_url in talk.text
        assert "Traceback" not in talk.text


def test_after_kill_9_the_question_is_stored_and_can_be_retried(root: Path) -> None:
    """Retrying replaces the killed run with the finished one."""
    hold = Event()
    with scripted_server(stream("Half", hold.wait), stream("Whole.")) as server:
        with chat(root, server) as talk:
            talk.type("Well?\r")
            talk.wait_for("Half")
            talk.kill()
        hold.set()
        assert only_session(root).runs[0].status == "unfinished"
        with chat(root, server) as talk:
            assert "> Well?" in talk.lines
            assert "This run was not finished. Type /retry to ask again." in talk.lines
            talk.enter("/retry", "Whole.")
    (run,) = only_session(root).runs
    assert (run.status, run.question, run.answer) == ("completed", "Well?", "Whole.")


def test_a_broken_document_is_one_line_and_a_new_session_can_be_started(root: Path) -> None:
    storage = trip(root)
    with chat_with(root, text("Yes."), text("Yes.")) as talk:
        Path(storage.path("trip")).write_text("{nonsense")
        talk.enter("Well?", "Error: ")
        talk.enter("/new", "New session")
        talk.enter("Well?", "Yes.")
        assert "Traceback" not in talk.text


def test_a_session_is_found_by_name_or_beginning_of_its_id(root: Path) -> None:
    """A missing session, or another user's, gives exit code 3."""
    trip(root)
    with scripted_server(text("A."), text("B.")) as server:
        assert "Continuing session trip" in piped(root, server, "?\n", "Trip to Vienna").stderr
        assert "Continuing session trip" in piped(root, server, "?\n", "tri", "--user", "alice").stderr
        for args in (("nothing",), ("trip", "--user", "bob")):
            done = piped(root, server, "?\n", *args)
            assert (done.returncode, done.stdout) == (3, "")
            assert "Traceback" not in done.stderr


def test_new_and_user_start_a_new_session(root: Path) -> None:
    """A user without a session gets a new one."""
    storage = trip(root)
    with scripted_server(text("A."), text("B."), text("C.")) as server:
        assert "New session " in piped(root, server, "?\n", "--new").stderr
        assert "New session " in piped(root, server, "?\n", "--user", "bob", "--system", "Be kind.").stderr
        assert "Continuing session " in piped(root, server, "?\n", "--user", "bob", "--model", "big-1").stderr
        models = [request["model"] for request in server.requests]
    assert models == ["gpt-4o-mini", "gpt-4o-mini", "big-1"]
    assert [info.user_id for info in storage.list_sessions()] == ["bob", None, "alice"]
    (bob,) = storage.get_all_sessions(user_id="bob")
    assert (len(bob.runs), bob.instructions) == (2, "Be kind.")


def test_without_a_store_the_error_says_how_to_create_one(tmp_path: Path, run: Command) -> None:
    done = run("chat", env={"OPENAI_API_KEY": "x"})
    assert (done.returncode, done.stdout) == (3, "")
    assert "'localstore chat --store DIR' creates one" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_key_nothing_is_created(root: Path, run: Command) -> None:
    """A server on this machine needs no key; any other server does."""
    for args in ((), ("--base-url", "https://example.org/v1")):
        done = run("chat", "--store", root, *args, env=NO_KEY)
        assert done.returncode == 2
        assert "There is no API key. Set OPENAI_API_KEY" in done.stderr
    assert not root.exists()


@pytest.mark.parametrize(
    "args",
    [("trip", "--new"), ("",), ("--user", ""), ("--model", ""), ("--base-url", "localhost:1"), ("--store", "~/x")],
)
def test_wrong_usage(tmp_path: Path, run: Command, args: tuple[str, ...]) -> None:
    done = run("chat", *args, env={"OPENAI_API_KEY": "x"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "See 'localstore chat --help'." in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_stops_early_ends_the_chat(root: Path) -> None:
    """The exit code is 141, as with every other command, and the run is stored as cancelled."""
    go_on = Event()
    with scripted_server(stream("First. ", go_on.wait, *["more " * 10_000] * 5)) as server:
        process = subprocess.Popen(
            [ENTRY_POINT, "chat", "--store", root, "--base-url", server.base_url],
            env=clean_environment(**NO_KEY),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(b"Well?\n")
            process.stdin.flush()
            assert process.stdout.read(6) == b"First."
            process.stdout.close()
            go_on.set()
            assert process.wait(30) == 141
            assert b"Traceback" not in process.stderr.read()
    assert only_session(root).runs[0].status == "cancelled"


def test_the_session_of_a_team_is_refused(root: Path) -> None:
    """Without a name, the newest session of an agent is continued instead."""
    storage = trip(root)
    storage.append("team", Run(messages=[Message(role="user", content="?")]), kind="team")
    with scripted_server(text("A.")) as server:
        assert piped(root, server, "?\n", "team").returncode == 4
        assert "Continuing session trip" in piped(root, server, "?\n").stderr
    assert json.loads(Path(storage.path("team")).read_bytes())["kind"] == "team"

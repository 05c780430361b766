"""`Agent.cli_app` with a model that is a function, and lines that come from a pipe."""

import errno
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localstore import Agent, FunctionModel, JsonStorage, Message, Run, Team, ToolCall
from localstore.agents.models.model import Answer
from localstore.agents.models.openai_chat import OpenAIChat
from localstore.agents.terminal.chat import Chat
from localstore.disk.locks import LockPool
from localstore.errors import LockTimeout

Said = tuple[str, str]
Talk = Callable[..., Said]


def echo(messages: list[Message]) -> str:
    return f"You said {messages[-1].text}."


def agent(function: Callable[[list[Message]], Answer] = echo, **options: object) -> Agent:
    return Agent(model=FunctionModel(function), session_id="s1", **options)  # type: ignore[arg-type]


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Lines(io.StringIO):
    """A stream of lines that are decoded one by one."""

    def __init__(self, lines: list[bytes]) -> None:
        super().__init__()
        self._lines = iter(lines)

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        return next(self._lines, b"").decode()


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    """Chat with an agent, and return the standard output and the standard error."""

    def call(who: Agent, *lines: str, answered: bool = True) -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
        assert Chat(who, markdown=True).run() is answered
        said = capsys.readouterr()
        return said.out, said.err

    return call


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    return JsonStorage(tmp_path / "store")


@pytest.mark.parametrize("word", ["bye", "exit", "quit", "BYE ", "/quit", "/exit", "/bye"])
def test_each_of_these_words_ends_the_chat(talk: Talk, word: str) -> None:
    out, _ = talk(agent(), "", "one", word, "two")
    assert out == "You said one.\n"


def test_an_unfinished_line_at_the_end_of_the_input_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\\\r\n two\\"))
    agent().cli_app()
    assert capsys.readouterr().out == "You said one\n two.\n"


def test_without_a_standard_input_the_chat_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    agent().cli_app()


def test_a_line_with_a_blank_before_the_slash_is_a_question(talk: Talk) -> None:
    assert talk(agent(), " /etc/passwd?")[0] == "You said /etc/passwd?.\n"
    out, err = talk(agent(), "/etc/passwd?")
    assert out == ""
    assert "Error: There is no command /etc/passwd?." in err


def test_text_that_is_not_utf_8_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8"))
    agent().cli_app()
    assert "This is not utf-8" in capsys.readouterr().err


def test_an_error_of_the_model_does_not_end_the_chat(talk: Talk, storage: JsonStorage) -> None:
    """Any exception is shown as one line without control characters."""

    def fail(messages: list[Message]) -> str:
        if messages[-1].text == "fail":
            raise RuntimeError("first line\nsecond \x1b[2J line")
        return echo(messages)

    out, err = talk(agent(fail, storage=storage), "fail", "go on", answered=False)
    assert out == "You said go on.\n"
    assert "Error: RuntimeError: first line second \\x1b[2J line. Type /retry to ask again.\n" in err


def test_an_answer_that_cannot_be_stored_is_shown_with_the_error(
    talk: Talk, storage: JsonStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.append

    def append(session_id: str, run: Run, **options: object) -> None:
        if run.status != "unfinished":
            raise OSError(errno.ENOSPC, "No space left on device", "s1.json")
        real(session_id, run, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(storage, "append", append)
    out, err = talk(agent(storage=storage), "one", answered=False)
    assert out == "You said one.\n"
    assert "Error: The answer could not be stored. s1.json: No space left on device. Type /retry to ask again.\n" in err


def test_ctrl_c_ends_a_chat_that_reads_from_a_pipe(talk: Talk, storage: JsonStorage) -> None:
    """Nobody could type the next question. The run is stored as cancelled."""

    def stop(messages: list[Message]) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        talk(agent(stop, storage=storage), "one", "two")
    session = storage.read("s1")
    assert session is not None
    assert [run.status for run in session.runs] == ["cancelled"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_during_a_write_takes_effect_after_the_write(
    storage: JsonStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KeyboardInterrupt was raised right after a lock was taken, and the lock was never released.

    Nothing could be written to the session after that.
    """
    real = LockPool.acquire
    interrupted: list[int] = []

    def acquire(pool: LockPool, number: int, timeout: float, holder: Any = None) -> None:
        real(pool, number, timeout, holder)
        if not interrupted:
            interrupted.append(number)
            os.kill(os.getpid(), signal.SIGINT)

    def respond(messages: list[Message]) -> str:
        if messages[-1].text == "one":
            time.sleep(30)
        return echo(messages)

    lines = iter(["one", "two", "bye"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr(LockPool, "acquire", acquire)
    agent(respond, storage=storage).cli_app()
    session = storage.read("s1")
    assert session is not None
    assert [(run.question, run.status) for run in session.runs] == [("one", "cancelled"), ("two", "completed")]


class TestRetry:
    """`/retry` asks the last question again."""

    def test_an_answered_one_is_asked_in_place_of_its_answer(self, talk: Talk, storage: JsonStorage) -> None:
        answers = iter(["first", "second"])
        talk(agent(lambda messages: next(answers), storage=storage), "Well?", "/retry")
        session = storage.read("s1")
        assert session is not None
        assert [(run.question, run.answer) for run in session.runs] == [("Well?", "second")]

    def test_a_failed_one_stays(self, talk: Talk, storage: JsonStorage) -> None:
        answers: Iterator[str | Exception] = iter([RuntimeError("no"), "second"])

        def respond(messages: list[Message]) -> str:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        talk(agent(respond, storage=storage), "Well?", "/retry", answered=False)
        session = storage.read("s1")
        assert session is not None
        assert [(run.question, run.status) for run in session.runs] == [("Well?", "error"), ("Well?", "completed")]

    def test_one_that_could_not_be_stored_is_not_mixed_up_with_the_one_before(
        self, talk: Talk, storage: JsonStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The last question is the one that was typed last, not the last one of the session."""
        real, fails = storage.append, iter([False, False, True])

        def append(*args: object, **options: object) -> None:
            if next(fails, False):
                raise LockTimeout("The store is locked. Try again.")
            real(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(storage, "append", append)
        out, err = talk(agent(storage=storage), "one", "two", "/retry", answered=False)
        assert out == "You said one.\nYou said two.\n"
        assert "Error: The store is locked. Try again. Type /retry to ask again." in err
        session = storage.read("s1")
        assert session is not None
        assert [run.question for run in session.runs] == ["one", "two"]

    def test_there_may_be_nothing(self, talk: Talk) -> None:
        assert "Nothing has been asked yet." in talk(agent(), "/retry")[1]


class TestSeveralLines:
    """A message of several lines."""

    def test_multi_reads_lines_as_they_are_up_to_the_end(self, talk: Talk) -> None:
        out, _ = talk(agent(), "/multi", "a \\", "", "/help", "bye", "/end ", "two", "/multi three", "four")
        assert out == "You said a \\\n\n/help\nbye.\nYou said two.\nYou said three\nfour.\n"

    def test_an_empty_message_is_not_asked(self, talk: Talk) -> None:
        out, err = talk(agent(), "/multi", " ", "/end", "two")
        assert out == "You said two.\n"
        assert "The message is empty. Nothing was asked." in err

    def test_none_of_a_message_that_cannot_be_decoded_is_asked(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The lines after the wrong one would be questions of their own."""
        lines = [b"/multi\n", b"a\n", b"\xff\n", b"b\n", b"/end\n", b"two\n"]
        monkeypatch.setattr("sys.stdin", Lines(lines))
        agent().cli_app()
        said = capsys.readouterr()
        assert said.out == "You said two.\n"
        assert "Error: This is not utf-8. The message was ignored." in said.err

    def test_arrow_up_brings_back_a_message_that_ctrl_c_dropped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        readline = pytest.importorskip("readline")
        typed: Iterator[str | None] = iter(["/multi", "a", "b", None, "bye"])
        remembered: list[str] = []

        def read(prompt: str) -> str:
            line = next(typed)
            if line is None:
                raise KeyboardInterrupt
            if line == "bye":
                remembered.append(readline.get_history_item(readline.get_current_history_length()))
            return line

        monkeypatch.setattr("builtins.input", read)
        monkeypatch.setattr("sys.stdin", Terminal())
        monkeypatch.setattr("sys.stdout", Terminal())
        agent(lambda messages: pytest.fail("it was asked")).cli_app()
        assert remembered == ["a\nb"]

    def test_a_text_of_several_lines_is_never_a_command(self, talk: Talk) -> None:
        """Pasted code that begins with a comment was an unknown command."""
        assert talk(agent(), "// code\\", "quit()", "/quit")[0] == "You said // code\nquit().\n"

    def test_the_editor_gets_the_beginning_and_its_text_is_asked(
        self, monkeypatch: pytest.MonkeyPatch, storage: JsonStorage
    ) -> None:
        def edited(text: str) -> str:
            if text == "fail":
                raise LockTimeout("The editor failed.")
            return f"{text}\n/open 1\n" if text else " \n"

        lines = iter(["/edit", "/edit fail", "/edit Well?", "bye"])
        terminal = Terminal()
        monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
        monkeypatch.setattr("sys.stdin", Terminal())
        monkeypatch.setattr("sys.stdout", terminal)
        assert Chat(agent(storage=storage), markdown=True, editor=edited).run()
        session = storage.read("s1")
        assert session is not None
        assert [run.question for run in session.runs] == ["Well?\n/open 1"]
        assert "The message is empty. Nothing was asked." in terminal.getvalue()
        assert "Error: The editor failed." in terminal.getvalue()

    def test_a_chat_that_reads_from_a_pipe_has_no_editor(self, talk: Talk) -> None:
        assert "Error: There is no editor here. Type /multi" in talk(agent(), "/edit")[1]


def test_model_shows_the_model_and_asks_another_one(talk: Talk) -> None:
    """Only a model on a server has others beside it. `extra_body` may name a model, too."""
    out, err = talk(agent(), "/model", "/model big")
    assert out == "function\n"
    assert "Error: This agent asks function, which is not a model on a server." in err
    asks_a_server = Agent(model=OpenAIChat(extra_body={"model": "small", "top_k": 1}, temperature=0))
    first = asks_a_server.model
    assert talk(asks_a_server, "/model", "/model big\x1b")[0] == "small\n"
    assert "The next questions are for big\\x1b." in talk(asks_a_server, "/model big\x1b")[1]
    assert (first.id, asks_a_server.model.id) == ("small", "big\x1b")


def test_commands_for_stored_sessions_need_a_storage(talk: Talk) -> None:
    """Questions, `/retry`, `/new` and `/state` work without one."""
    out, err = talk(
        agent(session_state={"a": 1}), "/sessions", "/open 1", "/fork", "/undo", "/rename x", "one", "/retry", "/state"
    )
    assert out == 'You said one.\nYou said one.\n{\n  "a": 1\n}\n'
    assert err.count("This agent has no storage") == 5


def test_sessions_lists_the_sessions_of_the_user(talk: Talk, storage: JsonStorage) -> None:
    """Sessions of other users, and of teams and workflows, are neither listed nor opened."""
    for session_id, user_id in (("a1", "alice"), ("b1", "bob"), ("s1", "alice")):
        storage.append(session_id, agent().run("hi"), user_id=user_id)
    storage.append("team", agent().run("hi"), user_id="alice", kind="team")
    out, err = talk(agent(storage=storage, user_id="alice"), "/sessions", "/open b1", "/open team", "/open 2", "/state")
    assert [line.split("\t")[1:3] for line in out.splitlines() if "\t" in line] == [["hi", "s1"], ["hi", "a1"]]
    assert err.count("Error: No session matches") == 2
    assert "Continuing session a1." in err


def test_a_command_without_its_argument_says_what_is_missing(talk: Talk, storage: JsonStorage) -> None:
    _, err = talk(agent(storage=storage), "/open", "/rename", "/rename x", "/undo", "/fork")
    assert "Error: Which session? Type /open" in err
    assert "Error: Which name? Type /rename NAME." in err
    assert "Error: This session starts with its first question." in err
    assert "There is no session 's1'" in err


def test_an_empty_answer_is_reported(talk: Talk) -> None:
    assert "The answer is empty." in talk(agent(lambda messages: ""), "one")[1]


def test_the_line_history_of_the_caller_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interactive Python that calls `cli_app` keeps its own history."""
    readline = pytest.importorskip("readline")

    readline.clear_history()
    readline.add_history("before")
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    lines = iter(["one", "bye"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    agent().cli_app()
    assert [readline.get_history_item(at + 1) for at in range(readline.get_current_history_length())] == ["before"]
    readline.clear_history()


@pytest.mark.parametrize("mode", ["route", "collaborate"])
def test_a_pipe_gets_the_answer_of_a_team_without_those_of_its_members(
    talk: Talk, storage: JsonStorage, mode: str
) -> None:
    """The answer is the leader's, or that of the member it picked. `/sessions` lists the sessions of teams."""
    pick = Message(role="assistant", tool_calls=[ToolCall(id="1", name="route_to", arguments={"member": "Bob"})])
    members = [Agent(model=FunctionModel(echo), name=name) for name in ("Ann", "Bob")]
    leader = FunctionModel(lambda _: pick if mode == "route" else "All of us.")
    team = Team(members=members, mode=mode, model=leader, session_id="s1", storage=storage)  # type: ignore[arg-type]
    out, _ = talk(team, "one", "/sessions", "bye")
    answer, listed = out.splitlines()
    assert answer == ("You said one." if mode == "route" else "All of us.")
    assert listed.split("\t")[1:3] == ["one", "s1"]


class TestOpenAndSessions:
    """`/open` and `/sessions` know the sessions as `localstore ls` does."""

    def test_an_id_as_it_is_printed_opens_the_session(self, talk: Talk, storage: JsonStorage) -> None:
        """`ls` printed the id with escapes, and `/open` did not know it; `/sessions` printed it without."""
        storage.append("odd\tid\x1b\u200f", Run(run_id="r1"))
        out, err = talk(agent(storage=storage), "/sessions", r"/open odd\tid\x1b\u200f", r"/open odd\tid\x1b")
        assert out.split("\t")[2] == r"odd\tid\x1b\u200f"
        assert err.count("Continuing session odd") == 2

    def test_several_matches_are_named(self, talk: Talk, storage: JsonStorage) -> None:
        for session_id in ("trip-1", "trip-2", "other"):
            storage.append(session_id, Run(run_id="r1"))
        storage.update("trip-1", name="Vienna")
        _, err = talk(agent(storage=storage), "/open trip", "/open VIEN", "/open tr ip")
        several = next(line for line in err.splitlines() if "2 sessions have an id that begins with trip" in line)
        assert "Give the whole id of one: " in several
        assert "trip-1 (Vienna)" in several
        assert "trip-2" in several
        assert "Error: No session matches VIEN. Give the id of one of these: trip-1 (Vienna)." in err
        assert "Error: No session matches tr ip. /sessions lists them." in err

    def test_problems_are_named(self, talk: Talk, storage: JsonStorage) -> None:
        """A session that cannot be read was listed like the others, and files without a session were not mentioned."""
        storage.append("sound", Run(run_id="r1"))
        storage.append("broken", Run(run_id="r1"))
        storage.path("broken").write_text(storage.path("broken").read_text().replace('"history"', "history"))
        storage.path("sound").with_name("unreadable.json").write_text("{")
        opened = JsonStorage(storage.root)
        out, err = talk(agent(storage=opened), "/sessions", "/open broken", "/open unreadable", "/open sound")
        assert "sound" in out
        listed = [row for row in opened.list_sessions() if row.problem]
        assert all(f"Error: {row.session_id}: " in err for row in listed)
        assert "cannot be read as a session. 'localstore check' says why." in err
        assert str(storage.path("sound").with_name("broken.json")) in err
        assert str(storage.path("sound").with_name("unreadable.json")) in err
        assert "Continuing session sound" in err

    def test_a_session_of_another_kind_is_named(self, talk: Talk, storage: JsonStorage) -> None:
        storage.append("squad", Run(run_id="r1"), kind="team")
        _, err = talk(agent(storage=storage), "/open squad")
        assert "No session matches squad. A session of kind team does, which is not for this chat." in err


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("/sesions", "/sessions"),
        ("/ls", "/sessions"),
        ("/op", "/open"),
        ("/load x", "/open"),
        ("/clear", "/new"),
        ("/", "/help"),
    ],
)
def test_an_unknown_command_suggests_one(talk: Talk, typed: str, suggested: str) -> None:
    assert f"Did you mean {suggested}?" in talk(agent(), typed)[1]

"""What `print_response` shows: panels on a terminal, plain text when piped."""

import io
import re
import subprocess
import sys

import pytest

from localstore import Agent, FunctionModel, Message


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        """What was written, without colours and cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard output as a terminal of 60 columns without colours, until the test ends."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    return stream


def agent(answer: str) -> Agent:
    return Agent(model=FunctionModel(lambda messages: answer))


def test_piped_output_is_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Question and answer, nothing drawn around them; with `show_message=False` the answer alone."""
    agent("**Paris**").print_response("What is the capital\nof France?", markdown=True)
    agent("Wien").print_response([Message(role="user", content="And of Austria?")], show_message=False)
    assert capsys.readouterr().out == "> What is the capital\n> of France?\n**Paris**\n\nWien\n\n"


def test_a_terminal_shows_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Question and answer stand in titled panels; square brackets are text, not markup."""
    terminal = on_terminal(monkeypatch)
    agent("[bold]Paris[/bold]").print_response("What is the capital of France?")
    shown = terminal.shown
    assert "─ Question ─" in shown
    assert "│ What is the capital of France? " in shown
    assert "─ Answer ─" in shown
    assert "[bold]Paris[/bold]" in shown
    assert max(len(line) for line in shown.splitlines() if line.startswith("│")) == 60


def test_markdown_is_rendered_on_a_terminal_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list gets its bullets only with `markdown=True`."""
    terminal = on_terminal(monkeypatch)
    agent("- Paris\n- Wien").print_response("Two capitals?", markdown=True)
    agent("- Paris").print_response("One capital?")
    assert "• Paris" in terminal.shown
    assert "- Paris" in terminal.shown


def test_the_question_stands_there_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person sees the question while the model thinks."""
    terminal = on_terminal(monkeypatch)
    seen: list[str] = []

    def look(messages: list[Message]) -> str:
        seen.append(terminal.shown)
        return "yes"

    Agent(model=FunctionModel(look)).print_response("Now?")
    assert "Now?" in seen[0]
    assert "Answer" not in seen[0]


def test_an_answer_cannot_drive_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape sequences in an answer are shown as text."""
    terminal = on_terminal(monkeypatch)
    agent("\x1b]0;owned\x07 safe").print_response("?")
    assert "\x1b]" not in terminal.getvalue()
    assert r"\x1b]0;owned\x07 safe" in terminal.shown


def test_a_pipe_with_a_small_encoding_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A character that the pipe's encoding lacks does not cost the answer."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii", newline=""))
    agent("Zürich\r\n\x1b[2J").print_response("?")
    assert raw.getvalue() == b"> ?\nZ\\xfcrich\n\\x1b[2J\n\n"


def test_errors_pass_through(capsys: pytest.CaptureFixture[str]) -> None:
    """A failing model raises as it does in `run`."""

    def fail(messages: list[Message]) -> str:
        raise ConnectionError("no network")

    with pytest.raises(ConnectionError):
        Agent(model=FunctionModel(fail)).print_response("?")
    assert capsys.readouterr().out == "> ?\n"


def test_rich_is_imported_only_for_a_terminal() -> None:
    """A piped script does not pay for it."""
    code = (
        "import sys; from localstore import Agent, FunctionModel;"
        "Agent(model=FunctionModel(lambda messages: 'yes')).print_response('?');"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "> ?\nyes\n\nFalse\n"

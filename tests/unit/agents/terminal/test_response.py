"""What `print_response` shows: panels on a terminal, plain text when piped."""

import io
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from localstore import Agent, FunctionModel, Message, Team, ToolCall
from tests.terminal import drawn


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        """Return the text that was written, without colours and cursor movements."""
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
    """Question and answer without panels; with `show_message=False`, only the answer."""
    agent("**Paris**").print_response("What is the capital\nof France?", markdown=True)
    agent("Wien").print_response([Message(role="user", content="And of Austria?")], show_message=False)
    assert capsys.readouterr().out == "> What is the capital\n> of France?\n**Paris**\n\nWien\n\n"


def test_a_terminal_shows_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Question and answer are in panels with titles; square brackets are text, not markup."""
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


def test_the_question_is_shown_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be read while the model works."""
    terminal = on_terminal(monkeypatch)
    seen: list[str] = []

    def look(messages: list[Message]) -> str:
        seen.append(terminal.shown)
        return "yes"

    Agent(model=FunctionModel(look)).print_response("Now?")
    assert "Now?" in seen[0]
    assert "Answer" not in seen[0]


def test_entities_in_markdown_do_not_reorder_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that a terminal acts on were escaped, but not those that Markdown makes of entities."""
    terminal = on_terminal(monkeypatch)
    agent("a&rlm; &#x202e; ![&lrm;](x) [&#1564;](x)\n\n| &rlm; | b |\n|---|---|\n| 1 | &#x2067; |").print_response(
        "?", markdown=True
    )
    assert not set("\u200e\u200f\u061c\u202e\u2067") & set(terminal.getvalue())
    assert r"a\u200f \u202e" in terminal.shown


def test_escape_sequences_in_an_answer_do_not_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape sequences in an answer are shown as text."""
    terminal = on_terminal(monkeypatch)
    agent("\x1b]0;owned\x07 safe").print_response("?")
    assert "\x1b]" not in terminal.getvalue()
    assert r"\x1b]0;owned\x07 safe" in terminal.shown


def test_characters_outside_the_pipes_encoding_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the whole answer would be lost to a UnicodeEncodeError."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii", newline=""))
    agent("Zürich\r\n\x1b[2J").print_response("?")
    assert raw.getvalue() == b"> ?\nZ\\xfcrich\n\\x1b[2J\n\n"


def test_print_response_raises_the_errors_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception of the model is raised unchanged."""

    def fail(messages: list[Message]) -> str:
        raise ConnectionError("no network")

    with pytest.raises(ConnectionError):
        Agent(model=FunctionModel(fail)).print_response("?")
    assert capsys.readouterr().out == "> ?\n"


def test_rich_is_imported_only_for_a_terminal() -> None:
    """A script whose output is piped starts faster."""
    code = (
        "import sys; from localstore import Agent, FunctionModel;"
        "Agent(model=FunctionModel(lambda messages: 'yes')).print_response('?');"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "> ?\nyes\n\nFalse\n"


def get_weather(city: str) -> str:
    """The weather of a city."""
    if city == "Nowhere":
        raise LookupError("no such city")
    return "12 degrees\nand rain"


def guide(show_tool_calls: bool) -> Agent:
    """An agent that says something, calls two tools, and answers."""
    calls = [
        ToolCall(id="1", name="get_weather", arguments={"city": "Wien"}),
        ToolCall(id="2", name="get_weather", arguments={"city": "Nowhere"}),
    ]

    def respond(messages: list[Message]) -> Message:
        if messages[-1].role == "user":
            return Message(role="assistant", content="Let me look.", tool_calls=calls)
        return Message(role="assistant", content="It rains.")

    return Agent(model=FunctionModel(respond), tools=[get_weather], show_tool_calls=show_tool_calls)


TOOLS_USED = (
    'Calls get_weather(city="Wien")\nCalls get_weather(city="Nowhere")\n'
    "get_weather returned: 12 degrees and rain\nget_weather failed: Error: LookupError: no such city\n"
)


def test_tool_calls_are_shown_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its arguments and a short result, each on one line; each message of the model is a paragraph."""
    guide(show_tool_calls=True).print_response("Rain?", show_message=False)
    assert capsys.readouterr().out == f"Let me look.\n{TOOLS_USED}\nIt rains.\n\n"
    guide(show_tool_calls=False).print_response("Rain?", show_message=False)
    assert capsys.readouterr().out == "Let me look.\n\nIt rains.\n\n"


def test_tool_calls_are_shown_between_the_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are shown in the order in which they happen."""
    terminal = on_terminal(monkeypatch)
    guide(show_tool_calls=True).print_response("Rain?", markdown=True)
    lines = drawn(terminal.getvalue().replace("\n", "\r\n"), 60, 24)
    assert [line.strip("│ ") for line in lines if line[:1] in "│CgE" and line] == [
        "Rain?",
        "Let me look.",
        *TOOLS_USED.splitlines(),
        "It rains.",
    ]


def test_pieces_are_written_as_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """This also applies to a pipe. A line break that is split between two pieces is written once."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="utf-8", newline=""))
    seen = []

    def respond(messages: list[Message]) -> Iterator[str]:
        for piece in ("one\r", "\ntwo\x1b", "[2J"):
            yield piece
            seen.append(raw.getvalue())

    Agent(model=FunctionModel(respond)).print_response("?", show_message=False)
    assert seen == [b"one", b"one\ntwo\\x1b", b"one\ntwo\\x1b[2J"]
    assert raw.getvalue() == b"one\ntwo\\x1b[2J\n\n"


def test_the_last_piece_before_a_pause_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal is redrawn several times a second, also while nothing arrives."""
    terminal = on_terminal(monkeypatch)

    def respond(messages: list[Message]) -> Iterator[str]:
        yield "Hello"
        assert "Hello" in terminal.shown
        yield " world"
        for _ in range(6_000):
            if "Hello world" in terminal.shown:
                break
            threading.Event().wait(0.01)
        else:
            pytest.fail("the piece before the pause was not shown")

    Agent(model=FunctionModel(respond)).print_response("?", markdown=True)


def test_a_partial_answer_stays_visible_if_the_model_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)

    def respond(messages: list[Message]) -> Iterator[str]:
        yield "Half an"
        raise ConnectionError("no network")

    with pytest.raises(ConnectionError):
        Agent(model=FunctionModel(respond)).print_response("?")
    assert any("Half an" in line for line in drawn(terminal.getvalue().replace("\n", "\r\n"), 60, 24))
    assert [thread for thread in threading.enumerate() if thread.name == "localstore-answer"] == []


def test_the_target_of_a_link_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    agent("[here](https://example.org/x)").print_response("?", markdown=True)
    assert "https://example.org/x" in terminal.shown
    assert "\x1b]8" not in terminal.getvalue()


def test_html_tags_in_an_answer_are_shown_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markdown may contain HTML, which a terminal cannot render. No part of an answer is left out."""
    terminal = on_terminal(monkeypatch)
    agent("<think>\nhm\n</think>\n\nUse <b>this</b>.").print_response("?", markdown=True)
    assert "<think> hm </think>" in terminal.shown
    assert "Use <b>this</b>." in terminal.shown


class Notebook:
    """IPython as it is in the kernel of a notebook, with the outputs that it shows."""

    def __init__(self) -> None:
        self.outputs: list[str] = []
        self.kernel = object()

    def get_ipython(self) -> "Notebook":
        return self

    @staticmethod
    def HTML(html: str) -> str:  # noqa: N802 - the name in IPython
        return html

    def display(self, html: str, *, display_id: bool = False) -> "Output | None":
        self.outputs.append(html)
        return Output(self, len(self.outputs) - 1) if display_id else None


class Output:
    """A handle of an output that can be replaced."""

    def __init__(self, notebook: Notebook, number: int) -> None:
        self._notebook = notebook
        self._number = number

    def update(self, html: str) -> None:
        self._notebook.outputs[self._number] = html


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    ipython = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    return ipython


def test_a_notebook_shows_markdown(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    """It showed the asterisks, since the output of a cell is no terminal."""
    model = FunctionModel(lambda messages: iter(["See the **Pra", "ter**.\n\n- a\n", "- b\n"]))
    Agent(model=model).print_response("Vienna?", markdown=True)
    [html] = notebook.outputs
    assert "<strong>Prater</strong>" in html
    assert "<li>b</li>" in html
    assert capsys.readouterr().out == "> Vienna?\n"
    agent("**Wien**").print_response("?")
    assert capsys.readouterr().out == "> ?\n**Wien**\n\n"
    assert len(notebook.outputs) == 1


def test_a_notebook_runs_nothing_that_a_model_wrote(notebook: Notebook) -> None:
    """A notebook runs the HTML and the scripts in Markdown that its own code displays."""
    agent("<script>alert(1)</script> [x](javascript:alert) ![](http://a/b.png)").print_response("?", markdown=True)
    [html] = notebook.outputs
    assert "<script" not in html
    assert "javascript:" not in html.replace("](javascript:", "")
    assert "<img" not in html


def test_a_notebook_shows_tool_calls_and_members(notebook: Notebook) -> None:
    def tool() -> str:
        return "<b>42</b>"

    call = Message(role="assistant", content="Wait.", tool_calls=[ToolCall(id="1", name="tool", arguments={})])
    model = FunctionModel(lambda messages: "Done." if messages[-1].role == "tool" else call)
    anna = Agent(model=model, tools=[tool], name="<Anna>")
    team = Team(members=[anna], mode="collaborate", model=FunctionModel(lambda messages: "All."), show_tool_calls=True)
    team.print_response("?", markdown=True)
    text = re.sub(r"</?(?:div|p|b|code)[^>]*>|\n", "", "|".join(notebook.outputs))
    assert text == "&lt;Anna&gt;|Wait.|Calls tool()|tool returned: &lt;b&gt;42&lt;/b&gt;|Done.|Answer|All."


def test_ipython_without_a_notebook_is_no_notebook(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    """In a terminal, IPython has no kernel."""
    del notebook.kernel
    agent("**Wien**").print_response("?", markdown=True)
    assert capsys.readouterr().out == "> ?\n**Wien**\n\n"

"""The order in which the exports show a conversation."""

from localstore import Message, Step, ToolCall
from localstore.exporting.conversation import messages_around_steps, turns
from tests.unit.exporting.conversations import assistant, run, tool, user


def test_tool_results_are_shown_with_their_calls() -> None:
    """Each is shown once, even if ids repeat. A result without a call is shown by itself."""
    first, second = ToolCall(id="c", name="f"), ToolCall(id="c", name="g")
    messages = [
        tool("c", "early"),
        assistant(None, first, second, ToolCall(name="no id")),
        tool("c", "one"),
        tool("x", "lost"),
        tool("c", "two"),
        assistant("done"),
    ]
    told = list(turns(messages))
    assert [turn.message.text for turn in told] == ["early", "", "lost", "done"]
    assert [(call.name, answer and answer.text) for call, answer in told[1].calls] == [
        ("f", "one"),
        ("g", "two"),
        ("no id", None),
    ]


def test_input_and_output_are_shown_if_no_message_has_them() -> None:
    """Messages come first. Copies of them in other fields are not shown again."""
    bare = run("r", input={"a": 1}, content="result")
    assert [(message.role, message.text) for message in messages_around_steps(bare)[0]] == [
        ("user", '{\n  "a": 1\n}'),
        ("assistant", "result"),
    ]
    whole = run("r", user("q"), assistant("a"), input="q", content="a")
    assert messages_around_steps(whole) == (whole.messages, [])
    assert messages_around_steps(run("r", Message(role="assistant", content="a"), input="q"))[0][0].text == "q"


def test_the_answer_of_a_workflow_comes_after_its_steps() -> None:
    stepped = run("r", input="q", content="a", steps=[Step(name="s")])
    assert [[message.text for message in part] for part in messages_around_steps(stepped)] == [["q"], ["a"]]
    assert messages_around_steps(run("r", user("q"), steps=[Step(name="s")]))[1] == []

"""The order in which a conversation is told."""

from localstore import Message, Step, ToolCall
from localstore.exporting.conversation import messages_around_steps, turns
from tests.unit.exporting.conversations import assistant, run, tool, user


def test_answers_of_tools_stand_with_their_calls() -> None:
    """Each once, also when ids repeat; what answers nothing stands by itself."""
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


def test_what_a_run_was_given_and_gave_is_told_when_no_message_does() -> None:
    """Messages come first: their copies elsewhere are not told again."""
    bare = run("r", input={"a": 1}, content="result")
    assert [(message.role, message.text) for message in messages_around_steps(bare)[0]] == [
        ("user", '{\n  "a": 1\n}'),
        ("assistant", "result"),
    ]
    whole = run("r", user("q"), assistant("a"), input="q", content="a")
    assert messages_around_steps(whole) == (whole.messages, [])
    assert messages_around_steps(run("r", Message(role="assistant", content="a"), input="q"))[0][0].text == "q"


def test_the_answer_of_a_workflow_comes_behind_its_steps() -> None:
    stepped = run("r", input="q", content="a", steps=[Step(name="s")])
    assert [[message.text for message in part] for part in messages_around_steps(stepped)] == [["q"], ["a"]]
    assert messages_around_steps(run("r", user("q"), steps=[Step(name="s")]))[1] == []

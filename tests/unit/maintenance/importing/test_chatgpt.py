"""Conversations of ChatGPT become sessions of a store."""

import json
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, Session
from tests.unit.maintenance.importing.conftest import Import

CONVERSATION = "6740a1b2-0000-8000-9000-000000000001"


class Conversation:
    """A conversation of an export."""

    def __init__(self, session_id: str = CONVERSATION, title: str = "Trains") -> None:
        self.value: dict[str, Any] = {
            "title": title,
            "create_time": 1795334480.123456,
            "update_time": 1795334999.5,
            "mapping": {"root": {"id": "root", "message": None, "parent": None, "children": []}},
            "current_node": "root",
            "conversation_id": session_id,
            "default_model_slug": "gpt-4o",
        }

    def add(self, name: str, role: str, content: Any, parent: str | None = None, **message: Any) -> None:
        """Add a node below the current one or `parent`; it becomes the current one."""
        nodes = self.value["mapping"]
        parent = parent or self.value["current_node"]
        content = {"content_type": "text", "parts": [content]} if isinstance(content, str) else content
        nodes[name] = {
            "id": name,
            "parent": parent,
            "children": [],
            "message": {
                "id": name,
                "author": {"role": role, "name": None, "metadata": {}},
                "create_time": 1795334480.5 + len(nodes),
                "content": content,
                "status": "finished_successfully",
                "weight": 1.0,
                "metadata": {"model_slug": "gpt-4o"} if role == "assistant" else {},
                "recipient": "all",
                **message,
            },
        }
        nodes.setdefault(parent, {"children": []})["children"].append(name)
        self.value["current_node"] = name


def write(path: Path, *conversations: Conversation) -> Path:
    path.write_text(json.dumps([conversation.value for conversation in conversations]))
    return path


def read(store: JsonStorage, session_id: str = CONVERSATION) -> Session:
    session = store.read(session_id)
    assert session is not None
    return session


def test_the_way_to_the_current_node_is_the_session_and_the_other_ways_are_forks(
    tmp_path: Path, store: JsonStorage, import_twice: Import
) -> None:
    talk = Conversation()
    talk.add("sys", "system", "", weight=0.0)
    talk.add("ctx", "user", {"content_type": "user_editable_context", "user_profile": "I am Alice."})
    talk.add("q1", "user", "Which train?")
    talk.add("a1", "assistant", "The one at 7:58.")
    talk.add("a2", "assistant", "The one at 8:58.", parent="q1")
    talk.add("q2", "user", "And back?")
    talk.add("a3", "assistant", "At 17:02.")
    result = import_twice("chatgpt", write(tmp_path / "conversations.json", talk))
    assert len(result.added) == 2
    session = read(store)
    assert [(run.run_id, run.question, run.answer) for run in session.runs] == [
        ("q1", "Which train?", "The one at 8:58."),
        ("q2", "And back?", "At 17:02."),
    ]
    assert (session.name, session.runs[0].model) == ("Trains", "gpt-4o")
    assert session.metadata["update_time"] == 1795334999.5
    (fork,) = [read(store, name) for name in result.added if name != CONVERSATION]
    assert [run.answer for run in fork.runs] == ["The one at 7:58."]
    assert fork.forked_from is not None
    assert (fork.forked_from.session_id, fork.forked_from.run_id) == (CONVERSATION, None)


def test_calls_of_tools_thoughts_and_images(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    talk = Conversation()
    pointer = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-1", "width": 10}
    talk.add("q1", "user", {"content_type": "multimodal_text", "parts": [pointer, "What is it?"]})
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "Look", "content": "A train?"}]}
    talk.add("t1", "assistant", thoughts)
    code = {"content_type": "code", "language": "python", "text": "print(1)"}
    talk.add("c1", "assistant", code, recipient="python")
    talk.add("o1", "tool", {"content_type": "execution_output", "text": "1"}, author={"role": "tool", "name": "python"})
    talk.add("x1", "assistant", {"content_type": "of_the_future", "x": 1})
    talk.add("a1", "assistant", "A train.")
    import_twice("chatgpt", write(tmp_path / "conversations.json", talk).parent)
    (run,) = read(store).runs
    question, thought, call, result, future, answer = run.messages
    assert isinstance(question.content, list)
    assert (question.content[0].type, question.content[0].url) == ("image", "file-service://file-1")
    assert (thought.model_extra or {})["reasoning"] == "A train?"
    assert [(one.name, one.arguments) for one in call.tool_calls or ()] == [("python", "print(1)")]
    assert (result.role, result.text, result.tool_call_id) == ("tool", "1", "c1")
    assert isinstance(future.content, list)
    assert future.content[0].type == "data"
    assert answer.text == "A train."
    assert (answer.model_extra or {})["imported"]["metadata"] == {"model_slug": "gpt-4o"}


def test_another_branch_that_becomes_the_current_one(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    """The answer that was made first stayed in the session, where the new one was not to be seen."""
    talk = Conversation()
    talk.add("q1", "user", "Which train?")
    talk.add("a1", "assistant", "The one at 7:58.")
    path = write(tmp_path / "conversations.json", talk)
    import_twice("chatgpt", path)
    talk.add("a2", "assistant", "The one at 8:58.", parent="q1")
    write(path, talk)
    result = import_twice("chatgpt", path)
    assert (len(result.added), result.extended, result.skipped) == (1, (CONVERSATION,), ())
    assert read(store).runs[0].answer == "The one at 8:58."
    assert read(store, result.added[0]).runs[0].answer == "The one at 7:58."


def test_one_bad_conversation_does_not_end_the_import(tmp_path: Path, store: JsonStorage, import_twice: Import) -> None:
    good, bad, cyclic = Conversation(), Conversation("b"), Conversation("c", title="\ud83d")
    good.add("q1", "user", "Which train?")
    cyclic.add("q1", "user", "Round?", parent="q2")
    cyclic.add("q2", "user", "And round?", parent="q1")
    cyclic.value["mapping"] |= {
        "n": 7,
        "m": {"message": {"author": 3}, "parent": "m"},
        "o": {"message": {"content": 1}},
    }
    bad.value["mapping"] = [1]
    text = json.dumps([bad.value, cyclic.value, 7, {"a": 1}, good.value])
    path = tmp_path / "conversations.json"
    path.write_text(text[:-1].replace('{"a": 1}', '{"a": tru}, {"title": "\\x"}') + ', {"title": "cut o')
    result = import_twice("chatgpt", path)
    assert {CONVERSATION, "c"} <= set(result.added)
    assert {part.line for part in result.skipped} >= {1, 3, 4, 6}
    assert read(store).runs[0].question == "Which train?"


@pytest.mark.parametrize("content", ["", "nothing", "[" * 3000, "7", "[]", "{}"])
def test_a_file_without_conversations(tmp_path: Path, store: JsonStorage, content: str) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(content)
    assert store.import_from("chatgpt", path).added == ()

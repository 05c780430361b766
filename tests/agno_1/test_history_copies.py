"""Messages that agno copies from earlier runs into a new one are not stored again."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agno.models.message
import pytest
from agno.agent import Agent
from agno.models.openai import OpenAIChat

from localstore.integrations.agno import JsonStorage
from tests.agno_1.conftest import OFFLINE
from tests.scripted_server import ScriptedServer, text, tool_call


@pytest.mark.parametrize("is_new_process", [False, True])
def test_copies_are_known_when_the_messages_of_a_run_are_of_different_seconds(
    serve: Callable[..., ScriptedServer], folder: Path, monkeypatch: pytest.MonkeyPatch, is_new_process: bool
) -> None:
    """All copies were stored again when a second passed between the system message and the question: the next process
    took the time of the run from its messages without the system message, and got another time."""
    monkeypatch.setattr(agno.models.message, "time", itertools.count(1_700_000_000).__next__)
    server = serve(*(text(f"answer {number}") for number in range(3)))
    options: dict[str, Any] = {"instructions": "Be brief.", "add_history_to_messages": True, **OFFLINE}
    storage = JsonStorage(folder)
    for number in range(3):
        model = OpenAIChat(id="scripted", base_url=server.base_url, api_key="k")
        used = JsonStorage(folder) if is_new_process else storage
        Agent(model=model, storage=used, session_id="s1", **options).run(f"question {number}")
    session = storage.store.read("s1")
    assert session is not None
    assert [[message.text for message in run.messages] for run in session.runs] == [
        [f"question {number}", f"answer {number}"] for number in range(3)
    ]
    assert len(server.requests[-1]["messages"]) == 6


def test_copies_are_known_in_a_run_that_agno_gives_again_changed(
    serve: Callable[..., ScriptedServer], folder: Path
) -> None:
    """agno passes runs with tool calls again, slightly changed. If the arguments of a call had several lines, its run
    was not recognised as the source of the copies, and all of them were stored."""
    first = tool_call("add", '{\n  "a" : 17,\n  "b" : 4\n}', call_id="call_1")
    second = tool_call("add", '{"a": 2, "b": 3}', call_id="call_2")
    server = serve(first, text("21"), second, text("5"), text("Twice."))
    options: dict[str, Any] = {"instructions": "Be brief.", "add_history_to_messages": True, "tools": [add], **OFFLINE}
    for question in ("17+4?", "2+3?", "How often?"):
        model = OpenAIChat(id="scripted", base_url=server.base_url, api_key="k")
        Agent(model=model, storage=JsonStorage(folder), session_id="s1", **options).run(question)
        storage = JsonStorage(folder)
        session = storage.read("s1")
        assert session is not None
        for call in session.memory["runs"][-1].get("tools") or ():
            call["created_at"] += 1
        storage.upsert(session)
    stored = JsonStorage(folder).store.read("s1")
    assert stored is not None
    assert [[message.role for message in run.messages] for run in stored.runs] == [
        ["user", "assistant", "tool", "assistant"],
        ["user", "assistant", "tool", "assistant"],
        ["user", "assistant"],
    ]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

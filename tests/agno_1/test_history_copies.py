"""What agno copies of earlier runs into a new one does not come into the document again."""

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
from tests.scripted_server import ScriptedServer, text


@pytest.mark.parametrize("is_new_process", [False, True])
def test_copies_are_known_when_the_messages_of_a_run_are_of_different_seconds(
    serve: Callable[..., ScriptedServer], folder: Path, monkeypatch: pytest.MonkeyPatch, is_new_process: bool
) -> None:
    """A search took a second between the system message and the question. The next process counted the messages of the
    run without the system message, took its time for that of the question, and so stored all copies again."""
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

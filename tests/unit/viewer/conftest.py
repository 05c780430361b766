"""A store with a few sessions, and its pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from localstore import JsonStorage, Message, Metrics, Run
from localstore.viewer import app


def answered(question: str, answer: str, run_id: str, **fields: object) -> Run:
    """Return a run with a question and an answer."""
    messages = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Run.model_validate({"run_id": run_id, "messages": messages, **fields})


@pytest.fixture
def storage(tmp_path: Path) -> JsonStorage:
    storage = JsonStorage(tmp_path / "store")
    metrics = Metrics(input_tokens=70, output_tokens=30, duration_seconds=1.5)
    storage.append(
        "trip", answered("Which train?", "The **7:58**.", "r1", metrics=metrics, model="gpt-4o-mini"), user_id="alice"
    )
    storage.append("trip", answered("And back?", "At 18:02.", "r2", session_state={"cart": ["RJX 262"]}))
    storage.append("tea", answered("A haiku?", "No.", "r1", status="error", error="Busy"), user_id="bob")
    storage.update("trip", name="Trip to Linz", tags=["travel"])
    return storage


@pytest.fixture
def client(storage: JsonStorage) -> Iterator[TestClient]:
    """Asks the pages of the store, which may be changed there."""
    with TestClient(app(storage, read_only=False), base_url="http://localhost") as client:
        yield client

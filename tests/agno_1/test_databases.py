"""The storages of databases keep agno's sessions as a folder does, and agno reads the same from them."""

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.storage.session import TeamSession

from localstore import SessionStorage, open_storage
from localstore.errors import OwnerMismatch, StoreUnavailable
from localstore.integrations.agno import JsonStorage, LocalStorage
from tests.agno_1.conftest import OFFLINE
from tests.agno_1.sides import comparable
from tests.agno_1.test_promises import run, session
from tests.scripted_server import ScriptedServer, text

Serve = Callable[..., ScriptedServer]
Open = Callable[[], SessionStorage]


@pytest.fixture(params=["sqlite", "postgres", "mongo"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens another handle on one database.

    The servers are those that `tests/unit/integrations/agno/test_storage.py` names.
    """
    url = f"sqlite:///{tmp_path / 'sessions.db'}"
    if request.param != "sqlite":
        url = os.environ.get(f"AGNO_TEST_{request.param.upper()}", "")
        if not url:
            pytest.skip("no server was started for this release")
    handles: list[SessionStorage] = []

    def open_one() -> SessionStorage:
        handles.append(open_storage(url))
        return handles[-1]

    open_one().drop()
    yield open_one
    for handle in handles:
        handle.close()


def test_agno_reads_what_it_would_read_from_a_folder(opened: Open, folder: Path) -> None:
    old_run = run(1)
    writes = (
        session(old_run, user_id="alice", state={"places": ["Wien"]}),
        session(old_run, run(2), user_id="alice", state={"places": ["Wien", "Linz"]}),
        session({**old_run, "content": "another answer"}, run(2), user_id="alice"),
        session(run(3, content="hi"), run(2), user_id="alice", extra_data={"a": [1]}),
    )
    here, there = JsonStorage(folder), LocalStorage(opened())
    for number, value in enumerate(writes):
        here.upsert(value)
        there.upsert(value)
        if number % 2:
            here, there = JsonStorage(folder), LocalStorage(opened())
        assert comparable(there.read("s1")) == comparable(here.read("s1")), number
        assert entries(there) == entries(here), number


def entries(storage: Any) -> list[dict[str, Any]]:
    """Return the entries of the document without the times at which they were made."""
    return [entry.model_dump(exclude={"created_at"}) for entry in storage.store.read("s1").history]


def test_a_conversation_goes_on_in_another_process(serve: Serve, opened: Open) -> None:
    server = serve(text("Paris."), text("Two million."))
    for question in ("What is the capital of France?", "How many live there?"):
        model = OpenAIChat(id="m", base_url=server.base_url, api_key="k")
        storage = LocalStorage(opened())
        Agent(model=model, session_id="s1", storage=storage, add_history_to_messages=True, **OFFLINE).run(question)
    asked = [message["content"] for message in server.requests[1]["messages"] if message["role"] != "system"]
    assert asked == ["What is the capital of France?", "Paris.", "How many live there?"]


def test_threads_on_one_session_lose_no_run(opened: Open) -> None:
    def write(number: int) -> None:
        LocalStorage(opened()).upsert(session(run(number)))

    threads = [Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = opened().read("s1")
    assert found is not None
    assert sorted(one.run_id for one in found.runs) == [f"r{number}" for number in range(6)]


def test_owners_modes_and_deletions(opened: Open) -> None:
    storage, teams = LocalStorage(opened()), LocalStorage(opened(), mode="team")
    storage.upsert(session(run(1), user_id="alice"))
    with pytest.raises(OwnerMismatch):
        storage.upsert(session(run(1), run(2), user_id="bob"))
    assert storage.read("s1", user_id="bob") is None
    teams.upsert(TeamSession(session_id="t1", team_id="team", memory={"runs": []}))
    assert (storage.get_all_session_ids(), teams.get_all_session_ids()) == (["s1"], ["t1"])
    copied: Any = pickle.loads(pickle.dumps(storage))  # noqa: S301
    assert comparable(copied.read("s1")) == comparable(storage.read("s1"))
    storage.delete_session("s1")
    storage.upsert(session(run(1), run(2)))
    found = opened().read("s1")
    assert found is not None
    assert [one.run_id for one in found.runs] == ["r2"]  # what was deleted does not come back
    storage.drop()
    assert list(opened()) == []


def test_a_run_whose_transaction_failed_is_stored_by_the_next_write(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(opened())
    storage.upsert(session(run(1)))
    store: Any = storage.store
    change = store._backend.change

    def fails(*args: Any, **options: Any) -> Any:
        def work(locked: Any) -> Any:
            args[1](locked)
            raise StoreUnavailable("The server went away.")

        return change(args[0], work, *args[2:], **options)

    with monkeypatch.context() as patch:
        patch.setattr(store._backend, "change", fails)
        with pytest.raises(StoreUnavailable):
            storage.upsert(session(run(1), run(2)))
    storage.upsert(session(run(1), run(2), run(3)))
    found = opened().read("s1")
    assert found is not None
    assert [one.run_id for one in found.runs] == ["r1", "r2", "r3"]


def test_another_object_is_refused() -> None:
    wrong: Any = "tmp/sessions"
    with pytest.raises(TypeError, match="must be a storage of localstore"):
        LocalStorage(wrong)

"""Forks, and runs that are taken out: in documents of both formats, through the storage and through an agent."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localstore import (
    Agent,
    Conflict,
    DocumentBroken,
    FunctionModel,
    JsonStorage,
    KindMismatch,
    Message,
    OwnerMismatch,
    Run,
    RunNotFound,
    SessionNotFound,
    YamlStorage,
)
from localstore.engine.open_document import ConcurrentChange
from localstore.engine.transaction import Transaction
from localstore.maintenance.check import check
from localstore.maintenance.rescue import rescued, restore
from tests import oracle
from tests.unit.raw import answered
from tests.unit.watched_disk import WatchedDisk


@pytest.fixture(params=[JsonStorage, YamlStorage])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> JsonStorage:
    kind: type[JsonStorage] = request.param
    return kind(tmp_path)


def filled(storage: JsonStorage) -> None:
    for number in range(3):
        messages = [Message(role="user", content=f"q{number}"), Message(role="assistant", content=f"a{number}")]
        run = Run(run_id=f"r{number}", messages=messages, session_state={"n": number})
        storage.append("s", run, user_id="alice", entity_id="geo")
    storage.update("s", name="Trip", tags=["x"], metadata={"k": 1})


def raw(storage: JsonStorage, session_id: str) -> Any:
    document = oracle.parse(storage.path(session_id))
    return {**document.header, "history": document.history}


def test_a_fork_is_newer_than_its_origin(storage: JsonStorage) -> None:
    """It was listed in the place of the old runs that it copied, after its origin or far below."""
    storage.append("old", answered("r1", created_at=datetime(2026, 1, 1, tzinfo=UTC)))
    storage.append("other", answered("r2", created_at=datetime(2026, 2, 1, tzinfo=UTC)))
    new = storage.fork("old", new_id="a")
    for opened in (storage, type(storage)(storage.root)):
        first, *rest = opened.list_sessions()
        assert [first.session_id, *(info.session_id for info in rest)] == ["a", "other", "old"]
        assert first.updated_at == first.created_at
    assert list(check(storage)) == []
    later = datetime.now(UTC) + timedelta(seconds=1)
    storage.append(new, answered("r3", created_at=later))
    assert abs((storage.session_at(storage.path(new)).updated_at or later) - later) < timedelta(seconds=1)


def test_a_fork_continues_from_any_run(storage: JsonStorage) -> None:
    """Header and history up to that run; it says where it comes from, and the first session stays as it was."""
    filled(storage)
    before = storage.path("s").read_bytes()
    new_id = storage.fork("s", "r1")
    document = raw(storage, new_id)
    assert [entry["run_id"] for entry in document["history"]] == ["r0", "r1"]
    assert document["forked_from"] == {"session_id": "s", "run_id": "r1"}
    assert (document["user_id"], document["agent_id"]) == ("alice", "geo")
    assert (document["name"], document["tags"], document["metadata"]) == ("Trip (fork)", ["x"], {"k": 1})
    session = storage.read(new_id)
    assert session is not None
    assert session.session_state == {"n": 1}
    assert session.forked_from is not None
    assert session.forked_from.run_id == "r1"
    storage.append(new_id, Run(run_id="more"), user_id="alice")
    assert storage.path("s").read_bytes() == before


def test_a_fork_leaves_out_what_was_never_finished(storage: JsonStorage) -> None:
    filled(storage)
    storage.append("s", Run(run_id="r3", messages=[Message(role="user", content="?")], status="unfinished"))
    new_id = storage.fork("s", new_id="mine")
    assert new_id == "mine"
    assert raw(storage, "mine")["forked_from"] == {"session_id": "s", "run_id": "r2"}
    assert [run.run_id for run in storage.read("mine").runs] == ["r0", "r1", "r2"]  # type: ignore[union-attr]


def test_what_cannot_be_forked_is_named(storage: JsonStorage) -> None:
    filled(storage)
    with pytest.raises(SessionNotFound, match="'t'"):
        storage.fork("t")
    with pytest.raises(SessionNotFound):
        storage.fork("s", user_id="mallory")
    with pytest.raises(LookupError, match="has no run 'r9'"):
        storage.fork("s", "r9")
    with pytest.raises(Conflict, match="Give the fork another id"):
        storage.fork("s", new_id="s")
    assert [info.session_id for info in storage.list_sessions()] == ["s"]


def test_undo_takes_the_last_run_out_and_keeps_it(storage: JsonStorage) -> None:
    """The state goes back with it; the rescue file puts it back where it was."""
    filled(storage)
    undone = storage.undo("s")
    assert undone is not None
    assert (undone.run.run_id, undone.run.answer) == ("r2", "a2")
    assert [entry.get("run_id") for entry in raw(storage, "s")["history"]] == ["r0", "r1"]
    assert storage.read("s").session_state == {"n": 1}  # type: ignore[union-attr]
    [kept] = rescued(storage)
    assert (kept.name, kept.reason, kept.session_id) == (undone.name, "undone", "s")
    assert restore(storage, kept.name).added == 1
    assert [entry.get("run_id") for entry in raw(storage, "s")["history"]] == ["r0", "r1", "r2"]
    assert storage.read("s").session_state == {"n": 2}  # type: ignore[union-attr]
    assert rescued(storage) == []


def test_the_document_says_which_runs_were_removed(storage: JsonStorage) -> None:
    """A run that is put back keeps its removal, and a second removal is later. A fork is another session."""
    filled(storage)
    storage.undo("s")
    assert [*raw(storage, "s")["removed"]] == ["r2"]
    [kept] = rescued(storage)
    restore(storage, kept.name)
    first = raw(storage, "s")["removed"]["r2"]
    storage.undo("s")
    assert raw(storage, "s")["removed"]["r2"] > first
    storage.remove_run("s", "r0")
    assert [*raw(storage, "s")["removed"]] == ["r2", "r0"]
    assert "removed" not in raw(storage, storage.fork("s"))
    session = storage.read("s")
    assert session is not None
    assert session.removed == raw(storage, "s")["removed"]


@pytest.mark.parametrize("number", ["3.14159265358979323846", "18446744073709551616"])
def test_a_number_that_a_person_typed_is_not_rounded_in_a_copy(storage: JsonStorage, number: str) -> None:
    """Regression: a fork, and the rescue file of an undo, had the rounded number, without a word. A long integer in
    YAML made `undo` raise TypeError.
    """
    storage.append("s1", Run(run_id="last", session_state={"n": "typed"}))
    path = storage.path("s1")
    path.write_text(path.read_text().replace('"typed"', number).replace("typed", number))
    before = path.read_bytes()
    for call in (storage.undo, storage.fork):
        with pytest.raises(DocumentBroken, match="Nothing was changed") as caught:
            call("s1")
        assert caught.value.line is not None
    assert path.read_bytes() == before
    assert rescued(storage.root) == []
    assert storage.get_all_session_ids() == ["s1"]


def test_undo_to_the_beginning_and_no_further(storage: JsonStorage) -> None:
    filled(storage)
    assert [undone.run.run_id for _ in range(3) if (undone := storage.undo("s"))] == ["r2", "r1", "r0"]
    assert storage.undo("s") is None
    assert raw(storage, "s")["history"] == []
    storage.append("s", Run(run_id="anew"))
    with pytest.raises(SessionNotFound):
        storage.undo("t")
    with pytest.raises(OwnerMismatch):
        storage.undo("s", user_id="mallory")
    assert len(raw(storage, "s")["history"]) == 1


def fail_last_sync(disk: WatchedDisk, storage: JsonStorage) -> None:
    """Make the sync of the folder that holds the session's document fail once, after the document was replaced."""
    disk.fail("sync_folder", storage.path("s").parent.name)


def test_an_undo_that_failed_at_its_last_sync_can_be_repeated(storage: JsonStorage, disk: WatchedDisk) -> None:
    """It had taken effect, and said OSError. The repetition removed another run, which nobody had asked for."""
    filled(storage)
    fail_last_sync(disk, storage)
    with pytest.raises(OSError, match="Input/output error") as raised:
        storage.undo("s")
    assert raised.value.run.run_id == "r2"  # type: ignore[attr-defined]
    assert "Run 'r2' may be removed" in raised.value.__notes__[-1]
    assert [entry.get("run_id") for entry in raw(storage, "s")["history"]] == ["r0", "r1"]
    undone = storage.undo("s", "r2")
    assert undone is not None
    assert (undone.run.run_id, undone.run.answer) == ("r2", "a2")
    assert undone.name in [file.name for file in rescued(storage)]
    assert [entry.get("run_id") for entry in raw(storage, "s")["history"]] == ["r0", "r1"]


def test_undo_of_a_named_run_removes_that_run_alone(storage: JsonStorage) -> None:
    filled(storage)
    with pytest.raises(Conflict, match="Run 'r1' is not the last run of session 's': 'r2' is"):
        storage.undo("s", "r1")
    with pytest.raises(RunNotFound, match="has no run 'r9'"):
        storage.undo("s", "r9")
    first, second = storage.undo("s", "r2"), storage.undo("s", "r2")
    assert first == second is not None
    assert len(rescued(storage)) == 1
    assert [entry.get("run_id") for entry in raw(storage, "s")["history"]] == ["r0", "r1"]


def test_an_editor_that_saves_during_an_undo_does_not_cost_a_second_run(
    storage: JsonStorage, disk: WatchedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt removed whichever run was the last one: after an attempt that took effect, that is another run."""
    filled(storage)
    change, attempts = Transaction.change, []

    def change_twice(self: Transaction, *args: Any) -> Any:
        attempts.append(self)
        result = change(self, *args)
        if len(attempts) == 1:
            raise ConcurrentChange("another program wrote")
        return result

    monkeypatch.setattr(Transaction, "change", change_twice)
    undone = storage.undo("s")
    assert undone is not None
    assert undone.run.run_id == "r2"
    assert [entry.get("run_id") for entry in raw(storage, "s")["history"]] == ["r0", "r1"]


def test_a_fork_that_failed_at_its_last_sync_can_be_repeated(storage: JsonStorage, disk: WatchedDisk) -> None:
    """It was there, and the repetition said Conflict, as if the id belonged to somebody else."""
    filled(storage)
    fail_last_sync(disk, storage)
    with pytest.raises(OSError, match="Input/output error"):
        storage.fork("s", "r1", new_id="t")
    assert storage.fork("s", "r1", new_id="t") == "t"
    assert [run.run_id for run in storage.read("t").runs] == ["r0", "r1"]  # type: ignore[union-attr]
    with pytest.raises(Conflict):
        storage.fork("s", "r0", new_id="t")
    storage.append("t", Run(run_id="more"), user_id="alice")
    with pytest.raises(Conflict):
        storage.fork("s", "r1", new_id="t")


def counting(storage: JsonStorage, **options: Any) -> Agent:
    def answer(messages: list[Message]) -> str:
        agent.session_state["n"] = agent.session_state.get("n", 0) + 1
        return " ".join(message.text for message in messages if message.role == "user")

    options = {"session_id": "s", "user_id": "alice", "add_history_to_messages": True, **options}
    agent = Agent(model=FunctionModel(answer), storage=storage, **options)
    return agent


def test_an_agent_forks_and_goes_on_in_the_fork(storage: JsonStorage) -> None:
    agent = counting(storage)
    runs = [agent.run(question) for question in ("a", "b", "c")]
    new_id = agent.fork(runs[0].run_id)
    assert (agent.session_id, agent.session_state) == (new_id, {"n": 1})
    assert agent.run("d").answer == "a d"
    assert agent.load_session("s").session_id == "s"
    assert agent.session_state == {"n": 3}
    assert agent.run("e").answer == "a b c e"


def test_an_agent_undoes_its_last_run(storage: JsonStorage) -> None:
    """Also one that it did not run itself; the model knows nothing of it any more."""
    agent = counting(storage)
    agent.run("a")
    agent.run("b")
    undone = counting(storage).undo()
    assert undone is not None
    assert undone.question == "b"
    assert agent.run("c").answer == "a c"
    agent.undo()
    assert agent.session_state == {"n": 1}
    agent.undo()
    assert agent.undo() is None
    assert agent.session_state == {}


def test_an_agent_that_repeats_a_failed_undo_removes_no_other_run(storage: JsonStorage, disk: WatchedDisk) -> None:
    """`agent.undo()` reported EIO after it had taken effect, and the person's second `undo()` took out another run."""
    agent = counting(storage)
    for question in ("a", "b", "c"):
        agent.run(question)
    fail_last_sync(disk, storage)
    with pytest.raises(OSError, match="Input/output error") as raised:
        agent.undo()
    assert raised.value.run.question == "c"  # type: ignore[attr-defined]
    undone = agent.undo()
    assert undone is not None
    assert undone.question == "c"
    assert [run.question for run in storage.read("s").runs] == ["a", "b"]  # type: ignore[union-attr]
    assert agent.session_state == {"n": 2}
    undone = agent.undo(undone.run_id)
    assert undone is not None
    assert [run.question for run in storage.read("s").runs] == ["a", "b"]  # type: ignore[union-attr]
    fail_last_sync(disk, storage)
    with pytest.raises(OSError, match="Input/output error"):
        agent.undo()
    agent.run("d")
    undone = agent.undo()
    assert undone is not None
    assert undone.question == "d"


def test_an_undo_whose_state_could_not_be_read_can_be_repeated(
    storage: JsonStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was removed, the error said nothing of it, and the repetition removed another one."""
    agent = counting(storage)
    for question in ("a", "b", "c"):
        agent.run(question)
    with monkeypatch.context() as patched:
        patched.setattr(type(storage), "read", raise_eio)
        with pytest.raises(OSError, match="Input/output error") as raised:
            agent.undo()
    assert raised.value.run.question == "c"  # type: ignore[attr-defined]
    assert agent.undo().question == "c"  # type: ignore[union-attr]
    assert agent.undo().question == "b"  # type: ignore[union-attr]
    assert agent.session_state == {"n": 1}


def raise_eio(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_an_agent_begins_loads_and_names_sessions(storage: JsonStorage) -> None:
    """A new session has the state that the agent was made with, and nothing of the one before."""
    agent = counting(storage, session_state={"made": True})
    agent.run("a")
    first, second = agent.session_id, agent.new_session()
    assert agent.session_id == second != first
    assert agent.session_state == {"made": True}
    assert agent.run("b").answer == "b"
    agent.rename_session("Second")
    assert raw(storage, second)["name"] == "Second"
    assert agent.new_session("named") == agent.session_id == "named"
    session = agent.load_session(first)
    assert (session.session_id, agent.session_state) == (first, {"made": True, "n": 1})


def test_only_ones_own_sessions_of_agents_are_loaded(storage: JsonStorage) -> None:
    """The agent stays where it is."""
    agent = counting(storage)
    agent.run("a")
    storage.append("bobs", Run(), user_id="bob")
    storage.append("team", Run(), user_id="alice", kind="team")
    for session_id in ("bobs", "missing"):
        with pytest.raises(SessionNotFound, match=session_id):
            agent.load_session(session_id)
    with pytest.raises(KindMismatch, match="is of kind team"):
        agent.load_session("team")
    assert (agent.session_id, agent.session_state) == ("s", {"n": 1})


def test_without_a_storage_there_is_nothing_to_go_back_in() -> None:
    agent = Agent(model=FunctionModel(lambda messages: "a"))
    agent.run("a")
    for call in (agent.fork, agent.undo, lambda: agent.rename_session("x")):
        with pytest.raises(ValueError, match=r"needs a storage. Give the agent one: storage=JsonStorage"):
            call()
    agent.new_session()
    assert json.dumps(agent.session_state) == "{}"

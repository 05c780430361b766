"""Runs, steps, states, ratings and headers are stored once, by the rules that hold for all storages."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from localstore import (
    Conflict,
    JsonStorage,
    KindMismatch,
    Message,
    OwnerMismatch,
    Run,
    RunNotFound,
    Session,
    SessionNotFound,
    SessionStorage,
    StateConflict,
    Step,
    UnstorableValue,
)
from tests.contract.conftest import Open
from tests.contract.runs import answered, asked, document, read, run_ids

HOSTILE = [
    "a b",
    "../x",
    "CON",
    "\0",
    "a\0b",
    "x" * 5000,
    "ünï",
    "%_",
    "'; DROP TABLE agent_sessions; --",
    '{"$gt": ""}',
    "$where",
    "\u2028\ufffe",
    "👩\u200d👧",
]


def test_a_run_comes_back_as_it_was_stored(storage: SessionStorage) -> None:
    run = answered(
        "r1", "Where is Linz?", output={"b": 1, "a": [1.5, None, True, 2**63]}, session_state={"z": 1, "a": 2}
    )
    storage.append("s1", run, user_id="alice", entity_id="guide", kind="agent")
    session = read(storage, "s1")
    assert session.runs == [run]
    assert (session.user_id, session.entity_id, session.kind) == ("alice", "guide", "agent")
    assert session.created_at == run.created_at
    assert list(session.session_state) == ["z", "a"]
    assert list(session.runs[0].output) == ["b", "a"]


def test_the_document_is_the_same_in_every_storage(
    storage: SessionStorage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other: SessionStorage = JsonStorage(tmp_path_factory.mktemp("json"))
    for one in (storage, other):
        one.append("s1", answered("r1", created_at="2026-11-22T07:00:00Z", metadata={"b": 1, "a": {}}), user_id="alice")
        one.append("s1", asked("r2", created_at="2026-11-22T07:01:00Z"))
        one.append("s1", answered("r2", created_at="2026-11-22T07:01:00Z"))
        one.rate("s1", "r1", "good", "Right.")
        one.update("s1", name="Trip", metadata={"b": 1, "a": 2}, add_tags=["x"])
    assert document(storage, "s1") == document(other, "s1")


def test_a_run_is_stored_once(storage: SessionStorage, open_storage: Open) -> None:
    storage.append("s1", answered("r1"))
    storage.append("s1", answered("r1"))
    open_storage().append("s1", answered("r1"))
    assert run_ids(storage, "s1") == ["r1"]


def test_a_different_run_with_the_same_id_is_a_conflict(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1"))
    with pytest.raises(Conflict, match="r1"):
        storage.append("s1", answered("r1", answer="Something else."))
    assert read(storage, "s1").runs[0].answer == "Hello!"


def test_an_unfinished_run_grows_and_finishes(storage: SessionStorage, open_storage: Open) -> None:
    storage.append("s1", asked("r1"))
    storage.append("s1", answered("r0"))
    growing = asked("r1")
    growing.messages.append(Message(role="assistant", content="Hel"))
    open_storage().append("s1", growing)
    storage.append("s1", asked("r1"))  # an earlier form
    assert read(storage, "s1").runs[0].answer == "Hel"
    storage.append("s1", answered("r1"))
    assert [(run.run_id, run.status, run.answer) for run in read(storage, "s1").runs] == [
        ("r1", "completed", "Hello!"),
        ("r0", "completed", "Hello!"),
    ]
    with pytest.raises(Conflict):
        storage.append("s1", asked("r1", "another question"))


def test_a_run_that_lacks_what_is_stored_is_a_conflict_and_kept(storage: SessionStorage) -> None:
    storage.append("s1", asked("r1", "one"))
    with pytest.raises(Conflict) as caught:
        storage.append("s1", answered("r1", "two"))
    assert caught.value.rescued
    assert read(storage, "s1").runs[0].question == "one"


def test_owners_and_kinds_are_checked(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1"), user_id="alice", kind="team")
    with pytest.raises(OwnerMismatch, match="s1"):
        storage.append("s1", answered("r2"), user_id="bob")
    with pytest.raises(KindMismatch, match="team"):
        storage.append("s1", answered("r2"), kind="agent")
    for call in (
        lambda: storage.update("s1", user_id="bob", name="x"),
        lambda: storage.rate("s1", "r1", "good", user_id="bob"),
        lambda: storage.delete_session("s1", user_id="bob"),
        lambda: storage.undo("s1", user_id="bob"),
    ):
        with pytest.raises(OwnerMismatch):
            call()
    assert storage.read("s1", user_id="bob") is None
    assert read(storage, "s1").name is None


def test_a_missing_session_is_named(storage: SessionStorage) -> None:
    for call in (
        lambda: storage.append("s1", answered("r1"), create=False),
        lambda: storage.append_many("s1", [answered("r1")], create=False),
        lambda: storage.add_step("s1", "r1", Step(name="a"), number=0),
        lambda: storage.update("s1", name="x"),
        lambda: storage.rate("s1", "r1", "good"),
        lambda: storage.fork("s1"),
        lambda: storage.undo("s1"),
        lambda: storage.path("s1"),
        lambda: storage.archive("s1"),
    ):
        with pytest.raises(SessionNotFound, match="s1"):
            call()
    assert storage.read("s1") is None
    assert not storage.delete_session("s1")
    assert "s1" not in storage


def test_many_runs_are_stored_together_or_not_at_all(storage: SessionStorage) -> None:
    storage.append_many("s1", [answered("r1"), asked("r2")], user_id="alice")
    storage.append_many("s1", [answered("r1"), answered("r2"), answered("r3")])
    assert run_ids(storage, "s1") == ["r1", "r2", "r3"]
    with pytest.raises(Conflict):
        storage.append_many("s1", [answered("r4"), answered("r1", answer="else")])
    with pytest.raises(ValueError, match="same run_id"):
        storage.append_many("s1", [answered("r5"), answered("r5")])
    assert run_ids(storage, "s1") == ["r1", "r2", "r3"]


def test_steps_are_added_in_order_and_once(storage: SessionStorage) -> None:
    storage.append("flow", Run(run_id="r1", status="unfinished"), kind="workflow")
    for number, name in enumerate(["draft", "check", "send"]):
        storage.add_step("flow", "r1", Step(name=name, output=number, created_at="2026-11-22T07:00:00Z"), number=number)
    storage.add_step("flow", "r1", Step(name="check", output=1), number=1)
    assert [step.name for step in read(storage, "flow").runs[0].steps or ()] == ["draft", "check", "send"]
    with pytest.raises(Conflict, match="gap"):
        storage.add_step("flow", "r1", Step(name="x"), number=4)
    with pytest.raises(Conflict, match="different step 0"):
        storage.add_step("flow", "r1", Step(name="x"), number=0)
    with pytest.raises(RunNotFound):
        storage.add_step("flow", "r2", Step(name="x"), number=0)
    run = read(storage, "flow").runs[0]
    run.status = "completed"
    storage.append("flow", run)
    with pytest.raises(Conflict, match="completed"):
        storage.add_step("flow", "r1", Step(name="x"), number=3)


def test_states_of_several_runs_are_merged(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1", session_state={"a": 1, "b": 1}))
    first = answered("r2", session_state={"a": 2, "b": 1})
    second = answered("r3", session_state={"a": 1, "b": 1, "c": 3})
    storage.append("s1", first, state_base={"a": 1, "b": 1})
    storage.append("s1", second, state_base={"a": 1, "b": 1})
    assert read(storage, "s1").session_state == {"a": 2, "b": 1, "c": 3}
    assert second.session_state == {"a": 2, "b": 1, "c": 3}
    third = answered("r4", session_state={"a": 5})
    with pytest.raises(StateConflict) as caught:
        storage.append("s1", third, state_base={"a": 1}, strict_state=True)
    assert caught.value.keys == ("a",)
    storage.append("s1", third, state_base={"a": 1})
    assert third.state_conflicts == ["a"]
    assert read(storage, "s1").session_state["a"] == 5


def test_a_state_that_was_changed_after_the_run_began_is_merged_behind_it(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1", session_state={"a": 1}))
    storage.append("s1", asked("r2"))
    storage.update("s1", session_state={"a": 1, "b": 2})
    storage.append("s1", answered("r2", session_state={"a": 3}), state_base={"a": 1})
    assert read(storage, "s1").session_state == {"a": 3, "b": 2}


def test_update_changes_only_what_is_given(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1"))
    storage.update("s1", name="Trip", tags=["a"], metadata={"x": 1})
    storage.update(
        "s1", session_summary="short", session_data={"d": 1}, instructions="Be brief.", session_state={"k": 1}
    )
    storage.update("s1", add_tags=["b", "a"], remove_tags=["c"])
    session = read(storage, "s1")
    assert (session.name, session.tags, session.metadata) == ("Trip", ["a", "b"], {"x": 1})
    assert (session.session_summary, session.session_data, session.instructions) == ("short", {"d": 1}, "Be brief.")
    storage.update("s1", name=None, tags=None, metadata=None)
    session = read(storage, "s1")
    assert (session.name, session.tags, session.metadata, session.session_state) == (None, [], {}, {"k": 1})
    storage.archive(["s1"])
    assert read(storage, "s1").tags == ["archived"]
    storage.unarchive("s1")
    assert read(storage, "s1").tags == []


def test_a_rating_is_kept_when_the_run_is_stored_again(storage: SessionStorage) -> None:
    storage.append("s1", asked("r1"))
    storage.rate("s1", "r1", "bad", "Wrong.")
    storage.append("s1", answered("r1"))
    run = read(storage, "s1").runs[0]
    assert (run.rating, run.rating_note, run.status) == ("bad", "Wrong.", "completed")
    storage.rate("s1", "r1", None)
    assert read(storage, "s1").runs[0].rating is None
    with pytest.raises(RunNotFound):
        storage.rate("s1", "r9", "good")


def test_upsert_keeps_what_others_added(storage: SessionStorage, open_storage: Open) -> None:
    storage.append_many("s1", [answered("r1"), answered("r2")])
    session = read(storage, "s1")
    open_storage().append("s1", answered("r3"))
    session.metadata["budget"] = 500
    del session.history[0]
    session.history.append(answered("r4"))
    session.session_state = {"a": 1}
    storage.upsert(session)
    session.name = "Trip"
    storage.upsert(session)
    stored = read(storage, "s1")
    assert run_ids(storage, "s1") == ["r2", "r3", "r4"]
    assert (stored.metadata, stored.name, stored.session_state) == ({"budget": 500}, "Trip", {"a": 1})


def test_upsert_refuses_what_both_sides_changed(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1"), user_id="alice")
    session, other = read(storage, "s1"), read(storage, "s1")
    other.name = "Other"
    storage.upsert(other)
    session.name = "Mine"
    with pytest.raises(Conflict, match="name"):
        storage.upsert(session)
    session = read(storage, "s1")
    session.user_id = "bob"
    with pytest.raises(OwnerMismatch):
        storage.upsert(session)
    session = read(storage, "s1")
    storage.delete_session("s1")
    with pytest.raises(SessionNotFound, match="deleted"):
        storage.upsert(session)


def test_a_new_session_can_be_upserted(storage: SessionStorage) -> None:
    session = Session(session_id="s1", name="Trip", history=[answered("r1")], session_state={"a": 1})
    storage.upsert(session)
    storage.upsert(session)
    stored = read(storage, "s1")
    assert (stored.name, len(stored.history), stored.session_state) == ("Trip", 2, {"a": 1})


def test_a_fork_has_the_history_up_to_a_run(storage: SessionStorage) -> None:
    storage.append_many("s1", [answered("r1", session_state={"a": 1}), answered("r2"), asked("r3")])
    storage.update("s1", name="Trip")
    assert storage.fork("s1", "r1", new_id="s2") == "s2"
    assert storage.fork("s1", "r1", new_id="s2") == "s2"  # again, as after an error
    fork = read(storage, "s2")
    assert run_ids(storage, "s2") == ["r1"]
    assert fork.forked_from is not None
    assert (fork.forked_from.session_id, fork.forked_from.run_id, fork.name) == ("s1", "r1", "Trip (fork)")
    assert fork.session_state == {"a": 1}
    assert run_ids(storage, storage.fork("s1")) == ["r1", "r2"]
    with pytest.raises(Conflict, match="s2"):
        storage.fork("s1", "r2", new_id="s2")
    with pytest.raises(LookupError):
        storage.fork("s1", "r9")


def test_the_last_run_can_be_undone_once(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1", session_state={"a": 1}))
    storage.append("s1", answered("r2", session_state={"a": 2}))
    with pytest.raises(Conflict, match="last"):
        storage.undo("s1", "r1")
    undone = storage.undo("s1", "r2")
    assert undone is not None
    assert undone.run.run_id == "r2"
    assert storage.undo("s1", "r2") is not None  # again, as after an error
    assert run_ids(storage, "s1") == ["r1"]
    assert read(storage, "s1").session_state == {"a": 1}
    storage.append("s1", answered("r3"))
    assert storage.remove_run("s1", "r1")
    assert run_ids(storage, "s1") == ["r3"]
    with pytest.raises(RunNotFound):
        storage.remove_run("s1", "r9")
    assert storage.undo("s1") is not None
    assert storage.undo("s1") is None
    assert [*(read(storage, "s1").removed or ())] == ["r2", "r1", "r3"]  # so that no merge brings them back


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_come_back(storage: SessionStorage, text: str) -> None:
    storage.append(text, answered(text, text, text, session_state={text: text}), user_id=text, entity_id=text)
    storage.append("plain", answered("r1"))
    storage.append(text, answered(text, text, text, session_state={text: text}), user_id=text)
    storage.update(text, name=text, tags=[text], metadata={text: text})
    session = storage.read(text, user_id=text)
    assert session is not None
    assert (session.session_id, session.name, session.tags) == (text, text, [text])
    assert [run.answer for run in session.runs] == [text]
    assert session.session_state == {text: text}
    assert [info.session_id for info in storage.list_sessions(user_id=text)] == [text]
    assert [info.session_id for info in storage.list_sessions(entity_id=text)] == [text]
    assert [info.session_id for info in storage.find_sessions(text)] == [text]
    assert text in storage
    assert storage.delete_session(text)
    assert [*storage] == ["plain"]


def test_what_cannot_be_stored_is_refused(storage: SessionStorage) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.append("\ud800", answered("r1")),
        lambda: storage.append("s1", answered("r1", output=float("nan"))),
        lambda: storage.append("s1", answered("r1"), user_id="\ud800"),
    ]
    for call in calls:
        with pytest.raises(UnstorableValue):
            call()
    with pytest.raises(ValueError, match="empty"):
        storage.append("", answered("r1"))
    with pytest.raises(TypeError):
        storage.append("s1", "a run")  # type: ignore[arg-type]
    assert len(storage) == 0


def test_threads_that_write_to_one_session_lose_nothing(storage: SessionStorage, open_storage: Open) -> None:
    handles = [storage, open_storage()]
    start = threading.Barrier(4)

    def write(number: int) -> None:
        start.wait()
        for turn in range(5):
            handles[number % 2].append("s1", answered(f"{number}-{turn}"))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, number) for number in range(4)]:
            done.result()
    stored = run_ids(storage, "s1")
    assert sorted(stored) == sorted(f"{number}-{turn}" for number in range(4) for turn in range(5))
    for number in range(4):
        assert [one for one in stored if one.startswith(f"{number}-")] == [f"{number}-{turn}" for turn in range(5)]


def test_an_id_of_a_run_that_cannot_be_stored_is_not_found(storage: SessionStorage) -> None:
    """With a lone surrogate, it ended in a UnicodeEncodeError."""
    storage.append("s1", answered("r1"))
    calls: list[Callable[[], object]] = [
        lambda: storage.rate("s1", "\ud800", "good"),
        lambda: storage.undo("s1", "\ud800"),
        lambda: storage.add_step("s1", "\ud800", Step(name="x"), number=0),
    ]
    for call in calls:
        with pytest.raises(RunNotFound):
            call()
    with pytest.raises(UnstorableValue):
        storage.short_ids(["\ud800"])

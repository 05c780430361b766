"""Upsert: what others did stays, what was done here is stored, and the same thing changed twice is a conflict."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from localstore import Conflict, DocumentBroken, KindMismatch, OwnerMismatch, Run, Session, SessionNotFound, Update
from localstore.disk import filesystem
from localstore.format.document import LAYOUTS
from localstore.format.values import to_json_value
from tests.crash.faults import Stopped, StoppingSystem
from tests.unit.conftest import StorageClass
from tests.unit.raw import Storage, answered, edit, parse, question, run_ids
from tests.unit.watched_disk import WatchedDisk


@pytest.fixture
def stored(storage: Storage) -> Storage:
    """A session of four runs with state and header fields."""
    for number in range(4):
        storage.append("s1", answered(f"r{number}", session_state={"n": number}), user_id="alice", entity_id="e")
    storage.update("s1", name="Trip", tags=["x"])
    return storage


def read(storage: Storage, last_runs: int | None = None) -> Session:
    session = storage.read("s1", last_runs=last_runs)
    assert session is not None
    return session


def other(storage: Storage) -> Storage:
    """Another process."""
    return type(storage)(storage.root)


def test_an_unchanged_session_is_not_written(stored: Storage, disk: WatchedDisk) -> None:
    for last_runs in (None, 0, 2):
        session = read(stored, last_runs)
        disk.forget()
        stored.upsert(session)
        stored.upsert(session)
        assert not disk.of("write", "replace")


@pytest.mark.parametrize("state", [{"a": 0}, {}, None])
@pytest.mark.parametrize("summary", [0, False, "", [], {}, "text", None])
def test_no_state_is_written_again_and_again(storage: Storage, state: object, summary: object) -> None:
    storage.append("s1", answered("r1", session_state=state, session_summary=summary, instructions=""))
    before = storage.path("s1").read_bytes()
    for last_runs in (None, 0):
        storage.upsert(read(storage, last_runs))
    assert storage.path("s1").read_bytes() == before


@pytest.mark.parametrize("last_runs", [None, 0, 1, 2])
def test_runs_that_others_added_stay(stored: Storage, last_runs: int | None) -> None:
    session = read(stored, last_runs)
    other(stored).append("s1", answered("theirs"))
    session.history.append(answered("mine"))
    stored.upsert(session)
    assert run_ids(stored.path("s1")) == ["r0", "r1", "r2", "r3", "theirs", "mine"]
    other(stored).append("s1", answered("theirs too"))
    session.history.append(answered("mine too"))
    stored.upsert(session)
    assert run_ids(stored.path("s1"))[4:] == ["theirs", "mine", "theirs too", "mine too"]


@pytest.mark.parametrize("interfered", [True, False])
def test_runs_read_and_now_missing_are_removed_and_no_other(stored: Storage, interfered: bool) -> None:
    session = read(stored, 2)
    if interfered:
        other(stored).append("s1", answered("theirs"))
    assert [run.run_id for run in session.runs] == ["r2", "r3"]
    del session.history[0]
    stored.upsert(session)
    expected = ["r0", "r1", "r3", *(["theirs"] if interfered else [])]
    assert run_ids(stored.path("s1")) == expected
    session.history.clear()
    stored.upsert(session)
    assert run_ids(stored.path("s1")) == ["r0", "r1", *expected[3:]]
    stored.upsert(session)
    assert run_ids(stored.path("s1")) == ["r0", "r1", *expected[3:]]


def test_the_document_says_which_runs_were_removed(stored: Storage) -> None:
    """No merge with an older copy may bring them back. A later upsert of the same session does not take that out."""
    session = read(stored)
    del session.history[1]
    stored.upsert(session)
    session.name = "Other"
    stored.upsert(session)
    assert [*parse(stored.path("s1"))["removed"]] == ["r1"]


def test_all_runs_may_be_removed(stored: Storage) -> None:
    session = read(stored)
    session.history.clear()
    stored.upsert(session)
    assert parse(stored.path("s1"))["history"] == []
    assert other(stored).list_sessions()[0].runs == 0
    stored.append("s1", answered("new"))
    assert run_ids(stored.path("s1")) == ["new"]


@pytest.mark.parametrize("interfered", [True, False])
def test_a_changed_run_is_replaced_in_its_place(stored: Storage, interfered: bool) -> None:
    session = read(stored, 3)
    if interfered:
        other(stored).append("s1", answered("theirs"))
    session.runs[1].messages[1].content = "better"
    stored.upsert(session)
    history = parse(stored.path("s1"))["history"]
    assert history[2]["messages"][1]["content"] == "better"
    assert run_ids(stored.path("s1"))[:4] == ["r0", "r1", "r2", "r3"]


def change_run(session: Session) -> None:
    session.runs[-1].messages[1].content = "mine"


def remove_run(session: Session) -> None:
    session.history.pop()


def change_state(session: Session) -> None:
    session.session_state["n"] = "mine"


def change_name(session: Session) -> None:
    session.name = "mine"


def change_nothing(session: Session) -> None:
    pass


@pytest.mark.parametrize("last_runs", [None, 1])
@pytest.mark.parametrize("mine", [change_run, remove_run, change_state, change_name, change_nothing])
@pytest.mark.parametrize("theirs", [change_run, remove_run, change_state, change_name, change_nothing])
def test_the_same_thing_changed_on_both_sides_is_a_conflict_and_different_things_are_not(
    stored: Storage, mine: Callable[[Session], None], theirs: Callable[[Session], None], last_runs: int | None
) -> None:
    ours, second = read(stored, last_runs), read(other(stored))
    theirs(second)
    if theirs is change_run:
        second.runs[-1].messages[1].content = "theirs"
    if theirs is change_state:
        second.session_state["n"] = "theirs"
    if theirs is change_name:
        second.name = "theirs"
    other(stored).upsert(second)
    mine(ours)
    before = stored.path("s1").read_bytes()
    clash = {mine, theirs} <= {change_run, remove_run} and (mine, theirs) != (remove_run, remove_run)
    clash = clash or (mine is theirs and mine in (change_state, change_name))
    if mine is change_state and theirs is remove_run:
        clash = True  # the state stood in the run that was removed there
    if clash:
        with pytest.raises(Conflict, match="was changed here and in the store") as caught:
            stored.upsert(ours)
        assert caught.value.session_id == "s1"
        assert stored.path("s1").read_bytes() == before
        return
    stored.upsert(ours)
    after = read(other(stored))
    content = [run.answer for run in after.runs]
    assert len(content) == (3 if remove_run in (mine, theirs) else 4)
    if change_run in (mine, theirs) and remove_run not in (mine, theirs):
        assert content[-1] in ("mine", "theirs")
    if change_state in (mine, theirs):
        assert after.session_state == {"n": "mine" if mine is change_state else "theirs"}
    if change_name in (mine, theirs):
        assert after.name == ("mine" if mine is change_name else "theirs")


def test_the_same_change_on_both_sides_is_no_conflict(stored: Storage) -> None:
    ours, theirs = read(stored), read(stored)
    for session in (ours, theirs):
        change_run(session)
        change_state(session)
        change_name(session)
        session.history.append(Run(run_id="same", created_at="2026-11-22T07:01:20.123Z"))
    other(stored).upsert(theirs)
    stored.upsert(ours)
    assert run_ids(stored.path("s1")).count("same") == 1
    assert read(stored).session_state == {"n": "mine"}


def test_the_same_new_run_with_another_content_is_a_conflict(stored: Storage) -> None:
    ours = read(stored)
    other(stored).append("s1", answered("new", "theirs"))
    ours.history.append(answered("new", "mine"))
    with pytest.raises(Conflict, match="run new was changed"):
        stored.upsert(ours)


@pytest.mark.parametrize("what", ["a run", "a run with state", "state"])
def test_one_new_entry_is_appended(stored: Storage, disk: WatchedDisk, what: str) -> None:
    session = read(stored, 1)
    old = stored.path("s1").read_bytes()
    state = None if what == "a run" else {"n": "new"}
    if what != "state":
        session.history.append(answered("new", session_state=state))
    if state is not None:
        session.session_state = state
    disk.forget()
    stored.upsert(session)
    path = stored.path("s1")
    assert not disk.of("replace", name=path.suffix)
    assert path.read_bytes().startswith(old.removesuffix(LAYOUTS[path.suffix].end))
    assert len(parse(path)["history"]) == 5
    assert read(other(stored), 1).session_state["n"] == ("new" if state else 3)


@pytest.mark.parametrize("number", [1, 100])
def test_several_new_entries_are_added_to_the_end_of_the_document(
    stored: Storage, disk: WatchedDisk, number: int
) -> None:
    """The whole document was written."""
    session = read(stored, 1)
    old = stored.path("s1").read_bytes()
    runs = [answered(f"new-{index}") for index in range(number)]
    session.history.extend(runs)
    session.session_state = {"n": "new"}
    disk.forget()
    stored.upsert(session)
    path = stored.path("s1")
    assert not disk.of("replace", name=path.suffix)
    assert path.read_bytes().startswith(old.removesuffix(LAYOUTS[path.suffix].end))
    assert run_ids(path)[4:] == [run.run_id for run in runs]
    after = read(other(stored), 1)
    assert after.session_state == {"n": "new"}
    assert isinstance(after.history[-1], Update)
    assert stored.list_sessions()[0].runs == 4 + number


def test_state_that_a_new_run_says_is_not_said_twice(stored: Storage) -> None:
    session = read(stored)
    session.session_state = {"n": "new"}
    session.history.append(answered("new", session_state={"n": "new"}))
    stored.upsert(session)
    assert [entry["type"] for entry in parse(stored.path("s1"))["history"]] == ["run"] * 5


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (0, False), (1, 1.0), (True, 1), ([1], [True]), (None, False)]
)
def test_a_change_of_type_alone_is_a_change(storage: Storage, before: object, after: object) -> None:
    storage.append("s1", answered("r1", session_state={"a": before}, session_data={"b": 1}))
    storage.update("s1", metadata={"m": before})
    session = read(storage)
    session.session_state = {"a": after}
    session.metadata = {"m": after}
    storage.upsert(session)
    again = read(other(storage))
    assert repr((again.session_state["a"], again.metadata["m"])) == repr((after, after))
    assert again.session_data == {"b": 1}


def test_cleared_state_and_fields_are_cleared(stored: Storage) -> None:
    stored.update("s1", instructions="i", session_summary="s", session_data={"d": 1}, metadata={"m": 1})
    session = read(stored, 0)
    session.session_state, session.session_data, session.metadata = {}, {}, {}
    session.instructions = session.session_summary = session.name = None
    session.tags = []
    stored.upsert(session)
    for last_runs in (None, 0):
        again = read(other(stored), last_runs)
        assert (again.session_state, again.session_data, again.metadata, again.tags) == ({}, {}, {}, [])
        assert not any((again.instructions, again.session_summary, again.name))
        stored.upsert(again)
    assert not {"name", "tags", "metadata"} & parse(stored.path("s1")).keys()


def test_a_field_of_the_header_that_others_changed_stays(stored: Storage) -> None:
    session = read(stored)
    other(stored).update("s1", name="theirs", metadata={"m": 1})
    session.tags = ["mine"]
    stored.upsert(session)
    again = read(other(stored))
    assert (again.name, again.metadata, again.tags) == ("theirs", {"m": 1}, ["mine"])


def test_what_others_wrote_is_not_taken_back_by_a_second_upsert(stored: Storage) -> None:
    session = read(stored)
    for number in range(3):
        other(stored).append("s1", answered(f"theirs-{number}"))
        other(stored).update("s1", session_data={"theirs": number})
        session.history.append(answered(f"mine-{number}"))
        session.session_state = {"mine": number}
        stored.upsert(session)
    again = read(other(stored))
    assert len(again.runs) == 10
    assert (again.session_state, again.session_data) == ({"mine": 2}, {"theirs": 2})
    session.history.pop()
    stored.upsert(session)
    assert "mine-2" not in run_ids(stored.path("s1"))
    assert len(run_ids(stored.path("s1"))) == 9


def test_an_unfinished_run_is_finished(stored: Storage) -> None:
    stored.append("s1", question("r4", "what?", status="unfinished"))
    session = read(stored)
    session.history[-1] = answered("r4", "what?", "that")
    stored.upsert(session)
    stored.append("s1", question("r5", "what?", status="unfinished"))
    stored.upsert(Session(session_id="s1", history=[answered("r5", "what?", "that")]))
    history = parse(stored.path("s1"))["history"]
    assert [(entry["run_id"], entry["status"]) for entry in history[4:]] == [("r4", "completed"), ("r5", "completed")]


def test_a_new_session_is_made_with_its_state(storage: Storage) -> None:
    session = Session(
        session_id="s1",
        kind="team",
        team_id="t",
        name="n",
        history=[answered("r1", session_state={"a": 1})],
        session_state={"a": 2},
        instructions="i",
        created_at="2020-02-03T04:05:06.789Z",
    )
    storage.upsert(session)
    assert storage.path("s1").parent.name == "2020-02"
    again = read(other(storage), 0)
    assert (again.session_state, again.instructions, again.team_id, again.name) == ({"a": 2}, "i", "t", "n")
    assert again.created_at == datetime(2020, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
    before = storage.path("s1").read_bytes()
    storage.upsert(session)
    assert storage.path("s1").read_bytes() == before
    storage.upsert(Session(session_id="empty"))
    assert parse(storage.path("empty"))["history"] == []


def test_a_session_made_here_adds_to_the_one_in_the_store(stored: Storage) -> None:
    stored.upsert(Session(session_id="s1", history=[answered("new")], metadata={"m": 1}))
    again = read(stored)
    assert [run.run_id for run in again.runs] == ["r0", "r1", "r2", "r3", "new"]
    assert (again.name, again.tags, again.metadata, again.user_id) == ("Trip", ["x"], {"m": 1}, "alice")
    assert again.session_state == {"n": 3}


def test_a_session_under_another_id_is_a_copy(stored: Storage) -> None:
    session = read(stored)
    session.session_id = "copy"
    session.history.append(answered("only in the copy"))
    stored.upsert(session)
    assert run_ids(stored.path("copy")) == ["r0", "r1", "r2", "r3", "only in the copy"]
    assert run_ids(stored.path("s1")) == ["r0", "r1", "r2", "r3"]
    session.history.pop()
    stored.upsert(session)
    assert run_ids(stored.path("copy")) == ["r0", "r1", "r2", "r3"]


def test_a_session_that_was_deleted_does_not_come_back(stored: Storage) -> None:
    session = read(stored)
    stored.delete_session("s1")
    with pytest.raises(SessionNotFound, match="deleted since it was read"):
        stored.upsert(session)
    assert stored.list_sessions() == []


def test_owner_and_kind_cannot_be_changed(stored: Storage) -> None:
    before = stored.path("s1").read_bytes()
    for other_user in ("bob", None):
        session = read(stored)
        session.user_id = other_user
        with pytest.raises(OwnerMismatch):
            stored.upsert(session)
    session = read(stored)
    session.kind = "team"
    with pytest.raises(KindMismatch):
        stored.upsert(session)
    assert stored.path("s1").read_bytes() == before


def test_the_deepest_state_survives_a_round_trip(storage: Storage) -> None:
    state: dict[str, object] = {}
    for _ in range(197):
        state = {"k": state}
    storage.append("s1", answered("r1", session_state=state))
    session = read(storage)
    session.name = "n"
    storage.upsert(session)
    assert read(other(storage)).session_state == state


def test_a_document_with_a_wrong_type_is_an_error_that_says_where(storage_class: StorageClass, tmp_path: Path) -> None:
    storage = storage_class(tmp_path / "store")
    storage.append("s1", answered("r1", model="gpt"))
    session = read(storage)
    session.name = "n"
    path = storage.path("s1")
    edit(path, '"gpt"' if path.suffix == ".json" else "gpt", "5")
    before = path.read_bytes()
    calls: list[Callable[[], object]] = [lambda: storage.read("s1"), lambda: storage.upsert(session)]
    for call in calls:
        with pytest.raises(DocumentBroken, match=r"history\[0\]\.model") as caught:
            call()
        assert caught.value.path == str(path)
    assert path.read_bytes() == before


def test_identical_entries_are_kept_apart(storage: Storage) -> None:
    update = Update(created_at="2026-11-22T07:01:20.123Z", session_state={"a": 1})
    storage.upsert(Session(session_id="s1", history=[update, answered("r1"), update, update]))
    session = read(storage)
    assert len(session.history) == 4
    del session.history[-1]
    storage.upsert(session)
    assert [entry["type"] for entry in parse(storage.path("s1"))["history"]] == ["update", "run", "update"]


def test_an_upsert_keeps_what_it_does_not_change_byte_for_byte(stored: Storage) -> None:
    session = read(stored)
    pieces = [LAYOUTS[stored.path("s1").suffix].entry(to_json_value(run)) for run in session.runs]
    change_run(session)
    stored.upsert(session)
    raw = stored.path("s1").read_bytes()
    assert [piece in raw for piece in pieces] == [True, True, True, False]


@pytest.mark.parametrize("value", [None, "s1", Run()])
def test_what_is_no_session_is_refused(storage: Storage, value: object) -> None:
    """It failed with an AttributeError."""
    with pytest.raises(TypeError, match="upsert takes a Session, not"):
        storage.upsert(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.4, 0.7, 1.0])
@pytest.mark.parametrize("number", range(1, 7))
def test_several_entries_of_one_upsert_are_all_there_or_none_after_a_crash(
    stored: Storage, number: int, share: float, monkeypatch: pytest.MonkeyPatch, reopen: Callable[[], Storage]
) -> None:
    """They were appended in one piece. What was torn was kept entry by entry: the second run without the first, or
    the run without the state that it led to."""
    session = read(stored)
    session.history += [answered("a"), answered("b")]
    session.session_state = {"n": "after b"}
    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "system", StoppingSystem(number, share))
        with contextlib.suppress(Stopped):
            stored.upsert(session)
    again = reopen()
    again.append("s1", answered("next"))
    ids = [run.run_id for run in read(again).runs][4:]
    assert ids in (["next"], ["a", "b", "next"])
    assert read(again).session_state["n"] == ("after b" if len(ids) > 1 else 3)

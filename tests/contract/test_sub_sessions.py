"""Sub-sessions are sessions of their own, and are deleted, restored and copied with the session that they belong to."""

import time

import pytest

from localstore import Conflict, Filter, Item, JsonStorage, SessionStorage
from tests.contract.conftest import Open
from tests.contract.runs import answered, document, read


def ids(storage: SessionStorage, where: Filter | None = None) -> list[str]:
    return sorted(info.session_id for info in storage.list_sessions(where=where))


def fill(storage: SessionStorage) -> None:
    """Store a session with two sub-sessions, of which one belongs to another user, and a session of its own."""
    storage.append("s1", answered("r1"), user_id="alice")
    storage.append_items("s1/agents/a", [Item(1, item_id="i1")], user_id="alice", part_of="s1")
    storage.append_items("s1/agents/b", [Item(2, item_id="i2")], user_id="bob", part_of="s1")
    storage.append("s1/other", answered("r1"), user_id="alice")


def test_a_sub_session_is_a_session(storage: SessionStorage, open_storage: Open) -> None:
    fill(storage)
    storage.append_items("s1/agents/a", [Item(3, item_id="i3")], part_of="ignored")
    other = open_storage()
    assert read(other, "s1/agents/a").part_of == "s1"
    assert [item.data for item in other.items("s1/agents/a")] == [1, 3]
    storage.update("s1/agents/a", name="Search")
    (found,) = other.find_sessions("Search")
    assert (found.session_id, found.part_of, found.as_dict()["part_of"]) == ("s1/agents/a", "s1", "s1")
    assert read(storage, "s1").part_of is None


def test_the_sub_sessions_of_a_session_are_listed(storage: SessionStorage, open_storage: Open) -> None:
    fill(storage)
    parts = ["s1/agents/a", "s1/agents/b"]
    for one in (storage, open_storage()):
        assert sorted(info.session_id for info in one.sub_sessions("s1")) == parts
        assert [info.session_id for info in one.sub_sessions("s1", user_id="bob")] == ["s1/agents/b"]
        assert one.sub_sessions("s1/agents/a") == one.sub_sessions("nowhere") == []
        assert ids(one, Filter(part_of=("s1", "nowhere"))) == ids(one, Filter(sub_sessions=True)) == parts
        assert ids(one, Filter(sub_sessions=False)) == ["s1", "s1/other"]
        assert one.count(Filter(sub_sessions=False)) == 2
        assert [one.count(Filter(part_of="s1", user="alice")), one.count(Filter(part_of="s2"))] == [1, 0]


def test_a_session_may_become_a_part_of_another_one_and_be_taken_out_again(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1"))
    storage.append("s2", answered("r1"))
    session = read(storage, "s2")
    session.part_of = "s1"
    storage.upsert(session)
    assert [info.session_id for info in storage.sub_sessions("s1")] == ["s2"]
    session.part_of = None
    storage.upsert(session)
    assert storage.sub_sessions("s1") == []
    assert storage.delete_session("s1")
    assert ids(storage) == ["s2"]


def test_sub_sessions_are_deleted_with_their_session(storage: SessionStorage) -> None:
    fill(storage)
    assert storage.delete_session("s1", user_id="alice")
    assert ids(storage) == ["s1/agents/b", "s1/other"]  # what belongs to another user stays
    assert not storage.delete_session("s1")  # as if the first call had been interrupted
    assert ids(storage) == ["s1/other"]


def test_a_sub_session_is_deleted_alone(storage: SessionStorage) -> None:
    fill(storage)
    assert storage.delete_session("s1/agents/a")
    assert ids(storage) == ["s1", "s1/agents/b", "s1/other"]


def _wait_for_the_next_millisecond() -> None:
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == now:
        pass


def test_sub_sessions_go_to_the_trash_and_come_back_with_their_session(storage: SessionStorage) -> None:
    fill(storage)
    before = {session_id: document(storage, session_id) for session_id in storage}
    (alone,) = storage.trash("s1/agents/a").moved
    _wait_for_the_next_millisecond()  # what is moved in the same one comes back together
    removal = storage.trash(["s1", "s1/other"])
    moved = [one.session_id for one in removal.moved]
    assert (moved[-1], sorted(map(str, moved)), removal.problems) == (
        "s1/agents/b",
        ["s1", "s1/agents/b", "s1/other"],
        {},
    )
    assert ids(storage) == []
    storage.restore(next(one.name for one in removal.moved if one.session_id == "s1"))
    assert ids(storage) == ["s1", "s1/agents/b"]  # the others were moved to the trash for themselves
    storage.restore(alone.name)
    assert {session_id: document(storage, session_id) for session_id in storage} == {
        session_id: one for session_id, one in before.items() if session_id != "s1/other"
    }


def test_sub_sessions_stay_if_their_session_does(storage: SessionStorage) -> None:
    fill(storage)
    (listed,) = storage.find_sessions("s1")
    storage.append("s1", answered("r2"))
    removal = storage.trash(listed)
    assert (removal.moved, [type(error) for error in removal.problems.values()]) == ((), [Conflict])
    assert ids(storage) == ["s1", "s1/agents/a", "s1/agents/b", "s1/other"]
    assert [one.session_id for one in storage.trash("gone").moved] == []


def test_what_an_interrupted_call_left_goes_to_the_trash_as_well(storage: SessionStorage) -> None:
    storage.append_items("s1/a", [Item(1)], part_of="s1")
    removal = storage.trash("s1")
    assert [one.session_id for one in removal.moved] == ["s1/a"]
    assert [*removal.problems] == ["s1"]


def test_sub_sessions_are_copied_with_their_session(
    storage: SessionStorage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fill(storage)
    storage.update("s1", name="Trip")
    other = JsonStorage(tmp_path_factory.mktemp("other"))
    assert sorted(storage.copy_to(other, Filter(name="Trip")).added) == ["s1", "s1/agents/a", "s1/agents/b"]
    for session_id in ("s1", "s1/agents/a"):
        assert document(other, session_id) == document(storage, session_id)
    assert len(other.sub_sessions("s1")) == 2
    assert other.copy_to(storage, Filter(name="Trip")).unchanged == 3


def test_a_fork_of_a_sub_session_is_a_session_of_its_own(storage: SessionStorage) -> None:
    storage.append_items("s1/a", [Item(1)], part_of="s1")
    storage.fork("s1/a", new_id="s2")
    assert read(storage, "s2").part_of is None
    assert [info.session_id for info in storage.sub_sessions("s1")] == ["s1/a"]


def test_a_session_is_not_a_part_of_itself(storage: SessionStorage) -> None:
    with pytest.raises(ValueError, match="a part of itself"):
        storage.append_items("s1", [Item(1)], part_of="s1")
    with pytest.raises(TypeError):
        storage.append_items("s1", [Item(1)], part_of=1)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError)):
        storage.append_items("s1", [Item(1)], part_of="")
    assert ids(storage) == []

"""Updating: what is named is replaced, everything else stays."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.unit.raw import Storage, answered, parse


def test_an_update_replaces_what_is_named(storage: Storage) -> None:
    storage.append("s1", answered("r1", session_state={"a": 1, "b": 2}), user_id="alice")
    storage.update("s1", session_state={"c": 3}, session_summary="so far", session_data={"d": 4}, instructions="i")
    storage.update("s1", name="Trip", tags=["x"], metadata={"m": None}, session_state={"e": 5})
    for opened in (storage, type(storage)(storage.root)):
        for last_runs in (None, 0, 1):
            session = opened.read("s1", last_runs=last_runs)
            assert session is not None
            assert session.session_state == {"e": 5}
            assert (session.session_summary, session.session_data, session.instructions) == ("so far", {"d": 4}, "i")
            assert (session.name, session.tags, session.metadata) == ("Trip", ["x"], {"m": None})
            assert session.user_id == "alice"
    header = list(parse(storage.path("s1")))
    assert header[header.index("user_id") :] == ["user_id", "name", "tags", "metadata", "created_at", "history"]
    storage.update("s1", name=None, tags=[], metadata=None, session_state={}, instructions="")
    session = type(storage)(storage.root).read("s1", last_runs=1)
    assert session is not None
    assert (session.name, session.tags, session.metadata, session.session_state) == (None, [], {}, {})
    assert not session.instructions
    assert not {"name", "tags", "metadata"} & parse(storage.path("s1")).keys()


def test_an_update_of_nothing_writes_nothing(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    before = storage.path("s1").read_bytes()
    storage.update("s1")
    assert storage.path("s1").read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"session_state": [1]},
        {"session_data": "x"},
        {"instructions": 5},
        {"name": 5},
        {"tags": "x"},
        {"tags": [1]},
        {"add_tags": "x"},
        {"add_tags": [1]},
        {"remove_tags": "x"},
        {"metadata": []},
    ],
    ids=str,
)
def test_an_update_of_the_wrong_type_is_refused(storage: Storage, wrong: dict[str, Any]) -> None:
    storage.append("s1", answered("r1"))
    before = storage.path("s1").read_bytes()
    with pytest.raises(TypeError, match=next(iter(wrong))):
        storage.update("s1", **wrong)
    assert storage.path("s1").read_bytes() == before


def tags(storage: Storage) -> Any:
    return parse(storage.path("s1")).get("tags")


def test_tags_are_added_once_behind_the_others_and_taken_away(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    storage.update("s1", add_tags=["b", "a", "b"])
    assert tags(storage) == ["b", "a"]
    storage.update("s1", add_tags=("c", "b"), remove_tags={"a"}, session_state={"n": 1})
    assert tags(storage) == ["b", "c"]
    storage.update("s1", tags=["x"], add_tags=["y"])
    assert tags(storage) == ["x", "y"]
    storage.update("s1", remove_tags=["x", "y", "z"])
    assert tags(storage) is None
    session = type(storage)(storage.root).read("s1")
    assert session is not None
    assert session.session_state == {"n": 1}


def test_a_tag_that_is_there_and_one_that_is_not_there_to_remove_write_nothing(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    storage.update("s1", tags=["a"])
    before = storage.path("s1").stat()
    storage.update("s1", add_tags=["a"], remove_tags=["b"])
    assert storage.path("s1").stat() == before


def test_no_tag_is_lost_to_another_one_that_is_added_in_the_same_moment(storage: Storage) -> None:
    """Reading the tags and storing them again would lose those of others."""
    storage.append("s1", answered("r1"))
    others = [type(storage)(storage.root) for _ in range(4)]

    def add(number: int) -> None:
        for turn in range(10):
            others[number].update("s1", add_tags=[f"{number}.{turn}"])

    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(add, range(len(others))))
    assert sorted(tags(storage)) == sorted(f"{number}.{turn}" for number in range(len(others)) for turn in range(10))

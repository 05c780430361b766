"""Updating: what is named is replaced, everything else stays."""

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

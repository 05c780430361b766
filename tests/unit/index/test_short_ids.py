"""Beginnings of ids that are enough to find their sessions."""

import random
from pathlib import Path

import pytest

from localstore import JsonStorage, Run
from tests.unit.raw import Storage, answered

IDS = [
    "3f2a91bc-1",
    "3f2a91bc-2",
    "a",
    "abcdefgh",
    "abcdefghij",
    "abcdefghijkl",
    "trip to Vienna",
    "日本語日本語日本語日本語",
    "x\0y12345678",
]


def test_a_beginning_finds_its_session_alone(storage: Storage) -> None:
    """It is as short as possible, and no name of another session."""
    for session_id in IDS:
        storage.append(session_id, answered("r"))
    storage.append("zzzz-zzzz-1", answered("r"))
    storage.update("a", name="zzzz-zzz")
    ids = [*IDS, "zzzz-zzzz-1"]
    for opened in (storage, type(storage)(storage.root)):
        short = opened.short_ids(ids)
        assert list(short) == ids
        assert short["3f2a91bc-1"] == "3f2a91bc-1"
        assert short["trip to Vienna"] == "trip to "
        assert short["abcdefghij"] == "abcdefghij"
        assert short["abcdefghijkl"] == "abcdefghijk"
        assert short["zzzz-zzzz-1"] == "zzzz-zzzz"
        for session_id, beginning in short.items():
            assert [info.session_id for info in opened.find_sessions(beginning)] == [session_id]
    assert storage.short_ids(["trip to Vienna"], least=1) == {"trip to Vienna": "t"}
    with pytest.raises(ValueError, match="least"):
        storage.short_ids([], least=-1)


def test_a_character_of_several_code_points_stays_whole(storage: Storage) -> None:
    """A beginning ended in a joiner, and a terminal showed another picture."""
    family = "\U0001f469\u200d\U0001f467"
    storage.append(f"trip-{family}-to-linz", answered("r"))
    assert storage.short_ids([f"trip-{family}-to-linz"], least=6) == {f"trip-{family}-to-linz": f"trip-{family}"}


def test_an_id_without_its_middle_is_found(storage: Storage) -> None:
    """What has the text as its beginning comes first, a name too."""
    for session_id in ("notes-of-alice-1", "notes-of-alice-2", "notes-of-bob-1", "trip…2"):
        storage.append(session_id, answered("r"))

    def found(text: str) -> list[str]:
        return sorted(info.session_id for info in storage.find_sessions(text))

    assert found("notes…alice-1") == ["notes-of-alice-1"]
    assert found("notes…alice") == ["notes-of-alice-1", "notes-of-alice-2"]
    assert found("notes-of-b…") == ["notes-of-bob-1"]
    assert found("notes…train") == found("…2") == found("notes-of-bob-1…1") == []
    assert found("trip…") == ["trip…2"]
    storage.update("notes-of-bob-1", name="notes…alice-1")
    assert found("notes…alice-1") == ["notes-of-bob-1"]


def test_deleted_and_new_sessions_count(storage: Storage) -> None:
    """Also while their lines are not in the index yet."""
    storage.append("session-1", answered("r"))
    storage.append("session-2", answered("r"))
    assert storage.short_ids(["session-1"]) == {"session-1": "session-1"}
    storage.delete_session("session-2")
    assert len(storage.short_ids(["session-1"])["session-1"]) >= 8
    storage.append("sessions", answered("r"))
    assert storage.find_sessions(storage.short_ids(["session-1"])["session-1"])[0].session_id == "session-1"


def test_random_ids_are_found_by_their_beginnings(tmp_path: Path) -> None:
    chosen = random.Random(7)
    storage = JsonStorage(tmp_path, durability="relaxed")
    ids = sorted({"".join(chosen.choices("ab", k=chosen.randrange(1, 9))) for _ in range(60)})
    with storage.bulk():
        for session_id in ids:
            storage.append(session_id, Run())
    for session_id, beginning in storage.short_ids(ids, least=1).items():
        assert [info.session_id for info in storage.find_sessions(beginning)] == [session_id]
        shorter = beginning[:-1]
        assert not shorter or shorter in ids or len(storage.find_sessions(shorter)) > 1

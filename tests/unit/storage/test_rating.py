"""Rating a run: it gets what people think of it, and nothing else changes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore import (
    JsonStorage,
    Message,
    OwnerMismatch,
    Run,
    RunNotFound,
    Session,
    SessionNotFound,
    UnstorableValue,
    YamlStorage,
)
from localstore.format.run_entry import is_same_run, with_rating
from localstore.maintenance.rescue import rescued, restore
from tests.effort import rounds
from tests.unit.raw import Storage, answered, edit, in_our_layout, parse, question


def ratings(storage: Storage) -> list[tuple[Any, Any]]:
    """What is said of each run, in the raw document."""
    return [(run.get("rating"), run.get("rating_note")) for run in parse(storage.path("s1"))["history"]]


def test_a_rating_stands_before_how_the_run_ended(storage: Storage) -> None:
    storage.append("s1", answered("r1", model="m", status="error", error="no", flavour="mint"))
    storage.append("s1", answered("r2"))
    storage.rate("s1", "r1", "bad", "rude\nand wrong")
    assert list(parse(storage.path("s1"))["history"][0])[-4:] == ["rating", "rating_note", "error", "status"]
    assert ratings(storage) == [("bad", "rude\nand wrong"), (None, None)]
    assert in_our_layout(storage.path("s1"))
    session = storage.read("s1")
    assert session is not None
    assert [(run.rating, run.rating_note) for run in session.runs] == [("bad", "rude\nand wrong"), (None, None)]


def test_a_new_rating_replaces_the_old_one_with_its_note(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    before = storage.path("s1").read_bytes()
    storage.rate("s1", "r1", "bad", "rude")
    storage.rate("s1", "r1", "good")
    assert ratings(storage) == [("good", None)]
    storage.rate("s1", "r1", None)
    assert storage.path("s1").read_bytes() == before


def test_the_same_rating_again_writes_nothing(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    storage.rate("s1", "r1", "good", "yes")
    before = storage.path("s1").stat()
    storage.rate("s1", "r1", "good", "yes")
    storage.rate("s1", "r1", "good", note="yes")
    after = storage.path("s1").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_is_wrong_is_refused_and_nothing_is_written(storage: Storage) -> None:
    storage.append("s1", answered("r1"), user_id="alice")
    before = storage.path("s1").read_bytes()
    word: Any = "great"
    with pytest.raises(ValueError, match="rating must be one of good, bad, not 'great'"):
        storage.rate("s1", "r1", word)
    with pytest.raises(ValueError, match="a note belongs to a rating"):
        storage.rate("s1", "r1", None, "why")
    with pytest.raises(UnstorableValue):
        storage.rate("s1", "r1", "good", "\ud800")
    number: Any = 1
    with pytest.raises(TypeError, match="run_id must be text"):
        storage.rate("s1", number, "good")
    with pytest.raises(SessionNotFound):
        storage.rate("s2", "r1", "good")
    with pytest.raises(OwnerMismatch):
        storage.rate("s1", "r1", "good", user_id="bob")
    with pytest.raises(RunNotFound, match=r"'s1' has no run 'r9'.*Nothing was written") as caught:
        storage.rate("s1", "r9", "good")
    assert (caught.value.run_id, caught.value.session_id) == ("r9", "s1")
    assert isinstance(caught.value, LookupError)
    assert storage.path("s1").read_bytes() == before
    storage.rate("s1", "r1", "good", user_id="alice")


def test_threads_that_rate_and_append_lose_nothing(storage: Storage) -> None:
    for number in range(8):
        storage.append("s1", answered(f"r{number}"))

    def work(number: int) -> None:
        storage.rate("s1", f"r{number}", "good" if number % 2 else "bad", f"note {number}")
        storage.append("s1", answered(f"more{number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert len(ratings(storage)) == 16
    assert ratings(storage)[:8] == [("good" if n % 2 else "bad", f"note {n}") for n in range(8)]


def test_a_run_that_is_rated_before_it_is_finished_keeps_its_rating(storage: Storage) -> None:
    """Finishing replaces the entry: the rating was lost with it."""
    storage.append("s1", question("r1", status="unfinished"))
    storage.rate("s1", "r1", "bad", "slow")
    storage.append("s1", answered("r1"))
    assert ratings(storage) == [("bad", "slow")]
    assert parse(storage.path("s1"))["history"][0]["status"] == "completed"


def test_a_run_that_is_stored_again_after_it_was_rated_is_a_repetition(storage: Storage) -> None:
    """An agent that tries again got a Conflict, because it does not know of the rating."""
    run = answered("r1")
    storage.append("s1", run)
    storage.rate("s1", "r1", "good", "yes")
    type(storage)(storage.root).append("s1", run)
    assert ratings(storage) == [("good", "yes")]


def test_a_rating_typed_by_hand_is_read(storage: Storage) -> None:
    """A session can be read although a rating in it is neither "good" nor "bad"."""
    storage.append("s1", answered("r1", answer="hi"))
    storage.rate("s1", "r1", "good")
    as_json = storage.path("s1").suffix == ".json"
    edit(storage.path("s1"), '"good"' if as_json else " good\n", '"god awful"' if as_json else " god awful\n")
    session = type(storage)(storage.root).read("s1")
    assert session is not None
    assert str(session.runs[0].rating) == "god awful"
    assert storage.examples() == []


def test_a_session_that_was_read_can_be_rated_and_stored(storage: Storage) -> None:
    """`upsert` does it too; a rating by somebody else meanwhile stays when the run is not touched."""
    storage.append("s1", answered("r1"))
    storage.append("s1", answered("r2"))
    session = storage.read("s1")
    assert session is not None
    session.runs[0].rating = "good"
    storage.rate("s1", "r2", "bad")
    storage.upsert(session)
    assert ratings(storage) == [("good", None), ("bad", None)]


def test_a_session_that_was_not_read_keeps_ratings_when_it_is_stored(storage: Storage) -> None:
    """It finishes a run that was rated, and repeats another one."""
    storage.append("s1", answered("r1"))
    storage.append("s1", question("r2", status="unfinished"))
    known = storage.read("s1")
    assert known is not None
    storage.rate("s1", "r1", "good", "yes")
    storage.rate("s1", "r2", "bad")
    finished = answered("r2")
    storage.upsert(Session(session_id="s1", history=[known.runs[0], finished]))
    assert ratings(storage) == [("good", "yes"), ("bad", None)]
    assert parse(storage.path("s1"))["history"][1]["status"] == "completed"


def test_the_last_line_of_a_run_can_be_rated_with_state_in_it(storage: Storage) -> None:
    storage.append("s1", answered("r1", session_state={"a": 1}, instructions="i"))
    storage.append("s1", answered("r2"))
    storage.rate("s1", "r1", "good")
    session = type(storage)(storage.root).read("s1", last_runs=1)
    assert session is not None
    assert (session.session_state, session.instructions) == ({"a": 1}, "i")


def test_a_rescued_run_that_was_rated_meanwhile_is_there(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    whole = path.read_bytes()
    path.write_bytes(whole[:-10] + b"x")
    with pytest.raises(ValueError, match="kept in"):
        storage.append("s1", answered("r2"))
    path.write_bytes(whole)
    run = answered("r2")
    run.created_at = "2026-11-22T07:01:20.123Z"
    storage.append("s1", run)
    storage.rate("s1", "r2", "good")
    (one,) = rescued(storage)
    assert restore(storage, one.name).present == 1


def test_a_rating_that_comes_with_the_run_is_compared() -> None:
    run: dict[str, Any] = {"type": "run", "run_id": "r", "status": "completed"}
    good = with_rating(run, "good", None)
    assert is_same_run(run, good)
    assert is_same_run(good, good)
    assert not is_same_run(good, run)
    assert not is_same_run(with_rating(run, "bad", None), good)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8"), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_ -é", max_size=5), inner, max_size=3),
    max_leaves=6,
)
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
@settings(max_examples=rounds(10, 40, 400), deadline=None)
@given(data=st.data())
def test_everything_else_of_the_document_stays(
    kind: type[Storage], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = kind(tmp_path_factory.mktemp("store"), durability="relaxed")
    for number in range(data.draw(st.integers(1, 4))):
        messages = [Message(role="user", content=data.draw(texts), mood=data.draw(json_values))]  # type: ignore[call-arg]
        more = {"x": data.draw(json_values), "session_state": {"s": data.draw(json_values)}}
        storage.append("s1", Run.model_validate({"run_id": f"r{number}", "messages": messages, **more}))
    session = storage.read("s1")
    assert session is not None
    assert session._base is not None
    which = data.draw(st.integers(0, len(session.runs) - 1))
    before = session._base
    note = data.draw(texts)
    storage.rate("s1", f"r{which}", "good", note)
    again = kind(storage.root).read("s1")
    assert again is not None
    assert again._base is not None
    after = again._base
    assert after.header == before.header
    assert after.current == before.current
    entries = [dict(entry) for entry in after.entries]
    assert entries[which].pop("rating") == "good"
    assert entries[which].pop("rating_note", "") == note
    assert entries == before.entries
    assert [list(entry) for entry in entries] == [list(entry) for entry in before.entries]
    storage.rate("s1", f"r{which}", None)
    last = storage.read("s1")
    assert last is not None
    assert last._base is not None
    assert last._base.entries == before.entries

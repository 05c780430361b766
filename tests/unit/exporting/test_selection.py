"""Which parts of a session are exported."""

from localstore import Update
from localstore.exporting import only_rated
from tests.unit.exporting.conversations import BEGAN, run, session
from tests.unit.raw import Storage, answered


def test_runs_with_another_rating_or_none_are_left_out() -> None:
    """Entries that are not runs stay. A session without a matching run is left out."""
    update = Update(created_at=BEGAN, session_state={"a": 1})
    one = session(run("r1"), run("r2", rating="good"), update, run("r3", rating="bad"))
    kept = only_rated(one, "good")
    assert kept is not None
    assert kept.history == [one.history[1], update]
    assert len(one.history) == 4
    assert only_rated(session(run("r1")), "good") is None
    assert only_rated(session(), "bad") is None


def test_storing_a_selection_removes_nothing(storage: Storage) -> None:
    for number in range(3):
        storage.append("s1", answered(f"r{number}"))
    storage.rate("s1", "r1", "good")
    read = storage.read("s1")
    assert read is not None
    kept = only_rated(read, "good")
    assert kept is not None
    storage.upsert(kept)
    again = storage.read("s1")
    assert again is not None
    assert [one.run_id for one in again.runs] == ["r0", "r1", "r2"]

"""A session is followed: what others add, how a run grows, and what becomes of the document."""

from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, Message, SessionNotFound
from localstore.maintenance.trash import put_back, throw_away
from localstore.storage import plain_session
from localstore.storage.following import Change, Follower
from tests.unit.raw import Storage, answered, question


def said(changes: list[Change]) -> list[tuple[str, Any, int | None]]:
    """Return the kinds, the run ids or types, and the numbers of changes."""
    return [
        (change.kind, change.entry and change.entry.get("run_id", change.entry["type"]), change.number)
        for change in changes
    ]


def test_an_unfinished_run_is_returned_each_time_it_grows(storage: Storage) -> None:
    """Until it ends: through a tool call and through pieces of the answer. Earlier runs are not returned."""
    for number in range(3):
        storage.append("s1", answered(f"r{number}"))
    follower = Follower(storage, "s1")
    assert (follower.runs, [entry["run_id"] for entry in follower.session.history]) == (3, ["r2"])
    assert follower.poll() == []
    run = question("new", status="unfinished")
    storage.append("s1", run)
    assert said(follower.poll()) == [("added", "new", 4)]
    for text in ("Good", "Good day"):
        storage.append("s1", run.model_copy(update={"messages": [*run.messages, _answer(text)]}))
        (change,) = follower.poll()
        assert (change.kind, change.number, change.entry and change.entry["messages"][-1]["content"]) == (
            *("changed", 4),
            text,
        )
    storage.append("s1", answered("new", answer="Good day."))
    (change,) = follower.poll()
    assert change.entry is not None
    assert change.entry["status"] == "completed"
    storage.update("s1", name="New name")
    assert follower.poll() == []


def _answer(text: str) -> Message:
    return Message(role="assistant", content=text)


def test_everything_that_was_added_is_returned_once_and_in_order(storage: Storage) -> None:
    """Runs and other entries, also many at once, and a run that ends after others were added."""
    storage.append("s1", question("slow", status="unfinished"))
    storage.update("s1", session_state={"a": 0})
    follower = Follower(storage, "s1")
    storage.update("s1", session_state={"a": 1})
    storage.append_many("s1", [question(f"r{number}") for number in range(5)])
    storage.update("s1", session_state={"a": 2})
    added = [("added", f"r{number}", number + 2) for number in range(5)]
    assert said(follower.poll()) == [("added", "update", None), *added, ("added", "update", None)]
    storage.append("s1", answered("slow"))
    assert said(follower.poll()) == [("changed", "slow", 1)]
    assert follower.poll() == []


def test_a_session_without_runs_is_followed(storage: Storage) -> None:
    storage.append("s1", question("r1"))
    storage.undo("s1")
    follower = Follower(storage, "s1", last_runs=None)
    storage.update("s1", session_state={"a": 1})
    storage.append("s1", question("r2"))
    assert said(follower.poll()) == [("added", "update", None), ("added", "r2", 1)]


def test_a_removed_run_is_named_by_its_number(storage: Storage) -> None:
    """The run that comes next has the number again."""
    storage.append_many("s1", [question("r1"), question("r2"), question("r3")])
    follower = Follower(storage, "s1")
    storage.undo("s1")
    storage.append("s1", question("r4"))
    assert said(follower.poll()) == [("removed", None, 3), ("added", "r4", 3)]
    session = storage.read("s1")
    assert session is not None
    session.history = session.history[:1]
    storage.upsert(session)
    assert said(follower.poll()) == [("removed", None, 2), ("removed", None, 3)]


def test_a_document_that_moves_goes_breaks_and_comes_back_is_followed(storage: Storage) -> None:
    """Each of it is returned once, and nothing that was added meanwhile is missed."""
    storage.append("s1", question("r1"))
    follower = Follower(storage, "s1")
    path = storage.path("s1")
    new = path.with_name(f"other{path.suffix}")
    path.rename(new)
    assert follower.poll() == [Change("moved", text=str(new))]
    trashed = throw_away(storage, "s1")[0]
    assert (follower.poll(), follower.poll()) == ([Change("gone")], [])
    put_back(storage, trashed.name)
    storage.append("s1", question("r2"))
    assert said(follower.poll()) == [("back", None, None), ("added", "r2", 2)]
    text = new.read_text()
    new.write_text(text[: len(text) // 2] + "{[")
    (change,) = follower.poll()
    assert change.kind == "unreadable"
    assert str(new) in change.text
    assert follower.poll() == []
    new.write_text(text)
    assert said(follower.poll()) == [("back", None, None)]


def test_a_store_that_disappears_is_a_problem_that_is_returned(storage: Storage, tmp_path: Path) -> None:
    """It was silent."""
    storage.append("s1", question("r1"))
    follower = Follower(storage, "s1")
    storage.root.rename(tmp_path / "elsewhere")
    (change,) = follower.poll()
    assert change.kind == "unreadable"
    assert str(storage.root) in change.text
    assert follower.poll() == []
    (tmp_path / "elsewhere").rename(storage.root)
    assert follower.poll() == [Change("back")]


def test_only_the_end_of_a_long_session_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old run that was never finished does not make each look read everything after it."""
    storage = JsonStorage(tmp_path / "store", durability="relaxed")
    storage.append_many("s1", [question("old", status="unfinished"), *(question(f"r{number}") for number in range(40))])
    follower = Follower(storage, "s1", last_runs=None)
    asked = []
    read = plain_session.read_plain

    def watched(*args: Any, last_runs: int) -> Any:
        asked.append(last_runs)
        return read(*args, last_runs=last_runs)

    monkeypatch.setattr("localstore.storage.following.read_plain", watched)
    storage.append("s1", question("new"))
    assert said(follower.poll()) == [("added", "new", 42)]
    assert (follower.poll(), asked) == ([], [1, 2])


def test_wrong_arguments_are_refused(storage: Storage) -> None:
    with pytest.raises(SessionNotFound):
        Follower(storage, "nowhere")
    storage.append("s1", question("r1"))
    with pytest.raises(ValueError, match="last_runs must be None or a whole number from 1 on, not 0"):
        Follower(storage, "s1", last_runs=0)

"""Two sessions are compared: which runs belong together, and what differs."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from localstore import Message, Metrics, Run, Session, SessionNotFound, Step, ToolCall
from localstore.errors import BackupNotFound
from localstore.maintenance.upgrade import convert
from localstore.storage.comparing import Difference, compare, origin_of, read_backup
from localstore.storage.plain_session import PlainSession, read_plain
from tests.linear_time import assert_linear
from tests.unit.raw import Storage, answered, question


def plain(storage: Storage, session_id: str) -> PlainSession:
    session = read_plain(storage, session_id)
    assert session is not None
    return session


def numbers(difference: Difference) -> list[tuple[int | None, int | None]]:
    return [(pair.old_number, pair.new_number) for pair in difference.entries]


def test_a_fork_is_the_same_until_something_happens_in_it(storage: Storage) -> None:
    """Its id, name, origin and time are its own, and it does not say which runs were removed from the first session.

    What was added or changed later differs, wherever it happened.
    """
    storage.append_many("s1", [answered(f"r{number}", f"question {number}") for number in range(4)], user_id="alice")
    storage.undo("s1")
    storage.update("s1", session_state={"a": 1}, name="A name")
    storage.fork("s1", new_id="s2")
    same = compare(plain(storage, "s1"), plain(storage, "s2"))
    assert (bool(same), same.equal_runs, origin_of(plain(storage, "s2"))) == (False, 3, "s1")
    storage.append("s1", question("r3"))
    storage.append("s2", question("r4", "Another?"))
    storage.rate("s2", "r1", "good")
    storage.update("s2", tags=["x"])
    difference = compare(plain(storage, "s1"), plain(storage, "s2"))
    assert difference.header == {"tags": (None, ["x"])}
    assert numbers(difference) == [(2, 2), (4, None), (None, 4)]
    assert [pair.fields for pair in difference.entries] == [("rating",), (), ()]
    assert difference.as_dict()["header"] == {"tags": {"old": None, "new": ["x"]}}


def test_a_replayed_run_is_compared_with_its_original(storage: Storage) -> None:
    """Also if its question was edited since, and if two replays of the same run are compared."""
    storage.append("s1", answered("r1", "Hello?", "Good day."))
    for name, answer in (("b", "Hi."), ("c", "Ho.")):
        session = Session(session_id=name, metadata={"replay_of": "s1"})
        session.history.append(answered(f"{name}1", "Hello!", answer, replay_of="r1", model=name))
        storage.upsert(session)
    assert origin_of(plain(storage, "b")) == "s1"
    for old, new in (("s1", "b"), ("b", "c")):
        difference = compare(plain(storage, old), plain(storage, new))
        assert difference.header == {}
        assert numbers(difference) == [(1, 1)]
        assert difference.entries[0].fields == ("messages", "model")


def test_runs_of_other_sessions_are_matched_by_their_questions(storage: Storage) -> None:
    """The first with the first. What differs whenever the same is done again is not compared, at any depth."""

    def run(run_id: str, text: str, answer: str = "Yes.") -> Run:
        call, result = f"call-{run_id}", Message(role="tool", tool_call_id=f"call-{run_id}", content="found")
        messages = [
            Message(role="user", content=text),
            Message(role="assistant", tool_calls=[ToolCall(id=call, name="look")]),
            *[result, Message(role="assistant", content=answer)],
        ]
        member = Run(run_id=f"m-{run_id}", tool_call_id=call, messages=messages)
        steps = [Step(name="draft", messages=messages, status="completed", metrics=Metrics(input_tokens=len(run_id)))]
        metrics = Metrics(input_tokens=len(run_id))
        return Run(run_id=run_id, messages=messages, member_runs=[member], steps=steps, metrics=metrics)

    storage.append_many("s1", [run("a1", "A?"), run("a2", "B?"), run("a3", "A?", "No."), run("a4", "C?")])
    storage.append_many("s2", [run("long-1", "B?"), run("long-2", "A?"), run("long-3", "A?"), run("long-4", "D?")])
    difference = compare(plain(storage, "s1"), plain(storage, "s2"))
    assert difference.equal_runs == 2
    assert numbers(difference) == [(3, 3), (4, None), (None, 4)]


def test_the_order_is_that_of_both_histories(storage: Storage) -> None:
    """What was removed comes where it was, before what was added there. Entries that are no runs count too."""
    storage.append_many("s1", [question(name, name) for name in "abcd"])
    storage.append("s2", question("a", "a"))
    storage.update("s2", session_state={"x": 1})
    storage.append_many("s2", [question(name, name) for name in "xdy"])
    difference = compare(plain(storage, "s1"), plain(storage, "s2"))
    shown = [(pair.old or {}).get("run_id", "-") + (pair.new or {}).get("run_id", "-") for pair in difference.entries]
    assert shown == ["b-", "c-", "--", "-x", "-y"]
    assert difference.entries[2].new is not None
    assert difference.entries[2].new["session_state"] == {"x": 1}


def test_nothing_is_lost_in_a_comparison() -> None:
    """Whatever two histories are: each entry is the same in both, or in the difference once."""
    chosen = random.Random(5)

    def history(prefix: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for number in range(chosen.randrange(8)):
            run = {"type": "run", "run_id": f"{chosen.choice(['', prefix])}{number}", "status": "completed"}
            entry = {"type": "update", "session_state": {"a": chosen.randrange(3)}}
            entries.append(chosen.choice([entry, {**run, "input": chosen.choice("xyz")}]))
        chosen.shuffle(entries)
        return entries

    for _ in range(300):
        old, new = history("a"), history("b")
        difference = compare(PlainSession({"session_id": "a"}, old, {}), PlainSession({"session_id": "b"}, new, {}))
        for entries, side in ((old, "old"), (new, "new")):
            shown = [id(entry) for pair in difference.entries if (entry := getattr(pair, side)) is not None]
            assert len(shown) == len({*shown})
            assert {*shown} <= {id(entry) for entry in entries}
            runs = sum(entry["type"] == "run" for entry in entries)
            listed = sum(getattr(pair, f"{side}_number") is not None for pair in difference.entries)
            assert listed + difference.equal_runs == runs


@pytest.mark.parametrize("same", [True, False])
def test_the_time_is_that_of_the_size(same: bool) -> None:
    """Four times as many runs take about four times as long, also if all ask the same or none belong together."""

    def work(count: int) -> Callable[[], object]:
        sides = [
            [{"type": "run", "run_id": f"{name}{n}", "input": "q" if same else f"{name}{n}"} for n in range(count)]
            for name in "ab"
        ]
        sessions = [PlainSession({"session_id": name}, side, {}) for name, side in zip("ab", sides, strict=True)]
        return lambda: compare(*sessions)

    assert_linear(work, 2_500)


def test_a_session_is_read_from_a_backup(storage: Storage) -> None:
    """By the name of the backup or its beginning, in the format of that time, and if its file had another name."""
    storage.append("s1", answered("r1"))
    storage.append("s2", answered("r1"))
    path = storage.path("s2")
    path.rename(path.with_name(f"renamed{path.suffix}"))
    before = plain(storage, "s1")
    name = convert(storage.root, "yaml" if path.suffix == ".json" else "json").backup
    assert name is not None
    storage.append("s1", answered("r2"))
    assert read_backup(storage, name, "s1") == before
    assert numbers(compare(read_backup(storage, name[:4], "s1"), plain(storage, "s1"))) == [(None, 2)]
    assert not compare(read_backup(storage, name, "s2"), plain(storage, "s2"))
    with pytest.raises(SessionNotFound, match=f"Backup {name} has no document of session 's3'. 'localstore backups"):
        read_backup(storage, name, "s3")
    with pytest.raises(BackupNotFound, match="No backup matches 'x'"):
        read_backup(storage, "x", "s1")


def test_a_renamed_session_differs_from_itself_in_a_backup(storage: Storage) -> None:
    """The name, the origin and the time count if both are the same session."""
    storage.append("s1", question("r1"))
    before = plain(storage, "s1")
    storage.update("s1", name="New")
    assert compare(before, plain(storage, "s1")).header == {"name": (None, "New")}

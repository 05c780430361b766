"""A call whose connection breaks after the database took its changes is made again, and changes nothing twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, exc

from localstore import Item, Run, Session, Step, StoreUnavailable
from localstore.databases import sql_connections
from localstore.databases.sql import SqlStorage
from localstore.databases.sql_connections import Connections
from localstore.storage.edited_document import Replaced
from tests.contract.runs import answered, document, read, run_ids


class Broken(exc.OperationalError):
    """What a driver raises for a connection that broke."""

    def __init__(self) -> None:
        super().__init__("COMMIT", None, ConnectionError("server closed the connection unexpectedly"), True)


@pytest.fixture
def storage(tmp_path: Path) -> SqlStorage:
    storage = SqlStorage(f"sqlite:///{tmp_path}/sessions.db")
    storage.append_many("s1", [answered("r1", session_state={"a": 1}), answered("r2"), answered("r3")])
    storage.append("s1", Run(run_id="open", status="unfinished"))
    storage.append_items("items", [Item(1), Item(2), Item(3)])
    storage.append("gone", answered("r1"))
    storage.trash("gone")
    with_sub_session(storage)
    return storage


def with_sub_session(storage: SqlStorage) -> None:
    storage.append("main", answered("r1"))
    storage.append_items("main/a", [Item(1)], part_of="main")


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that breaks the next so many transactions that write, after they were committed."""
    once = Connections._once
    left = [0]

    def broken(self: Connections, work: Callable[[Connection], Any], *, writes: bool, **options: Any) -> Any:
        result = once(self, work, writes=writes, **options)
        if writes and left[0]:
            left[0] -= 1
            raise Broken
        return result

    monkeypatch.setattr(Connections, "_once", broken)
    monkeypatch.setattr(sql_connections, "_PAUSES", (0.0, 0.0, 0.0))

    def begin(times: int) -> None:
        left[0] = times

    return begin


def grown() -> Run:
    run = answered("open")
    run.status = "completed"
    return run


def with_state(storage: SqlStorage) -> None:
    storage.append("s1", answered("r9", session_state={"b": 2}), state_base={})


def changed(storage: SqlStorage) -> None:
    session = read(storage, "s1")
    session.history.append(answered("r9"))
    session.session_state = {"c": 3}
    del session.history[1]
    storage.upsert(session)


def edited(storage: SqlStorage, theirs: bytes = b"Hello!") -> Replaced:
    """Edit a session. `base` is the document before others changed an answer in it to `theirs`."""
    base = storage.read_document("s1").replace(b"Hello!", theirs, 1)
    mine = base.replace(b"Hello!", b"Mine!").replace(theirs, b"Mine!")
    return storage.replace_document("s1", mine, base=base)


CALLS: dict[str, Callable[[SqlStorage], object]] = {
    "create": lambda storage: storage.append("s2", answered("r1")),
    "append": lambda storage: storage.append("s1", answered("r9")),
    "append with a state": with_state,
    "finish": lambda storage: storage.append("s1", grown()),
    "append many": lambda storage: storage.append_many("s1", [answered("r8"), answered("r9")]),
    "add a step": lambda storage: storage.add_step("s1", "open", Step(name="a"), number=0),
    "update the state": lambda storage: storage.update("s1", session_state={"z": 1}),
    "update the header": lambda storage: storage.update("s1", name="x", add_tags=["t"]),
    "rate": lambda storage: storage.rate("s1", "r2", "good"),
    "undo": lambda storage: storage.undo("s1"),
    "take out": lambda storage: storage.remove_run("s1", "r2"),
    "upsert": changed,
    "upsert a new one": lambda storage: storage.upsert(Session(session_id="s2", history=[answered("r1")])),
    "fork": lambda storage: storage.fork("s1", "r2", new_id="s2"),
    "append items": lambda storage: storage.append_items("items", [Item(4), Item(5)]),
    "append items to a new session": lambda storage: storage.append_items("s2", [Item(4)]),
    "pop an item": lambda storage: storage.pop_item("items"),
    "replace the items": lambda storage: storage.replace_items("items", [Item(6)]),
    "edit": lambda storage: edited(storage),
    "edit what others changed": lambda storage: edited(storage, theirs=b"Theirs!"),
    "redact": lambda storage: storage.redact("s1", ["Hello"]),
    "trash": lambda storage: storage.trash("s1"),
    "restore": lambda storage: storage.restore(storage.trashed()[0].name),
    "empty the trash": lambda storage: storage.empty_trash(),
    "delete": lambda storage: storage.delete_session("s1"),
    "append items to a sub-session": lambda storage: storage.append_items("s1/a", [Item(4)], part_of="s1"),
    "trash with a sub-session": lambda storage: storage.trash("main"),
    "delete with a sub-session": lambda storage: storage.delete_session("main"),
    "drop": lambda storage: storage.drop(),
}


def contents(storage: SqlStorage) -> dict[str, Any]:
    """Return what is stored, without what differs from one call to the next: times and random ids."""

    def without(value: Any) -> Any:
        if isinstance(value, list):
            volatile = ("created_at", "item_id", "removed", "run_id")
            return [without(one) for one in value if not (isinstance(one, tuple) and one[0] in volatile)]
        return (value[0], without(value[1])) if isinstance(value, tuple) else value

    return {
        **{session_id: without(document(storage, session_id)) for session_id in sorted(storage)},
        "trash": len(storage.trashed()),
        "aside": len(storage._backend.asides()),
    }


def outcome(result: object) -> str:
    return type(result).__name__


@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_made_once(storage: SqlStorage, tmp_path: Path, breaks: Callable[[int], None], call: str) -> None:
    other = SqlStorage(f"sqlite:///{tmp_path}/sessions.db", "others")
    for session_id in ("s1", "items"):
        storage_copy(storage, other, session_id)
    other.append("gone", answered("r1"))
    other.trash("gone")
    with_sub_session(other)
    expected = outcome(CALLS[call](other))
    breaks(2)
    assert outcome(CALLS[call](storage)) == expected
    breaks(0)
    assert contents(storage) == contents(other)


def storage_copy(storage: SqlStorage, other: SqlStorage, session_id: str) -> None:
    session = read(storage, session_id)
    session._base = None
    other.upsert(session)


def test_results_are_those_of_the_first_call(storage: SqlStorage, breaks: Callable[[int], None]) -> None:
    breaks(1)
    popped = storage.pop_item("items")
    assert popped is not None
    assert popped.data == 3
    breaks(1)
    undone = storage.undo("s1")
    assert undone is not None
    assert undone.run.run_id == "open"
    breaks(1)
    assert storage.delete_session("s1") is True
    breaks(1)
    (moved,) = storage.trash("items").moved
    breaks(1)
    assert storage.restore(moved.name) == "items"
    assert [item.data for item in storage.items("items")] == [1, 2]


def test_an_edit_and_a_redaction_name_what_the_first_call_kept(
    storage: SqlStorage, breaks: Callable[[int], None]
) -> None:
    breaks(1)
    done = edited(storage, theirs=b"Theirs!")
    assert done.lost == ("run r1",)
    assert [one.name for one in storage.taken_out() if "editor" in one.reason] == [*done.rescued]
    breaks(1)
    redacted = storage.redact("s1", ["Hello"])
    assert (redacted.documents, redacted.count) == (1, 1)
    assert [one.name for one in storage.trashed() if one.session_id == "s1"] == [*redacted.trashed]


def test_a_form_that_is_kept_survives_a_connection_that_breaks_before_the_commit(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the person changed was changed by others, too. The second try took the first one for done."""
    monkeypatch.setattr(sql_connections, "_PAUSES", (0.0,))
    once, left = Connections._once, [1]

    def broken(self: Connections, work: Callable[[Connection], Any], *, writes: bool, **options: Any) -> Any:
        def work_and_break(connection: Connection) -> Any:
            result = work(connection)
            if writes and left[0]:
                left[0] -= 1
                raise Broken
            return result

        return once(self, work_and_break, writes=writes, **options)

    monkeypatch.setattr(Connections, "_once", broken)
    base = storage.read_document("s1").replace(b"Hello!", b"Theirs!")
    done = storage.replace_document("s1", base.replace(b"Theirs!", b"Mine!"), base=base)
    assert left == [0]
    assert done.lost == ("run r1", "run r2", "run r3")
    assert {one.name for one in storage.taken_out()} == {*done.rescued}


def test_a_connection_that_stays_broken_is_an_error(storage: SqlStorage, breaks: Callable[[int], None]) -> None:
    breaks(100)
    with pytest.raises(StoreUnavailable, match="closed the connection unexpectedly"):
        storage.append("s1", answered("r9"))
    breaks(0)
    storage.append("s1", answered("r9"))
    assert run_ids(storage, "s1") == ["r1", "r2", "r3", "open", "r9"]
